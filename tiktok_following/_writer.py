"""One thread that writes: whatever queued while the last commit ran goes into the next.

The law: a job is done when it is on the disk, not before, and one process at a time writes.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from ._forks import ProcessBound
from ._lock import StoreLock
from ._store_errors import StoreError, is_busy, make_write_error

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT = 10_000
"""Milliseconds to wait for somebody who writes with other means, such as the SQLite shell."""
LAST_BUSY_TIMEOUT = 2_000
"""Milliseconds to wait once more, for the last job alone."""
_FULL = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
"""How SQLite says that there is no room: on the disk, by a quota, or on that of a server."""
CACHE_SIZE = 16_000
"""KiB: room for a group of 500 pages, which would else go to the disk in pieces."""


@attrs.define(eq=False)
class _Job(Generic[T]):
    work: Work[T]
    future: asyncio.Future[T]
    is_last: bool
    result: T | None = None
    error: Exception | None = None


class StoreWriter(ProcessBound):
    """Everything that is written goes through one thread, in groups that commit together.

    Once the disk refused, or the file or its lock was removed, nothing more is tried: every job of
    that group, and every later one, fails with `StoreWriteError`. Only the last job is tried again:
    on a full disk with some room that was kept for it, and for a moment where somebody else writes.
    A job that raises something of its own fails alone.

    Its thread is a daemon: without `close` it does not keep the process alive, and what was not
    acknowledged by then may be lost.

    Args:
        path: The store's file.
        name: How errors call it.
        prepare: Called with the connection before anything else; makes the tables, reads.

    Raises:
        StoreLockedError: Somebody writes to it.
        StoreWriteError: It cannot be written.
    """

    def __init__(self, path: Path, name: str, prepare: Work[None]) -> None:
        super().__init__()
        self._name = name
        self._lock = StoreLock(path, name)
        try:
            self._connection = _open(path, name, prepare)
        except BaseException:
            self._lock.release()
            raise
        self._files = {file: _identify(file) for file in (path, self._lock.path)}
        self._changed = threading.Condition()
        self._waiting: list[_Job[Any]] = []
        self._is_closed = False
        self._failure: sqlite3.Error | None = None
        self._thread = threading.Thread(target=self._run, name="following-store", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # there is no room for a thread
            self._let_go()
            raise

    def submit(self, work: Work[T], *, is_last: bool = False) -> asyncio.Future[T]:
        """Queue a job; its future is done when it is committed.

        Call it on one event loop only. Cancelling the future does not undo the job.

        Args:
            work: The job.
            is_last: Whether no other follows it but `close`.

        Raises:
            StoreError: The writer is closed.
            WrongProcessError: Its thread is in the process that this one was forked off.
        """
        self.check_process("store")
        job = _Job(work, asyncio.get_running_loop().create_future(), is_last)
        with self._changed:
            if self._is_closed:
                raise StoreError("the store is closed", path=self._name)
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    async def commit(self, work: Work[T], *, is_last: bool = False) -> T:
        """Do a job and wait until it is on the disk; a caller who is cancelled does not undo it.

        Raises:
            StoreWriteError: The disk refused.
            StoreError: The writer is closed.
        """
        return await self.submit(work, is_last=is_last)

    def close(self) -> None:
        """Commit what is queued, tidy the file and free the lock; again does nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._wait_for_group():
            self._write(group)
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
                group[0].future.get_loop().call_soon_threadsafe(_tell, group)
        with contextlib.suppress(sqlite3.Error):  # what is committed is safe in the WAL too
            self._wait_at_most(0)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._let_go()

    def _wait_at_most(self, milliseconds: int) -> None:
        """Wait no longer for somebody who writes with other means."""
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def _let_go(self) -> None:
        self._connection.close()
        self._lock.release()

    def _wait_for_group(self) -> list[_Job[Any]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            group, self._waiting = self._waiting, []
        return group

    def _write(self, group: list[_Job[Any]]) -> None:
        """Commit a group, without the jobs that fail by themselves."""
        group = self._try_all(group)
        failure = self._failure
        if group and group[-1].is_last and (_is_full(failure) or is_busy(failure)):
            self._lock.drop_ballast()
            if is_busy(failure):
                self._wait_at_most(LAST_BUSY_TIMEOUT)
            self._failure = None
            group = [*group[:-1], *self._try_all(group[-1:])]
            self._failure = failure
        for job in group:
            job.error = make_write_error(self._name, failure)

    def _try_all(self, group: list[_Job[Any]]) -> list[_Job[Any]]:
        """Commit a group unless the disk refused; return what it refused."""
        while group and self._failure is None:
            group = self._try(group)
        return group

    def _try(self, group: list[_Job[Any]]) -> list[_Job[Any]]:
        """Commit a group, or roll it back and return what is left to do of it."""
        job = group[0]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in group:
                job.result = job.work(self._connection)
            self._connection.execute("COMMIT")
            self._check_files()
        except sqlite3.Error as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, its waiter must hear of it
            job.error = error
        else:
            return []
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            self._connection.execute("ROLLBACK")
        return [job for job in group if job.error is None]

    def _check_files(self) -> None:
        """See that what was committed can be found: a file that was removed takes it all."""
        if any(_identify(path) != identity for path, identity in self._files.items()):
            raise sqlite3.OperationalError("its file, or its lock, was removed or replaced")


def _is_full(failure: sqlite3.Error | None) -> bool:
    return getattr(failure, "sqlite_errorcode", None) in _FULL


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _tell(group: list[_Job[Any]]) -> None:
    for job in group:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)


def _open(path: Path, name: str, prepare: Work[None]) -> sqlite3.Connection:
    try:
        with contextlib.suppress(FileExistsError):  # one that exists must not be opened and closed
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_SIZE}")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = 1")  # macOS: past the cache of the disk
            prepare(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise make_write_error(name, error) from error
    return connection
