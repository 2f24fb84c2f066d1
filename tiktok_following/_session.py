"""What a run writes to its store, and what it finds there to go on with.

The law: a page's body, the next cursor and what it cost are committed together, before anybody asks
for the next page.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from typing import NamedTuple

from ._fields import JsonObject
from ._lookups import Lookup
from ._models import FollowingPage, Usage
from ._opening import StoreReader, open_for_reading, refuse_what_is_foreign, resolve_path
from ._schema import check_fixed, check_store, create_store, format_now
from ._status import LookupState, StoppedBy
from ._store import LOOKUP_COLUMNS, iter_pages, make_key, make_lookup, read_cursors
from ._threads import run_to_end
from ._version import __version__
from ._writer import StoreWriter

_LARGEST = 1 << 40  # a million of them add up within SQLite's 64 bits

_INSERT_RUN = """
INSERT INTO runs (started_at, concurrency, risk_per_lookup, options) VALUES (?, ?, 1, ?)
"""
# A run without an end is dead: the lock is ours now. Of each lookup one request is in doubt; what
# was at risk before that was written down before it was sent.
_SELECT_DEAD_RUNS = """
SELECT id, risk_per_lookup * min(concurrency, (
    SELECT count(*) FROM lookups WHERE run_id = runs.id AND state = 'pending'
)) FROM runs WHERE ended_at IS NULL AND stopped_by IS NULL
"""
_BURY_RUN = """
UPDATE runs SET stopped_by = 'crash', credits_at_risk = credits_at_risk + ? WHERE id = ?
"""
# No row comes back for a handle that this run has claimed before.
_CLAIM = f"""
INSERT INTO lookups (id, key, handle, state, run_id, updated_at)
VALUES ((SELECT coalesce(max(id) + 1, 0) FROM lookups), :key, :handle, 'pending', :run, :now)
ON CONFLICT (key) DO UPDATE SET run_id = :run, state = CASE
    WHEN state = 'failed' AND :retry_failed THEN 'pending'
    WHEN state = 'limited' AND accounts < :limit AND pages < :max_pages THEN 'pending'
    ELSE state END
WHERE run_id != :run RETURNING {LOOKUP_COLUMNS}
"""  # noqa: S608 - our own # nosec B608
_INSERT_PAGE = """
INSERT INTO pages SELECT id, pages + 1, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT)
FROM lookups WHERE id = ?
"""
_ADVANCE = """
UPDATE lookups SET state = ?, status = ?, total = coalesce(?, total), pages = pages + 1,
    accounts = accounts + ?, credits_charged = credits_charged + ?,
    credits_at_risk = credits_at_risk + ?, next_cursor = ?, error = NULL, updated_at = ?
WHERE id = ?
"""
_FAIL = """
UPDATE lookups SET state = ?, error = ?, credits_charged = credits_charged + ?,
    credits_at_risk = credits_at_risk + ?, updated_at = ? WHERE id = ?
