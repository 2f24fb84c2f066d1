"""What the client without a loop gives: a pager and a run to iterate.

The law: each has what the one of the asyncio client has, and waits for it. What was taken and did
not reach who waited, for an interruption, is given again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from ._bulk import FollowingRun as AsyncRun, OnOutcome
from ._errors import FollowingError
from ._handle_relay import HandleRelay
from ._loop_thread import LoopThread
from ._models import Account, Following, FollowingPage, Usage
from ._outcomes import Outcome, RunProgress, RunSummary
from ._pagination import FollowingPager as AsyncPager, mark
from ._status import Status, StoppedBy

T = TypeVar("T")


async def _close_nothing() -> None:
    pass


async def _take(iterator: AsyncIterator[T], given_back: deque[T | None] | None = None) -> T | None:
    return given_back.popleft() if given_back else await anext(iterator, None)


class FollowingPager:
    """The accounts a profile follows; made by `FollowingClient.following`.

    Iterate it for accounts, iterate `pages` for pages, or call `collect` for all at once. Doing so
    again goes on where it stopped, in the middle of a page too, without buying that page again.
    """

    def __init__(self, pager: AsyncPager, thread: LoopThread) -> None:
        self._pager = pager
        self._thread = thread

    def __repr__(self) -> str:
        return repr(self._pager)

    def __reduce__(self) -> NoReturn:
        self._pager.__reduce__()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Account:
        account = self._thread.run(_take(self._pager), give_back=mark(self._pager))
        if account is None:
            raise StopIteration
        return account

    def pages(self) -> Iterator[FollowingPage]:
        """Iterate over whole pages, as served; one that was begun comes again, for free."""
        while (page := self.next_page()) is not None:
            yield page

    def next_page(self) -> FollowingPage | None:
        """Give the next of `pages`, or `None` when there is none."""
        return self._thread.run(self._pager.next_page(), give_back=mark(self._pager))

    def collect(self) -> Following:
        """Read the rest of the list, and give all that was collected so far.

        Raises:
            FollowingError: Its `partial` is what was collected; calling `collect` again goes on.
        """
        return self._thread.run(self._pager.collect())

    @property
    def handle(self) -> str:
        """The handle asked for, without the leading ``@``."""
        return self._pager.handle

    @property
    def status(self) -> Status | None:
        """What became of the lookup, by the last page bought; `None` before the first."""
        return self._pager.status

    @property
    def total(self) -> int | None:
        """How many accounts the profile follows, by the last page that told; `None` before."""
        return self._pager.total

    @property
    def usage(self) -> Usage:
        """What reading this list cost so far."""
        return self._thread.look(lambda: self._pager.usage)

    @property
    def complete(self) -> bool:
        """Whether the list was handed over to its end."""
        return self._thread.look(lambda: self._pager.complete)

    @property
    def cursor(self) -> str | None:
        """Where to go on later: the cursor of the first page not wholly handed over."""
        return self._thread.look(lambda: self._pager.cursor)

    @property
    def partial(self) -> Following:
        """What `collect` has read so far, also after it was interrupted; free."""
        return self._thread.look(lambda: self._pager.partial)


class FollowingRun:
    """A run over many handles; made by `FollowingClient.following_many`.

    It is entered with ``with``, and begins when its outcomes, or its `pages`, are first asked for.
    Iterated after the block it gives what landed and was not taken before.
    """

    def __init__(self, run: AsyncRun, thread: LoopThread, relay: HandleRelay | None) -> None:
        self._run = run
        self._thread = thread
        self._relay = relay
        self._outcomes: deque[Outcome | None] = deque()
        self._pages: deque[FollowingPage | None] = deque()

    def __reduce__(self) -> NoReturn:
        self._run.__reduce__()

    def __enter__(self) -> Self:
        entered: list[AsyncRun] = []
        try:
            self._thread.run(self._run.__aenter__(), give_back=entered.append)
        except BaseException as error:
            if self._thread.look(lambda: bool(entered)):  # nobody else will leave it
                self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._leave(kind, error, traceback)
        except BaseException as interruption:  # maybe before anything of that was begun
            with suppress(FollowingError):
                self._leave(type(interruption), interruption, None)
            raise

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the run, which may hold a store: on another loop if the client was closed."""
        if not self._thread.is_closed:
            self._thread.run(self._run.__aexit__(kind, error, traceback))
            return
        self._thread.close()  # who does that may still be about it
        elsewhere = LoopThread(_close_nothing)
        try:
            elsewhere.run(self._run.__aexit__(kind, error, traceback))
        finally:
            elsewhere.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        taking, keep = _take(self._run, self._outcomes), self._outcomes.append
        outcome = self._thread.run(taking, self._relay, keep)
        if outcome is None:
            raise StopIteration
        return outcome

    def pages(self, *, on_outcome: OnOutcome | None = None) -> Iterator[FollowingPage]:
        """Iterate over the pages of all handles as they land, those of the store included.

        For lists too big to hold; see the run of the asyncio client.

        Args:
            on_outcome: Called with each handle's outcome, on the client's thread.

        Raises:
            ConfigurationError: The run is `ordered`, or was iterated for outcomes.
        """
        pages = self._run.pages(on_outcome=on_outcome)
        while page := self._thread.run(_take(pages, self._pages), self._relay, self._pages.append):
            yield page

    def stop(self) -> None:
        """End the run: nothing more is asked for, what is under way lands within `drain_timeout`.

        Go on iterating for what lands; or leave the block, which waits for it.
        """
        self._thread.look(self._run.stop)

    @property
    def stopped_by(self) -> StoppedBy | None:
        """Why the run ended, or is ending, before all handles were done; `None` if it does not."""
        return self._run.stopped_by

    @property
    def previous_at_risk(self) -> int:
        """Credits that pages in flight may have cost when an earlier run on the store died."""
        return self._run.previous_at_risk

    @property
    def usage(self) -> Usage:
        """What the run cost so far."""
        return self._thread.look(lambda: self._run.usage)

    @property
    def progress(self) -> RunProgress:
        """How the run stands now."""
        return self._thread.look(lambda: self._run.progress)

    @property
    def summary(self) -> RunSummary:
        """What the run did; final after the block."""
        return self._thread.look(lambda: self._run.summary)
