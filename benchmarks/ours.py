"""This package, read in each of the ways that it offers.

The law: as its README has it, every check on. A list of many pages is read to its end; what reads
one page at a time reads lists of one.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import KEY, PAGES_OF_A_LIST, Contender, Read, Target, make_read

if TYPE_CHECKING:
    from tiktok_following import FollowingClient


@asynccontextmanager
async def open_client(target: Target) -> AsyncIterator["FollowingClient"]:
    """Open a client that may have as many pages in flight as there are workers."""
    from aiohttp import ClientSession

    from tiktok_following import FollowingClient

    async with AsyncExitStack() as stack:
        session = None
        if target.has_session:
            session = await stack.enter_async_context(
                ClientSession(connector=target.make_connector())
            )
        client = FollowingClient(
            KEY, base_url=target.url, max_concurrency=target.concurrency, session=session
        )
        yield await stack.enter_async_context(client)


@asynccontextmanager
async def open_page(target: Target) -> AsyncIterator[Read]:
    """Open the client for one page at a time."""
    async with open_client(target) as client:
        yield make_read(client.following_page, target.concurrency)


@asynccontextmanager
async def open_following(target: Target) -> AsyncIterator[Read]:
    """Open the client for lists, account by account."""
    async with open_client(target) as client:

        async def fetch(handle: str) -> None:
            async for _ in client.following(handle):
                pass

        yield make_read(fetch, target.concurrency, PAGES_OF_A_LIST)


@asynccontextmanager
async def open_collect(target: Target) -> AsyncIterator[Read]:
    """Open the client for lists, each as a whole."""
    async with open_client(target) as client:

        async def fetch(handle: str) -> object:
            return await client.following(handle).collect()

        yield make_read(fetch, target.concurrency, PAGES_OF_A_LIST)


@asynccontextmanager
async def open_many(
    target: Target, *, pages_each: int = 1, store: Path | None = None
) -> AsyncIterator[Read]:
    """Open the client for many handles; each is asked for once, as a run has it."""
    numbers = itertools.count()
    kind = "one" if pages_each == 1 else "list"
    async with open_client(target) as client:

        async def read(count: int) -> None:
            handles = [f"{kind}{next(numbers)}" for _ in range(count // pages_each)]
            async with client.following_many(
                handles, concurrency=target.concurrency, store=store
            ) as run:
                async for outcome in run:
                    outcome.unwrap()

        yield read


def open_many_lists(target: Target) -> AbstractAsyncContextManager[Read]:
    """Open it for handles with long lists."""
    return open_many(target, pages_each=PAGES_OF_A_LIST)


def open_many_stored(target: Target) -> AbstractAsyncContextManager[Read]:
    """Open it with a store, which all of its runs share."""
    return open_many(target, store=target.folder / f"{target.concurrency}.db")


NEEDS = "tiktok_following"
OURS = [
    Contender("following_page", open_page, NEEDS),
    Contender("following, by account", open_following, NEEDS, PAGES_OF_A_LIST),
    Contender("following, collect", open_collect, NEEDS, PAGES_OF_A_LIST),
    Contender("following_many", open_many, NEEDS),
    Contender("following_many, lists", open_many_lists, NEEDS, PAGES_OF_A_LIST),
    Contender("following_many, store", open_many_stored, NEEDS),
]
