"""Read the lists of a plan, one after the other, rows out as they come.

The law: one list's failure is a line and the others go on; what speaks of all lists ends the run;
a list left in the middle says where it can go on.
"""

import asyncio

import attrs

from tiktok_following._client import FollowingClient
from tiktok_following._errors import FollowingError
from tiktok_following._fields import shorten
from tiktok_following._models import FollowingPage
from tiktok_following._pagination import FollowingPager
from tiktok_following._status import LookupStatus, Status

from ._exit import DONE, FAILED, choose_exit_code, ends_run, explain, leads_on
from ._messages import Messages
from ._output import Output, OutputClosed, OutputFailedError
from ._plan import Plan
from ._progress import ReadingProgress
from ._rows import RowWriter
from ._words import count

_STATUSES: dict[Status | None, str] = {
    LookupStatus.HIDDEN: "hidden (the profile keeps its list to itself)",
    LookupStatus.PRIVATE: "private (the whole account is)",
    LookupStatus.NOT_FOUND: "not found (there is no such profile)",
}
_SHOWN_HANDLES = 5


@attrs.define(kw_only=True)
class _List:
    """How far one list was read."""

    handle: str
    pages: int = 0
    accounts: int = 0
    """Rows written."""
    cursor: str | None = None
    """Where to go on; `None` is the first page."""
    repeated: int = 0
    """Rows written that going on from there gives once more."""
    is_complete: bool = False


@attrs.define(kw_only=True)
class Reading:
    """One run through the lists of a plan."""

    plan: Plan
    client: FollowingClient
    rows: RowWriter
    output: Output
    messages: Messages
    progress: ReadingProgress
    lists: list[_List] = attrs.field(factory=list[_List])
    """Those begun."""
    failed: int = 0
    """Those that no answer was to be had for."""

    async def read_all(self) -> int:
        """Read every list and say what it cost; return the exit code.

        Raises:
            OutputClosed: Nobody reads the rows any more.
        """
        code = DONE
        is_wanted = True
        try:
            for handle in self.plan.handles:
                error = await self._read(handle)
                if error is not None and ends_run(error):
                    code = choose_exit_code(error)
                    break
                if error is not None:
                    code, self.failed = FAILED, self.failed + 1
        except OutputClosed:
            is_wanted = False
            raise
        finally:
            if is_wanted:
                self._say_unread()
            self._say_summary()
        return code

    async def _read(self, handle: str) -> FollowingError | OutputFailedError | None:
        """Read one list and say how it ended; return the error that ended it."""
        state = _List(handle=handle, cursor=self.plan.cursor)
        self.lists.append(state)
        self.progress.begin(handle)
        try:
            status = await self._hand_over_pages(state)
        except (FollowingError, OutputFailedError) as error:
            who = "" if ends_run(error) else f"{handle}: "
            self.messages.say(who + explain(error, verbose=self.messages.verbose))
            if leads_on(error):
                self._say_stop(state)
            return error
        except asyncio.CancelledError:
            self._say_stop(state, "interrupted")
            raise
        self._say_end(state, status)
        return None

    async def _hand_over_pages(self, state: _List) -> Status | None:
        plan = self.plan
        pager = self.client.following(
            state.handle,
            cursor=plan.cursor,
            limit=plan.limit,
            max_pages=plan.max_pages,
            trim=plan.trim,
        )
        async for page in pager.pages():
            self._hand_over(page, pager, state)
            if not state.is_complete:
                self.progress.advance(state.accounts, plan.expect(pager.total))
                self.output.check_reader()
        return pager.status

    def _hand_over(self, page: FollowingPage, pager: FollowingPager, state: _List) -> None:
        """Write the rows of a page, the last one cut at the limit."""
        limit = self.plan.limit
        accounts = page.accounts[: None if limit is None else limit - state.accounts]
        state.pages += 1  # paid, whatever becomes of its rows
        self.rows.write(state.handle, accounts)
        state.accounts += len(accounts)
        if len(accounts) < len(page.accounts):
            state.repeated = len(accounts)
        else:
            state.cursor, state.is_complete = pager.cursor, pager.complete

    def _say_end(self, state: _List, status: Status | None) -> None:
        """Say what the rows do not: that there are none and why, or that there are more."""
        if status != LookupStatus.FOUND:
            unknown = f"'{shorten(str(status))}', a status this version does not know"
            self.messages.say(f"{state.handle}: {_STATUSES.get(status, unknown)}")
        elif state.is_complete and not state.accounts and self.plan.cursor is None:
            self.messages.say(f"{state.handle}: follows nobody")
        if not state.is_complete:
            self._say_stop(state)

    def _say_stop(self, state: _List, verb: str = "stopped") -> None:
        """Say where to go on, if anything was read that going on would not read again."""
        head = f"{state.handle}: {verb} after {count(state.accounts, 'account')}"
        if state.cursor is not None and (state.accounts or state.cursor != self.plan.cursor):
            again = f", {state.repeated} of them again," if state.repeated else ""
            command = self.plan.continue_from(state.handle, state.cursor)
            self.messages.say(f"{head}; go on{again} with: {command}")
        elif state.accounts:
            self.messages.say(f"{head}, within the first page: no cursor to go on from yet")
        elif verb == "interrupted":
            self.messages.say(f"{state.handle}: interrupted before the first page")

    def _say_unread(self) -> None:
        unread = self.plan.handles[len(self.lists) :]
        if unread:
            more = len(unread) - _SHOWN_HANDLES
            names = ", ".join(unread[:_SHOWN_HANDLES])
            self.messages.say(f"not begun: {names}{f' and {more} more' if more > 0 else ''}")

    def _say_summary(self) -> None:
        usage = self.client.usage
        parts = [
            count(len(self.lists), "handle"),
            count(sum(each.accounts for each in self.lists), "account"),
            count(sum(each.pages for each in self.lists), "page"),
            f"{count(usage.credits_charged, 'credit')} charged",
        ]
        if usage.credits_at_risk:
            parts.append(f"{usage.credits_at_risk} at risk")
        if self.failed:
            parts.append(f"{self.failed} failed")
        where = " (sandbox: no real credits)" if self.plan.sandbox else ""
        self.messages.say(", ".join(parts) + where)
