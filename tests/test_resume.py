"""What a run with a store promises: nothing paid is lost or bought again, whatever ended it."""

import asyncio
import resource
import signal
import sqlite3
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bodies import make_body
from conftest import MakeClient
from test_bulk import SHORT, leave_at_once, names, read, script_later, truth

from tiktok_following import (
    BadRequestError,
    FollowingClient,
    FollowingError,
    FollowingStore,
    InvalidHandleError,
    Outcome,
    PaginationError,
    ProfileUnavailableError,
    RetryPolicy,
    StoreError,
    StoreLockedError,
    StoreMismatchError,
    StoreWriteError,
)
from tiktok_following.sandbox import Gate, Profile, Sandbox, faults

GIVEN = ["nasa", *SHORT, "hidden.profile", "boundary.duplicates"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "following.db"


@pytest.fixture(autouse=True)
def short_lists(sandbox: Sandbox) -> None:
    rows = sandbox.profile("nasa").accounts
    for number, handle in enumerate(SHORT):
        sandbox.set_profile(handle, Profile(accounts=rows[: 10 + number]))


def assert_whole(path: Path, sandbox: Sandbox) -> None:
    """Check that the store has the truth, and that each of its pages was paid once."""
    with FollowingStore(path) as store:
        assert [lookup.handle for lookup in store.lookups()] == GIVEN
        assert {lookup.state for lookup in store.lookups()} == {"complete"}
        for handle in GIVEN:
            rows = [account.handle for account in store.accounts(handle)]
            if handle == "boundary.duplicates":
                rows = list(dict.fromkeys(rows))
            assert rows == truth(sandbox, handle)
        assert store.summary().credits_charged == sandbox.credits_charged


def assert_bought_once(sandbox: Sandbox) -> None:
    bought = Counter((charge.handle, charge.cursor) for charge in sandbox.charges)
    assert set(bought.values()) == {1}


async def test_what_is_complete_comes_from_the_store_and_costs_nothing(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    first = await read(client.following_many(GIVEN, store=path))
    charged = sandbox.credits_charged
    run = client.following_many(GIVEN, store=path)
    again = await read(run)
    assert sandbox.credits_charged == charged
    assert run.usage.credits_charged == 0
    assert run.progress.from_store == run.progress.done == len(GIVEN)
    for handle, outcome in again.items():
        before = first[handle]
        assert outcome.from_store
        assert (outcome.accounts, outcome.status) == (before.accounts, before.status)
        assert (outcome.pages, outcome.total) == (before.pages, before.total)
        assert outcome.complete
        assert outcome.credits == 0
    assert_whole(path, sandbox)
    assert_bought_once(sandbox)


async def test_runs_with_a_cap_add_up_to_the_whole_and_buy_nothing_twice(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    runs = 0
    while True:
        run = client.following_many(GIVEN, store=path, max_credits=9, concurrency=4)
        outcomes = await read(run)
        runs += 1
        if run.stopped_by is None:
            break
        assert (run.stopped_by, run.usage.credits_charged) == ("budget", 9)
    assert runs == sandbox.credits_charged // 9 + 1
    assert len(outcomes) == len(GIVEN)
    assert names(outcomes["nasa"]) == truth(sandbox, "nasa")
    assert_whole(path, sandbox)
    assert_bought_once(sandbox)


async def test_a_stop_and_a_new_run_lose_nothing(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    gate = Gate()
    script_later(sandbox, 10, *[faults.hold(gate) for _ in range(4)])
    async with client.following_many(GIVEN, store=path, concurrency=4) as run:
        async for _ in run:
            if gate.arrivals == 4:
                run.stop()
                gate.release()
            elif sandbox.requests_received >= 10:
                await gate.reached(4)
                run.stop()
                gate.release()
    assert run.stopped_by == "user"
    await read(client.following_many(GIVEN, store=path))
    assert_whole(path, sandbox)
    assert_bought_once(sandbox)


async def test_pages_of_a_resumed_list_are_streamed_from_the_store_too(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    await read(client.following_many(GIVEN, store=path, max_credits=20))
    async with client.following_many(GIVEN, store=path) as run:
        rows = [
            account.handle
            async for page in run.pages()
            if page.handle == "nasa"
            for account in page.accounts
        ]
    assert rows == truth(sandbox, "nasa")
    assert_bought_once(sandbox)


async def test_pages_of_a_handle_given_twice_are_streamed_once(
    client: FollowingClient, path: Path
) -> None:
    async with client.following_many(["nasa", "NASA"], store=path) as run:
        assert len([page async for page in run.pages()]) == 4
    assert run.progress.skipped == 1


async def test_duplicates_are_found_in_the_store(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    given = ["nasa", "@NASA", "short1", "nasa"]
    run = client.following_many(given, store=path, ordered=True)
    assert list(await read(run)) == ["nasa", "short1"]
    assert (run.progress.skipped, sandbox.credits_charged) == (2, 5)


async def test_ordered_outcomes_of_a_store_come_in_the_order_of_the_input(
    client: FollowingClient, path: Path
) -> None:
    await read(client.following_many(SHORT[5:15], store=path))
    async with client.following_many(GIVEN, store=path, ordered=True, concurrency=3) as run:
        assert [outcome.given async for outcome in run] == GIVEN


async def test_a_handle_that_is_none_has_its_outcome_and_no_place_in_the_store(
    client: FollowingClient, path: Path
) -> None:
    outcomes = await read(client.following_many(["a b", "short1"], store=path))
    assert isinstance(outcomes["a b"].error, InvalidHandleError)
    with FollowingStore(path) as store:
        assert [lookup.handle for lookup in store.lookups()] == ["short1"]


# --- limits


async def test_a_limited_list_is_bought_on_only_when_the_limit_is_higher(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    async def look(**options: Any) -> Outcome:
        return (await read(client.following_many(["nasa"], store=path, **options)))["nasa"]

    first = await look(limit_per_handle=40)
    assert (len(first.accounts), first.complete, first.from_store) == (40, False, False)
    assert sandbox.credits_charged == 2
    same = await look(limit_per_handle=40)
    assert (same.accounts, same.from_store) == (first.accounts, True)
    lower = await look(max_pages=1)
    assert (len(lower.accounts), lower.from_store) == (60, True)
    assert sandbox.credits_charged == 2
    higher = await look(max_pages=3)
    assert (len(higher.accounts), higher.credits, higher.pages) == (90, 1, 3)
    whole = await look()
    assert (names(whole), whole.complete) == (truth(sandbox, "nasa"), True)
    assert_bought_once(sandbox)


async def test_a_pending_list_with_more_than_a_new_limit_is_limited(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    await read(client.following_many(["nasa"], store=path, max_credits=2))
    outcome = (await read(client.following_many(["nasa"], store=path, limit_per_handle=45)))["nasa"]
    assert (len(outcome.accounts), outcome.from_store, outcome.error) == (45, True, None)
    assert sandbox.credits_charged == 2
    with FollowingStore(path) as store:
        assert [lookup.state for lookup in store.lookups()] == ["limited"]


# --- failures


async def test_a_failed_one_stays_failed_until_it_is_asked_for(
    make_client: MakeClient, sandbox: Sandbox, path: Path
) -> None:
    client = make_client(retry=RetryPolicy.none())
    script_later(sandbox, 2, faults.status(502, message="try later"), handle="nasa")
    first = (await read(client.following_many(["nasa"], store=path)))["nasa"]
    assert first.error is not None
    again = (await read(client.following_many(["nasa"], store=path)))["nasa"]
    assert again.from_store
    assert type(again.error) is FollowingError
    assert str(again.error) == str(first.error)
    assert len(again.accounts) == 60
    run = client.following_many(["nasa"], store=path, retry_failed=True)
    last = (await read(run))["nasa"]
    assert names(last) == truth(sandbox, "nasa")
    assert_bought_once(sandbox)


async def test_what_may_have_been_charged_is_in_the_books_of_the_store(
    make_client: MakeClient, sandbox: Sandbox, path: Path
) -> None:
    client = make_client(retry=RetryPolicy(ambiguous_retries=1, initial_backoff=0))
    sandbox.script(*[faults.drop_after(billed=True)] * 2, handle="short1")
    sandbox.script(faults.drop_after(billed=True), handle="short2")
    await read(client.following_many(["short1", "short2"], store=path))
    with FollowingStore(path) as store:
        lost, bought = store.lookups()
        summary = store.summary()
    assert (lost.state, lost.credits_charged, lost.credits_at_risk) == ("failed", 0, 2)
    assert (bought.state, bought.credits_charged, bought.credits_at_risk) == ("complete", 1, 1)
    assert (summary.credits_charged, summary.credits_at_risk) == (1, 3)
    assert sandbox.credits_charged == 4


async def test_a_list_without_a_cursor_to_go_on_is_failed(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    sandbox.script(faults.repeated_cursor(), handle="nasa")
    outcome = (await read(client.following_many(["nasa"], store=path)))["nasa"]
    assert outcome.error is not None
    with FollowingStore(path) as store:
        (lookup,) = store.lookups()
    assert (lookup.state, lookup.pages, lookup.next_cursor) == ("failed", 1, None)
    assert lookup.error == str(outcome.error)


async def test_a_list_that_turned_private_is_failed_where_it_did(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    def turn(body: dict[str, Any]) -> dict[str, Any]:
        page = {"nextCursor": None, "hasMore": False}
        body["data"].update(lookupStatus="private", accounts=[], page=page, totalAccounts=None)
        return body

    script_later(sandbox, 1, faults.reshaped(turn), handle="nasa")
    outcome = (await read(client.following_many(["nasa"], store=path)))["nasa"]
    assert isinstance(outcome.error, ProfileUnavailableError)
    sandbox.clear_script()
    run = client.following_many(["nasa"], store=path, retry_failed=True)
    assert names((await read(run))["nasa"]) == truth(sandbox, "nasa")


# --- the file


async def test_one_run_at_a_time_writes_and_readers_may_look_on(
    client: FollowingClient, path: Path
) -> None:
    async with client.following_many(GIVEN, store=path, concurrency=2) as run:
        await anext(run)
        with pytest.raises(StoreLockedError):
            await client.following_many(GIVEN, store=path).__aenter__()
        with FollowingStore(path) as store:
            assert store.summary().pages > 0
    async with client.following_many(GIVEN, store=path) as run:
        assert [outcome async for outcome in run]


@contextmanager
def write_elsewhere(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to a store with other means, so that nobody else can until this is over."""
    shell = sqlite3.connect(path, isolation_level=None)
    try:
        shell.execute("BEGIN IMMEDIATE")
        yield shell
    finally:
        shell.close()


async def begin_to_enter(client: FollowingClient, path: Path) -> asyncio.Task[Any]:
    """Enter a run on a store that was left, and wait until it is being opened."""
    lock = path.with_name(f"{path.name}.lock")
    lock.write_bytes(b"")
    entering = asyncio.ensure_future(client.following_many(SHORT, store=path).__aenter__())
    while not lock.read_bytes():  # it is locked first
        await asyncio.sleep(0.001)
    return entering


async def test_the_event_loop_goes_on_while_a_store_cannot_be_opened_yet(
    client: FollowingClient, path: Path
) -> None:
    await read(client.following_many(SHORT[:2], store=path))
    with write_elsewhere(path) as shell:
        entering = await begin_to_enter(client, path)
        page = await client.following_page("nasa")
        assert (len(page.accounts), entering.done()) == (30, False)
        shell.execute("COMMIT")
        run = await entering
    assert len([outcome async for outcome in run]) == len(SHORT)
    await run.__aexit__(None, None, None)


@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_while_a_store_is_opened_leaves_it_to_others(
    client: FollowingClient, path: Path, times: int
) -> None:
    await read(client.following_many(SHORT[:2], store=path))
    with write_elsewhere(path) as shell:
        entering = await begin_to_enter(client, path)
        for _ in range(times):
            entering.cancel()
            await asyncio.sleep(0)
        shell.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await entering
        ends = shell.execute("SELECT stopped_by, ended_at IS NULL FROM runs").fetchall()
    assert ends == [(None, 0), ("cancelled", 0)]
    run = client.following_many(SHORT, store=path)
    assert len(await read(run)) == len(SHORT)
    assert run.previous_at_risk == 0


async def test_who_is_cancelled_while_a_store_is_refused_is_cancelled(
    client: FollowingClient, path: Path
) -> None:
    async with client.following_many(SHORT, store=path):
        entering = asyncio.ensure_future(client.following_many(SHORT, store=path).__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await entering
        assert isinstance(caught.value.__cause__, StoreLockedError)


async def test_a_file_of_another_api_or_of_trimmed_answers_is_refused(
    client: FollowingClient, path: Path
) -> None:
    await read(client.following_many(SHORT[:2], store=path))
    async with FollowingClient("sfk_test_real") as real:
        with pytest.raises(StoreMismatchError, match="origin"):
            await real.following_many(SHORT, store=path).__aenter__()
    with pytest.raises(StoreMismatchError, match="trim"):
        await client.following_many(SHORT, store=path, trim=True).__aenter__()


async def test_a_sandbox_on_another_port_goes_on_with_its_file(
    make_client: MakeClient, path: Path
) -> None:
    await read(make_client().following_many(["nasa"], store=path, max_credits=2))
    async with Sandbox() as other:
        client = make_client(base_url=other.base_url)
        run = client.following_many(["nasa"], store=path)
        assert (await read(run))["nasa"].complete
        assert other.credits_charged == 2


@pytest.mark.parametrize("lost", [0, 3], ids=["first attempts", "second attempts"])
async def test_what_was_in_flight_when_a_run_died_is_told_as_at_risk(
    client: FollowingClient,
    sandbox: Sandbox,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    lost: int,
) -> None:
    script = """
        import asyncio, sys
        from tiktok_following import FollowingClient, RetryPolicy
        async def main():
            async with FollowingClient("sfk_test_sandbox", base_url=sys.argv[1],
                                       retry=RetryPolicy(initial_backoff=0.001)) as client:
                async with client.following_many(["nasa"] + ["a%d" % n for n in range(9)],
                                                 store=sys.argv[2], concurrency=3) as run:
                    async for outcome in run:
                        pass
        asyncio.run(main())
    """
    gate = Gate()
    sandbox.script(*[faults.drop_after(billed=True)] * lost, *[faults.hold(gate)] * 3)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), sandbox.base_url, str(path)
    )
    await gate.reached(3)
    child.kill()
    await child.wait()
    gate.release()
    with FollowingStore(path) as store:
        assert store.summary().credits_at_risk == lost  # written down before the second was sent
    run = client.following_many(["nasa"], store=path)
    await read(run)
    assert run.previous_at_risk == run.summary.previous_at_risk == 3
    assert "an earlier run died" in caplog.text
    with FollowingStore(path) as store:
        summary = store.summary()
    assert summary.credits_at_risk == lost + 3
    assert summary.credits_charged <= sandbox.credits_charged
    assert sandbox.credits_charged <= summary.credits_charged + summary.credits_at_risk


async def test_a_cancelled_run_writes_down_what_it_left_at_risk(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    gate = Gate()
    sandbox.script(*[faults.hold(gate) for _ in range(2)])
    async with client.following_many(SHORT, store=path, concurrency=2, drain_timeout=0.01) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached(2)
        run.stop()
        assert (await first).is_unfinished
    gate.release()
    with FollowingStore(path) as store:
        lookups = {lookup.handle: lookup for lookup in store.lookups()}
        summary = store.summary()
    for handle in SHORT[:2]:
        assert lookups[handle].state == "pending"
        assert lookups[handle].credits_at_risk == 1
    assert (summary.credits_at_risk, summary.runs) == (2, 1)
    with sqlite3.connect(path) as shell:
        assert shell.execute("SELECT stopped_by FROM runs").fetchall() == [("user",)]
    shell.close()


async def test_a_page_on_its_way_to_the_disk_when_time_is_up_is_stored_all_the_same(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    async with client.following_many(SHORT[:1], store=path, drain_timeout=0.01) as run:
        first = asyncio.ensure_future(anext(run))
        while not client.throttle.in_flight:
            await asyncio.sleep(0)
        with write_elsewhere(path):  # the commit has to wait
            while client.throttle.in_flight:
                await asyncio.sleep(0.001)
            run.stop()
            outcome = await first
    assert (outcome.complete, outcome.is_unfinished, outcome.error) == (True, False, None)
    assert names(outcome) == truth(sandbox, "short0")
    with FollowingStore(path) as store:
        (lookup,) = store.lookups()
        assert (lookup.state, lookup.credits_charged) == ("complete", 1)
        assert [account.handle for account in store.accounts()] == truth(sandbox, "short0")


def is_in(worker: asyncio.Task[None], name: str) -> bool:
    """Tell whether a worker is in a coroutine of this name."""
    coroutine: Any = worker.get_coro()
    while coroutine is not None and getattr(coroutine, "__name__", "") != name:
        coroutine = getattr(coroutine, "cr_await", None)
    return coroutine is not None


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_list_that_was_being_read_from_the_store_is_unfinished(
    client: FollowingClient, sandbox: Sandbox, path: Path, *, is_cancelled: bool
) -> None:
    await read(client.following_many(["large.profile"], store=path))
    charged = sandbox.credits_charged
    run = client.following_many(["large.profile"], store=path)
    await run.__aenter__()
    first = asyncio.ensure_future(anext(run))
    while run._crew is None or not any(is_in(worker, "_recall") for worker in run._crew._workers):
        await asyncio.sleep(0)
    if is_cancelled:
        run._crew._supervisor.cancel()
    else:
        run.stop()
    async with asyncio.timeout(15):
        outcome = await first
        with suppress(asyncio.CancelledError):
            await run.__aexit__(None, None, None)
    assert (outcome.complete, outcome.is_unfinished) == (False, True)
    assert len(outcome.accounts) < 4_000
    with FollowingStore(path) as store:
        assert [lookup.state for lookup in store.lookups()] == ["complete"]
    last = (await read(client.following_many(["large.profile"], store=path)))["large.profile"]
    assert names(last) == truth(sandbox, "large.profile")
    assert sandbox.credits_charged == charged


async def test_leaving_pages_that_come_from_the_store_is_quick(
    client: FollowingClient, path: Path
) -> None:
    await read(client.following_many(["large.profile"], store=path))
    outcomes: list[Outcome] = []
    async with asyncio.timeout(15):
        async with client.following_many(["large.profile"], store=path, concurrency=1) as run:
            async for _ in run.pages(on_outcome=outcomes.append):
                break
    (outcome,) = outcomes
    assert (outcome.complete, outcome.is_unfinished) == (False, True)


async def test_a_limit_met_where_no_cursor_leads_on_is_a_limit_each_time(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    sandbox.script(faults.repeated_cursor(), handle="nasa")
    for _ in range(2):
        run = client.following_many(["nasa"], store=path, max_pages=1)
        outcome = (await read(run))["nasa"]
        assert (outcome.error, outcome.complete, len(outcome.accounts)) == (None, False, 30)
    assert sandbox.credits_charged == 1


async def test_a_circle_is_found_across_runs(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    following = {None: "c1", "c1": "c2", "c2": "c1"}
    sandbox.script_by(lambda request: faults.raw(make_body(["ada"], following[request.cursor])))
    await read(client.following_many(["nasa"], store=path, max_pages=2))
    outcome = (await read(client.following_many(["nasa"], store=path)))["nasa"]
    assert isinstance(outcome.error, PaginationError)
    assert sandbox.requests_received == 3


async def test_a_damaged_page_is_the_trouble_of_its_handle_alone(
    client: FollowingClient, path: Path
) -> None:
    await read(client.following_many(GIVEN, store=path))
    with sqlite3.connect(path) as shell:
        shell.execute("UPDATE pages SET body = '{}' WHERE lookup_id = 3")
    shell.close()
    run = client.following_many(GIVEN, store=path)
    outcomes = await read(run)
    damaged = outcomes.pop(GIVEN[3])
    assert isinstance(damaged.error, StoreError)
    assert (damaged.complete, damaged.is_unfinished) == (False, False)
    assert all(outcome.complete for outcome in outcomes.values())
    assert run.stopped_by is None


async def test_what_a_page_put_at_risk_is_written_down_before_a_long_wait(
    make_client: MakeClient, sandbox: Sandbox, path: Path
) -> None:
    client = make_client(retry=RetryPolicy(initial_backoff=0.001, ambiguous_retries=1))
    sandbox.script(faults.drop_after(billed=True), faults.status(402), handle="short1")
    sandbox.script(*[faults.status(400)] * 99, route="balance")
    async with client.following_many(["short1"], store=path, on_insufficient_credits="wait") as run:
        first = asyncio.ensure_future(anext(run))
        while not any(request.route == "balance" for request in sandbox.requests):
            await asyncio.sleep(0.001)
        with FollowingStore(path) as store:
            assert [lookup.credits_at_risk for lookup in store.lookups()] == [1]
        run.stop()
        assert (await first).is_unfinished


@contextmanager
def small_disk(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond `most` bytes, as if the disk were full."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("keep_accounts", [True, False])
@pytest.mark.parametrize("gives_pages", [True, False])
async def test_a_full_disk_ends_the_run_and_what_is_paid_is_handed_over(
    client: FollowingClient,
    sandbox: Sandbox,
    path: Path,
    *,
    keep_accounts: bool,
    gives_pages: bool,
) -> None:
    outcomes: list[Outcome] = []
    streamed: list[str] = []
    run = client.following_many(
        ["large.profile", *SHORT], store=path, concurrency=3, keep_accounts=keep_accounts
    )
    with small_disk(600_000):
        async with run:
            if gives_pages:
                async for page in run.pages(on_outcome=outcomes.append):
                    streamed += [account.handle for account in page.accounts]
            else:
                outcomes = [outcome async for outcome in run]
    assert run.stopped_by == "store"
    assert isinstance(run.summary.error, StoreWriteError)
    with FollowingStore(path) as store:
        stored = Counter(
            (page.handle, account.handle) for page in store.pages() for account in page.accounts
        )
        assert store.summary().pages > 0
    had = Counter(
        (str(outcome.handle), account.handle)
        for outcome in outcomes
        for account in outcome.accounts
    )
    bought = Counter(charge.handle for charge in sandbox.charges)
    paid = 30 * bought.pop("large.profile") + sum(len(truth(sandbox, name)) for name in bought)
    if gives_pages:
        assert len(streamed) == paid
        assert sum(had.values()) + sum(stored.values()) == paid
    elif keep_accounts:
        assert sum(had.values()) == paid
    else:
        assert sum(had.values()) + sum(stored.values()) == paid
        assert sum(had.values()) > 0
    await read(client.following_many(["large.profile", *SHORT], store=path))
    with FollowingStore(path) as store:
        rows = [account.handle for account in store.accounts("large.profile")]
    assert rows == truth(sandbox, "large.profile")


async def test_the_end_that_a_full_disk_made_is_in_the_books(
    client: FollowingClient, path: Path
) -> None:
    run = client.following_many(["large.profile", *SHORT], store=path, concurrency=3)
    async with run:
        await anext(run)
        assert run._crew is not None
        assert run._crew._session is not None
        with suppress(StoreWriteError):  # with pages in its group it is refused as they are
            await run._crew._session._writer.commit(fill)
        rest = [outcome async for outcome in run]
    assert any(isinstance(outcome.error, StoreWriteError) for outcome in rest)
    with FollowingStore(path) as store:
        (ended,) = store.runs()
    assert (ended.stopped_by, ended.ended_at is None) == ("store", False)
    assert ended.credits_charged == run.usage.credits_charged
    async with client.following_many([], store=path) as again:
        assert again.previous_at_risk == 0


async def test_what_the_disk_refused_when_nobody_waited_any_more_is_told(
    client: FollowingClient, sandbox: Sandbox, path: Path
) -> None:
    free = threading.Event()

    def stall_and_fill(connection: sqlite3.Connection) -> None:
        free.wait(30)
        fill(connection)

    gate = Gate()
    sandbox.script(*[faults.hold(gate)] * 4)
    given = ["large.profile", *SHORT[:3]]
    run = client.following_many(given, store=path, concurrency=4, keep_accounts=False)
    task = asyncio.ensure_future(read(run))
    await gate.reached(4)
    assert run._crew is not None
    assert run._crew._session is not None
    stalled = run._crew._session._writer.submit(stall_and_fill)
    gate.release()
    while sum(is_in(worker, "_store") for worker in run._crew._workers) < 4:
        await asyncio.sleep(0.001)
    leaving = asyncio.create_task(leave_at_once(run, task))
    while any(is_in(worker, "_store") for worker in run._crew._workers):
        await asyncio.sleep(0)
    free.set()
    await leaving
    stalled.exception()  # with pages in its group it was refused as they were
    outcomes = [outcome async for outcome in run]
    lost = [outcome for outcome in outcomes if outcome.accounts]
    assert len(lost) == 4
    assert {type(outcome.error) for outcome in lost} == {StoreWriteError}
    assert all(outcome.is_unfinished for outcome in lost)
    with FollowingStore(path) as store:
        assert {(lookup.state, lookup.pages) for lookup in store.lookups()} == {("pending", 0)}
    assert {outcome.handle: len(outcome.accounts) for outcome in lost} == {
        handle: min(30, len(truth(sandbox, handle))) for handle in given
    }


def fill(connection: sqlite3.Connection) -> None:
    """Let the store grow no more: SQLite then says that the disk is full."""
    connection.execute("PRAGMA max_page_count = 1")


def remove(path: Path, *, is_replaced: bool) -> None:
    path.unlink()
    if is_replaced:
        path.write_bytes(b"")


@pytest.mark.parametrize("ending", ["", ".lock"], ids=["file", "lock"])
@pytest.mark.parametrize("is_replaced", [True, False])
async def test_a_store_that_is_removed_ends_the_run_and_what_is_paid_then_is_handed_over(
    client: FollowingClient, sandbox: Sandbox, path: Path, ending: str, *, is_replaced: bool
) -> None:
    given = ["some.page", *SHORT]
    run = client.following_many(given, store=path, concurrency=1, keep_accounts=False)
    async with run:
        first = await anext(run)
        remove(Path(f"{path}{ending}"), is_replaced=is_replaced)
        outcomes = [first, *[outcome async for outcome in run]]
    assert run.stopped_by == "store"
    assert "was removed or replaced" in str(run.summary.error)
    after = [truth(sandbox, charge.handle) for charge in sandbox.charges[first.pages :]]
    assert len(after) <= 2
    rows = sum(len(outcome.accounts) for outcome in outcomes)
    assert rows == sum(map(len, after)) > 0


@pytest.mark.parametrize("rest", [[], ["short1"]], ids=["the last word", "a new handle"])
async def test_a_disk_that_refuses_is_heard_of_by_the_end_of_the_run(
    client: FollowingClient, path: Path, rest: list[str]
) -> None:
    closed = asyncio.Event()

    async def handles() -> AsyncIterator[str]:
        yield "short0"
        await closed.wait()
        for handle in rest:
            yield handle

    async with client.following_many(handles(), store=path) as run:
        assert (await anext(run)).complete
        assert run._crew is not None
        assert run._crew._session is not None
        await run._crew._session.close()
        closed.set()
        assert [outcome async for outcome in run] == []
    assert run.stopped_by == "store"


async def test_a_failure_that_cannot_be_noted_is_in_its_outcome(
    make_client: MakeClient, sandbox: Sandbox, path: Path
) -> None:
    client = make_client(retry=RetryPolicy.none())
    gate = Gate()
    sandbox.script(faults.hold(gate, then=faults.status(400)), handle="short0")
    async with client.following_many(SHORT[:1], store=path) as run:
        first = asyncio.ensure_future(anext(run))
        await gate.reached()
        assert run._crew is not None
        assert run._crew._session is not None
        await run._crew._session.close()
        gate.release()
        assert isinstance((await first).error, BadRequestError)
