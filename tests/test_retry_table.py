"""When a page is tried again, waits or gives up, and what that costs.

What becomes of each fault alone is in test_fault_matrix.py.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import attrs
import pytest
from conftest import QUICK_RETRY, MakeClient

from tiktok_following import (
    AuthenticationError,
    BadRequestError,
    DeadlineExceededError,
    FollowingClient,
    InsufficientCreditsError,
    LookupFailedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    ServiceUnavailableError,
    Usage,
)
from tiktok_following.sandbox import Fault, Gate, Sandbox, faults

MANY = 50


@pytest.mark.parametrize("error", [503, 429])
@pytest.mark.parametrize("body", [faults.status, faults.html, faults.empty])
async def test_a_refusal_is_waited_for_and_costs_time_and_not_attempts(
    client: FollowingClient, sandbox: Sandbox, error: int, body: Callable[..., Fault]
) -> None:
    sandbox.script(*(body(error, retry_after=0.02) for _ in range(6)))
    began = asyncio.get_running_loop().time()
    page = await client.following_page("nasa")
    usage = client.usage
    assert len(page.accounts) == 30
    assert (usage.credits_charged, usage.credits_at_risk) == (1, 0)
    assert (usage.attempts, usage.pauses) == (7, 6)
    # What the client does between a refusal and its wait is part of the pause, not of the wait.
    assert asyncio.get_running_loop().time() - began >= 6 * 0.02
    assert 0 < usage.seconds_waited <= asyncio.get_running_loop().time() - began


async def test_a_refusal_and_a_failure_are_counted_apart(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    refusal = faults.status(503, retry_after=0.01)
    sandbox.script(refusal, faults.status(500), refusal, refusal)
    await client.following_page("nasa")
    assert client.usage.attempts == 5
    assert client.usage.credits_at_risk == 1


async def test_fifty_tasks_wait_for_one_pause_together(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_concurrency=MANY)
    sandbox.script(*(faults.status(503, retry_after=0.04) for _ in range(5)))
    await asyncio.gather(*(client.following_page(f"user{number}") for number in range(MANY)))
    assert client.usage.credits_charged == sandbox.credits_charged == MANY
    assert client.usage.attempts == MANY + 5


async def test_a_refusal_without_retry_after_backs_off(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503), faults.status(503, retry_after="soon"))
    await client.following_page("nasa")
    assert client.usage.pauses == 2


async def test_an_http_date_is_read_against_the_date_of_the_response(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    # Ten years off this machine's clock, one second apart.
    sandbox.script(
        faults.status(
            503,
            retry_after="Sun, 01 Nov 2015 08:49:38 GMT",
            date="Sun, 01 Nov 2015 08:49:37 GMT",
        )
    )
    loop = asyncio.get_running_loop()
    started = loop.time()
    await client.following_page("nasa")
    assert loop.time() - started >= 1.0


async def test_a_pause_longer_than_the_cap_fails_at_once_for_everybody_without_the_network(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    sandbox.script(faults.status(503, retry_after=121))
    for attempts in (1, 0, 0):
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.following_page("nasa")
        assert caught.value.attempts == attempts
        assert caught.value.retry_after == pytest.approx(121, abs=3)
        assert caught.value.handle == "nasa"
    assert len(sandbox.requests) == 1
    assert client.throttle.paused_for > 100
    patient = client.with_options(
        retry=attrs.evolve(QUICK_RETRY, max_retry_after=200), deadline=0.02
    )
    with pytest.raises(DeadlineExceededError):
        await patient.following_page("nasa")
    assert len(sandbox.requests) == 1


async def test_a_pause_longer_than_the_cap_wakes_those_who_wait_in_a_shorter_one(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    gate = Gate()
    sandbox.script(faults.hold(gate, then=faults.status(503, retry_after=200)), handle="late")
    late = asyncio.create_task(client.following_page("late"))
    await gate.reached()
    sandbox.script(faults.status(503, retry_after=100), handle="early")
    early = asyncio.create_task(client.following_page("early"))
    while client.usage.pauses == 0:
        await asyncio.sleep(0)
    waiting = [early, *(asyncio.create_task(client.following_page(name)) for name in "bcd")]
    while client.throttle.waiting < len(waiting):
        await asyncio.sleep(0)
    gate.release()
    for task in (late, *waiting):
        with pytest.raises(ServiceUnavailableError):
            await task
    assert client.throttle.waiting == 0


@pytest.mark.parametrize("fault", [faults.status(503), faults.status(503, retry_after=0.02)])
async def test_the_policy_none_sends_once_and_waits_for_nothing(
    make_client: MakeClient, sandbox: Sandbox, fault: Fault
) -> None:
    client = make_client(retry=RetryPolicy.none())
    sandbox.script(fault)
    with pytest.raises(ServiceUnavailableError):
        await client.following_page("nasa")
    assert len(sandbox.requests) == 1


async def test_the_policy_none_sends_once_though_the_loop_outsleeps_the_pause(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    async def hog() -> None:
        while True:
            time.sleep(0.015)  # noqa: ASYNC251 - it is the loop that must be late
            await asyncio.sleep(0)

    client = make_client(retry=RetryPolicy.none())
    sandbox.script(*(faults.status(503, retry_after=0.01) for _ in range(3)))
    hogging = asyncio.create_task(hog())
    with pytest.raises(ServiceUnavailableError):
        await client.following_page("nasa")
    hogging.cancel()
    assert len(sandbox.requests) == 1


async def test_a_retry_after_of_nothing_is_no_absent_one(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    slow = RetryPolicy(initial_backoff=60, max_backoff=60)
    client = make_client(retry=slow, deadline=30)
    sandbox.script(*(faults.status(503, retry_after=0) for _ in range(3)))
    await client.following_page("nasa")
    assert client.usage.pauses == 3


async def test_a_failed_answer_after_a_pause_lets_the_others_go(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(ambiguous_retries=0))
    sandbox.script(faults.status(503, retry_after=0.01), faults.status(502))
    with pytest.raises(LookupFailedError):
        await client.following_page("nasa")
    assert client.throttle.limit == 20


async def test_failing_free_routes_take_no_retries_from_the_pages(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=attrs.evolve(QUICK_RETRY, retry_quota=1))
    sandbox.script(*(faults.status(500) for _ in range(2)), route="health")
    with pytest.raises(ServerError):
        await client.health()
    sandbox.script(faults.status(500))
    assert (await client.following_page("nasa")).accounts


async def test_pauses_and_failed_attempts_are_logged(
    client: FollowingClient, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tiktok_following")
    sandbox.script(faults.status(503, retry_after=0.01), faults.status(500))
    await client.following_page("nasa")
    assert "nothing is sent for 0.01" in caplog.text
    assert "attempt 2" in caplog.text


async def test_a_402_stops_everything_until_the_balance_shows_credits(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.credits_left = 1
    await client.following_page("nasa")
    for attempts in (1, 0):
        with pytest.raises(InsufficientCreditsError) as caught:
            await client.with_options().following_page("nasa")
        assert caught.value.attempts == attempts
        assert caught.value.checkout_url
        assert caught.value.code == "insufficient_credits"
    assert (await client.balance()).balance == 0
    with pytest.raises(InsufficientCreditsError):
        await client.following_page("nasa")
    sandbox.credits_left = 5
    with pytest.raises(InsufficientCreditsError):
        await client.following_page("nasa")
    pages = [request for request in sandbox.requests if request.route == "following"]
    assert len(pages) == 2
    assert (await client.balance()).balance == 5
    await client.following_page("nasa")
    assert client.usage.credits_charged == sandbox.credits_charged == 2


async def test_a_402_of_a_free_route_stops_nothing(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(402), route="balance")
    with pytest.raises(InsufficientCreditsError):
        await client.balance()
    assert (await client.balance()).balance
    assert (await client.following_page("nasa")).accounts


async def test_a_402_wakes_those_who_wait(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client(max_concurrency=1)
    sandbox.credits_left = 0
    results = await asyncio.gather(
        *(client.following_page(f"user{number}") for number in range(MANY)), return_exceptions=True
    )
    assert {type(result) for result in results} == {InsufficientCreditsError}
    assert len(sandbox.requests) == 1


async def test_cancelled_after_sending_is_at_risk_and_not_tried_again(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate))
    task = asyncio.create_task(client.following_page("nasa"))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    usage = client.usage
    assert (usage.credits_at_risk, usage.credits_charged, usage.credits_reserved) == (1, 0, 0)
    assert usage.outcomes == {"CancelledError": 1}
    assert len(sandbox.requests) == 1
    await client.following_page("nasa")


async def test_cancelled_before_sending_costs_nothing(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client()
    task = asyncio.create_task(client.following_page("nasa"))
    await asyncio.sleep(0)  # the task has begun to connect
    assert client.throttle.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.usage.credits_at_risk == client.usage.credits_reserved == 0
    assert client.throttle.in_flight == 0
    assert sandbox.credits_charged == 0


async def test_the_deadline_bounds_a_page_that_is_under_way(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.05)
    gate = Gate()
    sandbox.script(faults.status(500), faults.hold(gate))
    with pytest.raises(DeadlineExceededError, match=r"deadline of 0\.05 s") as caught:
        await client.following_page("nasa")
    gate.release()
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert (error.attempts, error.may_be_charged, error.handle) == (2, True, "nasa")
    assert isinstance(error.__cause__, ServerError)
    assert client.usage.credits_at_risk == 2


async def test_the_deadline_bounds_the_wait_in_a_pause_and_costs_nothing(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.05)
    sandbox.script(faults.status(503, retry_after=30))
    with pytest.raises(DeadlineExceededError) as caught:
        await client.following_page("nasa")
    assert isinstance(caught.value.__cause__, ServiceUnavailableError)
    assert not caught.value.may_be_charged
    with pytest.raises(DeadlineExceededError, match="waiting to be sent") as caught:
        await client.following_page("nasa")
    assert caught.value.__cause__ is None
    assert (client.usage.credits_at_risk, client.throttle.waiting) == (0, 0)


async def test_a_deadline_after_an_unclear_attempt_says_that_it_may_be_charged(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.05)
    sandbox.script(faults.status(500), faults.status(503, retry_after=30))
    with pytest.raises(DeadlineExceededError) as caught:
        await client.following_page("nasa")
    assert (caught.value.attempts, caught.value.may_be_charged) == (2, True)
    assert client.usage.credits_at_risk == 1


async def test_a_last_failure_that_is_free_does_not_hide_an_unclear_one_before(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(500), faults.status(400))
    with pytest.raises(BadRequestError) as caught:
        await client.following_page("nasa")
    assert caught.value.may_be_charged


async def test_each_page_of_a_list_has_a_deadline_of_its_own(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.2)
    sandbox.script_by(lambda _: faults.slow(0.045))
    pages = [page async for page in client.following("large.profile", max_pages=6).pages()]
    assert len(pages) == 6


async def test_no_deadline_is_no_limit(make_client: MakeClient) -> None:
    assert (await make_client(deadline=None).following_page("nasa")).accounts


async def test_an_empty_retry_quota_raises_at_once_and_successes_refill_it(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=attrs.evolve(QUICK_RETRY, retry_quota=1))
    sandbox.script(faults.status(500), faults.status(500))
    with pytest.raises(ServerError):
        await client.following_page("nasa")
    sandbox.script(faults.status(500))
    with pytest.raises(ServerError) as caught:
        await client.with_options(retry=QUICK_RETRY).following_page("nasa")
    assert caught.value.attempts == 1
    await client.following_page("nasa")
    sandbox.script(faults.status(500))
    await client.following_page("nasa")
    assert sandbox.faults_left == 0


async def test_waits_for_retry_after_take_no_token(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=attrs.evolve(QUICK_RETRY, retry_quota=0))
    sandbox.script(faults.status(503, retry_after=0.01))
    await client.following_page("nasa")
    sandbox.script(faults.status(500))
    with pytest.raises(ServerError):
        await client.following_page("nasa")


async def test_a_429_of_a_free_route_never_delays_a_page(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(429, retry_after=0.04), route="balance")
    loop = asyncio.get_running_loop()
    balance = asyncio.create_task(client.balance())
    started = loop.time()
    while not sandbox.requests:
        await asyncio.sleep(0)
    while client._engine._free.state.paused_for == 0:
        await asyncio.sleep(0)
    await client.following_page("nasa")
    assert not balance.done()
    assert client.throttle.paused_for == 0
    assert (await balance).balance > 0
    assert loop.time() - started >= 0.04


async def test_a_pause_of_the_pages_never_delays_a_free_route(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=30))
    page = asyncio.create_task(client.following_page("nasa"))
    while client.throttle.paused_for == 0:
        await asyncio.sleep(0)
    assert (await client.balance()).balance > 0
    assert await client.health() is True
    page.cancel()
    with pytest.raises(asyncio.CancelledError):
        await page


async def test_free_routes_need_no_slot_and_no_credit(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(max_concurrency=1, max_credits=0)
    gate = Gate()
    sandbox.script(*(faults.hold(gate) for _ in range(30)), route="whoami")
    calls = [asyncio.create_task(client.whoami()) for _ in range(30)]
    await gate.reached(30)
    gate.release()
    assert {identity.id for identity in await asyncio.gather(*calls)} == {"usr_sandbox"}
    assert client.usage == Usage()


@pytest.mark.parametrize("error", [401, 500])
async def test_a_free_route_raises_like_a_page_and_risks_nothing(
    client: FollowingClient, sandbox: Sandbox, error: int
) -> None:
    sandbox.script(*(faults.status(error) for _ in range(4)), route="balance")
    with pytest.raises((AuthenticationError, ServerError)) as caught:
        await client.balance()
    assert caught.value.handle is None
    assert client.usage == Usage()


async def test_a_rate_limited_free_route_gives_up_only_at_the_cap(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(429, retry_after=500), route="whoami")
    with pytest.raises(RateLimitError):
        await client.whoami()
    with pytest.raises(RateLimitError):
        await client.balance()
    assert len(sandbox.requests) == 1
