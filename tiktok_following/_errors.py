"""Every error this package raises: what happened, whether it cost money, what to do.

FollowingError
├── ConfigurationError · InvalidHandleError            (also ValueError; before anything is sent)
├── ClientClosedError · WrongLoopError · WrongProcessError (also RuntimeError)
├── RequestError
│   ├── TransportError                                 no usable response
│   │   ├── ConnectError                               certainly not sent
│   │   └── RequestTimeoutError                        (also TimeoutError)
│   ├── APIError                                       the API answered with an error
│   │   ├── BadRequestError 400 · AuthenticationError 401 · InsufficientCreditsError 402
│   │   ├── PermissionDeniedError 403 · NotFoundError 404 · RateLimitError 429
│   │   └── ServerError 5xx ── LookupFailedError 502 · ServiceUnavailableError 503
│   ├── ResponseDecodeError                            a 200 of the wrong shape
│   ├── DeadlineExceededError                          (also TimeoutError)
│   ├── BudgetExceededError                            before any request
│   └── PaginationError                                a cursor came back, or is missing
├── ProfileUnavailableError                            only on request
├── RunStoppedError                                    what a run left unfinished
└── ExportError · StoreError                           in `_store_errors.py`

Errors pickle, copy and compare by identity; none holds the API key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from ._models import Following
    from ._status import LookupStatus, StoppedBy


def _rebuild(cls: type[FollowingError], state: dict[str, Any]) -> FollowingError:
    """Make an error again from its pickled attributes, without calling its ``__init__``."""
    error = cls.__new__(cls, state["message"])
    error.__cause__ = state.pop("__cause__", None)
    error.__dict__.update(state)
    error.args = (error.message,)
    return error


class FollowingError(Exception):
    """The root of all errors of this package; catch it to catch them all."""

    message: str
    """What happened, in one sentence without the details that attributes hold."""

    partial: Following | None = None
    """What `FollowingPager.collect` had read, and paid for, before this error ended it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A cause from another library may not pickle, or hold request headers: ours alone travel.
        cause = self.__cause__ if isinstance(self.__cause__, FollowingError) else None
        return _rebuild, (type(self), {**self.__dict__, "__cause__": cause})


class ConfigurationError(FollowingError, ValueError):
    """A setting is missing or cannot work; nothing was sent."""


class InvalidHandleError(FollowingError, ValueError):
    """A text is not a TikTok handle or profile URL; nothing was sent."""


class ClientClosedError(FollowingError, RuntimeError):
    """The client, or the session it was given, is closed."""


class WrongLoopError(FollowingError, RuntimeError):
    """The client is used on another event loop than the one it belongs to."""


class WrongProcessError(FollowingError, RuntimeError):
    """A client or store is used in a process that was forked off the one that made it."""


