"""Cancel thousands of tasks at random points, and see that nothing is left of them.

Pages, lists and runs with a store are cancelled while they are queued, paused, connecting, sent,
reading, waiting for their turn, claiming, committing and backing off: once or twice, by hand, by
a timeout, by a group or by their own deadline. The sandbox has every kind of trouble meanwhile.

What must hold then: all of it ends; slots and reserved credits are zero; the client's books fit the
server's; asyncio, in debug mode, and Python, with warnings as errors, complain of nothing; and the
client goes on working, and a run where it was, without buying a page again that is in its store.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, cast

import attrs

from tiktok_following import (
    DeadlineExceededError,
    FollowingClient,
    FollowingError,
    FollowingStore,
    RetryPolicy,
    StoreMismatchError,
    Timeout,
)
from tiktok_following.sandbox import Fault, RecordedRequest, Sandbox, faults

AT_ONCE = 80
"""Tasks at a time: more than there are slots."""
SLOTS = 30
LONGEST = 0.3
"""Seconds of a deadline, or until a task is cancelled wherever it is, at the most."""
STUCK = 120
"""Seconds without an end that count as hanging."""
OFTEN, SOMETIMES, SELDOM, HARDLY_EVER = 0.5, 0.25, 0.05, 0.0005

ELSEWHERE, FOR_A_TURN = "elsewhere", "waiting for a turn"
POINTS = {
    "_wait_for_slot": "queued",
    "back_off": "backing off",
    "create_connection": "connecting",
    "_create_connection": "connecting",
    "start": "sent",
    "_read_body": "reading",
    "_spend": FOR_A_TURN,  # which has nothing below it then
    "send": ELSEWHERE,
    "__call__": FOR_A_TURN,
    "connect": "connecting",
    "_store": "committing",
    "claim": "claiming",
}
"""Where a task can be, by the innermost coroutine that says so."""
IN_RUNS = {"claiming", "committing"}
"""Where only the workers of a run are."""
IN_QUEUE = {"queued", "paused"}
# Who waits for a turn has it in the next pass, and is met by chance: the tests see to those.
ALL_POINTS = IN_QUEUE | set(POINTS.values()) - {ELSEWHERE, FOR_A_TURN}
TARGETS = [*sorted(IN_QUEUE), *3 * sorted(ALL_POINTS - IN_QUEUE - IN_RUNS)]
ENOUGH = 1_000
"""Tasks after which each point must have been met."""


async def _wait_for_nothing() -> None:
    pass


_waiting = _wait_for_nothing()
_WRAPPER = type(_waiting.__await__())
_waiting.close()


def find_point(task: asyncio.Task[Any]) -> str:
    """Tell where a task waits."""
    found, awaited = ELSEWHERE, task.get_coro()
    while awaited is not None:
        code = getattr(awaited, "cr_code", None) or getattr(awaited, "ag_code", None)
        found = POINTS.get(code.co_name, found) if code else found
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
        if isinstance(awaited, _WRAPPER):  # aiohttp awaits so, and it shows not what it wraps
            (awaited,) = gc.get_referents(awaited)
    return found


def choose_fault(chance: Random) -> Fault | None:
    """Let two requests of three go wrong, or be slow."""
    billed, reset = chance.random() < OFTEN, chance.random() < OFTEN
    choices: list[tuple[int, Fault | None]] = [
        (35, None),
        (20, faults.slow(between=0.004, pieces=4)),
        (23, faults.slow(chance.uniform(0, 0.03))),
        (2, faults.truncated(billed=billed)),
        (8, faults.drop_after(billed=billed, reset=reset)),
        (7, faults.status(chance.choice([500, 502]), billed=billed)),
        (5, faults.status(503, retry_after=chance.uniform(0.001, 0.02))),
    ]
    weights, made = zip(*choices, strict=True)
    return cast("Fault | None", chance.choices(made, weights)[0])


@attrs.define
class Complaints:
    """Everything that asyncio and Python say to nobody."""

    heard: list[str] = attrs.field(factory=list[str])

    def hear_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Hear of exceptions never retrieved, and of tasks destroyed."""
        self.heard.append(f"{context.get('message')}: {context.get('exception')!r}")

    def hear_unraisable(self, args: "sys.UnraisableHookArgs") -> None:
        """Hear of warnings that came where nothing can be raised."""
        self.heard.append(f"{args.exc_value!r} in {args.object!r}")


