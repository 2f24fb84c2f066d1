"""Every fault, billed and not, on every road: a page, a list, a run with a store.

What must always hold: the error, the attempts and the money are those of the table; charged ≤ the
server's truth ≤ charged + at risk; nothing is left behind, and the next call works.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from conftest import QUICK_RETRY
from doors import CLOSED, Door, open_door
from fault_table import LOST, ROWS, Row

from tiktok_following import (
    Account,
    FollowingClient,
    FollowingStore,
    RequestError,
    ResponseDecodeError,
    RetryPolicy,
    TransportError,
)
from tiktok_following.sandbox import Fault, RecordedRequest, Sandbox

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PAGE = 50
HANDLES = ["nasa", "empty.profile"]
MANY = 50
CASES = [
    pytest.param(row, billed, id=f"{row}{', billed' if billed else ''}")
    for row in ROWS
    for billed in row.truths
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One for all, on a thread of its own: what is left on the test's loop is the client's."""
    with Sandbox(page_size=PAGE) as running:
        yield running


def count_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for what another thread, or the other end, is about to do.

    Not so long that aiohttp closes what is idle by itself.
    """
    async with asyncio.timeout(10):
        while not is_true():
            await asyncio.sleep(0.001)


@attrs.define
class Meeting:
    """A client that meets a fault."""

    row: Row
    billed: bool
    sandbox: Sandbox
    door: Door
    client: FollowingClient
    descriptors: int
    """How many were open before."""
    seen: int = attrs.field(init=False)
    charged: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.seen, self.charged = len(self.sandbox.requests), self.sandbox.credits_charged

    @property
    def reads(self) -> int:
        """Pages that were read before the fault, on a list."""
        return int(self.row.make is not None)

    def script(self, *, first: bool, handle: str = "nasa") -> None:
        """Let it meet the fault on the first page of a list, or on the second."""
        make = self.row.make
        left = [] if make is None else [make(self.billed) for _ in range(self.row.attempts)]

        def choose(request: RecordedRequest) -> Fault | None:
            is_meant = request.handle == handle and (request.cursor is None) == first
            return left.pop() if is_meant and left else None

        self.sandbox.script_by(choose)

    def check_error(self, error: BaseException | None, *, first: bool) -> None:
        assert type(error) is self.row.error
        assert isinstance(error, RequestError)
        assert (error.handle, error.cursor is None) == ("nasa", first)
        assert error.attempts == self.row.attempts
        tells = self.row.tells_price and self.billed
        assert error.may_be_charged == (tells or self.row.at_risk > 0)
        assert (self.client.usage.seconds_waited > 0) == (error.attempts > 1)
        assert error.__cause__ is not None or not isinstance(error, TransportError)

    def check_books(self, pages: int) -> None:
        """Compare what the client wrote down with the server's books."""
        row, usage = self.row, self.client.usage
        truth = self.sandbox.credits_charged - self.charged
        faults = 0 if row.make is None else row.attempts
        assert len(self.sandbox.requests) - self.seen == faults + pages
        assert truth == pages + faults * self.billed
        assert usage.credits_charged == pages + faults * (row.tells_price and self.billed)
        assert usage.credits_at_risk == row.at_risk
        assert usage.credits_charged <= truth <= usage.credits_charged + usage.credits_at_risk
        # On a slow machine a connection may come too late once more, at no cost.
        assert usage.attempts == row.attempts + pages or row.make is None

    async def check_rest(self, *, is_kept: bool) -> None:
        """See that nothing is left but a connection to be used again, which has two ends."""
        state = self.client.throttle
        assert (state.in_flight, state.waiting) == (0, 0)
        assert self.client.usage.credits_reserved == 0
        if self.door.session is None and self.row.make is not None:
            await until(lambda: count_descriptors() == self.descriptors + 2 * is_kept)


@asynccontextmanager
async def meet(
    row: Row, sandbox: Sandbox, *, billed: bool, **options: Any
) -> AsyncIterator[Meeting]:
    """Meet a fault, and see that nothing is left when the client is closed."""
    tasks, descriptors = asyncio.all_tasks(), count_descriptors()
    port = int(sandbox.base_url.rpartition(":")[2])
    async with CLOSED.get(row.name, open_door)(port) as door:
        options = {"retry": QUICK_RETRY, **row.options, **options}
        async with FollowingClient(
            sandbox.api_key, base_url=door.base_url, session=door.session, **options
        ) as client:
            yield Meeting(row, billed, sandbox, door, client, descriptors)
    sandbox.clear_script()
    await until(lambda: count_descriptors() == descriptors)
    await until(lambda: asyncio.all_tasks() == tasks)


def tell_truth(sandbox: Sandbox, pages: int) -> list[Account]:
    return [Account.from_dict(row) for page in sandbox.pages("nasa")[:pages] for row in page]


@pytest.mark.parametrize(("row", "billed"), CASES)
async def test_a_page(sandbox: Sandbox, row: Row, billed: bool) -> None:
    async with meet(row, sandbox, billed=billed) as meeting:
        client = meeting.client
        meeting.script(first=True)
        with pytest.raises(row.error) as caught:
            await client.following_page("nasa")
        meeting.check_error(caught.value, first=True)
        meeting.check_books(0)
        usage = client.usage
        assert (usage.requests, usage.retries) == (1, row.attempts - 1)
        assert usage.outcomes == {row.error.__name__: 1}
        await meeting.check_rest(is_kept=row.is_kept)
        await meeting.door.open()
        assert (await client.following_page("nasa")).accounts == tell_truth(sandbox, 1)
        meeting.check_books(1)
        await meeting.check_rest(is_kept=True)


