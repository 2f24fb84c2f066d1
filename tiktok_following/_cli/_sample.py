"""Buy the first pages of a few handles.

The law: nothing is bought before it was said, and one that failed is told and left out.
"""

import asyncio
from collections.abc import Iterator

import attrs

from tiktok_following._client import FollowingClient
from tiktok_following._errors import FollowingError
from tiktok_following._models import FollowingPage

from ._exit import ends_run, explain
from ._messages import Messages

_AT_ONCE = 20


@attrs.define(kw_only=True)
class FirstPages:
    """The first pages of a sample."""

    client: FollowingClient
    messages: Messages
    trim: bool
    pages: list[FollowingPage] = attrs.field(factory=list[FollowingPage])
    fatal: FollowingError | None = None
    """What ended the buying early: it speaks of no handle."""

    async def buy(self, handles: list[str]) -> None:
        """Buy the first page of each handle."""
        rest = iter(handles)
        async with asyncio.TaskGroup() as group:
            for _ in handles[:_AT_ONCE]:
                group.create_task(self._work(rest))

    async def _work(self, rest: Iterator[str]) -> None:
        for handle in rest:
            try:
                self.pages.append(await self.client.following_page(handle, trim=self.trim))
            except FollowingError as error:
                if ends_run(error):
                    self.fatal = self.fatal or error
                else:
                    self.messages.say(f"{handle}: {explain(error)}")
            if self.fatal is not None:
                return
