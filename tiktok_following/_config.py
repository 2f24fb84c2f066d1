"""What users can set: frozen values, checked at birth.

The law: a setting that cannot work is a `ConfigurationError` before anything is sent, and the API
key is nothing that anybody can read by accident.
"""

import inspect
import ipaddress
import sys
from enum import Enum
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import attrs

from ._errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.socialfetch.dev"
API_KEY_VARIABLE = "SOCIALFETCH_API_KEY"
BASE_URL_VARIABLE = "SOCIALFETCH_BASE_URL"


class ApiKey(str):
    """The API key: a text to HTTP, its first characters to everybody else.

    As a `str` it travels through aiohttp as a header value. `repr` and pickling, which are how
    values reach logs, tracebacks and caches, give the redacted form.
    """

    __slots__ = ()

    @property
    def redacted(self) -> str:
        """The first characters, enough to tell two keys apart."""
        shown = 8 if len(self) >= 16 else 0  # noqa: PLR2004 - of a short text even 8 tell too much
        return f"{self[:shown]}…"

    def redact(self, text: str) -> str:
        """Take the key out of a text that came from elsewhere."""
        shown = self.redacted
        for end in range(len(self), min(8, len(self) - 1), -1):  # a text may have been cut within
            text = text.replace(self[:end], shown)
        return text

    def redact_bytes(self, body: bytes) -> bytes:
        """Take the key out of a body, where as a rule it is not."""
        key = self.encode()
        if body.rfind(key) < 0:  # from its end a page is searched in half the time
            return body
        return body.replace(key, self.redacted.encode())

    def __repr__(self) -> str:
        return f"'{self.redacted}'"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return str, (self.redacted,)


def parse_api_key(given: ApiKey | None, environment: ApiKey) -> ApiKey:
    """Choose the key: the one given, or else the environment's, without white space around it.

    Raises:
        ConfigurationError: There is none, or it cannot be an HTTP header.
    """
    if given is not None and not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"api_key must be a text, not {type(given).__name__}")
    key = ApiKey((environment if given is None else given).strip())
    if not key:
        raise ConfigurationError(
            f"no API key: set the environment variable {API_KEY_VARIABLE}, "
            "or pass FollowingClient(api_key=…)"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            "the API key has white space or characters outside ASCII inside; "
            "was something else copied along?"
        )
    return key


