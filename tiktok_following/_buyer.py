"""Buys the pages of a run: what speaks of no handle is waited for, or ends the run once.

The law: a handle fails only by what was said of it. Being out of credits, an API that nobody can
reach and a pause too long to wait for are the run's matter.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import attrs

from ._config import Options, RetryPolicy, RunOptions
from ._engine import Engine
from ._errors import (
    AuthenticationError,
    BudgetExceededError,
    ClientClosedError,
    ConnectError,
    FollowingError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    RequestTimeoutError,
    RunStoppedError,
    TransportError,
)
from ._ledger import Ledger
from ._models import Balance, FollowingPage
from ._retry import is_retryable
from ._status import StoppedBy, WaitsFor
from ._store_errors import StoreError
from ._way import Way
from ._wire import is_refusal

End = Callable[[StoppedBy, FollowingError | None], None]

_SILENT_PAGES = 3
"""Pages without an answer, one after the other, that are taken for an outage."""
_MIN_POLL = 0.05
"""Seconds between two looks at the balance, at least."""
_REASONS: dict[type[FollowingError], StoppedBy] = {
    InsufficientCreditsError: "out_of_credits",
    BudgetExceededError: "budget",
    AuthenticationError: "unauthorized",
    PermissionDeniedError: "forbidden",
    NotFoundError: "wrong_route",
    ClientClosedError: "cancelled",
}


def find_reason(error: FollowingError, ledger: Ledger) -> StoppedBy | None:
    """Tell what an error says of the whole run; `None` if it speaks of one handle alone.

    Args:
        error: How a lookup ended.
        ledger: Who paid for it.
    """
    if isinstance(error, RunStoppedError):
        return "user"
    if isinstance(error, StoreError):
        return None if isinstance(error.__cause__, ValueError) else "store"  # one damaged page
    if is_retryable(error) and _is_out_of_budget(ledger):
        return "budget"  # it would have been tried again
    if is_refusal(error):
        return "no_progress"  # a pause longer than the policy waits for
    return _REASONS.get(type(error))


def _is_out_of_budget(ledger: Ledger) -> bool:
    block = ledger.find_block()
    return ledger.find_stop() is not None or (block is not None and block.is_spent())


class Buyer:
    """Buys pages for all workers of a run.

    Args:
        engine: The client's.
        options: The client's.
        run: The run's.
        ledger: The run's.
        end: Ends the run.
    """

    def __init__(
        self, engine: Engine, options: Options, run: RunOptions, ledger: Ledger, end: End
    ) -> None:
        self._engine = engine
        self._options = options
        self._run = run
        self._ledger = ledger
        self._end = end
        self._under_way = 0
        self._quiet_since = 0.0
        """Since when pages are asked for and nothing is answered."""
        self._answered_before = engine.pages.answered_at
        """When the client was answered last before this run."""
        self._failures = 0
        """Pages in a row that nothing was heard of, though they were sent."""
        self._failed_at = float("-inf")
        self._unanswered_since = float("-inf")
        """When the last answer before the last outage came."""
        self._probe = asyncio.Lock()
        """Who has it tries whether an outage is over."""
        self._looks = 0
        """Looks at the balance since the last page."""
        self._has_credits = asyncio.Event()
        self._has_credits.set()
        self._poller: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[Balance] | None = None
        """A question on the free route, to tell whether an outage is over."""
        self._once = attrs.evolve(options, retry=RetryPolicy.none(), takes_turns=False)

    async def buy(self, way: Way, cursor: str | None) -> tuple[FollowingPage, bytes]:
        """Buy one page, with its body.

        Args:
            way: The handle whose it is.
            cursor: Where.

        Raises:
            FollowingError: It could not be had, or the run is over.
        """
        self._begin()
        try:
            try:
                bought = await self._ask(way, cursor)
            except (InsufficientCreditsError, TransportError) as error:
                failed = error
            else:
                self._looks = 0
                return bought
            return await self._wait_and_buy(failed, way, cursor)
        finally:
            self._under_way -= 1

    @property
    def waits_for(self) -> WaitsFor | None:
        """What must come before another page can be bought; `None` if nothing must."""
        is_silent = self._engine.pages.answered_at == self._unanswered_since
        if self._probe.locked() and is_silent:
            return "connection"
        return None if self._poller is None or self._poller.done() else "credits"

    def is_stalled(self, now: float) -> bool:
        """Tell whether pages are asked for, and none was answered for `stall_timeout` seconds."""
        since = max(self._quiet_since, self._engine.pages.answered_at)
        return self._under_way > 0 and now - since >= self._run.stall_timeout

    def wake(self) -> None:
        """Let those who wait for credits, or for a free answer, see that the run is over."""
        self._has_credits.set()
        if self._asking is not None:
            self._asking.cancel()

    async def close(self) -> None:
        """End the look-out for credits, and for a free answer."""
        for task in (self._poller, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _begin(self) -> None:
        """Count a page that is asked for: only meanwhile silence means something."""
        if self._under_way == 0:
            self._quiet_since = time.monotonic()
        self._under_way += 1

    async def _wait_and_buy(
        self, failed: FollowingError, way: Way, cursor: str | None
    ) -> tuple[FollowingPage, bytes]:
        """Buy what failed for a reason that passes, once it has passed."""
        while True:
            if isinstance(failed, TransportError):
                if not self._is_outage(failed):
                    raise failed
                await way.note()
                bought = None
                with suppress(InsufficientCreditsError):  # asked once more, it is heard below
                    bought = await self._sit_out(failed, way, cursor)
                if bought is not None:
                    return bought
            else:
                if self._run.on_insufficient_credits == "stop":
                    raise failed
                await way.note()
                await self._wait_for_credits()
            try:
                return await self._ask(way, cursor)
            except (InsufficientCreditsError, TransportError) as error:
                failed = error

    def _ask(
        self, way: Way, cursor: str | None
    ) -> Coroutine[Any, Any, tuple[FollowingPage, bytes]]:
        return self._engine.buy(
            way.handle, cursor, self._ledger, self._options, trim=self._run.trim, bill=way
        )

    def _is_outage(self, error: TransportError) -> bool:
        """Tell whether a page failed as nobody gets through, and not for itself.

        Not being able to connect says nothing of a page. Silence may: it is taken for the API's
        when several pages in a row met it. While a page is timed out, others can be answered; when
        connections break, all of them do at once, and what was answered before says nothing. Once
        the run is over nobody waits for anything, and what ended it may be such a failure.
        """
        answered_at = self._engine.pages.answered_at
        if isinstance(error, ConnectError) and answered_at == self._answered_before:
            self._end("no_progress", error)  # it never was there
        if self._ledger.stop is not None:
            return False
        if isinstance(error, ConnectError):
            return True
        if isinstance(error, RequestTimeoutError) and answered_at >= error.sent_at:
            return False  # others were heard meanwhile
        self._failures = 1 if answered_at > self._failed_at else self._failures + 1
        self._failed_at = time.monotonic()
        return self._failures >= _SILENT_PAGES

    async def _sit_out(
        self, failed: TransportError, way: Way, cursor: str | None
    ) -> tuple[FollowingPage, bytes] | None:
        """Wait until anybody was answered; one page at a time tries, and gives what it gets.

        What may have been charged is asked for again only when a free route was answered, and not
        at all without `ambiguous_retries`.
        """
        pages = self._engine.pages
        began, failures = pages.answered_at, self._failures - 1 if failed.may_be_charged else 2
        async with self._probe:
            self._unanswered_since = began
            while pages.answered_at == began and self._ledger.stop is None:
                failures += 1
                await pages.back_off(self._ledger, self._options.retry.backoff(failures))
                if pages.answered_at != began or not await self._is_answered(failed):
                    continue
                if not self._may_repeat(failed):
                    break
                try:
                    return await self._ask(way, cursor)
                except TransportError as error:
                    failed = error
                await way.note()
        if self._ledger.stop is None and not self._may_repeat(failed):
            raise failed
        return None

    def _may_repeat(self, failed: TransportError) -> bool:
        return self._options.retry.ambiguous_retries > 0 or not failed.may_be_charged

    async def _is_answered(self, failed: TransportError) -> bool:
        """Tell whether to try again: at once if that is free, or else when a free route is."""
        if not failed.may_be_charged:
            return True
        self._asking = asyncio.create_task(self._engine.ask_balance(self._once))
        try:
            await asyncio.wait((self._asking,))
        finally:
            self._asking.cancel()
        if self._asking.cancelled():
            return False
        error = self._asking.exception()  # a final refusal of the question is an answer too
        return error is None or not (is_retryable(error) or isinstance(error, TimeoutError))

    async def _wait_for_credits(self) -> None:
        """Wait until there are credits, or the run is over; that is no silence."""
        if self._poller is None or self._poller.done():
            self._has_credits.clear()
            self._poller = asyncio.create_task(self._poll_balance())
        self._under_way -= 1
        try:
            await self._has_credits.wait()
        finally:
            self._begin()

    async def _poll_balance(self) -> None:
        """Ask for the balance, less and less often, until there is one."""
        try:
            while self._ledger.stop is None:
                self._looks += 1
                seconds = max(_MIN_POLL, self._options.retry.backoff(self._looks))
                await self._engine.pages.back_off(self._ledger, seconds)
                if self._ledger.stop is None and await self._has_balance():
                    return
        finally:
            self._has_credits.set()

    async def _has_balance(self) -> bool:
        try:
            return (await self._engine.ask_balance(self._options)).balance > 0
        except FollowingError as error:
            if reason := _REASONS.get(type(error)):
                self._end(reason, error)
        return False  # asked again, later, unless that was the end
