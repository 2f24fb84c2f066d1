"""Answers that a run's consumer reads itself while it waits, and what becomes of them otherwise."""

import asyncio
from itertools import count

import aiohttp
import pytest
from conftest import MakeClient
from held_turns import hold_landings, until_waiting

from tiktok_following import FollowingClient, FollowingRun, Outcome, ResponseDecodeError, _landings
from tiktok_following._landings import Landings
from tiktok_following._turns import Turns
from tiktok_following.sandbox import Profile, Sandbox, faults

SHORT = [f"short{number}" for number in range(30)]
LIMIT = 20
"""Pages that may be in flight at the start of a client."""


@pytest.fixture(autouse=True)
def short_lists(sandbox: Sandbox) -> None:
    rows = sandbox.profile("nasa").accounts
    for number, handle in enumerate(SHORT):
        sandbox.set_profile(handle, Profile(accounts=rows[: number + 1]))


def count_reads(run: FollowingRun, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Note each answer that the consumer reads."""
    assert run._crew is not None
    landings, reads = run._crew.outbox.landings, list[None]()
    assert landings is not None
    take = landings.take

    def note(*args: object) -> None:
        reads.append(None)
        take(*args)

    monkeypatch.setattr(landings, "take", note)
    return reads


@pytest.mark.parametrize("ordered", [False, True])
async def test_who_waits_reads_and_what_it_gets_is_booked(
    client: FollowingClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, ordered: bool
) -> None:
    given: list[Outcome] = []
    async with client.following_many(SHORT, concurrency=8, ordered=ordered) as run:
        reads = count_reads(run, monkeypatch)
        async for outcome in run:
            given.append(outcome)
            assert run.usage.credits_charged >= sum(each.credits for each in given)
    assert {outcome.handle: len(outcome.accounts) for outcome in given} == {
        handle: number + 1 for number, handle in enumerate(SHORT)
    }
    assert all(outcome.complete and outcome.credits == 1 for outcome in given)
    assert len(reads) > len(SHORT) / 2
    usage = run.usage
    assert (usage.credits_charged, usage.credits_reserved, usage.requests) == (30, 0, 30)
    assert usage.outcomes == {"found": 30}
    assert sandbox.credits_charged == 30


async def test_the_pages_of_a_long_list_are_read_one_by_one(
    client: FollowingClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client.following_many(["nasa"], limit_per_handle=80) as run:
        reads = count_reads(run, monkeypatch)
        (outcome,) = [outcome async for outcome in run]
    assert (outcome.pages, len(outcome.accounts), outcome.credits) == (3, 80, 3)
    assert len(reads) == sandbox.credits_charged == 3
    expected = [row["handle"] for row in sandbox.profile("nasa").accounts[:80]]
    assert [account.handle for account in outcome.accounts] == expected


async def test_it_is_the_same_over_a_session_of_ones_own(
    make_client: MakeClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiohttp.ClientSession() as session:
        client = make_client(session=session)
        async with client.following_many(["nasa", *SHORT[:3]], concurrency=2) as run:
            reads = count_reads(run, monkeypatch)
            given = {outcome.handle: outcome async for outcome in run}
    assert {handle: outcome.credits for handle, outcome in given.items()} == {
        "nasa": 4,
        **dict.fromkeys(SHORT[:3], 1),
    }
    assert all(outcome.complete for outcome in given.values())
    assert len(reads) >= 4
    assert run.usage.credits_charged == sandbox.credits_charged == 7


async def test_what_cannot_be_read_is_told_by_the_outcome_and_booked_once(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.reshaped(lambda body: body | {"data": None}))
    async with client.following_many(["nasa"]) as run:
        (outcome,) = [outcome async for outcome in run]
    assert isinstance(outcome.error, ResponseDecodeError)
    assert outcome.credits == run.usage.credits_charged == sandbox.credits_charged == 1
    assert run.usage.requests == 1


async def test_a_consumer_that_does_other_things_holds_nobody_up(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    async with client.following_many(SHORT[:LIMIT], concurrency=LIMIT) as run:
        landings = hold_landings(run)
        first = asyncio.ensure_future(anext(run))
        await until_waiting(landings, LIMIT)
        first.cancel()
        while run.progress.done < LIMIT:
            await asyncio.sleep(0.001)
        assert first.cancelled()
        assert len([outcome async for outcome in run]) == LIMIT
    assert run.usage.credits_charged == sandbox.credits_charged == LIMIT


@pytest.mark.parametrize("handle", ["short3", "nasa"])
async def test_a_worker_cancelled_when_its_answer_was_read_books_it_once(
    client: FollowingClient, sandbox: Sandbox, handle: str
) -> None:
    async with client.following_many([handle]) as run:
        landings = hold_landings(run)
        first = asyncio.ensure_future(anext(run))
        await until_waiting(landings)
        await landings.land()
        assert run._crew is not None
        run._crew.abandon()  # before the worker has gone on
        landings.wake = run._crew.outbox._changed.set
        landings.wake()
        outcome = await first
    assert (outcome.pages, outcome.credits) == (1, 1)
    assert outcome.is_unfinished == (handle == "nasa")
    assert len(outcome.accounts) == (30 if handle == "nasa" else 4)
    usage = run.usage
    assert (usage.credits_charged, usage.credits_at_risk, usage.credits_reserved) == (1, 0, 0)
    assert (usage.requests, usage.outcomes) == (1, {"found": 1})
    assert sandbox.credits_charged == 1


async def test_who_listens_hears_of_a_page_before_its_outcome_is_given(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    client = make_client(on_event=heard.append)
    async with client.following_many(SHORT, concurrency=8) as run:
        reads = count_reads(run, monkeypatch)
        async for outcome in run:
            assert outcome.handle in {getattr(event, "handle", None) for event in heard}
    assert not reads


async def test_the_loop_has_its_turn_while_many_answers_are_read() -> None:
    times, read = count(0.0, _landings.HOLD / 2), list[int]()
    landings = Landings(Turns(lambda: 0.0), lambda *_: None, lambda: next(times))
    for number in range(8):
        landings.add(lambda number=number: read.append(number))
    passes: list[int] = []

    async def tick() -> None:
        while len(read) < 8:
            passes.append(len(read))
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    while landings:
        await landings.land()
    await ticking
    assert read == list(range(8))
    assert len(set(passes)) >= 3


async def test_who_was_cancelled_is_passed_over() -> None:
    read: list[int] = []
    landings = Landings(Turns(lambda: 0.0), lambda *_: None, lambda: 0.0)
    turns = [landings.add(lambda number=number: read.append(number)) for number in range(3)]
    turns[0].cancel()
    await landings.land()
    turns[2].cancel()
    await landings.land()
    assert (read, bool(landings)) == ([1], False)


async def test_what_is_raised_while_reading_lets_who_asked_go_on() -> None:
    landings = Landings(Turns(lambda: 0.0), lambda *_: None, lambda: 0.0)
    turn = landings.add(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await landings.land()
    assert turn.done()
