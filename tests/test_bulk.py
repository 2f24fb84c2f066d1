"""What a run over many handles promises: each handle's outcome, bounded work, one end."""

import asyncio
import functools
import gc
import itertools
import logging
import sqlite3
import sys
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient
from held_turns import hold_landings, hold_turns, until_waiting

from tiktok_following import (
    AttemptFinished,
    BadRequestError,
    BudgetExceededError,
    ClientClosedError,
    ConfigurationError,
    Event,
    FollowingClient,
    FollowingError,
    FollowingPage,
    FollowingRun,
    FollowingStore,
    InsufficientCreditsError,
    InvalidHandleError,
    LookupFailedError,
    LookupStatus,
    Outcome,
    PageFetched,
    PaginationError,
    PermissionDeniedError,
    ProfileUnavailableError,
    RequestTimeoutError,
    ResponseDecodeError,
    RetryPolicy,
    RunProgress,
    RunStoppedError,
    StoreError,
    Timeout,
)
from tiktok_following.sandbox import Gate, Profile, RecordedRequest, Sandbox, faults

SHORT = [f"short{number}" for number in range(40)]


@pytest.fixture(autouse=True)
def short_lists(sandbox: Sandbox) -> None:
    rows = sandbox.profile("nasa").accounts
    for number, handle in enumerate(SHORT):
        sandbox.set_profile(handle, Profile(accounts=rows[: 10 + number]))


async def read(run: Any) -> dict[Any, Outcome]:
    async with run:
        return {outcome.given: outcome async for outcome in run}


def names(outcome: Outcome) -> list[str]:
    return [account.handle for account in outcome.accounts]


def truth(sandbox: Sandbox, handle: str) -> list[str]:
    return [account["handle"] for account in sandbox.profile(handle).accounts]


def script_later(
    sandbox: Sandbox, skipped: int, *given: faults.Fault, handle: str | None = None
) -> None:
    """Script faults for the requests after the first ones."""
    left, seen = list(given), 0

    def choose(request: RecordedRequest) -> faults.Fault | None:
        nonlocal seen
        if request.route != "following" or handle not in {None, request.handle}:
            return None
        seen += 1
        return left.pop(0) if left and seen > skipped else None

    sandbox.script_by(choose)


# --- outcomes


