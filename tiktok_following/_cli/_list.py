"""The command ``list``."""

from typing import Annotated

import typer

from tiktok_following._errors import InvalidHandleError
from tiktok_following._handles import parse_handle

from ._exit import USAGE
from ._messages import Messages
from ._options import SandboxOption, VerboseOption
from ._output import Output
from ._plan import Plan
from ._progress import ReadingProgress
from ._reading import Reading
from ._rows import CsvRows, Format, JsonlRows, RowWriter
from ._run import open_client, run
from ._table import TableRows


def list_following(
    handles: Annotated[
        list[str],
        typer.Argument(metavar="HANDLE", help="nasa, @nasa or https://www.tiktok.com/@nasa"),
    ],
    *,
    sandbox: SandboxOption = False,
    format: Annotated[  # noqa: A002 - the option's name is the parameter's
        Format,
        typer.Option(
            help="table is for people; jsonl holds every field, csv a fixed set; both are UTF-8. "
            "In csv an apostrophe stands before what a spreadsheet would take for a formula."
        ),
    ] = Format.TABLE,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most N accounts a list.", metavar="N")
    ] = None,
    max_pages: Annotated[
        int | None, typer.Option(min=1, help="At most N pages a list.", metavar="N")
    ] = None,
    max_credits: Annotated[
        int | None,
        typer.Option(min=0, help="At most N credits for all lists together.", metavar="N"),
    ] = None,
    cursor: Annotated[
        str | None, typer.Option(help="Go on where a list of one handle stopped.", metavar="C")
    ] = None,
    trim: Annotated[bool, typer.Option("--trim", help="Ask for smaller answers.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """List the accounts that profiles follow, one row each, as they come.

    Rows go to standard output, everything else to standard error. A profile that is hidden,
    private or not found is an answer, in one line, and costs a credit.
    """
    messages = Messages(verbose=verbose)
    names = _parse_handles(handles, messages)
    if cursor is not None and (len(names) > 1 or not cursor):
        raise typer.BadParameter(
            "it goes with exactly one handle, and is not empty", param_hint="--cursor"
        )
    plan = Plan(
        handles=names,
        sandbox=sandbox,
        format=format,
        limit=limit,
        max_pages=max_pages,
        max_credits=max_credits,
        cursor=cursor,
        trim=trim,
    )
    run(_read(plan, messages), messages)


def _parse_handles(texts: list[str], messages: Messages) -> tuple[str, ...]:
    """Check all handles before anything is sent; one that is given twice is read once."""
    names: dict[str, str] = {}
    problems: list[InvalidHandleError] = []
    for text in texts:
        try:
            name = parse_handle(text)
        except InvalidHandleError as error:
            problems.append(error)
        else:
            names.setdefault(name.lower(), name)
    if problems:
        messages.say("\n".join(map(str, problems)))
        raise typer.Exit(USAGE)
    return tuple(names.values())


async def _read(plan: Plan, messages: Messages) -> int:
    output = Output()
    is_quiet = not (output.is_terminal or output.is_pipe)
    async with open_client(sandbox=plan.sandbox, max_credits=plan.max_credits) as client:
        with ReadingProgress(messages, is_shown=is_quiet) as progress:
            reading = Reading(
                plan=plan,
                client=client,
                rows=_make_rows(plan, output),
                output=output,
                messages=messages,
                progress=progress,
            )
            return await reading.read_all()


def _make_rows(plan: Plan, output: Output) -> RowWriter:
    if plan.format is Format.JSONL:
        return JsonlRows(output)
    if plan.format is Format.CSV:
        return CsvRows(output)
    return TableRows(output, plan.handles)
