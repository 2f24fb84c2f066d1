"""Measure what it costs that every page is on the disk before the next one is asked for.

Run it as ``python benchmarks/durable.py``; it takes a few minutes, with ``--quick`` one. The same
lists are read with a store and without one, in turns, each time by a new process, from a sandbox in
a process of its own; what counts is the ratio of the two, the median of several rounds.

A slow disk is made with a small library that is loaded before the C library (``LD_PRELOAD``) and
sleeps 5 ms in every ``fsync`` and ``fdatasync``. It is compiled with gcc into a temporary folder;
where that cannot be done those lines are left out.
"""

import asyncio
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from tiktok_following import FollowingClient
from tiktok_following.sandbox import Sandbox

PAGES_A_LIST = 4
LISTS, ROUNDS = (150, 1) if "--quick" in sys.argv else (800, 3)
SIDES = ("with", "without")

SLOW_FSYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int sync_slowly(const char *name, int file) {
    struct timespec pause = {0, 5000000};
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    nanosleep(&pause, 0);
    return real(file);
}

int fsync(int file) { return sync_slowly("fsync", file); }
int fdatasync(int file) { return sync_slowly("fdatasync", file); }
"""


def serve(pipe: Connection, latency: float) -> None:
    """Run the sandbox in this process until told to end, with all its accounts invented before."""
    totals = (PAGES_A_LIST * 30 - 5,) * 2
    with Sandbox(latency=latency, totals=totals, keep_records=False) as sandbox:
        for number in range(LISTS):
            sandbox.pages(f"handle{number}")
        pipe.send((sandbox.base_url, sandbox.api_key))
        pipe.recv()


async def run(url: str, key: str, concurrency: int, store: str | None) -> float:
    """Read all lists; return the pages per second."""
    handles = [f"handle{number}" for number in range(LISTS)]
    async with FollowingClient(key, base_url=url, max_concurrency=concurrency) as client:
        async with client.following_many(handles, store=store, keep_accounts=False) as following:
            async for outcome in following:
                outcome.unwrap()
        return following.summary.progress.pages_per_second


def measure(
    address: tuple[str, str], concurrency: int, side: str, environment: Mapping[str, str]
) -> float:
    """Run in a new process; return the pages per second."""
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "following.db") if side == "with" else ""
        command = [sys.executable, __file__, *sys.argv[1:], "--run", *address, str(concurrency)]
        done = subprocess.run(
            [*command, store], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return float(done.stdout)


def compare(latency: float, concurrency: int, disk: str, environment: Mapping[str, str]) -> None:
    """Print a line: pages per second of both sides, and their ratio."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    sandbox = context.Process(target=serve, args=(far_end, latency))
    sandbox.start()
    address = pipe.recv()
    rounds = [
        {side: measure(address, concurrency, side, environment) for side in SIDES}
        for _ in range(ROUNDS)
    ]
    pipe.send(None)
    sandbox.join()
    with_store, without = (statistics.median(each[side] for each in rounds) for side in SIDES)
    ratios = sorted(each["with"] / each["without"] for each in rounds)
    print(
        f"{concurrency:5}{latency * 1000:9.0f} ms  {disk:12}{with_store:9.0f}{without:9.0f}"
        f"{statistics.median(ratios):8.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def make_slow_disk(folder: Path) -> Mapping[str, str] | None:
    """Make the environment in which every fsync takes 5 ms more; `None` where gcc is missing."""
    if shutil.which("gcc") is None or not sys.platform.startswith("linux"):
        return None
    source, library = folder / "slow_fsync.c", folder / "slow_fsync.so"
    source.write_text(SLOW_FSYNC, encoding="ascii")
    command = ["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def time_fsync(environment: Mapping[str, str]) -> float:
    """Return the milliseconds that a small write takes to the disk, the median of some."""
    done = subprocess.run(
        [sys.executable, __file__, "--fsync"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def write_and_sync() -> float:
    """Do what `time_fsync` tells, in this process."""
    times: list[float] = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(51):
            file.write(bytes(8192))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def main() -> None:
    """Print one table."""
    with tempfile.TemporaryDirectory() as folder:
        disks: dict[str, Mapping[str, str]] = {"as it is": os.environ}
        slow = make_slow_disk(Path(folder))
        if slow is None:
            print("no gcc here, or not Linux: no line with a slow disk")
        else:
            disks["fsync + 5 ms"] = slow
        for disk, environment in disks.items():
            print(f"a small write and fdatasync, {disk}: {time_fsync(environment):.2f} ms")
        print(f"{LISTS * PAGES_A_LIST} pages a run, medians of {ROUNDS} rounds\n")
        print("slots  latency  disk         with/s   without/s  ratio")
        for latency, concurrency in ((0.0, 64), (0.0, 500), (0.05, 64)):
            for disk, environment in disks.items():
                compare(latency, concurrency, disk, environment)


if __name__ == "__main__":
    if "--run" in sys.argv:
        url, key, slots, path = sys.argv[-4:]
        print(asyncio.run(run(url, key, int(slots), path or None)))
    elif "--fsync" in sys.argv:
        print(write_and_sync())
    else:
        main()
