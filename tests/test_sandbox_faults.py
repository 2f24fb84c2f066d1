"""What each scripted fault does to the wire and to the bill, over real HTTP."""

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import contract
import orjson
import pytest

from tiktok_following.sandbox import Fault, Gate, RecordedRequest, Sandbox, faults

DATE = "Wed, 30 Sep 2026 10:00:05 GMT"
PROXY_STATUSES = [504, 520, 521, 522, 523, 524]


class DroppedError(Exception):
    """The server closed the connection without an answer."""


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself."""
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise DroppedError from error


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the sandbox does, two seconds at most."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


class Reader:
    """Reads pages of one sandbox."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.status = 0
        self.headers: Any = {}

    async def __call__(
        self, handle: str = "nasa", cursor: str | None = None, *, route: str | None = None
    ) -> bytes:
        path = route or f"/v1/tiktok/profiles/{handle}/following"
        query = "" if cursor is None else f"?cursor={cursor}"
        self.status = 0
        async with self.session.get(
            self.sandbox.base_url + path + query,
            headers={"x-api-key": self.sandbox.api_key},
            allow_redirects=False,
        ) as response:
            self.status, self.headers = response.status, response.headers
            return await response.read()

    async def page(self, handle: str = "nasa", cursor: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = orjson.loads(await self(handle, cursor))
        contract.check("FollowingBody", body)
        return body


@pytest.fixture
async def read(sandbox: Sandbox) -> AsyncIterator[Reader]:
    async with aiohttp.ClientSession(
        auto_decompress=False, middlewares=[send_once], timeout=aiohttp.ClientTimeout(total=5)
    ) as session:
        yield Reader(sandbox, session)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500, 502, 503, *PROXY_STATUSES])
async def test_an_error_keeps_the_contract_and_is_free_unless_the_script_says_so(
    status: int, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.status(status), faults.status(status, billed=True))
    for charged in (0, 1):
        body = orjson.loads(await read())
        assert read.status == status
        contract.check("ErrorBody", body)
        assert sandbox.credits_charged == charged
        assert body["error"]["requestId"] == sandbox.requests[-1].request_id
    assert [record.credits for record in sandbox.requests] == [0, 1]
    assert sandbox.charges[0].request_id == sandbox.requests[1].request_id


