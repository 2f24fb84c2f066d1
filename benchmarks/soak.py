"""Run for minutes at 500 in flight, and watch that nothing grows, leaks or is miscounted.

Run it as ``python benchmarks/soak.py``; it takes ``--seconds`` (300). The sandbox, in a process of
its own, takes two seconds for a page, and breaks one request in 200: connections reset or closed
before or after the page was billed, half a body, a 502 that was billed and one that was not.

The ledger is held against the server's books at each sample, while pages are under way: what is
known to be charged is no more than was billed, and what is charged, at risk or reserved no less. At
the end nothing is under way, and both must agree to the credit.
"""

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from apart import judge, run_apart
from attrs import frozen

from tiktok_following import FollowingClient, FollowingRun, RetryPolicy, RunSummary
from tiktok_following.sandbox import Sandbox, faults

HANDLES = [f"handle{number}" for number in range(300)]
"""Asked for again and again: once invented, a list costs the sandbox next to nothing."""
LATENCY = 2.0
BREAKS = 200
"""One request in so many is broken."""
FAULTS = [
    faults.drop_before(),
    faults.drop_after(),
    faults.drop_before(reset=True),
    faults.drop_after(reset=True),
    faults.truncated(),
    faults.status(502),
    faults.status(502, billed=True),
]
MEMORY, OBJECTS, BUSY = 5.0, 1.05, 0.9
"""MiB more at the end, times as many objects at the end, part of the slots in use."""


@frozen
class Books:
    """What the server knows."""

    billed: int
    in_flight_seconds: float
    broken: int
    """Requests that met a fault."""
    lost: int
    """Credits of answers that were billed and cannot have been read."""


@frozen
class Sample:
    """How everything stood at one moment."""

    at: float
    pages: int
    memory: float
    """MiB."""
    objects: int
    tasks: int
    descriptors: int
    charged: int
    books: Books
    at_most: int
    """Charged, at risk and reserved, by the client, after the books were read."""


def serve(pipe: Connection) -> None:
    """Run the sandbox in this process, break what comes now and then, and tell its books."""
    met = [0] * len(FAULTS)
    options = {"latency": LATENCY, "totals": (300, 300), "credits": 10**9}
    with Sandbox(keep_records=False, **options) as sandbox:
        for handle in HANDLES:
            sandbox.pages(handle)

        def choose(_: object) -> faults.Fault | None:
            turn, rest = divmod(sandbox.requests_received, BREAKS)
            if rest:
                return None
            met[turn % len(FAULTS)] += 1
            return FAULTS[turn % len(FAULTS)]

        sandbox.script_by(choose)
        pipe.send((sandbox.base_url, sandbox.api_key))
        while pipe.recv():
            lost = sum(n for n, fault in zip(met, FAULTS, strict=True) if is_billed(fault))
            seconds = sandbox.in_flight_seconds
            pipe.send(Books(sandbox.credits_charged, seconds, sum(met), lost))


def is_billed(fault: faults.Fault) -> bool:
    """Tell whether a request that meets it is billed."""
    return fault.billed and fault.drop != "before"


def count_descriptors() -> int:
    """Count the open descriptors of this process."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def read_memory() -> float:
    """Give the memory that this process holds now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def take_sample(began: float, run: FollowingRun, pipe: Connection) -> Sample:
    """Look at this process, and at the server's books in the middle of it."""
    gc.collect()
    objects = len(gc.get_objects())
    charged = run.usage.credits_charged
    pipe.send(True)
    books = pipe.recv()
    usage = run.usage
    return Sample(
        time.monotonic() - began,
        run.progress.pages,
        read_memory(),
        objects,
        len(asyncio.all_tasks()),
        count_descriptors(),
        charged,
        books,
        usage.credits_charged + usage.credits_at_risk + usage.credits_reserved,
    )


async def watch(run: FollowingRun, pipe: Connection, seconds: float) -> list[Sample]:
    """Take thirty samples, one line each, and stop the run."""
    samples: list[Sample] = []
    began = time.monotonic()
    print(
        f"{'seconds':>8}{'pages':>9}{'in flight':>10}{'MiB':>8}{'objects':>9}{'tasks':>7}"
        f"{'files':>7}{'charged':>9}{'billed':>9}{'at most':>9}"
    )
    for number in range(1, 31):
        await asyncio.sleep(max(0.0, began + seconds * number / 30 - time.monotonic()))
        now = take_sample(began, run, pipe)
        busy = find_in_flight(samples[-1], now) if samples else 0.0
        samples.append(now)
        print(
            f"{now.at:>8.0f}{now.pages:>9,}{busy:>10.0f}{now.memory:>8.1f}{now.objects:>9,}"
            f"{now.tasks:>7,}{now.descriptors:>7,}{now.charged:>9,}{now.books.billed:>9,}"
            f"{now.at_most:>9,}",
            flush=True,
        )
    run.stop()
    return samples


