"""Where a run's handles come from: read one by one, never more than are needed.

The law: an input is read by one reader at a time and once; a handle is given once.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any

import attrs

from ._errors import InvalidHandleError
from ._handles import parse_handle

Handles = Iterable[Any] | AsyncIterable[Any]

_END: Any = object()
_BREATH = 100
"""Entries after which others have their turn."""


@attrs.frozen
class Item:
    """One entry of the input."""

    index: int
    given: Any
    handle: str | None
    """The plain handle; `None` if it is none, and `error` says why."""
    error: InvalidHandleError | None = None


class Feed:
    """Gives the handles of an input to any number of workers.

    Args:
        handles: Any iterable or async iterable, of any length.
        dedupe: Give each handle once, by its lower-case form; this takes under 100 bytes a handle.
    """

    def __init__(self, handles: Handles, *, dedupe: bool) -> None:
        self._iterator: Iterator[Any] | AsyncIterator[Any]
        if isinstance(handles, AsyncIterable):
            self._iterator = aiter(handles)
        else:
            self._iterator = iter(handles)
        self.total = len(handles) if isinstance(handles, Sized) else None
        """Entries of the input, if it has a length."""
        self.read = 0
        """Entries read so far."""
        self.skipped = 0
        """Entries passed over because their handle came before."""
        # A hash of 64 bits: two of a million handles share one with a chance of 1 in 37 million.
        self._seen: set[int] | None = set() if dedupe else None
        self._turn = asyncio.Lock()
        self._is_over = False

    async def take(self) -> Item | None:
        """Give the next handle that did not come before; `None` at the end."""
        while True:
            if isinstance(self._iterator, Iterator):
                if self.read % _BREATH == 0:
                    await asyncio.sleep(0)  # duplicates alone must not hold up the loop
                given = next(self._iterator, _END)
            else:
                given = await self._read(self._iterator)
            if given is _END:
                return None
            item = _make_item(self.read, given)
            self.read += 1
            if self._is_new(item.handle):
                return item
            self.skipped += 1

    async def _read(self, iterator: AsyncIterator[Any]) -> Any:
        async with self._turn:
            if self._is_over:
                return _END
            given = await anext(iterator, _END)
            self._is_over = given is _END
            return given

    def _is_new(self, handle: str | None) -> bool:
        if self._seen is None or handle is None:
            return True
        known = len(self._seen)
        self._seen.add(hash(handle.lower()))
        return len(self._seen) > known


def _make_item(index: int, given: Any) -> Item:
    try:
        return Item(index, given, parse_handle(given))
    except InvalidHandleError as error:
        return Item(index, given, None, error)
