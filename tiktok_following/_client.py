"""The front door: puts the parts together and names what users do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Iterable
from os import PathLike
from typing import Literal

import attrs
from aiohttp import ClientSession

from ._bulk import FollowingRun
from ._config import (
    API_KEY_VARIABLE,
    BASE_URL_VARIABLE,
    DEFAULT_BASE_URL,
    ApiKey,
    Options,
    RetryPolicy,
    RunOptions,
    Timeout,
    check_number,
    parse_api_key,
    parse_base_url,
)
from ._connection import Connection
from ._engine import Engine
from ._events import Event
from ._handles import parse_handle
from ._ledger import Ledger
from ._models import Balance, FollowingPage, Identity
from ._outcomes import RunProgress
from ._pagination import FollowingPager, check_cursor
from ._wire import parse_health_response, parse_identity_response


class FollowingClient(Connection):
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
        on_event: Called with every `Event` as it happens, here and in the clients made from this
            one; `None` means nobody listens. It is called on the event loop, so it should be quick,
            and what it raises is logged and goes no further.

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
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        # Rebound at once: no frame of ours holds the key as a text that shows itself.
        api_key = ApiKey(api_key) if isinstance(api_key, str) else api_key
        key = parse_api_key(api_key, ApiKey(os.environ.get(API_KEY_VARIABLE, "")))
        if base_url is None:
            named = os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
            url = parse_base_url(named, BASE_URL_VARIABLE)
        else:
            url = parse_base_url(base_url)
        check_number("max_concurrency", max_concurrency, low=1, whole=True)
        self._options = Options(timeout=timeout, deadline=deadline, retry=retry)
        self._ledger = Ledger(max_credits=max_credits)
        self._is_root = True
        self._engine = Engine(
            key,
            base_url=url,
            session=session,
            max_concurrency=max_concurrency,
            retry_quota=retry.retry_quota,
            trust_env=trust_env,
            on_event=on_event,
        )
        self._base_url = url

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
        name = parse_handle(handle)
        page, _ = await self._engine.buy(name, cursor, self._ledger, self._options, trim=trim)
        return page

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
            page, _ = await self._engine.buy(name, cursor, ledger, self._options, trim=trim)
            return page

        return FollowingPager(
            name,
            fetch,
            ledger,
            cursor=cursor,
            limit=limit,
            max_pages=max_pages,
            raise_for_status=raise_for_status,
        )

    def following_many(
        self,
        handles: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        dedupe: bool = True,
        limit_per_handle: int | None = None,
        max_pages: int | None = None,
        max_credits: int | None = None,
        max_errors: int | None = None,
        trim: bool = False,
        store: str | PathLike[str] | None = None,
        retry_failed: bool = False,
        keep_accounts: bool = True,
        on_insufficient_credits: Literal["stop", "wait"] = "stop",
        stall_timeout: float = 600.0,
        drain_timeout: float = 30.0,
        on_progress: Callable[[RunProgress], object] | None = None,
    ) -> FollowingRun:
        """Look many handles up, as many at once as the API allows.

        Enter what this returns with ``async with``; nothing is sent before its outcomes, or its
        `pages`, are iterated. One handle's trouble never raises: it is in its outcome. Credits
        gone, a refused key and an API that is away end the run once, and every handle that was
        begun still has its outcome; see `FollowingRun.stopped_by`.

        Args:
            handles: Any iterable or async iterable, of any length, read as the run goes on. What
                is no handle becomes an outcome with that error.
            concurrency: The most handles under way; `None` means the client's `max_concurrency`
                and half as many again: while some are written or handed over, others ask.
            ordered: Give the outcomes in the order of the input; a slow handle then holds up those
                after it.
            dedupe: Look each handle up once, however it is spelled; takes under 100 bytes a handle.
            limit_per_handle: The most accounts of each; `None` means all.
            max_pages: The most pages of each; `None` means as many as there are.
            max_credits: The most credits to spend in this run; `None` means no limit of its own.
            max_errors: End the run when this many lookups have failed; `None` means never.
            trim: Ask for smaller answers, in which optional fields may be missing.
            store: A file, made if there is none, in which each page is before the next is asked
                for. What it has complete comes from there for free, the rest goes on.
            retry_failed: Take up again what the store has as failed.
            keep_accounts: Keep the rows in the outcomes; off for what goes to a store.
            on_insufficient_credits: ``"wait"`` looks at the balance now and then, free of charge,
                and goes on after a top-up, instead of ending the run.
            stall_timeout: Seconds without any answered page, while some are asked for, after
                which the run ends; shared pauses count.
            drain_timeout: Seconds that pages under way have to land when the run ends early; what
                has not by then is booked at risk.
            on_progress: Called with the progress about twice a second, and at the end; not again
                if it raised, which is logged and breaks nothing.

        The client's `deadline` is here for a page's own attempts: time queued and paused is not
        counted.

        Raises:
            ConfigurationError: An option cannot work. Entering raises `StoreError` and its kinds.
        """
        slots = self._engine.max_concurrency
        run = RunOptions(
            concurrency=slots + slots // 2 if concurrency is None else concurrency,
            ordered=ordered,
            dedupe=dedupe,
            limit_per_handle=limit_per_handle,
            max_pages=max_pages,
            max_errors=max_errors,
            trim=trim,
            retry_failed=retry_failed,
            keep_accounts=keep_accounts,
            on_insufficient_credits=on_insufficient_credits,
            stall_timeout=stall_timeout,
            drain_timeout=drain_timeout,
        )
        ledger = Ledger(self._ledger, max_credits=max_credits)
        options = attrs.evolve(self._options, counts_waiting=False, takes_turns=True)
        return FollowingRun(
            self._engine, handles, options, run, ledger, store=store, on_progress=on_progress
        )

    async def balance(self) -> Balance:
        """Ask how many credits the key has. Free; paging goes on after a 402 if there are some.

        Raises:
            RequestError: The balance could not be had.
            ClientClosedError: The client is closed.
            WrongLoopError: The client belongs to another event loop.
        """
        return await self._engine.ask_balance(self._options)

    async def whoami(self) -> Identity:
        """Ask who the key belongs to. Free; raises as `balance`."""
        return await self._engine.ask("/v1/whoami", parse_identity_response, self._options)

    async def health(self) -> bool:
        """Ask whether the API is well; free, raises as `balance`, waits when told (see `retry`)."""
        return await self._engine.ask("/health", parse_health_response, self._options)
