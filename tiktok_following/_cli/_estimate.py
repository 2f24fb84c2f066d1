"""What all handles will cost, from a sample of them.

The law: pure arithmetic that promises no more than the sample can tell.
"""

import math
from collections.abc import Sequence
from random import Random

import attrs

from tiktok_following._models import FollowingPage

FEWEST = 10
"""Of fewer lists no interval is given: it would be invented."""
_RESAMPLES = 2_000
_TAIL = 0.025


@attrs.frozen(kw_only=True)
class Estimate:
    """How many pages all handles have."""

    likely: int
    low: int | None = None
    """The end of the 95 % interval; `None` when the sample cannot tell."""
    high: int | None = None
    """Its other end; likewise, also when a single list makes up most of the sample."""


def count_pages(page: FollowingPage, *, limit: int | None, max_pages: int | None) -> int | None:
    """Count the pages of a list by its first one; `None` when it does not tell.

    Args:
        page: The first page.
        limit: The most accounts that are wanted.
        max_pages: The most pages that are wanted.
    """
    if not page.has_more or max_pages == 1:
        return 1
    rows = len(page.accounts)
    if not rows or page.total is None:
        return None
    pages = max(-(-page.total // rows), 2)
    if limit is not None:
        pages = min(pages, -(-limit // rows))
    return pages if max_pages is None else min(pages, max_pages)


def estimate_pages(sample: Sequence[int], population: int, chance: Random) -> Estimate:
    """Estimate the pages of all lists from those of some.

    The interval is that of a studentized bootstrap with the correction for a finite population:
    of the lengths of lists, which are skewed, the normal approximation and the plain bootstrap
    cover only about 85 % where they claim 95 (20 lists of log-normal length), this one 91.

    Args:
        sample: Pages of each list of a random sample of distinct handles, not empty.
        population: How many handles there are.
        chance: Draws the resamples.
    """
    known, mean = sum(sample), _mean(sample)
    rest = population - len(sample)
    likely = known + round(rest * mean)
    if not rest:
        return Estimate(likely=known, low=known, high=known)
    spread = _spread(sample, mean)
    if len(sample) < FEWEST or not spread:
        return Estimate(likely=likely)
    ratios = sorted(_draw_ratios(sorted(sample), mean, chance))  # in whatever order they came
    cut = int(len(ratios) * _TAIL)
    scale = spread * math.sqrt(rest / population) * population
    low = mean * population - ratios[-1 - cut] * scale
    high = mean * population - ratios[cut] * scale
    return Estimate(
        likely=likely,
        low=math.floor(max(low, known + rest)),  # every list has a page
        high=None if math.isinf(high) else math.ceil(high),
    )


def _draw_ratios(sample: Sequence[int], mean: float, chance: Random) -> list[float]:
    """Draw how far means of resamples are off, in their own standard deviations."""
    ratios: list[float] = []
    for _ in range(min(_RESAMPLES, max(200, 2_000_000 // len(sample)))):
        drawn = chance.choices(sample, k=len(sample))
        drawn_mean = _mean(drawn)
        spread, distance = _spread(drawn, drawn_mean), drawn_mean - mean
        ratios.append(distance / spread if spread else math.copysign(math.inf, distance))
    return ratios


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _spread(values: Sequence[int], mean: float) -> float:
    """Give the standard deviation of the values over the square root of their number."""
    squares = sum(value * value for value in values) / len(values) - mean * mean
    return math.sqrt(max(squares, 0.0) / len(values))
