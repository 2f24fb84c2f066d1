"""What a run over many handles tells: an outcome per handle, its progress, its summary.

The law: values alone; they say what was, and do nothing.
"""

from typing import Any, Self

import attrs

from ._errors import FollowingError
from ._models import Account, Usage
from ._status import Status, StoppedBy, WaitsFor


@attrs.define
class Outcome:
    """What became of one handle of a run."""

    given: Any
    """The handle as it was given."""
    index: int
    """Its place in the input, from 0."""
    handle: str | None = None
    """The handle asked for; `None` if what was given is none."""
    status: Status | None = None
    """What became of the lookup, by the last page read; `None` if no page was."""
    accounts: list[Account] = attrs.field(factory=list)
    """The rows read, those from the store included, in the order and number served. Without
    `keep_accounts` only those that were paid and may not be in the store."""
    total: int | None = None
    """How many accounts the profile follows; `None` when not told."""
    pages: int = 0
    """Pages read, those from the store included."""
    credits: int = 0
    """Credits that this run was charged for it."""
    complete: bool = False
    """Whether the list was read to its end."""
    next_cursor: str | None = None
    """Where to go on; `None` for the first page, or when `complete`."""
    error: FollowingError | None = None
    """What ended it before a limit or the end of the list; `None` if nothing did."""
    is_unfinished: bool = False
    """Whether `error` is what ended the run, and says nothing of this handle."""
    from_store: bool = False
    """Whether it came from the store, at no cost."""

    def unwrap(self) -> Self:
        """Return this outcome if nothing went wrong.

        Raises:
            FollowingError: What did.
        """
        if self.error is not None:
            raise self.error
        return self


@attrs.frozen(kw_only=True)
class RunProgress:
    """How a run stands: a snapshot."""

    done: int
    """Handles with an outcome and no error, those from the store included."""
    failed: int
    """Handles whose lookup failed, or that are none."""
    skipped: int
    """Handles passed over because they came before."""
    unfinished: int
    """Handles begun, and not done when the run ended."""
    from_store: int
    """Handles whose outcome came from the store."""
    in_flight: int
    """Pages asked for and not answered yet, of the whole client."""
    pages: int
    """Pages bought."""
    accounts: int
    """Rows on them."""
    usage: Usage
    """What the run cost so far."""
    seconds: float
    """Time since the run was entered, until it is over."""
    limit: int
    """Pages that may be in flight now."""
    paused_for: float
    """Seconds until the shared pause ends, 0 without one."""
    waits_for: WaitsFor | None
    """What the run waits for, and buys nothing meanwhile: ``connection`` in an outage, ``credits``
    with ``on_insufficient_credits="wait"``; `None` if it goes on."""
    total: int | None
    """Handles of the input, if it has a length; `None` otherwise."""

    @property
    def pages_per_second(self) -> float:
        """Pages bought per second, over the whole run."""
        return self.pages / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds until all handles are done at the pace so far; `None` when nobody can tell."""
        if self.waits_for is not None:
            return None
        known = self.skipped + self.from_store
        looked_up = self.done + self.failed - self.from_store
        if self.total is None or looked_up <= 0:
            return None
        return max(0, self.total - known - looked_up) * self.seconds / looked_up


@attrs.frozen(kw_only=True)
class RunSummary:
    """What a run did so far, and all of it once it is over."""

    progress: RunProgress
    """The last snapshot."""
    stopped_by: StoppedBy | None
    """Why it ended early; `None` if it did not."""
    error: FollowingError | None
    """The error that ended it, if one did."""
    previous_at_risk: int
    """Credits that pages in flight may have cost when an earlier run on the store died: the
    most, told once."""
    is_over: bool = True
    """Whether nothing of the run is under way any more."""

    def __str__(self) -> str:
        end = "complete" if self.stopped_by is None else f"stopped by {self.stopped_by}"
        if not self.is_over:
            end = "under way" if self.stopped_by is None else f"being {end}"
        p, usage = self.progress, self.progress.usage
        return (
            f"{end}: {p.done} done, {p.failed} failed, {p.unfinished} unfinished, {p.skipped} "
            f"skipped; {p.pages} pages, {p.accounts} accounts, {usage.credits_charged} credits "
            f"charged, {usage.credits_at_risk} at risk, {p.seconds:.1f} s"
        )
