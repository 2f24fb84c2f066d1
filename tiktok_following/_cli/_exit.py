"""What an error means for the command: its exit code, whether to go on, how it is told."""

import os

from tiktok_following._config import API_KEY_VARIABLE, BASE_URL_VARIABLE
from tiktok_following._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    FollowingError,
    InsufficientCreditsError,
    NotFoundError,
    PaginationError,
    PermissionDeniedError,
    RequestError,
)
from tiktok_following._store_errors import (
    ExportError,
    StoreError,
    StoreMismatchError,
    StoreVersionError,
)

from ._lines import InputError

DONE = 0
FAILED = 1
USAGE = 2
KEY_REFUSED = 3
OUT_OF_CREDITS = 4
CAP_REACHED = 5
INTERRUPTED = 130
TERMINATED = 143

_CODES: dict[type[Exception], int] = {
    ConfigurationError: USAGE,
    InputError: USAGE,
    StoreMismatchError: USAGE,
    StoreVersionError: USAGE,
    AuthenticationError: KEY_REFUSED,
    InsufficientCreditsError: OUT_OF_CREDITS,
    BudgetExceededError: CAP_REACHED,
}
_FATAL = (
    AuthenticationError,
    InsufficientCreditsError,
    BudgetExceededError,
    PermissionDeniedError,
    NotFoundError,
)


def choose_exit_code(error: Exception) -> int:
    """Give the exit code that an error stands for."""
    return _CODES.get(type(error), FAILED)


def ends_run(error: Exception) -> bool:
    """Tell whether an error is about key, credits, route or output, and not about one list."""
    return isinstance(error, _FATAL) or not isinstance(error, RequestError)


def leads_on(error: Exception) -> bool:
    """Tell whether the same cursor may work another time."""
    return not isinstance(error, (PaginationError, BadRequestError))


def explain(error: Exception, *, verbose: bool = False) -> str:
    """Say what went wrong: in one line, or with request id, attempts and causes."""
    if not isinstance(error, FollowingError):
        return str(error)
    sentence = _introduce(error)
    if not verbose:
        return sentence + _note(error)
    lines = [sentence, f"  {type(error).__name__}: {error}"]
    cause = error.__cause__
    while cause is not None:
        lines.append(f"  caused by {type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return "\n".join(lines)


def _introduce(error: FollowingError) -> str:
    """Say it in the words of the command line."""
    if isinstance(error, AuthenticationError):
        return f"the API key was refused, check {API_KEY_VARIABLE}: {error.message}"
    if isinstance(error, InsufficientCreditsError):
        text = f"out of credits: {error.message}"
        url = error.checkout_url
        return text if url is None else f"{text.rstrip('.')}; buy more at {url}"
    if isinstance(error, BudgetExceededError):
        return f"the credit cap is reached: {error.message}"
    if isinstance(error, NotFoundError):
        is_set = bool(os.environ.get(BASE_URL_VARIABLE))
        return f"check {BASE_URL_VARIABLE}: {error.message}" if is_set else error.message
    if isinstance(error, (StoreError, ExportError)):  # with the file's name
        return str(error)
    return error.message


def _note(error: FollowingError) -> str:
    notes: list[str] = []
    if isinstance(error, APIError):
        notes.append(f"HTTP {error.status_code}")
    if isinstance(error, RequestError):
        if error.retry_after is not None:
            notes.append(f"asked to wait {error.retry_after:.3g} s")
        if error.attempts > 1:
            notes.append(f"{error.attempts} attempts")
        if error.may_be_charged:
            notes.append("may have been charged")
    return f" ({', '.join(notes)})" if notes else ""
