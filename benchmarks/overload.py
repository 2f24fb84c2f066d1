"""Measure how the client finds what a server can take, and how it waits when that is nothing.

Run it as ``python benchmarks/overload.py``; it takes six minutes, most of them idle. The sandbox,
in a process of its own, needs 300 ms for a page and answers 503 with ``Retry-After: 1`` above its
ceiling. What is judged is what the server saw: when each request came, and what it was answered.

1. ``ceiling``: 40 at once, and 120 after two minutes.
2. ``minute``: 40, nothing at all for a minute, and 40 again, with ``stall_timeout=120``.
3. ``stall``: the same with ``stall_timeout=30``.
"""

import argparse
import asyncio
import itertools
import math
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from apart import judge, run_apart
from refusals import (
    HEARD,
    LATENCY,
    LOOK,
    OK,
    RETRY_AFTER,
    SHARE,
    Note,
    Plan,
    Seen,
    find_best,
    find_rate,
    judge_end,
    judge_pauses,
    judge_probes,
    judge_share,
    print_table,
)

from tiktok_following import FollowingClient, FollowingRun, RunSummary
from tiktok_following.sandbox import Sandbox

HANDLES = [f"handle{number}" for number in range(300)]
"""Asked for again and again: ten pages of one account each, so that no processor is the limit."""
MAXIMUM = 500
"""The client's `max_concurrency`: what it may do, and the server refuses."""
WITHIN = 60
"""Seconds: how soon a new ceiling is to be found."""
SLACK = 5.0
"""Seconds after which a run that ends by itself, or comes back, is late."""


def serve(pipe: Connection, ceiling: int) -> None:
    """Run the sandbox in this process; note when requests come, and hear of new ceilings."""
    terms = {"latency": LATENCY, "retry_after": RETRY_AFTER, "max_in_flight": ceiling}
    with Sandbox(page_size=1, totals=(10, 10), **terms) as sandbox:
        for handle in HANDLES:
            sandbox.pages(handle)
        pipe.send((sandbox.base_url, sandbox.api_key))
        arrivals: list[float] = []
        while True:
            if pipe.poll(LOOK):
                if (told := pipe.recv()) is None:
                    return
                if told == "tell":
                    came = zip(arrivals, sandbox.requests, strict=False)
                    pipe.send([(at, at + (one.seconds or 0.0), one.status) for at, one in came])
                else:
                    sandbox.terms.max_in_flight = told
            new = len(sandbox.requests) - len(arrivals)
            arrivals += [time.monotonic()] * new


async def take_notes(run: FollowingRun, notes: list[Note]) -> None:
    """Note the client's limit, and how late its loop is at most, for each ten seconds."""
    began = time.monotonic()
    while True:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        late = time.monotonic() - due
        if due >= began + 10 * len(notes):
            notes.append(Note(0, 0.0))
        notes[-1] = Note(run.progress.limit, max(late, notes[-1].late))


async def read(
    pipe: Connection, url: str, key: str, plan: Plan, notes: list[Note]
) -> tuple[float, RunSummary]:
    """Read lists as fast as is allowed while the ceiling moves; tell when it began."""
    loop = asyncio.get_running_loop()
    async with FollowingClient(key, base_url=url, max_concurrency=MAXIMUM) as client:
        async with client.following_many(
            itertools.cycle(HANDLES),
            dedupe=False,
            keep_accounts=False,
            stall_timeout=plan.stall_timeout,
        ) as run:
            began = time.monotonic()
            noting = asyncio.create_task(take_notes(run, notes))
            for at, ceiling in plan.ceilings.items():
                loop.call_later(at, pipe.send, ceiling)
            loop.call_later(plan.seconds, run.stop)
            async for _ in run:
                pass
        noting.cancel()
        return began, run.summary


def carry_out(plan: Plan) -> tuple[list[Seen], RunSummary]:
    """Give what the server saw, in order, and how the run ended."""
    notes: list[Note] = []
    with run_apart(serve, plan.ceilings[0]) as pipe:
        url, key = pipe.recv()
        cpu = time.process_time()
        began, summary = asyncio.run(read(pipe, url, key, plan, notes))
        cpu = (time.process_time() - cpu) / summary.progress.seconds
        pipe.send("tell")
        came = [Seen(at - began, answered - began, status) for at, answered, status in pipe.recv()]
    print(f"\nstall_timeout {plan.stall_timeout:g} s: {summary}; {cpu:.0%} of a processor\n")
    print_table(came, plan, notes)
    return came, summary


def run_ceiling() -> bool:
    """Find a ceiling of 40, and then one of 120."""
    plan = Plan({0: 40, 120: 120}, 200, 600)
    came, summary = carry_out(plan)
    wanted = SHARE * find_best(plan, 120)
    found = (end - 120 for end in range(130, 201) if find_rate(came, end - 10, end) >= wanted)
    after = next(found, math.inf)
    text = f"{SHARE:.0%} of the new best, over 10 s, {after} s after it moved (≤ {WITHIN} s)"
    verdicts = [
        judge_share(came, plan, 60, 120),
        judge(text, holds=after <= WITHIN),
        judge_share(came, plan, 180, 200),
        judge_pauses(came),
        judge_end(summary, "user"),
    ]
    return all(verdicts)


def run_minute() -> bool:
    """Sit out a minute in which everything is refused."""
    plan = Plan({0: 40, 30: 0, 90: 40}, 130, 120)
    came, summary = carry_out(plan)
    served = (one.answered - 90 for one in came if one.status == OK)
    back = min((seconds for seconds in served if seconds > HEARD), default=math.inf)
    verdicts = [
        judge(f"first page {back:.1f} s after the minute", holds=back < SLACK),
        judge_share(came, plan, 110, 130),
        judge_probes(came, 30, 90),
        judge_pauses(came),
        judge_end(summary, "user"),
    ]
    return all(verdicts)


def run_stall() -> bool:
    """End when nothing was answered for half a minute."""
    plan = Plan({0: 40, 10: 0, 70: 40}, 90, 30)
    came, summary = carry_out(plan)
    seconds = summary.progress.seconds - 10
    verdicts = [
        judge_end(summary, "no_progress"),
        judge(
            f"{seconds:.1f} s after the last page", holds=0 <= seconds - plan.stall_timeout < SLACK
        ),
        judge_probes(came, 10, 70),
    ]
    return all(verdicts)


RUNS: dict[str, Callable[[], bool]] = {
    "ceiling": run_ceiling,
    "minute": run_minute,
    "stall": run_stall,
}


def main() -> None:
    """Carry out all runs, or those named, and leave with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar=" | ".join(RUNS), help="all by default")
    verdicts = [RUNS[name]() for name in parser.parse_args().names or RUNS]
    sys.exit(not all(verdicts))


if __name__ == "__main__":
    main()
