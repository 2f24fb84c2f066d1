"""What a store tells of itself: its lookups, its runs, and all of them added up.

The law: values alone; they say nothing of how a store keeps them.
"""

from datetime import datetime

import attrs

from ._fields import Count, NonEmptyStr, wire
from ._models import Model
from ._status import LookupState, RunEnd, Status


@attrs.define(kw_only=True)
class Lookup(Model):
    """How far one handle of a store has come."""

    index: Count = attrs.field(metadata=wire("index"))
    """Its place among the handles of the store, in the order they were given, from 0."""
    handle: NonEmptyStr = attrs.field(metadata=wire("handle"))
    """The handle asked for, as it was first spelled."""
    state: LookupState = attrs.field(metadata=wire("state"))
    """``pending``: to be begun or gone on with; ``complete``: nothing more to buy; ``limited``:
    stopped at a limit of the caller's; ``failed``: ended by an error."""
    status: Status | None = attrs.field(default=None, metadata=wire("lookupStatus"))
    """What became of it, by the last page stored; `None` before the first."""
    total: Count | None = attrs.field(default=None, metadata=wire("totalAccounts"))
    """How many accounts the profile follows, by the last page that told; `None` before."""
    pages: Count = attrs.field(default=0, metadata=wire("pages"))
    """Pages stored."""
    accounts: Count = attrs.field(default=0, metadata=wire("accounts"))
    """Rows on them, duplicates included."""
    credits_charged: Count = attrs.field(default=0, metadata=wire("creditsCharged"))
    """Credits the API's answers say were charged."""
    credits_at_risk: Count = attrs.field(default=0, metadata=wire("creditsAtRisk"))
    """Credits nobody knows about: the most that lost or unclear answers may have cost."""
    next_cursor: str | None = attrs.field(default=None, metadata=wire("nextCursor"))
    """Where to go on; `None` for the first page, or when nothing is left."""
    error: str | None = attrs.field(default=None, metadata=wire("error"))
    """What ended or interrupted it last, in words; `None` when nothing did."""
    updated_at: datetime = attrs.field(metadata=wire("updatedAt"))
    """When it last changed, aware and in UTC."""


@attrs.define(kw_only=True)
class StoreRun(Model):
    """One run that wrote to a store."""

    started_at: datetime = attrs.field(metadata=wire("startedAt"))
    """When it began, aware and in UTC."""
    ended_at: datetime | None = attrs.field(default=None, metadata=wire("endedAt"))
    """When it ended; `None` for one that is under way or died."""
    stopped_by: RunEnd | None = attrs.field(default=None, metadata=wire("stoppedBy"))
    """Why it ended early; ``crash`` for one that died, as the next run found. `None` when all was
    done, or nobody knows yet."""
    concurrency: Count = attrs.field(metadata=wire("concurrency"))
    """The most lookups under way at once."""
    credits_charged: Count = attrs.field(default=0, metadata=wire("creditsCharged"))
    """Credits the API's answers say were charged."""
    credits_at_risk: Count = attrs.field(default=0, metadata=wire("creditsAtRisk"))
    """The most that lost answers, and pages in flight when it died, may have cost besides."""


@attrs.define(kw_only=True)
class StoreSummary(Model):
    """A store in numbers."""

    handles: dict[str, int] = attrs.field(metadata=wire("handles"))
    """How many handles are in each state: ``pending complete limited failed``, all four."""
    pages: Count = attrs.field(metadata=wire("pages"))
    """Pages stored."""
    accounts: Count = attrs.field(metadata=wire("accounts"))
    """Rows on them, duplicates included."""
    credits_charged: Count = attrs.field(metadata=wire("creditsCharged"))
    """Credits the API's answers say were charged, in all runs."""
    credits_at_risk: Count = attrs.field(metadata=wire("creditsAtRisk"))
    """The most that lost answers, and pages in flight when a run died, may have cost besides."""
    runs: Count = attrs.field(metadata=wire("runs"))
    """Runs that wrote to it, one under way included."""
    origin: str = attrs.field(metadata=wire("origin"))
    """The API it was read from."""
    trim: bool = attrs.field(metadata=wire("trim"))
    """Whether the smaller answers were asked for."""
    created_at: datetime = attrs.field(metadata=wire("createdAt"))
    """When the file was made, aware and in UTC."""
