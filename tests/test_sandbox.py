"""What the honest sandbox promises, over real HTTP."""

import asyncio
import gc
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import contract
import orjson
import pytest

from tiktok_following.sandbox import (
    NAMED_HANDLES,
    Gate,
    Profile,
    Sandbox,
    Terms,
    __all__ as public_names,
    faults,
)
from tiktok_following.sandbox._waiting import Waits

KEY = "sfk_test_sandbox"
PATIENCE = aiohttp.ClientTimeout(total=5)
PREFIX = "/v1/tiktok/profiles/"


def page_path(handle: str = "nasa", query: str = "") -> str:
    return f"{PREFIX}{handle}/following{query}"


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the sandbox does, two seconds at most."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


class Answer:
    """A status, its headers and the parsed body, already held against the contract."""

    def __init__(self, status: int, headers: Any, raw: bytes, schema: str) -> None:
        self.status = status
        self.headers = headers
        self.body = orjson.loads(raw)
        contract.check(schema if status == 200 else "ErrorBody", self.body)

    @property
    def code(self) -> str:
        code: str = self.body["error"]["code"]
        return code

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.body["data"]
        return data


class Caller:
    """A plain HTTP client of one sandbox."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def get(
        self,
        path: str = page_path(),
        *,
        key: str | None = KEY,
        schema: str = "FollowingBody",
        method: str = "GET",
    ) -> Answer:
        headers = {} if key is None else {"x-api-key": key}
        url = self.sandbox.base_url + path
        async with self.session.request(method, url, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read(), schema)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=PATIENCE) as session:
        yield session


@pytest.fixture
def call(sandbox: Sandbox, session: aiohttp.ClientSession) -> Caller:
    return Caller(sandbox, session)


def test_every_example_of_the_contract_keeps_the_contract() -> None:
    checked = 0
    for route, path in contract.CONTRACT["paths"].items():
        for status in path["get"]["responses"]:
            for body in contract.examples(route, status).values():
                contract.check(contract.schema_of(route, status), body)
                checked += 1
    assert checked > 40


def test_the_contract_answers_every_status_with_an_example() -> None:
    responses = contract.CONTRACT["paths"][contract.FOLLOWING_ROUTE]["get"]["responses"]
    proxied = {"504", "520", "521", "522", "523", "524"}
    named = {status for status in responses if contract.examples(contract.FOLLOWING_ROUTE, status)}
    assert named == set(responses) - proxied
    assert proxied < set(responses)


def test_public_names_are_sorted() -> None:
    assert public_names == sorted(public_names, key=lambda name: (not name.isupper(), name))


async def test_a_walk_over_http_reads_the_whole_list(sandbox: Sandbox, call: Caller) -> None:
    served: list[dict[str, Any]] = []
    query = ""
    while True:
        answer = await call.get(page_path(query=query))
        served += answer.data["accounts"]
        if not answer.data["page"]["hasMore"]:
            break
        query = f"?cursor={answer.data['page']['nextCursor']}"
    assert served == sandbox.profile("nasa").accounts
    assert sandbox.credits_charged == 4
    assert sandbox.pages("nasa")[3] == served[90:]


@pytest.mark.parametrize("handle", NAMED_HANDLES)
async def test_every_named_handle_is_answered_with_200_and_billed(
    handle: str, sandbox: Sandbox, call: Caller
) -> None:
    answer = await call.get(page_path(handle))
    assert answer.data["lookupStatus"] == sandbox.profile(handle).status
    assert answer.body["meta"]["creditsCharged"] == 1
    assert sandbox.credits_left == 999_999


async def test_trim_leaves_out_optional_keys(call: Caller) -> None:
    full = await call.get(page_path(query="?trim=false"))
    trimmed = await call.get(page_path(query="?trim=true"))
    assert "platformUserId" in full.data["accounts"][0]
    assert "platformUserId" not in trimmed.data["accounts"][0]


async def test_page_size_and_price_are_settable(session: aiohttp.ClientSession) -> None:
    async with Sandbox(page_size=10, price=3) as sandbox:
        call = Caller(sandbox, session)
        answer = await call.get()
        assert len(answer.data["accounts"]) == 10
        assert answer.body["meta"]["creditsCharged"] == 3
        sandbox.terms.page_size = 5
        sandbox.terms.price = 0
        answer = await call.get()
        assert len(answer.data["accounts"]) == 5
        assert answer.body["meta"]["creditsCharged"] == 0
        assert [charge.credits for charge in sandbox.charges] == [3, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_size": 0},
        {"price": -1},
        {"latency": -0.1},
        {"max_in_flight": -1},
        {"credits": -1},
        {"api_key": ""},
        {"totals": (2, 1)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|must not"):
        Sandbox(**wrong)


def test_settings_stay_checked_while_it_runs() -> None:
    terms = Terms()
    with pytest.raises(ValueError, match="must be >= 1"):
        terms.page_size = 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (page_path(""), "1 to 64"),
        (page_path("a" * 65), "1 to 64"),
        (page_path("@nasa"), "leading @"),
        (page_path("na%20sa"), "a space"),
        (page_path("na%2Fsa"), "slash"),
        (page_path("na%00sa"), "control"),
        (page_path("na%0Asa"), "control"),
        (page_path(query="?cursor="), "at least 1"),
        (page_path(query="?cursor=nonsense"), "never handed out"),
        (page_path(query="?trim=yes"), "true or false"),
    ],
)
async def test_a_wrong_parameter_is_a_bad_request_and_free(
    path: str, reason: str, sandbox: Sandbox, call: Caller
) -> None:
    answer = await call.get(path)
    assert (answer.status, answer.code) == (400, "bad_request")
    assert reason in answer.body["error"]["message"]
    assert sandbox.charges == []


async def test_a_handle_of_64_characters_is_accepted(call: Caller) -> None:
    assert (await call.get(page_path("a" * 64))).status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/nothing", "/v1/tiktok/profiles/following", "/v1/tiktok/profiles/a/b/following"],
)
async def test_an_unknown_route_is_not_found(path: str, call: Caller) -> None:
    answer = await call.get(path)
    assert (answer.status, answer.code) == (404, "not_found")
    assert call.sandbox.requests[0].route == "unknown"


async def test_only_get_is_served(call: Caller) -> None:
    assert (await call.get(method="POST")).status == 404


async def test_a_wrong_key_is_unauthorized(call: Caller) -> None:
    for path in (page_path(), "/v1/balance", "/v1/whoami"):
        answer = await call.get(path, key="sfk_wrong_key_000000")
        assert (answer.status, answer.code) == (401, "unauthorized")
    assert call.sandbox.charges == []


async def test_without_a_key_pages_offer_pay_per_call_and_free_routes_refuse(call: Caller) -> None:
    answer = await call.get(key=None)
    assert (answer.status, answer.code) == (402, "payment_required")
    assert (await call.get("/v1/balance", key=None)).status == 401


async def test_a_key_without_credits_is_told_where_to_buy(sandbox: Sandbox, call: Caller) -> None:
    sandbox.credits_left = 1
    assert (await call.get()).status == 200
    answer = await call.get()
    assert (answer.status, answer.code) == (402, "insufficient_credits")
    assert answer.body["error"]["checkoutUrl"].startswith("https://")
    assert sandbox.credits_left == 0
    sandbox.credits_left = 5
    assert (await call.get()).status == 200
    assert sandbox.credits_left == 4


async def test_concurrent_requests_never_overdraw_a_key(sandbox: Sandbox, call: Caller) -> None:
    sandbox.credits_left = 3
    sandbox.terms.latency = 0.01
    answers = await asyncio.gather(*(call.get() for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [402] * 7
    assert sandbox.credits_left == 0


async def test_every_key_has_credits_of_its_own(sandbox: Sandbox, call: Caller) -> None:
    sandbox.add_key("sfk_another_key_0001", 2)
    assert (await call.get(key="sfk_another_key_0001")).status == 200
    assert sandbox.credits_of("sfk_another_key_0001") == 1
    assert sandbox.credits_left == 1_000_000
    assert sandbox.charges[0].key == "sfk_…0001"
    with pytest.raises(KeyError, match="never added"):
        sandbox.credits_of("sfk_third")


async def test_a_charge_says_what_was_bought(sandbox: Sandbox, call: Caller) -> None:
    first = await call.get()
    cursor = first.data["page"]["nextCursor"]
    second = await call.get(page_path("NASA", f"?cursor={cursor}"))
    bought = [(charge.handle, charge.cursor, charge.request_id) for charge in sandbox.charges]
    assert bought == [
        ("nasa", None, first.body["meta"]["requestId"]),
        ("NASA", cursor, second.body["meta"]["requestId"]),
    ]


async def test_a_request_is_recorded_as_it_came(sandbox: Sandbox, call: Caller) -> None:
    await call.get(page_path("na%C3%AFve", "?trim=true"))
    (record,) = sandbox.requests
    assert (record.number, record.method, record.route) == (0, "GET", "following")
    assert record.path == page_path("na%C3%AFve")
    assert (record.handle, record.cursor, record.trim) == ("naïve", None, "true")
    assert (record.status, record.credits) == (200, 1)
    assert record.headers["user-AGENT"].startswith("Python")
    assert record.seconds is not None
    assert record.seconds < 1


async def test_a_key_is_never_shown(sandbox: Sandbox, call: Caller) -> None:
    await call.get()
    await call.get(key="short")
    shown = repr((sandbox, sandbox.requests, sandbox.charges))
    assert KEY not in shown
    assert "short" not in shown
    assert "sfk_…dbox" in shown


async def test_records_can_be_left_out_for_long_runs(session: aiohttp.ClientSession) -> None:
    async with Sandbox(keep_records=False) as sandbox:
        await Caller(sandbox, session).get()
        assert (sandbox.requests, sandbox.charges) == ([], [])
        assert (sandbox.requests_received, sandbox.credits_charged) == (1, 1)


async def test_the_balance_is_free_and_true(sandbox: Sandbox, call: Caller) -> None:
    sandbox.credits_left = 7
    answer = await call.get("/v1/balance", schema="BalanceBody")
    assert answer.data["balance"] == 7
    assert answer.data["refillState"] == "healthy"
    assert answer.body["meta"]["creditsCharged"] == 0
    sandbox.credits_left = 0
    assert (await call.get("/v1/balance", schema="BalanceBody")).data["refillState"] == "exhausted"
    assert sandbox.charges == []


async def test_the_older_balance_body_can_be_had(session: aiohttp.ClientSession) -> None:
    async with Sandbox(lean_balance=True, credits=3) as sandbox:
        answer = await Caller(sandbox, session).get("/v1/balance", schema="BalanceBody")
        assert answer.data == {"balance": 3}


async def test_whoami_names_the_owner(call: Caller) -> None:
    answer = await call.get("/v1/whoami", schema="IdentityBody")
    assert answer.data["user"]["id"] == "usr_sandbox"


async def test_health_needs_no_key_and_has_no_envelope(call: Caller) -> None:
    answer = await call.get("/health", key=None, schema="HealthBody")
    assert answer.body == {"status": "ok"}


async def test_too_much_in_flight_is_refused_and_free(session: aiohttp.ClientSession) -> None:
    async with Sandbox(max_in_flight=2, latency=0.03, retry_after=0.02) as sandbox:
        call = Caller(sandbox, session)
        answers = await asyncio.gather(*(call.get() for _ in range(5)))
        refused = [answer for answer in answers if answer.status == 503]
        assert len(refused) == 3
        assert {answer.code for answer in refused} == {"temporarily_unavailable"}
        assert {answer.headers["Retry-After"] for answer in refused} == {"0.02"}
        assert sandbox.credits_charged == 2
        assert (sandbox.in_flight, sandbox.peak_in_flight) == (0, 2)


async def test_overload_does_not_touch_the_free_routes(session: aiohttp.ClientSession) -> None:
    async with Sandbox(max_in_flight=0) as sandbox:
        call = Caller(sandbox, session)
        assert (await call.get()).headers["Retry-After"] == "1"
        assert (await call.get("/v1/balance", schema="BalanceBody")).status == 200
        assert (await call.get(key="sfk_wrong_key_000000")).status == 401


async def test_retry_after_can_be_a_date(session: aiohttp.ClientSession) -> None:
    date = "Wed, 30 Sep 2026 10:00:05 GMT"
    async with Sandbox(max_in_flight=0, retry_after=date) as sandbox:
        assert (await Caller(sandbox, session).get()).headers["Retry-After"] == date


async def test_requests_in_flight_are_counted_over_time(sandbox: Sandbox, call: Caller) -> None:
    sandbox.terms.latency = 0.03
    await asyncio.gather(*(call.get() for _ in range(4)))
    assert sandbox.peak_in_flight == 4
    assert 0.12 <= sandbox.in_flight_seconds < 1
    assert sandbox.in_flight_seconds == sandbox.in_flight_seconds


async def test_a_client_that_leaves_early_is_billed_all_the_same(
    sandbox: Sandbox, call: Caller
) -> None:
    sandbox.terms.latency = 0.5
    task = asyncio.create_task(call.get())
    await until(lambda: sandbox.in_flight)
    task.cancel()
    await asyncio.wait([task])
    assert sandbox.credits_charged == 0
    await until(lambda: not sandbox.in_flight)
    assert sandbox.credits_charged == 1
    assert sandbox.requests[0].status is None


async def test_a_profile_of_ones_own_is_served(sandbox: Sandbox, call: Caller) -> None:
    sandbox.set_profile("Mine", Profile(accounts=sandbox.profile("nasa").accounts[:2]))
    answer = await call.get(page_path("mine"))
    assert answer.data["totalAccounts"] == 2


async def test_closing_is_quick_with_held_answers_and_idle_connections(
    session: aiohttp.ClientSession,
) -> None:
    sandbox = Sandbox()
    await sandbox.start()
    call = Caller(sandbox, session)
    await asyncio.gather(*(call.get() for _ in range(3)))
    gate = Gate()
    sandbox.script(faults.hold(gate), faults.slow(5.0))
    tasks = [asyncio.create_task(call.get()) for _ in range(2)]
    await gate.reached()
    await until(lambda: sandbox.in_flight == 2)
    async with asyncio.timeout(0.18):  # less than aiohttp would wait for a handler
        await sandbox.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)
    assert [record.status for record in sandbox.requests[-2:]] == [None, None]
    gate.release()
    await sandbox.close()


async def test_a_request_that_is_processed_at_closing_does_not_hold_it_up(
    session: aiohttp.ClientSession,
) -> None:
    async with Sandbox(latency=5.0) as sandbox:
        task = asyncio.create_task(Caller(sandbox, session).get())
        await until(lambda: sandbox.in_flight)
    await asyncio.wait([task])
    assert isinstance(task.exception(), aiohttp.ClientError)
    assert sandbox.credits_charged == 0


async def test_a_connection_that_comes_while_it_closes_is_not_leaked() -> None:
    async with Sandbox() as sandbox:
        session = aiohttp.ClientSession()
        gate = Gate()
        sandbox.script(faults.hold(gate))
        task = asyncio.create_task(Caller(sandbox, session).get())
        await gate.reached()
        await session.close()  # upon which aiohttp connects again, to send the GET once more
    await asyncio.wait([task])
    assert isinstance(task.exception(), aiohttp.ClientError)
    gc.collect()


async def test_it_can_be_started_again(session: aiohttp.ClientSession) -> None:
    sandbox = Sandbox()
    for _ in range(2):
        async with sandbox:
            assert (await Caller(sandbox, session).get()).status == 200
    assert sandbox.credits_charged == 2


async def test_it_does_not_start_twice_at_once(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        await sandbox.start()


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind(sandbox: Sandbox) -> None:
    taken = int(sandbox.base_url.rpartition(":")[2])
    other = Sandbox(port=taken)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
    with pytest.raises(OSError, match="address already in use"), other:
        pass  # never entered
    other.__exit__()
    assert repr(other) == "<Sandbox not running, 0 requests>"


def test_the_address_of_a_sandbox_that_does_not_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = Sandbox().base_url


def test_it_runs_on_a_thread_of_its_own_for_code_without_a_loop() -> None:
    before = threading.active_count()
    with Sandbox() as sandbox:
        request = urllib.request.Request(
            sandbox.base_url + page_path(), headers={"x-api-key": sandbox.api_key}
        )
        with urllib.request.urlopen(request) as response:
            contract.check("FollowingBody", orjson.loads(response.read()))
        assert sandbox.credits_charged == 1
    assert threading.active_count() == before


async def test_a_wait_that_is_over_is_not_ended_again_and_none_begins_after_closing() -> None:
    waits = Waits()
    over = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(waits.until(over))
    await asyncio.sleep(0)
    over.set_result(None)
    waits.close()
    await waiting
    with pytest.raises(ConnectionAbortedError):
        await waits.sleep(10)
