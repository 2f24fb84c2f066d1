"""The command ``sandbox``."""

import asyncio
import os
from typing import Annotated, Any

import typer

from tiktok_following._config import API_KEY_VARIABLE, BASE_URL_VARIABLE

from ._exit import DONE, FAILED
from ._messages import Messages
from ._options import VerboseOption
from ._output import Output
from ._run import run
from ._words import count

_HIGHEST_PORT = 65_535


def sandbox(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=_HIGHEST_PORT, help="TCP port on 127.0.0.1; 0: any free one.")
    ] = 8080,
    seed: Annotated[int, typer.Option(help="Which profiles are invented.")] = 0,
    latency: Annotated[
        float, typer.Option(min=0.0, help="Seconds that every request takes.")
    ] = 0.0,
    page_size: Annotated[int, typer.Option(min=1, help="Accounts on a page.")] = 30,
    credits_left: Annotated[
        int, typer.Option("--credits", min=0, help="Credits of the key at the start.")
    ] = 1_000_000,
    max_in_flight: Annotated[
        int | None,
        typer.Option(
            min=1, help="Page requests at once, the others get 503.", show_default="any number"
        ),
    ] = None,
    verbose: VerboseOption = False,
) -> None:
    """Serve an invented API on this machine until Ctrl-C, for programs in any language."""
    messages = Messages(verbose=verbose)
    options = {
        "port": port,
        "seed": seed,
        "latency": latency,
        "page_size": page_size,
        "credits": credits_left,
        "max_in_flight": max_in_flight,
    }
    run(_serve(options, messages), messages)


async def _serve(options: dict[str, Any], messages: Messages) -> int:
    from tiktok_following.sandbox import Sandbox  # noqa: PLC0415 - a server nobody else needs

    output = Output()
    server = Sandbox(**options, keep_records=False)
    try:
        await server.start()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        messages.say(f"cannot listen on port {options['port']}: {reason}; choose another, --port")
        return FAILED
    try:
        _introduce(server.base_url, server.api_key, output, messages)
        await asyncio.get_running_loop().create_future()  # until Ctrl-C or SIGTERM
    except asyncio.CancelledError:
        served, charged = server.requests_received, server.credits_charged
        messages.say(f"ended: {count(served, 'request')}, {count(charged, 'credit')} charged")
    finally:
        await server.close()
    return DONE


def _introduce(base_url: str, api_key: str, output: Output, messages: Messages) -> None:
    """Say how to use it: for a shell on standard output, for people beside it."""
    messages.say(f"sandbox on {base_url} with the key {api_key}; Ctrl-C ends it. To use it:\n")
    output.write_text(
        f"export {BASE_URL_VARIABLE}={base_url}\nexport {API_KEY_VARIABLE}={api_key}\n"
    )
    messages.say("\nThen: tiktok-following list nasa")
