"""Time what retry, throttle and ledger add to a page, and what a run adds to a handle.

Run it as ``python benchmarks/overhead.py``. Nothing goes over the network: a page is had at once,
so that nothing but our own code is timed. The sides take turns in one process.

A page: the pipeline over a transport that has the answer, less the reading of that answer. In a
run those that come together wait for their turn, which is part of it.
A handle: a run over an engine that has the page, less a loop of as many workers that ask it too.
How fast the machine is just then: `orjson.loads` of a page of 30 accounts takes the time of a
parse, in the same rounds.
"""

import asyncio
import gc
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import orjson
from aiohttp import ClientTimeout
from structuring import make_pages

from tiktok_following import FollowingClient, FollowingPage, RetryPolicy, Timeout
from tiktok_following._config import ApiKey, Options
from tiktok_following._ledger import Ledger
from tiktok_following._limits import AdaptiveLimit, Pause, RetryQuota
from tiktok_following._pipeline import Pipeline
from tiktok_following._sending import Sending, TakeTurn
from tiktok_following._throttle import Throttle
from tiktok_following._turns import Turns
from tiktok_following._watch import Watch
from tiktok_following._wire import Request, Response, parse_following_response

ROUNDS = 41
PAGES = 2000
PARSES = 100
WORKERS = 64
KEY = ApiKey("sfk_0123456789abcdef0123456789abcdef")
BODY = orjson.dumps(
    {
        "data": {
            "lookupStatus": "found",
            "accounts": [],
            "page": {"nextCursor": None, "hasMore": False},
            "totalAccounts": 0,
        },
        "meta": {"requestId": "req_benchmark", "creditsCharged": 1, "version": "v1"},
    }
)
REQUEST = Request("http://127.0.0.1/v1/tiktok/profiles/nasa/following", "nasa")
RESPONSE = Response(200, {}, BODY, 0.0)
TIMEOUT = ClientTimeout()
OPTIONS = Options(timeout=Timeout(), deadline=300.0, retry=RetryPolicy())
RUN_OPTIONS = attrs.evolve(OPTIONS, counts_waiting=False, takes_turns=True)

Side = Callable[[], Awaitable[object]]


class Answered:
    """A transport that has the answer."""

    def open(self) -> None:
        """Do nothing."""

    def make_sending(self, limits: Timeout, take_turn: TakeTurn | None = None) -> Sending:
        """Give what the real one gives."""
        self._take_turn = take_turn
        return Sending(TIMEOUT, limits.read, None, take_turn)

    async def send(self, _: str, sending: Sending) -> Response:
        """Give it, when it is its turn."""
        if self._take_turn is not None:
            sending.had_turn = True
            if (turn := self._take_turn(sending)) is not None:
                await turn
        return RESPONSE


class Stocked:
    """An engine that has the page."""

    max_concurrency = WORKERS

    def __init__(self) -> None:
        self.transport = Answered()
        self.pages = make_throttle()
        self.turns = Turns(time.monotonic)
        self.watch = Watch()
        self._page = parse_following_response(REQUEST, RESPONSE, KEY)

    async def buy(self, *_: object, **__: object) -> tuple[FollowingPage, bytes]:
        """Give it."""
        return self._page, BODY


def make_throttle() -> Throttle:
    """Make the throttle of a client."""
    return Throttle(AdaptiveLimit(WORKERS), time.monotonic, Pause())


def make_pipeline() -> Pipeline:
    """Make the pipeline of a client, over a transport that has the answer."""
    transport: Any = Answered()
    return Pipeline(
        KEY,
        transport,
        pages=make_throttle(),
        free=make_throttle(),
        quota=RetryQuota(500),
        free_quota=RetryQuota(500),
        chance=random.Random(),
        watch=Watch(),
    )


def make_page_sides(options: Options) -> list[Side]:
    """Give the reading of answers alone, and through all that a client does; 64 come together."""
    pipeline, ledger = make_pipeline(), Ledger(Ledger())

    async def read() -> None:
        for number in range(PAGES):
            parse_following_response(REQUEST, RESPONSE, KEY)
            if number % WORKERS == 0:
                await asyncio.sleep(0)

    async def send() -> None:
        for number in range(PAGES):
            await pipeline.send_page(REQUEST, ledger, options)
            if number % WORKERS == 0:
                await asyncio.sleep(0)

    return [read, send]


def make_stocked_client() -> FollowingClient:
    """Make a client whose pages are had at once."""
    client = FollowingClient(KEY)
    vars(client)["_engine"] = Stocked()
    return client


def make_handle_sides() -> list[Side]:
    """Give a loop of workers, and a run."""
    client = make_stocked_client()
    engine = vars(client)["_engine"]
    numbers = itertools.count()

    def make_handles() -> list[str]:
        return [f"handle{next(numbers)}" for _ in range(PAGES)]

    async def loop() -> None:
        handles = iter(make_handles())

        async def work() -> None:
            for handle in handles:
                await engine.buy(handle, None, None, None, trim=False)

        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(work())

    async def run() -> None:
        async with client.following_many(make_handles()) as outcomes:
            async for _ in outcomes:
                pass

    return [loop, run]


async def time_once(side: Side) -> float:
    """Return the microseconds of a page, by the processor's clock."""
    gc.collect()
    began = time.process_time()
    await side()
    return (time.process_time() - began) / PAGES * 1e6


def time_parse(body: bytes) -> float:
    """Return the microseconds of `orjson.loads`, likewise."""
    began = time.process_time()
    for _ in range(PARSES):
        orjson.loads(body)
    return (time.process_time() - began) / PARSES * 1e6


async def compare(name: str, sides: list[Side], body: bytes) -> None:
    """Print one line: the two sides, what the second takes longer, and what a parse took."""
    rounds = [[*[await time_once(side) for side in sides], time_parse(body)] for _ in range(ROUNDS)]
    alone, whole, parse = (statistics.median(taken) for taken in zip(*rounds, strict=True))
    more = sorted(whole - alone for alone, whole, _ in rounds)
    part = statistics.median((whole - alone) / parse for alone, whole, parse in rounds)
    quartiles = f"{more[ROUNDS // 4]:.1f} … {more[ROUNDS * 3 // 4]:.1f}"
    middle = f"{statistics.median(more):.1f}"
    print(
        f"{name:18}{alone:>9.1f}{whole:>9.1f}{middle:>9}  {quartiles:14}{parse:>9.1f}{part:>9.3f}"
    )


async def main() -> None:
    """Print one table."""
    print(f"µs, medians of {ROUNDS} rounds of {PAGES:,}; the empty page is read in both sides")
    heads = f"{'alone':>9}{'with us':>9}{'more':>9}  {'half of them':14}{'a parse':>9}{'part':>9}"
    print(f"{'':18}{heads}")
    body = make_pages()["full"]
    await compare("a page", make_page_sides(OPTIONS), body)
    await compare("a page of a run", make_page_sides(RUN_OPTIONS), body)
    await compare("a handle", make_handle_sides(), body)


if __name__ == "__main__":
    asyncio.run(main())