@attrs.define
class Storm:
    """One storm over one client."""

    sandbox: Sandbox
    client: FollowingClient
    chance: Random
    folder: Path
    points: Counter[str] = attrs.field(factory=Counter[str])
    ends: Counter[str] = attrs.field(factory=Counter[str])
    stores: list[Path] = attrs.field(factory=list[Path])
    struck: set[asyncio.Task[Any]] = attrs.field(factory=set[asyncio.Task[Any]])
    """Those under way that were cancelled."""
    hunted: dict[asyncio.Task[Any], str] = attrs.field(factory=dict[asyncio.Task[Any], str])
    """Where each is to be cancelled."""

    def choose_work(self) -> Coroutine[Any, Any, object]:
        """Choose what a task does."""
        client, handle = self.client, f"user{self.chance.randrange(1_000)}"
        choices: list[tuple[int, Callable[[], Coroutine[Any, Any, object]]]] = [
            (8, self.run_many),
            (17, lambda: client.following(handle, max_credits=3).collect()),
            (10, lambda: self.leave_early(handle)),
            (10, lambda: self.follow_in_a_group(handle)),
            (10, lambda: self.follow_in_a_timeout(handle)),
            (20, lambda: self.follow_for_a_while(handle)),
            (25, lambda: client.following_page(handle)),
        ]
        weights, work = zip(*choices, strict=True)
        return cast("Coroutine[Any, Any, object]", self.chance.choices(work, weights)[0]())

    async def leave_early(self, handle: str) -> None:
        """Take one account of a list."""
        async for _ in self.client.following(handle):
            break

    async def follow_in_a_group(self, handle: str) -> None:
        """Ask for two pages, of which one may fail the other."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.client.following_page(handle))
            await self.client.following_page(handle)

    async def follow_in_a_timeout(self, handle: str) -> None:
        """Ask for a page for a while."""
        async with asyncio.timeout(self.chance.uniform(0.001, LONGEST)):
            await self.client.following_page(handle)

    async def follow_for_a_while(self, handle: str) -> None:
        """Ask for a page with a deadline, of which nothing is left in the task."""
        quick = self.client.with_options(deadline=self.chance.uniform(0.001, LONGEST))
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            await quick.following_page(handle)
        except DeadlineExceededError:
            assert task.cancelling() == 0, "a deadline left a cancellation behind"
            raise

    async def run_many(self) -> None:
        """Look some handles up into a store."""
        path = self.folder / f"{len(self.stores)}.db"
        self.stores.append(path)
        handles = [f"{path.stem}.{number}" for number in range(6)]
        async with self.client.following_many(handles, store=path, concurrency=4) as run:
            async for _ in run:
                pass

    async def rage(self, count: int) -> None:
        """Begin so many tasks, and cancel them at random."""
        begun, running = 0, set[asyncio.Task[Any]]()
        hunting = asyncio.create_task(self.hunt())
        while begun < count or running:
            while begun < count and len(running) < AT_ONCE:
                running.add(self.begin())
                begun += 1
            done, running = await asyncio.wait(
                running, timeout=STUCK, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise SystemExit(f"{len(running)} tasks hang: {next(iter(running))}")
            for task in done:
                self.hunted.pop(task, None)
                self.note_end(task)
        hunting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hunting

    def begin(self) -> asyncio.Task[Any]:
        """Begin a task, and choose the point where it is cancelled."""
        task = asyncio.create_task(self.choose_work())
        self.hunted[task] = self.chance.choice(TARGETS)
        if self.chance.random() < SOMETIMES:
            when = self.chance.uniform(0, LONGEST)
            asyncio.get_running_loop().call_later(when, self.strike, task)
        return task

    async def hunt(self) -> None:
        """Cancel tasks where they are to be, and now and then the workers of whatever run."""
        while True:
            for task, target in list(self.hunted.items()):
                point = self.find_point(task)
                # Those who queue all do it at once, and would be gone before anybody is served.
                odds = SOMETIMES if point in IN_QUEUE else 1
                if point == target and self.chance.random() < odds:
                    self.strike(task)
            for task in asyncio.all_tasks():
                if is_worker(task):
                    point = find_point(task)
                    odds = SELDOM if point in IN_RUNS else HARDLY_EVER
                    if point == FOR_A_TURN or self.chance.random() < odds:  # it is over at once
                        self.strike(task)
            await asyncio.sleep(0.002)

    def strike(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task; one of four a second time, soon after."""
        if task.done():
            return
        self.points[self.find_point(task)] += 1
        self.struck.add(task)
        task.cancel()
        if self.chance.random() < SOMETIMES:
            soon = self.chance.choice([0, self.chance.uniform(0, 0.005)])
            asyncio.get_running_loop().call_later(soon, self.strike, task)

    def find_point(self, task: asyncio.Task[Any]) -> str:
        """Tell where a task waits; queued, it may be for a pause."""
        point = find_point(task)
        return "paused" if point == "queued" and self.client.throttle.paused_for else point

    def note_end(self, task: asyncio.Task[Any]) -> None:
        """Note how a task ended; whatever is not expected is raised."""
        was_struck = task in self.struck
        self.struck.discard(task)
        if task.cancelled():
            assert was_struck, f"nobody cancelled {task}"
            self.ends["CancelledError"] += 1
            return
        error = task.exception()
        for each in error.exceptions if isinstance(error, BaseExceptionGroup) else [error]:
            if not (each is None or isinstance(each, FollowingError | TimeoutError)):
                raise each
        self.ends["an answer" if error is None else type(error).__name__] += 1

    async def check(self) -> None:
        """See that nothing is left, that the books fit, and that all goes on."""
        state = self.client.throttle
        assert (state.in_flight, state.waiting) == (0, 0), state
        usage = self.client.usage
        assert usage.credits_reserved == 0, usage
        while self.sandbox.in_flight:  # noqa: ASYNC110 - the server is on another thread
            await asyncio.sleep(0.001)
        truth = self.sandbox.credits_charged
        charged, at_risk = usage.credits_charged, usage.credits_at_risk
        assert charged <= truth <= charged + at_risk, (charged, truth, at_risk)
        self.sandbox.clear_script()
        calm = self.client.with_options(deadline=STUCK)
        await asyncio.gather(*(calm.following_page(f"calm{number}") for number in range(200)))
        for path in self.chance.sample(self.stores, min(20, len(self.stores))):
            await self.go_on(path)

    async def go_on(self, path: Path) -> None:
        """Finish a run that was cancelled: no page that is in its store is bought again."""
        has = set[tuple[str, str | None]]()
        with contextlib.suppress(StoreMismatchError), FollowingStore(path) as store:
            for look in store.lookups():
                has |= {(look.handle, page.cursor) for page in store.pages(look.handle)}
        seen = len(self.sandbox.requests)
        handles = [f"{path.stem}.{number}" for number in range(6)]
        async with self.client.following_many(handles, store=path, retry_failed=True) as run:
            assert all([outcome.complete async for outcome in run])
        bought = {(each.handle, each.cursor) for each in self.sandbox.requests[seen:]}
        assert not has & bought, has & bought


