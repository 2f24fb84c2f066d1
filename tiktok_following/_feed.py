"""Where a run's handles come from: read one by one, never more than are needed.

The law: an input is read by one reader at a time and once; a handle is given once.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any

from ._errors import InvalidHandleError
from ._handles import parse_handle
from ._outcomes import Outcome

Handles = Iterable[Any] | AsyncIterable[Any]

_END: Any = object()
_BREATH = 20
"""Entries after which whoever read the last one lets others have their turn."""


class Feed:
    """Gives the handles of an input to any number of workers.

    Args:
        handles: Any iterable or async iterable, of any length.
        dedupe: Give each handle once, by its lower-case form; this takes under 100 bytes a handle.
    """

    def __init__(self, handles: Handles, *, dedupe: bool) -> None:
        self._iterator: Iterator[Any] = iter(())
        self._async_iterator: AsyncIterator[Any] | None = None
        if isinstance(handles, AsyncIterable):
            self._async_iterator = aiter(handles)
        else:
            self._iterator = iter(handles)
        self.total = len(handles) if isinstance(handles, Sized) else None
        """Entries of the input, if it has a length."""
        self.read = 0
        """Entries read so far."""
        self.skipped = 0
        """Entries passed over because their handle came before."""
        self._breath_at = _BREATH
        # A hash of 64 bits: two of a million handles share one with a chance of 1 in 37 million.
        self._seen: set[int] | None = set() if dedupe else None
        self._turn = asyncio.Lock()
        self._is_over = False

    @property
    def is_at_end(self) -> bool:
        """Whether it is known that nothing more comes."""
        return self._is_over or self.read == self.total

    def take_at_once(self) -> Outcome | None:
        """Give the next handle if it can be had without waiting; `None` means to use `take`."""
        while self.read < self._breath_at:
            if (given := next(self._iterator, _END)) is _END:
                break
            if (outcome := self._begin(given)) is not None:
                return outcome
        return None

    async def take(self) -> Outcome | None:
        """Give the next handle that did not come before, to be looked up; `None` at the end."""
        while True:
            if self._async_iterator is not None:
                given = await self._read(self._async_iterator)
            else:
                if self.read >= self._breath_at:
                    self._breath_at = self.read + _BREATH  # one waits, the rest need not
                    await asyncio.sleep(0)  # duplicates alone must not hold up the loop
                given = next(self._iterator, _END)
            if given is _END:
                self._is_over = True
                return None
            if (outcome := self._begin(given)) is not None:
                return outcome

    def _begin(self, given: Any) -> Outcome | None:
        """Make the outcome that an entry is to have; `None` if its handle came before."""
        index = self.read
        self.read += 1
        try:
            handle = parse_handle(given)
        except InvalidHandleError as error:
            return Outcome(given, index, error=error)
        if self._seen is not None:
            known = len(self._seen)
            self._seen.add(hash(handle.lower()))
            if len(self._seen) == known:
                self.skipped += 1
                return None
        return Outcome(given, index, handle)

    async def _read(self, iterator: AsyncIterator[Any]) -> Any:
        async with self._turn:
            if self._is_over:
                return _END
            given = await anext(iterator, _END)
            self._is_over = given is _END
            return given
