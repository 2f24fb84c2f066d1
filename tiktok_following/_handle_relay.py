"""Handles for a run on another thread, read on the thread that waits for the run.

The law: an iterable is used on its owner's thread alone, one by one. One that keeps its reader
waiting does not hold up the loop, but what lands meanwhile is handed over when it has yielded.
"""

import asyncio
from collections.abc import AsyncIterable, Iterable, Sized
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Self, cast

_END: Any = object()
_NOTHING: Any = object()
_TURNS = 5
"""Turns of the loop in which an outcome that was just made reaches who waits for it."""


class HandleRelay:
    """An async iterator of what an iterable has, which the thread that has the iterable reads."""

    def __init__(self, handles: Iterable[Any]) -> None:
        self.readers: set[SimpleQueue[None]] = set()
        self._iterator = iter(handles)
        self._given: Any = _NOTHING
        self._wanted: asyncio.Future[Any] | None = None

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
        self._wanted = wanted
        for reader in tuple(self.readers):
            reader.put(None)
        given = await wanted
        if given is _END:
            raise StopAsyncIteration
        return given

    def wants(self) -> bool:
        """Tell whether a handle is to be read."""
        return self._wanted is not None

    def serve(self) -> None:
        """Read one; what the iterable raises is raised where the handle is wanted."""
        wanted = None
        try:
            # No call is in this line, so neither a thread nor a signal handler comes in between.
            wanted, self._wanted = self._wanted, None
            if wanted is None or wanted.done():  # another thread was quicker, or the run ended
                return
            error = self._read()
            with suppress(RuntimeError):  # the loop has ended
                wanted.get_loop().call_soon_threadsafe(_settle, wanted, self._given, error)
            self._given = _NOTHING
        except BaseException:
            self._wanted = wanted  # the iterator may go on
            raise

    def _read(self) -> Exception | None:
        """Read one, unless one was read and an interruption came before it was handed over."""
        if self._given is _NOTHING:
            try:
                for self._given in self._iterator:  # noqa: B020 - kept with no call between
                    return None
            except Exception as error:  # noqa: BLE001 - the run raises it
                return error
            self._given = _END
        return None


def _settle(wanted: asyncio.Future[Any], given: Any, error: Exception | None) -> None:
    if wanted.done():
        return
    if error is None:
        wanted.set_result(given)
    else:
        wanted.set_exception(error)
