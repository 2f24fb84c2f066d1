"""The command ``export``."""

import asyncio
from contextlib import closing
from typing import Annotated

import typer

from tiktok_following._export import iter_export
from tiktok_following._store import FollowingStore

from ._exit import DONE
from ._messages import Messages
from ._options import StoreArgument, VerboseOption
from ._progress import ReadingProgress
from ._run import run
from ._words import count


def export(
    store: StoreArgument,
    out: Annotated[
        str,
        typer.Argument(metavar="OUT", help="A file whose name ends in .jsonl, .csv or .parquet."),
    ],
    *,
    edges: Annotated[
        bool, typer.Option("--edges", help="Write who follows whom instead, each pair once.")
    ] = False,
    raw_csv: Annotated[
        bool,
        typer.Option(
            "--raw-csv",
            help="In csv, leave out the apostrophe before what a spreadsheet would take for a "
            "formula.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
    verbose: VerboseOption = False,
) -> None:
    """Write the accounts of a store to a file, one row each. Free, also while a job runs.

    The file appears when it is whole; if anything goes wrong, there is none.
    """
    messages = Messages(verbose=verbose)
    run(
        _export(store, out, edges=edges, raw_csv=raw_csv, overwrite=overwrite, messages=messages),
        messages,
    )


async def _export(
    path: str, out: str, *, edges: bool, raw_csv: bool, overwrite: bool, messages: Messages
) -> int:
    noun, rows = "edge" if edges else "account", 0
    with (
        FollowingStore(path) as store,
        ReadingProgress(messages, is_shown=True, nouns=f"{noun}s") as progress,
        closing(
            iter_export(store, out, edges=edges, raw_csv=raw_csv, overwrite=overwrite)
        ) as steps,
    ):
        progress.begin(out)
        total = None if edges else store.summary().accounts
        try:
            for rows in steps:
                progress.advance(rows, total)
                await asyncio.sleep(0)  # here a signal ends it
        except asyncio.CancelledError:
            messages.say(f"interrupted, {out} is not written")
            raise
    messages.say(f"{count(rows, noun)} written to {out}")
    return DONE
