"""The workers of a run, and who watches over them: the only file that makes tasks of handles.

The law: no task per handle, every task has an owner that awaits it, and what was begun is ended
with an outcome whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._buyer import Buyer
from ._config import Options, RunOptions
from ._engine import Engine
from ._errors import FollowingError, RunStoppedError
from ._feed import Feed
from ._landings import Landings
from ._ledger import Ledger
from ._models import FollowingPage
from ._outbox import Outbox
from ._outcomes import Outcome
from ._status import StoppedBy
from ._store_errors import StoreError
from ._tally import Tally
from ._walk import Walker
from ._way import Way

if TYPE_CHECKING:
    from ._session import StoreSession

_logger = logging.getLogger("tiktok_following")
T = TypeVar("T")

_TICK = 0.5
"""Seconds between two looks at how the run stands, at most."""
_GRACE = 0.05
"""Seconds after `drain_timeout` for answers that are here and not read yet."""
_WINDOW = 2
"""How many outcomes, or pages, there may be for the consumer: this many times the concurrency."""


class Crew:
    """Runs the workers.

    Args:
        engine: The client's.
        feed: Where the handles come from.
        options: The client's.
        run: The run's options.
        ledger: The run's.
        session: The store; `None` without one. The crew closes it.
    """

    def __init__(
        self,
        engine: Engine,
        feed: Feed,
        options: Options,
        run: RunOptions,
        ledger: Ledger,
        *,
        session: StoreSession | None,
    ) -> None:
        self._engine = engine
        self._feed = feed
        self._run = run
        self._ledger = ledger
        self._session = session
        self.buyer = Buyer(engine, options, run, ledger, self.end)
        self.walker = Walker(self.buyer, run, ledger, session, self.end, deliver=self._deliver)
        can_land = session is None and run.keep_accounts  # so nothing is awaited after reading
        landings = Landings(engine.turns, self.walker.take, time.monotonic) if can_land else None
        self.outbox = Outbox[Any](_WINDOW * run.concurrency, landings, is_ordered=run.ordered)
        self.tally = Tally()
        self.skipped = 0
        """Handles that the store had claimed for this run before."""
        self.stopped_by: StoppedBy | None = None
        self.cause: FollowingError | None = None
        self.failure: Exception | None = None
        """What came out of the input, and ended the run."""
        self.is_over = False
        self._starts = asyncio.Semaphore(run.concurrency)
        self._numbers = count()
        self._on_outcome: Callable[[Outcome], object] | None = None
        self._idle: set[asyncio.Task[None]] = set()
        """Workers with nothing in hand that was begun."""
        self._workers: list[asyncio.Task[None]] = []
        self._supervisor: asyncio.Task[None]
        self._watch: Callable[[], None]
        self._has_begun = self._is_stalled = False
        self._drain_timer: asyncio.TimerHandle | None = None

    def start(
        self, watch: Callable[[], None], on_outcome: Callable[[Outcome], object] | None = None
    ) -> None:
        """Begin, unless begun.

        Args:
            watch: Called now and then, and at the end.
            on_outcome: Takes the outcomes, while the outbox has the pages; `None` puts the outcomes
                there.
        """
        if on_outcome is not None:
            self._on_outcome = on_outcome
            self.walker.show, self.outbox.landings = self._show, None
        if self._has_begun:
            return
        self._has_begun = True
        if self.stopped_by is None:
            # With a store, some read and claim ahead while others are under way.
            size = self._run.concurrency * (1 if self._session is None else 2)
            size = size if self._feed.total is None else min(size, self._feed.total)
            self._workers = [asyncio.create_task(self._work()) for _ in range(size)]
        self._watch = watch
        self._supervisor = asyncio.create_task(self._supervise())
        self._supervisor.add_done_callback(self._see_end)

    def end(self, reason: StoppedBy, cause: FollowingError | None = None) -> None:
        """Let nothing more be asked for, and what is under way land; the first reason counts."""
        given = self.tally.total + self.skipped + self._feed.skipped
        is_done = self._feed.is_at_end and self._feed.read == given and bool(self._workers)
        if self.stopped_by is not None or self.is_over or (is_done and cause is None):
            return
        self.stopped_by, self.cause = reason, cause
        stop = cause or RunStoppedError(f"the run was stopped: {reason}", reason=reason)
        self._engine.pages.stop(self._ledger, copy(stop))
        self.buyer.wake()
        self.outbox.stop_waiting()
        for worker in self._idle:
            worker.cancel()
        loop = asyncio.get_running_loop()
        self._drain_timer = loop.call_later(self._run.drain_timeout, self._stop_draining)

    def _stop_draining(self) -> None:
        """Give up in a moment, when what came while the event loop stood still is read."""
        self._drain_timer = asyncio.get_running_loop().call_later(_GRACE, self.abandon)

    def abandon(self) -> None:
        """Let nothing more land: what is under way is booked at risk."""
        for worker in self._workers:
            worker.cancel()

    async def join(self) -> None:
        """Wait, once begun, until nothing is left; cancelling this abandons what is under way."""
        is_cancelled = False
        while not self.is_over:
            try:
                if self._supervisor.done():  # cancelled before it began, as a new task may be too
                    await self._supervise()
                else:
                    await asyncio.wait((self._supervisor,))
            except asyncio.CancelledError:  # some cancel again and again until all is done
                is_cancelled = True
                self.abandon()
        if is_cancelled:
            raise asyncio.CancelledError
        if not self._supervisor.cancelled():
            self._supervisor.result()

    def _see_end(self, _: object) -> None:
        """Let who iterates hear of the end also when the supervisor was cancelled unbegun."""
        if not self.is_over:
            self.end("cancelled")
            self.abandon()
            gone = asyncio.gather(*self._workers, return_exceptions=True)
            gone.add_done_callback(lambda _: self.outbox.close())

    async def _supervise(self) -> None:
        """Watch the workers until the last one is gone, then put everything away."""
        pending = set(self._workers)
        try:
            while pending:
                tick = min(_TICK, self._run.stall_timeout / 4)
                _, pending = await asyncio.wait(pending, timeout=tick)
                self._check_progress()
                self._watch()
        finally:
            if pending:  # this task itself was cancelled
                self.abandon()
            if pending or any(worker.cancelled() for worker in self._workers):
                self.end("cancelled")
            try:
                await asyncio.gather(*self._workers, return_exceptions=True)
            finally:
                await self._close()

    def _check_progress(self) -> None:
        """End the run when nothing comes; twice in a row, as a consumer may block the loop."""
        was_stalled, self._is_stalled = self._is_stalled, self.buyer.is_stalled(time.monotonic())
        if was_stalled and self._is_stalled:
            text = f"no page was answered for {self._run.stall_timeout:g} s"
            self.end("no_progress", RunStoppedError(text, reason="no_progress"))

    async def _close(self) -> None:
        try:
            try:
                await self.buyer.close()
            finally:
                if self._session is not None:
                    await self._close_store(self._session)
        finally:
            if self._drain_timer is not None:
                self._drain_timer.cancel()
            self.is_over = True
            self._workers.clear()  # one that was cancelled holds what it had in hand
            self.outbox.close()  # first: what the user is called with may raise SystemExit
            self._watch()

    async def _close_store(self, session: StoreSession) -> None:
        try:
            await session.finish(stopped_by=self.stopped_by, usage=self._ledger.usage)
        except StoreError as error:
            if self.stopped_by is None:
                self.stopped_by, self.cause = "store", error
            _logger.warning("the end of the run could not be written down: %s", error)
        finally:
            await session.close()

    async def _work(self) -> None:
        try:
            while self.stopped_by is None:
                if self._on_outcome is None and not self.outbox.take_room():
                    await self.outbox.wait_for_room()
                    if self.stopped_by is not None:
                        break
                outcome = self._feed.take_at_once() or await self._wait(self._feed.take())
                if outcome is None:
                    break
                handle, reader = outcome.handle or "", self.outbox.landings
                way = Way(next(self._numbers), handle, outcome, reader)
                outcome = None  # whoever gets it may let go of it
                if not handle:
                    self._deliver(way)
                elif self._session is None or await self._wait(self._claim(way, self._session)):
                    await self.walker.walk(way)
        except asyncio.CancelledError:
            self.end("cancelled")  # if nobody asked for it, it came out of the input
            raise
        except Exception as error:  # noqa: BLE001 - the consumer gets it
            self.failure = self.failure or error
            self.end("cancelled")

    async def _wait(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Wait with nothing in hand that was begun: the end of the run need not wait for this."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._idle.add(task)
        try:
            return await waiting
        finally:
            self._idle.discard(task)

    async def _claim(self, way: Way, session: StoreSession) -> bool:
        """Ask the store how far a handle is; `False` for one that is not to be looked up."""
        run = self._run
        try:
            (way.lookup,) = await session.claim(
                [way.handle],
                retry_failed=run.retry_failed,
                limit=run.limit_per_handle,
                max_pages=run.max_pages,
            )
        except StoreError as error:
            self.end("store", error)
            return False
        if way.lookup is None:  # this run has had it before
            self.skipped += 1
            if self._on_outcome is None:
                self.outbox.put(way.number, None)
            return False
        if way.lookup.state == "pending":
            await self._starts.acquire()
            way.has_started = True
        return True

    def _deliver(self, way: Way) -> None:
        """Hand the outcome of a handle over, however it ended."""
        if way.has_started:
            self._starts.release()
        self.tally.count(way.outcome)
        if self._on_outcome is None:
            self.outbox.put(way.number, way.outcome)
        else:
            self._on_outcome(way.outcome)
        most = self._run.max_errors
        if most is not None and self.tally.failed_lookups >= most:
            stop = RunStoppedError(f"{most} lookups failed", reason="errors")
            stop.__cause__ = way.outcome.error
            self.end("errors", stop)
        del way.outcome

    async def _show(self, page: FollowingPage) -> None:
        self.outbox.put(next(self._numbers), page)
        if not self.outbox.take_room():
            await self.outbox.wait_for_room()
