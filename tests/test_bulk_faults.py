"""What a bulk run promises where much goes wrong at once: money is never lost sight of."""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from conftest import QUICK_RETRY

from tiktok_following import (
    Account,
    BudgetExceededError,
    FollowingClient,
    FollowingStore,
    InsufficientCreditsError,
    Outcome,
    RunSummary,
    TransportError,
)
from tiktok_following.sandbox import Fault, RecordedRequest, Sandbox, faults

HANDLES = ["nasa", "boundary.duplicates", *(f"handle{number}" for number in range(68))]
LATENCY = 0.002


def choose_fault(chance: Random) -> Fault | None:
    """Let one request of seven go wrong."""
    number = chance.random()
    if number < 0.05:
        return faults.drop_after(billed=chance.random() < 0.5)
    if number < 0.08:
        return faults.status(502, billed=chance.random() < 0.5)
    if number < 0.13:
        return faults.status(503, retry_after=0.02)
    if number < 0.14:
        return chance.choice([faults.html(), faults.html(200), faults.html(502, billed=True)])
    return None


@attrs.frozen
class Ran:
    """One run, and what the sandbox knows of it."""

    outcomes: list[Outcome]
    summary: RunSummary
    requests: list[RecordedRequest]

    @property
    def truth(self) -> int:
        """The credits that it cost."""
        return sum(request.credits for request in self.requests)


