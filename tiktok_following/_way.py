"""How far one handle of a run has come, and what it cost.

The law: state alone; `_walk` moves it, and its calls what it cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from ._config import RunOptions
from ._landings import Landings
from ._lookups import Lookup
from ._models import FollowingPage
from ._outcomes import Outcome
from ._status import LookupState, LookupStatus

_FOUND = LookupStatus.FOUND


@attrs.define(eq=False)
class Way:
    """How far one handle has come, in the books of the run and of the store."""

    number: int
    """Its place among the handles that were not passed over before the store was asked."""
    handle: str
    outcome: Outcome
    reader: Landings | None
    """Who reads its answers, if it waits for them; `None` if that is always the worker."""
    charged: int = 0
    """Credits that it cost so far."""
    at_risk: int = 0
    """Credits that it may have cost besides."""
    lookup: Lookup | None = None
    """What the store has of it."""
    has_started: bool = False
    """Whether it is one of those that `concurrency` allows under way."""
    index: int = 0
    """The lookup's in the store."""
    rows: int = 0
    state: LookupState = "pending"
    has_landed: bool = False
    """Whether the page that its worker waits for was read and noted by the consumer."""
    is_finished: bool = False
    """Whether the outcome was handed over; it is no longer here then."""
    is_left: bool = False
    """Whether its worker was cancelled with a page in hand."""
    is_recalling: bool = False
    """Whether what the store has is being read: its state is not to be changed."""
    cut_at: str | None = None
    """The cursor of the page that the limit cuts."""
    is_cut: bool = False
    booked: tuple[int, int] = (0, 0)
    """Its credits charged and at risk that are in the store's books."""
    keep: Callable[[Way], Awaitable[None]] | None = None
    """Writes into the store's books where it stands; `None` without a store."""

    async def note(self) -> None:
        """Write down what it cost so far, so that a crash leaves one request in doubt at most."""
        if self.keep is not None:
            await self.keep(self)

    def is_at_limit(self, run: RunOptions) -> bool:
        """Tell whether no more pages are asked for."""
        limit, max_pages = run.limit_per_handle, run.max_pages
        return (limit is not None and self.rows >= limit) or (
            max_pages is not None and self.outcome.pages >= max_pages
        )

    def choose_state(self, page: FollowingPage, run: RunOptions) -> tuple[LookupState, str | None]:
        """Tell what becomes of the lookup after a page, and where it goes on if it does."""
        if page.status != _FOUND:
            # In the middle of a list it is asked again from there, if at all.
            return ("complete", None) if page.cursor is None else ("failed", page.cursor)
        if not page.has_more:
            return "complete", None
        if self.is_at_limit(run):
            return "limited", page.next_cursor or page.cursor
        return ("pending", page.next_cursor) if page.next_cursor else ("failed", page.cursor)

    def take_cost(self) -> tuple[int, int]:
        """Give the credits charged and at risk that the store does not know of yet."""
        booked, self.booked = self.booked, (self.charged, self.at_risk)
        return self.charged - booked[0], self.at_risk - booked[1]
