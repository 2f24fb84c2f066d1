"""Measure contenders in turns, in one process: blocks of pages, and the ratio within each round.

The law: a machine that others use too is fair only to what is measured at the same time. A ratio is
taken within one round, and its spread is told.
"""

import asyncio
import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

import attrs
from contenders import Contender, Read, Target

WARM_UP = 400
PAGES_TO_WEIGH = 2000


@attrs.frozen
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    """What a block should take, of the quicker ones."""
    most: float
    """Seconds after which a contender takes no further block, though rounds are left."""


@attrs.define(eq=False)
class Side:
    """What was measured of one contender."""

    contender: Contender
    read: Read
    block: int = 0
    """Pages in a block."""
    cpu: dict[int, float] = attrs.Factory(dict)
    """Microseconds of the processor for a page, by the round."""
    rates: list[float] = attrs.Factory(list)
    """Pages a second, of each block."""
    spent: float = 0.0
    """Seconds that its blocks took."""

    async def take_block(self, number: int) -> None:
        """Read a block and note what it took."""
        gc.collect()
        began, cpu = time.perf_counter(), time.process_time()
        await self.read(self.block)
        self.cpu[number] = (time.process_time() - cpu) / self.block * 1e6
        seconds = time.perf_counter() - began
        self.rates.append(self.block / seconds)
        self.spent += seconds

    async def warm_up(self, concurrency: int, effort: Effort) -> None:
        """Open the connections, let a throttle grow, and choose the size of a block."""
        least = concurrency * self.contender.pages_each
        self.block = max(WARM_UP, least)
        for number in range(3):
            await self.take_block(number)
            if self.spent > effort.seconds * 5:
                break
        cpu = self.cpu[number]
        self.block = max(least, round(effort.seconds / cpu * 1e4) * 100)
        self.cpu.clear()
        self.rates.clear()
        self.spent = 0.0


def is_there(contender: Contender) -> bool:
    """Tell whether what a contender needs is installed."""
    return find_spec(contender.needs) is not None


async def measure(contenders: list[Contender], target: Target, effort: Effort) -> list[Side]:
    """Let contenders that are there take turns; the first is the yardstick."""
    async with AsyncExitStack() as stack:
        sides = [
            Side(contender, await stack.enter_async_context(contender.open(target)))
            for contender in contenders
        ]
        for side in sides:
            await side.warm_up(target.concurrency, effort)
        gc.collect()
        gc.freeze()  # each side's collector then looks at its own garbage, not at all libraries
        for number in range(effort.rounds):
            for side in random.sample(sides, len(sides)):
                if side is sides[0] or side.spent < effort.most:
                    await side.take_block(number)
        gc.unfreeze()
    return sides


def run_measure(
    contenders: list[Contender],
    target: Target,
    effort: Effort,
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> list[Side]:
    """Measure on a new event loop."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(measure(contenders, target, effort))


def find_ratios(side: Side, yardstick: Side) -> list[float]:
    """Give the ratio of each round, in time of the processor: 1 is as quick, 0.5 half."""
    return [yardstick.cpu[number] / cpu for number, cpu in side.cpu.items()]


def format_side(side: Side, yardstick: Side) -> str:
    """Give one line of a table: medians, and where the middle half of the ratios lies."""
    ratios = sorted(find_ratios(side, yardstick))
    middle, last = statistics.median(ratios), len(ratios) - 1
    low, high = ratios[round(last / 4)], ratios[round(last * 3 / 4)]
    rate, cpu = statistics.median(side.rates), statistics.median(side.cpu.values())
    return (
        f"{side.contender.name:24}{rate:>9,.0f}{cpu:>10,.0f}{middle:>8.2f}"
        f"  {low:.2f} … {high:.2f}{side.block:>8,}{len(ratios):>8}"
    )


HEADING = (
    f"{'':24}{'pages/s':>9}{'CPU µs':>10}{'ratio':>8}  {'half of them':11}{'block':>8}{'rounds':>8}"
)


async def read_alone(contender: Contender, target: Target) -> None:
    """Read some pages, for nothing but the memory that it takes."""
    async with contender.open(target) as read:
        await read(PAGES_TO_WEIGH)


def read_peak() -> float:
    """Give the most memory that this process had so far, in MB; not that of who started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell its peaks")


def weigh(script: str, contender: Contender, url: str, concurrency: int, folder: Path) -> str:
    """Give the peak memory of a process of its own, as a cell; empty where it is not told."""
    if not Path("/proc/self/status").exists():
        return ""
    command = [sys.executable, script, "--weigh", contender.name, url, str(concurrency)]
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()