class RequestError(FollowingError):
    """One request failed; the attributes say which, and what is known of its price."""

    handle: str | None
    """The handle asked for; `None` on the routes that have none."""
    cursor: str | None
    """The cursor asked for; `None` for the first page."""
    attempts: int
    """HTTP requests sent or tried for this call, the failed one included."""
    may_be_charged: bool
    """Whether the provider may have billed one of the attempts: `False` means certainly not."""
    retry_after: float | None
    """Seconds the server asked to wait; `None` when it did not."""
    sent_at: float = float("-inf")
    """When the last attempt was sent, by `time.monotonic`; long ago if none was."""

    def __init__(
        self,
        message: str,
        *,
        handle: str | None = None,
        cursor: str | None = None,
        attempts: int = 0,
        may_be_charged: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.handle = handle
        self.cursor = cursor
        self.attempts = attempts
        self.may_be_charged = may_be_charged
        self.retry_after = retry_after

    def __str__(self) -> str:
        notes = self._notes()
        return f"{self.message} ({', '.join(notes)})" if notes else self.message

    def _notes(self) -> list[str]:
        """Name the attributes that a reader of a log needs."""
        notes: list[str] = []
        if self.handle is not None:
            notes.append(f"handle {self.handle!r}")
        if self.cursor is not None:
            cut = "…" * (len(self.cursor) > 100)  # noqa: PLR2004 - enough to find it by
            notes.append(f"cursor {self.cursor[:100]!r}{cut}")
        if self.attempts > 1:
            notes.append(f"{self.attempts} attempts")
        if self.may_be_charged:
            notes.append("may have been charged")
        return notes

    def replace(self, **changes: Any) -> Self:
        """Copy this error with some attributes changed, for another request it stands for too."""
        state = {**self.__dict__, "__cause__": self.__cause__, "partial": None, **changes}
        return cast("Self", _rebuild(type(self), state))


class TransportError(RequestError):
    """No usable response came: a lost connection, a broken body, a proxy that failed."""


class ConnectError(TransportError):
    """No connection (DNS, refused, TLS, connect timeout): certainly not sent, not billed."""


class RequestTimeoutError(TransportError, TimeoutError):
    """The request was sent and no answer came within the read timeout."""


class APIError(RequestError):
    """The API, or a proxy before it, answered with a status other than 200."""

    status_code: int
    """HTTP status."""
    code: str | None
    """The API's machine-readable code, an open set; `None` when a proxy answered."""
    request_id: str | None
    """The id to quote to the provider's support."""
    checkout_url: str | None
    """Where credits can be bought, when the API says."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        request_id: str | None = None,
        checkout_url: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.checkout_url = checkout_url

    def _notes(self) -> list[str]:
        notes = [f"HTTP {self.status_code}"]
        if self.code is not None:
            notes.append(self.code)
        if self.retry_after is not None:
            notes.append(f"retry after {self.retry_after:g} s")
        if self.request_id is not None:
            notes.append(f"request id {self.request_id}")
        if self.checkout_url is not None:
            notes.append(f"credits: {self.checkout_url}")
        return notes + super()._notes()


class BadRequestError(APIError):
    """400: the API takes this handle or parameter for invalid. Not billed."""


class AuthenticationError(APIError):
    """401: the API key is missing or wrong. Not billed."""


class InsufficientCreditsError(APIError):
    """402: no credits left. Not billed; nothing more is sent until `balance()` shows credits."""


class PermissionDeniedError(APIError):
    """403: the key may not do this. Not billed."""


class NotFoundError(APIError):
    """404: the route is unknown (a profile that does not exist is an answer). Not billed."""


class RateLimitError(APIError):
    """429: too many requests, documented for the free routes alone. Not billed."""


class ServerError(APIError):
    """5xx: the API or a proxy failed; unless it is a 503 it may have been billed."""


class LookupFailedError(ServerError):
    """502: TikTok's answer could not be used; sources disagree whether it is billed."""


class ServiceUnavailableError(ServerError):
    """503: overload. Not billed."""


class ResponseDecodeError(RequestError):
    """A 200 arrived that is not what the contract says; the text says where it differs."""

    request_id: str | None
    """The id to quote to the provider's support, when the body holds one."""
    credits_charged: int | None
    """Credits the body says it cost; `None` when it does not say."""

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        credits_charged: int | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.request_id = request_id
        self.credits_charged = credits_charged

    def _notes(self) -> list[str]:
        request_id = [] if self.request_id is None else [f"request id {self.request_id}"]
        return request_id + super()._notes()


class DeadlineExceededError(RequestError, TimeoutError):
    """One page took longer than `deadline`; ``__cause__`` is the last failure before that."""


class BudgetExceededError(RequestError):
    """`max_credits` does not allow another page; nothing was sent."""


class PaginationError(RequestError):
    """The list cannot be followed: a cursor came twice, or more is promised without one."""


class ProfileUnavailableError(FollowingError):
    """The profile is hidden, private or not found; raised only where the caller asked for it."""

    handle: str
    """The handle asked for."""
    status: LookupStatus | str
    """The answer that was given."""

    def __init__(self, message: str, *, handle: str, status: LookupStatus | str) -> None:
        super().__init__(message)
        self.handle = handle
        self.status = status


class RunStoppedError(FollowingError):
    """A run over many handles ended before this one was done; the handle has no fault in it."""

    reason: StoppedBy
    """Why, as in `RunSummary.stopped_by`."""

    def __init__(self, message: str, *, reason: StoppedBy) -> None:
        super().__init__(message)
        self.reason = reason
