"""What becomes of a lookup: the four answers known today, and room for others."""

from enum import StrEnum
from typing import Any

from ._fields import mismatch


class LookupStatus(StrEnum):
    """What became of a lookup. Every one of them is an answer, and billed."""

    FOUND = "found"
    """The profile exists and its list can be read."""
    HIDDEN = "hidden"
    """The profile exists and keeps its list to itself."""
    PRIVATE = "private"
    """The account is private."""
    NOT_FOUND = "not_found"
    """There is no such profile."""


Status = LookupStatus | str
"""A `LookupStatus`, or the API's own word for one that is not known yet."""

_STATUSES: dict[Any, Status] = {status.value: status for status in LookupStatus}


def parse_status(value: Any) -> Status:
    """Read a lookup status; raise `Mismatch` for what is no text."""
    try:
        return _STATUSES[value]
    except (KeyError, TypeError):
        if isinstance(value, str) and value:
            return value
    raise mismatch("a lookup status", value)
