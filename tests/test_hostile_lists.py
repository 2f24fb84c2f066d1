"""Lists that lead nowhere: whatever cursors, totals and statuses a server invents, reading ends.

The server here holds a map from each cursor to the next. A list is walked in each of the ways there
are, and no cursor is ever bought twice.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings, strategies as st
from raw_server import Connection, RawServer, respond, serve

from tiktok_following import (
    BudgetExceededError,
    FollowingClient,
    FollowingStore,
    PaginationError,
    RetryPolicy,
    StoreError,
    export,
)

KEY = "sfk_test_hostile_lists"
MOST_REQUESTS = 2000
ROW = {
    "handle": "somebody.else",
    "profileUrl": "https://www.tiktok.com/@x",
    "verified": False,
    "metrics": {"followers": 1, "following": 2, "posts": 3},
}
Next = Callable[[str | None], dict[str, Any]]


class Lists(RawServer):
    """Counts how often each cursor of each handle was bought."""

    bought: Counter[tuple[str, str | None]]


@asynccontextmanager
async def hand_out(next_page: Next, rows: int = 1) -> AsyncIterator[Lists]:
    """Serve lists whose pages are what `next_page` makes of a cursor; it gives ``data``."""
    bought: Counter[tuple[str, str | None]] = Counter()

    async def answer(connection: Connection) -> None:
        while len(server.requests) < MOST_REQUESTS:  # a client that walks on fails, and ends
            target = (await connection.read_request()).split()[1].decode()
            cursor = parse_qs(urlsplit(target).query).get("cursor", [None])[0]
            bought[urlsplit(target).path.split("/")[4], cursor] += 1
            data = {"lookupStatus": "found", "accounts": [ROW] * rows, **next_page(cursor)}
            meta = {"requestId": "req_1", "creditsCharged": 1, "version": "v1"}
            connection.writer.write(respond(json.dumps({"data": data, "meta": meta}).encode()))

    async with serve(answer) as server:
        server.bought = bought  # type: ignore[attr-defined] - the one thing that is added
        yield server  # type: ignore[misc]


def point_to(cursor: str | None, *, has_more: bool = True, **changes: Any) -> dict[str, Any]:
    return {"page": {"nextCursor": cursor, "hasMore": has_more}, "totalAccounts": 5, **changes}


def open_client(server: RawServer, **options: Any) -> FollowingClient:
    return FollowingClient(KEY, base_url=server.base_url, retry=RetryPolicy.none(), **options)


def count_up(cursor: str | None) -> dict[str, Any]:
    return point_to(str(int(cursor or 0) + 1))


# Cursors that come back


@settings(max_examples=40)
@given(st.lists(st.integers(-1, 7), min_size=8, max_size=8))
@example([1, 2, 3, 4, 5, 6, 7, 0])  # back to the beginning, from the end
@example([1, 2, 1, 2, 1, 2, 1, 2])  # to and fro
@example([0] * 8)  # on the spot
@example([1, 2, 3, 4, 5, 6, 7, 7])
@example([1, 2, 3, 4, 5, 6, 7, -1])  # to its end
def test_no_map_of_cursors_is_walked_for_ever_or_twice(leads_to: list[int]) -> None:
    def next_page(cursor: str | None) -> dict[str, Any]:
        there = leads_to[int(cursor or 0)]
        return point_to(str(there), has_more=there >= 0)

    # The first page has no cursor, so a way back to it goes by its name, 0, once more.
    seen: list[int] = []
    place = leads_to[0]
    while place >= 0 and place not in seen:
        seen.append(place)
        place = leads_to[place]

    async def read() -> None:
        async with hand_out(next_page) as server, open_client(server) as client:
            pager = client.following("nasa")
            if place < 0:
                assert (await pager.collect()).complete
            else:
                with pytest.raises(PaginationError, match="followed before"):
                    await pager.collect()
            async with client.following_many(["a", "b"]) as run:
                outcomes = [outcome async for outcome in run]
            for outcome in outcomes:
                assert outcome.complete is (place < 0)
                assert isinstance(outcome.error, PaginationError) is (place >= 0)
                assert outcome.pages == len(outcome.accounts) == len(seen) + 1
            assert run.stopped_by is None
            assert set(server.bought.values()) == {1}
            assert len(server.bought) == 3 * (len(seen) + 1)

    asyncio.run(read())


@pytest.mark.parametrize("lap", [1, 2, 5])
async def test_a_circle_is_noticed_after_a_run_is_gone_on_with(tmp_path: Path, lap: int) -> None:
    def next_page(cursor: str | None) -> dict[str, Any]:
        return point_to(str((int(cursor or 0) + 1) % 5))

    store = tmp_path / "following.db"
    async with hand_out(next_page) as server, open_client(server) as client:
        for pages in range(lap, 7, lap):
            async with client.following_many(["nasa"], store=store, max_pages=pages) as run:
                assert [outcome.error async for outcome in run] == [None]
        async with client.following_many(["nasa"], store=store) as run:
            (outcome,) = [outcome async for outcome in run]
        assert "followed before" in str(outcome.error)
        assert not outcome.complete
        assert set(server.bought.values()) == {1}
        assert len(server.bought) == 6
    with FollowingStore(store) as opened:
        (lookup,) = opened.lookups()
        assert (lookup.state, lookup.pages) == ("failed", 6)


# Cursors without end


async def test_a_list_without_end_ends_where_it_is_told_to(tmp_path: Path) -> None:
    async with hand_out(count_up, rows=0) as server, open_client(server) as client:
        result = await client.following("nasa", max_pages=30).collect()
        assert (result.pages, result.complete, result.next_cursor) == (30, False, "30")
        with pytest.raises(BudgetExceededError) as caught:
            await client.following("nasa", max_credits=20, limit=10).collect()
        assert caught.value.partial is not None
        assert (caught.value.partial.pages, caught.value.partial.next_cursor) == (20, "20")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.following("nasa").collect()
        many = {"max_pages": 7, "max_credits": 25, "store": tmp_path / "following.db"}
        async with client.following_many(map(str, range(10)), **many) as run:
            pages = [outcome.pages async for outcome in run]
        assert run.stopped_by == "budget"
        assert sum(pages) == run.usage.credits_charged == 25
        assert max(pages) <= 7


@pytest.mark.parametrize("letter", ["x", "\x00", "ü", "🚀"])
async def test_a_cursor_that_grows_and_grows_is_not_sent(letter: str, tmp_path: Path) -> None:
    def next_page(cursor: str | None) -> dict[str, Any]:
        return point_to((cursor or letter) * 4)

    async with hand_out(next_page) as server, open_client(server) as client:
        with pytest.raises(PaginationError, match="no URL can hold") as caught:
            await client.following("nasa").collect()
        assert len(str(caught.value)) < 1500
        assert max(map(len, server.requests)) < 60_000
        for pages in (None, 8, 1):
            store = tmp_path / f"{pages}.db"
            async with client.following_many(["esa"], store=store, max_pages=pages) as run:
                assert len([outcome async for outcome in run]) == 1
            async with client.following_many(["esa"], store=store) as run:
                (outcome,) = [outcome async for outcome in run]
            assert "no URL can hold" in str(outcome.error)
            assert len(outcome.accounts) == outcome.pages
            server.bought.clear()


async def test_a_huge_cursor_is_in_no_message() -> None:
    async with hand_out(lambda _: point_to("\x1b" * 2_000_000)) as server:
        async with open_client(server) as client:
            page = await client.following_page("nasa")
            pager = client.following("nasa", max_pages=1)
            assert (await pager.collect()).next_cursor == page.next_cursor
            with pytest.raises(PaginationError) as caught:
                await client.following("nasa").collect()
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("cursor", ["", None])
async def test_more_without_a_cursor_fails_that_list_alone(
    cursor: str | None, tmp_path: Path
) -> None:
    store = tmp_path / "following.db"
    async with hand_out(lambda _: point_to(cursor)) as server, open_client(server) as client:
        for again in (False, False, True):
            async with client.following_many(["a", "b"], store=store, retry_failed=again) as run:
                outcomes = [outcome async for outcome in run]
            assert run.stopped_by is None
            for outcome in outcomes:
                assert "no cursor" in str(outcome.error)
                assert outcome.accounts
                assert not outcome.complete
    with FollowingStore(store) as opened:
        assert [lookup.state for lookup in opened.lookups()] == ["failed", "failed"]


# Totals, statuses and handles that lie


@pytest.mark.parametrize("total", [0, 1, 2**63 - 1, 2**63, 2**64 - 1, None])
async def test_no_total_ends_a_list_or_keeps_it_going(total: int | None, tmp_path: Path) -> None:
    def next_page(cursor: str | None) -> dict[str, Any]:
        number = int(cursor or 0)
        return point_to(str(number + 1), has_more=number < 3, totalAccounts=total)

    store = tmp_path / "following.db"
    async with hand_out(next_page) as server, open_client(server) as client:
        result = await client.following("nasa").collect()
        assert (len(result.accounts), result.total, result.complete) == (4, total, True)
        async with client.following_many(["nasa"], store=store) as run:
            (outcome,) = [outcome async for outcome in run]
        assert (len(outcome.accounts), outcome.complete) == (4, True)
        async with client.following_many(["nasa"], store=store) as run:
            (outcome,) = [outcome async for outcome in run]
        assert (len(outcome.accounts), outcome.complete, outcome.from_store) == (4, True, True)


async def test_statuses_that_a_server_invents_fill_no_memory(tmp_path: Path) -> None:
    invented = iter(range(1000))

    def next_page(_: str | None) -> dict[str, Any]:
        status = f"status {next(invented)} " + "x" * (next(invented) % 3) * 10_000
        return point_to(None, has_more=False, lookupStatus=status)

    async with hand_out(next_page) as server, open_client(server) as client:
        handles = [f"user{number}" for number in range(200)]
        async with client.following_many(handles, store=tmp_path / "following.db") as run:
            statuses = {outcome.status async for outcome in run}
        assert len(statuses) == 200
        for usage in (client.usage, run.usage):
            assert len(usage.outcomes) <= 65
            assert sum(usage.outcomes.values()) == usage.requests == 200
            assert len(repr(usage)) < 10_000


async def test_the_handle_asked_for_is_the_one_that_is_told(tmp_path: Path) -> None:
    def next_page(_: str | None) -> dict[str, Any]:
        return {**point_to(None, has_more=False), "handle": "another", "cursor": "another"}

    store = tmp_path / "following.db"
    async with hand_out(next_page) as server, open_client(server) as client:
        page = await client.following_page("nasa")
        assert (page.handle, page.cursor) == ("nasa", None)
        async with client.following_many(["nasa"], store=store) as run:
            (outcome,) = [outcome async for outcome in run]
        assert outcome.handle == "nasa"
    with FollowingStore(store) as opened:
        assert list(opened.edges()) == [("nasa", "somebody.else")]


HOSTILE = "\x00\x1b[31m\u202e\u2028\r\n\t=1+1,\"';--\U000e0041\uffff"


async def test_hostile_texts_everywhere_pass_through_a_store_unchanged(tmp_path: Path) -> None:
    texts = ("handle", "displayName", "bio", "avatarUrl", "profileUrl", "secUid", "region")
    row = {**ROW, **dict.fromkeys(texts, HOSTILE), HOSTILE: {HOSTILE: HOSTILE}}

    def next_page(cursor: str | None) -> dict[str, Any]:
        return point_to(HOSTILE, has_more=cursor is None, accounts=[row])

    store = tmp_path / "following.db"
    async with hand_out(next_page) as server, open_client(server) as client:
        async with client.following_many(["nasa"], store=store) as run:
            (outcome,) = [outcome async for outcome in run]
        assert set(server.bought) == {("nasa", None), ("nasa", HOSTILE)}
    with FollowingStore(store) as opened:
        assert list(opened.accounts()) == outcome.accounts
        assert outcome.accounts[0].to_dict().items() >= row.items()
    for suffix in ("jsonl", "csv", "parquet"):
        assert export(store, tmp_path / f"rows.{suffix}") == 2
        try:
            assert export(store, tmp_path / f"edges.{suffix}", edges=True) == 1
        except StoreError as error:
            pytest.fail(str(error))