def find_in_flight(begin: Sample, end: Sample) -> float:
    """Give the mean number of pages in flight between two samples, by the server's count."""
    seconds = end.books.in_flight_seconds - begin.books.in_flight_seconds
    return seconds / (end.at - begin.at)


async def soak(
    pipe: Connection, url: str, key: str, seconds: float, in_flight: int
) -> tuple[list[Sample], RunSummary]:
    """Read lists until the time is over."""
    retry = RetryPolicy(ambiguous_retries=3, initial_backoff=0.1)
    async with FollowingClient(key, base_url=url, max_concurrency=in_flight, retry=retry) as client:
        handles = itertools.cycle(HANDLES)
        async with client.following_many(handles, dedupe=False, keep_accounts=False) as run:
            watching = asyncio.create_task(watch(run, pipe, seconds))
            async for _ in run:
                pass
        return await watching, run.summary


def judge_growth(samples: list[Sample], in_flight: int, before: int, after: int) -> bool:
    """Tell whether memory and descriptors are flat, once all is warm: after a fifth of the time."""
    warm = samples[len(samples) // 5 :]
    early, late = warm[: len(warm) // 3], warm[-(len(warm) // 3) :]
    memory = [statistics.median(one.memory for one in part) for part in (early, late)]
    objects = [statistics.median(one.objects for one in part) for part in (early, late)]
    tasks = [max(one.tasks for one in part) for part in (early, late)]
    most = max(one.descriptors for one in samples)
    busy = find_in_flight(warm[0], warm[-1]) / in_flight
    return all(
        [
            judge(f"{busy:.1%} of {in_flight} slots busy (≥ {BUSY:.0%})", holds=busy >= BUSY),
            judge(
                f"memory {memory[0]:.1f} → {memory[1]:.1f} MiB (at most {MEMORY:g} more)",
                holds=memory[1] - memory[0] <= MEMORY,
            ),
            judge(
                f"objects {objects[0]:,.0f} → {objects[1]:,.0f} (at most {OBJECTS - 1:.0%} more)",
                holds=objects[1] <= objects[0] * OBJECTS,
            ),
            judge(f"tasks {tasks[0]:,} → {tasks[1]:,} (no more)", holds=tasks[1] <= tasks[0]),
            judge(
                f"descriptors {before} before, at most {most} (≤ {before + in_flight + 10}), "
                f"{after} after",
                holds=most <= before + in_flight + 10 and after <= before,
            ),
        ]
    )


def judge_ledger(samples: list[Sample], books: Books, summary: RunSummary) -> bool:
    """Tell whether ledger and books agreed, all the time and to the credit at the end."""
    drifted = [one for one in samples if not one.charged <= one.books.billed <= one.at_most]
    usage, failed = summary.progress.usage, summary.progress.failed
    found = books.billed - usage.credits_charged
    return all(
        [
            judge(f"{len(drifted)} samples beyond the bounds of the ledger", holds=not drifted),
            judge(
                f"billed {books.billed:,} - charged {usage.credits_charged:,} = {found:,}: "
                f"{books.lost:,} were billed and lost",
                holds=found == books.lost,
            ),
            judge(
                f"{usage.credits_at_risk:,} at risk for {books.broken:,} broken requests, "
                f"{usage.credits_reserved} reserved",
                holds=usage.credits_at_risk == books.broken and not usage.credits_reserved,
            ),
            judge(f"{failed} handles failed, {summary.stopped_by}", holds=not failed),
        ]
    )


def main() -> None:
    """Print the samples and the verdicts, and leave with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--in-flight", type=int, default=500)
    options = parser.parse_args()
    with run_apart(serve) as pipe:
        url, key = pipe.recv()
        before = count_descriptors()
        samples, summary = asyncio.run(soak(pipe, url, key, options.seconds, options.in_flight))
        after = count_descriptors()
        pipe.send(True)
        books = pipe.recv()
    print(f"\n{summary}\n")
    growth = judge_growth(samples, options.in_flight, before, after)
    sys.exit(not (judge_ledger(samples, books, summary) and growth))


if __name__ == "__main__":
    main()
