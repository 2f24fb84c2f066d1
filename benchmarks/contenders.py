"""What a contender is: it opens what it needs, and then reads pages, so many at a time.

The law: all of them read the same pages of the same server with as many workers.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs

KEY = "sfk_0123456789abcdef0123456789abcdef"
PATH = "/v1/tiktok/profiles/{}/following"
HANDLES = 1000
PAGES_OF_A_LIST = 5

Read = Callable[[int], Awaitable[None]]
Fetch = Callable[[str], Awaitable[object]]


@attrs.frozen
class Target:
    """What to read from, and how."""

    url: str
    concurrency: int
    folder: Path
    """Where files may be made."""
    certificate: Path | None = None
    """Whom to trust; `None` for plain HTTP."""
    has_session: bool = False
    """Whether our client is given a session; it must be for a certificate of one's own."""

    def make_connector(self) -> Any:
        """Make a pool for aiohttp, alike for all who use it."""
        from aiohttp import TCPConnector

        trust = ssl.create_default_context(cafile=self.certificate) if self.certificate else True
        return TCPConnector(limit=self.concurrency, ssl=trust)


Open = Callable[[Target], AbstractAsyncContextManager[Read]]


@attrs.frozen
class Contender:
    """One way to read pages."""

    name: str
    open: Open
    needs: str
    """The module that must be there."""
    pages_each: int = 1
    """The pages of the lists that it reads."""


def make_read(fetch: Fetch, concurrency: int, pages_each: int = 1) -> Read:
    """Let so many workers share the handles, one after the other."""
    kind = "one" if pages_each == 1 else "list"

    async def read(count: int) -> None:
        turns = iter(range(count // pages_each))

        async def work() -> None:
            for turn in turns:
                await fetch(f"{kind}{turn % HANDLES}")

        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, count)):
                group.create_task(work())

    return read
