"""The command line, extra ``cli``: arguments in, rows out, exit codes.

The law: nothing that this file imports at its top needs typer or rich, so that it can say how to
install them.
"""

import sys

from ._exit import INTERRUPTED, USAGE
from ._output import release_standard_streams

_MISSING = 'tiktok-following needs its extra "cli": pip install "tiktok-following[cli]"\n'


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    try:
        code = _run_app()
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        release_standard_streams()
    sys.exit(code)


def _run_app() -> int:
    try:
        from ._app import run_app  # noqa: PLC0415 - only here can their absence be told
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in {"typer", "rich"}:
            raise
        sys.stderr.write(_MISSING)
        return USAGE
    return run_app(sys.argv[1:])
