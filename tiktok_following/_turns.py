"""When answers that came together are read: few in each pass of the event loop, in their order.

The law: nobody waits while there is nothing else to do. With hundreds of pages in flight dozens
come in one pass; all read at once would be as many pages in memory before the first is done with,
cold by then, and would keep the loop from everything else. A few at a time cost half as much.
"""

import asyncio
from collections import deque

EACH_PASS = 4
"""How many are read in one pass of the loop."""


class Turns:
    """Hands out the turns."""

    def __init__(self) -> None:
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
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._begin_pass)
        return True

    async def take(self) -> None:
        """Wait for a turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _begin_pass(self) -> None:
        self._left = EACH_PASS
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._is_counting = self._left < EACH_PASS
        if self._is_counting:
            self._left = 0  # those who got a turn go on in the next pass: nobody overtakes them
            asyncio.get_running_loop().call_soon(self._begin_pass)
