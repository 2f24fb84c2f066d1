"""The API key shows nowhere: not in errors, tracebacks with locals, logs, reprs or pickles."""

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import aiohttp
import pytest
from raw_server import Connection, respond, serve

from tiktok_following import (
    ConfigurationError,
    ConnectError,
    DeadlineExceededError,
    Event,
    FollowingClient,
    FollowingError,
    RequestError,
    ResponseDecodeError,
    RetryPolicy,
    Timeout,
)
from tiktok_following.sandbox import Sandbox, faults

KEY = "sfk_test_1a2b3c4d5e6f7g8h"
SHOWN = 8
HIDDEN = KEY[SHOWN:]


def walk(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def frames(trace: TracebackType | None) -> Iterator[tuple[str, dict[str, object]]]:
    for frame, _ in traceback.walk_tb(trace):
        yield f"{frame.f_code.co_filename}:{frame.f_code.co_name}", frame.f_locals


def assert_hidden(error: BaseException) -> None:
    for part in walk(error):
        text = "".join(
            traceback.TracebackException.from_exception(part, capture_locals=True).format()
        )
        # The frames of this file may hold what they please.
        lines = [line for line in text.splitlines() if "KEY" not in line]
        assert HIDDEN not in "\n".join(lines), text
        for place, local in frames(part.__traceback__):
            if "/tests/" not in place:
                for name, value in local.items():
                    assert HIDDEN not in repr(value), (place, name)
        if isinstance(part, FollowingError):
            for made in (str(part), repr(part), repr(part.__dict__), pickle.dumps(part)):
                assert HIDDEN not in (made if isinstance(made, str) else made.decode("latin-1"))
            assert HIDDEN not in str(copy.deepcopy(part))


@pytest.fixture
async def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    return caplog


def make(base_url: str, **options: object) -> FollowingClient:
    options = {"retry": RetryPolicy.none(), "timeout": Timeout(connect=1, read=0.04), **options}
    return FollowingClient(KEY, base_url=base_url, **options)


FAULTS = [
    faults.status(400, message=f"you sent {KEY}", code=KEY, checkout_url=f"https://x.test/{KEY}"),
    faults.status(401, message=f"bad key {KEY}"),
    faults.status(402),
    faults.status(500),
    faults.status(503, retry_after=900),
    faults.html(502, text=f"<h1>{KEY}</h1>"),
    faults.html(200, text=KEY),
    faults.raw(f'{{"data":"{KEY}","meta":{{"requestId":"{KEY}"}}}}'.encode()),
    faults.raw(b"{}", content_type=f"text/{KEY}"),
    faults.raw(b"<", content_type=f"text/{KEY}"),
    faults.drop_before(),
    faults.drop_after(reset=True),
    faults.truncated(),
    faults.slow(0.5),
    faults.malformed(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_no_failure_shows_the_key(
    sandbox: Sandbox, fault: faults.Fault, logged: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []
    sandbox.add_key(KEY, 100)
    async with make(sandbox.base_url, on_event=told.append) as client:
        sandbox.script(fault)
        with pytest.raises(FollowingError) as caught:
            await client.following_page("nasa")
        assert_hidden(caught.value)
    assert HIDDEN not in logged.text
    assert told
    for thing in (*told, *map(vars, logged.records), *(event.to_dict() for event in told)):
        assert HIDDEN not in repr(thing)
    assert HIDDEN.encode() not in pickle.dumps(told)


async def test_no_dead_connection_shows_the_key(logged: pytest.LogCaptureFixture) -> None:
    async def answer_once_then_drop(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond())
        await connection.read_request()
        connection.reset()

    async with serve(answer_once_then_drop) as server, make(server.base_url) as client:
        await client.following_page("nasa")
        with pytest.raises(FollowingError) as caught:
            await client.following_page("nasa")
        assert_hidden(caught.value)
    async with make("https://no-such-host.invalid") as client:
        with pytest.raises(FollowingError) as caught:
            await client.following_page("nasa")
        assert_hidden(caught.value)
    assert HIDDEN not in logged.text


ECHOES = {
    "in the place of a status line": "{key}\r\n\r\n",
    "in a header that is none": "HTTP/1.1 200 OK\r\nsent {key}\r\n\r\n",
    "in a header too long": "HTTP/1.1 200 OK\r\nX: {key}" + "{key}" * 400 + "\r\n\r\n",
    "as the size of a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n",
    "as the length": "HTTP/1.1 200 OK\r\nContent-Length: {key}\r\n\r\n",
    "in a body cut short": "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{key}",
    "in what is no gzip": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n{key}",
    "as the status": "HTTP/1.1 500 {key}\r\nContent-Length: 25\r\n\r\n{key}",
    "as the place of a redirect": "HTTP/1.1 302 Found\r\nLocation: http://{key}.test/{key}\r\n\r\n",
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
async def test_what_is_no_http_and_echoes_the_key_does_not_show_it(
    echo: str, logged: pytest.LogCaptureFixture
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(echo.format(key=KEY).encode())

    async with serve(answer) as server, make(server.base_url) as client:
        with pytest.raises(RequestError) as caught:
            await client.following_page("nasa")
        assert_hidden(caught.value)
        assert str(caught.value).isprintable()
        assert caught.value.may_be_charged
    assert HIDDEN not in logged.text


HEAD_WITH_KEY = f"HTTP/1.1 200 OK\r\nX-Echo: {KEY}\r\n"
ENDLESS_WITH_KEY = {
    "of a known length": f"{HEAD_WITH_KEY}Content-Length: 9999\r\n\r\n{KEY}",
    "of any length": f"{HEAD_WITH_KEY}\r\n{KEY}",
    "in chunks": f"{HEAD_WITH_KEY}Transfer-Encoding: chunked\r\n\r\n{len(KEY):x}\r\n{KEY}\r\n",
}


@pytest.mark.parametrize("place", ENDLESS_WITH_KEY)
async def test_an_answer_given_up_in_its_middle_leaves_no_key(
    place: str, logged: pytest.LogCaptureFixture
) -> None:
    is_read = asyncio.Event()

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(ENDLESS_WITH_KEY[place].encode())
        await connection.writer.drain()
        is_read.set()
        await connection.reader.read()

    async with serve(answer) as server:
        for deadline in (None, 0.05):
            async with make(server.base_url, timeout=Timeout(), deadline=deadline) as client:
                task = asyncio.create_task(client.following_page("nasa"))
                await is_read.wait()
                for _ in range(20):
                    await asyncio.sleep(0.001)
                if deadline is None:
                    task.cancel()
                with pytest.raises((asyncio.CancelledError, DeadlineExceededError)) as caught:
                    await task
                assert_hidden(caught.value)
    assert HIDDEN not in logged.text


async def test_a_body_too_large_leaves_no_key(logged: pytest.LogCaptureFixture) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(f"{HEAD_WITH_KEY}\r\n".encode() + KEY.encode() * 1_500_000)

    async with serve(answer) as server:
        async with make(server.base_url, timeout=Timeout()) as client:
            with pytest.raises(ResponseDecodeError, match="more than 33554432 bytes") as caught:
                await client.following_page("nasa")
        assert_hidden(caught.value)
    assert HIDDEN not in logged.text


PROXY_ANSWERS = {
    "it refuses": respond(b"", status="407 Proxy Authentication Required"),
    "it is no proxy": b"what?\r\n\r\n",
    "it speaks no TLS": respond(b"", status="200 Connection established") + b"what?" * 9,
    "it hangs up": b"",
}


@pytest.mark.parametrize("given", PROXY_ANSWERS.values(), ids=PROXY_ANSWERS)
async def test_the_password_of_a_proxy_is_in_no_error(
    given: bytes, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(given)

    async with serve(answer) as proxy:
        url = proxy.base_url.replace("//", "//user:pa55word@")
        monkeypatch.setenv("HTTPS_PROXY", url)
        async with make("https://api.invalid", trust_env=True) as client:
            with pytest.raises(ConnectError) as caught:
                await client.following_page("nasa")
        assert b"Proxy-Authorization: Basic" in proxy.requests[0]
        assert KEY.encode() not in proxy.requests[0]
    for error in walk(caught.value):
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        lines = [line for line in "".join(shown.format()).splitlines() if "url = " not in line]
        for text in (str(error), repr(error), repr(vars(error)), "\n".join(lines)):
            assert "pa55word" not in text
            assert "dXNlcjpwYTU1d29yZA" not in text  # as HTTP sends it
    assert "pa55word" not in logged.text


BAD_PROXIES = [
    "http://user:pa55/word@proxy.invalid:8080",
    "http://user:1234/pa55word@proxy.invalid:8080",
    "http://user:1234?pa55word@proxy.invalid:8080",
    "http://user:1234#pa55word@proxy.invalid:8080",
    "http://user:pa55\\word@proxy.invalid:8080",
    "http://user:pa55\nword@proxy.invalid:8080",
    "http://user:pa55ł@proxy.invalid:8080",
    "http://us%3Aer:pa55word@proxy.invalid:8080",
    "http://user:pa55word@proxy.invalid:99999",
    "http://user:pa55word@proxy.invalid:0",
    "http://user:pa55word@proxy.invalid:abc",
    "http://user:pa55word@proxy..invalid:8080",
    "http://user:pa55word@[bad",
    "http://user:pa55word@",
    "user:pa55/word@proxy.invalid:8080",
    "user:pa55://word@proxy.invalid:8080",
    "pa55word://proxy.invalid:8080",
    "socks5://user:pa55word@proxy.invalid:1080",
]


@pytest.mark.parametrize("text", BAD_PROXIES)
def test_of_a_proxy_that_cannot_be_used_nothing_shows_but_the_variable(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY names no proxy") as caught:
        FollowingClient(KEY, trust_env=True)
    for error in walk(caught.value):
        assert "pa55" not in repr(error)
        for place, local in frames(error.__traceback__):
            assert "/tests/" in place or "pa55" not in repr(local), place


async def test_a_deadline_and_a_cancellation_do_not_show_the_key(sandbox: Sandbox) -> None:
    sandbox.add_key(KEY, 100)
    async with make(sandbox.base_url, deadline=0.03, timeout=Timeout()) as client:
        sandbox.script(faults.slow(0.5))
        with pytest.raises(FollowingError) as caught:
            await client.following_page("nasa")
        assert_hidden(caught.value)


async def test_no_object_of_the_client_shows_the_key(sandbox: Sandbox) -> None:
    sandbox.add_key(KEY, 100)
    async with make(sandbox.base_url) as client:
        await client.following_page("nasa")
        engine = client._engine
        for thing in (client, engine, engine.transport.__dict__, engine._pipeline.__dict__):
            assert HIDDEN not in repr(thing)
        session = engine.transport._session
        assert isinstance(session, aiohttp.ClientSession)
        assert HIDDEN not in repr(session.headers)


def test_a_constructor_that_fails_does_not_show_the_key() -> None:
    with pytest.raises(FollowingError) as caught:
        FollowingClient(KEY, base_url="http://example.com")
    assert_hidden(caught.value)
    for bad in (f"{KEY} x", f"{KEY}é", f"{KEY}\nX: y"):
        with pytest.raises(FollowingError) as caught:
            FollowingClient(bad)
        for place, local in frames(caught.value.__traceback__):
            assert "/tests/" in place or HIDDEN not in repr(local), place


async def test_a_page_that_echoes_the_key_does_not_show_it(sandbox: Sandbox) -> None:
    sandbox.add_key(KEY, 100)

    def echo(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["lookupStatus"] = body["meta"]["requestId"] = body["new"] = KEY
        return body

    async with make(sandbox.base_url) as client:
        sandbox.script(faults.reshaped(echo))
        page = await client.following_page("nasa")
        assert HIDDEN not in repr(page)
        assert HIDDEN not in repr(client.usage)
        with pytest.raises(FollowingError) as caught:
            page.raise_for_status()
        assert_hidden(caught.value)


def test_a_key_in_the_place_of_the_address_is_not_shown() -> None:
    with pytest.raises(FollowingError) as caught:
        FollowingClient("sfk_test_1", base_url=KEY)
    assert HIDDEN not in str(caught.value)


async def test_a_url_with_credentials_is_refused_and_not_quoted() -> None:
    for user in ("user:pa55word", "user:pa55/word", "user:1/pa55", "user:pa55 word", "[:pa55"):
        for scheme in ("http", "https"):
            with pytest.raises(ConfigurationError, match="base_url takes no user") as caught:
                FollowingClient(KEY, base_url=f"{scheme}://{user}@api.example.com")
            assert "pa55" not in str(caught.value)
