"""What a run has for its consumer: handed over one by one, held in a bounded window.

The law: a slow consumer slows the run, and what was put in comes out.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from ._landings import Landings

T = TypeVar("T")


class Outbox(Generic[T]):
    """Takes things as they come and gives them as they came, or in the order of their numbers.

    Args:
        window: How many may be under way or wait here before there is no more room.
        landings: Holds answers that the consumer reads itself.
        is_ordered: Whether to give them by their numbers, which then must have no gap.
    """

    def __init__(self, window: int, landings: Landings | None = None, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._room = window
        self._is_unbounded = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ready: deque[T] = deque()
        self._held: dict[int, T | None] = {}
        """By number, what comes before it is not there yet."""
        self._turn = 0
        self._changed = asyncio.Event()
        self.landings = landings
        if landings is not None:
            landings.wake = self._changed.set
        self._is_closed = False

    def take_room(self) -> bool:
        """Take the room for one more if there is any; it is given back when that one is taken."""
        if self._room > 0 or self._is_unbounded:
            self._room -= 1
            return True
        return False

    def wait_for_room(self) -> asyncio.Future[None]:
        """Take the room for one more as soon as there is any, when `take_room` had none."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

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
        if self._is_ordered:
            self._held[number] = thing
            while self._turn in self._held:
                self._make_ready(self._held.pop(self._turn))
                self._turn += 1
        else:
            self._make_ready(thing)

    def close(self) -> None:
        """Take nothing more; what is held can still be had."""
        for number in sorted(self._held):
            self._make_ready(self._held.pop(number))
        self._is_closed = True
        self._changed.set()

    def get_at_once(self) -> T | None:
        """Give the next thing if it is there; `None` means to use `get`."""
        if not self._ready:
            return None
        self._give_room()
        return self._ready.popleft()

    async def get(self) -> T | None:
        """Give the next thing, or `None` when there will be none."""
        landings = self.landings
        if landings is not None:
            landings.is_awaited = True
        try:
            while (thing := self.get_at_once()) is None:
                if landings:
                    await landings.land()
                elif self._is_closed:
                    return None
                else:
                    self._changed.clear()
                    await self._changed.wait()
            return thing
        finally:
            if landings is not None:
                landings.leave()

    def _make_ready(self, thing: T | None) -> None:
        if thing is None:
            self._give_room()
        else:
            self._ready.append(thing)
            self._changed.set()