async def test_every_handle_has_an_outcome_with_its_whole_list(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    run = client.following_many([*SHORT, "nasa"])
    outcomes = await read(run)
    for handle in [*SHORT, "nasa"]:
        assert names(outcomes[handle]) == truth(sandbox, handle)
    nasa = outcomes["nasa"].unwrap()
    assert (nasa.handle, nasa.index, nasa.status) == ("nasa", 40, LookupStatus.FOUND)
    assert (nasa.total, nasa.pages, nasa.credits) == (95, 4, 4)
    assert (nasa.complete, nasa.next_cursor, nasa.error) == (True, None, None)
    assert not nasa.from_store
    assert not nasa.is_unfinished
    assert run.usage.credits_charged == client.usage.credits_charged == sandbox.credits_charged
    assert run.stopped_by is None
    assert run.summary.progress.done == 41
    assert str(run.summary).startswith("complete: 41 done, 0 failed, 0 unfinished, 0 skipped; ")


async def test_a_summary_does_not_call_complete_what_is_under_way(client: FollowingClient) -> None:
    run = client.following_many(SHORT, concurrency=2)
    assert str(run.summary).startswith("under way: 0 done")
    async with run:
        await anext(run)
        assert (run.summary.is_over, str(run.summary)[:11]) == (False, "under way: ")
        run.stop()
        assert str(run.summary).startswith("being stopped by user: ")
    assert (run.summary.is_over, str(run.summary)[:17]) == (True, "stopped by user: ")


async def test_hidden_private_and_missing_profiles_are_answers(client: FollowingClient) -> None:
    given = ["hidden.profile", "private.profile", "missing.profile", "empty.profile"]
    outcomes = await read(client.following_many(given))
    assert [str(outcomes[handle].status) for handle in given] == [
        "hidden",
        "private",
        "not_found",
        "found",
    ]
    assert all(outcome.complete and outcome.error is None for outcome in outcomes.values())


async def test_what_is_no_handle_is_an_outcome_and_costs_nothing(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    outcomes = await read(client.following_many(["a b", 7, "nasa"], max_pages=1))  # type: ignore[list-item]
    assert isinstance(outcomes["a b"].error, InvalidHandleError)
    assert (outcomes[7].handle, outcomes[7].index, outcomes[7].pages) == (None, 1, 0)
    with pytest.raises(InvalidHandleError):
        outcomes[7].unwrap()
    assert sandbox.credits_charged == 1


async def test_a_handle_given_twice_is_looked_up_once(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    run = client.following_many(["short1", "@SHORT1", "short2"])
    assert list(await read(run)) == ["short1", "short2"]
    assert run.progress.skipped == 1
    assert sandbox.credits_charged == 2


async def test_without_dedupe_it_is_looked_up_each_time(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    async with client.following_many(["short1", "short1"], dedupe=False) as run:
        assert [outcome.given async for outcome in run] == ["short1", "short1"]
    assert sandbox.credits_charged == 2


async def test_limits_of_accounts_and_pages_hold_for_each_handle(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    by_rows = await read(client.following_many(["nasa", "short1"], limit_per_handle=40))
    assert names(by_rows["nasa"]) == truth(sandbox, "nasa")[:40]
    assert (by_rows["nasa"].pages, by_rows["nasa"].complete) == (2, False)
    assert by_rows["nasa"].error is None
    assert by_rows["short1"].complete
    by_pages = await read(client.following_many(["nasa"], max_pages=3))
    assert len(by_pages["nasa"].accounts) == 90
    cursor = by_pages["nasa"].next_cursor
    rest = await client.following("nasa", cursor=cursor).collect()
    assert [account.handle for account in rest.accounts] == truth(sandbox, "nasa")[90:]


async def test_a_list_cut_by_a_limit_is_not_complete_and_goes_on_where_it_was_cut(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    outcome = (await read(client.following_many(["short39"], limit_per_handle=20)))["short39"]
    assert (len(outcome.accounts), outcome.complete, outcome.next_cursor) == (20, False, None)
    outcome = (await read(client.following_many(["short39"], limit_per_handle=40)))["short39"]
    assert (len(outcome.accounts), outcome.complete) == (40, False)
    rest = await client.following("short39", cursor=outcome.next_cursor).collect()
    assert [account.handle for account in rest.accounts] == truth(sandbox, "short39")[30:]


async def test_rows_are_not_kept_when_nobody_wants_them(client: FollowingClient) -> None:
    outcomes = await read(client.following_many(["nasa"], keep_accounts=False))
    assert (outcomes["nasa"].accounts, outcomes["nasa"].pages) == ([], 4)


async def test_trim_is_asked_for(client: FollowingClient, sandbox: Sandbox) -> None:
    await read(client.following_many(["nasa"], trim=True))
    assert all(request.trim == "true" for request in sandbox.requests)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.status(400), BadRequestError),
        (faults.status(502), LookupFailedError),
        (faults.repeated_cursor(), PaginationError),
        (faults.raw(b'{"data": 7}'), FollowingError),
    ],
    ids=["400", "502", "circle", "shape"],
)
async def test_one_handles_trouble_is_in_its_outcome_alone(
    make_client: MakeClient, sandbox: Sandbox, fault: faults.Fault, kind: type[FollowingError]
) -> None:
    client = make_client(retry=RetryPolicy.none())
    sandbox.script(*[fault] * 2, handle="short3")
    run = client.following_many(SHORT[:6])
    outcomes = await read(run)
    failed = outcomes.pop("short3")
    assert isinstance(failed.error, kind)
    assert (failed.complete, failed.is_unfinished) == (False, False)
    assert all(outcome.complete for outcome in outcomes.values())
    assert (run.stopped_by, run.progress.failed, run.progress.done) == (None, 1, 5)


async def test_pages_that_were_paid_stay_in_the_outcome_of_a_failure(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    script_later(sandbox, 2, faults.status(400), handle="nasa")
    outcome = (await read(client.following_many(["nasa"])))["nasa"]
    assert isinstance(outcome.error, BadRequestError)
    assert names(outcome) == truth(sandbox, "nasa")[:60]
    assert (outcome.pages, outcome.credits, outcome.complete) == (2, 2, False)
    sandbox.clear_script()
    rest = await client.following("nasa", cursor=outcome.next_cursor).collect()
    assert [account.handle for account in rest.accounts] == truth(sandbox, "nasa")[60:]


async def test_a_list_that_turns_private_in_the_middle_is_not_taken_for_whole(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    def turn(body: dict[str, Any]) -> dict[str, Any]:
        page = {"nextCursor": None, "hasMore": False}
        body["data"].update(lookupStatus="private", accounts=[], page=page, totalAccounts=None)
        return body

    script_later(sandbox, 1, faults.reshaped(turn), handle="nasa")
    outcome = (await read(client.following_many(["nasa"])))["nasa"]
    assert isinstance(outcome.error, ProfileUnavailableError)
    assert (outcome.complete, outcome.status, len(outcome.accounts)) == (False, "private", 30)
    rest = await client.following("nasa", cursor=outcome.next_cursor).collect()
    assert [account.handle for account in rest.accounts] == truth(sandbox, "nasa")[30:]


# --- order, laziness, back-pressure


async def test_outcomes_come_as_they_are_done(client: FollowingClient, sandbox: Sandbox) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    async with client.following_many(SHORT[:5]) as run:
        first = [await anext(run) for _ in range(4)]
        gate.release()
        last = [outcome async for outcome in run]
    assert "short0" not in [outcome.handle for outcome in first]
    assert [outcome.handle for outcome in last] == ["short0"]


async def test_ordered_outcomes_come_in_the_order_of_the_input(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    given = [*SHORT[:5], "a b", "SHORT1", *SHORT[5:]]
    async with client.following_many(given, ordered=True, concurrency=4) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached()
        while sandbox.in_flight > 1:
            await asyncio.sleep(0.001)
        assert run.progress.done + run.progress.failed <= 8  # a window, not the whole input
        assert not first.done()
        gate.release()
        outcomes = [await first, *[outcome async for outcome in run]]
    assert [outcome.given for outcome in outcomes] == [*SHORT[:5], "a b", *SHORT[5:]]


async def test_an_input_without_end_is_read_as_it_is_needed(client: FollowingClient) -> None:
    read_so_far = 0

    def endless() -> Iterator[str]:
        nonlocal read_so_far
        while True:
            read_so_far += 1
            yield f"empty{read_so_far}"

    async with client.following_many(endless(), concurrency=3, max_pages=1) as run:
        assert read_so_far == 0
        async for _ in run:
            assert read_so_far <= 2 * 3 + run.progress.done
            if run.progress.done > 20:
                break
    assert run.stopped_by == "user"
    assert run.progress.total is None
    assert run.progress.eta is None


async def test_a_slow_consumer_slows_the_workers(client: FollowingClient, sandbox: Sandbox) -> None:
    async with client.following_many(SHORT, concurrency=2) as run:
        await anext(run)
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert sandbox.requests_received <= 2 * 2 + 1
        assert len([outcome async for outcome in run]) == len(SHORT) - 1


async def test_there_is_no_task_for_each_handle(client: FollowingClient) -> None:
    before = len(asyncio.all_tasks())
    most = 0
    async with client.following_many(SHORT * 5, dedupe=False, concurrency=3) as run:
        async for _ in run:
            most = max(most, len(asyncio.all_tasks()) - before)
    assert most <= 3 + 1 + 6  # workers, supervisor; the sandbox's connections on this loop
    assert len(asyncio.all_tasks()) <= before + 6


async def test_handles_may_come_from_an_async_iterable(client: FollowingClient) -> None:
    async def handles() -> AsyncIterator[str]:
        for handle in SHORT[:5]:
            await asyncio.sleep(0)
            yield handle

    assert set(await read(client.following_many(handles()))) == set(SHORT[:5])


async def test_an_empty_input_is_a_complete_run(client: FollowingClient) -> None:
    run = client.following_many([])
    assert await read(run) == {}
    assert (run.stopped_by, run.summary.progress.seconds > 0) == (None, True)


async def test_an_input_that_fails_ends_the_run_and_is_heard_of(client: FollowingClient) -> None:
    def broken() -> Iterator[str]:
        yield from SHORT[:3]
        raise LookupError("the file is gone")

    async with client.following_many(broken(), concurrency=1) as run:
        assert [(await anext(run)).handle for _ in range(3)] == SHORT[:3]
        with pytest.raises(LookupError, match="the file is gone"):
            await anext(run)
    assert run.stopped_by == "cancelled"


async def test_concurrency_bounds_the_handles_under_way(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    await read(client.following_many(SHORT, concurrency=3))
    assert sandbox.peak_in_flight <= 3


# --- pages


async def test_pages_can_be_streamed_instead(client: FollowingClient, sandbox: Sandbox) -> None:
    outcomes: list[Outcome] = []
    rows: dict[str, list[str]] = {}
    async with client.following_many([*SHORT[:5], "nasa", "a b"]) as run:
        async for page in run.pages(on_outcome=outcomes.append):
            rows.setdefault(page.handle, []).extend(account.handle for account in page.accounts)
    assert rows == {handle: truth(sandbox, handle) for handle in [*SHORT[:5], "nasa"]}
    assert {outcome.given for outcome in outcomes} == {*SHORT[:5], "nasa", "a b"}
    assert all(outcome.accounts == [] for outcome in outcomes)
    assert run.progress.done == 6


async def test_leaving_pages_does_not_wait_for_room_that_nobody_makes(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    script_later(sandbox, 3, faults.hold(gate))
    async with asyncio.timeout(15):
        async with client.following_many(["large.profile"], concurrency=1) as run:
            await anext(run.pages())
            await gate.reached()
            asyncio.get_running_loop().call_later(0.01, gate.release)
    assert run.stopped_by == "user"
    assert len([page async for page in run.pages()]) == sandbox.credits_charged - 1


async def test_an_outcome_callback_given_later_is_called(client: FollowingClient) -> None:
    outcomes: list[Outcome] = []
    async with client.following_many(["nasa"]) as run:
        await anext(run.pages())
        assert len([page async for page in run.pages(on_outcome=outcomes.append)]) == 3
    assert [outcome.complete for outcome in outcomes] == [True]


async def test_a_slow_consumer_of_pages_slows_the_workers(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    async with client.following_many(["large.profile"], concurrency=1) as run:
        pages = run.pages()
        await anext(pages)
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert sandbox.requests_received <= 4
        assert len([page async for page in pages]) == 134 - 1


async def test_leaving_a_stream_of_pages_leaves_nothing_behind(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    outcomes: list[Outcome] = []
    async with client.following_many(["large.profile", "nasa"], concurrency=2) as run:
        async for _ in run.pages(on_outcome=outcomes.append):
            break
    assert run.stopped_by == "user"
    assert {outcome.handle for outcome in outcomes} == {"large.profile", "nasa"}
    assert sum(outcome.pages for outcome in outcomes) == sandbox.credits_charged


async def test_a_run_gives_outcomes_or_pages_and_is_entered_first(client: FollowingClient) -> None:
    run = client.following_many(SHORT)
    with pytest.raises(ConfigurationError, match="entered first"):
        await anext(run)
    async with run:
        await anext(run)
        with pytest.raises(ConfigurationError, match="not both"):
            await anext(run.pages())
    with pytest.raises(ConfigurationError, match="used once"):
        await run.__aenter__()
    async with client.following_many(SHORT, ordered=True) as run:
        with pytest.raises(ConfigurationError, match="as they land"):
            await anext(run.pages())


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"limit_per_handle": 0},
        {"max_pages": 0},
        {"max_credits": -1},
        {"max_errors": 0},
        {"stall_timeout": 0},
        {"drain_timeout": -1},
        {"on_insufficient_credits": "beg"},
        {"store": "a.db", "dedupe": False},
        {"store": True},
        {"handles": "nasa"},
    ],
    ids=str,
)
def test_an_option_that_cannot_work_is_refused_at_once(options: dict[str, Any]) -> None:
    client = FollowingClient("sfk_test_nothing", base_url="http://localhost:1")
    with pytest.raises(ConfigurationError):
        client.following_many(**{"handles": SHORT, **options})


# --- what ends a run


async def test_a_budget_is_met_exactly_and_every_begun_handle_tells(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    run = client.following_many(["nasa", *SHORT], max_credits=10, concurrency=7)
    outcomes = await read(run)
    assert sandbox.credits_charged == run.usage.credits_charged == 10
    assert run.stopped_by == "budget"
    assert isinstance(run.summary.error, BudgetExceededError)
    left = [outcome for outcome in outcomes.values() if outcome.error is not None]
    assert left
    for outcome in left:
        assert isinstance(outcome.error, BudgetExceededError)
        assert outcome.is_unfinished
        assert outcome.error.handle == outcome.handle
    assert run.progress.unfinished == len(left)
    assert sum(outcome.pages for outcome in outcomes.values()) == 10


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "unauthorized"), (403, "forbidden"), (404, "wrong_route")]
)
async def test_what_speaks_of_no_handle_ends_the_run_once(
    client: FollowingClient, sandbox: Sandbox, status: int, reason: str
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate, then=faults.status(status)), handle="short0")
    sandbox.script(*[faults.hold(gate) for _ in range(2)], handle="short1")
    async with client.following_many(SHORT, concurrency=2) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached(2)
        gate.release()
        outcomes = [await first, *[outcome async for outcome in run]]
    assert run.stopped_by == reason
    assert sandbox.requests_received <= 3
    assert {outcome.handle for outcome in outcomes if outcome.error} >= {"short0"}
    assert all(outcome.is_unfinished for outcome in outcomes if outcome.error)


async def test_out_of_credits_ends_the_run(client: FollowingClient, sandbox: Sandbox) -> None:
    sandbox.credits_left = 12
    run = client.following_many(["nasa", *SHORT], concurrency=5)
    outcomes = await read(run)
    assert run.stopped_by == "out_of_credits"
    assert isinstance(run.summary.error, InsufficientCreditsError)
    assert sum(outcome.pages for outcome in outcomes.values()) == 12
    assert all(
        isinstance(outcome.error, InsufficientCreditsError) and outcome.is_unfinished
        for outcome in outcomes.values()
        if not outcome.complete
    )


async def test_out_of_credits_can_be_waited_out(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.01, max_backoff=0.02))
    sandbox.credits_left = 5
    async with client.following_many(
        ["nasa", *SHORT], on_insufficient_credits="wait", concurrency=4, stall_timeout=0.2
    ) as run:
        outcomes = [await anext(run)]
        while sum(request.route == "balance" for request in sandbox.requests) < 6:
            await asyncio.sleep(0.01)
        refused = sum(request.route == "following" for request in sandbox.requests) - 5
        assert refused <= 4
        assert (run.progress.waits_for, run.progress.eta) == ("credits", None)
        sandbox.credits_left = 1_000
        while run.progress.pages == 5:
            outcomes.append(await anext(run))
        assert run.progress.waits_for is None
        outcomes += [outcome async for outcome in run]
    assert run.stopped_by is None
    assert all(outcome.complete for outcome in outcomes)
    assert len(outcomes) == 41


async def test_a_run_that_waits_for_credits_can_be_stopped(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.credits_left = 0
    async with client.following_many(SHORT, on_insufficient_credits="wait") as run:
        first = asyncio.ensure_future(anext(run))
        while not any(request.route == "balance" for request in sandbox.requests):
            await asyncio.sleep(0.001)
        run.stop()
        outcome = await first
        assert isinstance(outcome.error, RunStoppedError)
        assert outcome.error.reason == "user"
    assert run.stopped_by == "user"


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "unauthorized"), (403, "forbidden"), (404, "wrong_route")]
)
async def test_a_balance_that_is_refused_ends_the_wait_for_credits(
    client: FollowingClient, sandbox: Sandbox, status: int, reason: str
) -> None:
    sandbox.credits_left = 0
    sandbox.script(faults.status(400), faults.status(status), route="balance")
    run = client.following_many(SHORT, on_insufficient_credits="wait")
    async with asyncio.timeout(15):
        await read(run)
    assert run.stopped_by == reason


async def test_too_many_failures_end_the_run(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client(retry=RetryPolicy.none())
    sandbox.script(*[faults.status(400)] * 40)
    run = client.following_many(["a b", *SHORT], max_errors=3, concurrency=1)
    outcomes = await read(run)
    assert run.stopped_by == "errors"
    assert isinstance(run.summary.error, RunStoppedError)
    assert isinstance(run.summary.error.__cause__, BadRequestError)
    assert list(outcomes) == ["a b", "short0", "short1", "short2"]  # the first was no lookup


async def test_silence_ends_the_run_as_no_progress_and_fails_no_handle(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.terms.max_in_flight, sandbox.terms.retry_after = 0, 0.02
    run = client.following_many(SHORT, stall_timeout=0.2, concurrency=5)
    outcomes = await read(run)
    assert run.stopped_by == "no_progress"
    assert (run.progress.failed, run.progress.unfinished) == (0, len(outcomes))
    assert sandbox.credits_charged == 0


async def test_a_pause_too_long_to_wait_for_ends_the_run(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=3600))
    run = client.following_many(SHORT, concurrency=2)
    await read(run)
    assert (run.stopped_by, run.progress.failed) == ("no_progress", 0)
    assert getattr(run.summary.error, "retry_after", None) == 3600


async def test_shared_pauses_do_not_count_against_a_handle(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.25)
    sandbox.script(*[faults.status(503, retry_after=0.05)] * 8)
    run = client.following_many(SHORT[:3], concurrency=1)
    assert all(outcome.complete for outcome in (await read(run)).values())
    assert run.usage.pauses == 8


async def test_the_deadline_bounds_a_pages_own_attempts(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(deadline=0.05)
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    outcomes = await read(client.following_many(SHORT[:2]))
    gate.release()
    assert isinstance(outcomes["short0"].error, TimeoutError)
    assert outcomes["short1"].complete


async def test_an_api_that_cannot_be_reached_at_the_start_ends_the_run_at_once() -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.002)
    async with FollowingClient(
        "sfk_test_nobody", base_url="http://127.0.0.1:9", retry=retry
    ) as client:
        run = client.following_many(SHORT, concurrency=3)
        outcomes = await read(run)
    assert run.stopped_by == "no_progress"
    assert run.progress.failed == 0
    assert all(outcome.is_unfinished for outcome in outcomes.values())


async def test_an_api_that_was_reached_only_before_the_run_ends_it_at_once(
    make_client: MakeClient,
) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.002)
    server = Sandbox()
    await server.start()
    client = make_client(base_url=server.base_url, retry=retry)
    await client.following_page("nasa")
    await server.close()
    run = client.following_many(SHORT, concurrency=3)
    await read(run)
    assert (run.stopped_by, run.progress.failed) == ("no_progress", 0)


async def test_an_outage_in_the_middle_is_sat_out_and_fails_no_handle(
    make_client: MakeClient,
) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.005, max_attempts=2)
    first = Sandbox(totals=(10, 20), latency=0.005)
    await first.start()
    port = int(first.base_url.rpartition(":")[2])
    client = make_client(base_url=first.base_url, retry=retry)
    async with client.following_many([f"user{n}" for n in range(60)], concurrency=10) as run:
        outcomes = [await anext(run) for _ in range(15)]
        await first.close()
        rest = asyncio.ensure_future(anext(run))
        while run.progress.waits_for is None:
            await asyncio.sleep(0.001)
        assert (run.progress.waits_for, run.progress.eta) == ("connection", None)
        async with Sandbox(totals=(10, 20), port=port):
            outcomes += [await rest, *[outcome async for outcome in run]]
    assert (run.stopped_by, run.progress.waits_for) == (None, None)
    assert len(outcomes) == 60
    assert [outcome.error for outcome in outcomes if outcome.error is not None] == []


