"""When a run's answers that came together are read: few in each pass of the loop, in their order.

The law: nobody waits while there is nothing else to do. With hundreds of pages in flight dozens
come in one pass; all read at once would be as many pages in memory before the consumer has the
first, cold by then and looked at again and again by the garbage collector, and would keep the loop
from everything else. A few at a time cost half as much. What is handed over at once needs no turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable

EACH_PASS = 3
"""How many are read in one pass of the loop, at least."""
EACH_SECOND = 1000.0
"""How many for each second that a pass takes: where others make them long, there are few."""


class Turns:
    """Hands out the turns.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = 0.0
        """When the pass was begun that is looked out from."""
        self._left = EACH_PASS
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False
        """Whether the next pass is looked out for."""

    def take_at_once(self) -> bool:
        """Take a turn in this pass of the loop if there is one left."""
        if not self._left:
            return False
        self._left -= 1
        if not self._is_counting:
            self._look_out()
        return True

    def take(self) -> asyncio.Future[None]:
        """Give what is to be awaited for a turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add(turn)
        return turn

    def add(self, turn: asyncio.Future[None]) -> None:
        """Let somebody who awaits this have a turn."""
        self._waiting.append(turn)
        if not self._is_counting:
            self._look_out()

    def _look_out(self) -> None:
        self._is_counting = True
        self._began = self._clock()
        asyncio.get_running_loop().call_soon(self._begin_pass)

    def _begin_pass(self) -> None:
        allowed = max(EACH_PASS, int((self._clock() - self._began) * EACH_SECOND))
        self._left = allowed
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._is_counting = self._left < allowed
        if self._is_counting:
            self._left = 0  # those who got a turn go on in the next pass: nobody overtakes them
            self._look_out()
        else:
            self._left = EACH_PASS  # this pass may have been long, the next is another
