"""One handle of a run: its list is walked, each page is kept, one outcome tells everything.

The law: a page is in the store before the next one is asked for, and what is paid is in the
outcome before it is anywhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from ._buyer import Buyer, End, find_reason
from ._config import RunOptions
from ._errors import FollowingError
from ._ledger import Ledger
from ._lookups import Lookup
from ._models import FollowingPage
from ._outcomes import Outcome
from ._pagination import FollowingPager
from ._status import LookupStatus
from ._store_errors import StoreError

if TYPE_CHECKING:
    from ._session import StoreSession

_ENDS = ("complete", "limited")
Show = Callable[[FollowingPage], Awaitable[None]]


@attrs.define(eq=False)
class _Progress:
    """How far one handle has come, in the books of the run and of the store."""

    outcome: Outcome
    ledger: Ledger
    index: int = 0
    """The lookup's in the store."""
    rows: int = 0
    state: str = "pending"
    charged: int = 0
    """Credits that are in the store's books."""
    at_risk: int = 0

    def take_cost(self) -> tuple[int, int]:
        """Give the credits charged and at risk that the store does not know of yet."""
        live = self.ledger.live
        cost = live.credits_charged - self.charged, live.credits_at_risk - self.at_risk
        self.charged, self.at_risk = live.credits_charged, live.credits_at_risk
        return cost


class Walker:
    """Looks handles up for a run.

    Args:
        buyer: Buys the pages.
        run: The run's options.
        ledger: The run's.
        session: The store; `None` without one.
        end: Ends the run.
    """

    def __init__(
        self,
        buyer: Buyer,
        run: RunOptions,
        ledger: Ledger,
        session: StoreSession | None,
        end: End,
    ) -> None:
        self._buyer = buyer
        self._run = run
        self._ledger = ledger
        self._session = session
        self._end = end
        self.show: Show | None = None
        """Hands a page over; `None` where outcomes are handed over instead."""
        self.pages = 0
        """Pages bought."""
        self.accounts = 0
        """Rows on them."""

    async def walk(self, outcome: Outcome, lookup: Lookup | None) -> None:
        """Look one handle up, or take it from the store, and fill its outcome."""
        way = _Progress(outcome, Ledger(self._ledger))
        try:
            if lookup is not None:
                await self._recall(way, lookup)
            if not outcome.from_store:
                await self._read(way)
        except FollowingError as error:
            await self._fail(way, error)
        except asyncio.CancelledError:
            self._abandon(way)
            raise
        finally:
            outcome.credits = way.ledger.live.credits_charged
            if self._run.limit_per_handle is not None:
                del outcome.accounts[self._run.limit_per_handle :]

    async def _recall(self, way: _Progress, lookup: Lookup) -> None:
        """Take up what the store has of a handle."""
        outcome = way.outcome
        way.index, way.rows, way.state = lookup.index, lookup.accounts, lookup.state
        outcome.status, outcome.total, outcome.pages = lookup.status, lookup.total, lookup.pages
        outcome.next_cursor = lookup.next_cursor
        outcome.complete = lookup.state == "complete"
        outcome.from_store = lookup.state != "pending"
        if lookup.state == "failed":
            outcome.error = FollowingError(lookup.error or "an earlier run could not look it up")
        if lookup.pages and self._session and (self._run.keep_accounts or self.show):
            for page in self._session.pages(lookup.index):
                if self.show is not None:
                    await self.show(page)
                else:
                    outcome.accounts += page.accounts
                await asyncio.sleep(0)  # a long list comes from the disk: let others run

    async def _read(self, way: _Progress) -> None:
        """Walk the list from where it stands to its end or a limit."""
        outcome, limit, max_pages = way.outcome, self._run.limit_per_handle, self._run.max_pages
        handle = outcome.handle or ""

        async def fetch(cursor: str | None) -> FollowingPage:
            page, body = await self._buyer.buy(handle, cursor, way.ledger)
            await self._keep(way, page, body)
            return page

        pager = FollowingPager(
            handle,
            fetch,
            way.ledger,
            cursor=outcome.next_cursor,
            limit=None if limit is None else max(0, limit - way.rows),
            max_pages=None if max_pages is None else max(0, max_pages - outcome.pages),
            raise_for_status=False,
        )
        last = None
        while (page := await pager.next_page()) is not None:
            last = page
            if self.show is not None:
                await self.show(page)
            elif self._run.keep_accounts:
                outcome.accounts += page.accounts
            if way.state in _ENDS:
                break
        if last is None:
            await self._limit(way)
        elif way.state == "failed":
            last.raise_for_status()

    async def _keep(self, way: _Progress, page: FollowingPage, body: bytes) -> None:
        """Note a page that was paid, and put it into the store."""
        outcome = way.outcome
        self.pages += 1
        self.accounts += len(page.accounts)
        outcome.pages += 1
        way.rows += len(page.accounts)
        outcome.status = page.status
        outcome.total = outcome.total if page.total is None else page.total
        way.state, outcome.next_cursor = self._choose_state(way, page)
        outcome.complete = way.state == "complete"
        if self._session is None:
            return
        charged, at_risk = way.take_cost()
        try:
            await self._session.commit_page(
                way.index,
                page,
                body,
                state=way.state,
                next_cursor=outcome.next_cursor,
                credits_charged=charged,
                at_risk=at_risk,
            )
        except StoreError:
            outcome.accounts += page.accounts
            if self.show is not None:
                await self.show(page)
            raise

    def _choose_state(self, way: _Progress, page: FollowingPage) -> tuple[str, str | None]:
        """Tell what becomes of a lookup after a page, and where it goes on if it does."""
        if page.status != LookupStatus.FOUND:
            # In the middle of a list it is asked again from there, if at all.
            return ("complete", None) if page.cursor is None else ("failed", page.cursor)
        if not page.has_more:
            return "complete", None
        if not page.next_cursor:
            return "failed", page.cursor
        limit, max_pages = self._run.limit_per_handle, self._run.max_pages
        if (limit is not None and way.rows >= limit) or (
            max_pages is not None and way.outcome.pages >= max_pages
        ):
            return "limited", page.next_cursor
        return "pending", page.next_cursor

    async def _limit(self, way: _Progress) -> None:
        """Note that nothing may be bought, since the store has as much as the limits allow."""
        way.outcome.from_store = True
        way.state = "limited"
        await self._note_end(way)

    async def _fail(self, way: _Progress, error: FollowingError) -> None:
        """Note what ended a lookup, and end the run if it speaks of no handle."""
        outcome = way.outcome
        outcome.error = error
        if reason := find_reason(error, way.ledger):
            outcome.is_unfinished = True
            self._end(reason, error)
        elif way.state == "pending":
            way.state = "failed"
        with suppress(StoreError):  # the run hears of it by its next page, or at its end
            await self._note_end(way)

    def _abandon(self, way: _Progress) -> None:
        """Note, without waiting, that a lookup was cancelled: what was sent is at risk."""
        if way.state == "pending":
            way.outcome.is_unfinished = True
            way.outcome.error = self._ledger.stop
        with suppress(StoreError):
            self._note_end(way).cancel()

    def _note_end(self, way: _Progress) -> asyncio.Future[None]:
        """Put the end of a lookup into the store's queue; cancelling this does not undo it."""
        if self._session is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        charged, at_risk = way.take_cost()
        error = way.outcome.error
        return self._session.fail(
            way.index,
            state=way.state,
            error=None if error is None else str(error),
            credits_charged=charged,
            at_risk=at_risk,
        )
