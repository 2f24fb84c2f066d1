"""What a user writes, and what a type checker must know of it; checked, never run."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, assert_type

from tiktok_following import (
    Account,
    AttemptFinished,
    Balance,
    Event,
    Following,
    FollowingClient,
    FollowingError,
    FollowingPage,
    FollowingPager,
    FollowingRun,
    FollowingStore,
    Identity,
    Lookup,
    LookupState,
    LookupStatus,
    Outcome,
    RequestError,
    RunEnd,
    RunProgress,
    RunStoppedError,
    RunSummary,
    Status,
    StoppedBy,
    StoreRun,
    StoreSummary,
    ThrottleState,
    Usage,
    WaitsFor,
    export,
    sync,
)
from tiktok_following.sandbox import Sandbox


def listen(event: Event) -> None:
    if isinstance(event, AttemptFinished):
        assert_type(event, AttemptFinished)


FollowingClient(on_event=listen)
sync.FollowingClient(on_event=listen)


async def read_one(client: FollowingClient) -> None:
    assert_type(await client.following_page("nasa", cursor=None, trim=True), FollowingPage)
    pager = client.following("nasa", limit=3, max_credits=None)
    assert_type(pager, FollowingPager)
    async for account in pager:
        assert_type(account, Account)
        assert_type(account.handle, str)
        assert_type(account.metrics.followers, int)
        assert_type(account.region, str | None)
    async for page in pager.pages():
        assert_type(page, FollowingPage)
    result = await pager.collect()
    assert_type(result, Following)
    assert_type(result.raise_for_status(), Following)
    assert_type(result.accounts, list[Account])
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(Following.from_dict({}), Following)
    assert_type(pager.status, Status | None)
    if pager.status == LookupStatus.FOUND:
        assert_type(pager.total, int | None)
    assert_type(pager.cursor, str | None)
    assert_type(await client.balance(), Balance)
    assert_type(await client.whoami(), Identity)
    assert_type(await client.health(), bool)
    assert_type(client.usage, Usage)
    assert_type(client.throttle, ThrottleState)
    assert_type(client.with_options(deadline=None), FollowingClient)


async def read_many(client: FollowingClient, more: AsyncIterator[str]) -> None:
    client.following_many(more)
    async with client.following_many(("nasa", "esa"), store="a.db", on_progress=print) as run:
        assert_type(run, FollowingRun)
        async for outcome in run:
            assert_type(outcome, Outcome)
            assert_type(outcome.unwrap(), Outcome)
            assert_type(outcome.handle, str | None)
            assert_type(outcome.error, FollowingError | None)
            if isinstance(outcome.error, RequestError):
                assert_type(outcome.error.may_be_charged, bool)
            if isinstance(outcome.error, RunStoppedError):
                assert_type(outcome.error.reason, StoppedBy)
        async for page in run.pages():
            assert_type(page, FollowingPage)
    assert_type(run.stopped_by, StoppedBy | None)
    assert_type(run.progress, RunProgress)
    assert_type(run.progress.eta, float | None)
    assert_type(run.progress.waits_for, WaitsFor | None)
    assert_type(run.summary, RunSummary)


def read_store() -> None:
    with FollowingStore("a.db") as store:
        assert_type(store.summary(), StoreSummary)
        for lookup in store.lookups():
            assert_type(lookup, Lookup)
            assert_type(lookup.state, LookupState)
            if lookup.state == "failed":
                assert_type(lookup.error, str | None)
        for run in store.runs():
            assert_type(run, StoreRun)
            assert_type(run.stopped_by, RunEnd | None)
        assert_type(store.accounts("nasa"), Iterator[Account])
        assert_type(store.edges(), Iterator[tuple[str, str]])
        assert_type(export(store, "a.csv", edges=True), int)


def read_without_a_loop() -> None:
    with sync.FollowingClient(max_credits=5, deadline=None) as client:
        assert_type(client, sync.FollowingClient)
        assert_type(client.following_page("nasa", cursor="1"), FollowingPage)
        assert_type(client.balance(), Balance)
        assert_type(client.whoami(), Identity)
        assert_type(client.health(), bool)
        assert_type(client.usage, Usage)
        assert_type(client.with_options(max_credits=1), sync.FollowingClient)
        pager = client.following("nasa", raise_for_status=True)
        assert_type(pager, sync.FollowingPager)
        for account in pager:
            assert_type(account, Account)
        assert_type(pager.collect(), Following)
        assert_type(pager.pages(), Iterator[FollowingPage])
        with client.following_many((text for text in "ab"), store="a.db") as run:
            assert_type(run, sync.FollowingRun)
            for outcome in run:
                assert_type(outcome, Outcome)
            assert_type(run.pages(), Iterator[FollowingPage])
        assert_type(run.stopped_by, StoppedBy | None)


async def test_it(
    following_sandbox: Sandbox, following_client: Callable[..., FollowingClient]
) -> None:
    async with following_client(max_credits=5) as client, Sandbox(page_size=3) as sandbox:
        assert_type(client, FollowingClient)
        assert_type(sandbox.credits_charged + following_sandbox.credits_charged, int)
