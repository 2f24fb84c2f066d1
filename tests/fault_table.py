"""Every fault, and what must become of a page that meets it each time it is tried.

The README shows this table as its promise. The numbers are those of the client's own settings, but
for how long it waits.
"""

from collections.abc import Callable
from functools import cache
from gzip import compress
from typing import Any

import attrs

from tiktok_following import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    DeadlineExceededError,
    LookupFailedError,
    NotFoundError,
    PermissionDeniedError,
    RequestError,
    RequestTimeoutError,
    ResponseDecodeError,
    ServerError,
    Timeout,
    TransportError,
)
from tiktok_following._outcomes import StoppedBy
from tiktok_following._transport import MAX_BODY_BYTES
from tiktok_following.sandbox import Fault, faults

TOO_MUCH = MAX_BODY_BYTES + 2**22
MakeFault = Callable[[bool], Fault]

# Longer than a busy machine takes for an honest answer.
QUICK_CONNECT: dict[str, Any] = {"timeout": Timeout(connect=0.1)}
QUICK_READ: dict[str, Any] = {"timeout": Timeout(read=0.2)}
QUICK_DEADLINE: dict[str, Any] = {"deadline": 0.3}


@attrs.frozen
class Row:
    """One fault."""

    name: str
    """As the README calls it."""
    error: type[RequestError]
    attempts: int
    at_risk: int = 0
    """Credits that nobody knows about."""
    make: MakeFault | None = None
    """Makes it for the sandbox, billed or not; `None` for what happens before a request."""
    is_kept: bool = False
    """Whether the connection is used for the next request."""
    stops: StoppedBy | None = None
    """Why a run over many handles ends by it; `None` if it goes on without the handle."""
    truths: tuple[bool, ...] = (True, False)
    """Whether the server may have billed it, and whether it may not."""
    tells_price: bool = False
    """Whether the answer says what it cost."""
    is_alone: bool = False
    """Whether it is not for fifty at once: it would be too much, or meet each elsewhere."""
    options: dict[str, Any] = attrs.field(factory=dict[str, Any])

    def __str__(self) -> str:
        return self.name


def break_shape(body: dict[str, Any]) -> dict[str, Any]:
    """Send a total of the wrong type."""
    body["data"]["totalAccounts"] = "12"
    return body


def hide_price(body: dict[str, Any]) -> dict[str, Any]:
    """Send no price."""
    del body["meta"]["creditsCharged"]
    return body


@cache
def make_bomb(billed: bool) -> Fault:
    """Send little that is much when inflated."""
    return faults.gzip_bomb(TOO_MUCH, billed=billed)


@cache
def make_huge(billed: bool) -> Fault:
    """Send much."""
    return faults.raw(b" " * TOO_MUCH, billed=billed)


def gzipped(body: bytes) -> Callable[[bool], Fault]:
    """Send a body that is said to be gzip."""
    return lambda billed: faults.raw(body, headers={"Content-Encoding": "gzip"}, billed=billed)


def status(code: int) -> MakeFault:
    """Send an error as the API does."""
    return lambda billed: faults.status(code, billed=billed)


def html(code: int) -> MakeFault:
    """Send an error as a proxy does."""
    return lambda billed: faults.html(code, billed=billed)


def _row(name: str, error: type[RequestError], at_risk: int, make: MakeFault, **more: Any) -> Row:
    """Make a row of a fault that is tried again as long as that may cost no more than it risks."""
    return Row(name, error, max(1, at_risk), at_risk, make, **more)


FREE: dict[str, Any] = {"truths": (False,)}
KEPT: dict[str, Any] = {"is_kept": True}

