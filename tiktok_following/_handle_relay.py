"""Handles for a run on another thread, read on the thread that waits for the run.

The law: an iterable is used on its owner's thread alone, one by one, and one that keeps its reader
waiting holds up neither the loop nor what is ready to be handed over.
"""

import asyncio
from collections.abc import AsyncIterable, Iterable, Sized
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Self, cast

_END: Any = object()
_TURNS = 5
"""Turns of the loop in which an outcome that was just made reaches who waits for it."""


class HandleRelay:
    """An async iterator of what an iterable has; `Duties` of the thread that has the iterable."""

    def __init__(self, handles: Iterable[Any]) -> None:
        self.readers: set[SimpleQueue[None]] = set()
        self._iterator = iter(handles)
        self._wanted: SimpleQueue[asyncio.Future[Any]] = SimpleQueue()

    @classmethod
    def make(cls, handles: Any) -> Self | None:
        """Make one for what has no length; what has one can be read on any thread."""
        is_lazy = isinstance(handles, Iterable) and not isinstance(handles, (Sized, AsyncIterable))
        return cls(cast("Iterable[Any]", handles)) if is_lazy else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        wanted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._wanted.put(wanted)
        for reader in tuple(self.readers):
            reader.put(None)
        given = await wanted
        if given is _END:
            raise StopAsyncIteration
        return given

    def wants(self) -> bool:
        """Tell whether a handle is to be read."""
        return not self._wanted.empty()

    def serve(self) -> None:
        """Read one; what the iterable raises is raised where the handle is wanted."""
        try:
            wanted = self._wanted.get_nowait()
        except Empty:  # another thread was quicker
            return
        if wanted.done():  # the run ended meanwhile
            return
        error: Exception | None = None
        try:
            try:
                given = next(self._iterator, _END)
            except Exception as caught:  # noqa: BLE001 - the run raises it
                given, error = None, caught
            with suppress(RuntimeError):  # the loop has ended
                wanted.get_loop().call_soon_threadsafe(_settle, wanted, given, error)
        except BaseException:
            self._wanted.put(wanted)  # the iterator may go on
            raise


def _settle(wanted: asyncio.Future[Any], given: Any, error: Exception | None) -> None:
    if wanted.done():
        return
    if error is None:
        wanted.set_result(given)
    else:
        wanted.set_exception(error)
