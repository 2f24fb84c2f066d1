"""What the store promises: what was paid for stays, is bought once, and is read back as it was."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from bodies import EXAMPLES, make_body, read_body
from hypothesis import given, settings, strategies as st
from speed import compare

from tiktok_following import (
    FollowingPage,
    FollowingStore,
    InvalidHandleError,
    Lookup,
    StoreError,
    StoreLockedError,
    StoreMismatchError,
    StoreRun,
    StoreSummary,
    StoreVersionError,
    StoreWriteError,
    Usage,
)
from tiktok_following._session import StoreSession, open_store

ORIGIN = "https://api.test"
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BODY = make_body()
PAGE = read_body(BODY)
USAGE = Usage(credits_charged=1, credits_at_risk=2)


def open_session(path: Path, **options: Any) -> StoreSession:
    return open_store(path, **{"origin": ORIGIN, "trim": False, "concurrency": 4, **options})


@asynccontextmanager
async def run(path: Path, **options: Any) -> AsyncIterator[StoreSession]:
    """Open a store for a run that ends well."""
    session = open_session(path, **options)
    try:
        yield session
        await session.finish(stopped_by=None, usage=USAGE)
    finally:
        await session.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "following.db"


async def claim_one(session: StoreSession, handle: str = "nasa", **options: Any) -> Lookup:
    (lookup,) = await session.claim([handle], **options)
    assert lookup is not None
    return lookup


async def store_page(
    session: StoreSession, index: int, state: str = "pending", body: bytes = BODY
) -> FollowingPage:
    page = read_body(body)
    await session.commit_page(index, page, body, state=state, next_cursor=page.next_cursor)
    return page


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask the file with nothing but SQLite."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def summarize(path: Path) -> StoreSummary:
    with FollowingStore(path) as store:
        return store.summary()


# Reading back


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_a_page_comes_back_as_it_was(path: Path, name: str) -> None:
    body = orjson.dumps({**EXAMPLES[name], "unknown": {"key": [1, None]}})
    page = read_body(body, "Ada", "17")
    async with run(path) as session:
        index = (await claim_one(session, "Ada")).index
        await session.commit_page(index, page, body, state="complete", next_cursor=None)
        assert [p.accounts for p in session.pages(index)] == [page.accounts]
    with FollowingStore(path) as store:
        assert list(store.pages()) == [page]
        assert list(store.accounts("@ADA")) == page.accounts
    assert query(path, "SELECT body FROM pages") == [(body.decode(),)]


async def test_the_runs_are_told_in_their_order(path: Path) -> None:
    async with run(path, concurrency=4):
        pass
    died = open_session(path, concurrency=8)
    await died.close()
    session = open_session(path, concurrency=16)
    with FollowingStore(path) as store:
        first, second, third = store.runs()
    await session.close()
    assert (first.concurrency, second.concurrency, third.concurrency) == (4, 8, 16)
    assert first.ended_at is not None
    assert first.started_at <= first.ended_at <= second.started_at <= third.started_at
    assert first.started_at.tzinfo is UTC
    assert (first.credits_charged, first.credits_at_risk, first.stopped_by) == (1, 2, None)
    assert (second.ended_at, second.stopped_by) == (None, "crash")
    assert (third.ended_at, third.stopped_by) == (None, None)
    assert StoreRun.from_dict(first.to_dict()) == first
    assert StoreRun.from_dict(second.to_dict()) == second
    with pytest.raises(ValueError, match=r'^\$\.stoppedBy: expected a reason .*, got "boredom"$'):
        StoreRun.from_dict({**first.to_dict(), "stoppedBy": "boredom"})


async def test_a_body_is_kept_to_the_letter(path: Path) -> None:
    body = BODY.replace(b'"data"', b' \n"data"').replace(
        b'"ada"', '"Ж☕\\u0000\U0001f680"'.encode()
    )
    async with run(path) as session:
        await session.commit_page(
            (await claim_one(session)).index,
            read_body(body),
            body,
            state="complete",
            next_cursor=None,
        )
    assert query(path, "SELECT body, typeof(body) FROM pages") == [(body.decode(), "text")]
    with FollowingStore(path) as store:
        assert [account.handle for account in store.accounts()] == ["Ж☕\0\U0001f680", "bob"]


async def test_lookups_come_in_the_order_they_were_given(path: Path) -> None:
    handles = [f"h{number * 7919 % 2500}" for number in range(2500)]
    async with run(path) as session:
        for start in range(0, 2500, 100):
            await session.claim(handles[start : start + 100])
    with FollowingStore(path) as store:
        lookups = list(store.lookups())
    assert [lookup.handle for lookup in lookups] == handles
    assert [lookup.index for lookup in lookups] == list(range(2500))


async def test_pages_come_by_handle_and_number(path: Path) -> None:
    async with run(path) as session:
        await session.claim(["a", "b", "c"])
        for number in range(40):
            for index in (2, 0):
                await store_page(session, index, body=make_body([f"{index}-{number}"]))
    with FollowingStore(path) as store:
        expected = [f"{index}-{number}" for index in (0, 2) for number in range(40)]
        assert [account.handle for account in store.accounts()] == expected
        assert [page.handle for page in store.pages()] == ["a"] * 40 + ["c"] * 40
        assert [account.handle for account in store.accounts("C")] == expected[40:]
        assert list(store.pages("b")) == []


async def test_what_the_store_does_not_have_is_empty(path: Path) -> None:
    async with run(path):
        pass
    with FollowingStore(path) as store:
        assert store.lookup("nasa") is None
        assert list(store.pages("nasa")) == []
        assert list(store.accounts("nasa")) == []
        assert list(store.lookups()) == []
        with pytest.raises(InvalidHandleError):
            store.pages("no handle")


async def test_a_lookup_tells_how_far_it_is(path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    async with run(path) as session:
        index = (await claim_one(session, "NaSa")).index
        page = await store_page(session, index)
        await session.commit_page(
            index, page, BODY, state="limited", next_cursor="c2", credits_charged=3, at_risk=2
        )
    with FollowingStore(path) as store:
        (lookup,) = store.lookups()
        assert store.lookup("https://www.tiktok.com/@nasa") == lookup
    assert before <= lookup.updated_at <= datetime.now(UTC)
    assert lookup.updated_at.utcoffset() == UTC.utcoffset(None)
    assert lookup == Lookup(
        index=0,
        handle="NaSa",
        state="limited",
        status=page.status,
        total=page.total,
        pages=2,
        accounts=4,
        credits_charged=4,
        credits_at_risk=2,
        next_cursor="c2",
        updated_at=lookup.updated_at,
    )
    assert Lookup.from_dict(lookup.to_dict()) == lookup
    with pytest.raises(ValueError, match=r'^\$\.state: expected a state of a lookup, got "done"$'):
        Lookup.from_dict({**lookup.to_dict(), "state": "done"})


async def test_the_summary_adds_up(path: Path) -> None:
    async with run(path) as session:
        await session.claim(["a", "b", "c", "d", "e"])
        await store_page(session, 0, "complete")
        await store_page(session, 1, "limited")
        await session.fail(2, state="failed", error="it broke")
    async with run(path) as session:
        await store_page(session, 1, "limited")
    summary = summarize(path)
    assert summary == StoreSummary(
        handles={"pending": 2, "complete": 1, "limited": 1, "failed": 1},
        pages=3,
        accounts=6,
        credits_charged=2,
        credits_at_risk=4,
        runs=2,
        origin=ORIGIN,
        trim=False,
        created_at=summary.created_at,
    )
    assert summary.created_at.tzinfo is UTC
    assert StoreSummary.from_dict(summary.to_dict()) == summary


async def test_edges_are_each_pair_once(path: Path) -> None:
    async with run(path) as session:
        await session.claim(["a", "b"])
        await store_page(session, 0, body=make_body(["x", "y"]))
        await store_page(session, 0, body=make_body(["y", "z"]))
        await store_page(session, 1, body=make_body(["y"]))
    pairs = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "y")]
    with FollowingStore(path) as store:
        assert list(store.edges()) == pairs
    assert query(path, "SELECT * FROM edges ORDER BY 1, 2") == pairs


async def test_a_damaged_page_is_named(path: Path) -> None:
    async with run(path) as session:
        index = (await claim_one(session)).index
        await store_page(session, index)
        await store_page(session, index)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE pages SET body = '{}' WHERE number = 2")
    connection.commit()
    connection.close()
    with FollowingStore(path) as store, pytest.raises(StoreError) as caught:
        list(store.pages())
    assert caught.value.message.startswith("page 2 of 'nasa' is damaged: $.data")
    assert caught.value.path == str(path)
    with FollowingStore(path) as store, pytest.raises(StoreError) as caught:
        list(store.pages("nasa"))
    assert caught.value.path == str(path)


async def test_reading_can_change_nothing(path: Path) -> None:
    async with run(path) as session:
        await store_page(session, (await claim_one(session)).index)
    with (
        FollowingStore(path) as store,
        pytest.raises(sqlite3.OperationalError, match="readonly database"),
    ):
        store._connection.execute("DELETE FROM pages")


async def test_a_closed_store_says_so(path: Path) -> None:
    async with run(path):
        pass
    store = FollowingStore(str(path))
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed database") as caught:
        store.summary()
    assert caught.value.path == str(path)
    with pytest.raises(StoreError, match="closed database") as caught:
        list(store.pages())
    assert caught.value.path == str(path)


async def test_the_summary_of_a_store_without_lookups_counts_none(path: Path) -> None:
    async with run(path, trim=True):
        pass
    summary = summarize(path)
    assert summary.trim is True
    assert summary.handles == {"pending": 0, "complete": 0, "limited": 0, "failed": 0}


# With nothing but SQLite


async def test_the_file_is_of_use_to_the_plain_shell(path: Path) -> None:
    async with run(path, options={"max_credits": 5}) as session:
        index = (await claim_one(session, "NASA")).index
        for body in (make_body(["ada", "bob"]), make_body(["bob"], None)):
            await store_page(session, index, "complete", body)
    columns = "source_handle, page, row, handle, verified, followers, created_at"
    account = PAGE.accounts[0]
    assert query(path, f"SELECT {columns} FROM accounts") == [
        ("NASA", page, row, handle, account.verified, account.metrics.followers, created)
        for page, row, handle in [(1, 0, "ada"), (1, 1, "bob"), (2, 0, "bob")]
        for created in ["2019-06-03T08:21:44.318Z"]
    ]
    ((json,),) = query(path, "SELECT json FROM accounts WHERE handle = 'ada'")
    assert orjson.loads(json) == account.to_dict()
    (ran,) = query(
        path, "SELECT stopped_by, credits_charged, options, ended_at > started_at FROM runs"
    )
    assert ran == (None, 1, '{"max_credits": 5}', 1)
    sql = "SELECT key, state, julianday(updated_at) > 2460000 FROM lookups"
    assert query(path, sql) == [("nasa", "complete", 1)]
    sql = "SELECT number, cursor, next_cursor, credits, request_id FROM pages"
    assert query(path, sql) == [
        (1, None, "c1", 1, PAGE.request_id),
        (2, None, None, 1, PAGE.request_id),
    ]
    sql = "SELECT key, value FROM meta WHERE key IN ('origin', 'trim')"
    assert query(path, sql) == [("origin", ORIGIN), ("trim", 0)]
    assert query(path, "PRAGMA user_version") == [(1,)]


async def test_the_readme_tells_the_tables_as_they_are(path: Path) -> None:
    async with run(path) as session:
        await store_page(session, (await claim_one(session)).index)
    statements, _ = re.findall(r"^```sql\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for statement in statements.strip().splitlines():
        assert len(query(path, statement)) == 2
    for table in ("pages", "lookups", "runs"):
        (told,) = re.findall(rf"^\| `{table}` \| (.*) \|$", README, re.MULTILINE)
        columns = [name for _, name, *_ in query(path, f"PRAGMA table_info({table})")]
        assert set(columns) - {"id"} <= set(re.findall(r"`(\w+)`", told))


async def test_a_trimmed_row_has_empty_columns(path: Path) -> None:
    row = {
        "handle": "ada",
        "displayName": None,
        "bio": None,
        "avatarUrl": None,
        "profileUrl": "https://www.tiktok.com/@ada",
        "verified": False,
        "metrics": {"followers": 1, "following": 2, "posts": 3},
    }
    async with run(path, trim=True) as session:
        body = make_body(accounts=[row])
        await store_page(session, (await claim_one(session)).index, body=body)
    sql = "SELECT handle, bio, sec_uid, region, created_at FROM accounts"
    assert query(path, sql) == [("ada", None, None, None, None)]


# Going on


async def test_a_claim_tells_where_to_go_on(path: Path) -> None:
    names = ["p", "c", "l", "f"]
    async with run(path) as session:
        await session.claim(names)
        for index, state in enumerate(["pending", "complete", "limited"]):
            await store_page(session, index, state)
        await session.fail(3, state="failed", error="it broke", at_risk=1)
    async with run(path) as session:
        claimed = await session.claim(["new", *(name.upper() for name in names)], limit=2)
    told = [
        (lookup.handle, lookup.state, lookup.pages, lookup.next_cursor, lookup.error)
        for lookup in claimed
        if lookup
    ]
    assert told == [
        ("new", "pending", 0, None, None),
        ("p", "pending", 1, "c1", None),
        ("c", "complete", 1, "c1", None),
        ("l", "limited", 1, "c1", None),
        ("f", "failed", 0, None, "it broke"),
    ]


async def test_a_handle_is_claimed_once_in_a_run(path: Path) -> None:
    async with run(path) as session:
        first = await session.claim(["a", "B", "A", "b", "c"])
        second = await session.claim(["C", "d"])
    assert [lookup and lookup.handle for lookup in first] == ["a", "B", None, None, "c"]
    assert [lookup and lookup.handle for lookup in second] == [None, "d"]
    assert query(path, "SELECT key, handle FROM lookups") == [
        ("a", "a"),
        ("b", "B"),
        ("c", "c"),
        ("d", "d"),
    ]


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({}, "pending"),
        ({"limit": 2}, "limited"),
        ({"limit": 3}, "pending"),
        ({"max_pages": 1}, "limited"),
        ({"max_pages": 2}, "pending"),
        ({"limit": 2, "max_pages": 2}, "limited"),
        ({"limit": 3, "max_pages": 1}, "limited"),
        ({"limit": 10**30, "max_pages": 10**30}, "pending"),
    ],
)
async def test_a_limited_lookup_goes_on_when_the_limit_is_higher(
    path: Path, options: dict[str, Any], state: str
) -> None:
    async with run(path) as session:
        await store_page(session, (await claim_one(session)).index, "limited")
    async with run(path) as session:
        lookup = await claim_one(session, **options)
    assert (lookup.state, lookup.accounts, lookup.next_cursor) == (state, 2, "c1")


async def test_a_failed_lookup_goes_on_when_asked_to(path: Path) -> None:
    async with run(path) as session:
        index = (await claim_one(session)).index
        await store_page(session, index)
        await session.fail(index, state="failed", error="odd \ud800", credits_charged=1, at_risk=1)
    async with run(path) as session:
        assert (await claim_one(session)).state == "failed"
    async with run(path) as session:
        lookup = await claim_one(session, retry_failed=True)
        assert (lookup.state, lookup.next_cursor, lookup.error) == ("pending", "c1", "odd ?")
        assert (lookup.credits_charged, lookup.credits_at_risk) == (2, 1)
        await store_page(session, lookup.index, "complete")
    with FollowingStore(path) as store:
        (lookup,) = store.lookups()
    assert (lookup.state, lookup.error, lookup.pages) == ("complete", None, 2)


async def test_an_order_once_given_stays(path: Path) -> None:
    async with run(path) as session:
        await session.claim(["b", "a"])
    async with run(path) as session:
        assert [lookup and lookup.index for lookup in await session.claim(["a", "c", "b"])] == [
            1,
            2,
            0,
        ]
    with FollowingStore(path) as store:
        assert [lookup.handle for lookup in store.lookups()] == ["b", "a", "c"]


async def test_huge_numbers_of_a_server_do_no_harm(path: Path) -> None:
    body = orjson.loads(make_body(totalAccounts=2**63))
    body["meta"]["creditsCharged"] = 2**63
    raw = orjson.dumps(body)
    async with run(path) as session:
        index = (await claim_one(session)).index
        for _ in range(3):
            await store_page(session, index, body=raw)
    with FollowingStore(path) as store:
        (lookup,) = store.lookups()
        assert lookup.total == 1 << 40
        assert lookup.credits_charged == 3 << 40
        assert next(store.pages()).total == 2**63


def test_many_claims_take_no_more_time_or_memory_each_than_few(path: Path) -> None:
    async def claim(path: Path, first: int, count: int) -> int:
        tracemalloc.start()
        async with run(path) as session:
            for start in range(first, first + count, 500):
                await session.claim([f"h{start + number}" for number in range(500)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    few = asyncio.run(claim(path.with_name("few.db"), 0, 2_000))
    assert asyncio.run(claim(path, 0, 30_000)) < few + 100_000
    starts = iter(range(100_000, 200_000, 500))

    def claim_more(path: Path) -> Callable[[], object]:
        return lambda: asyncio.run(claim(path, next(starts), 500))

    assert compare(claim_more(path), claim_more(path.with_name("few.db"))) < 3


# When a run died


async def die(path: Path, states: list[str], **options: Any) -> None:
    """Leave a store as a run does that was killed: nothing says how it ended."""
    session = open_session(path, **options)
    lookups = await session.claim([f"h{number}" for number in range(len(states))])
    for lookup, state in zip(lookups, states, strict=True):
        assert lookup
        await store_page(session, lookup.index, state)
    await session.close()


@pytest.mark.parametrize(
    ("states", "options", "at_risk"),
    [
        ([], {}, 0),
        (["complete", "limited", "failed"], {}, 0),
        (["pending", "complete", "pending"], {}, 2),
        (["pending"] * 9, {}, 4),
        (["pending"] * 9, {"concurrency": 6}, 6),
        (["pending"], {"concurrency": 6}, 1),
    ],
)
async def test_what_was_in_flight_when_a_run_died_is_told_once(
    path: Path, states: list[str], options: dict[str, int], at_risk: int
) -> None:
    await die(path, states, **options)
    async with run(path) as session:
        assert session.previous_at_risk == at_risk
    assert summarize(path).credits_at_risk == at_risk + USAGE.credits_at_risk
    async with run(path) as session:
        assert session.previous_at_risk == 0
    assert [reason for (reason,) in query(path, "SELECT stopped_by FROM runs")] == [
        "crash",
        None,
        None,
    ]


async def test_runs_that_died_one_after_the_other_add_up(path: Path) -> None:
    await die(path, ["pending", "pending"])
    session = open_session(path)
    assert session.previous_at_risk == 2
    await claim_one(session, "h0")
    await session.fail(0, state="pending", error=None, at_risk=5)
    await session.close()
    async with run(path) as session:
        assert session.previous_at_risk == 1
    assert summarize(path).credits_at_risk == 2 + 5 + 1 + USAGE.credits_at_risk


async def test_a_lookup_taken_up_again_counts_as_in_flight(path: Path) -> None:
    async with run(path) as session:
        await claim_one(session)
        await session.fail(0, state="failed", error="it broke")
    session = open_session(path)
    await claim_one(session, retry_failed=True)
    await session.close()
    async with run(path) as session:
        assert session.previous_at_risk == 1


async def test_pages_in_flight_are_taken_for_as_dear_as_the_dearest(path: Path) -> None:
    session = open_session(path)
    index = (await claim_one(session)).index
    await session.commit_page(
        index, PAGE, BODY, state="pending", next_cursor="c1", credits_charged=3
    )
    await session.close()
    async with run(path) as session:
        assert session.previous_at_risk == 3


KILLED = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
from bodies import make_body, read_body
from tiktok_following import StoreWriteError, Usage
from tiktok_following._session import open_store

async def main():
    session = open_store(sys.argv[1], origin="x", trim=False, concurrency=16)
    for lookup in await session.claim([f"h{n}" for n in range(16)]):
        tasks.append(asyncio.create_task(work(session, lookup)))
    await asyncio.gather(*tasks)

async def work(session, lookup):
    for number in range(lookup.pages + 1, 1_000_000):
        body = make_body([f"a{number}"] * 30, f"c{number}")
        page = read_body(body, lookup.handle)
        cursor = page.next_cursor
        await session.commit_page(lookup.index, page, body, state="pending", next_cursor=cursor)
        os.write(1, b"%d %d\\n" % (lookup.index, number))

tasks = []
asyncio.run(main())
"""


