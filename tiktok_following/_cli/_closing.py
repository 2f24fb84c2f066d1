"""The last lines of a run: what was done, what it cost, why it stopped, how to go on."""

from collections import Counter
from collections.abc import Iterator

import attrs

from tiktok_following._errors import InvalidHandleError
from tiktok_following._outcomes import Outcome, RunSummary
from tiktok_following._status import LookupStatus

from ._bulk_display import format_seconds
from ._bulk_plan import BulkPlan
from ._exit import explain
from ._lines import STANDARD_INPUT
from ._words import count

_STATUSES: dict[object, str] = {
    LookupStatus.FOUND: "found",
    LookupStatus.HIDDEN: "hidden",
    LookupStatus.PRIVATE: "private",
    LookupStatus.NOT_FOUND: "not found",
}


@attrs.define
class Counts:
    """What the outcomes of a run were."""

    statuses: Counter[str] = attrs.field(factory=Counter[str])
    """Handles that were answered, by what the answer was."""
    invalid: int = 0
    """Entries that are no handle."""
    failed: int = 0
    """Handles whose lookup failed, and may succeed another time."""

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.error is None:
            self.statuses[_STATUSES.get(outcome.status, "of another status")] += 1
        elif isinstance(outcome.error, InvalidHandleError):
            self.invalid += 1
        elif not outcome.is_unfinished:
            self.failed += 1


def iter_closing_lines(
    plan: BulkPlan, summary: RunSummary, counts: Counts, *, is_cut: bool, verbose: bool = False
) -> Iterator[str]:
    """Write the last lines of a run.

    Args:
        plan: What it was asked to do.
        summary: How it ended.
        counts: What became of the handles.
        is_cut: Whether its input could not be read to the end.
        verbose: Whether the user wants to hear more of an error.
    """
    yield "handles: " + ", ".join(_describe_handles(summary, counts))
    yield ", ".join(_describe_cost(summary)) + (" (sandbox: no real credits)" * plan.sandbox)
    is_asked = summary.stopped_by in {"user", "cancelled"}
    if summary.error is not None and not is_asked:
        yield f"stopped: {explain(summary.error, verbose=verbose)}"
    is_left = is_cut or summary.stopped_by is not None
    same_input = ", with the same input," if plan.input == STANDARD_INPUT else ""
    if is_left:
        yield f"go on{same_input} with: {plan.write_command()}"
    if counts.failed and not plan.retry_failed:
        again = plan.write_command(retry_failed=True)
        yield f"try the failed ones again{same_input} with: {again}"


def _describe_handles(summary: RunSummary, counts: Counts) -> Iterator[str]:
    progress = summary.progress
    total = "" if progress.total is None else f" of {progress.total:,}"
    yield f"{progress.done:,}{total} done"
    yield from (f"{number:,} {status}" for status, number in counts.statuses.most_common())
    others = [
        (counts.failed, "failed"),
        (counts.invalid, "invalid"),
        (progress.skipped, "repeated"),
        (progress.from_store, "from the store"),
        (progress.unfinished, "unfinished"),
    ]
    if progress.total is not None:
        seen = progress.done + progress.failed + progress.skipped + progress.unfinished
        others.append((progress.total - seen, "not begun"))
    yield from (f"{number:,} {words}" for number, words in others if number > 0)


def _describe_cost(summary: RunSummary) -> Iterator[str]:
    progress = summary.progress
    yield count(progress.pages, "page")
    yield count(progress.accounts, "account")
    yield f"{count(progress.usage.credits_charged, 'credit')} charged"
    if progress.usage.credits_at_risk:
        yield f"{progress.usage.credits_at_risk:,} at risk"
    yield f"in {format_seconds(progress.seconds)}"
