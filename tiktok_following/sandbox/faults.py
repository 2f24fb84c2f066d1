"""Name everything that can go wrong with one request; nothing here touches a socket.

Each function makes one `Fault` for `Sandbox.script`. ``billed`` says whether the request costs
credits all the same. By default a 200 is billed and every other status is free, as the contract
says where it is sure; a billed fault shows in `Sandbox.charges` like any other billed request.
What comes before the script: a key that is missing or wrong, and a server over ``max_in_flight``,
are refused as ever and use up no fault.
"""

import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

import orjson
from attrs import evolve, frozen

from tiktok_following.sandbox._answers import JSON_HEADERS, Answer, build_error, format_retry_after
from tiktok_following.sandbox._requests import RecordedRequest
from tiktok_following.sandbox._waiting import Gate

Rewrite = Callable[[Answer, RecordedRequest], Answer]
Mutate = Callable[[dict[str, Any]], Any]

_HTML_HEADERS: Final = {"Content-Type": "text/html; charset=utf-8"}
_MEBIBYTE: Final = 1 << 20


@frozen(kw_only=True)
class Fault:
    """What becomes of one request. Make one with the functions of this file."""

    name: str
    """The function that made it."""

    billed: bool
    """Whether the request costs credits; without meaning on the free routes."""

    credits: int | None = None
    """Credits that a billed request costs; None means the sandbox's price."""

    rewrite: Rewrite | None = None
    """Makes the answer out of the true one (only if that is a 200); None leaves it true."""

    replaces: bool = False
    """Whether ``rewrite`` needs no true answer, so parameters are not even looked at."""

    drop: Literal["never", "before", "after"] = "never"
    """Close the connection without a byte, before or after the request is processed."""

    reset: bool = False
    """Whether the connection is reset (RST) rather than closed in order (FIN)."""

    gate: Gate | None = None
    """Hold the answer here after it was processed and billed."""

    delay: float = 0.0
    """Seconds between processing and the first byte of the answer."""

    pieces: int = 1
    """In how many pieces the body is written."""

    between: float = 0.0
    """Seconds before each piece of the body."""

    cut: float = 1.0
    """Part of the body, 0 to 1, after which the connection is closed in mid-body."""

    wire: bytes | None = None
    """Written in place of an answer, then the connection is closed; None means an answer."""


def _replace(name: str, answer: Answer, *, billed: bool | None) -> Fault:
    billed = answer.status == HTTPStatus.OK if billed is None else billed
    return Fault(name=name, billed=billed, replaces=True, rewrite=lambda _true, _request: answer)


def status(
    status: int,
    *,
    code: str | None = None,
    message: str = "This failure was scripted.",
    checkout_url: str | None = None,
    location: str | None = None,
    retry_after: float | str | None = None,
    date: str | None = None,
    billed: bool = False,
) -> Fault:
    """Answer with any status and the JSON body of an error.

    Args:
        status: HTTP status, 200 to 599.
        code: ``error.code``; None means the contract's code for this status.
        message: ``error.message``.
        checkout_url: ``error.checkoutUrl``; None leaves the key out.
        location: A ``Location`` header, for redirects.
        retry_after: A ``Retry-After`` header: seconds (decimals too) or an HTTP date as text.
        date: The ``Date`` header, for clocks that differ; None means the true one.
        billed: Whether credits are taken although no page is served.
    """
    extra = _keep_set({"Location": location, "Date": date})

    def rewrite(_true: Answer, request: RecordedRequest) -> Answer:
        answer = build_error(
            status,
            message,
            request.request_id,
            code=code,
            checkout_url=checkout_url,
            retry_after=retry_after,
        )
        return evolve(answer, headers={**answer.headers, **extra})

    return Fault(name="status", billed=billed, replaces=True, rewrite=rewrite)


def html(
    status: int = 502,
    *,
    text: str = "<!doctype html><title>Bad gateway</title><h1>The proxy gave up.</h1>",
    retry_after: float | str | None = None,
    billed: bool | None = None,
) -> Fault:
    """Answer with a proxy's HTML page; ``billed=None`` means only a 200 is."""
    headers = _HTML_HEADERS | _retry_header(retry_after)
    return _replace(
        "html", Answer(status=status, body=text.encode(), headers=headers), billed=billed
    )


def empty(
    status: int = 502,
    *,
    location: str | None = None,
    retry_after: float | str | None = None,
    billed: bool | None = None,
) -> Fault:
    """Answer with a status and no body at all; ``billed=None`` means only a 200 is."""
    headers = _keep_set({"Location": location}) | _retry_header(retry_after)
    return _replace("empty", Answer(status=status, headers=headers), billed=billed)


def raw(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    billed: bool | None = None,
) -> Fault:
    """Answer with these bytes; ``billed=None`` means only a 200 is."""
    headers = {"Content-Type": content_type, **(headers or {})}
    return _replace("raw", Answer(status=status, body=body, headers=headers), billed=billed)