@contextmanager
def start_child(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process, and kill it in the end."""
    command = [sys.executable, "-c", code, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def write_until_killed(path: Path, lines: int) -> list[str]:
    """Write with a process until so many pages were acknowledged, and kill it."""
    with start_child(KILLED, path) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        return said + [line for line in child.stdout if line.endswith("\n")]


def check_against(path: Path, acknowledged: list[str]) -> None:
    """Check that a file is whole and has at least the pages that were acknowledged."""
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    with FollowingStore(path) as store:
        for lookup in store.lookups():
            pages = list(store.pages(lookup.handle))
            assert [page.next_cursor for page in pages] == [f"c{n + 1}" for n in range(len(pages))]
            assert lookup.next_cursor == (pages[-1].next_cursor if pages else None)
            assert (lookup.pages, lookup.accounts) == (len(pages), 30 * len(pages))
            seen = [
                int(line.split()[1]) for line in acknowledged if line.startswith(f"{lookup.index} ")
            ]
            assert len(pages) >= max(seen, default=0)


def test_kill_9_at_any_moment_loses_no_acknowledged_page(path: Path) -> None:
    acknowledged: list[str] = []
    for lines in (1, 60, 250):
        acknowledged += write_until_killed(path, lines)
        check_against(path, acknowledged)
    assert len(acknowledged) > 310
    session = open_session(path, origin="x")
    asyncio.run(session.close())
    assert session.previous_at_risk == 16
    check_against(path, acknowledged)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_was_acknowledged(path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))\n"
    caught = KILLED.replace(
        "    await asyncio.gather(*tasks)",
        """
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error).__name__ for error in results} == {"StoreWriteError"}
    try:
        await session.finish(stopped_by="store", usage=Usage())
    except StoreWriteError:
        await session.close()
    print("ended", flush=True)""",
    )
    with start_child(limit + caught, path) as child:
        assert child.stdout is not None
        acknowledged = child.stdout.readlines()
        child.wait(30)
    assert child.returncode == 0
    assert acknowledged.pop() == "ended\n"
    assert acknowledged
    check_against(path, acknowledged)


# Beside another process


def test_a_second_run_is_refused_and_a_reader_reads_beside(path: Path) -> None:
    with start_child(KILLED, path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(StoreLockedError, match=f"process {child.pid} is writing"):
            open_session(path, origin="x")
        with FollowingStore(path) as store:
            assert store.summary().pages >= 1
            assert next(store.accounts()).handle == "a1"
            assert store.lookup("h0") is not None
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    asyncio.run(open_session(path, origin="x").close())


async def test_a_reader_sees_what_is_committed_after_it_came(path: Path) -> None:
    async with run(path) as session:
        await session.claim(["a", "b"])
        with FollowingStore(path) as store:
            for index in (0, 1):
                await store_page(session, index)
            pages = store.pages()
            assert next(pages).handle == "a"
            await store_page(session, 1)
            assert [page.handle for page in pages] == ["b", "b"]
            assert store.summary().pages == 3


async def test_a_reader_that_stays_does_not_keep_the_log_from_ending(path: Path) -> None:
    session = open_session(path)
    index = (await claim_one(session)).index
    for _ in range(3):
        await store_page(session, index)
    with FollowingStore(path) as store:
        pages = store.pages()
        next(pages)
        await session.close()
        assert os.stat(f"{path}-wal").st_size == 0  # noqa: PTH116 - a Path is refused in a coroutine
        assert len(list(pages)) == 2


# What is not a store


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


def make_store(path: Path, **options: Any) -> None:
    async def make() -> None:
        async with run(path, **options):
            pass

    asyncio.run(make())


FOREIGN: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("a list of handles\n" * 100),
    "short": lambda path: path.write_bytes(b"ab"),
    "tables": lambda path: change(path, "CREATE TABLE mine (x)"),
    "log": lambda path: change(path, "PRAGMA journal_mode = WAL; CREATE TABLE mine (x)"),
    "application": lambda path: change(path, "PRAGMA application_id = 7"),
    "version": lambda path: change(path, "PRAGMA user_version = 1"),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=list(FOREIGN))
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], object]
) -> None:
    make(path)
    content = path.read_bytes()
    for use in (open_session, FollowingStore):
        with pytest.raises(StoreMismatchError, match="not a store of tiktok-following") as caught:
            use(path)
        assert caught.value.path == str(path)
    assert path.read_bytes() == content
    assert not Path(f"{path}.lock").exists()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    for use in (open_session, FollowingStore):
        with pytest.raises(StoreMismatchError, match="not that of a file"):
            use(tmp_path)
    assert not Path(f"{tmp_path}.lock").exists()


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    make_store(path)
    change(path, "PRAGMA user_version = 2")
    for use in (open_session, FollowingStore):
        with pytest.raises(StoreVersionError, match="it has schema 2, this one reads 1; update"):
            use(path)


def test_an_empty_file_becomes_a_store_and_is_none_before(path: Path) -> None:
    path.touch(0o644)
    with pytest.raises(StoreMismatchError, match="empty"):
        FollowingStore(path)
    make_store(path)
    assert summarize(path).runs == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_store_is_not_made_by_reading(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such store"):
        FollowingStore(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trim": True}, "made with trim=False, this run has trim=True; use another file"),
        (
            {"origin": "http://127.0.0.1:80"},
            "made with origin='https://api.test', this run has origin='http://127.0.0.1:80'",
        ),
    ],
)
def test_what_is_fixed_at_birth_cannot_change(
    path: Path, options: dict[str, Any], text: str
) -> None:
    make_store(path)
    with pytest.raises(StoreMismatchError) as caught:
        open_session(path, **options)
    assert text in str(caught.value)
    assert summarize(path).runs == 1
    make_store(path, concurrency=100, options={"max_credits": 1})


@pytest.mark.parametrize("name", ["missing/following.db", "file/following.db"])
def test_a_folder_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreWriteError, match=r"No such file|Not a directory"):
        open_session(tmp_path / name)
    with pytest.raises(StoreError, match=r"no such store|Not a directory"):
        FollowingStore(tmp_path / name)


def test_a_name_that_no_file_can_have_is_told() -> None:
    for use in (open_session, FollowingStore):
        with pytest.raises(StoreError, match="the path cannot be used"):
            use(Path("a\0b"))


def test_two_names_of_one_store_are_one_store(path: Path) -> None:
    make_store(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    session = open_session(link)
    with pytest.raises(StoreLockedError):
        open_session(path)
    asyncio.run(session.close())


def test_a_store_that_cannot_be_read_back_frees_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise StoreError("too many files", path=str(path))

    with monkeypatch.context() as patch:
        patch.setattr("tiktok_following._session.open_for_reading", refuse)
        with pytest.raises(StoreError, match="too many files"):
            open_session(path)
    make_store(path)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """Make a folder with a store that the tests, whoever runs them, are not allowed to change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder / "following.db")
        is_root = os.geteuid() == 0
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        os.seteuid(65534 if is_root else os.geteuid())
        yield folder
        os.seteuid(0 if is_root else os.geteuid())
        folder.chmod(0o755)


