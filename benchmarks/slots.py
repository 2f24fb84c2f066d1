"""Measure how much of the concurrency a bulk run keeps busy, by the server's own count.

Run it as ``python benchmarks/slots.py``; it takes about half a minute. 10,000 handles of one page
each, 200 at once, 200 ms a page, and the sandbox in a process of its own: it sums up how many
requests it has in flight over time. What is compared with 200 is the mean between the moment when
the client's own limit has grown to 200 and the one when fewer than 200 handles are left.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from attrs import frozen

from tiktok_following import FollowingClient
from tiktok_following.sandbox import Sandbox

HANDLES = [f"handle{number}" for number in range(10_000)]
WARM_UP = 3_000
"""After so many lists the sandbox has invented nearly all accounts; it is no part of the measure
how long that takes."""
CONCURRENCY = 200
LATENCY = 0.2
WANTED = 0.9


def serve(pipe: Connection) -> None:
    """Run the sandbox in this process, and tell its count whenever asked."""
    with Sandbox(latency=LATENCY, totals=(0, 30), keep_records=False) as sandbox:
        for handle in HANDLES[:WARM_UP]:
            sandbox.pages(handle)
        pipe.send((sandbox.base_url, sandbox.api_key))
        while pipe.recv():
            pipe.send((time.monotonic(), sandbox.in_flight_seconds))


@contextmanager
def run_sandbox() -> Iterator[tuple[Connection, str, str]]:
    """Start the sandbox; give the pipe to it, its address and the key."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=serve, args=(far_end,))
    process.start()
    try:
        yield (pipe, *pipe.recv())
    finally:
        pipe.send(False)
        process.join()


@frozen
class Sample:
    """The server's count at one moment."""

    at: float
    in_flight_seconds: float


def take_sample(pipe: Connection) -> Sample:
    """Ask the server."""
    pipe.send(True)
    return Sample(*pipe.recv())


async def measure(store: Path | None) -> tuple[float, str]:
    """Run once; return the part of the slots that was busy, and how the run ended."""
    begin: Sample | None = None
    end: Sample | None = None
    with run_sandbox() as (pipe, url, key):
        async with FollowingClient(key, base_url=url, max_concurrency=CONCURRENCY) as client:
            async with client.following_many(iter(HANDLES), store=store) as run:
                left = len(HANDLES)
                async for _ in run:
                    left -= 1
                    if begin is None and run.progress.limit == CONCURRENCY:
                        begin = take_sample(pipe)
                    if end is None and left < CONCURRENCY:
                        end = take_sample(pipe)
            assert begin is not None
            assert end is not None
            assert run.summary.progress.done == len(HANDLES)
            mean = (end.in_flight_seconds - begin.in_flight_seconds) / (end.at - begin.at)
            return mean / CONCURRENCY, str(run.summary)


def main() -> None:
    """Print a line for each side."""
    print(f"{len(HANDLES):,} handles, {CONCURRENCY} at once, {LATENCY * 1000:.0f} ms a page")
    with tempfile.TemporaryDirectory() as folder:
        for name, store in (("without a store", None), ("with a store", Path(folder) / "s.db")):
            busy, summary = asyncio.run(measure(store))
            verdict = "" if busy >= WANTED else f": fewer than the {WANTED:.0%} wanted"
            print(f"{name:16} {busy:6.1%} of the slots busy{verdict}\n{'':16} {summary}")


if __name__ == "__main__":
    main()
