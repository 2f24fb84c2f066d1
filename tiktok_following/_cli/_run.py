"""Run a command's coroutine, whatever ends it: the only file that starts a loop.

The law: every ending is an exit code and at most a few lines, without a traceback unless ``-v``.
"""

import asyncio
import logging
import os
import signal
import traceback
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NoReturn, cast

import typer

from tiktok_following._client import FollowingClient
from tiktok_following._config import API_KEY_VARIABLE
from tiktok_following._errors import ConfigurationError, FollowingError

from ._exit import DONE, INTERRUPTED, TERMINATED, choose_exit_code, explain
from ._lines import InputError
from ._messages import Messages
from ._output import OutputClosed, OutputFailedError


def run(command: Coroutine[Any, Any, int], messages: Messages) -> NoReturn:
    """Run a command to its end and exit with the code it returns, or that of what ended it."""
    with _log_to(messages):
        code = _run(command, messages)
    raise typer.Exit(code)


def _run(command: Coroutine[Any, Any, int], messages: Messages) -> int:
    try:
        return asyncio.run(_end_by_signal(command))
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        return TERMINATED
    except OutputClosed:
        return DONE
    except Exception as error:  # noqa: BLE001 - the last resort of a program: told, in one line
        messages.say(_describe(error, verbose=messages.verbose))
        return choose_exit_code(error)


@contextmanager
def refuse_failures(messages: Messages) -> Generator[None]:
    """Let what fails before there is a loop be one line, and its exit code."""
    try:
        yield
    except (FollowingError, InputError) as error:
        messages.say(explain(error, verbose=messages.verbose))
        raise typer.Exit(choose_exit_code(error)) from None


async def _end_by_signal(command: Coroutine[Any, Any, int]) -> int:
    """Let SIGTERM end a command as Ctrl-C does, where the system has signals."""
    task = cast("asyncio.Task[int]", asyncio.current_task())
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command


def _describe(error: Exception, *, verbose: bool) -> str:
    if isinstance(error, (FollowingError, OutputFailedError)):
        return explain(error, verbose=verbose)
    if verbose:
        return "".join(traceback.format_exception(error)).rstrip()
    what = f"{type(error).__name__}: {error}".replace("\n", " ")
    return f"unexpected error: {what} (run again with -v for the traceback)"


class _MessagesHandler(logging.Handler):
    """Log records as messages."""

    def __init__(self, messages: Messages) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.say(self.format(record))


@contextmanager
def _log_to(messages: Messages) -> Generator[None]:
    """Show the library's log if the user wants to hear more, and else nothing of it."""
    logger = logging.getLogger("tiktok_following")
    level = logger.level
    handler: logging.Handler = logging.NullHandler()
    if messages.verbose:
        handler = _MessagesHandler(messages)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@asynccontextmanager
async def open_client(
    *, sandbox: bool, max_credits: int | None = None, max_concurrency: int | None = None
) -> AsyncGenerator[FollowingClient]:
    """Open a client of the API, or of a sandbox that runs on this loop meanwhile.

    Args:
        sandbox: Whether it is a sandbox.
        max_credits: The most to spend with it.
        max_concurrency: The most pages at once; `None` leaves it to the client.

    Raises:
        ConfigurationError: There is no key, or a setting from the environment cannot work.
    """
    options: dict[str, Any] = {"max_credits": max_credits}
    if max_concurrency is not None:
        options["max_concurrency"] = max_concurrency
    if sandbox:
        from tiktok_following.sandbox import Sandbox  # noqa: PLC0415 - a server nobody else needs

        async with (
            Sandbox(keep_records=False) as server,
            FollowingClient(server.api_key, base_url=server.base_url, **options) as client,
        ):
            yield client
    elif not os.environ.get(API_KEY_VARIABLE, "").strip():
        raise ConfigurationError(
            f"no API key: set the environment variable {API_KEY_VARIABLE}, "
            "or try --sandbox, which needs none"
        )
    else:
        async with FollowingClient(trust_env=True, **options) as client:
            yield client