"""
_COUNT = """
UPDATE runs SET credits_charged = credits_charged + ?, credits_at_risk = credits_at_risk + ?
WHERE id = ?
"""
_FINISH = """
UPDATE runs SET ended_at = ?, stopped_by = ?, credits_charged = ?, credits_at_risk = ? WHERE id = ?
"""


class _Run(NamedTuple):
    id: int
    previous_at_risk: int


class StoreSession:
    """The writing side of a store, for one run; made by `open_store`.

    What it writes is on the disk when it is done, also if the caller is cancelled. All raise
    `StoreWriteError` once the disk refused, `StoreError` after `close`.
    """

    def __init__(self, name: str, writer: StoreWriter, reader: StoreReader, run: _Run) -> None:
        self._name = name
        self._writer = writer
        self._reader = reader
        self._run = run.id
        self.previous_at_risk = run.previous_at_risk
        """Credits that what was in flight when earlier runs died may have cost; told once."""

    async def claim(
        self,
        handles: Sequence[str],
        *,
        retry_failed: bool = False,
        limit: int | None = None,
        max_pages: int | None = None,
    ) -> list[Lookup | None]:
        """Take handles into this run, new ones and known ones, all in one commit.

        Args:
            handles: As `parse_handle` gives them.
            retry_failed: Take failed ones up again.
            limit: Accounts per handle of this run; a limited lookup with fewer is taken up again.
            max_pages: Pages per handle of this run; likewise.

        Returns:
            One for each handle: `None` for one that this run has claimed before, and else how far
            it has come. All that are to be begun or gone on with are ``pending``.
        """
        values = {
            "run": self._run,
            "now": format_now(),
            "retry_failed": retry_failed,
            "limit": _LARGEST if limit is None else _bound(limit),
            "max_pages": _LARGEST if max_pages is None else _bound(max_pages),
        }

        def work(connection: sqlite3.Connection) -> list[Lookup | None]:
            claimed: list[Lookup | None] = []
            for handle in handles:
                named = {**values, "key": make_key(handle), "handle": handle}
                rows = connection.execute(_CLAIM, named).fetchall()
                claimed.append(make_lookup(rows[0]) if rows else None)
            return claimed

        return await self._writer.commit(work)

    def commit_page(
        self,
        index: int,
        page: FollowingPage,
        body: bytes,
        *,
        state: LookupState,
        next_cursor: str | None,
        credits_charged: int | None = None,
        at_risk: int = 0,
    ) -> asyncio.Future[None]:
        """Store a page: its body, where to go on, and what it cost.

        Args:
            index: The lookup's.
            page: What `body` says.
            body: The API's answer as it came, JSON in UTF-8.
            state: The lookup's from now on: ``pending complete limited failed``.
            next_cursor: Where the lookup goes on later, if at all.
            credits_charged: All that was charged for this page; `None` is the page's own word.
            at_risk: Credits that lost answers to it may have cost.

        Returns:
            As `fail`.
        """
        charged = _bound(page.credits_charged if credits_charged is None else credits_charged)
        at_risk, rows, now = _bound(at_risk), len(page.accounts), format_now()
        status, total = str(page.status), None if page.total is None else _bound(page.total)
        told = (page.cursor, page.next_cursor, status, rows, charged, page.request_id, now)
        moved = (state, status, total, rows, charged, at_risk, next_cursor, now, index)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT_PAGE, (*told, self._run, body, index))
            connection.execute(_ADVANCE, moved)
            connection.execute(_COUNT, (charged, at_risk, self._run))

        return self._writer.submit(work)

    def fail(
        self,
        index: int,
        *,
        state: LookupState,
        error: str | None,
        credits_charged: int = 0,
        at_risk: int = 0,
    ) -> asyncio.Future[None]:
        """End a lookup without a page; its cursor stays.

        Args:
            index: The lookup's.
            state: ``failed``, ``pending`` for one that was only interrupted, ``limited`` for one
                that has all it may have now.
            error: What happened, in words.
            credits_charged: Credits charged since its last page.
            at_risk: Credits since then that nobody knows about.

        Returns:
            Done when this is on the disk; cancelling it undoes nothing.
        """
        text = None if error is None else error.encode("utf-8", "replace").decode()
        charged, at_risk = _bound(credits_charged), _bound(at_risk)
        ended = (state, text, charged, at_risk, format_now(), index)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FAIL, ended)
            connection.execute(_COUNT, (charged, at_risk, self._run))

        return self._writer.submit(work)

    def pages(self, index: int) -> Iterator[FollowingPage]:
        """Iterate over the pages of a lookup; raises `StoreError`."""
        return iter_pages(self._reader, self._name, index, index)

    def cursors(self, index: int) -> list[str | None]:
        """List the cursors that its pages were asked for with; raises as `pages`."""
        return read_cursors(self._reader, self._name, index)

    async def finish(self, *, stopped_by: StoppedBy | None, usage: Usage) -> None:
        """Write down how the run ended. One that is closed without it counts as died.

        Args:
            stopped_by: Why it ended early; `None` when all was done.
            usage: The books of the run.
        """
        paid = (_bound(usage.credits_charged), _bound(usage.credits_at_risk))
        ended = (format_now(), stopped_by, *paid, self._run)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FINISH, ended)

        await self._writer.commit(work, is_last=True)

    async def close(self) -> None:
        """Commit what is under way, tidy the file and free the lock; again does nothing."""
        await run_to_end(self.close_here)  # who is gone before leaves the file locked

    def close_here(self) -> None:
        """Do as `close`, and block meanwhile."""
        self._reader.close()
        self._writer.close()


def open_store(
    path: str | PathLike[str],
    *,
    origin: str,
    trim: bool,
    concurrency: int,
    options: JsonObject | None = None,
) -> StoreSession:
    """Open a store for a run, or make one.

    Args:
        path: The file.
        origin: The API that is asked; fixed at the file's birth, as is `trim`.
        trim: Whether the smaller answers are asked for.
        concurrency: The most lookups under way at once.
        options: What else to keep of how the run was started.

    Raises:
        StoreLockedError: Another run writes to it.
        StoreMismatchError: It is no store, or was made with another `origin` or `trim`.
        StoreVersionError: A newer version made it.
        StoreWriteError: It cannot be written.
    """
    name = fspath(path)
    file = resolve_path(name)
    refuse_what_is_foreign(file, name)
    fixed: dict[str, str | bool] = {"origin": origin, "trim": trim}
    started = (format_now(), concurrency, json.dumps(options or {}))
    runs: list[_Run] = []

    def prepare(connection: sqlite3.Connection) -> None:
        if not check_store(connection, name):
            file.chmod(0o600)
            create_store(connection, {**fixed, "package_version": __version__})
        check_fixed(connection, name, fixed)
        connection.execute("BEGIN IMMEDIATE")
        runs.append(_start_run(connection, started))
        connection.execute("COMMIT")

    writer = StoreWriter(file, name, prepare)
    try:
        return StoreSession(name, writer, open_for_reading(name), runs[0])
    except BaseException:
        writer.close()
        raise


def _start_run(connection: sqlite3.Connection, started: tuple[object, ...]) -> _Run:
    at_risk = 0
    dead = connection.execute(_SELECT_DEAD_RUNS).fetchall()
    if dead:
        (price,) = connection.execute("SELECT coalesce(max(credits), 1) FROM pages").fetchone()
        for number, requests in dead:
            lost = _bound(requests * max(price, 1))
            connection.execute(_BURY_RUN, (lost, number))
            at_risk += lost
    run = connection.execute(_INSERT_RUN, started).lastrowid
    return _Run(run or 0, at_risk)


def _bound(count: int) -> int:
    """Keep a server's huge number within what the file can add up; the body has it as it came."""
    return min(count, _LARGEST)