async def test_the_page_that_finds_an_outage_over_is_kept(make_client: MakeClient) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.005, max_attempts=1)
    first = Sandbox(totals=(10, 20))
    await first.start()
    port = int(first.base_url.rpartition(":")[2])
    client = make_client(base_url=first.base_url, retry=retry)
    async with client.following_many([f"user{n}" for n in range(5)], concurrency=1) as run:
        await anext(run)
        await first.close()
        rest = asyncio.ensure_future(anext(run))
        while run.progress.waits_for is None:
            await asyncio.sleep(0.001)
        async with Sandbox(totals=(10, 20), port=port):
            outcomes = [await rest, *[outcome async for outcome in run]]
    assert len(outcomes) == 4
    lost = [outcome for outcome in outcomes if outcome.error is not None]
    assert len(lost) <= 1  # one may have been under way as the server went


async def test_answers_that_cannot_be_read_are_answers_and_no_silence(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    retry = RetryPolicy(max_attempts=1)
    client = make_client(retry=retry)
    sandbox.script_by(lambda _: faults.slow(0.04, then=faults.malformed()))
    given = [f"user{n}" for n in range(20)]
    async with client.following_many(given, concurrency=1, stall_timeout=0.3) as run:
        outcomes = [outcome async for outcome in run]
    assert run.stopped_by is None
    assert {type(outcome.error) for outcome in outcomes} == {ResponseDecodeError}


async def test_in_an_outage_one_page_at_a_time_tries(make_client: MakeClient) -> None:
    retry = RetryPolicy(initial_backoff=0.005, max_backoff=0.01, max_attempts=1)
    server = Sandbox(totals=(10, 20))
    await server.start()
    client = make_client(base_url=server.base_url, retry=retry)
    given = [f"user{n}" for n in range(300)]
    async with client.following_many(given, concurrency=20, stall_timeout=0.4) as run:
        await anext(run)
        await server.close()
        rest = [outcome async for outcome in run]
    assert run.stopped_by == "no_progress"
    lost = [outcome for outcome in rest if outcome.error and not outcome.is_unfinished]
    assert len(lost) <= 2  # was it they, or the server? the third in a row says
    outcomes = client.usage.outcomes
    failures = outcomes.get("ConnectError", 0) + outcomes.get("TransportError", 0)
    assert 20 <= failures <= 20 + 0.4 / 0.01 * 1.5 + 5  # each once, then one a backoff


async def test_a_server_that_hangs_up_on_everybody_does_not_use_up_the_handles(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.01)
    client = make_client(retry=retry)
    given = [f"empty{n}" for n in range(400)]
    hangs_up = False
    sandbox.script_by(lambda _: faults.drop_before() if hangs_up else None)
    async with client.following_many(given, max_pages=1, concurrency=8, stall_timeout=0.3) as run:
        outcomes = [await anext(run) for _ in range(20)]
        hangs_up = True
        outcomes += [outcome async for outcome in run]
    assert run.stopped_by == "no_progress"
    assert run.progress.failed <= 2  # two could each have been at fault
    assert run.progress.unfinished <= 8
    assert len(outcomes) < 60
    sandbox.clear_script()
    done = {outcome.handle for outcome in outcomes if outcome.complete or outcome.pages}
    again = client.following_many([name for name in given if name not in done], max_pages=1)
    assert all(outcome.error is None for outcome in (await read(again)).values())


@pytest.mark.parametrize("ambiguous_retries", [0, 1])
async def test_what_may_be_paid_is_asked_again_only_when_a_free_route_is_answered(
    make_client: MakeClient, sandbox: Sandbox, ambiguous_retries: int
) -> None:
    client = make_client(
        retry=RetryPolicy(
            initial_backoff=0.001, max_backoff=0.002, ambiguous_retries=ambiguous_retries
        )
    )
    is_down = True

    def choose(request: RecordedRequest) -> faults.Fault | None:
        return faults.drop_after(billed=True) if is_down and request.handle != "nasa" else None

    sandbox.script_by(choose)
    refusals = [faults.status(502), faults.status(503), faults.status(400)]
    sandbox.script(*[faults.drop_before()] * 20, *refusals, route="balance")
    async with client.following_many(["nasa", *SHORT[:6]], concurrency=1) as run:
        assert (await anext(run)).complete
        rest = asyncio.ensure_future(anext(run))
        while count_asked(sandbox, "balance") < 22:
            await asyncio.sleep(0.001)
        asked = count_asked(sandbox, "following")
        is_down = False
        outcomes = [await rest, *[outcome async for outcome in run]]
    assert asked == 4 + 3 * (1 + ambiguous_retries)  # nasa, and three pages in a row
    failed = [outcome.handle for outcome in outcomes if outcome.error]
    assert failed == SHORT[: 2 if ambiguous_retries else 3]
    assert run.usage.credits_at_risk == 3 * (1 + ambiguous_retries)
    assert run.stopped_by is None


async def test_without_ambiguous_retries_no_page_is_bought_twice_in_an_outage(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.01, ambiguous_retries=0)
    client = make_client(retry=retry)
    hangs_up = False
    sandbox.script_by(lambda _: faults.drop_after(billed=True) if hangs_up else None)
    async with client.following_many(SHORT, concurrency=4, stall_timeout=0.3) as run:
        await anext(run)
        hangs_up = True
        async for _ in run:
            pass
    asked = Counter(request.handle for request in sandbox.requests if request.route == "following")
    assert max(asked.values()) == 1
    assert run.usage.credits_at_risk <= sandbox.credits_charged


async def test_pages_that_nobody_answers_while_a_free_route_is_are_tried_one_at_a_time(
    make_client: MakeClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.001, max_backoff=0.01))
    path, is_down = tmp_path / "following.db", False

    def choose(request: RecordedRequest) -> faults.Fault | None:
        is_page = request.route == "following"
        return faults.drop_after(billed=True) if is_down and is_page else None

    sandbox.script_by(choose)
    async with client.following_many(SHORT, store=path, concurrency=3, stall_timeout=3) as run:
        await anext(run)
        is_down = True
        rest = [outcome async for outcome in run]
    assert run.stopped_by == "no_progress"
    assert len([outcome for outcome in rest if outcome.error and not outcome.is_unfinished]) <= 2
    lost = sandbox.credits_charged - run.usage.credits_charged
    assert run.usage.credits_at_risk == lost >= 8
    with FollowingStore(path) as store:
        assert sum(lookup.credits_at_risk for lookup in store.lookups()) == lost


