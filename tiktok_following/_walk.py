"""One handle of a run: its list is walked, each page is kept, one outcome tells everything.

The law: a page is in the store before the next one is asked for, and what is paid is in the
outcome before it is anywhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from ._buyer import Buyer, End, find_reason
from ._call import AnsweredCancellation
from ._config import RunOptions
from ._errors import FollowingError, RequestError
from ._frames import drop_frames
from ._ledger import Ledger
from ._lookups import Lookup
from ._models import FollowingPage
from ._outcomes import Outcome
from ._pagination import choose_cursor
from ._store_errors import StoreError
from ._way import Way

if TYPE_CHECKING:
    from ._session import StoreSession

_ENDS = ("complete", "limited")
Show = Callable[[FollowingPage], Awaitable[None]]
Deliver = Callable[[Way], None]


class Walker:
    """Looks handles up for a run.

    Args:
        buyer: Buys the pages.
        run: The run's options.
        ledger: The run's.
        session: The store; `None` without one.
        end: Ends the run.
        deliver: Takes a handle whose outcome is whole.
    """

    def __init__(
        self,
        buyer: Buyer,
        run: RunOptions,
        ledger: Ledger,
        session: StoreSession | None,
        end: End,
        *,
        deliver: Deliver,
    ) -> None:
        self._buyer = buyer
        self._run = run
        self._ledger = ledger
        self._session = session
        self._end = end
        self._deliver = deliver
        self.show: Show | None = None
        """Hands a page over; `None` where outcomes are handed over instead."""
        self.pages = 0
        """Pages bought."""
        self.accounts = 0
        """Rows on them."""

    async def walk(self, way: Way) -> None:
        """Look one handle up, or take it from the store, and deliver its outcome."""
        try:
            if way.lookup is not None:
                await self._recall(way, way.lookup)
            if not way.outcome.from_store:
                await self._read(way)
        except FollowingError as error:
            await self._fail(way, error)
        except asyncio.CancelledError:
            if not way.is_finished:
                self._abandon(way)
            raise
        finally:
            if not way.is_finished:
                self._finish(way)

    def take(self, way: Way, bought: tuple[FollowingPage, bytes]) -> None:
        """Take a page that the consumer has read while the worker waits; maybe that was the last.

        Nobody else keeps the rows: whoever takes the outcome is to let go of them when it likes.
        """
        page, _ = bought
        self._note_page(way, page)
        page.accounts = []
        way.has_landed = True
        if way.state in _ENDS:
            self._finish(way)

    def _finish(self, way: Way) -> None:
        """Hand the outcome over."""
        outcome = way.outcome
        outcome.credits = way.charged
        if way.is_cut:
            del outcome.accounts[self._run.limit_per_handle :]
            outcome.complete, outcome.next_cursor = False, way.cut_at
        way.is_finished = True
        self._deliver(way)

    async def _recall(self, way: Way, lookup: Lookup) -> None:
        """Take up what the store has of a handle."""
        outcome, state = way.outcome, lookup.state
        way.index, way.rows, way.state = lookup.index, lookup.accounts, state
        way.keep = self._note_end
        outcome.status, outcome.total, outcome.pages = lookup.status, lookup.total, lookup.pages
        outcome.next_cursor = lookup.next_cursor
        outcome.from_store = state != "pending"
        way.is_recalling = True
        if lookup.pages and self._session and (self._run.keep_accounts or self.show):
            for page in self._session.pages(lookup.index):
                if self._ledger.stop is not None:
                    raise copy(self._ledger.stop)
                self._add_rows(way, page)
                await self._hand_over(way, page)
                await asyncio.sleep(0)  # a long list comes from the disk: let others run
        outcome.complete = state == "complete"
        if state == "failed":
            outcome.error = FollowingError(lookup.error or "an earlier run could not look it up")
        if state == "pending" and way.is_at_limit(self._run):  # there is nothing left to buy
            way.state = "limited"
            await self._note_end(way)
            outcome.from_store = True
        way.is_recalling = False

    async def _read(self, way: Way) -> None:
        """Walk the list from where it stands to its end or a limit."""
        start, page = way.outcome.next_cursor, None
        followed: set[str | None] = set()
        if self._session is not None and way.outcome.pages:
            followed = self._recall_cursors(way, self._session)
        while True:
            cursor = choose_cursor(page, start, way.handle, followed)
            if way.is_left:
                raise asyncio.CancelledError
            try:
                page, body = await self._buyer.buy(way, cursor)
            except AnsweredCancellation as cancellation:
                self._leave(way)
                page, body = cancellation.answer
            if way.has_landed:
                way.has_landed = False
            else:
                self._note_page(way, page)
                is_kept = self._session is None or await self._store(way, page, body, self._session)
                if is_kept and (self.show is not None or not self._run.keep_accounts):
                    await self._hand_over(way, page)
            if way.state in _ENDS:
                return
            page.raise_for_status()
            followed.add(cursor)

    def _recall_cursors(self, way: Way, session: StoreSession) -> set[str | None]:
        """Give the cursors that an earlier run followed, and that are not to be followed again."""
        cursors = session.cursors(way.index)
        start = way.outcome.next_cursor
        # The last page may be asked for once more: the profile was private, or the limit cut it.
        return set(cursors) - ({start} if cursors[-1:] == [start] else set())

    def _add_rows(self, way: Way, page: FollowingPage) -> None:
        """Put a page's rows into the outcome; there they are safe until they are elsewhere."""
        accounts, limit = way.outcome.accounts, self._run.limit_per_handle
        accounts += page.accounts
        is_kept = self._run.keep_accounts and self.show is None
        if limit is not None and is_kept and not way.is_cut and len(accounts) > limit:
            way.is_cut, way.cut_at = True, page.cursor

    async def _hand_over(self, way: Way, page: FollowingPage) -> None:
        """Give a page to the consumer, now or with the outcome."""
        if self.show is not None:
            way.outcome.accounts.clear()
            try:
                await self.show(page)
            except asyncio.CancelledError:  # it was handed over, and waited for room
                self._leave(way)
        elif not self._run.keep_accounts:
            way.outcome.accounts.clear()

    def _note_page(self, way: Way, page: FollowingPage) -> None:
        """Note a page that was paid."""
        outcome = way.outcome
        self.pages += 1
        self.accounts += len(page.accounts)
        outcome.pages += 1
        way.rows += len(page.accounts)
        outcome.status = page.status
        if page.total is not None:
            outcome.total = page.total
        way.state, outcome.next_cursor = way.choose_state(page, self._run)
        outcome.complete = way.state == "complete"
        self._add_rows(way, page)

    async def _store(
        self, way: Way, page: FollowingPage, body: bytes, session: StoreSession
    ) -> bool:
        """Put a page that was noted into the store; `False` if there is no time to see it there."""
        charged, at_risk = way.take_cost()
        storing = session.commit_page(
            way.index,
            page,
            body,
            state=way.state,
            next_cursor=way.outcome.next_cursor,
            credits_charged=charged,
            at_risk=at_risk,
        )
        try:
            await asyncio.wait((storing,))  # which a cancellation leaves as it is
            storing.result()
        except StoreError:
            way.state = "pending"  # what the page said of it is not in the store, and must not be
            if self.show is not None:
                await self.show(page)
            raise
        except asyncio.CancelledError:  # it is in the queue, and may come to the disk
            storing.add_done_callback(partial(self._hear_of, way.outcome))
            self._leave(way)
            if self.show is not None:
                await self.show(page)
            return False
        return True

    def _hear_of(self, outcome: Outcome, storing: asyncio.Future[None]) -> None:
        """Tell an outcome what became of its last page, when nobody waited for that any more."""
        error = storing.exception()
        if isinstance(error, FollowingError):
            outcome.error, outcome.is_unfinished, outcome.complete = error, True, False
        elif self.show is not None or not self._run.keep_accounts:
            outcome.accounts.clear()

    def _leave(self, way: Way) -> None:
        """Ask for nothing more, and wait for no room: what is paid is kept, then all is over."""
        self._end("cancelled", None)
        way.is_left = True

    async def _fail(self, way: Way, error: FollowingError) -> None:
        """Note what ended a lookup, and end the run if it speaks of no handle."""
        outcome = way.outcome
        outcome.error = drop_frames(error)  # they would hold the outcome
        if reason := find_reason(error, self._ledger):
            outcome.is_unfinished = True
            self._end(reason, error)
        elif way.state == "pending":
            way.state = "failed"
        if not way.is_recalling:
            with suppress(StoreError):  # the run hears of it by its next page, or at its end
                await self._note_end(way)

    def _abandon(self, way: Way) -> None:
        """Note, without waiting, that a lookup was cancelled: what was sent is at risk."""
        self._end("cancelled", None)
        outcome, stop = way.outcome, self._ledger.stop
        outcome.is_unfinished = True
        outcome.error = copy(stop)
        if isinstance(stop, RequestError):  # it speaks of the page that ended the run
            changes = {"handle": outcome.handle, "cursor": outcome.next_cursor, "attempts": 0}
            outcome.error = stop.replace(**changes, may_be_charged=way.at_risk > 0)
        if not way.is_recalling:
            with suppress(StoreError):
                self._note_end(way).cancel()

    def _note_end(self, way: Way) -> asyncio.Future[None]:
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
