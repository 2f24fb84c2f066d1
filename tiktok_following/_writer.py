"""One thread that writes: whatever queued while the last commit ran goes into the next.

The law: a job is done when it is on the disk, not before, and one process at a time writes. The
lock is a file beside the store: opening and closing the store's own file would drop the locks that
SQLite holds on it.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from ._forks import ProcessBound
from ._store_errors import StoreError, StoreLockedError, StoreWriteError

if sys.platform == "win32":  # pragma: no cover - the tests run where fcntl is
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked cannot be read: not the pid
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        with contextlib.suppress(OSError):  # it was not ours
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child just forked off has it open as well


T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT = 10_000
"""Milliseconds to wait for somebody who writes with other means, such as the SQLite shell."""
CACHE_SIZE = 16_000
"""KiB: room for a group of 500 pages, which would else go to the disk in pieces."""


@attrs.define(eq=False)
class _Job(Generic[T]):
    work: Work[T]
    future: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None


class StoreLock(ProcessBound):
    """The right to write to a store; the system takes it back from a process that died.

    Args:
        path: The store. The lock is `path` with ``.lock`` after it; that file stays.
        name: How errors call the store.

    Raises:
        StoreLockedError: Somebody has it.
        StoreWriteError: The lock cannot be written.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._is_released = False
        self.path = Path(f"{path}.lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _make_write_error(name, error) from error
        super().__init__()
        try:
            _lock(self._descriptor)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            self.release()
            by = f"process {holder}" if holder.isdecimal() else "another process"
            raise StoreLockedError(f"{by} is writing to this store", path=name) from error
        except OSError as error:
            self.release()
            raise _make_write_error(name, error) from error
        with contextlib.suppress(OSError):  # a full disk: the number is for an error's text alone
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, b"%d\n" % os.getpid())

    def become_copy(self) -> None:
        """Let go of what a forked process inherited: it would keep the lock when its owner died."""
        super().become_copy()
        if not self._is_released:
            os.close(self._descriptor)

    def release(self) -> None:
        """Give it back."""
        self._is_released = True
        _unlock(self._descriptor)
        os.close(self._descriptor)


class StoreWriter(ProcessBound):
    """Everything that is written goes through one thread, in groups that commit together.

    Once the disk refused, or the file or its lock was removed, nothing more is tried: every job of
    that group, and every later one, fails with `StoreWriteError`. A job that raises something of
    its own fails alone.

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
        self._thread.start()

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Queue a job; its future is done when it is committed.

        Call it on one event loop only. Cancelling the future does not undo the job.

        Raises:
            StoreError: The writer is closed.
            WrongProcessError: Its thread is in the process that this one was forked off.
        """
        self.check_process("store")
        job = _Job(work, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._is_closed:
                raise StoreError("the store is closed", path=self._name)
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    async def commit(self, work: Work[T]) -> T:
        """Do a job and wait until it is on the disk; a caller who is cancelled does not undo it.

        Raises:
            StoreWriteError: The disk refused.
            StoreError: The writer is closed.
        """
        return await self.submit(work)

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
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._lock.release()

    def _wait_for_group(self) -> list[_Job[Any]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            group, self._waiting = self._waiting, []
        return group

    def _write(self, group: list[_Job[Any]]) -> None:
        """Commit a group, without the jobs that fail by themselves."""
        while group and self._failure is None:
            group = self._try(group)
        for job in group:
            job.error = _make_write_error(self._name, self._failure)

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
        raise _make_write_error(name, error) from error
    return connection


def _make_write_error(name: str, cause: OSError | sqlite3.Error | None) -> StoreWriteError:
    reason = cause.strerror if isinstance(cause, OSError) else cause
    error = StoreWriteError(f"the store cannot be written: {reason}", path=name)
    error.__cause__ = cause
    return error