async def test_a_stop_does_not_wait_for_a_free_route_that_hangs(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.001, max_attempts=1))
    gate = Gate()
    sandbox.script(faults.hold(gate), route="balance")
    sandbox.script_by(lambda asked: faults.drop_before() if asked.route == "following" else None)
    async with client.following_many(SHORT, concurrency=3) as run:
        rest = asyncio.ensure_future(anext(run))
        await gate.reached()
        run.stop()
        async with asyncio.timeout(15):  # half of `drain_timeout`
            outcomes = [await rest, *[outcome async for outcome in run]]
    gate.release()
    assert {outcome.handle for outcome in outcomes} >= set(SHORT[:3])
    assert any(outcome.is_unfinished for outcome in outcomes)


def count_asked(sandbox: Sandbox, route: str) -> int:
    return sum(request.route == route for request in sandbox.requests)


async def test_an_answer_to_another_ends_an_outage_for_all(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.01, max_attempts=1))
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    for handle in SHORT[1:4]:
        sandbox.script(faults.drop_before(), handle=handle)
    async with client.following_many(SHORT, concurrency=2) as run:
        outcomes = [await anext(run) for _ in range(2)]
        while client.throttle.in_flight != 1 or client.usage.attempts < 4:
            await asyncio.sleep(0.001)
        gate.release()
        outcomes += [outcome async for outcome in run]
    assert {outcome.handle for outcome in outcomes if outcome.error} == {"short1", "short2"}
    assert run.stopped_by is None


