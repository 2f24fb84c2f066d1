"""The command ``bulk``."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ._bulk_plan import BulkPlan, WithoutCredits
from ._bulk_run import run_bulk
from ._dry_run import count_input, report
from ._handles import open_handles
from ._messages import Messages
from ._options import SandboxOption, VerboseOption
from ._run import refuse_failures, run


def bulk(
    handles: Annotated[
        str,
        typer.Argument(
            metavar="HANDLES_FILE",
            help="A file, or - for standard input: a handle, @handle or profile URL a line (blank "
            "lines and # comments are skipped), CSV, or JSON lines.",
        ),
    ],
    *,
    store: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="The SQLite file that pages are written to before the next is bought. An "
            "existing one is gone on with: what it has is not bought again.",
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The CSV column or JSON key of the handles.",
            show_default="one called handle, username, user or the like",
        ),
    ] = None,
    sandbox: SandboxOption = False,
    max_credits: Annotated[
        int | None, typer.Option(min=0, help="At most N credits in this run.", metavar="N")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="At most N pages at once.", metavar="N", show_default="100"),
    ] = None,
    limit_per_handle: Annotated[
        int | None, typer.Option(min=1, help="At most N accounts a handle.", metavar="N")
    ] = None,
    max_pages: Annotated[
        int | None, typer.Option(min=1, help="At most N pages a handle.", metavar="N")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for handles that failed before.")
    ] = False,
    on_insufficient_credits: Annotated[
        WithoutCredits,
        typer.Option(help="When credits run out: stop, or wait until there are some again."),
    ] = WithoutCredits.STOP,
    jsonl: Annotated[
        str | None,
        typer.Option(
            metavar="OUT",
            help="Write every account as a row too, as list --format jsonl does; - is standard "
            "output. OUT is made anew by each run, with what the store has already, and is "
            "OUT.part until all handles are done.",
        ),
    ] = None,
    trim: Annotated[bool, typer.Option("--trim", help="Ask for smaller answers.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the handles and show the balance; buy nothing.")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="With --dry-run: buy the first pages of N handles, and estimate what all cost.",
            show_default="none",
        ),
    ] = 0,
    verbose: VerboseOption = False,
) -> None:
    """Look up any number of profiles into a store; run it again to go on after any end.

    Ctrl-C stops it politely: pages under way are stored. A second one leaves at once.
    """
    plan = BulkPlan(
        input=handles,
        column=column,
        store=store,
        sandbox=sandbox,
        max_credits=max_credits,
        concurrency=concurrency,
        limit_per_handle=limit_per_handle,
        max_pages=max_pages,
        retry_failed=retry_failed,
        on_insufficient_credits=on_insufficient_credits,
        jsonl=jsonl,
        trim=trim,
    )
    if sample and not dry_run:
        raise typer.BadParameter("it goes with --dry-run", param_hint="--sample")
    if jsonl is not None and _is_same_file(jsonl, store, handles):
        raise typer.BadParameter("it is the store or the input", param_hint="--jsonl")
    _start(plan, sample if dry_run else None, Messages(verbose=verbose))


def _is_same_file(name: str, *others: str) -> bool:
    return name != "-" and Path(name).resolve() in {Path(other).resolve() for other in others}


def _start(plan: BulkPlan, sample: int | None, messages: Messages) -> NoReturn:
    """Read what can be read before there is a loop, where Ctrl-C ends any waiting for it."""
    with refuse_failures(messages):
        if sample is not None:
            command = report(plan, count_input(plan, sample), messages)
        else:
            command = run_bulk(plan, open_handles(plan.input, plan.column), messages)
    run(command, messages)
