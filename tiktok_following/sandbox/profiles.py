"""Say which profile a handle has: invented from the seed, named, or set by the user.

Nothing here awaits or knows HTTP. Pages come out as serialised JSON, because a page is mostly a
join of account fragments that were serialised before; at most ``_FRAGMENTS_KEPT`` are held.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson
from attrs import Factory, field, frozen
from attrs.validators import ge, in_, instance_of, optional

from tiktok_following.sandbox._accounts import REQUIRED_KEYS, Digest, make_account

STATUSES: Final = ("found", "hidden", "private", "not_found")
"""Every lookup status that the contract knows."""

_LIKELY_STATUSES: Final = ("found",) * 27 + STATUSES[1:]

NAMED_HANDLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "nasa": "found, 95 accounts: four pages of 30",
        "hidden.profile": "hidden: the profile exists, its list is not shown",
        "private.profile": "private: the whole profile is not shown",
        "missing.profile": "not_found: no such profile",
        "empty.profile": "found, follows nobody",
        "boundary.duplicates": "found, 75 accounts: the last of each page comes again on the next",
        "large.profile": "found, 4,000 accounts",
    }
)
"""Handles whose profile is the same for every seed, with what they are good for."""

_FRAGMENTS_KEPT: Final = 32_768
_FIRST_NUMBERS: Final = 8_192
"""Lists begin at one of so many accounts, so lists overlap as they do in life."""

_CURSOR_STEP: Final = 3_600
"""Seconds between the cursors of neighbouring accounts, at most twice this."""


def _count(profile: "Profile") -> int | None:
    return len(profile.accounts) if profile.status == "found" else None


def _as_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


@frozen(kw_only=True)
class Profile:
    """What the sandbox knows about a handle: the truth that a test compares with."""

    status: str = field(default="found", validator=in_(STATUSES))
    """``found``, ``hidden``, ``private`` or ``not_found``."""

    accounts: list[dict[str, Any]] = field(factory=list[dict[str, Any]], converter=_as_rows)
    """Every account once, newest first, in the API's own JSON names and untrimmed."""

    total: int | None = field(
        default=Factory(_count, takes_self=True),
        validator=optional((instance_of(int), ge(0))),
    )
    """Accounts that the API claims; by default as many as there are, None unless found."""

    overlap: int = field(default=0, validator=(instance_of(int), ge(0)))
    """How many accounts at the end of a page come again at the start of the next."""


@frozen
class _Listing:
    """The facts of an invented profile, before any of its accounts is made."""

    status: str
    total: int
    overlap: int
    first: int
    """Number of the first account; the others follow it."""


