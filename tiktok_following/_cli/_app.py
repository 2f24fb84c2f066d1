"""The typer app: which commands there are."""

from typing import Annotated

import typer

from tiktok_following._version import __version__

from ._balance import balance
from ._bulk import bulk
from ._doctor import doctor
from ._exit import DONE, FAILED, USAGE
from ._export import export
from ._list import list_following
from ._messages import Messages
from ._sandbox import sandbox
from ._status import status
from ._whoami import whoami

_PROGRAM = "tiktok-following"
_WHITE_SPACE = " \t\r\n"

_EPILOG = (
    "The API key is read from SOCIALFETCH_API_KEY, another address than the API's own from "
    "SOCIALFETCH_BASE_URL. Exit codes: 0 done, 1 something failed, 2 usage, 3 key refused, "
    "4 out of credits, 5 credit cap reached, 130 interrupted, 143 terminated, 129 hung up."
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"{_PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def describe_app(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Read whom TikTok profiles follow, through the Social Fetch API.

    One page of about 30 accounts costs one credit. Try it without a key and without credits:
    tiktok-following list --sandbox nasa
    """


app.command("list", epilog=_EPILOG, no_args_is_help=True)(list_following)
app.command("bulk", epilog=_EPILOG, no_args_is_help=True)(bulk)
app.command("status", no_args_is_help=True)(status)
app.command("export", no_args_is_help=True)(export)
app.command("balance")(balance)
app.command("whoami")(whoami)
app.command("doctor", epilog=_EPILOG)(doctor)
app.command("sandbox")(sandbox)


def run_app(arguments: list[str]) -> int:
    """Run the command that the arguments name, and return the exit code."""
    for argument in arguments:
        # typer shows arguments in its errors as they are.
        if not argument.strip(_WHITE_SPACE).isprintable():
            Messages().say(f"an argument has control or invisible characters: {argument!a}")
            return USAGE
    code: object = DONE
    try:
        app(arguments, prog_name=_PROGRAM)
    except SystemExit as ending:  # how typer ends, always
        code = ending.code
    except OSError as error:  # commands handle their own: it was typer's help or version
        Messages().say(f"cannot write: {error.strerror}")
        code = FAILED
    return code if isinstance(code, int) else FAILED
