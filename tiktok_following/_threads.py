"""What blocks, in a thread beside the event loop.

The law: it is never left alone: who is cancelled meanwhile waits for its end first. The thread is
its own, for those of the loop's executor may all be busy, or gone, with what is the application's.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


async def run_to_end(
    work: Callable[[], T],
    undo: Callable[[T], object] | None = None,
    leave: Callable[[T], Awaitable[object]] | None = None,
) -> T:
    """Do something in a thread; raises what it raises.

    Args:
        work: What blocks.
        undo: Called with what came of it when nobody is there any more to have it: the coroutine
            was thrown away, or the loop was closed. In the thread, or wherever that happens.
        leave: Awaited with what came of it when the caller was cancelled meanwhile.

    Raises:
        CancelledError: The caller was cancelled; its cause is what the work raised, if it did.
    """
    errand = _Errand(work, undo)
    errand.begin()
    is_cancelled = False
    try:
        while not errand.done.done():
            try:
                await asyncio.wait((errand.done,))
            except asyncio.CancelledError:  # some cancel again and again until all is done
                is_cancelled = True
    except BaseException:
        errand.leave()
        raise
    results, error = errand.take()
    try:
        if is_cancelled:
            if results and leave is not None:
                await leave(results[0])
            raise asyncio.CancelledError from error  # no other class: `asyncio.timeout` looks
        if error is not None:
            raise error
        return results[0]
    finally:
        del error  # it would hold itself by this frame


class _Errand(Generic[T]):
    """Something that is done in a thread, and somebody who waits for it on a loop."""

    def __init__(self, work: Callable[[], T], undo: Callable[[T], object] | None) -> None:
        self._work = work
        self._undo = undo
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._guard = threading.Lock()
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._is_left = False

    def begin(self) -> None:
        """Begin; where no thread can be had, here."""
        try:
            threading.Thread(target=self._run, name="following-errand", daemon=True).start()
        except RuntimeError:
            self._run()

    def take(self) -> tuple[list[T], BaseException | None]:
        """Give what came of it, or the error that did."""
        error, self._error = self._error, None
        return self._results, error

    def leave(self) -> None:
        """Wait for it no longer: what came of it, or will, is given back."""
        with self._guard:
            self._is_left = True
        self._give_back()

    def _run(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - whoever waits hears of it
            self._error = error
        else:
            with self._guard:
                self._results.append(result)
        try:
            self._loop.call_soon_threadsafe(self.done.set_result, None)
        except RuntimeError:  # the loop is closed
            self._is_left = True
        if self._is_left:
            self._give_back()

    def _give_back(self) -> None:
        with self._guard:
            results, self._results = self._results, []
        if results and self._undo is not None:
            self._undo(results[0])
