"""The options that commands share, with their words for ``--help``."""

from typing import Annotated

import typer

SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Use an invented API on this machine: no key, no network, no credits.",
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Say more on stderr: log lines, request ids, causes of errors."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the answer as one line of JSON.")]
StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="The file of a bulk job, such as following.db.")
]
