"""A loop on a thread of its own, and others that wait for what it does.

The law: whoever waits can be interrupted, and what was waited for is then ended and not left alone;
a loop that nobody closed keeps no process alive. A signal handler runs between any two steps of who
waits, so the loop never waits for a lock that one who waits may hold.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._errors import ClientClosedError, FollowingError, WrongLoopError, WrongProcessError
from ._forks import ProcessBound

if TYPE_CHECKING:
    from ._handle_relay import HandleRelay

T = TypeVar("T")
GiveBack = Callable[[Any], object] | None

_GLANCE = 0.5
"""Seconds: Windows hands Ctrl-C over between two waits only."""
_LAST_SECONDS = 5.0
"""Seconds that closing may take at the end of the process."""


class LoopThread(ProcessBound):
    """Runs coroutines for threads that wait for them; starts when it is first needed.

    It ends with `close`, with the last reference to it, or with the process.

    Args:
        close: Awaited on the loop before it ends.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.is_closed = False
        self._home = _Home(close)
        self._farewell = weakref.finalize(self, self._home.stop)
        self._farewell.atexit = False  # then somebody must wait for it: see `_close_all`

    def become_copy(self) -> None:
        """Leave the loop, whose thread is not here, as it is."""
        super().become_copy()
        self._farewell.detach()
        _homes.discard(self._home)

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        duties: HandleRelay | None = None,
        give_back: GiveBack = None,
    ) -> T:
        """Run a coroutine and wait for what it returns, or raise what it raises.

        An interruption, such as Ctrl-C, cancels it and waits for its end; a second one does not.

        Args:
            coroutine: What to run.
            duties: What this thread does in the meantime.
            give_back: Called, on the loop, with what an interrupted call returned nevertheless.

        Raises:
            ClientClosedError: It is closed, or was meanwhile.
            WrongLoopError: This is its own thread, which would wait for itself.
            WrongProcessError: It belongs to the process that this one was forked off.
        """
        call = _Call(coroutine, give_back)
        try:
            self._check_thread()
            self._home.post(call.begin)
            call.wait(duties)
            return call.take_result()  # here, as an interruption may come after any call
        except FollowingError:  # not begun
            coroutine.close()
            raise
        except BaseException:
            self._end(call)
            raise

    def _check_thread(self) -> None:
        self.check_process("client")
        if self._home.is_here():
            raise WrongLoopError("a callback of the client would wait for itself: it may not")

    def _end(self, call: _Call[Any]) -> None:
        """Cancel a call, whether it was begun or not, and wait for its end."""
        try:
            self._home.post(call.cancel)
        except ClientClosedError:  # all calls are being cancelled
            self._home.join()
            call.return_result()
        except BaseException:  # a second interruption, maybe before the call could hear of this
            with suppress(FollowingError):
                self._home.post(call.cancel)
            raise
        else:
            call.wait(None)

    def look(self, read: Callable[[], T]) -> T:
        """Read something between two steps of the loop, if it runs."""

        async def look() -> T:
            return read()

        if self._home.is_running:
            with suppress(ClientClosedError, WrongLoopError, WrongProcessError):
                return self.run(look())
        return read()

    def close(self) -> None:
        """End the loop and wait for its thread; again does nothing. Raises `WrongProcessError`."""
        self.check_process("client")
        self.is_closed = True
        self._home.stop()
        self._home.join()


class _Call(Generic[T]):
    """One coroutine, and the thread that waits for it."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], give_back: GiveBack = None) -> None:
        self._coroutine = coroutine
        self._give_back = give_back
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._task: asyncio.Task[T] | None = None
        self._is_done = False

    def begin(self) -> None:
        """Begin, on the loop."""
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._tell)

    def _tell(self, _: object) -> None:
        self._is_done = True
        self._wake.put(None)

    def wait(self, duties: HandleRelay | None) -> None:
        """Wait until it is done."""
        if duties is not None:
            duties.readers.add(self._wake)
        try:
            while not self._is_done:
                if duties is not None and duties.wants():
                    duties.serve()
                else:
                    with suppress(Empty):
                        self._wake.get(timeout=_GLANCE)
        finally:
            if duties is not None:
                duties.readers.discard(self._wake)

    def cancel(self) -> None:
        """Cancel it, on the loop; nothing of it is done if it was not begun."""
        if self._task is None:
            self._coroutine.close()
            self._tell(self)
        elif not self._task.cancel():
            self.return_result()

    def return_result(self) -> None:
        """Give back what it returned, if it did, to where it was taken."""
        task, self._task = self._task, None
        if task is None or self._give_back is None or task.cancelled() or task.exception():
            return
        if (result := task.result()) is not None:
            self._give_back(result)

    def take_result(self) -> T:
        """Give what came of it; raises as `LoopThread.run`."""
        task = cast("asyncio.Task[T]", self._task)
        if task.cancelled():
            raise ClientClosedError("the client was closed meanwhile")
        return task.result()


class _Home:
    """The loop and its thread, which know nothing of who uses them."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._guard = threading.RLock()  # a signal handler comes in here a second time
        self._is_starting = self._is_closed = self._is_over = False
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._thread is not None and not self._is_closed

    def is_here(self) -> bool:
        """Tell whether this is its thread."""
        return self._thread is threading.current_thread()

    def post(self, callback: Callable[[], object]) -> None:
        """Call something on the loop, started if need be.

        Raises:
            ClientClosedError: It was stopped, maybe by a signal handler in the midst of this.
            WrongLoopError: This is a signal handler that came in while it was being started.
        """
        with self._guard:
            if self._thread is None and not self._is_closed:
                self._start()
            if not self._is_closed:
                with suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(callback)
            if self._is_closed:
                raise ClientClosedError("the client is closed")

    def _start(self) -> None:
        if self._is_starting:
            raise WrongLoopError("a signal handler cannot wait for a client that is being started")
        self._is_starting = True
        try:
            life = partial(self._live, self._loop)
            thread = threading.Thread(target=life, name="following-client", daemon=True)
            thread.start()
            self._thread = self._thread or thread
        finally:
            self._is_starting = False
        _homes.add(self)

    def stop(self) -> None:
        """Take nothing more, and end soon."""
        with self._guard:
            self._is_closed = True
            if self._thread is not None:
                with suppress(RuntimeError):  # it has ended
                    self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout: float = math.inf) -> None:
        """Wait for its end, unless this is its own thread."""
        if self._thread is None or self.is_here():
            return
        until = time.monotonic() + timeout
        while not self._is_over and time.monotonic() < until:
            # Not for ever: in a signal handler, what was interrupted may hold the thread's lock.
            self._thread.join(_GLANCE)
        self._thread.join(_GLANCE)

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread = self._thread or threading.current_thread()
        if not self.is_here():  # who started another was interrupted, and has started this one
            return
        staying = loop.create_task(self._stay())
        try:
            while not staying.done():
                # What ends a program when it is raised on a loop is for whoever waits for it.
                with suppress(SystemExit, KeyboardInterrupt):
                    loop.run_until_complete(staying)
        finally:
            loop.close()
            self._is_over = True

    async def _stay(self) -> None:
        if not self._is_closed:  # before this thread was known
            await self._stop.wait()
        try:
            await self._close()
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_asyncgens()


_homes: weakref.WeakSet[_Home] = weakref.WeakSet()


def _close_all() -> None:
    """End what nobody closed, while there is still a Python to do it in."""
    homes = list(_homes)
    for home in homes:
        home.stop()
    for home in homes:
        home.join(_LAST_SECONDS)


atexit.register(_close_all)
