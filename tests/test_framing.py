"""Answers as no HTTP library would send them: a page, or an error that may be charged.

What must hold of each: nothing else than these two, in time; and the next call gets the answer to
its own request, whatever came before.
"""

import asyncio
import gzip
from typing import Any

import attrs
import pytest
from conftest import MakeClient
from raw_server import FOUND, Connection, respond, serve

from tiktok_following import (
    APIError,
    BadRequestError,
    DeadlineExceededError,
    RequestError,
    RequestTimeoutError,
    ResponseDecodeError,
    RetryPolicy,
    Timeout,
    TransportError,
)

ONCE = RetryPolicy.none()
LIMITS: dict[str, Any] = {"timeout": Timeout(read=0.1), "deadline": 0.3}
"""For what ends by them alone: nothing else is to depend on how fast this machine is."""
OTHER = FOUND.replace(b"req_raw_1", b"req_raw_2")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\n"
LAST = b"0\r\n\r\n"


def length(body: bytes = FOUND) -> bytes:
    """The rest of the headers, and the body."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(body: bytes, size: int | None = None) -> bytes:
    return b"%x\r\n" % (len(body) if size is None else size) + body + b"\r\n"


@attrs.frozen
class Row:
    """Bytes that come for an answer."""

    name: str
    data: bytes
    error: type[RequestError] | None = None
    """What becomes of it; `None` if it is a page."""
    closes: bool = False
    """Whether the server hangs up then."""
    is_kept: bool = False
    """Whether the connection is used for the next call."""


PAGES = [
    Row("as ever", OK + length(), is_kept=True),
    Row(
        "in chunks of a byte",
        CHUNKED + b"".join(chunk(b"%c" % b) for b in FOUND) + LAST,
        is_kept=True,
    ),
    Row(
        "chunk extensions",
        CHUNKED + b"%x;a=b\r\n" % len(FOUND) + FOUND + b"\r\n" + LAST,
        is_kept=True,
    ),
    Row("trailers", CHUNKED + chunk(FOUND) + b"0\r\nX-T: 1\r\n\r\n", is_kept=True),
    Row("until it closes", OK + b"\r\n" + FOUND, closes=True),
    Row("HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + length()),
    Row("HTTP/1.0 until it closes", b"HTTP/1.0 200 OK\r\n\r\n" + FOUND, closes=True),
    Row("says that it closes", OK + b"Connection: close\r\n" + length()),
    Row("no reason", b"HTTP/1.1 200\r\n" + length(), is_kept=True),
    Row("100 before", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + length(), is_kept=True),
    Row("103s before", b"HTTP/1.1 103 Hints\r\nLink: /\r\n\r\n" * 20 + OK + length(), is_kept=True),
    Row("an empty line before", b"\r\n" + OK + length(), is_kept=True),
    Row("bytes that are no ASCII", OK + b"X: \xe4\xff\r\n" + length(), is_kept=True),
    Row("a false charset", OK + b"Content-Type: a/b; charset=utf-16\r\n" + length(), is_kept=True),
    Row("another answer behind", OK + length() + OK + length(OTHER)),
    Row(
        "gzip in two members",
        GZIP + length(gzip.compress(FOUND[:9]) + gzip.compress(FOUND[9:])),
        is_kept=True,
    ),
]
BROKEN = [
    Row("no HTTP", b"\x00\x01 this is no HTTP\r\n\r\n", TransportError),
    Row("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28", TransportError),
    Row("no status line", FOUND, TransportError),
    Row("HTTP/2", b"HTTP/2 200 OK\r\n" + length(), TransportError),
    Row("a status of two digits", b"HTTP/1.1 20 OK\r\n" + length(), TransportError),
    Row("a status of four digits", b"HTTP/1.1 2000 OK\r\n" + length(), TransportError),
    Row("a name without a colon", OK + b"Nonsense\r\n" + length(), TransportError),
    Row("a space before the colon", OK + b"X : a\r\n" + length(), TransportError),
    Row("NUL", OK + b"X: a\0b\r\n" + length(), TransportError),
    Row("too long a header", OK + b"X: " + b"x" * 2**20 + b"\r\n\r\n", TransportError),
    Row("too long a reason", b"HTTP/1.1 200 " + b"x" * 2**20 + b"\r\n\r\n", TransportError),
    Row("too many headers", OK + b"X: a\r\n" * 10_000 + length(), TransportError),
    Row("two lengths that differ", OK + b"Content-Length: 9\r\n" + length(), TransportError),
    Row("the length twice", OK + b"Content-Length: 9\r\n" * 2 + b"\r\n", TransportError),
    Row("a negative length", OK + b"Content-Length: -1\r\n\r\n" + FOUND, TransportError),
    Row("a length in words", OK + b"Content-Length: ten\r\n\r\n" + FOUND, TransportError),
    Row("a length beyond all", OK + b"Content-Length: 1%s\r\n\r\n" % (b"0" * 30), TransportError),
    Row("longer than it says", OK + b"Content-Length: 10\r\n\r\n" + FOUND, TransportError),
    Row("garbage behind", OK + length() + b"garbage", TransportError),
    Row("length and chunks", OK + b"Content-Length: 9\r\n" + CHUNKED[17:] + LAST, TransportError),
    Row("an unknown coding", OK + b"Transfer-Encoding: cow\r\n" + length(), TransportError),
    Row("a chunk of no size", CHUNKED + b"zz\r\n" + FOUND + b"\r\n" + LAST, TransportError),
    Row("a chunk of size -1", CHUNKED + b"-1\r\n" + FOUND + b"\r\n" + LAST, TransportError),
    Row("a chunk beyond all", CHUNKED + b"f" * 18 + b"\r\n" + FOUND, TransportError),
    Row("a chunk longer than it says", CHUNKED + chunk(FOUND, 9) + LAST, TransportError),
    Row("a chunk shorter than it says", CHUNKED + chunk(FOUND, 999), TransportError, closes=True),
    Row("no last chunk", CHUNKED + chunk(FOUND), TransportError, closes=True),
    Row("false gzip", GZIP + length(), TransportError),
    Row(
        "gzip with a wrong sum", GZIP + length(gzip.compress(FOUND)[:-8] + bytes(8)), TransportError
    ),
    Row("garbage behind gzip", GZIP + length(gzip.compress(FOUND) + b"garbage"), TransportError),
    Row(
        "brotli that nobody asked for", OK + b"Content-Encoding: br\r\n" + length(), TransportError
    ),
    Row("204 with a body", b"HTTP/1.1 204 No\r\n" + length(), TransportError),
    Row("cut in the headers", OK + b"Content-Le", TransportError, closes=True),
    Row("silent in the headers", OK + b"Content-Le", RequestTimeoutError),
    Row("silent in a chunk", CHUNKED + chunk(FOUND, 999), RequestTimeoutError),
    Row("silent though all is there", CHUNKED + chunk(FOUND), RequestTimeoutError),
    Row("100 and then silence", b"HTTP/1.1 100 Continue\r\n\r\n", RequestTimeoutError),
    Row("101", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", APIError),
    Row(
        "gzip cut short",
        GZIP + length(gzip.compress(FOUND)[:-20]),
        ResponseDecodeError,
        is_kept=True,
    ),
    Row("gzip of nothing", GZIP + length(b""), ResponseDecodeError, is_kept=True),
    Row(
        "a byte order mark", OK + length(b"\xef\xbb\xbf" + FOUND), ResponseDecodeError, is_kept=True
    ),
    Row("cut, until it closes", OK + b"\r\n" + FOUND[:50], ResponseDecodeError, closes=True),
    Row("an error in false gzip", b"HTTP/1.1 400 X\r\n" + GZIP[17:] + length(), BadRequestError),
]


@pytest.mark.parametrize("row", PAGES + BROKEN, ids=lambda row: row.name)
async def test_an_answer_is_a_page_or_an_error_and_the_next_one_is_that_of_its_request(
    make_client: MakeClient, row: Row
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        if len(server.requests) == 1:
            connection.writer.write(row.data)
            if row.closes:
                return
            await connection.read_request()
        connection.writer.write(respond(OTHER))

    async with serve(answer) as server:
        limits = LIMITS if row.error in {RequestTimeoutError, DeadlineExceededError} else {}
        client = make_client(base_url=server.base_url, retry=ONCE, **limits)
        if row.error is None:
            assert (await client.following_page("nasa")).request_id == "req_raw_1"
        else:
            with pytest.raises(row.error) as caught:
                await client.following_page("nasa")
            assert type(caught.value) is row.error
            assert caught.value.may_be_charged == (row.error is not BadRequestError)
        assert client.usage.credits_charged == (row.error is None)
        assert client.usage.credits_at_risk == (row.error not in {None, BadRequestError})
        patient = client.with_options(timeout=Timeout(), deadline=None)
        assert (await patient.following_page("esa")).request_id == "req_raw_2"
        assert len(server.requests) == 2
        assert server.connections == (1 if row.is_kept else 2)


@pytest.mark.parametrize(
    "unasked",
    [respond(OTHER), respond(b"", status="408 Request Timeout"), b"HTTP/1.1 103 Hints\r\n\r\n"],
)
async def test_what_comes_unasked_over_an_idle_connection_is_no_answer_and_costs_nothing(
    make_client: MakeClient, unasked: bytes
) -> None:
    idle, said = asyncio.Event(), asyncio.Event()

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond())
        if server.connections == 1:
            await idle.wait()
            connection.writer.write(unasked)
            said.set()
        await connection.read_request()

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url)
        await client.following_page("nasa")
        pooled = client._engine.transport.open().connector
        assert pooled is not None
        idle.set()
        await said.wait()
        while not any(protocol.should_close for ((protocol, _),) in pooled._conns.values()):
            await asyncio.sleep(0)
        assert (await client.following_page("esa")).request_id == "req_raw_1"
        assert (len(server.requests), server.connections) == (2, 2)
        assert (client.usage.credits_charged, client.usage.credits_at_risk) == (2, 0)