def is_worker(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task is one of those that a run makes."""
    return getattr(task.get_coro(), "__qualname__", "") == "Crew._work"


async def storm(sandbox: Sandbox, seed: int, count: int, folder: Path) -> Storm:
    """Let one storm rage over a new client."""
    chance = Random(seed)
    of_server = Random(seed)

    def choose(request: RecordedRequest) -> Fault | None:
        return choose_fault(of_server) if request.handle else None

    sandbox.script_by(choose)
    async with FollowingClient(
        sandbox.api_key,
        base_url=sandbox.base_url,
        max_concurrency=SLOTS,
        max_credits=100 * count,
        on_event=(lambda _: None) if seed % 2 else None,
        timeout=Timeout(read=10),
        retry=RetryPolicy(initial_backoff=0.005, max_backoff=0.02, retry_quota=count),
    ) as client:
        raging = Storm(sandbox, client, chance, folder)
        await raging.rage(count)
        await raging.check()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left
    return raging


def run_seed(seed: int, count: int) -> tuple[Storm, float]:
    """Run one storm in a loop of its own, in debug mode."""
    complaints = Complaints()
    sys.unraisablehook = complaints.hear_unraisable
    began = time.perf_counter()

    async def main() -> Storm:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = STUCK  # how long a step takes says nothing here
        loop.set_exception_handler(complaints.hear_loop)
        raged = await storm(sandbox, seed, count, Path(folder))
        gc.collect()
        await asyncio.sleep(0)
        return raged

    with tempfile.TemporaryDirectory() as folder, Sandbox(page_size=10, totals=(0, 60)) as sandbox:
        raged = asyncio.run(main(), debug=True)
    gc.collect()
    if complaints.heard:
        raise SystemExit("\n".join(complaints.heard))
    return raged, time.perf_counter() - began


def main() -> None:
    """Run the storms, and say where tasks were cancelled and how they ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --seed on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")
    logging.getLogger("tiktok_following").setLevel(logging.ERROR)
    for seed in range(options.seed, options.seed + options.seeds):
        raged, seconds = run_seed(seed, options.tasks)
        usage = raged.client.usage
        struck = raged.points.total()
        print(f"seed {seed}: {options.tasks} tasks, {struck} cancellations, {seconds:.0f} s")
        print("  cancelled while", dict(raged.points.most_common()))
        print("  ended with", dict(raged.ends.most_common()))
        print(
            f"  charged {usage.credits_charged} ≤ true {raged.sandbox.credits_charged} ≤ "
            f"{usage.credits_charged + usage.credits_at_risk}, reserved {usage.credits_reserved}"
        )
        missed = ALL_POINTS - set(raged.points)
        if missed and options.tasks >= ENOUGH:
            raise SystemExit(f"never cancelled while {', '.join(sorted(missed))}")


if __name__ == "__main__":
    main()