async def test_a_run_that_is_answered_again_waits_for_no_connection(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=5, max_backoff=5, max_attempts=1))
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="nasa")
    for handle in SHORT[:3]:
        sandbox.script(faults.drop_before(), handle=handle)
    async with client.following_many(["nasa", *SHORT[:3]]) as run:
        first = asyncio.ensure_future(anext(run))
        while run.progress.waits_for != "connection":
            await asyncio.sleep(0.001)
        gate.release()
        while run.progress.pages == 0:
            await asyncio.sleep(0.001)
        assert run.progress.waits_for is None
        run.stop()
        assert (await first).handle in SHORT[:3]


async def test_a_server_that_hangs_up_on_one_fails_that_one(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy.none())
    sandbox.script(*[faults.drop_after(billed=False)] * 9, handle="short3")
    run = client.following_many(SHORT)
    outcomes = await read(run)
    assert (run.stopped_by, run.progress.failed) == (None, 1)
    assert outcomes["short3"].error is not None


async def test_credits_that_run_out_as_an_outage_ends_are_waited_for(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.001, max_backoff=0.01, max_attempts=1))
    sandbox.script(*[faults.drop_before()] * 4)
    sandbox.script(faults.status(402))
    sandbox.credits_left = 1_000
    run = client.following_many(SHORT[:4], on_insufficient_credits="wait")
    outcomes = await read(run)
    assert run.stopped_by is None
    assert sum(outcome.complete for outcome in outcomes.values()) >= 2


async def test_an_outage_that_lasts_ends_the_run_with_its_handles_pending(
    make_client: MakeClient,
) -> None:
    retry = RetryPolicy(initial_backoff=0.001, max_backoff=0.005, max_attempts=2)
    server = Sandbox(totals=(10, 20))
    await server.start()
    client = make_client(base_url=server.base_url, retry=retry)
    given = [f"user{n}" for n in range(30)]
    async with client.following_many(given, concurrency=1, stall_timeout=0.2) as run:
        await anext(run)
        await server.close()
        rest = [outcome async for outcome in run]
    assert run.stopped_by == "no_progress"
    assert rest[-1].is_unfinished
    assert len(rest) < 10


async def test_a_retry_without_budget_leaves_the_handle_for_the_next_run(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(502, billed=True))
    run = client.following_many(["nasa"], max_credits=1)
    outcome = (await read(run))["nasa"]
    assert outcome.is_unfinished
    assert (run.stopped_by, run.progress.failed) == ("budget", 0)
    assert sandbox.credits_charged == 1


async def test_a_client_closed_meanwhile_ends_the_run(client: FollowingClient) -> None:
    async with client.following_many(SHORT, concurrency=1) as run:
        await anext(run)
        await client.close()
        rest = [outcome async for outcome in run]
    assert run.stopped_by == "cancelled"
    assert all(isinstance(o.error, (ClientClosedError, type(None))) for o in rest)


# --- stopping


async def test_stop_lets_what_is_under_way_land_and_hands_it_over(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(3)])
    async with client.following_many(["nasa", *SHORT], concurrency=3) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached(3)
        run.stop()
        assert run.stopped_by == "user"
        gate.release()
        outcomes = [await first, *[outcome async for outcome in run]]
    assert sandbox.credits_charged == sum(outcome.pages for outcome in outcomes) == 3
    by_handle = {outcome.handle: outcome for outcome in outcomes}
    assert set(by_handle) == {"nasa", "short0", "short1"}
    nasa = by_handle["nasa"]
    assert isinstance(nasa.error, RunStoppedError)
    assert (nasa.is_unfinished, len(nasa.accounts), nasa.complete) == (True, 30, False)
    assert nasa.next_cursor
    assert by_handle["short0"].complete
    assert run.usage.credits_at_risk == 0
    run.stop()
    assert run.stopped_by == "user"