class World:
    """All profiles of one sandbox."""

    def __init__(self, seed: int, totals: tuple[int, int]) -> None:
        """Take the seed and the least and greatest length of an invented list."""
        if not 0 <= totals[0] <= totals[1]:
            raise ValueError(f"totals must be (least, greatest), both at least 0, got {totals!r}")
        self._seed = seed
        self._totals = totals
        self._own: dict[str, Profile] = {}
        self._fragments: dict[tuple[int, bool], bytes] = {}
        self._named = {
            "nasa": self._name("nasa", "found", 95),
            "hidden.profile": self._name("hidden.profile", "hidden", 0),
            "private.profile": self._name("private.profile", "private", 0),
            "missing.profile": self._name("missing.profile", "not_found", 0),
            "empty.profile": self._name("empty.profile", "found", 0),
            "boundary.duplicates": self._name("boundary.duplicates", "found", 75, overlap=1),
            "large.profile": self._name("large.profile", "found", 4_000),
        }

    def set_profile(self, handle: str, profile: Profile) -> None:
        """Give this handle (any case) a profile of the user's own."""
        self._own[handle.lower()] = profile

    def profile(self, handle: str) -> Profile:
        """Build the whole truth about this handle (any case)."""
        own = self._own.get(handle.lower())
        if own is not None:
            return own
        listing = self._listing(handle.lower())
        rows = self._rows(listing, 0, listing.total, trim=False)
        accounts = [orjson.loads(row) for row in rows]
        return Profile(status=listing.status, accounts=accounts, overlap=listing.overlap)

    def page(self, handle: str, cursor: str | None, size: int, *, trim: bool) -> bytes | None:
        """Serialise the ``data`` part of a page, or None for a cursor never handed out."""
        handle = handle.lower()
        start = 0 if cursor is None else self._read_cursor(handle, cursor)
        if start is None:
            return None
        source = self._own.get(handle) or self._listing(handle)
        found = source.status == "found"
        length = len(source.accounts) if isinstance(source, Profile) else source.total
        stop = min(start + size, length) if found else start
        rows = self._rows(source, start, stop, trim=trim)
        more = found and stop < length
        next_start = start + max(1, size - source.overlap)
        return b"".join(
            (
                b'{"lookupStatus":"%s","accounts":[' % source.status.encode(),
                b",".join(rows),
                b'],"page":{"nextCursor":',
                b'"%s","hasMore":true' % self._cursor(handle, next_start).encode()
                if more
                else b'null,"hasMore":false',
                b'},"totalAccounts":%s}' % orjson.dumps(source.total if found else None),
            )
        )

    def pages(self, handle: str, size: int) -> list[list[dict[str, Any]]]:
        """Build the accounts of every page that an untrimmed walk is served, in order."""
        pages: list[list[dict[str, Any]]] = []
        cursor: str | None = None
        while True:
            data = orjson.loads(self.page(handle, cursor, size, trim=False) or b"")
            pages.append(data["accounts"])
            cursor = data["page"]["nextCursor"]
            if cursor is None:
                return pages

    def _name(self, handle: str, status: str, total: int, *, overlap: int = 0) -> _Listing:
        first = Digest(f"{self._seed}:list:{handle}").below(_FIRST_NUMBERS)
        return _Listing(status, total, overlap, first)

    def _listing(self, handle: str) -> _Listing:
        """Draw the facts of a handle: nine of ten are found, short lists are likelier."""
        named = self._named.get(handle)
        if named is not None:
            return named
        digest = Digest(f"{self._seed}:list:{handle}")
        first = digest.below(_FIRST_NUMBERS)
        status = digest.pick(_LIKELY_STATUSES)
        least, greatest = self._totals
        total = least + ((greatest - least + 1) * digest.below(1 << 16) ** 2 >> 32)
        return _Listing(status, total if status == "found" else 0, 0, first)

    def _rows(
        self, source: Profile | _Listing, start: int, stop: int, *, trim: bool
    ) -> Sequence[bytes]:
        if isinstance(source, Profile):
            return [_serialise(row, trim=trim) for row in source.accounts[start:stop]]
        first = source.first
        return [self._fragment(number, trim) for number in range(first + start, first + stop)]

    def _fragment(self, number: int, trim: bool) -> bytes:
        """Serialise an invented account once, forgetting the oldest when too many are kept."""
        fragment = self._fragments.get((number, trim))
        if fragment is None:
            fragment = _serialise(make_account(self._seed, number), trim=trim)
            if len(self._fragments) >= _FRAGMENTS_KEPT:
                del self._fragments[next(iter(self._fragments))]
            self._fragments[number, trim] = fragment
        return fragment

    def _cursor(self, handle: str, start: int) -> str:
        """Name the account at ``start`` by a moment: later accounts have earlier moments."""
        newest = 1_740_000_000 + Digest(f"{self._seed}:newest:{handle}").below(20_000_000)
        step = Digest(f"{self._seed}:step:{handle}:{start}").below(_CURSOR_STEP)
        return str(newest - start * _CURSOR_STEP - step)

    def _read_cursor(self, handle: str, cursor: str) -> int | None:
        """Find the start that a cursor names, or None when it was never handed out."""
        try:
            moment = int(cursor)
        except ValueError:
            return None
        newest = 1_740_000_000 + Digest(f"{self._seed}:newest:{handle}").below(20_000_000)
        start = (newest - moment) // _CURSOR_STEP
        return start if start > 0 and self._cursor(handle, start) == cursor else None


def _serialise(account: Mapping[str, Any], *, trim: bool) -> bytes:
    """Serialise one account, without its optional keys when trimmed."""
    if trim:
        account = {key: account[key] for key in REQUIRED_KEYS if key in account}
    # orjson's own result holds a buffer several times its length: keep a copy of the right size.
    return bytes(memoryview(orjson.dumps(account)))
