"""From a path to a connection that reads a store: the only file that opens one for that.

The law: nothing can be written through it, and what is no store is left as it is.
"""

import contextlib
import sqlite3
import stat
from pathlib import Path

from ._forks import ProcessBound
from ._schema import check_store
from ._store_errors import StoreError, StoreMismatchError, StoreVersionError

_NO_INDEX = (sqlite3.SQLITE_READONLY_DIRECTORY, sqlite3.SQLITE_CANTOPEN)


class StoreReader(sqlite3.Connection, ProcessBound):
    """A connection that knows when it is a copy: SQLite's locks are not for two processes."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, uri=True, isolation_level=None, check_same_thread=False)
        ProcessBound.__init__(self)


def resolve_path(name: str) -> Path:
    """Find the file that a name means: two links to one store are one store.

    Raises:
        StoreError: The name cannot be that of a file.
    """
    try:
        return Path(name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a NUL character
        raise StoreError(f"the path cannot be used: {error}", path=name) from error


def open_for_reading(name: str) -> StoreReader:
    """Open a store so that nothing can be written through it; raises as `FollowingStore`."""
    path = resolve_path(name)
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError as error:
        raise StoreError("there is no such store", path=name) from error
    except OSError as error:
        raise StoreError(f"the store cannot be read: {error.strerror}", path=name) from error
    if not is_file:
        raise StoreMismatchError("the path is not that of a file", path=name)
    try:
        return _connect(path, name, "mode=ro")
    except StoreError as error:
        if not _is_at_rest(path, error):
            raise
    return _connect(path, name, "mode=ro&immutable=1")


def refuse_what_is_foreign(file: Path, name: str) -> None:
    """Look at a file before a lock is put beside it; what else is wrong shows when it is opened.

    Raises:
        StoreMismatchError: It is not a store.
        StoreVersionError: A newer version made it.
    """
    try:
        if file.stat().st_size:
            open_for_reading(name).close()
    except (StoreMismatchError, StoreVersionError):
        raise
    except (OSError, StoreError):
        pass


def _is_at_rest(path: Path, error: StoreError) -> bool:
    """Tell whether a store was refused only as its folder, or the disk, cannot be written.

    SQLite wants to put an index of the WAL there. Without a WAL nobody writes, and there is nothing
    that the index could tell.
    """
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return code in _NO_INDEX and not Path(f"{path}-wal").exists()


def _connect(path: Path, name: str, mode: str) -> StoreReader:
    try:
        connection = StoreReader(f"{path.as_uri()}?{mode}")
    except sqlite3.Error as error:
        raise StoreError(f"the store cannot be read: {error}", path=name) from error
    with contextlib.ExitStack() as opened:
        opened.callback(connection.close)
        if not check_store(connection, name):
            raise StoreMismatchError("the file is empty, not a store", path=name)
        opened.pop_all()
    return connection