BEFORE: dict[str, Any] = {"stops": "no_progress", "truths": (False,)}
CONNECT = [
    Row("DNS failure", ConnectError, 4, **BEFORE),
    Row("connection refused", ConnectError, 4, **BEFORE),
    Row("bad certificate", ConnectError, 4, **BEFORE),
    Row("connect time-out", ConnectError, 4, **BEFORE, options=QUICK_CONNECT),
]
LOST = [
    _row(
        "closed before the request is read",
        TransportError,
        2,
        lambda _: faults.drop_before(),
        **FREE,
    ),
    _row("reset before it", TransportError, 2, lambda _: faults.drop_before(reset=True), **FREE),
    _row("closed after it", TransportError, 2, lambda billed: faults.drop_after(billed=billed)),
    _row(
        "reset after it",
        TransportError,
        2,
        lambda billed: faults.drop_after(reset=True, billed=billed),
    ),
    _row(
        "cut in the headers",
        TransportError,
        2,
        lambda billed: faults.wire(b"HTTP/1.1 200 OK\r\nConte", billed=billed),
    ),
    _row("cut in the body", TransportError, 2, lambda billed: faults.truncated(billed=billed)),
    _row(
        "longer than announced",
        TransportError,
        2,
        lambda billed: faults.wire(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", billed=billed
        ),
    ),
    _row("false encoding", TransportError, 2, gzipped(b"{}")),
    _row(
        "huge headers",
        TransportError,
        2,
        lambda billed: faults.raw(b"{}", headers={"X": "x" * 2**17}, billed=billed),
    ),
    _row(
        "slow headers",
        RequestTimeoutError,
        2,
        lambda billed: faults.slow(5, billed=billed),
        options=QUICK_READ,
    ),
    _row(
        "slow body",
        RequestTimeoutError,
        2,
        lambda billed: faults.slow(between=5, billed=billed),
        options=QUICK_READ,
    ),
    _row("500", ServerError, 2, status(500), **KEPT),
    _row("502", LookupFailedError, 2, status(502), **KEPT),
    _row("502 HTML", LookupFailedError, 2, html(502), **KEPT),
    _row("504 empty", ServerError, 2, lambda billed: faults.empty(504, billed=billed), **KEPT),
    _row("520 HTML", ServerError, 2, html(520), **KEPT),
    _row("524 HTML", ServerError, 2, html(524), **KEPT),
]
FINAL = [
    _row("400", BadRequestError, 0, status(400), **FREE, **KEPT),
    _row("401", AuthenticationError, 0, status(401), stops="unauthorized", **FREE, **KEPT),
    _row("403", PermissionDeniedError, 0, status(403), stops="forbidden", **FREE, **KEPT),
    _row("403 HTML", PermissionDeniedError, 0, html(403), stops="forbidden", **FREE, **KEPT),
    _row("404", NotFoundError, 0, status(404), stops="wrong_route", **FREE, **KEPT),
    _row(
        "redirect to another host",
        APIError,
        1,
        lambda billed: faults.status(302, location="http://127.0.0.1:9/", billed=billed),
        **KEPT,
    ),
    _row("200 HTML", ResponseDecodeError, 1, html(200), **KEPT),
    _row(
        "200 empty", ResponseDecodeError, 1, lambda billed: faults.empty(200, billed=billed), **KEPT
    ),
    _row(
        "JSON cut short",
        ResponseDecodeError,
        1,
        lambda billed: faults.malformed(billed=billed),
        **KEPT,
    ),
    _row(
        "JSON that is no object",
        ResponseDecodeError,
        1,
        lambda billed: faults.raw(b"[]", billed=billed),
        **KEPT,
    ),
    _row("truncated gzip", ResponseDecodeError, 1, gzipped(compress(b"{}" * 99)[:-20]), **KEPT),
    _row(
        "wrong shape without a price",
        ResponseDecodeError,
        1,
        lambda billed: faults.reshaped(hide_price, billed=billed),
        **KEPT,
    ),
    _row(
        "wrong shape with its price",
        ResponseDecodeError,
        0,
        lambda billed: faults.reshaped(break_shape, billed=billed),
        tells_price=True,
        **KEPT,
    ),
    _row("huge body", ResponseDecodeError, 1, make_huge, is_alone=True),
    _row("gzip bomb", ResponseDecodeError, 1, make_bomb, is_alone=True),
    _row(
        "body that drips past the deadline",
        DeadlineExceededError,
        1,
        lambda billed: faults.slow(between=0.02, pieces=1_000, billed=billed),
        options=QUICK_DEADLINE,
        is_alone=True,
    ),
]
ROWS = [*CONNECT, *LOST, *FINAL]