async def test_what_landed_after_the_block_was_left_can_still_be_read(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    script_later(sandbox, 1, *[faults.hold(gate) for _ in range(2)])
    async with client.following_many(SHORT, concurrency=2) as run:
        await anext(run)
        await gate.reached(2)
        asyncio.get_running_loop().call_later(0.02, gate.release)
    left = [outcome async for outcome in run]
    assert sum(outcome.pages for outcome in left) + 1 == sandbox.credits_charged == 3


async def test_a_run_left_before_it_began_buys_nothing(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    async with client.following_many(SHORT) as run:
        assert run.stopped_by is None
    assert run.stopped_by == "user"
    assert [outcome async for outcome in run] == []
    assert sandbox.requests_received == 0


async def test_a_stop_before_the_run_is_entered_counts(client: FollowingClient) -> None:
    run = client.following_many(SHORT)
    run.stop()
    assert await read(run) == {}
    assert run.stopped_by == "user"


async def test_a_run_cancelled_before_it_began_says_so(client: FollowingClient) -> None:
    run = client.following_many(SHORT)

    async def enter() -> None:
        async with run:
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(enter())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.stopped_by == "cancelled"


async def test_leaving_after_the_last_outcome_stopped_nothing(client: FollowingClient) -> None:
    async with client.following_many(SHORT[:3]) as run:
        for _ in range(3):
            await anext(run)
    assert run.stopped_by is None


async def test_a_stop_does_not_wait_for_a_slow_input(client: FollowingClient) -> None:
    forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handles() -> AsyncIterator[str]:
        yield "nasa"
        await forever

    async with client.following_many(handles(), concurrency=2) as run:
        assert (await anext(run)).complete
        run.stop()
        async with asyncio.timeout(15):
            assert [outcome async for outcome in run] == []


async def test_a_stop_does_not_wait_for_pauses_and_backoffs(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=60, max_backoff=60))
    sandbox.script(faults.status(500), handle="short0")
    sandbox.script(faults.status(503, retry_after=60), handle="short1")
    async with client.following_many(SHORT[:3], concurrency=3) as run:
        first = asyncio.ensure_future(anext(run))
        while client.throttle.paused_for == 0 or sandbox.in_flight:
            await asyncio.sleep(0.001)
        run.stop()
        async with asyncio.timeout(15):
            outcomes = [await first, *[outcome async for outcome in run]]
    assert {outcome.handle for outcome in outcomes if outcome.is_unfinished} >= {
        "short0",
        "short1",
    }


async def test_what_does_not_land_in_time_is_booked_at_risk(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    async with client.following_many(SHORT, concurrency=2, drain_timeout=0.02) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached(2)
        run.stop()
        outcomes = [await first, *[outcome async for outcome in run]]
    gate.release()
    assert len(outcomes) == 2
    assert all(isinstance(outcome.error, RunStoppedError) for outcome in outcomes)
    assert (run.usage.credits_charged, run.usage.credits_at_risk) == (0, 2)
    assert sandbox.credits_charged == 2


async def test_the_error_of_a_handle_left_over_speaks_of_that_handle(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    sandbox.script(faults.status(403), handle="short1")
    run = client.following_many(SHORT[:2], drain_timeout=0.02)
    outcomes = await read(run)
    gate.release()
    left, ended = outcomes["short0"].error, outcomes["short1"].error
    assert isinstance(left, PermissionDeniedError)
    assert isinstance(ended, PermissionDeniedError)
    assert (left.handle, left.may_be_charged) == ("short0", True)
    assert (ended.handle, ended.may_be_charged) == ("short1", False)


async def test_no_outcome_holds_itself_through_its_error(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(400))
    gc.collect()
    gc.disable()
    try:
        (outcome,) = (await read(client.following_many(SHORT[:1]))).values()
        assert outcome.error is not None
        gone = weakref.ref(outcome)
        del outcome
        for _ in range(5):
            await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()


async def test_no_handle_leaves_something_for_the_garbage_collector(
    client: FollowingClient,
) -> None:
    def count_ours() -> int:
        modules = [str(type(found).__module__) for found in gc.get_objects()]
        return sum(module.startswith("tiktok_following._") for module in modules)

    gc.collect()
    gc.disable()
    try:
        handles = ["empty.profile"] * 40
        async with client.following_many(handles, concurrency=2, dedupe=False) as run:
            held = [count_ours() async for _ in run]
    finally:
        gc.enable()
    assert max(held[20:]) <= max(held[:20]) + 10


async def test_each_handle_tells_its_own_credits_whoever_looked_it_up(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    given = ["nasa", "a b", "short1", "hidden.profile", "short35"]
    async with client.following_many(given, concurrency=1, ordered=True) as run:
        assert [outcome.credits async for outcome in run] == [4, 0, 1, 1, 2]
    assert sandbox.credits_charged == 8


async def test_cancelling_the_consumer_drains(client: FollowingClient, sandbox: Sandbox) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    run = client.following_many(["nasa", "short1"], concurrency=2)
    task = asyncio.ensure_future(read(run))
    await gate.reached(2)
    task.cancel()
    while run.stopped_by is None:
        await asyncio.sleep(0)
    assert not task.done()
    gate.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.stopped_by == "cancelled"
    assert run.usage.credits_at_risk == 0
    assert sum(outcome.pages for outcome in [o async for o in run]) == sandbox.credits_charged == 2


async def leave_at_once(run: FollowingRun, task: asyncio.Task[Any]) -> None:
    """Cancel the consumer of a run twice."""
    task.cancel()
    while run.stopped_by is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(15):
            await task


async def test_a_second_cancellation_leaves_at_once(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    before = asyncio.all_tasks()
    run = client.following_many(["nasa", "short1"], concurrency=2)
    task = asyncio.ensure_future(read(run))
    await gate.reached(2)
    await leave_at_once(run, task)
    assert run.usage.credits_at_risk == 2
    assert (client.throttle.in_flight, client.throttle.waiting) == (0, 0)
    gate.release()
    while sandbox.in_flight:
        await asyncio.sleep(0.001)
    left = {task for task in asyncio.all_tasks() - before if "sandbox" not in repr(task.get_coro())}
    assert not [
        task for task in left if "tiktok_following" in repr(task) and "web" not in repr(task)
    ]


@pytest.mark.parametrize("gives", ["outcomes", "pages"])
@pytest.mark.parametrize("has_store", [False, True])
async def test_answers_that_are_here_are_kept_whoever_leaves_at_once(
    make_client: MakeClient, sandbox: Sandbox, tmp_path: Path, gives: str, *, has_store: bool
) -> None:
    heard: list[Event] = []
    client = make_client(on_event=heard.append)
    turns = hold_turns(client)
    given, path = ["nasa", *SHORT[:3]], tmp_path / "following.db"
    run = client.following_many(given, concurrency=4, store=path if has_store else None)

    async def consume() -> None:
        async with run:
            async for _ in run if gives == "outcomes" else run.pages():
                raise AssertionError

    task = asyncio.ensure_future(consume())
    await until_waiting(turns, len(given))
    await leave_at_once(run, task)
    assert (run.usage.credits_charged, run.usage.credits_at_risk) == (4, 0)
    assert (run.usage.outcomes, run.progress.pages) == ({"found": 4}, 4)
    assert len([event for event in heard if isinstance(event, PageFetched)]) == 4
    ends = [event for event in heard if isinstance(event, AttemptFinished)]
    assert {(end.status_code, end.is_cancelled, end.credits_charged) for end in ends} == {
        (200, True, 1)
    }
    if gives == "pages":
        assert {page.handle for page in [page async for page in run.pages()]} == set(given)
    else:
        left = {outcome.handle: outcome async for outcome in run}
        assert {handle for handle in left if left[handle].complete} == set(SHORT[:3])
        nasa = left["nasa"]
        assert (nasa.is_unfinished, nasa.pages, len(nasa.accounts)) == (True, 1, 30)
        assert nasa.next_cursor is not None
    if has_store:
        again = await read(client.following_many(given, store=path, max_pages=1))
        assert all(outcome.from_store for outcome in again.values())
    assert sandbox.credits_charged == 4


def turn_private(body: dict[str, Any]) -> dict[str, Any]:
    page = {"nextCursor": None, "hasMore": False}
    body["data"].update(lookupStatus="private", accounts=[], page=page, totalAccounts=None)
    return body


def lose_cursor(body: dict[str, Any]) -> dict[str, Any]:
    body["data"]["page"] = {"nextCursor": None, "hasMore": True}
    return body


@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize(
    ("change", "kind"), [(turn_private, ProfileUnavailableError), (lose_cursor, PaginationError)]
)
async def test_a_list_that_fails_as_its_run_is_left_says_so(
    client: FollowingClient,
    sandbox: Sandbox,
    tmp_path: Path,
    change: Any,
    kind: type[Exception],
    *,
    has_store: bool,
) -> None:
    gate, turns = Gate(), client._engine._pipeline.turns
    changed = faults.hold(gate, then=faults.reshaped(change))
    sandbox.script_by(lambda request, *_: changed if request.cursor else None)
    store = tmp_path / "following.db" if has_store else None
    async with client.following_many(["nasa"], store=store) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached()
        while turns._is_counting:
            await asyncio.sleep(0)
        held = hold_turns(client) if has_store else hold_landings(run)
        gate.release()
        await until_waiting(held)
        assert run._crew is not None
        run._crew.abandon()
        outcome = await first
    assert isinstance(outcome.error, kind)
    assert (outcome.is_unfinished, outcome.pages, run.progress.failed) == (False, 2, 1)


async def test_pages_that_wait_for_the_disk_are_given_whoever_cancels_how_often(
    client: FollowingClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    turns = hold_turns(client)
    run = client.following_many(SHORT, concurrency=20, store=tmp_path / "following.db")
    given: list[FollowingPage] = []

    async def consume() -> None:
        async with run:
            async for page in run.pages():
                given.append(page)

    task = asyncio.ensure_future(consume())
    await until_waiting(turns, 20)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    given += [page async for page in run.pages()]
    assert {page.handle for page in given} <= set(SHORT)
    assert len(given) == run.progress.pages == run.usage.credits_charged == 20
    assert sandbox.credits_charged == 20


@pytest.mark.parametrize("is_whole", [True, False])
async def test_who_waits_for_room_at_the_end_of_a_list_is_cancelled_and_tells_that_end(
    client: FollowingClient, sandbox: Sandbox, *, is_whole: bool
) -> None:
    def lose(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["page"] = {"nextCursor": None, "hasMore": True}
        return body

    sandbox.script_by(lambda _: None if is_whole else faults.reshaped(lose))
    outcomes: list[Outcome] = []
    async with client.following_many(SHORT, concurrency=2) as run:
        pages = run.pages(on_outcome=outcomes.append)
        given = [await anext(pages)]
        assert run._crew is not None
        while len(run._crew.outbox._waiting) < 2:
            await asyncio.sleep(0.001)
        run._crew.abandon()  # as `asyncio.run` cancels all tasks
        given += [page async for page in pages]
    assert len(outcomes) == len(given) == run.progress.pages == sandbox.credits_charged
    ends = {(outcome.complete, type(outcome.error)) for outcome in outcomes}
    assert ends == {(True, type(None)) if is_whole else (False, PaginationError)}


async def test_a_run_that_is_over_holds_nothing_of_what_it_gave(client: FollowingClient) -> None:
    others = [thing for thing in gc.get_objects() if isinstance(thing, FollowingPage)]
    run = client.following_many(["nasa", *SHORT[:3]], concurrency=4)
    async with run:
        held = hold_landings(run)
        first = asyncio.ensure_future(anext(run))
        await until_waiting(held, 4)
        assert run._crew is not None
        run._crew.abandon()
        assert (await first).pages == 1
    assert len([outcome async for outcome in run]) == 3
    del first
    gc.collect()
    pages = [thing for thing in gc.get_objects() if isinstance(thing, FollowingPage)]
    assert {id(page) for page in pages} <= {id(page) for page in others}


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let a thread go on beside a loop that never rests; it would wait 5 ms at each statement."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("whom", ["workers", "supervisor", "all but the consumer", "all"])
@pytest.mark.parametrize("is_once", [True, False], ids=["once", "again and again"])
async def test_a_run_whose_tasks_are_cancelled_before_they_begin_ends(
    client: FollowingClient, tmp_path: Path, whom: str, *, is_once: bool
) -> None:
    path = tmp_path / "following.db"
    run = client.following_many(SHORT, store=path)
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(read(run))
    while run._crew is None or not run._crew._workers:  # in the pass before they begin
        await asyncio.sleep(0)
    workers, supervisor = set(run._crew._workers), run._crew._supervisor
    chosen = {"workers": workers, "supervisor": {supervisor}, "all": {*workers, supervisor, task}}
    spared = {task} if whom == "all but the consumer" else set[Any]()
    async with asyncio.timeout(15):
        for number in itertools.count():
            for one in chosen.get(whom, asyncio.all_tasks() - before - spared):
                one.cancel()
            await asyncio.sleep(0)
            if task.done() or (is_once and number == 0):
                break
        outcomes = await asyncio.gather(task, return_exceptions=True)
        rest = [outcome async for outcome in run]
    assert (type(outcomes[0]), rest) == (asyncio.CancelledError if whom == "all" else dict, [])
    assert (run.stopped_by, run.summary.is_over) == ("cancelled", True)
    assert len(await read(client.following_many(SHORT, store=path))) == len(SHORT)


@pytest.mark.usefixtures("eager_threads")
async def test_who_is_cancelled_again_and_again_lets_go_of_the_store(
    make_client: MakeClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=5, max_backoff=5))
    sandbox.credits_left = 1
    path, before = tmp_path / "following.db", asyncio.all_tasks()
    run = client.following_many(SHORT, store=path, on_insufficient_credits="wait")
    task = asyncio.ensure_future(read(run))
    while run.progress.waits_for is None:
        await asyncio.sleep(0.001)
    while not task.done():
        for one in asyncio.all_tasks() - before:
            one.cancel()
        await asyncio.sleep(0)
    assert (run.stopped_by, run.summary.is_over) == ("cancelled", True)
    async with client.following_many([], store=path) as again:
        assert again.previous_at_risk == 0


async def test_answers_that_came_while_the_loop_stood_still_are_read_as_the_drain_ends() -> None:
    gate = Gate()
    with Sandbox() as server:
        server.script(*[faults.hold(gate) for _ in range(5)])
        async with FollowingClient(server.api_key, base_url=server.base_url) as client:
            run = client.following_many(SHORT, drain_timeout=0.01, max_pages=1, concurrency=5)
            async with run:
                first = asyncio.ensure_future(anext(run))
                await gate.reached(5)
                run.stop()
                gate.release()
                time.sleep(0.02)  # noqa: ASYNC251 - a consumer that computes
                while server.in_flight:
                    time.sleep(0.001)  # noqa: ASYNC251
                outcomes = [await first, *[outcome async for outcome in run]]
        assert sum(outcome.pages for outcome in outcomes) == server.credits_charged == 5
        assert run.usage.credits_at_risk == 0


async def test_an_answer_that_is_here_and_the_store_cannot_take_is_in_the_outcome(
    client: FollowingClient, tmp_path: Path
) -> None:
    turns = hold_turns(client)
    path = tmp_path / "following.db"
    async with client.following_many(["nasa"], store=path, keep_accounts=False) as run:
        first = asyncio.ensure_future(anext(run))
        await until_waiting(turns)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE pages")
        assert run._crew is not None
        run._crew.abandon()
        outcome = await first
    assert isinstance(outcome.error, StoreError)
    assert (run.stopped_by, len(outcome.accounts)) == ("cancelled", 30)
    assert (run.usage.credits_charged, run.usage.credits_at_risk) == (1, 0)


async def test_who_cancels_again_and_again_waits_for_the_end_all_the_same(
    client: FollowingClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    path = tmp_path / "following.db"
    run = client.following_many(["nasa", "short1"], concurrency=2, store=path)
    task = asyncio.ensure_future(read(run))
    await gate.reached(2)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    gate.release()
    assert task.cancelled()
    assert run.stopped_by == "cancelled"
    left = [outcome async for outcome in run]
    assert {outcome.handle for outcome in left} == {"nasa", "short1"}
    again = await read(client.following_many(["nasa", "short1"], store=path))
    assert all(outcome.complete for outcome in again.values())


async def test_a_run_whose_supervisor_is_cancelled_ends_all_the_same(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    """As those do who cancel all tasks but their own, which then is not cancelled either."""
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    async with client.following_many(SHORT, concurrency=2) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached(2)
        assert run._crew is not None
        run._crew._supervisor.cancel()
        assert (await first).is_unfinished
    gate.release()
    assert run.stopped_by == "cancelled"
    assert run.usage.credits_at_risk == 2


# --- progress


async def test_a_consumer_that_blocks_the_loop_is_no_silence(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.terms.latency = 0.02
    async with client.following_many(SHORT, concurrency=2, stall_timeout=0.1) as run:
        async for _ in run:
            if run.progress.done % 10 == 0:
                time.sleep(0.15)  # noqa: ASYNC251 - that is the point
    assert run.stopped_by is None


async def test_progress_is_told_and_ends_with_the_last_word(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    told: list[RunProgress] = []
    run = client.following_many(["nasa", *SHORT, "a b", "NASA"], on_progress=told.append)
    await read(run)
    last = told[-1]
    assert last == run.progress == run.summary.progress
    assert (last.done, last.failed, last.skipped, last.total) == (41, 1, 1, 43)
    assert last.pages == sandbox.credits_charged == last.usage.credits_charged
    assert last.accounts == 95 + sum(10 + number for number in range(40))
    assert last.pages_per_second == last.pages / last.seconds
    assert last.eta == 0
    assert (last.in_flight, last.paused_for) == (0, 0)


async def test_progress_before_the_run_says_nothing_was_done(client: FollowingClient) -> None:
    progress = client.following_many(SHORT).progress
    assert (progress.done, progress.pages, progress.seconds, progress.total) == (0, 0, 0.0, 40)
    assert (progress.pages_per_second, progress.eta) == (0.0, None)


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_progress_callback_that_fails_breaks_no_run(
    client: FollowingClient, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    calls = 0

    def fail(_: RunProgress) -> None:
        nonlocal calls
        calls += 1
        raise error

    run = client.following_many(SHORT, on_progress=fail, stall_timeout=0.05)
    with caplog.at_level(logging.ERROR, "tiktok_following"):
        assert len(await read(run)) == 40
    assert (calls, run.stopped_by) == (1, None)
    assert "on_progress failed" in caplog.text


async def test_a_progress_callback_that_nobody_would_await_is_refused(
    client: FollowingClient,
) -> None:
    async def show(_: RunProgress) -> None: ...

    for given in (show, functools.partial(show), "print"):
        with pytest.raises(ConfigurationError, match="on_progress is"):
            client.following_many(SHORT, on_progress=given)  # type: ignore[arg-type]


async def test_an_input_whose_wait_is_cancelled_is_no_complete_run(
    client: FollowingClient,
) -> None:
    source: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handles() -> AsyncIterator[str]:
        yield "short1"
        yield await source

    async with client.following_many(handles(), concurrency=1) as run:
        await anext(run)
        source.cancel()
        assert [outcome async for outcome in run] == []
    assert run.stopped_by == "cancelled"


async def test_an_input_of_duplicates_alone_can_be_stopped(client: FollowingClient) -> None:
    async with asyncio.timeout(15):
        async with client.following_many(itertools.repeat("short1")) as run:
            assert (await anext(run)).complete
            run.stop()
            assert [outcome async for outcome in run] == []


@pytest.mark.parametrize("has_store", [False, True])
async def test_an_error_of_a_store_that_the_handles_come_from_is_that_of_the_input(
    client: FollowingClient, tmp_path: Path, *, has_store: bool
) -> None:
    def broken() -> Iterator[str]:
        yield "short1"
        raise StoreError("it is damaged", path="other.db")

    store = tmp_path / "following.db" if has_store else None
    with pytest.raises(StoreError, match=r"it is damaged .*'other\.db'"):
        await read(client.following_many(broken(), store=store))


async def test_a_consumer_that_leaves_hears_of_an_input_that_failed(
    client: FollowingClient,
) -> None:
    def broken() -> Iterator[str]:
        yield from SHORT[:3]
        raise LookupError("the file is gone")

    async def leave() -> None:
        async with client.following_many(broken(), concurrency=3) as run:
            await anext(run)
            while run.stopped_by is None:
                await asyncio.sleep(0)

    with pytest.raises(LookupError):
        await leave()


async def test_an_outcome_callback_that_fails_ends_the_run_and_is_heard_of(
    client: FollowingClient,
) -> None:
    def fail(_: Outcome) -> None:
        raise ZeroDivisionError

    async with client.following_many(SHORT, concurrency=1) as run:
        pages = run.pages(on_outcome=fail)
        await anext(pages)
        with pytest.raises(ZeroDivisionError):
            await anext(pages)


async def test_a_run_counts_under_the_clients_own_budget(make_client: MakeClient) -> None:
    client = make_client(max_credits=6)
    await client.following_page("nasa")
    run = client.following_many(SHORT, max_credits=100)
    await read(run)
    assert (run.stopped_by, run.usage.credits_charged, client.usage.credits_charged) == (
        "budget",
        5,
        6,
    )


async def test_two_runs_of_one_client_share_its_throttle_and_keep_their_own_books(
    client: FollowingClient,
) -> None:
    runs = [client.following_many(SHORT[:n], max_credits=n) for n in (7, 9)]
    await asyncio.gather(*map(read, runs))
    assert [run.usage.credits_charged for run in runs] == [7, 9]


async def test_a_read_timeout_of_one_handle_fails_it_alone(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    client = make_client(timeout=Timeout(read=0.2), retry=RetryPolicy.none())
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="short0")
    outcomes = await read(client.following_many(SHORT[:4]))
    gate.release()
    assert isinstance(outcomes["short0"].error, RequestTimeoutError)
    assert outcomes["short0"].credits == 0
    assert sum(outcome.complete for outcome in outcomes.values()) == 3


async def test_without_a_deadline_a_page_may_take_what_it_takes(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=0.02), faults.status(500))
    run = make_client(deadline=None).following_many(SHORT[:2])
    assert all(outcome.complete for outcome in (await read(run)).values())
