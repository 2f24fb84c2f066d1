"""Answers of a run that its consumer reads itself, one by one, while it waits for outcomes.

The law: what is read is handed over before the next is read, so that it is near the processor both
times; three pages read ahead of the consumer cost a tenth of a page's time. A consumer that does
other things holds nobody up: then the workers read, in their turns.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ._turns import Turns

HOLD = 0.003
"""Seconds that the consumer reads on before it lets the loop do something else."""
Take = Callable[[Any, Any], None]


class Landings:
    """Holds the answers that came while the consumer waited.

    Args:
        turns: Where workers wait to read what the consumer does not.
        take: Takes what was read, with whose it is.
        clock: Seconds that never go back.
    """

    def __init__(self, turns: Turns, take: Take, clock: Callable[[], float]) -> None:
        self.take = take
        self.is_awaited = False
        """Whether the consumer waits, and would read."""
        self.wake: Callable[[], object] = _nobody
        """Lets the consumer look."""
        self._turns = turns
        self._waiting: deque[tuple[asyncio.Future[None], Callable[[], None]]] = deque()
        self._is_watched = False
        """Whether it is looked after what the consumer left."""
        self._clock = clock
        self._until = 0.0
        """When the consumer has read on for long enough."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, land: Callable[[], None]) -> asyncio.Future[None]:
        """Leave an answer to the consumer; give what is to be awaited until it is read, or may be.

        Args:
            land: Reads it.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiting:  # the consumer stands still, and the loop goes on
            self._until = self._clock() + HOLD
        self._waiting.append((turn, land))
        self.wake()
        return turn

    async def land(self) -> None:
        """Read the answer that waits longest, with a pass of the loop now and then before it."""
        if self._clock() >= self._until:
            await asyncio.sleep(0)
            self._until = self._clock() + HOLD
        while self._waiting:
            turn, land = self._waiting.popleft()
            if not turn.done():
                try:
                    land()
                finally:
                    turn.set_result(None)
                return

    def leave(self) -> None:
        """Note that the consumer has something to do; if it is not back soon, others read."""
        self.is_awaited = False
        if self._waiting and not self._is_watched:
            self._is_watched = True
            asyncio.get_running_loop().call_soon(self._hand_on)

    def _hand_on(self) -> None:
        self._is_watched = False
        if not self.is_awaited:
            while self._waiting:
                self._turns.add(self._waiting.popleft()[0])


def _nobody() -> None:
    pass
