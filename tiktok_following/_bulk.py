"""Many handles, as their consumer sees them: a run to enter, iterate, watch and stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from copy import copy
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import attrs

from ._config import Options, RunOptions, check_callback, make_origin
from ._crew import Crew
from ._engine import Engine
from ._errors import ConfigurationError
from ._events import RunEnded
from ._feed import Feed, Handles
from ._ledger import Ledger
from ._models import FollowingPage, Usage
from ._outcomes import Outcome, RunProgress, RunSummary
from ._status import StoppedBy
from ._tally import Tally
from ._threads import run_to_end

if TYPE_CHECKING:
    from ._session import StoreSession

_logger = logging.getLogger("tiktok_following")

OnProgress = Callable[[RunProgress], object]
OnOutcome = Callable[[Outcome], object]


class FollowingRun:
    """A run over many handles; made by `FollowingClient.following_many`, which says how to use it.

    It is entered with ``async with``, and begins when its outcomes, or its `pages`, are first asked
    for. Iterated after the block it gives what landed and was not taken before.
    """

    def __init__(
        self,
        engine: Engine,
        handles: Handles,
        options: Options,
        run: RunOptions,
        ledger: Ledger,
        *,
        store: str | PathLike[str] | None,
        on_progress: OnProgress | None,
    ) -> None:
        if isinstance(handles, (str, bytes)):
            raise ConfigurationError("handles are many: a list of texts, not one text")
        if not isinstance(store, str | PathLike | None):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ConfigurationError(f"store is a path, not {type(store).__name__}")
        if store is not None and not run.dedupe:
            raise ConfigurationError("a store holds each handle once, dedupe=False cannot be")
        check_callback("on_progress", on_progress)
        self._engine = engine
        self._feed = Feed(handles, dedupe=run.dedupe and store is None)
        self._options = options
        self._run = run
        self._ledger = ledger
        self._store = store
        self._on_progress = on_progress
        self._crew: Crew | None = None
        self._gives: type[Outcome | FollowingPage] | None = None
        self._began_at = self._ended_at = 0.0
        self._previous_at_risk = 0
        self._is_stopped = False
        self._on_outcome: OnOutcome = _ignore

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run cannot be pickled or copied: keep its summary")

    async def __aenter__(self) -> Self:
        if self._crew is not None:
            raise ConfigurationError("a run is used once: call following_many again")
        self._engine.transport.open()
        return self._begin(None if self._store is None else await self._open_store(self._store))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_cancelled = kind is not None and not issubclass(kind, (Exception, GeneratorExit))
        self._end("cancelled" if is_cancelled else "user")
        await self._enter(None).join()
        if kind is None:
            self._raise_failure()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        crew = self._crew if self._gives is Outcome else None
        outbox = (crew or self._enter(Outcome)).outbox
        outcome: Outcome | None = outbox.get_at_once() or await outbox.get()
        if outcome is None:
            self._raise_failure()
            raise StopAsyncIteration
        return outcome

    async def pages(
        self, *, on_outcome: OnOutcome | None = None
    ) -> AsyncGenerator[FollowingPage, None]:
        """Iterate over the pages of all handles as they land, those of the store included.

        For lists too big to hold. The pages of one handle come in their order, those of several
        mixed; each says which handle it is of. All are whole, also where `limit_per_handle` ends.

        Args:
            on_outcome: Called with each handle's outcome, whose accounts are then only those that
                were paid and may not be in the store.

        Raises:
            ConfigurationError: The run is `ordered`, or was iterated for outcomes.
        """
        if self._run.ordered:
            raise ConfigurationError("pages come as they land: ordered=True is for outcomes")
        crew = self._enter(FollowingPage, on_outcome)
        while (page := await crew.outbox.get()) is not None:
            yield page
        self._raise_failure()

    def stop(self) -> None:
        """End the run: nothing more is asked for, what is under way lands within `drain_timeout`.

        Go on iterating for what lands; or leave the block, which waits for it.
        """
        self._end("user")

    @property
    def stopped_by(self) -> StoppedBy | None:
        """Why the run ended, or is ending, before all handles were done; `None` if it does not."""
        return None if self._crew is None else self._crew.stopped_by

    @property
    def previous_at_risk(self) -> int:
        """Credits that pages in flight may have cost when an earlier run on the store died."""
        return self._previous_at_risk

    @property
    def usage(self) -> Usage:
        """What the run cost so far."""
        return self._ledger.usage

    @property
    def progress(self) -> RunProgress:
        """How the run stands now."""
        crew, throttle = self._crew, self._engine.pages.state
        tally = Tally() if crew is None else crew.tally
        end = self._ended_at or time.monotonic()
        return RunProgress(
            done=tally.done,
            failed=tally.failed,
            skipped=self._feed.skipped + (0 if crew is None else crew.skipped),
            unfinished=tally.unfinished,
            from_store=tally.from_store,
            in_flight=throttle.in_flight,
            pages=0 if crew is None else crew.walker.pages,
            accounts=0 if crew is None else crew.walker.accounts,
            usage=self._ledger.usage,
            seconds=end - self._began_at if self._began_at else 0.0,
            limit=throttle.limit,
            paused_for=throttle.paused_for,
            waits_for=None if crew is None else crew.buyer.waits_for,
            total=self._feed.total,
        )

    @property
    def summary(self) -> RunSummary:
        """What the run did; final after the block."""
        return RunSummary(
            progress=self.progress,
            stopped_by=self.stopped_by,
            error=None if self._crew is None else self._crew.cause,
            previous_at_risk=self._previous_at_risk,
            is_over=self._crew is not None and self._crew.is_over,
        )

    def _enter(self, gives: type[Any] | None, on_outcome: OnOutcome | None = None) -> Crew:
        """Begin to give outcomes or pages, unless begun."""
        crew = self._crew
        if crew is None:
            raise ConfigurationError("a run is entered first, as a context manager")
        if gives is not None and self._gives not in {None, gives}:
            raise ConfigurationError("a run gives outcomes or pages, not both")
        self._gives = self._gives or gives
        self._on_outcome = on_outcome or self._on_outcome
        crew.start(self._watch, self._on_outcome if self._gives is FollowingPage else None)
        return crew

    def _watch(self) -> None:
        if self._crew is not None and self._crew.is_over and not self._ended_at:
            self._ended_at = time.monotonic()
            self._engine.watch.tell(self._make_end())
        if self._on_progress is None:
            return
        try:
            self._on_progress(self.progress)
        # As for `on_event`, nothing is awaited, so a cancellation is not that of the run.
        except (Exception, asyncio.CancelledError):
            self._on_progress = None
            _logger.exception("on_progress failed, and is not called again")

    def _make_end(self) -> RunEnded:
        summary, progress = self.summary, self.progress
        return RunEnded(
            stopped_by=summary.stopped_by,
            error=copy(summary.error),
            done=progress.done,
            failed=progress.failed,
            unfinished=progress.unfinished,
            skipped=progress.skipped,
            from_store=progress.from_store,
            pages=progress.pages,
            accounts=progress.accounts,
            credits_charged=progress.usage.credits_charged,
            credits_at_risk=progress.usage.credits_at_risk,
            seconds=progress.seconds,
        )

    def _end(self, reason: StoppedBy) -> None:
        if self._crew is None:
            self._is_stopped = True
        else:
            self._crew.end(reason)

    def _raise_failure(self) -> None:
        """Raise what came out of the input, once."""
        if self._crew is not None and self._crew.failure is not None:
            failure, self._crew.failure = self._crew.failure, None
            raise failure

    def _open_store(self, path: str | PathLike[str]) -> Coroutine[Any, Any, StoreSession]:
        """Open the store, when awaited, beside the loop: somebody else may write to it."""
        from ._session import StoreSession, open_store  # noqa: PLC0415 - SQLite, for who has a store

        work = partial(
            open_store,
            path,
            origin=make_origin(self._engine.base_url),
            trim=self._run.trim,
            concurrency=self._run.concurrency,
            options={**attrs.asdict(self._run), "max_credits": self._ledger.max_credits},
        )
        return run_to_end(work, StoreSession.close_here, self._leave_at_once)

    async def _leave_at_once(self, session: StoreSession) -> None:
        """Enter and leave, as the caller was cancelled meanwhile."""
        self._begin(session)
        self._end("cancelled")
        await self._enter(None).join()

    def _begin(self, session: StoreSession | None) -> Self:
        self._began_at = time.monotonic()
        self._crew = Crew(
            self._engine, self._feed, self._options, self._run, self._ledger, session=session
        )
        if self._is_stopped:
            self._crew.end("user")
        if session is not None and session.previous_at_risk:
            self._previous_at_risk = session.previous_at_risk
            text = "an earlier run died: what was in flight may have cost %d credits"
            _logger.warning(text, session.previous_at_risk)
        return self


def _ignore(_: Outcome) -> None:
    pass
