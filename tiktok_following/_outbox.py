"""What a run has for its consumer: handed over one by one, held in a bounded window.

The law: a slow consumer slows the run, and what was put in comes out.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Takes things as they come and gives them as they came, or in the order of their numbers.

    Args:
        window: How many may be under way or wait here before there is no more room.
        is_ordered: Whether to give them by their numbers, which then must have no gap.
    """

    def __init__(self, window: int, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._room = window
        self._is_unbounded = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held: OrderedDict[int, T | None] = OrderedDict()
        self._turn = 0
        self._changed = asyncio.Event()
        self._is_closed = False

    def take_room(self) -> bool:
        """Take the room for one more if there is any; it is given back when that one is taken."""
        if self._room > 0 or self._is_unbounded:
            self._room -= 1
            return True
        return False

    async def wait_for_room(self) -> None:
        """Take the room for one more, as soon as there is any."""
        if self.take_room():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancel() and not future.cancelled():
                self._give_room()  # it came in the same moment
            raise

    def stop_waiting(self) -> None:
        """Let all who wait for room go on, now and from now on."""
        self._is_unbounded = True
        while self._waiting:
            self._give_room()

    def _give_room(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._room += 1

    def put(self, number: int, thing: T | None) -> None:
        """Take something; `None` fills the place of a number that has nothing."""
        self._held[number] = thing
        self._changed.set()

    def close(self) -> None:
        """Take nothing more; what is held can still be had."""
        self._is_closed = True
        self._changed.set()

    def get_at_once(self) -> T | None:
        """Give the next thing if it is there; `None` means to use `get`."""
        while (number := self._find_next()) is not None:
            self._turn = number + 1
            self._give_room()
            if (thing := self._held.pop(number)) is not None:
                return thing
        return None

    async def get(self) -> T | None:
        """Give the next thing, or `None` when there will be none."""
        while (thing := self.get_at_once()) is None:
            if self._is_closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return thing

    def _find_next(self) -> int | None:
        if not self._held:
            return None
        if not self._is_ordered:
            return next(iter(self._held))
        if self._turn in self._held:
            return self._turn
        return min(self._held) if self._is_closed else None
