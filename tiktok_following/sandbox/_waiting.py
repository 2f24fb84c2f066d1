"""Wait in ways that can be ended: from another thread, or because the sandbox closes."""

import asyncio
import threading
from contextlib import suppress

_Future = asyncio.Future[None]


def _wake(future: _Future) -> None:
    if not future.done():
        future.set_result(None)


def _wake_from_anywhere(future: _Future) -> None:
    with suppress(RuntimeError):  # its loop was closed: nobody waits any more
        future.get_loop().call_soon_threadsafe(_wake, future)


class Gate:
    """Hold the answers that were scripted with it until the test lets them go.

    Usable from any thread and any loop. A released gate stays open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._released = False
        self._arrivals = 0
        self._held: list[_Future] = []
        self._watchers: list[tuple[int, _Future]] = []

    @property
    def arrivals(self) -> int:
        """How many answers have come to this gate so far, released ones included."""
        return self._arrivals

    def release(self) -> None:
        """Let go every answer that is held, and every later one at once."""
        with self._lock:
            self._released = True
            held, self._held = self._held, []
        for future in held:
            _wake_from_anywhere(future)

    async def reached(self, arrivals: int = 1) -> None:
        """Wait until this many answers have come to the gate."""
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._arrivals >= arrivals:
                return
            self._watchers.append((arrivals, future))
        await future

    def arrive(self) -> _Future:
        """Count one arrival and return what is done when the gate is released."""
        future: _Future = asyncio.get_running_loop().create_future()
        with self._lock:
            self._arrivals += 1
            if self._released:
                future.set_result(None)
            else:
                self._held.append(future)
            due = [watcher for count, watcher in self._watchers if count <= self._arrivals]
            self._watchers = [each for each in self._watchers if each[0] > self._arrivals]
        for watcher in due:
            _wake_from_anywhere(watcher)
        return future


class Waits:
    """Everything that a server's handlers wait for, so that closing ends all of it at once."""

    def __init__(self) -> None:
        self._futures: set[_Future] = set()
        self._closed = False

    def close(self) -> None:
        """End every wait, those under way and those to come, with `ConnectionAbortedError`."""
        self._closed = True
        for future in self._futures:
            if not future.done():
                future.set_exception(ConnectionAbortedError("the sandbox is closing"))

    async def sleep(self, seconds: float) -> None:
        """Wait this many seconds; none or less is no wait, not even a turn of the loop."""
        if seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        future: _Future = loop.create_future()
        timer = loop.call_later(seconds, _wake, future)
        try:
            await self.until(future)
        finally:
            timer.cancel()

    async def until(self, future: _Future) -> None:
        """Wait for a future that belongs to nobody else."""
        if self._closed:
            raise ConnectionAbortedError("the sandbox is closing")
        self._futures.add(future)
        try:
            await future
        finally:
            self._futures.discard(future)