class Shop:
    """A sandbox where much goes wrong, and runs over the same handles again and again."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.sandbox = sandbox
        chance = Random(seed)
        sandbox.script_by(lambda request: choose_fault(chance) if request.handle else None)
        self.truth = {
            handle: [[Account.from_dict(row) for row in page] for page in sandbox.pages(handle)]
            for handle in HANDLES
        }
        """The accounts on each page of each handle."""
        self.pages = sum(map(len, self.truth.values()))
        """How many it takes to have everything."""

    def make_client(self) -> FollowingClient:
        url = self.sandbox.base_url
        return FollowingClient(self.sandbox.api_key, base_url=url, retry=QUICK_RETRY)

    async def run(
        self, client: FollowingClient, handles: list[str] = HANDLES, **options: Any
    ) -> Ran:
        """Run to the end, and check all that holds of every run."""
        received = len(self.sandbox.requests)
        async with client.following_many(handles, **options) as run:
            outcomes = [outcome async for outcome in run]
        while self.sandbox.in_flight:
            await asyncio.sleep(0.001)
        ran = Ran(outcomes, run.summary, self.sandbox.requests[received:])
        self.check_outcomes(ran)
        self.check_books(ran, options.get("max_credits"))
        return ran

    def check_outcomes(self, ran: Ran) -> None:
        """Check that whatever was asked for has one outcome, and that it tells the truth."""
        names = [outcome.handle for outcome in ran.outcomes]
        assert len(names) == len(set(names))
        assert {request.handle for request in ran.requests} - {None} <= set(names)
        if ran.summary.stopped_by is None:
            assert len(names) == ran.summary.progress.total
        for outcome in ran.outcomes:
            truth = self.truth[outcome.handle or ""]
            assert outcome.accounts == list(chain.from_iterable(truth[: outcome.pages]))
            assert (outcome.pages == len(truth)) == outcome.complete == (outcome.error is None)
            assert (outcome.next_cursor is None) == (outcome.pages in {0, len(truth)})
            if isinstance(outcome.error, (BudgetExceededError, InsufficientCreditsError)):
                assert outcome.is_unfinished
            if outcome.pages:
                assert outcome.status == self.sandbox.profile(outcome.handle or "").status

    def check_books(self, ran: Ran, cap: int | None) -> None:
        """Check that the truth is between what was charged and what may have been."""
        usage = ran.summary.progress.usage
        assert usage.credits_charged <= ran.truth <= usage.credits_charged + usage.credits_at_risk
        assert usage.credits_reserved == 0
        assert usage.credits_charged == sum(outcome.credits for outcome in ran.outcomes)
        if cap is not None:
            assert usage.credits_charged + usage.credits_at_risk <= cap


@pytest.fixture(params=range(3))
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    async with Sandbox(page_size=10, totals=(0, 80), latency=LATENCY) as sandbox:
        yield Shop(sandbox, request.param)


async def test_a_run_with_a_store_comes_to_its_end_through_all_of_it(
    shop: Shop, tmp_path: Path
) -> None:
    """Each run is that of a new client, as when a command is given again."""
    path = tmp_path / "following.db"

    async def run(**options: Any) -> Ran:
        async with shop.make_client() as client:
            return await shop.run(client, store=path, retry_failed=True, **options)

    capped = await run(max_credits=shop.pages // 2)
    assert capped.summary.stopped_by == "budget"
    shop.sandbox.credits_left = shop.pages // 3
    poor = await run()
    assert poor.summary.stopped_by == "out_of_credits"
    assert shop.sandbox.credits_left == 0
    shop.sandbox.credits_left = 10 * shop.pages
    runs = [capped, poor, await run()]
    while runs[-1].summary.progress.failed:
        runs.append(await run())
        assert len(runs) < 10
    assert any(outcome.from_store for outcome in runs[-1].outcomes)
    check_store(shop, path, runs)


def check_store(shop: Shop, path: Path, runs: list[Ran]) -> None:
    """Check that everything is in the store, once, with what it cost."""
    usages = [ran.summary.progress.usage for ran in runs]
    with FollowingStore(path) as store:
        summary, lookups = store.summary(), list(store.lookups())
        for lookup in lookups:
            pages = [page.accounts for page in store.pages(lookup.handle)]
            assert pages == shop.truth[lookup.handle]
    assert [lookup.handle for lookup in lookups] == HANDLES
    assert summary.handles == {"complete": len(HANDLES), "pending": 0, "limited": 0, "failed": 0}
    assert summary.pages == shop.pages
    for name in ("credits_charged", "credits_at_risk"):
        counted = sum(getattr(usage, name) for usage in usages)
        assert getattr(summary, name) == counted
        assert sum(getattr(lookup, name) for lookup in lookups) == counted


async def test_a_run_without_a_store_comes_to_its_end_through_all_of_it(shop: Shop) -> None:
    """What is not complete is given again, to the same client."""
    complete: dict[str | None, Outcome] = {}

    async def run(**options: Any) -> Ran:
        left = [handle for handle in HANDLES if handle not in complete]
        ran = await shop.run(client, left, **options)
        complete.update({outcome.handle: outcome for outcome in ran.outcomes if outcome.complete})
        return ran

    async with shop.make_client() as client:
        assert (await run(max_credits=shop.pages // 2)).summary.stopped_by == "budget"
        shop.sandbox.credits_left = shop.pages // 3
        assert (await run()).summary.stopped_by == "out_of_credits"
        shop.sandbox.credits_left = 10 * shop.pages
        await client.balance()
        for _ in range(10):
            assert (await run()).summary.stopped_by is None
            if len(complete) == len(HANDLES):
                break
        usage = client.usage
    assert complete.keys() == shop.truth.keys()  # each was checked
    charged = shop.sandbox.credits_charged
    assert usage.credits_charged <= charged <= usage.credits_charged + usage.credits_at_risk


async def test_a_page_told_to_wait_and_then_out_of_budget_ends_the_run_for_the_budget(
    sandbox: Sandbox, client: FollowingClient
) -> None:
    sandbox.script(faults.status(503, retry_after=0.02), handle="first")
    handles = ["first", "empty.profile"]
    async with client.following_many(handles, max_credits=1) as run:
        unfinished = {outcome.handle: outcome.is_unfinished async for outcome in run}
    assert run.stopped_by == "budget"
    assert unfinished == {"first": True, "empty.profile": False}


async def test_a_budget_that_lost_answers_use_up_ends_the_run(
    sandbox: Sandbox, client: FollowingClient
) -> None:
    sandbox.script_by(lambda request: faults.drop_after(billed=True) if request.handle else None)
    handles = [f"handle{number}" for number in range(30)]
    async with client.following_many(handles, max_credits=8, concurrency=8) as run:
        outcomes = [outcome async for outcome in run]
    assert run.stopped_by == "budget"
    assert {type(outcome.error) for outcome in outcomes} <= {TransportError, BudgetExceededError}
    assert (run.usage.credits_charged, run.usage.credits_at_risk) == (0, 8)
    assert sandbox.credits_charged == 8