async def test_an_error_has_the_contracts_code_or_the_scripts(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(
        faults.status(502),
        faults.status(418),
        faults.status(
            402, code="payment_required", message="Pay.", checkout_url="https://a.example"
        ),
    )
    assert orjson.loads(await read())["error"]["code"] == "lookup_failed"
    assert orjson.loads(await read())["error"]["code"] == "http_418"
    error = orjson.loads(await read())["error"]
    assert error.pop("requestId") == "req_sandbox_00000002"
    assert error == {
        "code": "payment_required",
        "message": "Pay.",
        "checkoutUrl": "https://a.example",
    }


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(2, "2"), (1.0, "1"), (0.02, "0.02"), (1e-05, "1e-05"), (DATE, DATE)],
)
async def test_retry_after_comes_in_both_forms(
    retry_after: float | str, header: str, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(
        faults.status(503, retry_after=retry_after),
        faults.html(503, retry_after=retry_after),
        faults.empty(503, retry_after=retry_after),
    )
    for _ in range(3):
        await read()
        assert read.headers["Retry-After"] == header


async def test_the_clock_of_the_server_can_be_wrong(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.status(503, retry_after=DATE, date="Wed, 30 Sep 2026 10:00:00 GMT"))
    await read()
    assert read.headers.getall("Date") == ["Wed, 30 Sep 2026 10:00:00 GMT"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_says_where_to(status: int, sandbox: Sandbox, read: Reader) -> None:
    elsewhere = "https://elsewhere.example/"
    sandbox.script(
        faults.status(status, location=elsewhere), faults.empty(status, location=elsewhere)
    )
    for _ in range(2):
        await read()
        assert (read.status, read.headers["Location"]) == (status, elsewhere)
    assert sandbox.charges == []


@pytest.mark.parametrize("make", [faults.html, faults.empty])
async def test_a_proxys_200_is_billed_and_its_error_is_not_unless_the_script_says_so(
    make: Any, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(make(), make(200), make(502, billed=True), make(200, billed=False))
    charged: list[int] = []
    for _ in range(4):
        await read()
        charged.append(sandbox.requests[-1].credits)
    assert charged == [0, 1, 1, 0]


async def test_html_and_empty_bodies_are_what_they_say(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.html(504, text="<p>sorry"), faults.empty(504), faults.empty(204))
    assert await read() == b"<p>sorry"
    assert read.headers["Content-Type"] == "text/html; charset=utf-8"
    assert await read() == b""
    assert read.status == 504
    assert await read() == b""


async def test_raw_bytes_go_out_as_they_are(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(
        faults.raw(b"\xff\x00"),
        faults.raw(b"!", status=500, content_type="text/plain", headers={"X-Odd": "1"}),
    )
    assert await read() == b"\xff\x00"
    assert read.headers["Content-Type"] == "application/json"
    assert await read() == b"!"
    assert (read.headers["Content-Type"], read.headers["X-Odd"]) == ("text/plain", "1")
    assert sandbox.credits_charged == 1


@pytest.mark.parametrize("billed", [True, False])
async def test_malformed_json_comes_in_a_whole_body(
    billed: bool, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.malformed(billed=billed))
    body = await read()
    assert (read.status, len(body)) == (200, int(read.headers["Content-Length"]))
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    assert sandbox.credits_charged == billed


@pytest.mark.parametrize("billed", [True, False])
async def test_a_reshaped_body_is_what_the_test_made_of_the_truth(
    billed: bool, sandbox: Sandbox, read: Reader
) -> None:
    def mutate(body: dict[str, Any]) -> dict[str, Any]:
        assert body["meta"]["creditsCharged"] == billed
        del body["data"]["accounts"][0]["handle"]
        return body

    sandbox.script(faults.reshaped(mutate, billed=billed))
    body = orjson.loads(await read())
    assert "handle" not in body["data"]["accounts"][0]
    assert body["data"]["accounts"][1] == sandbox.profile("nasa").accounts[1]
    assert sandbox.credits_charged == billed


async def test_a_repeated_cursor_is_the_one_that_was_sent_or_the_one_given(
    sandbox: Sandbox, read: Reader
) -> None:
    cursor = (await read.page())["data"]["page"]["nextCursor"]
    sandbox.script(faults.repeated_cursor(), faults.repeated_cursor("12"))
    for expected in (cursor, "12"):
        page = (await read.page(cursor=cursor))["data"]["page"]
        assert page == {"nextCursor": expected, "hasMore": True}


async def test_a_page_can_cost_more_and_say_so(sandbox: Sandbox, read: Reader) -> None:
    sandbox.credits_left = 7
    sandbox.script(faults.priced(5), faults.priced(5), faults.priced(5, billed=False))
    assert (await read.page())["meta"]["creditsCharged"] == 5
    assert sandbox.credits_left == 2
    await read()
    assert read.status == 402
    assert (await read.page())["meta"]["creditsCharged"] == 0


async def test_a_cached_page_costs_the_full_price(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.cached(age=9), faults.cached(age=None))
    meta = (await read.page())["meta"]
    assert (meta["cached"], meta["creditsCharged"], read.headers["Age"]) == (True, 1, "9")
    assert (await read.page())["meta"]["cached"]
    assert "Age" not in read.headers


async def test_a_page_can_come_compressed(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.encoded(), faults.encoded("deflate"))
    gzipped = await read()
    assert read.headers["Content-Encoding"] == "gzip"
    deflated = await read()
    assert read.headers["Content-Encoding"] == "deflate"
    for body in (gzip.decompress(gzipped), zlib.decompress(deflated)):
        contract.check("FollowingBody", orjson.loads(body))


async def test_a_gzip_bomb_is_small_on_the_wire(sandbox: Sandbox, read: Reader) -> None:
    size = 5_000_001
    sandbox.script(faults.gzip_bomb(size))
    bomb = await read()
    assert len(bomb) < size // 500
    assert gzip.decompress(bomb) == b" " * size
    assert sandbox.credits_charged == 1


@pytest.mark.parametrize(
    ("reset", "kind"), [(False, aiohttp.ServerDisconnectedError), (True, aiohttp.ClientOSError)]
)
async def test_a_request_dropped_before_reading_is_neither_processed_nor_billed(
    reset: bool, kind: type[Exception], sandbox: Sandbox, read: Reader
) -> None:
    sandbox.terms.latency = 5.0
    sandbox.script(faults.drop_before(reset=reset))
    with pytest.raises(DroppedError) as caught:
        await read()
    assert isinstance(caught.value.__cause__, kind)
    (record,) = sandbox.requests
    assert (record.status, record.credits, sandbox.charges) == (None, 0, [])
    assert sandbox.peak_in_flight == 0


@pytest.mark.parametrize(
    ("reset", "kind"), [(False, aiohttp.ServerDisconnectedError), (True, aiohttp.ClientOSError)]
)
@pytest.mark.parametrize("billed", [False, True])
async def test_a_dropped_request_is_billed_when_the_script_says_so(
    billed: bool, reset: bool, kind: type[Exception], sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.drop_after(reset=reset, billed=billed))
    with pytest.raises(DroppedError) as caught:
        await read()
    assert isinstance(caught.value.__cause__, kind)
    assert sandbox.requests[0].status is None
    assert sandbox.credits_charged == billed
    assert len(sandbox.charges) == billed
    assert sandbox.peak_in_flight == 1


async def test_aiohttp_alone_pays_twice_for_a_dropped_answer(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as session:
        read = Reader(sandbox, session)
        await read.page()
        sandbox.script(faults.drop_after())
        await read.page()
    assert [record.status for record in sandbox.requests] == [200, None, 200]
    assert sandbox.credits_charged == 3


@pytest.mark.parametrize("part", [0, 0.5, 0.99])
@pytest.mark.parametrize("billed", [False, True])
async def test_a_truncated_body_ends_before_its_announced_length(
    part: float, billed: bool, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.truncated(part, billed=billed))
    with pytest.raises(aiohttp.ClientPayloadError):
        await read()
    assert (read.status, sandbox.requests[0].status) == (200, 200)
    assert sandbox.credits_charged == billed


@pytest.mark.parametrize("part", [-0.1, 1])
def test_a_body_cannot_be_truncated_to_nothing_less_or_all_of_it(part: float) -> None:
    with pytest.raises(ValueError, match="part must be"):
        faults.truncated(part)


@pytest.mark.parametrize("billed", [False, True])
async def test_any_bytes_can_be_written_in_place_of_an_answer(
    billed: bool, sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(
        faults.wire(b"HTTP/1.0 200 Fine\r\n\r\nthat is all", billed=billed),
        faults.wire(b"no HTTP\r\n\r\n", billed=billed),
    )
    assert await read() == b"that is all"
    with pytest.raises(aiohttp.ClientResponseError, match="400"):
        await read()
    assert [record.status for record in sandbox.requests] == [None, None]
    assert sandbox.credits_charged == 2 * billed


async def test_a_slow_answer_is_billed_before_its_first_byte(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.slow(0.03))
    task = asyncio.create_task(read.page())
    await until(lambda: sandbox.charges)
    assert not task.done()
    assert sandbox.in_flight == 1
    await task
    seconds = sandbox.requests[0].seconds
    assert seconds is not None
    assert seconds >= 0.03


async def test_a_slow_body_comes_in_pieces(sandbox: Sandbox) -> None:
    sandbox.script(faults.slow(between=0.01, pieces=4, billed=False))
    async with (
        aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}) as session,
        session.get(f"{sandbox.base_url}/v1/tiktok/profiles/nasa/following") as response,
    ):
        assert int(response.headers["Content-Length"]) > 10_000
        arrived = [len(chunk) async for chunk in response.content.iter_any()]
    assert len(arrived) >= 2
    assert sandbox.charges == []


async def test_any_fault_can_be_slow(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(
        faults.slow(0.01, then=faults.status(500)), faults.slow(then=faults.empty(502), pieces=3)
    )
    await read()
    assert read.status == 500
    assert await read() == b""
    assert sandbox.charges == []


async def test_a_held_answer_waits_for_its_gate_already_billed(
    sandbox: Sandbox, read: Reader
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate), faults.hold(gate, then=faults.status(500)))
    tasks = [asyncio.create_task(read(handle)) for handle in ("nasa", "large.profile")]
    await gate.reached(2)
    await gate.reached(1)
    assert gate.arrivals == 2
    assert sandbox.credits_charged == 1
    assert sandbox.in_flight == 2
    gate.release()
    bodies = [orjson.loads(await task) for task in tasks]
    assert sorted("error" in body for body in bodies) == [False, True]


async def test_an_open_gate_holds_nothing(sandbox: Sandbox, read: Reader) -> None:
    gate = Gate()
    gate.release()
    sandbox.script(faults.hold(gate, billed=False))
    await read.page()
    assert sandbox.charges == []


async def test_a_gate_works_across_threads() -> None:
    gate = Gate()
    with Sandbox() as sandbox:
        sandbox.script(faults.hold(gate))
        async with aiohttp.ClientSession() as session:
            task = asyncio.create_task(Reader(sandbox, session).page())
            await gate.reached()
            releaser = threading.Thread(target=gate.release)
            releaser.start()
            assert (await task)["meta"]["creditsCharged"] == 1
            releaser.join()


def test_a_gate_forgets_a_watcher_whose_loop_is_gone() -> None:
    gate = Gate()

    async def leave() -> None:
        watcher = asyncio.ensure_future(gate.reached())
        await asyncio.sleep(0)
        watcher.cancel()

    async def arrive() -> None:
        await gate.arrive()

    asyncio.run(leave())
    gate.release()
    asyncio.run(arrive())
    assert gate.arrivals == 1


async def test_a_watcher_that_gave_up_is_left_alone() -> None:
    gate = Gate()
    watcher = asyncio.create_task(gate.reached())
    await asyncio.sleep(0)
    held = gate.arrive()
    watcher.cancel()
    gate.release()
    await held
    assert watcher.cancelled()


async def test_a_client_that_leaves_a_slow_body_leaves_the_sandbox_whole(
    sandbox: Sandbox,
) -> None:
    sandbox.script(faults.slow(between=0.02, pieces=3))
    async with aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}) as session:
        url = f"{sandbox.base_url}/v1/tiktok/profiles/nasa/following"
        async with session.get(url) as response:
            response.close()
        await until(lambda: not sandbox.in_flight)
        assert (await Reader(sandbox, session).page())["data"]["totalAccounts"] == 95
    assert [record.status for record in sandbox.requests] == [None, 200]
    assert sandbox.credits_charged == 2


async def test_a_queue_gives_the_next_requests_one_fault_each(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.status(500), faults.status(502))
    assert sandbox.faults_left == 2
    statuses: list[int] = []
    for _ in range(3):
        await read()
        statuses.append(read.status)
    assert statuses == [500, 502, 200]
    assert sandbox.faults_left == 0


async def test_a_queue_can_wait_for_a_handle_and_a_page(sandbox: Sandbox, read: Reader) -> None:
    cursor = (await read.page())["data"]["page"]["nextCursor"]
    sandbox.script(faults.status(500), handle="NASA", cursor=cursor)
    sandbox.script(faults.status(502), cursor=None)
    expected = [("empty.profile", None, 502), ("nasa", None, 200), ("nasa", cursor, 500)]
    for handle, sent, status in expected:
        await read(handle, sent)
        assert read.status == status


async def test_the_free_routes_can_be_scripted_and_never_cost(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.status(429, retry_after=0.02, billed=True), route="balance")
    sandbox.script(faults.html(500), route="health")
    sandbox.script(faults.cached(), route="whoami")
    for route, status in (("/v1/balance", 429), ("/health", 500), ("/v1/whoami", 200)):
        await read(route=route)
        assert read.status == status
    assert sandbox.charges == []


async def test_a_chooser_decides_what_no_queue_decides(sandbox: Sandbox, read: Reader) -> None:
    seen: list[int] = []

    def choose(request: RecordedRequest) -> Fault | None:
        seen.append(request.number)
        return faults.status(500) if request.number % 2 else None

    sandbox.script_by(choose)
    sandbox.script(faults.status(502))
    statuses: list[int] = []
    for _ in range(4):
        await read()
        statuses.append(read.status)
    assert statuses == [502, 500, 200, 500]
    assert seen == [1, 2, 3]
    sandbox.script_by(None)
    await read.page()


async def test_a_cleared_script_is_honest(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.status(500))
    sandbox.script_by(lambda _request: faults.status(500))
    sandbox.clear_script()
    await read.page()


async def test_a_refused_key_or_an_overload_uses_up_no_fault(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.script(faults.drop_before())
    sandbox.terms.max_in_flight = 0
    await read()
    assert read.status == 503
    sandbox.api_key = "sfk_wrong_key_000000"
    await read()
    assert read.status == 401
    assert sandbox.faults_left == 1


async def test_a_billed_fault_without_credits_is_refused_honestly(
    sandbox: Sandbox, read: Reader
) -> None:
    sandbox.credits_left = 0
    sandbox.script(faults.status(500, billed=True), faults.status(500))
    await read()
    assert read.status == 402
    await read()
    assert read.status == 500


async def test_a_refused_parameter_is_refused_plainly(sandbox: Sandbox, read: Reader) -> None:
    sandbox.script(faults.malformed())
    await read("a" * 65)
    assert read.status == 400
    assert sandbox.charges == []
