"""What a run's input promises: read lazily, once, by one reader at a time."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator

from tiktok_following._feed import Feed


async def take_all(feed: Feed) -> list[tuple[int, str | None]]:
    items: list[tuple[int, str | None]] = []
    while (item := await feed.take()) is not None:
        items.append((item.index, item.handle))
    return items


async def test_each_handle_is_given_once_however_it_is_spelled() -> None:
    feed = Feed(["nasa", "@NASA", " nasa ", "https://www.tiktok.com/@Nasa", "esa"], dedupe=True)
    assert await take_all(feed) == [(0, "nasa"), (4, "esa")]
    assert (feed.total, feed.read, feed.skipped) == (5, 5, 3)


async def test_without_dedupe_each_is_given_as_often_as_it_comes() -> None:
    assert await take_all(Feed(["nasa", "NASA"], dedupe=False)) == [(0, "nasa"), (1, "NASA")]


async def test_what_is_no_handle_is_given_with_its_error_each_time() -> None:
    feed = Feed(["a b", None, "a b"], dedupe=True)
    items = [await feed.take() for _ in range(3)]
    assert [item and item.handle for item in items] == [None] * 3
    assert [item and item.given for item in items] == ["a b", None, "a b"]
    assert all(item and item.error for item in items)


async def test_an_input_is_read_no_further_than_asked_for() -> None:
    read: list[int] = []

    def names() -> Iterator[str]:
        for number in range(10):
            read.append(number)
            yield f"user{number}"

    feed = Feed(names(), dedupe=True)
    await feed.take()
    assert read == [0]
    assert feed.total is None


async def test_an_async_input_has_one_reader_at_a_time_and_ends_for_all() -> None:
    readers = 0

    async def names() -> AsyncIterator[str]:
        nonlocal readers
        for number in range(20):
            readers += 1
            assert readers == 1
            await asyncio.sleep(0)
            readers -= 1
            yield f"user{number}"

    feed = Feed(names(), dedupe=True)
    taken = await asyncio.gather(*(take_all(feed) for _ in range(5)))
    assert sorted(index for items in taken for index, _ in items) == list(range(20))
    assert await feed.take() is None


async def test_finding_duplicates_takes_under_100_bytes_a_handle() -> None:
    count = 100_000
    feed = Feed((f"user{number}" for number in range(count)), dedupe=True)
    while await feed.take() is not None:
        pass
    seen = feed._seen or set()
    assert len(seen) == count
    assert sys.getsizeof(seen) + sum(map(sys.getsizeof, seen)) < 100 * count


async def test_an_input_of_one_handle_alone_lets_others_have_their_turn() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read_all(feed: Feed) -> None:
        while (feed.take_at_once() or await feed.take()) is not None:
            pass

    feed = Feed(["nasa"] * 10_000, dedupe=True)
    counting = asyncio.ensure_future(count())
    await asyncio.gather(*(read_all(feed) for _ in range(5)))
    counting.cancel()
    assert (feed.read, feed.skipped) == (10_000, 9_999)
    assert turns >= 100