def test_a_read_only_store_can_be_read_and_not_written(shelf: Path) -> None:
    path = shelf / "following.db"
    with FollowingStore(path) as store:
        assert store.summary().runs == 1
    with pytest.raises(StoreWriteError, match="Permission denied"):
        open_session(path)
    with pytest.raises(StoreWriteError, match="Permission denied"):
        open_session(shelf / "other.db")


def test_a_store_that_no_index_can_be_put_beside_is_read(path: Path) -> None:
    """As on a disk that is mounted for reading."""
    make_store(path)
    Path(f"{path}-shm").mkdir()
    with FollowingStore(path) as store:
        assert store.summary().runs == 1


def test_a_read_only_file_in_a_good_folder_is_told(path: Path) -> None:
    make_store(path)
    change(path, "CREATE TRIGGER refuse BEFORE INSERT ON runs BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(StoreWriteError, match="cannot be written: no"):
        open_session(path)


def test_a_file_that_may_not_even_be_looked_at_is_told(shelf: Path) -> None:
    euid = os.geteuid()
    os.seteuid(0) if euid == 65534 else None
    (shelf / "following.db").chmod(0)
    os.seteuid(euid)
    with pytest.raises(StoreError, match="unable to open database file"):
        FollowingStore(shelf / "following.db")


# Whatever happens, in whatever order

STATES = st.sampled_from(["pending", "complete", "limited", "failed"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.lists(st.sampled_from("abcAB"), max_size=3), st.booleans()),
        st.tuples(st.just("page"), st.integers(0, 9), STATES),
        st.tuples(st.just("fail"), st.integers(0, 9), STATES),
        st.tuples(st.just("end"), st.booleans(), st.none()),
    ),
    max_size=20,
)


