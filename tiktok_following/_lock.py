"""Who may write to a store: one process at a time.

The law: the lock is a file of its own beside the store: opening and closing the store would drop
the locks that SQLite holds on it.
"""

import contextlib
import os
import sys
from pathlib import Path

from ._forks import ProcessBound
from ._store_errors import StoreLockedError, make_write_error

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


_BALLAST = 65_536
"""Bytes that take the room on the disk that the last job may need: a few pages of the file."""

_held: dict[tuple[int, int], "StoreLock"] = {}
"""The locks that this process has, or is about to have, by their files."""


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
        self._end = 0
        """Where the ballast begins; 0 without any."""
        self.path = Path(f"{path}.lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise make_write_error(name, error) from error
        found = os.fstat(self._descriptor)
        self._file = found.st_dev, found.st_ino
        super().__init__()
        if _held.setdefault(self._file, self) is not self:
            self.release()
            raise StoreLockedError(
                "another run of this process is writing to this store", path=name
            )
        try:
            _lock(self._descriptor)
        except BlockingIOError as error:
            line = os.read(self._descriptor, 20).partition(b"\n")[0]
            holder = line.decode("ascii", "replace")
            self.release()
            by = f"process {holder}" if holder.isdecimal() else "another process"
            raise StoreLockedError(f"{by} is writing to this store", path=name) from error
        except OSError as error:
            self.release()
            raise make_write_error(name, error) from error
        with contextlib.suppress(OSError):  # a full disk: the number is for an error's text alone
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._end = os.write(self._descriptor, b"%d\n" % os.getpid())
            os.write(self._descriptor, os.urandom(_BALLAST))  # nothing to compress

    def become_copy(self) -> None:
        """Let go of what a forked process inherited: it would keep the lock when its owner died."""
        super().become_copy()
        self._forget()
        if not self._is_released:
            os.close(self._descriptor)
        self._is_released = True  # a copy of this copy may have something else by that number

    def drop_ballast(self) -> None:
        """Give the room back to the disk that was kept for when there is no other."""
        self._cut(self._end)

    def release(self) -> None:
        """Give it back."""
        self._is_released = True
        self._cut(0)  # who has it next is not to be taken for this process
        _unlock(self._descriptor)
        os.close(self._descriptor)
        self._forget()

    def _forget(self) -> None:
        if _held.get(self._file) is self:
            del _held[self._file]

    def _cut(self, end: int) -> None:
        if self._end:  # it is ours
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end)
