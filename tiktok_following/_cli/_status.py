"""The command ``status``."""

import shlex
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from tiktok_following._lookups import Lookup, StoreRun, StoreSummary
from tiktok_following._store import FollowingStore

from ._exit import DONE
from ._messages import Messages
from ._options import JsonOption, StoreArgument, VerboseOption
from ._output import Output
from ._run import run
from ._words import clean, count

_ADVICE = "            and the options of the run before: --sandbox, --max-pages, --max-credits …"
_IN_FLIGHT = ", and what was in flight"
"""What a run without an end may have cost besides: the next one writes it down."""
_SHOWN = 5
"""Runs, and failed handles."""


def status(
    store: StoreArgument, *, json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Show what a store holds and what it cost. Free, also while a job runs."""
    run(_show_status(store, json=json), Messages(verbose=verbose))


async def _show_status(path: str, *, json: bool) -> int:
    output = Output()
    with FollowingStore(path) as store:
        summary = store.summary()
        runs = list(deque(store.runs(), _SHOWN))
        failed = (lookup for lookup in store.lookups() if lookup.state == "failed")
        failures = list(islice(failed, _SHOWN)) if summary.handles["failed"] else []
    command = _go_on(path, summary)
    if json:
        output.write_json(
            {
                "store": path,
                **summary.to_dict(),
                "lastRuns": [each.to_dict() for each in runs],
                "firstFailed": [each.to_dict() for each in failures],
                "goOnWith": command,
            }
        )
    else:
        is_open = any(map(_has_no_end, runs))
        lines = [*_describe(path, summary, is_open=is_open), *_list_runs(runs, summary.runs)]
        lines += _list_failures(failures, summary.handles["failed"])
        lines += [f"go on with: {command}", _ADVICE] if command else []
        output.write_text("".join(f"{clean(line)}\n" for line in lines))
    return DONE


def _go_on(path: str, summary: StoreSummary) -> str | None:
    """Write the command that goes on; the handles that were not read yet are in a file of its.

    Whether the API on this machine was `--sandbox` or another, the store does not know.
    """
    if not (summary.handles["pending"] or summary.handles["failed"]):
        return None
    words = ["tiktok-following", "bulk", "HANDLES_FILE", "--store", path]
    words += ["--trim"] if summary.trim else []
    return shlex.join(words + (["--retry-failed"] if not summary.handles["pending"] else []))


def _describe(path: str, summary: StoreSummary, *, is_open: bool) -> list[str]:
    states = ", ".join(f"{number:,} {state}" for state, number in summary.handles.items())
    rows = {
        "store": path,
        "created": _write_time(summary.created_at),
        "API": summary.origin + (", trimmed answers" if summary.trim else ""),
        "handles": f"{sum(summary.handles.values()):,}: {states}",
        "pages": f"{summary.pages:,}",
        "accounts": f"{summary.accounts:,}, duplicates included",
        "credits": f"{summary.credits_charged:,} charged, {summary.credits_at_risk:,} at risk"
        + _IN_FLIGHT * is_open,
    }
    return [f"{name + ':':<10}{text}" for name, text in rows.items()]


def _list_runs(runs: Sequence[StoreRun], total: int) -> list[str]:
    more = f", the last {len(runs)}" if total > len(runs) else ""
    return [
        f"{'runs:':<10}{total:,}{more}",
        *(
            f"  {_write_time(each.started_at)}: {_describe_end(each)}, "
            f"{count(each.credits_charged, 'credit')} charged, {each.credits_at_risk:,} at risk"
            + _IN_FLIGHT
            * _has_no_end(each)
            for each in runs
        ),
    ]


def _has_no_end(each: StoreRun) -> bool:
    return each.ended_at is None and each.stopped_by is None


def _describe_end(each: StoreRun) -> str:
    if each.stopped_by == "crash":
        return "died"
    if each.ended_at is None:
        return "under way, or died since"
    how = "done" if each.stopped_by is None else f"stopped by {each.stopped_by}"
    return f"{how} at {_write_time(each.ended_at)}"


def _list_failures(failures: Sequence[Lookup], total: int) -> list[str]:
    if not failures:
        return []
    more = f", the first {len(failures)}" if total > len(failures) else ""
    return [
        f"{'failed:':<10}{total:,}{more}",
        *(f"  {each.handle}: {each.error or 'nobody said why'}" for each in failures),
    ]


def _write_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
