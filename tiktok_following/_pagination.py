"""One profile's list, page by page: the only file that walks a cursor.

The law: a page is bought only when its first row is asked for, its rows are handed over before
anything else can go wrong, and no cursor is followed twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Container
from typing import NoReturn, Self

from ._config import check_number
from ._errors import ConfigurationError, FollowingError, PaginationError
from ._ledger import Ledger
from ._models import Account, Following, FollowingPage, Usage
from ._status import LookupStatus, Status

FetchPage = Callable[[str | None], Awaitable[FollowingPage]]

_LONGEST_CURSOR = 4096
"""Characters. Servers refuse a request line of more than some 8,000 bytes."""


class FollowingPager:
    """The accounts a profile follows, read as they are asked for.

    Iterate it for accounts, iterate `pages` for pages, or await `collect` for all at once. Doing so
    again goes on where it stopped, in the middle of a page too, without buying that page again.

    Made by `FollowingClient.following`, which documents the options and the errors.
    """

    def __init__(
        self,
        handle: str,
        fetch: FetchPage,
        ledger: Ledger,
        *,
        cursor: str | None,
        limit: int | None,
        max_pages: int | None,
        raise_for_status: bool,
    ) -> None:
        check_cursor(cursor)
        for name, value in (("limit", limit), ("max_pages", max_pages)):
            if value is not None:
                check_number(name, value, low=0, whole=True)
        self._handle = handle
        self._fetch = fetch
        self._ledger = ledger
        self._start = cursor
        self._limit = limit
        self._max_pages = max_pages
        self._raises = raise_for_status
        self._buying = asyncio.Lock()  # tasks that share a pager share its pages too
        self._page: FollowingPage | None = None
        self._is_untouched = False
        self._rows_of_page = 0
        self._rows = 0
        self._pages = 0
        self._total: int | None = None
        self._followed: set[str | None] = set()
        self._collected: list[Account] = []

    @property
    def handle(self) -> str:
        """The handle asked for, without the leading ``@``."""
        return self._handle

    @property
    def status(self) -> Status | None:
        """What became of the lookup, by the last page bought; `None` before the first."""
        return None if self._page is None else self._page.status

    @property
    def total(self) -> int | None:
        """How many accounts the profile follows, by the last page that told; `None` before."""
        return self._total

    @property
    def usage(self) -> Usage:
        """What reading this list cost so far."""
        return self._ledger.usage

    @property
    def complete(self) -> bool:
        """Whether the list was handed over to its end.

        A profile that is hidden, private or not found has nothing more to give and is complete; a
        list that becomes so in the middle is not.
        """
        page = self._page
        if page is None or page.has_more or self._has_rows():
            return False
        return page.status == LookupStatus.FOUND or page.cursor is None

    @property
    def cursor(self) -> str | None:
        """Where to go on later: the cursor of the first page not wholly handed over.

        `None` is the first page. A new pager from it may repeat rows and skips none, so a loop that
        reads in pieces smaller than a page comes back to the same page: use `max_pages` for that.
        `None` as well once the list is `complete`.
        """
        page = self._page
        if page is None:
            return self._start
        if self._has_rows() or page.status != LookupStatus.FOUND:
            return page.cursor
        return page.next_cursor if page.has_more else None

    @property
    def partial(self) -> Following:
        """What `collect` has read so far, also after it was cancelled or timed out; free."""
        return Following(
            handle=self._handle,
            status=self.status,
            accounts=list(self._collected),
            total=self._total,
            complete=self.complete,
            next_cursor=self.cursor,
            pages=self._pages,
            usage=self.usage,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._handle}: {self._rows} rows of {self._pages} pages>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pager cannot be pickled or copied: keep its cursor, or its partial")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Account:
        while not self._is_at_limit():
            if rows := self._take_rows(1):
                return rows[0]
            if not await self._advance():
                break
        raise StopAsyncIteration

    async def pages(self) -> AsyncGenerator[FollowingPage, None]:
        """Iterate over whole pages, as served.

        A page that was begun comes again, whole and for free. The last page within `limit` is whole
        too, so it may hold more rows than that.
        """
        while (page := await self.next_page()) is not None:
            yield page

    async def next_page(self) -> FollowingPage | None:
        """Give the next of `pages`, or `None` when there is none."""
        while not self._is_at_limit():
            if not self._has_rows() and not await self._advance():
                return None
            page = self._page
            if page is not None and (self._is_untouched or self._has_rows()):
                self._take_rows(len(page.accounts))
                return page
        return None

    def _mark(self) -> Callable[[object], None]:
        """Give what undoes the next step, so that its rows are handed over again.

        Where others take rows meanwhile, these may come again too; none is skipped.
        """
        page, is_untouched, begun, rows = (
            self._page,
            self._is_untouched,
            self._rows_of_page,
            self._rows,
        )

        def go_back(_: object) -> None:
            is_same = self._page is page
            self._is_untouched = is_untouched if is_same else True
            self._rows_of_page = begun if is_same else 0
            self._rows = rows

        return go_back

    async def collect(self) -> Following:
        """Read the rest of the list, and give all that was collected so far.

        Raises:
            FollowingError: Whatever reading a page raises. Its `partial` is what was collected
                before, and calling `collect` again goes on from there.
        """
        try:
            while not self._is_at_limit() and (self._has_rows() or await self._advance()):
                limit = self._limit
                count = None if limit is None else limit - self._rows
                self._collected += self._take_rows(count)
        except FollowingError as error:
            error.partial = self.partial
            raise
        return self.partial

    def _is_at_limit(self) -> bool:
        return self._limit is not None and self._rows >= self._limit

    def _has_rows(self) -> bool:
        return self._page is not None and self._rows_of_page < len(self._page.accounts)

    def _take_rows(self, count: int | None) -> list[Account]:
        """Hand over rows of the page at hand; `None` takes all that are left."""
        if self._page is None:
            return []
        start = self._rows_of_page
        rows = self._page.accounts[start : None if count is None else start + count]
        self._is_untouched = False
        self._rows_of_page += len(rows)
        self._rows += len(rows)
        return rows

    async def _advance(self) -> bool:
        """Buy the next page, unless another task just did; `False` means there is none to buy."""
        last = self._page
        if last is not None and self._raises:
            last.raise_for_status()
        if self._is_over(last) or self._pages == self._max_pages:
            return False
        async with self._buying:
            if self._page is not last:
                return True
            cursor = choose_cursor(last, self._start, self._handle, self._followed)
            page = await self._fetch(cursor)
            self._followed.add(cursor)
            self._page, self._is_untouched, self._rows_of_page = page, True, 0
            self._pages += 1
            self._total = self._total if page.total is None else page.total
            if self._raises:
                page.raise_for_status()
        return True

    def _is_over(self, page: FollowingPage | None) -> bool:
        return page is not None and (not page.has_more or page.status != LookupStatus.FOUND)


def choose_cursor(
    last: FollowingPage | None, start: str | None, handle: str, followed: Container[str | None]
) -> str | None:
    """Give the cursor after a page, or the first one, if it can be trusted to lead on.

    Args:
        last: The page; `None` before the first.
        start: The first cursor.
        handle: Whose list it is.
        followed: The cursors that were followed.

    Raises:
        PaginationError: It cannot.
    """
    cursor = start if last is None else last.next_cursor
    if last is not None and not cursor:
        text = "the API promises more accounts and gives no cursor to them"
    elif cursor is not None and len(cursor) > _LONGEST_CURSOR:
        text = f"the cursor has {len(cursor):,} characters, which no URL can hold"
    elif cursor in followed:
        text = "the API gave a cursor that was followed before, so the list would never end"
        raise PaginationError(text, handle=handle, cursor=cursor)
    else:
        return cursor
    raise PaginationError(text, handle=handle, cursor=None if last is None else last.cursor)


def mark(pager: FollowingPager) -> Callable[[object], None]:
    """Remember where a pager stands; what this gives takes it back there."""
    return pager._mark()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no method for users


def check_cursor(cursor: str | None) -> None:
    """Check a cursor given by the user.

    Raises:
        ConfigurationError: It is empty, which is not the first page, or no text that can be sent.
    """
    if cursor is None:
        return
    is_text = isinstance(cursor, str)  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
    if not is_text or not cursor or any("\ud800" <= letter <= "\udfff" for letter in cursor):
        raise ConfigurationError(f"cursor must be a text, or None for the first page: {cursor!a}")
