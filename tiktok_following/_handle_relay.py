"""Handles for a run on another thread, read on the thread that waits for the run.

The law: an iterable is used on its owner's thread alone, one by one, and one that keeps its reader
waiting holds up neither the loop nor what is ready to be handed over.
"""

import asyncio
import threading
from collections.abc import AsyncIterable, Iterable, Sized
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Self, cast

_END: Any = object()
_TURNS = 5
"""Turns of the loop in which an outcome that was just made reaches who waits for it."""


class HandleRelay:
    """An async iterator of what an iterable has; `Duties` of the thread that has the iterable."""

    def __init__(self, handles: Iterable[Any]) -> None:
        self.changed = threading.Condition()
        self._iterator = iter(handles)
        self._wanted: Future[Any] | None = None

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
        wanted: Future[Any] = Future()
        with self.changed:
            self._wanted = wanted
            self.changed.notify_all()
        given = await asyncio.wrap_future(wanted)
        if given is _END:
            raise StopAsyncIteration
        return given

    def wants(self) -> bool:
        """Tell whether a handle is to be read."""
        return self._wanted is not None and not self._wanted.cancelled()

    def serve(self) -> None:
        """Read one; what the iterable raises is raised where the handle is wanted."""
        with self.changed:
            wanted, self._wanted = self._wanted, None
        if wanted is None:  # another thread was quicker
            return
        try:
            given = next(self._iterator, _END)
        except Exception as error:  # noqa: BLE001 - the run raises it
            with suppress(InvalidStateError):
                wanted.set_exception(error)
        except BaseException:
            self._wanted = wanted  # the iterator may go on
            raise
        else:
            with suppress(InvalidStateError):  # the run ended meanwhile
                wanted.set_result(given)
