"""What an input holds, counted without holding it.

The law: sixteen bytes an entry, and the sample; a handle that comes twice is one.
"""

import heapq
from array import array
from collections.abc import Callable, Iterable
from hashlib import blake2b

import attrs

from tiktok_following._errors import InvalidHandleError
from tiktok_following._handles import parse_handle

SHOWN_PROBLEMS = 5
_GROUPS = 256
_DIGEST_BYTES = 8


class _Distinct:
    """Counts distinct numbers of 64 bits, eight bytes each."""

    def __init__(self) -> None:
        self._groups = [array("Q") for _ in range(_GROUPS)]

    def add(self, number: int) -> None:
        self._groups[number % _GROUPS].append(number)

    def __len__(self) -> int:
        # A group at a time: sets of all would be ten times as large.
        return sum(len(set(group)) for group in self._groups)


class _Sample:
    """Keeps the handles with the smallest numbers: however often each came, all equally likely."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[int, str]] = []
        self._numbers: set[int] = set()

    def add(self, number: int, handle: str) -> None:
        is_full = len(self._kept) >= self._size
        if number in self._numbers or (is_full and (not self._size or -number <= self._kept[0][0])):
            return
        self._numbers.add(number)
        if is_full:
            dropped, _ = heapq.heapreplace(self._kept, (-number, handle))
            self._numbers.discard(-dropped)
        else:
            heapq.heappush(self._kept, (-number, handle))

    @property
    def handles(self) -> list[str]:
        return [handle for _, handle in sorted(self._kept, reverse=True)]


@attrs.frozen(kw_only=True)
class Census:
    """An input in numbers."""

    entries: int
    invalid: int
    """Entries that are no handle."""
    problems: list[str]
    """What is wrong with the first of them, in words."""
    distinct: int
    """Handles, each counted once."""
    wanted: int
    """Those of them that a run would ask for."""
    sample: list[str]
    """Some of those, chosen by their hashes: random, and the same for the same input."""


def take_census(
    entries: Iterable[str], *, sample: int = 0, is_wanted: Callable[[str], bool] = lambda _: True
) -> Census:
    """Count the entries of an input.

    Args:
        entries: As they are written in it.
        sample: How many handles to choose.
        is_wanted: Tells whether a run would ask for a handle.
    """
    number = invalid = 0
    problems: list[str] = []
    distinct, wanted, chosen = _Distinct(), _Distinct(), _Sample(sample)
    for number, entry in enumerate(entries, 1):  # noqa: B007 - the last one is their count
        try:
            handle = parse_handle(entry)
        except InvalidHandleError as error:
            invalid += 1
            if len(problems) < SHOWN_PROBLEMS:
                problems.append(str(error))
            continue
        digest = _digest(handle)
        distinct.add(digest)
        if is_wanted(handle):
            wanted.add(digest)
            chosen.add(digest, handle)
    return Census(
        entries=number,
        invalid=invalid,
        problems=problems,
        distinct=len(distinct),
        wanted=len(wanted),
        sample=chosen.handles,
    )


def _digest(handle: str) -> int:
    """Give the number that a handle has, however it is spelled."""
    digest = blake2b(handle.lower().encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES)
    return int.from_bytes(digest.digest(), "little")
