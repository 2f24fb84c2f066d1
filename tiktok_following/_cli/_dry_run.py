"""``bulk --dry-run``: what an input holds, and what it would cost.

The law: nothing is bought without a sample being asked for, and no store is made.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import attrs

from tiktok_following._client import FollowingClient
from tiktok_following._models import FollowingPage
from tiktok_following._store import FollowingStore

from ._bulk_plan import BulkPlan
from ._census import Census, take_census
from ._estimate import FEWEST, Estimate, count_pages, estimate_pages
from ._exit import DONE, FAILED, choose_exit_code, explain
from ._handles_file import iter_handles
from ._lines import InputError, name_input
from ._messages import Messages
from ._output import Output
from ._run import open_client
from ._sample import FirstPages
from ._words import clean, count

_SEED = 0
"""The resamples are the same each time, as the sample is."""


def count_input(plan: BulkPlan, sample: int) -> Census:
    """Count what the input holds, and how much of it a run would still ask for.

    Raises:
        InputError: It cannot be read, or there is nothing in it.
        StoreError: There is a file where the store would be that is none.
    """
    entries, file = iter_handles(plan.input, plan.column), Path(plan.store)
    if file.exists() and file.stat().st_size:  # an empty one is made a store
        with FollowingStore(plan.store) as store:
            census = take_census(
                entries, sample=sample, is_wanted=lambda handle: plan.wants(store.lookup(handle))
            )
    else:
        census = take_census(entries, sample=sample)
    if not census.entries:
        raise InputError(f"there is no handle in {name_input(plan.input)}")
    return census


async def report(plan: BulkPlan, census: Census, messages: Messages) -> int:
    """Say what the input holds and the key has; buy the sample and say what all would cost."""
    output = Output()
    async with open_client(
        sandbox=plan.sandbox, max_credits=plan.max_credits, max_concurrency=plan.concurrency
    ) as client:
        balance = (await client.balance()).balance
        for line in _describe_census(plan, census, balance):
            output.write_text(f"{clean(line)}\n")
        if not census.sample:
            return DONE
        return await _estimate(plan, census, client, output, messages)


def _describe_census(plan: BulkPlan, census: Census, balance: int) -> Iterator[str]:
    duplicates = census.entries - census.invalid - census.distinct
    yield _label("entries", f"{census.entries:,}")
    yield _label("handles", f"{census.distinct:,}, and {count(duplicates, 'duplicate')}")
    yield _label("invalid", f"{census.invalid:,}")
    yield from (f"  {problem}" for problem in census.problems)
    if census.invalid > len(census.problems):
        yield f"  and {census.invalid - len(census.problems):,} more"
    settled = census.distinct - census.wanted
    yield _label("settled in the store", f"{settled:,}")
    yield _label("to be asked for", f"{census.wanted:,}")
    where = " (sandbox: no real credits)" if plan.sandbox else ""
    yield _label("balance", count(balance, "credit") + where)


def _label(name: str, value: str) -> str:
    return f"{name + ':':<22}{value}"


async def _estimate(
    plan: BulkPlan, census: Census, client: FollowingClient, output: Output, messages: Messages
) -> int:
    """Buy the sample, and say what it cost and what it tells; return the exit code."""
    number = len(census.sample)
    messages.say(
        f"buying the first pages of {count(number, 'handle')} for about {count(number, 'credit')}; "
        "they are not stored"
    )
    first = FirstPages(client=client, messages=messages, trim=plan.trim)
    try:
        await first.buy(census.sample)
    finally:
        usage = client.usage
        risk = f", {usage.credits_at_risk} at risk" if usage.credits_at_risk else ""
        output.write_text(
            _label("sample", f"{count(len(first.pages), 'first page')}, ")
            + f"{count(usage.credits_charged, 'credit')} charged{risk}\n"
        )
    if first.fatal is not None:
        messages.say(explain(first.fatal, verbose=messages.verbose))
        return choose_exit_code(first.fatal)
    for line in _describe_estimate(plan, census, first.pages):
        output.write_text(line + "\n")
    return DONE if len(first.pages) == number else FAILED


def _describe_estimate(plan: BulkPlan, census: Census, pages: list[FollowingPage]) -> Iterator[str]:
    counted = [
        count_pages(page, limit=plan.limit_per_handle, max_pages=plan.max_pages) for page in pages
    ]
    known = [number for number in counted if number is not None]
    if len(known) < len(pages):
        yield _label("of unknown length", f"{len(pages) - len(known)}, left out")
    if not known:
        yield _label("estimated cost", "unknown")
        return
    mean = sum(known) / len(known)
    spread = f"{min(known):,} to {max(known):,}"
    yield _label("pages of a handle", f"{mean:.3g} on average, {spread}")
    price = sum(page.credits_charged for page in pages) / len(pages)
    estimate = estimate_pages(known, census.wanted, Random(_SEED))  # noqa: S311 - no secret # nosec B311
    if plan.max_pages is not None and estimate.high is not None:
        most = census.wanted * plan.max_pages  # what the options allow, the sample cannot exceed
        estimate = attrs.evolve(estimate, high=min(estimate.high, most))
    yield _label("estimated cost", f"{round(estimate.likely * price):,} credits")
    yield _label("95 % interval", _describe_interval(estimate, price, len(known)))


def _describe_interval(estimate: Estimate, price: float, number: int) -> str:
    if estimate.low is None:
        few = f"fewer than {FEWEST} lists" if number < FEWEST else "lists that are all as long"
        return f"none: {few} cannot tell; take a larger sample"
    low = f"{round(estimate.low * price):,}"
    if estimate.low == estimate.high:
        return f"{low} to {low} credits: all were asked"
    if estimate.high is None:
        return f"from {low} on: a few lists are most of the sample; take a larger one"
    return f"{low} to {round(estimate.high * price):,} credits, by studentized bootstrap"
