"""Show how pages per second grow: with latency, concurrency, the length of lists and handles.

Run it as ``python benchmarks/growth.py``, or with ``--quick``. With 300 ms per answer, as the API
takes, a client can do no better than slots ÷ latency; until the processor is what is left.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from contenders import KEY, PAGES_OF_A_LIST, Target
from measuring import read_peak
from others import open_aiohttp_orjson
from overhead import make_stocked_client
from serving import serve

from tiktok_following import FollowingClient

LATENCY = 0.3
SLOTS = (50, 100, 250, 500)
CONCURRENCIES = (1, 4, 16, 64, 250, 500)
MOST_SLOTS = 500
MANY = 1_000_000

HEADING = f"{'':28}{'pages/s':>10}{'of the limit':>14}{'CPU µs':>8}{'core busy':>11}"


@attrs.frozen
class Taken:
    """What a run over many handles took."""

    pages: int
    seconds: float
    cpu: float

    def format(self, name: str, limit: float | None = None) -> str:
        """Give one line of a table."""
        rate = self.pages / self.seconds
        share = "" if limit is None else f"{rate / limit:.1%}"
        micro = self.cpu / self.pages * 1e6
        busy = f"{self.cpu / self.seconds:.0%}"
        return f"{name:28}{rate:>10,.0f}{share:>14}{micro:>8,.0f}{busy:>11}"


class Reader:
    """Reads many handles with one client; each is asked for once.

    Args:
        client: The client.
    """

    def __init__(self, client: FollowingClient) -> None:
        self._client = client
        self._numbers = itertools.count()

    async def read(self, handles: int, concurrency: int, kind: str = "one") -> Taken:
        """Read the lists of so many handles: ``one`` has one page, ``list`` has more."""
        names = [f"{kind}{next(self._numbers)}" for _ in range(handles)]
        began, cpu, pages = time.perf_counter(), time.process_time(), 0
        async with self._client.following_many(names, concurrency=concurrency) as run:
            async for outcome in run:
                pages += outcome.unwrap().pages
        return Taken(pages, time.perf_counter() - began, time.process_time() - cpu)


async def read_bare(url: str, slots: int, rounds: int) -> Taken:
    """Read with aiohttp and orjson alone, as a yardstick."""
    async with open_aiohttp_orjson(Target(url, slots, Path())) as read:
        await read(2 * slots)
        began, cpu = time.perf_counter(), time.process_time()
        await read(rounds * slots)
        return Taken(rounds * slots, time.perf_counter() - began, time.process_time() - cpu)


async def show_latency(url: str, rounds: int) -> None:
    """Print what is reached of slots ÷ latency, and what the processor takes for it."""
    print(f"{LATENCY * 1000:.0f} ms per answer, {rounds} answers for each slot\n{HEADING}")
    for slots in SLOTS:
        bare = await read_bare(url, slots, rounds)
        print(bare.format(f"{slots} slots, bare aiohttp", slots / LATENCY), flush=True)
        async with FollowingClient(KEY, base_url=url, max_concurrency=slots) as client:
            reader = Reader(client)
            while client.throttle.limit < slots:  # the throttle grows as answers come
                await reader.read(4 * slots, slots)
            taken = await reader.read(rounds * slots, slots)
        print(taken.format(f"{slots} slots, a run", slots / LATENCY), flush=True)


async def show_growth(url: str, pages: int) -> None:
    """Print what concurrency, length and number change when only the processor is the limit."""
    print(f"\nanswers at once\n{HEADING}")
    async with FollowingClient(KEY, base_url=url, max_concurrency=MOST_SLOTS) as client:
        reader = Reader(client)
        while client.throttle.limit < MOST_SLOTS:
            await reader.read(2 * MOST_SLOTS, MOST_SLOTS)
        for concurrency in CONCURRENCIES:
            count = pages if concurrency > 1 else pages // 2
            print((await reader.read(count, concurrency)).format(f"{concurrency} in flight"))
        lists = await reader.read(pages // PAGES_OF_A_LIST, 64, "list")
        print(lists.format(f"64, lists of {PAGES_OF_A_LIST} pages"))
        for handles in (pages // 4, pages, pages * 4):
            print((await reader.read(handles, 64)).format(f"64, {handles:,} handles"), flush=True)


async def show_many(handles: int) -> None:
    """Print what handles take as there are more and more; nothing goes over the network."""
    print(f"\nsimulated: pages are had at once\n{'':28}{'CPU µs each':>12}{'peak MB':>10}")
    client, step = make_stocked_client(), handles // 4
    done, cpu = 0, time.process_time()
    async with client.following_many(f"handle{number}" for number in range(handles)) as outcomes:
        async for _ in outcomes:
            done += 1
            if done % step == 0:
                now = time.process_time()
                micro = (now - cpu) / step * 1e6
                print(f"{f'up to {done:,} handles':28}{micro:>12.1f}{read_peak():>10.0f}")
                cpu = now


def run(latency: float, show: Callable[[str], object]) -> None:
    """Show something of a server with a latency."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder), latency=latency) as served:
        print(served.server)
        show(served.url)


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half a minute, less exact")
    is_quick = parser.parse_args().quick
    run(LATENCY, lambda url: asyncio.run(show_latency(url, 6 if is_quick else 40)))
    run(0.0, lambda url: asyncio.run(show_growth(url, 2000 if is_quick else 10_000)))
    asyncio.run(show_many(MANY // 10 if is_quick else MANY))


if __name__ == "__main__":
    main()
