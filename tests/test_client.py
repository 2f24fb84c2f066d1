"""The front door: settings, sharing between clients, budgets under concurrency."""

import asyncio
import copy
import inspect
import pickle

import pytest
from conftest import MakeClient

from tiktok_following import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    FollowingClient,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from tiktok_following.sandbox import Gate, Sandbox, faults


def test_a_missing_key_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="SOCIALFETCH_API_KEY"):
        FollowingClient()


async def test_key_and_address_come_from_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", f" {sandbox.api_key}\n")
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", sandbox.base_url + "/")
    async with FollowingClient() as client:
        assert (await client.following_page("nasa")).accounts


async def test_arguments_come_before_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", "sfk_test_other")
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "https://other.invalid")
    async with FollowingClient(sandbox.api_key, base_url=sandbox.base_url) as client:
        assert (await client.whoami()).id == "usr_sandbox"


def test_an_address_of_the_environment_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "ftp://api.test")
    with pytest.raises(ConfigurationError, match=r"^SOCIALFETCH_BASE_URL is not a URL like"):
        FollowingClient("sfk_test_1")
    with pytest.raises(ConfigurationError, match=r"^base_url is not a URL like"):
        FollowingClient("sfk_test_1", base_url="ftp://api.test")


def test_an_empty_address_does_not_mean_the_real_api() -> None:
    with pytest.raises(ConfigurationError, match="base_url is not a URL like"):
        FollowingClient("sfk_test_1", base_url="")


