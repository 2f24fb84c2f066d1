"""The handles of an input, as a run takes them.

The law: a file is counted and checked before anything is bought; a stream is read on a thread of
its own, so that waiting for it holds up nothing.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Self

from ._handles_file import iter_handles
from ._lines import InputError, is_stream, name_input

_READ_AHEAD = 1_000
"""Entries of a stream; a run begins no more than that at once."""


class FileHandles:
    """The handles of a file; it knows how many there are.

    Args:
        path: The file.
        column: See `iter_handles`.

    Raises:
        InputError: Some of it cannot be read.
    """

    def __init__(self, path: str, column: str | None) -> None:
        self._path = path
        self._column = column
        self._number = sum(1 for _ in iter_handles(path, column))
        self.problem: InputError | None = None
        """Why the entries ended before their end: somebody changed the file."""

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[str]:
        try:
            yield from iter_handles(self._path, self._column)
        except InputError as error:
            self.problem = error


class StreamHandles:
    """The handles of a pipe or terminal, as they come; nobody knows how many.

    Args:
        entries: Whose `next` may wait; they are read from the first `__anext__` on.
    """

    def __init__(self, entries: Iterator[str]) -> None:
        self._entries = entries
        self._arrived: deque[str | None] = deque()
        self._room = threading.Semaphore(_READ_AHEAD)
        self._news = asyncio.Event()
        self._thread: threading.Thread | None = None
        self.problem: InputError | None = None
        """Why the entries ended before their end."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            # A daemon: nothing but the other end of the pipe ends its waiting.
            self._thread = threading.Thread(target=self._read, args=(loop,), daemon=True)
            self._thread.start()
        while not self._arrived:
            self._news.clear()
            await self._news.wait()
        entry = self._arrived[0]
        if entry is None:
            raise StopAsyncIteration
        self._arrived.popleft()
        self._room.release()
        return entry

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            for entry in self._entries:
                self._room.acquire()
                self._hand_over(entry, loop)
        except InputError as error:
            self.problem = error
        finally:
            self._hand_over(None, loop)

    def _hand_over(self, entry: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self._arrived.append(entry)
        with suppress(RuntimeError):  # the loop ended: nobody waits any more
            loop.call_soon_threadsafe(self._news.set)


Handles = FileHandles | StreamHandles


def open_handles(path: str, column: str | None) -> Handles:
    """Open an input for a run; of a stream, wait for its first entry.

    Raises:
        InputError: It cannot be read, or there is no handle in it.
    """
    nothing = InputError(f"there is no handle in {name_input(path)}")
    if is_stream(path):
        entries = iter_handles(path, column)
        first = next(entries, None)
        if first is None:
            raise nothing
        return StreamHandles(chain([first], entries))
    handles = FileHandles(path, column)
    if not len(handles):
        raise nothing
    return handles
