"""When a request may go: the only file that makes requests wait for each other.

The law: pause, then slot, then a look at the pause again, then the credits, with no await between
reserving and sending. A slot is never held while waiting, and who came first goes first.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import attrs

from ._errors import (
    APIError,
    BudgetExceededError,
    ClientClosedError,
    FollowingError,
    InsufficientCreditsError,
)
from ._ledger import Ledger
from ._limits import AdaptiveLimit, Pause


@attrs.frozen(kw_only=True)
class ThrottleState:
    """How the throttle stands: a snapshot."""

    limit: int
    """Pages that may be in flight now, as found by growing and being refused."""
    in_flight: int
    """Pages asked for and not answered yet."""
    waiting: int
    """Pages queued for a slot, the end of a pause, or credits."""
    paused_for: float
    """Seconds until the shared pause ends, 0 without one."""


@attrs.define
class Permit:
    """The right to send one request now; it must be settled."""

    ledger: Ledger
    reserved: int
    sent_at: float


@attrs.define(eq=False)
class _Waiter:
    """One place in the queue. It is woken with `True` and a slot, or with `False` to look again."""

    woken: asyncio.Future[bool]
    max_wait: float


class Throttle:
    """Admits requests one by one and hears what became of them.

    Args:
        limit: How many may be in flight.
        clock: Seconds that never go back.
    """

    def __init__(self, limit: AdaptiveLimit, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._pause = Pause()
        self._in_flight = 0
        self._waiting = 0
        self._queue: deque[_Waiter] = deque()
        self._rooms: dict[Ledger, deque[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._out_of_credits: InsufficientCreditsError | None = None
        self._is_closed = False

    @property
    def state(self) -> ThrottleState:
        """A snapshot."""
        return ThrottleState(
            limit=self._limit.allowed,
            in_flight=self._in_flight,
            waiting=self._waiting,
            paused_for=self._pause.remaining(self._clock()),
        )

    async def admit(self, ledger: Ledger, max_wait: float) -> Permit:
        """Wait until a request may go, and reserve its credits.

        Args:
            ledger: Who pays.
            max_wait: Seconds: the longest pause to wait for.

        Raises:
            APIError: The server asked for a longer pause, or said that the credits are gone.
            BudgetExceededError: The budget is spent.
            ClientClosedError: The client was closed.
        """
        now = self._clock()
        self._raise_problem(ledger, max_wait)
        if not self._queue and self._is_open(now) and ledger.find_block() is None:
            self._in_flight += 1
            return self._start(ledger, now)
        self._waiting += 1
        try:
            return await self._wait(ledger, max_wait)
        finally:
            self._waiting -= 1
            ledger.count_wait(self._clock() - now)

    def settle(self, permit: Permit, *, charged: int = 0, at_risk: int = 0) -> None:
        """Give a permit back, with the credits its attempt cost and those nobody knows about."""
        permit.ledger.settle(permit.reserved, charged=charged, at_risk=at_risk)
        self._release()
        if self._rooms:
            self._offer_room(permit, permit.reserved - charged - at_risk)

    def approve(self, permit: Permit) -> None:
        """Note that the server answered a request as it should."""
        self._pause.streak = 0
        self._limit.answer(self._clock(), permit.sent_at)

    def refuse(self, permit: Permit, seconds: float, reason: APIError, jitter: float) -> None:
        """Note that the server asked to wait: nobody sends before that, and then fewer do."""
        now = self._clock()
        self._limit.refuse(now, permit.sent_at, self._in_flight)
        self._pause.begin(now, seconds, reason, jitter)
        permit.ledger.count_pause()
        for waiter in self._queue:
            if waiter.max_wait < self._pause.seconds and not waiter.woken.done():
                waiter.woken.set_result(False)

    @property
    def refusals(self) -> int:
        """Pauses one after the other without a good answer in between."""
        return self._pause.streak

    def stop_spending(self, reason: InsufficientCreditsError) -> None:
        """Send nothing more, until `resume_spending`: the server said that the credits are gone."""
        self._out_of_credits = reason
        self._wake_all()

    def resume_spending(self) -> None:
        """Send again: there are credits."""
        self._out_of_credits = None

    def close(self) -> None:
        """Send nothing more, for good."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake_all()

    def _is_open(self, now: float) -> bool:
        return self._in_flight < self._limit.allowed and not self._pause.remaining(now)

    def _start(self, ledger: Ledger, now: float) -> Permit:
        self._limit.admit(self._in_flight)
        return Permit(ledger, ledger.reserve(), now)

    def _raise_problem(self, ledger: Ledger, max_wait: float) -> None:
        """Raise what stands against sending, for good or for longer than `max_wait`."""
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if self._out_of_credits is not None:
            raise self._out_of_credits.replace()
        reason, remaining = self._pause.reason, self._pause.remaining(self._clock())
        if reason is not None and remaining and self._pause.seconds > max_wait:
            raise reason.replace(retry_after=min(remaining, self._pause.seconds))
        block = ledger.find_block()
        if block is not None and block.is_spent():
            spent = block.live.credits_charged + block.live.credits_at_risk
            raise BudgetExceededError(
                f"max_credits={block.max_credits} does not allow another page: "
                f"{spent} spent or at risk, a page costs {block.price}"
            )

    async def _wait(self, ledger: Ledger, max_wait: float) -> Permit:
        is_first = False
        while True:
            while block := ledger.find_block():
                await self._wait_for_room(block)
                self._raise_problem(ledger, max_wait)
            if not await self._wait_for_slot(max_wait, is_first=is_first):
                self._raise_problem(ledger, max_wait)
                continue
            now = self._clock()
            try:
                self._raise_problem(ledger, max_wait)
            except FollowingError:
                self._release()
                raise
            if not self._pause.remaining(now) and ledger.find_block() is None:
                return self._start(ledger, now)
            # A pause began, or others took the credits, since the slot was handed over.
            is_first = True
            self._release()

    async def _wait_for_slot(self, max_wait: float, *, is_first: bool) -> bool:
        waiter = _Waiter(asyncio.get_running_loop().create_future(), max_wait)
        (self._queue.appendleft if is_first else self._queue.append)(waiter)
        self._hand_out()
        try:
            return await waiter.woken
        except asyncio.CancelledError:
            if not waiter.woken.cancel() and not waiter.woken.cancelled() and waiter.woken.result():
                self._release()  # a slot came in the same moment
            raise

    async def _wait_for_room(self, block: Ledger) -> None:
        """Wait until something that others reserved in `block` is settled."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rooms.setdefault(block, deque()).append(future)
        await future

    def _release(self) -> None:
        self._in_flight -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give free slots to who waits longest, or see to it that this is done after the pause."""
        while self._queue:
            if self._queue[0].woken.done():
                self._queue.popleft()
            elif remaining := self._pause.remaining(self._clock()):
                self._wake_after(remaining)
                return
            elif self._in_flight < self._limit.allowed:
                self._in_flight += 1
                self._queue.popleft().woken.set_result(True)
            else:
                return

    def _wake_after(self, seconds: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._hand_out()

    def _offer_room(self, permit: Permit, freed: int) -> None:
        """Wake as many as what was freed may serve; all when nothing more will be freed."""
        for ledger in permit.ledger.chain:
            room = self._rooms.get(ledger)
            if room is None:
                continue
            number = len(room) if ledger.live.credits_reserved == 0 else freed
            while number > 0 and room:
                future = room.popleft()
                if not future.done():
                    future.set_result(None)
                    number -= 1
            if not room:
                del self._rooms[ledger]

    def _wake_all(self) -> None:
        """Let everybody look again."""
        for waiter in self._queue:
            if not waiter.woken.done():
                waiter.woken.set_result(False)
        for room in self._rooms.values():
            for future in room:
                if not future.done():
                    future.set_result(None)
        self._rooms.clear()
