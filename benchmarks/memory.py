"""Measure the memory of a bulk run over 100,000 handles, against one over 1,000.

Run it as ``python benchmarks/memory.py``; it takes some minutes. Each run is a process of its own
and tells the most memory that it held (`ru_maxrss`); the sandbox is another process and does not
count. The handles come from a generator, `keep_accounts` is on, and the consumer drops every
outcome. What 100,000 handles hold more than 1,000 is to stay within 60 MiB.
"""

import asyncio
import multiprocessing
import resource
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from tiktok_following import FollowingClient
from tiktok_following.sandbox import Sandbox

FEW = 1_000
MANY = 100_000
CONCURRENCY = 200
ALLOWED = 60.0
"""MiB."""

SPAWN = multiprocessing.get_context("spawn")
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes that `ru_maxrss` counts in."""


def serve(pipe: Connection) -> None:
    """Run the sandbox in this process until told to end."""
    options = {"totals": (0, 10), "credits": 10 * MANY, "keep_records": False}
    with Sandbox(**options) as sandbox:
        pipe.send((sandbox.base_url, sandbox.api_key))
        pipe.recv()


def look_up(pipe: Connection, url: str, key: str, count: int, store: Path | None) -> None:
    """Run over so many handles in this process, and tell the most memory it held."""
    done = asyncio.run(run(url, key, count, store))
    pipe.send((done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 2**20))


async def run(url: str, key: str, count: int, store: Path | None) -> int:
    """Look handles up and drop what comes; return how many were done."""
    handles = (f"handle{number}" for number in range(count))
    async with FollowingClient(key, base_url=url, max_concurrency=CONCURRENCY) as client:
        async with client.following_many(handles, store=store) as following:
            async for outcome in following:
                outcome.unwrap()
        return following.summary.progress.done


def measure(url: str, key: str, count: int, store: Path | None) -> float:
    """Return the peak, in MiB, of a process that runs over so many handles."""
    pipe, far_end = SPAWN.Pipe()
    process = SPAWN.Process(target=look_up, args=(far_end, url, key, count, store))
    process.start()
    far_end.close()
    done, peak = pipe.recv()
    process.join()
    assert done == count
    return float(peak)


def main() -> None:
    """Print a line for each side."""
    pipe, far_end = SPAWN.Pipe()
    sandbox = SPAWN.Process(target=serve, args=(far_end,))
    sandbox.start()
    url, key = pipe.recv()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for with_store in (False, True):
            few, many = (
                measure(url, key, count, folder / f"{count}.db" if with_store else None)
                for count in (FEW, MANY)
            )
            more = many - few
            verdict = "" if more <= ALLOWED else f", more than the {ALLOWED:.0f} allowed"
            print(
                f"{'with' if with_store else 'without'} a store: {FEW:,} handles {few:.1f} MiB, "
                f"{MANY:,} handles {many:.1f} MiB, difference {more:.1f} MiB{verdict}",
                flush=True,
            )
    pipe.send(None)
    sandbox.join()


if __name__ == "__main__":
    main()
