"""Run the API on localhost and let a test look into it, script it and change it."""

import asyncio
from types import EllipsisType
from typing import Any, Self

from aiohttp import web

from tiktok_following.sandbox._ledger import Charge, Ledger
from tiktok_following.sandbox._requests import RecordedRequest
from tiktok_following.sandbox._script import Chooser
from tiktok_following.sandbox._service import Service, Terms
from tiktok_following.sandbox._thread import LoopThread
from tiktok_following.sandbox._waiting import Waits
from tiktok_following.sandbox.faults import Fault
from tiktok_following.sandbox.profiles import Profile, World

_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.2
"""What a client that does not read its answer may cost at closing, twice."""


class Sandbox:
    """The Social Fetch API on 127.0.0.1, with invented profiles and scripted faults.

    Use it as ``async with Sandbox() as sandbox`` on your loop, or as ``with Sandbox() as sandbox``
    on a thread of its own. Every attribute may be read, and `script` called, from any thread.

    Args:
        seed: Which profiles are invented; the named ones have the same shape for every seed.
        api_key: The key that is accepted; `add_key` adds more.
        credits: Credits of that key at the start.
        page_size: Accounts on a page.
        price: Credits that a page costs.
        totals: Least and greatest length of an invented list; short ones are likelier.
        latency: Seconds that processing takes, on every route.
        max_in_flight: Page requests processed at once, the others get 503; None means any number.
        retry_after: ``Retry-After`` of that 503: seconds (decimals too) or an HTTP date as text.
        lean_balance: Whether ``/v1/balance`` answers as older versions do, with one key.
        keep_records: Whether `requests` and `charges` are kept; False for long load tests.
        port: TCP port; 0 means any that is free.

    Raises:
        ValueError: For an empty key or page, or negative credits, price, latency or totals.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        api_key: str = "sfk_test_sandbox",
        credits: int = 1_000_000,  # noqa: A002 - the API's own word
        page_size: int = 30,
        price: int = 1,
        totals: tuple[int, int] = (0, 3_000),
        latency: float = 0.0,
        max_in_flight: int | None = None,
        retry_after: float | str = 1.0,
        lean_balance: bool = False,
        keep_records: bool = True,
        port: int = 0,
    ) -> None:
        self.api_key = api_key
        self.terms = Terms(
            page_size=page_size,
            price=price,
            latency=latency,
            max_in_flight=max_in_flight,
            retry_after=retry_after,
            lean_balance=lean_balance,
        )
        ledger, world = Ledger(keep_charges=keep_records), World(seed, totals)
        ledger.set_balance(api_key, credits)
        self._service = Service(
            terms=self.terms, ledger=ledger, world=world, keep_records=keep_records
        )
        self._port = port
        self._base_url = ""
        self._runner: web.ServerRunner | None = None
        self._thread: LoopThread | None = None

    def __repr__(self) -> str:
        return f"<Sandbox {self._base_url or 'not running'}, {self.requests_received} requests>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        thread = LoopThread("tiktok-following-sandbox")
        try:
            thread.run(self.start())
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._thread is not None:
            self._thread.run(self.close())
            self._thread.close()
            self._thread = None

    async def start(self) -> None:
        """Listen on 127.0.0.1, on the running loop.

        Raises:
            OSError: When the port is taken.
            RuntimeError: When it is running already.
        """
        if self._runner is not None:
            raise RuntimeError("this sandbox is running already")
        self._service.waits = Waits()
        server = web.Server(self._service.handle, handler_cancellation=False, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._base_url = f"http://{_HOST}:{runner.addresses[0][1]}"
        self._runner = runner

    async def close(self) -> None:
        """Stop at once: requests under way are dropped, connections closed; twice is harmless."""
        runner, self._runner, self._base_url = self._runner, None, ""
        if runner is not None:
            # A connection that asyncio accepts in the turn of the loop that closes the listener is
            # leaked (seen on 3.11). After a timer its accepting task has run, after sleep(0) not.
            await asyncio.sleep(0.001)
            for site in runner.sites:
                await site.stop()
            self._service.waits.close()
            await runner.cleanup()

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:<port>``, to give to the client.

        Raises:
            RuntimeError: When the sandbox is not running.
        """
        if not self._base_url:
            raise RuntimeError("this sandbox is not running: use it as `async with` or `with`")
        return self._base_url

    @property
    def credits_left(self) -> int:
        """Credits of the key `api_key`; set it to top up or to run out."""
        return self.credits_of(self.api_key)

    @credits_left.setter
    def credits_left(self, credits_left: int) -> None:
        self._service.ledger.set_balance(self.api_key, credits_left)

    @property
    def charges(self) -> list[Charge]:
        """The truth about credits: one charge for each billed request of any key, in order."""
        return self._service.ledger.charges

    @property
    def credits_charged(self) -> int:
        """Credits charged so far, to all keys together."""
        return self._service.ledger.charged

    @property
    def requests(self) -> list[RecordedRequest]:
        """Everything that came, in order, the refused and the dropped too."""
        return self._service.requests

    @property
    def requests_received(self) -> int:
        """How many requests came, also when they are not kept."""
        return self._service.received

    @property
    def in_flight(self) -> int:
        """Page requests let in and not yet answered."""
        return self._service.load.now

    @property
    def peak_in_flight(self) -> int:
        """The most page requests that were in flight at once."""
        return self._service.load.peak

    @property
    def in_flight_seconds(self) -> float:
        """Page requests in flight, summed over time; divided by seconds it is their average."""
        return self._service.load.seconds

    @property
    def faults_left(self) -> int:
        """Scripted faults that no request has met yet."""
        return self._service.script.faults_left

    def script(
        self,
        *faults: Fault,
        handle: str | None = None,
        cursor: str | EllipsisType | None = ...,
        route: str = "following",
    ) -> None:
        """Give the next requests that match one fault each, in this order.

        Args:
            faults: What `tiktok_following.sandbox.faults` makes.
            handle: Only requests for this handle, in any case; None means every handle.
            cursor: Only requests with this cursor, None being the first page; ``...`` means any.
            route: ``following``, ``balance``, ``whoami`` or ``health``.
        """
        self._service.script.queue(faults, route, handle, cursor)

    def script_by(self, chooser: Chooser | None) -> None:
        """Ask this function about each request that no queue has a fault for; None stops it.

        It runs on the server's loop, so it should be quick.
        """
        self._service.script.chooser = chooser

    def clear_script(self) -> None:
        """Forget every scripted fault and the chooser: be honest from now on."""
        self._service.script.clear()

    def add_key(self, key: str, credits_left: int) -> None:
        """Accept another key with these credits, or set the credits of a known one.

        Raises:
            ValueError: For an empty key or negative credits.
        """
        self._service.ledger.set_balance(key, credits_left)

    def credits_of(self, key: str) -> int:
        """Return the credits of this key.

        Raises:
            KeyError: When the key was never added.
        """
        credits_left = self._service.ledger.balance(key)
        if credits_left is None:
            raise KeyError("this key was never added")
        return credits_left

    def profile(self, handle: str) -> Profile:
        """Return the truth about a handle, in any case: every account once, untrimmed."""
        return self._service.world.profile(handle)

    def pages(self, handle: str) -> list[list[dict[str, Any]]]:
        """Return the accounts of each page that an honest walk is served, in order."""
        return self._service.world.pages(handle, self.terms.page_size)

    def set_profile(self, handle: str, profile: Profile) -> None:
        """Give a handle, in any case, a profile of your own; also while it is being read."""
        self._service.world.set_profile(handle, profile)
