"""What happens inside a client, told as values: hooks, log records and spans all read these.

The law: frozen and flat, so that they can be kept, pickled and written down; none holds the API
key, an account or a connection.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs

from ._errors import FollowingError
from ._status import Status, StoppedBy


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened inside a client; its class says what. More classes may come."""

    name: ClassVar[str] = "event"
    """Its class in lower case, such as ``attempt_finished``."""

    def __init_subclass__(cls) -> None:
        cls.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def to_dict(self) -> dict[str, Any]:
        """Give `event`, which is its name, and its fields as plain values.

        An error is given as its text, with the name of its class as `error_type`.
        """
        plain: dict[str, Any] = {"event": self.name, **attrs.asdict(self, recurse=False)}
        if isinstance(error := plain.get("error"), FollowingError):
            plain.update(error=str(error), error_type=type(error).__name__)
        return plain


@attrs.frozen(kw_only=True)
class AttemptFinished(Event):
    """One HTTP request ended: with an answer, without, or because nobody waited for it any more."""

    url: str
    """What was asked for; the key is no part of it."""
    handle: str | None
    """The handle asked for; `None` on the free routes."""
    cursor: str | None
    """The cursor asked for; `None` for the first page."""
    attempt: int
    """Which attempt of its call it was, from 1."""
    seconds: float
    """How long it took, from when it could be sent until its answer was read."""
    status_code: int | None
    """HTTP status; `None` when no answer came."""
    error: FollowingError | None
    """How it failed; `None` if it did not."""
    is_cancelled: bool
    """Whether it was given up: its task was cancelled, or the deadline was over."""
    credits_charged: int
    """Credits it is known to have cost."""
    credits_at_risk: int
    """Credits it may have cost, and nobody knows."""

    def __str__(self) -> str:
        if self.error is not None:
            return f"attempt {self.attempt}: {self.error}"
        end = "given up" if self.is_cancelled else f"HTTP {self.status_code}"
        return f"attempt {self.attempt}: {end} after {self.seconds:.3f} s, {self.url}"


@attrs.frozen(kw_only=True)
class RetryScheduled(Event):
    """A call whose attempt failed is going to make another, unless the budget has no room."""

    handle: str | None
    """The handle asked for; `None` on the free routes."""
    cursor: str | None
    """The cursor asked for; `None` for the first page."""
    attempt: int
    """Which attempt of its call is next."""
    seconds: float
    """How long it backs off first; 0 if it is the shared pause that it waits for."""
    error: FollowingError
    """How the last attempt failed."""

    def __str__(self) -> str:
        when = f"in {self.seconds:.3g} s" if self.seconds else "when the pause is over"
        return f"attempt {self.attempt} of {self.handle or 'a free call'} follows {when}"


@attrs.frozen(kw_only=True)
class Paused(Event):
    """The API asked to wait: nothing is sent meanwhile. Told again if it lasts a second longer."""

    seconds: float
    """How long from now, jitter included."""
    error: FollowingError
    """The answer that asked for it."""

    def __str__(self) -> str:
        return f"the API asked to wait: nothing is sent for {self.seconds:.3g} s"


@attrs.frozen(kw_only=True)
class LimitChanged(Event):
    """More pages, or fewer, may be in flight than before; after a pause they start with one."""

    limit: int
    """How many may be now."""
    before: int
    """How many might be until now."""

    def __str__(self) -> str:
        return f"{self.limit} pages may be in flight, before it was {self.before}"


@attrs.frozen(kw_only=True)
class PageFetched(Event):
    """A page was bought; what comes from a store is not told."""

    handle: str
    """The handle asked for."""
    cursor: str | None
    """The cursor asked for; `None` for the first page."""
    next_cursor: str | None
    """Where the next page starts; `None` when none was given."""
    status: Status
    """What became of the lookup."""
    accounts: int
    """Rows on it."""
    total: int | None
    """How many accounts the profile follows; `None` when not told."""
    credits_charged: int
    """Credits it cost, by its own word; failed attempts before it may have cost more."""
    cached: bool | None
    """Whether the provider served it from its cache; `None` when not told."""
    request_id: str
    """The id to quote to the provider's support."""
    seconds: float
    """How long it took, with all waits and retries."""


@attrs.frozen(kw_only=True)
class RunEnded(Event):
    """A run over many handles is over; the fields are those of its `RunSummary`."""

    stopped_by: StoppedBy | None
    """Why it ended early; `None` if it did not."""
    error: FollowingError | None
    """The error that ended it, if one did."""
    done: int
    """Handles with an outcome and no error, those from the store included."""
    failed: int
    """Handles whose lookup failed, or that are none."""
    unfinished: int
    """Handles begun, and not done when the run ended."""
    skipped: int
    """Handles passed over because they came before."""
    from_store: int
    """Handles whose outcome came from the store."""
    pages: int
    """Pages bought."""
    accounts: int
    """Rows on them."""
    credits_charged: int
    """Credits the API's answers say were charged."""
    credits_at_risk: int
    """Credits that lost or unclear answers may have cost."""
    seconds: float
    """Time since the run was entered."""

    def __str__(self) -> str:
        return (
            f"the run ended: {self.stopped_by or 'complete'}, {self.done} done, "
            f"{self.failed} failed, {self.unfinished} unfinished, {self.pages} pages, "
            f"{self.credits_charged} credits charged, {self.credits_at_risk} at risk"
        )
