"""How long an answer may be silent: before it begins, and between its pieces."""

import asyncio
import math
import time
from typing import Any

import aiohttp
import pytest
from conftest import MakeClient
from raw_server import FOUND, Connection, respond, serve
from test_loops import MakeLoop, make_loop, make_uvloop

from tiktok_following import (
    FollowingClient,
    LookupFailedError,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
)
from tiktok_following._sending import Sending
from tiktok_following.sandbox import Sandbox

__all__ = ["make_loop", "make_uvloop"]

ONCE: dict[str, Any] = {"retry": RetryPolicy.none(), "deadline": None}
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(FOUND)}\r\n\r\n".encode()


def watched(client: FollowingClient) -> Sending:
    """Give the one request under way."""
    silences = client._engine.transport._silences
    (sending,) = silences._running
    assert isinstance(sending, Sending)
    return sending


async def test_an_answer_may_take_longer_than_the_silence_it_may_not_hold(
    make_client: MakeClient,
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        for piece in (HEAD, *(FOUND[at : at + 20] for at in range(0, len(FOUND), 20))):
            connection.writer.write(piece)
            await asyncio.sleep(0.05)

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, timeout=Timeout(read=0.3), **ONCE)
        began = time.monotonic()
        assert (await client.following_page("nasa")).request_id == "req_raw_1"
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + FOUND[:10]], ids=["nothing", "head", "half"])
@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_server_that_falls_silent_is_not_waited_for(
    make_client: MakeClient, said: bytes, is_ours: bool
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(said)
        await connection.read_request()

    async with serve(answer) as server, aiohttp.ClientSession() as session:
        client = make_client(
            base_url=server.base_url,
            session=None if is_ours else session,
            timeout=Timeout(read=0.1),
            **ONCE,
        )
        with pytest.raises(RequestTimeoutError, match="read timeout") as caught:
            await client.following_page("nasa")
        assert caught.value.may_be_charged
        assert client.usage.credits_at_risk == 1
        assert len(server.requests) == 1


@pytest.mark.parametrize("more", [0, 2_000_000], ids=["small", "large"])
def test_what_came_while_the_loop_stood_still_is_read(make_loop: MakeLoop, more: int) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond(FOUND + b" " * more))
        time.sleep(0.3)  # noqa: ASYNC251 - that is the test

    async def main() -> None:
        async with serve(answer) as server:
            limits: dict[str, Any] = {"timeout": Timeout(read=0.1), **ONCE}
            async with FollowingClient("sfk_test_1", base_url=server.base_url, **limits) as client:
                assert (await client.following_page("nasa")).request_id == "req_raw_1"

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


async def test_who_was_about_to_be_given_up_and_is_heard_is_watched_on(
    make_client: MakeClient,
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        sending = watched(client)
        client._engine.transport._silences.remove(sending)
        sending.expire()
        await asyncio.sleep(0.2)
        assert watched(client) is sending
        connection.writer.write(respond())

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, **ONCE)
        assert (await client.following_page("nasa")).request_id == "req_raw_1"


async def test_a_connection_that_was_given_back_is_left_alone(make_client: MakeClient) -> None:
    held: list[tuple[Sending, Any]] = []

    async def answer(connection: Connection) -> None:
        while await connection.read_request():
            held.append((watched(client), watched(client)._connection))
            connection.writer.write(respond())

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, **ONCE)
        await client.following_page("nasa")
        ((sending, connection),) = held
        sending.until = -math.inf
        sending._give_up()  # it has ended
        sending._connection = connection
        sending._give_up()  # its answer is here, and nobody read it yet
        assert not sending.is_silent
        await client.following_page("esa")
        assert server.connections == 1


@pytest.mark.parametrize("status", ["200 OK", "502 Bad Gateway"])
async def test_a_body_without_a_length_that_falls_silent_did_not_end(
    make_client: MakeClient, status: str
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode() + FOUND)
        await connection.read_request()

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, timeout=Timeout(read=0.1), **ONCE)
        with pytest.raises((RequestTimeoutError, LookupFailedError)) as caught:
            await client.following_page("nasa")
        is_ok = status.startswith("200")
        assert type(caught.value) is (RequestTimeoutError if is_ok else LookupFailedError)
        if is_ok:
            assert isinstance(caught.value.__cause__, aiohttp.SocketTimeoutError)
            assert str(caught.value.__cause__) == "nothing came for 0.1 s"


async def test_nothing_is_left_when_a_call_is_closed_from_elsewhere(
    make_client: MakeClient,
) -> None:
    async def answer(connection: Connection) -> None:
        asked.set()
        await connection.read_request()
        await connection.read_request()

    asked = asyncio.Event()
    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, **ONCE)
        call = client.following_page("nasa")

        async def start() -> None:
            call.send(None)  # as a task does; nothing is awaited but what the call waits for

        await asyncio.create_task(start())
        call.close()
        assert client._engine.transport._silences.on_connected == {}


async def test_who_was_about_to_be_given_up_leaves_no_timer(make_client: MakeClient) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        held.append(watched(client))
        held[0].expire()
        assert held[0]._second_look is not None
        connection.writer.write(respond())

    held: list[Sending] = []
    async with serve(answer) as server:
        client = make_client(base_url=server.base_url, **ONCE)
        await client.following_page("nasa")
        assert held[0]._second_look is None


async def test_a_request_that_nobody_watches_over_is_sent_all_the_same(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    async with client._engine.transport.open().get(f"{sandbox.base_url}/health") as response:
        assert response.status == 200


async def test_nothing_is_watched_once_nothing_is_under_way(make_client: MakeClient) -> None:
    client = make_client()
    silences = client._engine.transport._silences
    await asyncio.gather(*(client.following_page("nasa") for _ in range(20)))
    assert not silences._running
    await client.close()
    assert silences._timer is None