@pytest.mark.parametrize(("row", "billed"), CASES)
async def test_a_list(sandbox: Sandbox, row: Row, billed: bool) -> None:
    async with meet(row, sandbox, billed=billed) as meeting:
        meeting.script(first=False)
        pager = meeting.client.following("nasa")
        with pytest.raises(row.error) as caught:
            await pager.collect()
        meeting.check_error(caught.value, first=not meeting.reads)
        meeting.check_books(meeting.reads)
        await meeting.check_rest(is_kept=row.is_kept)
        partial = caught.value.partial
        assert partial is not None
        assert partial.accounts == tell_truth(sandbox, meeting.reads)
        await meeting.door.open()
        result = await pager.collect()
        assert (result.complete, result.accounts) == (True, tell_truth(sandbox, 2))
        meeting.check_books(2)
        await meeting.check_rest(is_kept=True)


@pytest.mark.parametrize(("row", "billed"), CASES)
async def test_a_run_with_a_store(sandbox: Sandbox, row: Row, billed: bool, tmp_path: Path) -> None:
    path = tmp_path / "following.db"
    async with meet(row, sandbox, billed=billed) as meeting:
        meeting.script(first=False)
        async with meeting.client.following_many(["nasa"], store=path) as run:
            (outcome,) = [outcome async for outcome in run]
        meeting.check_error(outcome.error, first=not meeting.reads)
        assert (run.stopped_by, outcome.is_unfinished) == (row.stops, row.stops is not None)
        assert (outcome.pages, outcome.accounts) == (
            meeting.reads,
            tell_truth(sandbox, meeting.reads),
        )
        meeting.check_books(meeting.reads)
        check_store(path, meeting)
        await meeting.check_rest(is_kept=row.is_kept)
        await meeting.door.open()
        async with meeting.client.following_many(HANDLES, store=path, retry_failed=True) as run:
            outcomes = {outcome.handle: outcome async for outcome in run}
        assert run.stopped_by is None
        assert outcomes["nasa"].accounts == tell_truth(sandbox, 2)
        assert [outcomes[handle].complete for handle in HANDLES] == [True, True]
        meeting.check_books(3)
        check_store(path, meeting)


def check_store(path: Path, meeting: Meeting) -> None:
    """See that the store says of the money what the client says."""
    with FollowingStore(path) as store:
        summary = store.summary()
    usage = meeting.client.usage
    assert summary.credits_charged == usage.credits_charged
    assert summary.credits_at_risk == usage.credits_at_risk


@pytest.mark.parametrize("row", LOST, ids=str)
async def test_a_fault_that_passes_costs_one_credit_at_risk(sandbox: Sandbox, row: Row) -> None:
    assert row.make is not None
    async with meet(row, sandbox, billed=False) as meeting:
        sandbox.script(row.make(False))
        page = await meeting.client.following_page("nasa")
        usage = meeting.client.usage
        assert len(page.accounts) == PAGE
        assert (usage.credits_charged, usage.credits_at_risk, usage.attempts) == (1, 1, 2)
        await meeting.check_rest(is_kept=True)


@pytest.mark.parametrize("row", LOST, ids=str)
async def test_ambiguous_retries_can_be_turned_off(sandbox: Sandbox, row: Row) -> None:
    assert row.make is not None
    async with meet(row, sandbox, billed=False, retry=RetryPolicy(ambiguous_retries=0)) as meeting:
        sandbox.script(row.make(False))
        with pytest.raises(row.error):
            await meeting.client.following_page("nasa")
        assert meeting.client.usage.credits_at_risk == 1
        assert len(sandbox.requests) - meeting.seen == 1


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.make is not None and not row.is_alone], ids=str
)
async def test_the_books_are_exact_among_fifty_tasks(sandbox: Sandbox, row: Row) -> None:
    def choose(request: RecordedRequest) -> Fault | None:
        assert row.make is not None
        is_billed = row.truths[request.number // 2 % len(row.truths)]
        return row.make(is_billed) if request.number % 2 else None

    async with meet(row, sandbox, billed=False, max_concurrency=MANY) as meeting:
        client = meeting.client
        sandbox.script_by(choose)
        results = await asyncio.gather(
            *(client.following_page(f"user{number}") for number in range(MANY)),
            return_exceptions=True,
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        assert {type(error) for error in failed} == {row.error}
        usage, served = client.usage, MANY - len(failed)
        told = sum(
            error.credits_charged or 0 for error in failed if isinstance(error, ResponseDecodeError)
        )
        truth = sandbox.credits_charged - meeting.charged
        assert usage.attempts == len(sandbox.requests) - meeting.seen
        assert usage.credits_charged == served + told
        assert usage.credits_at_risk == (usage.attempts - served) * (row.at_risk // row.attempts)
        assert usage.credits_charged <= truth <= usage.credits_charged + usage.credits_at_risk
        await until(lambda: client.throttle.in_flight == 0)


def read_promises() -> dict[str, list[str]]:
    """Read the README's table: what it says of each fault."""
    text = README.partition("### Every fault")[2].partition("\n#")[0]
    lines = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if "|" in line]
    return {name: promises for names, *promises in lines[2:] for name in names.split(" · ")}


def promise(row: Row) -> list[str]:
    at_risk = "as told" if row.tells_price else str(row.at_risk)
    connection = "none" if row.make is None else "kept" if row.is_kept else "closed"
    run = "goes on" if row.stops is None else f"`{row.stops}`"
    return [f"`{row.error.__name__}`", str(row.attempts), at_risk, connection, run]


def test_the_readme_promises_what_is_tested_here() -> None:
    assert read_promises() == {row.name: promise(row) for row in ROWS}