def malformed(*, billed: bool = True) -> Fault:
    """Answer 200 with JSON that stops in the middle, though the HTTP body is whole."""

    def rewrite(true: Answer, _request: RecordedRequest) -> Answer:
        return evolve(true, body=true.body[: len(true.body) // 2])

    return Fault(name="malformed", billed=billed, rewrite=rewrite)


def reshaped(mutate: Mutate, *, billed: bool = True) -> Fault:
    """Answer 200 with the true body as ``mutate`` leaves it.

    ``mutate`` gets the parsed body and returns what is sent instead: a wrong type, a missing or
    unknown key, another status, total or price.
    """

    def rewrite(true: Answer, _request: RecordedRequest) -> Answer:
        return evolve(true, body=orjson.dumps(mutate(orjson.loads(true.body))))

    return Fault(name="reshaped", billed=billed, rewrite=rewrite)


def repeated_cursor(cursor: str | None = None, *, billed: bool = True) -> Fault:
    """Promise more with ``cursor`` as the next one; None repeats the cursor that was sent."""

    def rewrite(true: Answer, request: RecordedRequest) -> Answer:
        body = orjson.loads(true.body)
        body["data"]["page"] = {"nextCursor": cursor or request.cursor, "hasMore": True}
        return evolve(true, body=orjson.dumps(body))

    return Fault(name="repeated_cursor", billed=billed, rewrite=rewrite)


def priced(credits: int, *, billed: bool = True) -> Fault:  # noqa: A002 - the API's own word
    """Serve the true page for this many credits, and say so in ``meta.creditsCharged``."""
    return Fault(name="priced", billed=billed, credits=credits)


def cached(*, age: int | None = 120, billed: bool = True) -> Fault:
    """Serve the true page as from a cache: ``meta.cached``, and ``Age`` in seconds unless None."""

    def rewrite(true: Answer, _request: RecordedRequest) -> Answer:
        body = orjson.loads(true.body)
        body["meta"]["cached"] = True
        extra = {} if age is None else {"Age": str(age)}
        return evolve(true, body=orjson.dumps(body), headers={**true.headers, **extra})

    return Fault(name="cached", billed=billed, rewrite=rewrite)


def encoded(encoding: Literal["gzip", "deflate"] = "gzip", *, billed: bool = True) -> Fault:
    """Serve the true page compressed, whether the client asked for it or not."""
    window = {"gzip": 31, "deflate": 15}[encoding]

    def rewrite(true: Answer, _request: RecordedRequest) -> Answer:
        packer = zlib.compressobj(wbits=window)
        body = packer.compress(true.body) + packer.flush()
        return evolve(true, body=body, headers={**true.headers, "Content-Encoding": encoding})

    return Fault(name="encoded", billed=billed, rewrite=rewrite)


def gzip_bomb(inflated: int = 64 * _MEBIBYTE, *, billed: bool = True) -> Fault:
    """Answer 200 with a small gzip body that inflates to this many bytes of spaces."""
    packer = zlib.compressobj(wbits=31)
    block = b" " * _MEBIBYTE
    parts = [packer.compress(block) for _ in range(inflated // _MEBIBYTE)]
    parts += [packer.compress(block[: inflated % _MEBIBYTE]), packer.flush()]
    headers = {**JSON_HEADERS, "Content-Encoding": "gzip"}
    return _replace(
        "gzip_bomb", Answer(status=200, body=b"".join(parts), headers=headers), billed=billed
    )


def drop_before(*, reset: bool = False) -> Fault:
    """Close the connection at once: nothing is processed and nothing billed."""
    return Fault(name="drop_before", billed=False, drop="before", reset=reset)


def drop_after(*, reset: bool = False, billed: bool = True) -> Fault:
    """Process the request, then close the connection without a byte of answer."""
    return Fault(name="drop_after", billed=billed, drop="after", reset=reset)


def truncated(part: float = 0.5, *, billed: bool = True) -> Fault:
    """Announce the whole true body, send this part of it (0 to below 1) and close."""
    if not 0 <= part < 1:
        raise ValueError(f"part must be at least 0 and below 1, got {part!r}")
    return Fault(name="truncated", billed=billed, cut=part)


def wire(data: bytes, *, billed: bool = True) -> Fault:
    """Process the request, then write these bytes, whether they are HTTP or not, and close."""
    return Fault(name="wire", billed=billed, wire=data)


def slow(
    delay: float = 0.0,
    *,
    between: float = 0.0,
    pieces: int = 2,
    then: Fault | None = None,
    billed: bool = True,
) -> Fault:
    """Answer slowly, after the request was processed and billed.

    Args:
        delay: Seconds before the headers.
        between: Seconds before each piece of the body.
        pieces: In how many pieces the body comes.
        then: What is answered (its own ``billed`` counts); None means the truth.
        billed: Whether the truth is billed.
    """
    then = then or Fault(name="slow", billed=billed)
    return evolve(then, delay=delay, between=between, pieces=pieces)


def hold(gate: Gate, *, then: Fault | None = None, billed: bool = True) -> Fault:
    """Hold the answer, processed and billed, until ``gate.release()``.

    ``then`` is what is answered at last (its own ``billed`` counts); None means the truth.
    """
    return evolve(then or Fault(name="hold", billed=billed), gate=gate)


def _retry_header(retry_after: float | str | None) -> dict[str, str]:
    return {} if retry_after is None else {"Retry-After": format_retry_after(retry_after)}


def _keep_set(headers: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if value is not None}
