"""When a request may go: the only file that makes requests wait for each other.

The law: pause, then slot, then a look at the pause again, then the credits, with no await between
reserving and sending. A slot is never held while waiting, and who came first goes first.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from copy import copy
from heapq import heappop, heappush
from itertools import chain, count

import attrs

from ._errors import APIError, ClientClosedError, FollowingError, InsufficientCreditsError
from ._ledger import Ledger, Permit
from ._limits import SLOW_PROBE, AdaptiveLimit, Pause, ThrottleState


@attrs.define(order=True)
class _Waiter:
    """One place in the queue. It is woken with `True` and a slot, or with `False` to look again."""

    ticket: int
    """Who came first has the smaller one."""
    ledger: Ledger = attrs.field(order=False)
    max_wait: float = attrs.field(order=False)
    woken: asyncio.Future[bool] = attrs.field(order=False)
    promised: int = attrs.field(default=0, order=False)
    """Credits kept for it from when it gets a slot until it reserves them."""


class Throttle:
    """Admits requests one by one and hears what became of them.

    Args:
        limit: How many may be in flight.
        clock: Seconds that never go back.
        pause: Until when nobody may send.
    """

    def __init__(self, limit: AdaptiveLimit, clock: Callable[[], float], pause: Pause) -> None:
        self._limit = limit
        self._clock = clock
        self._pause = pause
        self._in_flight = 0
        self._waiting = 0
        self._tickets = count()
        self._queue: list[_Waiter] = []
        """A heap: who came first is first."""
        self._rooms: dict[Ledger, list[_Waiter]] = {}
        """Heaps of those for whom a ledger has no room until something reserved is settled."""
        self._resting: dict[int, _Waiter] = {}
        """Those who back off before a retry, by ticket."""
        self._timer: asyncio.TimerHandle | None = None
        self._out_of_credits: InsufficientCreditsError | None = None
        self._resumed_at = float("-inf")
        self._is_closed = False
        self.answered_at = float("-inf")
        """When the last answer came that was no refusal, by the clock."""

    @property
    def state(self) -> ThrottleState:
        """A snapshot."""
        return ThrottleState(
            limit=self._limit.allowed,
            in_flight=self._in_flight,
            waiting=self._waiting,
            paused_for=self._pause.remaining(self._clock()),
        )

    def admit_at_once(self, ledger: Ledger) -> Permit | None:
        """Admit a request if nothing at all stands against it now; `None` means to use `admit`."""
        now = self._clock()
        if (
            self._waiting
            or self._in_flight >= self._limit.allowed
            or now < self._pause.until
            or self._is_closed
            or self._out_of_credits is not None
            or not ledger.has_room()
        ):
            return None
        self._in_flight += 1
        return self._start(ledger, now)

    async def admit(self, ledger: Ledger, max_wait: float) -> Permit:
        """Wait until a request may go, and reserve its credits.

        Args:
            ledger: Who pays.
            max_wait: Seconds: the longest pause to wait for.

        Raises:
            APIError: The server asked for a longer pause, or said that the credits are gone.
            BudgetExceededError: The budget is spent.
            ClientClosedError: The client was closed.
            FollowingError: The `stop` of the ledger.
        """
        if (permit := self.admit_at_once(ledger)) is not None:
            return permit
        self._raise_problem(ledger, max_wait)
        now = self._clock()
        self._waiting += 1
        try:
            return await self._wait(ledger, max_wait)
        finally:
            self._waiting -= 1
            ledger.count_wait(self._clock() - now)

    def settle(self, permit: Permit, charged: int = 0, at_risk: int = 0) -> None:
        """Give a permit back, with the credits its attempt cost and those nobody knows about."""
        permit.ledger.settle(permit.reserved, charged, at_risk)
        if self._rooms:
            for ledger in permit.ledger.chain:
                if ledger in self._rooms and ledger.is_spent():
                    _wake(self._rooms.pop(ledger))
        self._release()

    def note_answer(self) -> None:
        """Note that an answer came, before anything is made of it."""
        self.answered_at = self._clock()

    def approve(self, permit: Permit, *, is_good: bool = True) -> None:
        """Note what the answer noted last says of a request; `is_good` if it is as it should be."""
        if permit.sent_at >= self._pause.until:
            self._pause.streak = 0
        self._limit.answer(self.answered_at, permit.sent_at, is_good=is_good)

    def refuse(self, permit: Permit, seconds: float, reason: APIError, jitter: float) -> None:
        """Note that the server asked to wait: nobody sends before that, and then fewer do."""
        now = self._clock()
        self._limit.refuse(now, permit.sent_at, self._in_flight)
        self._stop_timer()
        # A copy without the traceback, which would keep the frames of the caller alive.
        self._pause.begin(now, seconds, reason.replace(), jitter)
        permit.ledger.count_pause()
        longest = self._pause.seconds
        _wake(waiter for waiter in self._all_waiters() if waiter.max_wait < longest)

    @property
    def refusals(self) -> int:
        """The number of the pause that a refusal now begins, or belongs to, counted from 1."""
        is_paused = self._pause.remaining(self._clock()) > 0
        return self._pause.streak if is_paused else self._pause.streak + 1

    def stop_spending(self, permit: Permit, reason: InsufficientCreditsError) -> None:
        """Send nothing more, until `resume_spending`: the server said that the credits are gone.

        An answer to what was sent before the last `resume_spending` is old news.
        """
        if permit.sent_at >= self._resumed_at:
            self._out_of_credits = reason.replace()
            _wake(self._all_waiters())

    def resume_spending(self) -> None:
        """Send again: there are credits."""
        self._out_of_credits = None
        self._resumed_at = self._clock()

    async def back_off(self, ledger: Ledger, seconds: float) -> None:
        """Wait before a retry, without a slot; no longer than anything may be sent at all."""
        woken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(next(self._tickets), ledger, math.inf, woken)
        self._resting[waiter.ticket] = waiter
        try:
            await asyncio.wait((woken,), timeout=seconds)
        finally:
            del self._resting[waiter.ticket]

    def stop(self, ledger: Ledger, reason: FollowingError) -> None:
        """Send nothing more that a ledger, or one below it, pays for; what was sent may land."""
        ledger.stop = reason
        _wake(waiter for waiter in self._all_waiters() if ledger in waiter.ledger.chain)

    def close(self) -> None:
        """Send nothing more, for good."""
        self._is_closed = True
        self._stop_timer()
        _wake(self._all_waiters())

    def _start(self, ledger: Ledger, now: float) -> Permit:
        self._limit.admit(self._in_flight)
        return Permit(ledger, ledger.reserve(), now)

    def _raise_problem(self, ledger: Ledger, max_wait: float) -> None:
        """Raise what stands against sending, for good or for longer than `max_wait`."""
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if (stop := ledger.find_stop()) is not None:
            raise copy(stop)
        if self._out_of_credits is not None:
            raise self._out_of_credits.replace()
        reason, remaining = self._pause.reason, self._pause.remaining(self._clock())
        if reason is not None and remaining and self._pause.seconds > max_wait:
            raise reason.replace(retry_after=min(remaining, self._pause.seconds))
        block = ledger.find_block()
        if block is not None and block.is_spent():
            raise block.make_error()

    async def _wait(self, ledger: Ledger, max_wait: float) -> Permit:
        """Queue until there are slot and credits and no pause; keep the place if one is lost."""
        ticket = next(self._tickets)
        while True:
            has_slot = await self._wait_for_slot(ticket, ledger, max_wait)
            now = self._clock()
            try:
                self._raise_problem(ledger, max_wait)
            except FollowingError:
                if has_slot:
                    self._release()
                raise
            if has_slot:
                if not self._pause.remaining(now) and ledger.find_block() is None:
                    return self._start(ledger, now)
                self._release()

    async def _wait_for_slot(self, ticket: int, ledger: Ledger, max_wait: float) -> bool:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(ticket, ledger, max_wait, future)
        heappush(self._queue, waiter)
        self._hand_out()
        try:
            has_slot = await future
        except asyncio.CancelledError:
            if not future.cancel() and not future.cancelled() and future.result():
                ledger.promise(-waiter.promised)  # a slot came in the same moment
                self._release()
            raise
        ledger.promise(-waiter.promised)
        return has_slot

    def _release(self) -> None:
        self._in_flight -= 1
        if self._waiting or self._rooms:
            self._hand_out()

    def _hand_out(self) -> None:
        """Give free slots to who waits longest, or see to it that this is done later."""
        while self._waiting and (line := self._find_line()):
            now = self._clock()
            if line[0].woken.done():
                heappop(line)
            elif remaining := self._pause.remaining(now):
                self._wake_after(remaining)
                return
            elif self._in_flight >= self._limit.allowed:
                if self._limit.is_ramping:
                    self._wake_after(SLOW_PROBE, then=self._limit.lose_patience)
                return
            else:
                self._serve(heappop(line))
        self._rooms = {ledger: room for ledger, room in self._rooms.items() if room}

    def _find_line(self) -> list[_Waiter] | None:
        """Find who waits longest: in the queue, or in a room whose ledger has credits now."""
        rooms = [room for ledger, room in self._rooms.items() if not ledger.is_full()]
        return min((line for line in (self._queue, *rooms) if line), default=None)

    def _serve(self, waiter: _Waiter) -> None:
        """Give a slot and a promise of credits, or a place where the credits are waited for."""
        block = waiter.ledger.find_block()
        if block is None:
            self._in_flight += 1
            waiter.promised = waiter.ledger.promise(waiter.ledger.price)
            waiter.woken.set_result(True)
        elif block.is_spent():
            waiter.woken.set_result(False)
        else:
            heappush(self._rooms.setdefault(block, []), waiter)

    def _all_waiters(self) -> list[_Waiter]:
        rooms = chain.from_iterable(self._rooms.values())
        return [*self._queue, *rooms, *self._resting.values()]

    def _wake_after(self, seconds: float, *, then: Callable[[], None] | None = None) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._on_timer, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self, then: Callable[[], None] | None) -> None:
        self._timer = None
        if then is not None:
            then()
        self._hand_out()


def _wake(waiters: Iterable[_Waiter]) -> None:
    """Let them look again whether something stands against sending for good."""
    for waiter in waiters:
        if not waiter.woken.done():
            waiter.woken.set_result(False)
