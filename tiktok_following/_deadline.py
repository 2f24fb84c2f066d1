"""How long something may take: one timer for all that is under way.

The law: a call that is late is cancelled, once; a cancellation that came from elsewhere passes.
A timer for each call, as `asyncio.timeout` has it, costs 6 µs a page, this less than 1.
"""

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Due(Protocol):
    """Something that is to end by a time."""

    until: float
    """When it is over, by the clock of the loop; it may be put off."""

    def expire(self) -> None:
        """End it; nothing watches over it any more."""


class Deadlines:
    """Wakes up when the earliest of the deadlines under way is over, and not for those kept."""

    def __init__(self) -> None:
        self._running: set[Due] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf
        self._is_closed = False

    def add(self, deadline: Due) -> None:
        """Watch over one more."""
        self._running.add(deadline)
        if deadline.until < self._wakes_at:
            self._stop_timer()
            self._start_timer(deadline.until)

    def remove(self, deadline: Due) -> None:
        """Watch over one less; the timer stays, for those that come."""
        self._running.discard(deadline)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Leave no timer behind, once nothing is under way."""
        self._is_closed = True
        if not self._running:
            self._stop_timer()

    def _start_timer(self, when: float) -> None:
        self._wakes_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._wake)

    def _stop_timer(self) -> None:
        self._wakes_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._stop_timer()
        now = asyncio.get_running_loop().time()
        over = [deadline for deadline in self._running if deadline.until <= now]
        for late in sorted(over, key=lambda deadline: deadline.until):
            self._running.discard(late)
            late.expire()
        if self._running:
            self._start_timer(min(deadline.until for deadline in self._running))


class Deadline:
    """The deadline of one call, in the task that makes it; it runs from birth until `end`.

    Args:
        deadlines: Where it is watched over.
        seconds: How long the call may take; `None` means no limit.
    """

    __slots__ = ("_before", "_deadlines", "_is_over", "_task", "until")

    def __init__(self, deadlines: Deadlines, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - for the type checkers # nosec B101
        self._deadlines = deadlines
        self._task = task
        self._before = task.cancelling()
        self._is_over = False
        self.until = math.inf if seconds is None else loop.time() + seconds
        """When it is over, by the clock of the loop."""
        if seconds is not None:
            deadlines.add(self)

    @property
    def is_over(self) -> bool:
        """Whether it is this that cancelled the task, and nothing else did."""
        return self._is_over and self._task.cancelling() - 1 <= self._before

    @contextmanager
    def hold(self) -> Generator[None]:
        """Let time not count meanwhile."""
        self._deadlines.remove(self)
        loop = asyncio.get_running_loop()
        left = self.until - loop.time()
        try:
            yield
        finally:
            if self.until != math.inf and not self._is_over:
                self.until = loop.time() + left
                self._deadlines.add(self)

    def expire(self) -> None:
        """Cancel the call."""
        self._is_over = True
        self._task.cancel()

    def end(self) -> None:
        """Let the call take as long as it takes; a cancellation by this has been dealt with."""
        self._deadlines.remove(self)
        if self._is_over:
            self._task.uncancel()