def parse_base_url(text: str, name: str = "base_url") -> str:
    """Check where requests go, and drop a trailing slash; errors call it `name`.

    Raises:
        ConfigurationError: It is no http(s) URL, has a query, fragment or user, or would send the
            key in plain text to another machine.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"{name} is text, not {type(text).__name__}")
    text = text.strip()
    if "@" in text:  # with a / in the password no parser finds it, to hide it
        raise ConfigurationError(f"{name} takes no user, query or fragment, and no @")
    if not text.isprintable() or {" ", "\\"} & set(text):
        raise ConfigurationError(
            f"{name} {text!a} has white space, control characters or a backslash inside"
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")  # as it is when its address is looked up
    except ValueError as error:
        raise ConfigurationError(f"{name} {text!r} is not a URL: {error}") from None
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{name} takes no user, query or fragment")
    if parts.scheme not in {"http", "https"} or not host:
        # Not shown: in a swap of the two variables it is the key.
        raise ConfigurationError(f"{name} is not a URL like {DEFAULT_BASE_URL}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{name} {text!r} would send the API key in plain text: use https "
            "(plain http is for this machine alone)"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Tell whether a host name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def make_origin(base_url: str) -> str:
    """Name the API that a base URL leads to; on this machine whatever its port is.

    A sandbox has another port each time.
    """
    parts = urlsplit(base_url)
    if not is_loopback(parts.hostname or ""):
        return base_url
    return f"{parts.scheme}://localhost{parts.path}"


def check_number(
    name: str, value: Any, *, low: float, above: bool = False, whole: bool = False
) -> None:
    """Check a numeric setting.

    Raises:
        ConfigurationError: It is no number, not finite, not whole where it must be, or too small.
    """
    kinds = int if whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and not whole:
        is_number = -sys.float_info.max <= value <= sys.float_info.max  # an int may be more; NaN
    if not is_number or value < low or (above and value == low):
        kind = "a whole number" if whole else "a number"
        is_huge = isinstance(value, int) and value.bit_length() > 128  # noqa: PLR2004 - str() may refuse
        shown = "a huge one" if is_huge else repr(value)
        raise ConfigurationError(f"{name} must be {kind} {'>' if above else '≥'} {low}: {shown}")


def check_callback(name: str, value: Any) -> None:
    """Check a function of the user's, which is called and not awaited; `None` is none.

    Raises:
        ConfigurationError: It cannot be called, or calling it gives something to be awaited.
    """
    if value is None:
        return
    if not callable(value):
        raise ConfigurationError(f"{name} is a function, not {type(value).__name__}")
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(is_kind(it) for is_kind in kinds for it in (value, type(value).__call__)):
        raise ConfigurationError(f"{name} is called, not awaited: def, not async def")


def _positive(_: Any, attribute: Any, value: float) -> None:
    check_number(attribute.name, value, low=0, above=True)


def _not_negative(_: Any, attribute: Any, value: float) -> None:
    check_number(attribute.name, value, low=0)


def _count(_: Any, attribute: Any, value: int) -> None:
    check_number(attribute.name, value, low=0, whole=True)


def _at_least_one(_: Any, attribute: Any, value: int) -> None:
    check_number(attribute.name, value, low=1, whole=True)


@attrs.frozen(kw_only=True)
class Timeout:
    """How long one attempt may take. The whole page has a `deadline` of its own.

    Raises:
        ConfigurationError: A value is not a number above 0.
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    """Seconds to look up the host, connect and agree on TLS. On a session of your own the
    look-up is not counted, and waiting for its pool neither."""
    read: float = attrs.field(default=60.0, validator=_positive)
    """Seconds until the answer's headers are there, and then without another byte of it; on a
    session of your own, aiohttp counts them: without a byte, and not any more after a 1xx. The
    provider documents none; its public clients use 8 to 90."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Which failures are tried again, how often and how long apart.

    Never repeated: 400, 401, 402, 403, 404 and a 200 of the wrong shape.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    max_attempts: int = attrs.field(default=4, validator=_at_least_one)
    """Attempts for one page, the first included; waits for ``Retry-After`` are not counted."""
    ambiguous_retries: int = attrs.field(default=1, validator=_count)
    """How many of them may follow a failure that may have been charged; each puts one more credit
    at risk. 0 turns it off."""
    initial_backoff: float = attrs.field(default=0.5, validator=_not_negative)
    """Seconds: the most to wait before the first retry. It doubles with each, and the wait is
    drawn between 0 and it (full jitter)."""
    max_backoff: float = attrs.field(default=30.0, validator=_not_negative)
    """Seconds: the most to wait before any retry."""
    max_retry_after: float = attrs.field(default=120.0, validator=_not_negative)
    """Seconds: the longest pause, by ``Retry-After``, that is waited for; a longer one fails at
    once, as does everything until it ends."""
    retry_quota: int = attrs.field(default=100, validator=_count)
    """Tokens shared by all calls of a client: a retry takes one, a success gives one back, and
    without one a failure is raised at once. The root client's value counts."""

    @classmethod
    def none(cls) -> Self:
        """Make the policy that sends every request once and waits for nothing."""
        return cls(max_attempts=1, ambiguous_retries=0, max_retry_after=0.0)

    def backoff(self, number: int) -> float:
        """Give the longest wait, in seconds, before retry `number` (from 1)."""
        return min(self.max_backoff, self.initial_backoff * 2.0 ** min(number - 1, 64))


@attrs.frozen(kw_only=True)
class Options:
    """What one client, or one made from it by `with_options`, does differently from another."""

    timeout: Timeout
    deadline: float | None
    """Seconds for one page: attempts, backoff and, with `counts_waiting`, queue and pauses. `None`
    means no limit."""
    retry: RetryPolicy
    counts_waiting: bool = True
    """Whether the deadline counts the time queued and paused, too."""
    takes_turns: bool = False
    """Whether answers that came together are read few at a time: a run holds what was read."""

    def __attrs_post_init__(self) -> None:
        """Check what the type checker of the caller may not have seen."""
        if not isinstance(self.timeout, Timeout):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(
                f"timeout must be a Timeout, such as Timeout(read=30): {self.timeout!r}"
            )
        if not isinstance(self.retry, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance] - same
            raise ConfigurationError(
                f"retry must be a RetryPolicy, such as RetryPolicy(max_attempts=3): {self.retry!r}"
            )
        if self.deadline is not None:
            check_number("deadline", self.deadline, low=0, above=True)


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a run over many handles does; `FollowingClient.following_many` documents it."""

    concurrency: int = attrs.field(validator=_at_least_one)
    ordered: bool
    dedupe: bool
    limit_per_handle: int | None = attrs.field(validator=attrs.validators.optional(_at_least_one))
    max_pages: int | None = attrs.field(validator=attrs.validators.optional(_at_least_one))
    max_errors: int | None = attrs.field(validator=attrs.validators.optional(_at_least_one))
    trim: bool
    retry_failed: bool
    keep_accounts: bool
    on_insufficient_credits: Literal["stop", "wait"]
    stall_timeout: float = attrs.field(validator=_positive)
    drain_timeout: float = attrs.field(validator=_not_negative)

    def __attrs_post_init__(self) -> None:
        """Check what is no number."""
        if self.on_insufficient_credits not in {"stop", "wait"}:
            given = self.on_insufficient_credits
            raise ConfigurationError(f"on_insufficient_credits is 'stop' or 'wait': {given!r}")


class Unchanged(Enum):
    """Says that an option was left out, where `None` has a meaning of its own."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return self.value


UNCHANGED = Unchanged.UNCHANGED