def test_without_an_address_the_api_itself_is_asked() -> None:
    assert "https://api.socialfetch.dev" in repr(FollowingClient("sfk_test_1"))


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrency": 0},
        {"max_concurrency": 1.5},
        {"max_credits": -1},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"timeout": 10},
        {"retry": 3},
        {"base_url": "http://api.example.com"},
        {"base_url": "ftp://127.0.0.1"},
        {"api_key": "sfk test"},
        {"api_key": 123},
        {"api_key": b"sfk_test_1"},
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_construction(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        FollowingClient(**{"api_key": "sfk_test_1", **options})


async def test_a_wrong_key_is_told_by_the_api(make_client: MakeClient) -> None:
    with pytest.raises(AuthenticationError) as caught:
        await make_client(api_key="sfk_test_wrong").following_page("nasa")
    assert caught.value.status_code == 401
    assert caught.value.request_id


async def test_balance_whoami_and_health_are_typed(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.credits_left = 41
    balance = await client.balance()
    assert (balance.balance, balance.billing_alert, balance.subscription) == (41, "none", None)
    identity = await client.whoami()
    assert (identity.id, identity.email) == ("usr_sandbox", "user@sandbox.example")
    assert await client.health() is True


async def test_the_lean_balance_of_older_versions_is_read() -> None:
    async with (
        Sandbox(lean_balance=True, credits=7) as sandbox,
        FollowingClient(sandbox.api_key, base_url=sandbox.base_url) as client,
    ):
        balance = await client.balance()
    assert (balance.balance, balance.payg, balance.refill_state) == (7, None, None)


async def test_health_that_is_not_ok_is_not_an_error(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.raw(b'{"status":"degraded"}'), faults.raw(b"[]"), route="health")
    assert await client.health() is False
    with pytest.raises(
        ResponseDecodeError, match=r"\$: expected an object, got an array"
    ) as caught:
        await client.health()
    assert not caught.value.may_be_charged


async def test_a_client_with_other_options_shares_what_is_shared(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    child = client.with_options(
        timeout=Timeout(read=1), deadline=None, retry=RetryPolicy.none(), max_credits=2
    )
    sandbox.script(faults.status(500))
    with pytest.raises(ServerError):
        await child.following_page("nasa")
    await child.following_page("nasa")
    with pytest.raises(BudgetExceededError):
        await child.following_page("nasa")
    await client.following_page("nasa")
    assert (child.usage.credits_charged, child.usage.credits_at_risk) == (1, 1)
    assert (client.usage.credits_charged, client.usage.credits_at_risk) == (2, 1)
    assert child._engine is client._engine


def test_a_client_of_an_own_class_keeps_what_it_has() -> None:
    class Mine(FollowingClient):
        tag = "none"

    client = Mine("sfk_test_1")
    client.tag = "blue"
    child = client.with_options(deadline=1)
    assert (type(child), child.tag) == (Mine, "blue")
    signature = str(inspect.signature(Mine.with_options))
    assert "timeout: 'Timeout | Unchanged' = unchanged" in signature


def test_a_client_is_neither_pickled_nor_copied() -> None:
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="one per process"):
            make(FollowingClient("sfk_test_1"))


async def test_options_left_out_stay_as_they_are(make_client: MakeClient) -> None:
    client = make_client(deadline=7, timeout=Timeout(read=3))
    child = client.with_options(deadline=8)
    assert child._options.timeout == Timeout(read=3)
    assert (client._options.deadline, child._options.deadline) == (7, 8)
    with pytest.raises(ConfigurationError):
        client.with_options(deadline=-1)
    with pytest.raises(ConfigurationError):
        client.with_options(max_credits=-1)


async def test_a_child_cannot_spend_what_the_parent_does_not_have(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_credits=2)
    child = client.with_options(max_credits=100)
    with pytest.raises(BudgetExceededError, match="max_credits=2") as caught:
        await child.following("nasa", max_credits=50).collect()
    assert caught.value.partial is not None
    assert len(caught.value.partial.accounts) == 60
    assert sandbox.credits_charged == 2


async def test_no_budget_buys_nothing(make_client: MakeClient, sandbox: Sandbox) -> None:
    with pytest.raises(BudgetExceededError) as caught:
        await make_client(max_credits=0).following_page("nasa")
    assert (caught.value.attempts, caught.value.handle) == (0, "nasa")
    assert sandbox.requests == []


@pytest.mark.parametrize("budget", [1, 7, 40])
async def test_a_budget_is_exact_under_concurrency(
    make_client: MakeClient, sandbox: Sandbox, budget: int
) -> None:
    client = make_client(max_credits=budget, max_concurrency=30)
    results = await asyncio.gather(
        *(client.following_page(f"user{number}") for number in range(100)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BudgetExceededError)]
    assert len(refused) == 100 - budget
    assert client.usage.credits_charged == sandbox.credits_charged == budget
    assert len(sandbox.requests) == budget


async def test_a_budget_is_used_to_the_end_though_some_attempts_turn_out_free(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_credits=20, max_concurrency=30)
    sandbox.script_by(lambda request: faults.status(404) if request.number % 3 == 0 else None)
    await asyncio.gather(
        *(client.following_page(f"user{number}") for number in range(100)), return_exceptions=True
    )
    assert client.usage.credits_charged == sandbox.credits_charged == 20


async def test_a_retry_without_money_raises_what_caused_it(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_credits=1)
    sandbox.script(faults.status(502))
    with pytest.raises(ServerError) as caught:
        await client.following_page("nasa")
    assert caught.value.attempts == 1
    assert len(sandbox.requests) == 1
    assert client.usage.credits_at_risk == 1


async def test_a_dearer_page_is_booked_and_the_next_reserves_its_price(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_credits=10)
    sandbox.script(faults.priced(4))
    await client.following_page("nasa")
    assert client.usage.credits_charged == 4
    await client.following_page("nasa")
    await client.following_page("nasa")
    assert client.usage.credits_charged == sandbox.credits_charged == 6
    await client.following_page("nasa")
    with pytest.raises(BudgetExceededError, match="a page costs 4"):
        await client.following_page("nasa")


async def test_a_page_served_for_nothing_is_booked_as_nothing(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.priced(0))
    await client.following_page("nasa")
    assert client.usage.credits_charged == sandbox.credits_charged == 0


async def test_the_limit_doubles_with_each_clean_round_up_to_what_is_allowed(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_concurrency=50)
    rounds = [(20, Gate()), (40, Gate()), (50, Gate())]
    gates = [gate for size, gate in rounds for _ in range(size)]
    sandbox.script_by(lambda request: faults.hold(gates[min(request.number, len(gates) - 1)]))
    pages = [asyncio.create_task(client.following_page(f"user{number}")) for number in range(200)]
    for size, gate in rounds:
        await gate.reached(size)
        assert client.throttle.limit == client.throttle.in_flight == size
        assert client.throttle.waiting > 0
        gate.release()
    await asyncio.gather(*pages)
    assert sandbox.peak_in_flight == 50


async def test_an_overloaded_api_is_not_hammered() -> None:
    async with (
        Sandbox(latency=0.005, max_in_flight=10, retry_after=0.02) as sandbox,
        FollowingClient(sandbox.api_key, base_url=sandbox.base_url, max_concurrency=50) as client,
    ):
        await asyncio.gather(*(client.following_page(f"u{number}") for number in range(300)))
        refused = [request for request in sandbox.requests if request.status == 503]
        assert len(refused) < 45
        assert client.usage.credits_charged == sandbox.credits_charged == 300
        assert client.usage.credits_at_risk == 0


async def test_the_usage_is_a_snapshot(client: FollowingClient) -> None:
    before = client.usage
    await client.following_page("nasa")
    assert (before.requests, before.outcomes) == (0, {})
    usage = client.usage
    assert (usage.requests, usage.attempts, usage.outcomes) == (1, 1, {"found": 1})
