"""The front door: puts the parts together and names what users do."""

from __future__ import annotations

import os
import time
from random import Random
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import attrs
from aiohttp import ClientSession

from ._config import (
    API_KEY_VARIABLE,
    BASE_URL_VARIABLE,
    DEFAULT_BASE_URL,
    UNCHANGED,
    ApiKey,
    Options,
    RetryPolicy,
    Timeout,
    Unchanged,
    check_number,
    parse_api_key,
    parse_base_url,
)
from ._handles import parse_handle
from ._ledger import Ledger
from ._limits import AdaptiveLimit, NoLimit, RetryQuota
from ._models import Balance, FollowingPage, Identity, Usage
from ._pagination import FollowingPager, check_cursor
from ._pipeline import Parse, Pipeline
from ._throttle import Throttle, ThrottleState
from ._transport import Transport
from ._wire import (
    Request,
    build_following_request,
    parse_balance_response,
    parse_health_response,
    parse_identity_response,
)

T = TypeVar("T")


@attrs.frozen(eq=False)
class _Shared:
    """What a client and those made from it by `with_options` have in common."""

    transport: Transport
    pages: Throttle
    free: Throttle
    pipeline: Pipeline


class FollowingClient:
    """Reads whom TikTok profiles follow, through the Social Fetch API.

    Use it as ``async with FollowingClient() as client:`` or call `close` when done. One client
    serves any number of tasks of one event loop; they share its connections, throttle and budget.

    Args:
        api_key: The API key, ``sfk_…``; `None` reads the environment variable
            ``SOCIALFETCH_API_KEY``.
        base_url: Where the API is; `None` reads ``SOCIALFETCH_BASE_URL``, or else means
            ``https://api.socialfetch.dev``. Plain http is for this machine alone.
        timeout: How long one attempt may take: 10 s to connect, 60 s between bytes.
        deadline: Seconds for one page with all its waits and retries; `None` means no limit.
        retry: Which failures are tried again.
        max_concurrency: The most pages in flight, at least 1. The client starts with 20 and finds
            out how many the API takes. The provider recommends staying under about 500.
        max_credits: The most credits to spend with this client; `None` means no limit.
        session: Your own aiohttp session, used and never closed; its pool must not be smaller than
            `max_concurrency`. `None` makes one when first needed.
        trust_env: Use the proxy that the environment names.

    Raises:
        ConfigurationError: No key, or a setting that cannot work.
    """

    _base_url = ""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout = Timeout(),  # noqa: B008 - frozen
        deadline: float | None = 300.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        max_concurrency: int = 100,
        max_credits: int | None = None,
        session: ClientSession | None = None,
        trust_env: bool = False,
    ) -> None:
        # Rebound at once: no frame of ours holds the key as a text that shows itself.
        api_key = ApiKey(api_key) if isinstance(api_key, str) else api_key
        key = parse_api_key(api_key, ApiKey(os.environ.get(API_KEY_VARIABLE, "")))
        url = parse_base_url(base_url or os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL)
        check_number("max_concurrency", max_concurrency, low=1, whole=True)
        self._options = Options(timeout=timeout, deadline=deadline, retry=retry)
        self._ledger = Ledger(max_credits=max_credits)
        self._base_url = url
        self._is_root = True
        transport = Transport(
            key, base_url=url, session=session, min_pool=max_concurrency, trust_env=trust_env
        )
        pages = Throttle(AdaptiveLimit(max_concurrency), time.monotonic)
        free = Throttle(NoLimit(), time.monotonic)
        pipeline = Pipeline(
            key,
            transport,
            pages=pages,
            free=free,
            quota=RetryQuota(retry.retry_quota),
            free_quota=RetryQuota(retry.retry_quota),
            chance=Random(),  # noqa: S311 - jitter is no secret
        )
        self._shared = _Shared(transport, pages, free, pipeline)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be pickled or copied: make one per process")

    async def __aenter__(self) -> Self:
        self._shared.transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client, and its session if it is its own; closing again does nothing.

        A client made by `with_options` leaves all that to the one it was made from.

        Raises:
            WrongLoopError: The session belongs to another event loop.
        """
        if self._is_root:
            self._shared.transport.check_loop()
            self._shared.pages.close()
            self._shared.free.close()
            await self._shared.transport.close()

    @property
    def usage(self) -> Usage:
        """What was asked for, sent and paid through this client and those made from it."""
        return self._ledger.usage

    @property
    def throttle(self) -> ThrottleState:
        """How many pages are in flight, may be, and wait, now."""
        return self._shared.pages.state

    def with_options(
        self,
        *,
        timeout: Timeout | Unchanged = UNCHANGED,
        deadline: float | Unchanged | None = UNCHANGED,
        retry: RetryPolicy | Unchanged = UNCHANGED,
        max_credits: int | None = None,
    ) -> Self:
        """Make a client that does some things differently and shares all else with this one.

        Session, throttle, retry quota and the stop after running out of credits are shared. What
        the new client spends counts here too, and must fit the budgets of both.

        Args:
            timeout: See `FollowingClient`; unchanged if left out.
            deadline: See `FollowingClient`; unchanged if left out.
            retry: See `FollowingClient`; unchanged if left out. Its `retry_quota` has no effect.
            max_credits: The most credits to spend with the new client, counted from 0; `None`
                means no limit beyond this client's.

        Raises:
            ConfigurationError: A setting cannot work.
        """
        given: dict[str, Any] = {"timeout": timeout, "deadline": deadline, "retry": retry}
        changes = {name: value for name, value in given.items() if value is not UNCHANGED}
        client = object.__new__(type(self))
        vars(client).update(
            vars(self),
            _options=attrs.evolve(self._options, **changes),
            _ledger=Ledger(self._ledger, max_credits=max_credits),
            _is_root=False,
        )
        return client

    async def following_page(
        self, handle: str, *, cursor: str | None = None, trim: bool = False
    ) -> FollowingPage:
        """Buy exactly one page of the accounts a profile follows.

        Args:
            handle: ``nasa``, ``@nasa`` or the URL of the profile.
            cursor: The `next_cursor` of the page before; `None` for the first page.
            trim: Ask for a smaller answer, in which optional fields may be missing.

        Raises:
            InvalidHandleError: The handle cannot be one; nothing was sent.
            RequestError: No page could be had; the subclass and its attributes say why, and
                whether it may have been charged.
            ClientClosedError: The client is closed.
            WrongLoopError: The client belongs to another event loop.
        """
        check_cursor(cursor)
        return await self._fetch(parse_handle(handle), cursor, self._ledger, trim=trim)

    def following(
        self,
        handle: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        max_pages: int | None = None,
        max_credits: int | None = None,
        trim: bool = False,
        raise_for_status: bool = False,
    ) -> FollowingPager:
        """Read the accounts a profile follows, page by page as they are asked for.

        Nothing is sent before the first account is asked for.

        Args:
            handle: ``nasa``, ``@nasa`` or the URL of the profile.
            cursor: Where to start: the `cursor` of an earlier pager; `None` for the first page.
            limit: The most accounts, as served; `None` means all.
            max_pages: The most pages to buy; `None` means as many as there are.
            max_credits: The most credits to spend on this list; `None` means no limit of its own.
            trim: Ask for smaller answers, in which optional fields may be missing.
            raise_for_status: Raise `ProfileUnavailableError` for a profile that is hidden, private
                or not found, instead of ending without accounts.

        Returns:
            A pager: iterate it for accounts, its `pages()` for pages, or await its `collect()`.
            Reading raises what `following_page` raises, and `PaginationError` where the API leads
            in circles.

        Raises:
            InvalidHandleError: The handle cannot be one.
            ConfigurationError: An option cannot work.
        """
        name = parse_handle(handle)
        ledger = Ledger(self._ledger, max_credits=max_credits)

        async def fetch(cursor: str | None) -> FollowingPage:
            return await self._fetch(name, cursor, ledger, trim=trim)

        return FollowingPager(
            name,
            fetch,
            ledger,
            cursor=cursor,
            limit=limit,
            max_pages=max_pages,
            raise_for_status=raise_for_status,
        )

    async def balance(self) -> Balance:
        """Ask how many credits the key has. Free; paging goes on after a 402 if there are some.

        Raises:
            RequestError: The balance could not be had.
            ClientClosedError: The client is closed.
            WrongLoopError: The client belongs to another event loop.
        """
        balance = await self._ask("/v1/balance", parse_balance_response)
        if balance.balance > 0:
            self._shared.pages.resume_spending()
        return balance

    async def whoami(self) -> Identity:
        """Ask who the key belongs to. Free; raises as `balance`."""
        return await self._ask("/v1/whoami", parse_identity_response)

    async def health(self) -> bool:
        """Ask whether the API is well; free, raises as `balance`, waits when told (see `retry`)."""
        return await self._ask("/health", parse_health_response)

    async def _ask(self, path: str, parse: Parse[T]) -> T:
        self._shared.transport.open()
        request = Request(self._base_url + path)
        return await self._shared.pipeline.send_free(request, parse, self._options)

    async def _fetch(
        self, handle: str, cursor: str | None, ledger: Ledger, *, trim: bool
    ) -> FollowingPage:
        shared = self._shared
        shared.transport.open()
        request = build_following_request(self._base_url, handle, cursor, trim=trim)
        return await shared.pipeline.send_page(request, ledger, self._options)
