"""The parts of a client, put together once: transport, throttles and pipeline.

The law: a client, those made from it and their runs share one engine; what they do differently
comes in with each call.
"""

import time
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from aiohttp import ClientSession

from ._call import AnsweredCancellation, Parse
from ._config import ApiKey, Options
from ._events import PageFetched
from ._ledger import Bill, Ledger
from ._limits import AdaptiveLimit, NoLimit, Pause, RetryQuota
from ._models import Balance, FollowingPage
from ._pipeline import Pipeline
from ._throttle import Throttle
from ._transport import Transport
from ._watch import OnEvent, Watch
from ._wire import Request, build_following_request, parse_balance_response

T = TypeVar("T")


class Engine:
    """Buys pages and asks the free routes.

    Args:
        key: The API key.
        base_url: Where the API is.
        session: The user's own session; `None` makes one when first needed.
        max_concurrency: The most pages in flight.
        retry_quota: Retry tokens of the pages, and again of the free routes.
        trust_env: Use the proxy that the environment names.
        on_event: Hears what happens; `None` if nobody does.

    Raises:
        ConfigurationError: The session cannot serve, or `on_event` cannot be called.
    """

    def __init__(
        self,
        key: ApiKey,
        *,
        base_url: str,
        session: ClientSession | None,
        max_concurrency: int,
        retry_quota: int,
        trust_env: bool,
        on_event: OnEvent | None,
    ) -> None:
        self.base_url = base_url
        self.max_concurrency = max_concurrency
        self.transport = Transport(
            key, base_url=base_url, session=session, min_pool=max_concurrency, trust_env=trust_env
        )
        self.watch = Watch(on_event)
        tell = self.watch.tell
        limit = AdaptiveLimit(max_concurrency, tell)
        self.pages = Throttle(limit, time.monotonic, Pause(tell))
        self._free = Throttle(NoLimit(), time.monotonic, Pause(tell))
        self._pipeline = Pipeline(
            key,
            self.transport,
            pages=self.pages,
            free=self._free,
            quota=RetryQuota(retry_quota),
            free_quota=RetryQuota(retry_quota),
            chance=Random(),  # noqa: S311 - jitter is no secret # nosec B311
            watch=self.watch,
        )
        self.turns = self._pipeline.turns

    def buy(
        self,
        handle: str,
        cursor: str | None,
        ledger: Ledger,
        options: Options,
        *,
        trim: bool,
        bill: Bill | None = None,
    ) -> Coroutine[Any, Any, tuple[FollowingPage, bytes]]:
        """Buy one page, when awaited; give it with its body. Raises as `Pipeline.send_page`."""
        self.transport.check_open()
        request = build_following_request(self.base_url, handle, cursor, trim=trim)
        send = self._buy_watched if self.watch.is_on else self._pipeline.send_page
        return send(request, ledger, options, bill)

    async def ask(self, path: str, parse: Parse[T], options: Options) -> T:
        """Ask a free route; raises as `buy`."""
        self.transport.check_open()
        request = Request(self.base_url + path)
        with self.watch.call(request):
            return await self._pipeline.send_free(request, parse, options)

    async def ask_balance(self, options: Options) -> Balance:
        """Ask how many credits there are; with some, paging goes on after a 402."""
        balance = await self.ask("/v1/balance", parse_balance_response, options)
        if balance.balance > 0:
            self.pages.resume_spending()
        return balance

    async def close(self) -> None:
        """Let nothing more be sent, and close the session if it is our own.

        Raises:
            WrongLoopError: The session belongs to another event loop.
        """
        self.transport.check_loop()
        self.pages.close()
        self._free.close()
        self._pipeline.close()
        await self.transport.close()

    async def _buy_watched(
        self, request: Request, ledger: Ledger, options: Options, bill: Bill | None
    ) -> tuple[FollowingPage, bytes]:
        began = time.monotonic()
        with self.watch.call(request):
            try:
                page, body = await self._pipeline.send_page(request, ledger, options, bill)
            except AnsweredCancellation as cancellation:
                self._tell_page(cancellation.answer[0], began)
                raise
            self._tell_page(page, began)
        return page, body

    def _tell_page(self, page: FollowingPage, began: float) -> None:
        self.watch.tell(
            PageFetched(
                handle=page.handle,
                cursor=page.cursor,
                next_cursor=page.next_cursor,
                status=page.status,
                accounts=len(page.accounts),
                total=page.total,
                credits_charged=page.credits_charged,
                cached=page.cached,
                request_id=page.request_id,
                seconds=time.monotonic() - began,
            )
        )
