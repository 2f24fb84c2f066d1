"""Run what a bulk plan says: outcomes in, rows out.

The law: whatever ends it, the last lines say what was done, what it cost and how to go on.
"""

import asyncio

import attrs

from tiktok_following._bulk import FollowingRun
from tiktok_following._client import FollowingClient
from tiktok_following._errors import InvalidHandleError
from tiktok_following._models import Account, FollowingPage
from tiktok_following._outcomes import Outcome
from tiktok_following._store_errors import StoreError

from ._bulk_display import BulkDisplay
from ._bulk_plan import BulkPlan
from ._bulk_rows import STANDARD_OUTPUT, BulkRows
from ._closing import Counts, iter_closing_lines
from ._exit import DONE, FAILED, choose_exit_code, explain
from ._handles import Handles
from ._interruption import Interruption
from ._messages import Messages
from ._run import open_client
from ._words import count

_SHOWN_FAILURES = 10


async def run_bulk(plan: BulkPlan, handles: Handles, messages: Messages) -> int:
    """Look all handles up, say what came of it, and return the exit code.

    Raises:
        StoreError: The store cannot be used; nothing was bought.
        OutputFailedError: The rows cannot be written; nothing was bought.
    """
    async with open_client(sandbox=plan.sandbox, max_concurrency=plan.concurrency) as client:
        display = BulkDisplay(messages, is_drawn=plan.jsonl != STANDARD_OUTPUT)
        job = _Job(
            plan=plan,
            handles=handles,
            messages=messages,
            run=_make_run(plan, handles, client, display),
            display=display,
        )
        return await job.do()


def _make_run(
    plan: BulkPlan, handles: Handles, client: FollowingClient, display: BulkDisplay
) -> FollowingRun:
    return client.following_many(
        handles,
        limit_per_handle=plan.limit_per_handle,
        max_pages=plan.max_pages,
        max_credits=plan.max_credits,
        trim=plan.trim,
        store=plan.store,
        retry_failed=plan.retry_failed,
        keep_accounts=False,
        on_insufficient_credits=plan.on_insufficient_credits.value,
        on_progress=display.show,
    )


@attrs.define(kw_only=True)
class _Job:
    """One run of a plan."""

    plan: BulkPlan
    handles: Handles
    messages: Messages
    run: FollowingRun
    display: BulkDisplay
    counts: Counts = attrs.field(factory=Counts)
    rows: BulkRows | None = None
    """`None` before the run has begun."""
    had: dict[str, int] = attrs.field(factory=dict[str, int])
    """Rows of each handle so far, where there is a limit."""

    async def do(self) -> int:
        """Do it, and return the exit code."""
        with Interruption(self._stop) as interruption:
            try:
                await self._read(interruption)
            except asyncio.CancelledError as cancellation:
                if interruption.exit_code is None:
                    raise
                if self.rows is None:
                    self._say_unopened(cancellation.__cause__)
            finally:
                if self.rows is not None:
                    self._say_end()
        return self._choose_exit_code(interruption.exit_code)

    def _stop(self) -> None:
        self.run.stop()
        number = count(self.run.progress.in_flight, "page")
        self.messages.say(f"stopping: {number} under way will be stored; again leaves at once")

    async def _read(self, interruption: Interruption) -> None:
        try:
            async with self.run as run:
                self._say_risk()
                self.rows = BulkRows(self.plan.jsonl, self.messages, run.stop)
                with self.display, interruption.hasten():
                    await self._take_all(self.rows)
        finally:
            if self.rows is not None:  # what landed when nobody took it any more
                await self._take_all(self.rows)

    async def _take_all(self, rows: BulkRows) -> None:
        if self.plan.jsonl is None:
            async for outcome in self.run:
                self._take(outcome, rows)
        else:
            async for page in self.run.pages(on_outcome=lambda each: self._take(each, rows)):
                rows.write(page.handle, self._cut(page))

    def _cut(self, page: FollowingPage) -> list[Account]:
        """Give the rows of a page that the limit allows; its pages come in their order."""
        limit = self.plan.limit_per_handle
        if limit is None:
            return page.accounts
        key = page.handle.lower()
        before = self.had.get(key, 0)
        self.had[key] = before + len(page.accounts)
        return page.accounts[: max(0, limit - before)]

    def _take(self, outcome: Outcome, rows: BulkRows) -> None:
        self.counts.add(outcome)
        rows.note(outcome)
        if outcome.error is None or outcome.is_unfinished:
            return
        failures = self.counts.failed + self.counts.invalid
        if failures <= _SHOWN_FAILURES or self.messages.verbose:
            is_invalid = isinstance(outcome.error, InvalidHandleError)
            who = "" if is_invalid else f"{outcome.handle}: "
            self.messages.say(who + explain(outcome.error, verbose=self.messages.verbose))
        elif failures == _SHOWN_FAILURES + 1:
            self.messages.say("more failures are only counted, without -v")

    def _say_unopened(self, cause: BaseException | None) -> None:
        """Say what became of a run that was left while its store was being opened."""
        if isinstance(cause, StoreError):
            self.messages.say(explain(cause))
        else:
            self._say_risk()
            self._say_end()

    def _say_risk(self) -> None:
        if self.run.previous_at_risk:
            cost = f"up to {count(self.run.previous_at_risk, 'credit')}"
            self.messages.say(f"an earlier run died: its pages in flight may have cost {cost}")

    def _say_end(self) -> None:
        """Say the last lines."""
        summary, problem = self.run.summary, self.handles.problem
        if problem is not None:
            self.messages.say(f"{problem}; what comes after it was not read")
        if self.rows is not None:
            is_whole = summary.stopped_by is None and problem is None
            self.rows.close(is_whole=is_whole, is_told=summary.stopped_by == "store")
        lines = iter_closing_lines(
            self.plan,
            summary,
            self.counts,
            is_cut=problem is not None,
            verbose=self.messages.verbose,
        )
        for line in lines:
            self.messages.say(line)

    def _choose_exit_code(self, interrupted: int | None) -> int:
        summary = self.run.summary
        is_left = self.rows is None or summary.stopped_by in {"user", "cancelled"}
        if is_left and interrupted is not None:
            return interrupted
        if summary.error is not None:
            return choose_exit_code(summary.error)
        is_broken = self.rows is not None and self.rows.is_broken
        has_failures = self.counts.failed or self.counts.invalid or self.handles.problem is not None
        return FAILED if is_broken or has_failures else DONE