class Expected:
    """What a store should say, kept in plain Python."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}  # key: handle, state, pages, run that claimed it
        self.run = 1

    def claim(self, handle: str, *, retry_failed: bool) -> tuple[Any, ...] | None:
        row = self.rows.setdefault(handle.lower(), [handle, "pending", 0, 0])
        if row[3] == self.run:
            return None
        row[3] = self.run
        if row[1] == "limited" or (row[1] == "failed" and retry_failed):
            row[1] = "pending"
        return tuple(row[:3])

    def end(self) -> int:
        """Begin another run; return how many lookups the last one left in the air."""
        left = [row for row in self.rows.values() if row[1] == "pending" and row[3] == self.run]
        self.run += 1
        return len(left)


def show(lookup: Lookup | None) -> tuple[Any, ...] | None:
    return None if lookup is None else (lookup.handle, lookup.state, lookup.pages)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_the_store_is_where_it_should_be_whatever_happened(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(walk(Path(folder) / "following.db", steps))


async def walk(path: Path, steps: list[tuple[Any, ...]]) -> None:
    expected = Expected()
    session = open_session(path, concurrency=2)
    for what, first, second in [*steps, ("end", True, None)]:
        rows = list(expected.rows.values())
        if what == "claim":
            claimed = await session.claim(first, retry_failed=second)
            wanted = [expected.claim(handle, retry_failed=second) for handle in first]
            assert [show(lookup) for lookup in claimed] == wanted
        elif what == "page" and first < len(rows):
            await store_page(session, first, second)
            rows[first][1:3] = [second, rows[first][2] + 1]
        elif what == "fail" and first < len(rows):
            await session.fail(first, state=second, error="it broke")
            rows[first][1] = second
        elif what == "end":
            if first:
                await session.finish(stopped_by="user", usage=USAGE)
            await session.close()
            left = expected.end()
            session = open_session(path, concurrency=2)
            assert session.previous_at_risk == (0 if first else min(left, 2))
    await session.close()
    with FollowingStore(path) as store:
        shown = [show(lookup) for lookup in store.lookups()]
        assert shown == [tuple(row[:3]) for row in expected.rows.values()]
        assert store.summary().pages == len(list(store.pages()))
