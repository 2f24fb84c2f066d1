"""What becomes of a lookup and of a run, in the words that are used for it."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal, get_args

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

StoppedBy = Literal[
    "out_of_credits",
    "budget",
    "unauthorized",
    "forbidden",
    "wrong_route",
    "errors",
    "no_progress",
    "store",
    "cancelled",
    "user",
]
"""Why a run over many handles ended before all of them were done."""

RunEnd = Literal[StoppedBy, "crash"]
"""A `StoppedBy`, or ``crash`` for a run that died, as the next one on its store found."""

WaitsFor = Literal["connection", "credits"]
"""What a run waits for that buys nothing meanwhile: that anybody gets through to the API, or a
top-up."""

LookupState = Literal["pending", "complete", "limited", "failed"]
"""How far a store's lookup is: to be begun or gone on with, nothing more to buy, stopped at a limit
of the caller's, ended by an error."""

_STATUSES: dict[Any, Status] = {status.value: status for status in LookupStatus}


def parse_status(value: Any) -> Status:
    """Read a lookup status; raise `Mismatch` for what is no text."""
    try:
        return _STATUSES[value]
    except (KeyError, TypeError):
        if isinstance(value, str) and value:
            return value
    raise mismatch("a lookup status", value)


def parse_run_end(value: Any) -> RunEnd:
    """Read why a run ended; raise `Mismatch` for what is no such reason."""
    end: RunEnd = _parse_word("a reason of a run's end", value, get_args(RunEnd))
    return end


def parse_state(value: Any) -> LookupState:
    """Read the state of a lookup; raise `Mismatch` for what is none."""
    state: LookupState = _parse_word("a state of a lookup", value, get_args(LookupState))
    return state


def _parse_word(expected: str, value: Any, words: tuple[Any, ...]) -> Any:
    if value in words:
        return value
    raise mismatch(expected, value)


WORDS: dict[Any, Callable[[Any], Any]] = {
    Status: parse_status,
    LookupState: parse_state,
    RunEnd: parse_run_end,
}
"""What reads each kind."""
