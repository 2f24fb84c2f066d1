"""What a store holds, read back as the models it was written from.

The law: reading changes nothing, holds one page at a time and works beside a run that writes.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from typing import Any, NoReturn, Self

from ._fields import parse_time
from ._handles import parse_handle
from ._lookups import Lookup, StoreRun, StoreSummary
from ._models import Account, FollowingPage
from ._opening import StoreReader, open_for_reading
from ._schema import STATES
from ._status import parse_status
from ._store_errors import StoreError
from ._wire import parse_stored_page

LOOKUP_COLUMNS = (
    "id, handle, state, status, total, pages, accounts, credits_charged, credits_at_risk, "
    "next_cursor, error, updated_at"
)
_LOOKUPS_AT_ONCE = 1000
_PAGES_AT_ONCE = 16
_LAST = 1 << 62

# Pages come in batches: a statement left open would keep the WAL of a running job from ending.
_SELECT_PAGES = """
SELECT lookup_id, number, handle, cursor, body FROM pages JOIN lookups ON lookups.id = lookup_id
WHERE (lookup_id, number) > (?, ?) AND lookup_id <= ? ORDER BY lookup_id, number LIMIT ?
"""
_SELECT_TOTALS = "SELECT coalesce(sum(pages), 0), coalesce(sum(accounts), 0) FROM lookups"
_SELECT_RUNS = """
SELECT started_at, ended_at, stopped_by, concurrency, credits_charged, credits_at_risk
FROM runs ORDER BY id
"""
_SELECT_RUN_TOTALS = """
SELECT count(*), coalesce(sum(credits_charged), 0), coalesce(sum(credits_at_risk), 0) FROM runs
"""


class FollowingStore:
    """The file that a bulk run writes, opened for reading; also while the run goes on.

    All iterators are lazy and give what is committed when they come to it. In a forked process
    reading raises `WrongProcessError`: open the file there again.

    Args:
        path: The file.

    Raises:
        StoreError: There is no such file, or it cannot be read.
        StoreMismatchError: It is not a store.
        StoreVersionError: A newer version made it.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._name = fspath(path)
        self._connection = open_for_reading(self._name)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store cannot be pickled or copied: open it in each process")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; again does nothing."""
        self._connection.close()

    def lookups(self) -> Iterator[Lookup]:
        """Iterate over the handles, in the order they were given to the first run."""
        sql = f"SELECT {LOOKUP_COLUMNS} FROM lookups WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - our own # nosec B608
        last = -1
        while rows := self._select(sql, last, _LOOKUPS_AT_ONCE):
            last = rows[-1][0]
            yield from map(make_lookup, rows)

    def lookup(self, handle: str) -> Lookup | None:
        """Find one handle, however it is spelled; `None` when the store does not have it.

        Raises:
            InvalidHandleError: The text is no handle.
        """
        sql = f"SELECT {LOOKUP_COLUMNS} FROM lookups WHERE key = ?"  # noqa: S608 - our own # nosec B608
        rows = self._select(sql, make_key(parse_handle(handle)))
        return make_lookup(rows[0]) if rows else None

    def pages(self, handle: str | None = None) -> Iterator[FollowingPage]:
        """Iterate over the pages of one handle, or of all, as they were bought.

        A handle that the store does not have has no pages.

        Raises:
            InvalidHandleError: The text is no handle.
            StoreError: The file cannot be read.
        """
        if handle is None:
            return iter_pages(self._connection, self._name)
        lookup = self.lookup(handle)
        if lookup is None:
            return iter(())
        return iter_pages(self._connection, self._name, lookup.index, lookup.index)

    def accounts(self, handle: str | None = None) -> Iterator[Account]:
        """Iterate over the accounts one handle follows, or all do, as they were served.

        Raises as `pages`. `edges` tells who follows whom.
        """
        return (account for page in self.pages(handle) for account in page.accounts)

    def edges(self) -> Iterator[tuple[str, str]]:
        """Iterate over who follows whom, each pair once: the handle asked for, the one followed."""
        source = ""
        targets: set[str] = set()
        for page in self.pages():
            if page.handle != source:
                source = page.handle
                targets.clear()
            for account in page.accounts:
                if account.handle not in targets:
                    targets.add(account.handle)
                    yield page.handle, account.handle

    def runs(self) -> Iterator[StoreRun]:
        """Iterate over the runs that wrote to it, in the order they began."""
        for started_at, ended_at, stopped_by, concurrency, *paid in self._select(_SELECT_RUNS):
            yield StoreRun(
                started_at=parse_time(started_at),
                ended_at=None if ended_at is None else parse_time(ended_at),
                stopped_by=stopped_by,
                concurrency=concurrency,
                credits_charged=paid[0],
                credits_at_risk=paid[1],
            )

    def summary(self) -> StoreSummary:
        """Add it all up."""
        states = dict(self._select("SELECT state, count(*) FROM lookups GROUP BY state"))
        ((pages, accounts),) = self._select(_SELECT_TOTALS)
        ((runs, charged, at_risk),) = self._select(_SELECT_RUN_TOTALS)
        meta = dict(self._select("SELECT key, value FROM meta"))
        return StoreSummary(
            handles={state: states.get(state, 0) for state in STATES},
            pages=pages,
            accounts=accounts,
            credits_charged=charged,
            credits_at_risk=at_risk,
            runs=runs,
            origin=str(meta["origin"]),
            trim=bool(meta["trim"]),
            created_at=parse_time(meta["created_at"]),
        )

    def _select(self, sql: str, *values: object) -> Sequence[Any]:
        return _select(self._connection, self._name, sql, *values)


def iter_pages(
    connection: StoreReader, name: str, first: int = 0, last: int = _LAST
) -> Iterator[FollowingPage]:
    """Iterate over the pages of the lookups from index `first` to `last`.

    Raises:
        StoreError: The file cannot be read.
    """
    at = (first, 0)
    while rows := _select(connection, name, _SELECT_PAGES, *at, last, _PAGES_AT_ONCE):
        at = rows[-1][:2]
        for _, number, handle, cursor, body in rows:
            try:
                page = parse_stored_page(body, handle, cursor)
            except ValueError as error:
                text = f"page {number} of {handle!r} is damaged: {error}"
                raise StoreError(text, path=name) from error
            yield page


def read_cursors(connection: StoreReader, name: str, index: int) -> list[str | None]:
    """List the cursors of a lookup's pages, in their order; raises as `iter_pages`."""
    sql = "SELECT cursor FROM pages WHERE lookup_id = ? ORDER BY number"
    rows = _select(connection, name, sql, index)
    return [cursor for (cursor,) in rows]


def _select(connection: StoreReader, name: str, sql: str, *values: object) -> Sequence[Any]:
    connection.check_process("store")
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot be read: {error}", path=name) from error


def make_key(handle: str) -> str:
    """Give the form under which two spellings of a handle are the same."""
    return handle.lower()


def make_lookup(row: Sequence[Any]) -> Lookup:
    """Make a lookup of a row of `LOOKUP_COLUMNS`."""
    index, handle, state, status, total, pages, accounts, charged, at_risk, cursor, error, at = row
    return Lookup(
        index=index,
        handle=handle,
        state=state,
        status=None if status is None else parse_status(status),
        total=total,
        pages=pages,
        accounts=accounts,
        credits_charged=charged,
        credits_at_risk=at_risk,
        next_cursor=cursor,
        error=error,
        updated_at=parse_time(at),
    )
