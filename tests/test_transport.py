"""The transport's promises, on real sockets: one request each, nothing followed or inflated."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import pytest
from conftest import MakeClient
from doors import deaf_door, make_self_signed
from raw_server import Connection, RawServer, respond, serve

from tiktok_following import (
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    DeadlineExceededError,
    FollowingClient,
    ResponseDecodeError,
    RetryPolicy,
    ServiceUnavailableError,
    Timeout,
    TransportError,
    WrongLoopError,
    __version__,
)
from tiktok_following._transport import MAX_BODY_BYTES
from tiktok_following.sandbox import Gate, Sandbox, faults

ONCE = RetryPolicy.none()
BOMB_BYTES = 6 * MAX_BODY_BYTES


async def answer_once_then_drop(connection: Connection) -> None:
    await connection.read_request()
    connection.writer.write(respond())
    await connection.read_request()


async def answer_once_then_reset(connection: Connection) -> None:
    await connection.read_request()
    connection.writer.write(respond())
    await connection.read_request()
    connection.reset()


@pytest.mark.parametrize("handler", [answer_once_then_drop, answer_once_then_reset])
async def test_a_request_lost_on_a_kept_connection_is_not_sent_again_in_silence(
    make_client: MakeClient, handler: object
) -> None:
    async with serve(handler) as server:
        client = make_client(base_url=server.base_url, retry=ONCE)
        await client.following_page("nasa")
        with pytest.raises(TransportError) as caught:
            await client.following_page("nasa")
        assert caught.value.may_be_charged
        assert len(server.requests) == 2
        assert server.connections == 1
        assert client.usage.credits_at_risk == 1


async def test_bare_aiohttp_does_send_such_a_request_again() -> None:
    """If this fails, aiohttp changed its habit, and our guard against it has no proof."""
    async with serve(answer_once_then_drop) as server, aiohttp.ClientSession() as session:
        async with session.get(server.base_url) as response:
            await response.read()
        async with session.get(server.base_url) as response:
            await response.read()
        assert len(server.requests) == 3


async def test_a_user_session_is_guarded_against_sending_again_too() -> None:
    async with serve(answer_once_then_drop) as server, aiohttp.ClientSession() as session:
        client = FollowingClient(
            "sfk_test_1", base_url=server.base_url, retry=ONCE, session=session
        )
        await client.following_page("nasa")
        with pytest.raises(TransportError):
            await client.following_page("nasa")
        assert len(server.requests) == 2
        await client.close()
        assert not session.closed


async def test_what_is_sent_is_the_request_and_nothing_more(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    await client.following_page("we.ird+&=%2e")
    request = sandbox.requests[0]
    assert request.path == "/v1/tiktok/profiles/we.ird%2B%26%3D%252e/following"
    assert request.method == "GET"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["user-agent"] == f"tiktok-following/{__version__}"
    assert headers["accept"] == "application/json"
    assert set(headers) == {"host", "x-api-key", "accept", "accept-encoding", "user-agent"}


async def test_redirects_are_not_followed(client: FollowingClient, sandbox: Sandbox) -> None:
    sandbox.script(faults.status(302, location="/v1/balance"), faults.empty(307, location="/x"))
    for status in (302, 307):
        with pytest.raises(Exception, match=str(status)):
            await client.following_page("nasa")
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_pages_are_read(
    client: FollowingClient, sandbox: Sandbox, encoding: str
) -> None:
    sandbox.script(faults.encoded(encoding))
    assert len((await client.following_page("nasa")).accounts) == 30


async def test_a_gzip_bomb_is_refused_before_it_inflates(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.gzip_bomb(BOMB_BYTES))
    tracemalloc.start()
    with pytest.raises(ResponseDecodeError, match="33554432 bytes") as caught:
        await client.following_page("nasa")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BOMB_BYTES / 2
    assert (caught.value.attempts, caught.value.may_be_charged) == (1, True)
    assert len((await client.following_page("nasa")).accounts) == 30


async def test_a_body_over_the_cap_is_refused_though_its_length_was_announced(
    make_client: MakeClient,
) -> None:
    async def announce(connection: Connection) -> None:
        await connection.read_request()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        connection.writer.write(head.encode())
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            connection.writer.write(b" " * 2**20)
            await connection.writer.drain()

    async with serve(announce) as server:
        client = make_client(base_url=server.base_url)
        with pytest.raises(ResponseDecodeError):
            await client.following_page("nasa")
        assert len(server.requests) == 1


async def answer_503_broken(connection: Connection) -> None:
    await connection.read_request()
    connection.writer.write(
        b"HTTP/1.1 503 Busy\r\nRetry-After: 900\r\nContent-Length: 99\r\n\r\nhalf"
    )


async def answer_503_endless(connection: Connection) -> None:
    await connection.read_request()
    connection.writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 900\r\n\r\n")
    while True:
        connection.writer.write(b"x" * 2**16)
        await connection.writer.drain()


@pytest.mark.parametrize("handler", [answer_503_broken, answer_503_endless])
async def test_the_status_of_an_error_counts_though_its_body_is_broken_or_endless(
    make_client: MakeClient, handler: object
) -> None:
    async with serve(handler) as server:
        client = make_client(base_url=server.base_url)
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.following_page("nasa")
    assert (caught.value.retry_after, caught.value.may_be_charged) == (900, False)


async def answer_garbage(connection: Connection) -> None:
    await connection.read_request()
    connection.writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")


async def test_a_host_that_does_not_exist_is_not_sent_to(make_client: MakeClient) -> None:
    client = make_client(base_url="https://no-such-host.invalid", retry=ONCE)
    with pytest.raises(ConnectError):
        await client.following_page("nasa")
    assert client.usage.credits_at_risk == 0


async def test_a_certificate_nobody_signed_is_not_sent_to(make_client: MakeClient) -> None:
    async with serve(answer_once_then_drop, make_self_signed()) as server:
        client = make_client(base_url=server.base_url, retry=ONCE)
        with pytest.raises(ConnectError, match="Certificate"):
            await client.following_page("nasa")
        assert server.requests == []
    assert client.usage.credits_at_risk == 0


async def test_a_server_without_tls_is_not_sent_to(make_client: MakeClient) -> None:
    async with serve(answer_garbage) as server:
        url = server.base_url.replace("http:", "https:")
        client = make_client(base_url=url, retry=ONCE, timeout=Timeout(connect=0.04))
        with pytest.raises(ConnectError):
            await client.following_page("nasa")
    assert client.usage.credits_at_risk == 0


async def test_a_deadline_while_connecting_costs_nothing(make_client: MakeClient) -> None:
    async with deaf_door(0) as door:
        client = make_client(base_url=door.base_url, deadline=0.04)
        with pytest.raises(DeadlineExceededError) as caught:
            await client.following_page("nasa")
    assert (caught.value.may_be_charged, client.usage.credits_at_risk) == (False, 0)


async def test_a_hostile_session_of_the_user_cannot_break_a_promise(sandbox: Sandbox) -> None:
    async def add_requests(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        await handler(request)
        return await handler(request)

    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=0.001),
        raise_for_status=True,
        auto_decompress=False,
        headers={
            "X-Api-Key": "sfk_wrong",
            "User-Agent": "mine",
            "Accept": "text/html",
            "Accept-Encoding": "br",
        },
        skip_auto_headers=["User-Agent"],
        middlewares=(add_requests,),
        read_bufsize=2**30,
        max_line_size=10,
        max_field_size=10,
    ) as session:
        client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
        sandbox.script(faults.slow(0.04, then=faults.encoded("gzip")), faults.status(400))
        assert len((await client.following_page("nasa")).accounts) == 30
        with pytest.raises(Exception, match="400"):
            await client.following_page("nasa")
        assert len(sandbox.requests) == 2
        assert sandbox.requests[0].headers["User-Agent"] == f"tiktok-following/{__version__}"
        await client.close()
        assert not session.closed
        sandbox.script(faults.gzip_bomb(BOMB_BYTES))
        tracemalloc.start()
        with pytest.raises(ClientClosedError):
            await client.following_page("nasa")
        other = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
        with pytest.raises(ResponseDecodeError):
            await other.following_page("nasa")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BOMB_BYTES / 2


@pytest.mark.parametrize("pool", [{"limit": 99}, {"limit": 0, "limit_per_host": 1}])
async def test_a_pool_smaller_than_the_slots_is_refused(pool: dict[str, int]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session:
        with pytest.raises(ConfigurationError, match="max_concurrency=100"):
            FollowingClient("sfk_test_1", session=session)


async def test_a_session_that_fits_is_taken(sandbox: Sandbox) -> None:
    for limit in (0, 100):
        connector = aiohttp.TCPConnector(limit=limit)
        async with aiohttp.ClientSession(connector=connector) as session:
            client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
            assert (await client.balance()).balance


async def test_a_closed_session_is_refused_at_once_or_when_used(sandbox: Sandbox) -> None:
    session = aiohttp.ClientSession()
    client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
    await session.close()
    with pytest.raises(ClientClosedError, match="session is closed"):
        await client.following_page("nasa")
    with pytest.raises(ConfigurationError, match="closed"):
        FollowingClient("sfk_test_1", session=session)


def test_what_is_no_session_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="session is an"):
        FollowingClient("sfk_test_1", session="x")  # type: ignore[arg-type] # that is the test


async def test_trust_env_is_not_for_a_session_of_the_user() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="trust_env"):
            FollowingClient("sfk_test_1", session=session, trust_env=True)


@pytest.fixture
async def proxy() -> AsyncIterator[RawServer]:
    async def refuse(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond(b"", status="407 Proxy Authentication Required"))

    async with serve(refuse) as server:
        yield server


async def test_the_environments_proxy_is_used_only_when_trusted(
    make_client: MakeClient, proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
    for trusted in (True, False):
        url = "https://api.invalid"
        client = make_client(base_url=url, retry=ONCE, trust_env=trusted)
        with pytest.raises(ConnectError):
            await client.following_page("nasa")
    assert len(proxy.requests) == 1
    assert proxy.requests[0].startswith(b"CONNECT api.invalid:443")
    assert b"sfk_" not in proxy.requests[0]


async def test_a_proxy_without_a_scheme_is_an_http_proxy(
    make_client: MakeClient, proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.base_url.removeprefix("http://"))
    client = make_client(base_url="https://api.invalid", retry=ONCE, trust_env=True)
    with pytest.raises(ConnectError):
        await client.following_page("nasa")
    assert len(proxy.requests) == 1


def test_a_proxy_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match=r"HTTPS_PROXY names no proxy .* not SOCKS"):
        FollowingClient("sfk_test_1", trust_env=True)


def test_without_a_proxy_in_the_environment_none_is_used() -> None:
    client = FollowingClient("sfk_test_1", trust_env=True)
    assert client._engine.transport._proxy is None


async def test_the_environments_proxy_is_never_used_for_this_machine(
    make_client: MakeClient, proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
    monkeypatch.setenv("NO_PROXY", "api.invalid")
    assert (await make_client(trust_env=True).following_page("nasa")).accounts
    with pytest.raises(ConnectError):
        await make_client(base_url="https://api.invalid", trust_env=True, retry=ONCE).health()
    assert proxy.requests == []


async def test_a_closed_client_says_so(make_client: MakeClient, sandbox: Sandbox) -> None:
    async with make_client() as client:
        await client.following_page("nasa")
    child = client.with_options()
    await client.close()
    for call in (
        client.following_page("nasa"),
        client.following("nasa").collect(),
        client.balance(),
        child.whoami(),
    ):
        with pytest.raises(ClientClosedError):
            await call
    with pytest.raises(ClientClosedError):
        await client.__aenter__()
    assert len(sandbox.requests) == 1


async def test_closing_ends_what_waits_and_what_is_under_way(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_concurrency=1)
    gate = Gate()
    sandbox.script(faults.hold(gate))
    under_way = asyncio.create_task(client.following_page("nasa"))
    await gate.reached()
    waiting = [asyncio.create_task(client.following_page(f"user{number}")) for number in range(5)]
    await asyncio.sleep(0)
    await client.close()
    gate.release()
    for task in waiting:
        with pytest.raises(ClientClosedError):
            await task
    with pytest.raises(ClientClosedError) as caught:
        await under_way
    assert isinstance(caught.value.__cause__, TransportError)
    assert client.usage.credits_at_risk == 1
    assert client.throttle.in_flight == client.throttle.waiting == 0


async def test_only_the_root_closes(make_client: MakeClient) -> None:
    client = make_client()
    async with client.with_options() as child:
        await child.following_page("nasa")
    await client.following_page("nasa")


def test_another_loop_is_a_clear_error() -> None:
    async def use(client: FollowingClient) -> None:
        async with Sandbox() as sandbox:
            client._engine.transport.open()
            assert sandbox.base_url

    client = FollowingClient("sfk_test_1")
    asyncio.run(use(client))
    with pytest.raises(WrongLoopError, match="another event loop"):
        asyncio.run(use(client))
    client._engine.transport._session.connector._close()  # its loop is gone: only the test can


def test_closing_on_another_loop_is_an_error_and_closes_nothing() -> None:
    with Sandbox() as sandbox, asyncio.Runner() as runner:
        client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url)
        runner.run(client.following_page("nasa"))
        with pytest.raises(WrongLoopError):
            asyncio.run(client.close())
        runner.run(client.following_page("nasa"))
        runner.run(client.close())


def test_a_session_of_another_loop_is_a_clear_error() -> None:
    async def make() -> FollowingClient:
        async with aiohttp.ClientSession() as session:
            return FollowingClient("sfk_test_1", session=session)

    async def use() -> None:
        await client.following_page("nasa")

    client = asyncio.run(make())
    with pytest.raises(WrongLoopError):
        asyncio.run(use())


async def test_a_client_that_was_never_used_closes_in_silence() -> None:
    client = FollowingClient("sfk_test_1")
    await client.close()
    await client.close()
    with pytest.raises(ClientClosedError):
        await client.following_page("nasa")


async def test_a_client_made_outside_a_loop_works_inside(sandbox: Sandbox) -> None:
    client = await asyncio.to_thread(
        lambda: FollowingClient(sandbox.api_key, base_url=sandbox.base_url)
    )
    async with client:
        assert (await client.following_page("nasa")).accounts


async def test_the_tracing_of_a_users_session_sees_bodies(sandbox: Sandbox) -> None:
    seen = list[int]()

    async def note(_: object, __: object, params: aiohttp.TraceResponseChunkReceivedParams) -> None:
        seen.append(len(params.chunk))

    trace = aiohttp.TraceConfig()
    trace.on_response_chunk_received.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
        for number in range(5):
            await client.following_page(f"short{number}")
    assert len(seen) == 5
    assert all(seen)


async def test_of_a_session_that_its_user_closed_nothing_is_asked(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as session:
        client = FollowingClient(sandbox.api_key, base_url=sandbox.base_url, session=session)
        await client.following_page("nasa")
    with pytest.raises(ClientClosedError):
        await client.following_page("nasa")
    with pytest.raises(ClientClosedError):
        await client.balance()
    assert (client.usage.requests, client.usage.attempts) == (1, 1)
