"""What can be wrong with a file of ours: a store, or what is exported from it.

StoreError
├── StoreLockedError       somebody else writes to it
├── StoreVersionError      made by a newer version
├── StoreMismatchError     no store, or one of another API
└── StoreWriteError        read-only, disk full, removed

ExportError                the target of an export exists, or cannot be written
"""

from ._errors import FollowingError


class StoreError(FollowingError):
    """A store cannot be used."""

    path: str
    """The store's file, as it was named."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path

    def __str__(self) -> str:
        return f"{self.message} (store {self.path!r})"


class StoreLockedError(StoreError):
    """Another process, or another run of this one, writes to the store; it is as it was."""


class StoreVersionError(StoreError):
    """The store was made by a newer version of this package; it is as it was."""


class StoreMismatchError(StoreError):
    """The file is no store, or one of another API or other answers (`trim`); it is as it was."""


class StoreWriteError(StoreError):
    """The store cannot be written: read-only, full, removed, held. What was committed stays."""


class ExportError(FollowingError):
    """An export cannot be written; nothing of it is left, and what was there before still is."""

    path: str
    """The file, as it was named."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path

    def __str__(self) -> str:
        return f"{self.message} (file {self.path!r})"


def is_busy(cause: Exception | None) -> bool:
    """Tell whether SQLite waited long enough for somebody else who writes."""
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def make_write_error(name: str, cause: Exception | None) -> StoreWriteError:
    """Tell why the store called `name` cannot be written."""
    reason = cause.strerror if isinstance(cause, OSError) else cause
    if is_busy(cause):
        reason = f"{cause}: another connection, such as that of an SQLite shell, holds it"
    error = StoreWriteError(f"the store cannot be written: {reason}", path=name)
    error.__cause__ = cause
    return error
