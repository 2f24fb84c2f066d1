"""What ``bulk --dry-run`` promises of its numbers."""

import math
import tracemalloc
from random import Random
from typing import Any

import pytest

from tiktok_following import Account, AccountMetrics, FollowingPage
from tiktok_following._cli._census import take_census
from tiktok_following._cli._estimate import Estimate, count_pages, estimate_pages


def make_page(rows: int, total: int | None, *, has_more: bool = True) -> FollowingPage:
    account = Account("a", "https://www.tiktok.com/@a", False, AccountMetrics(1, 2, 3))
    return FollowingPage(
        handle="me",
        status="found",
        accounts=[account] * rows,
        has_more=has_more,
        request_id="r",
        credits_charged=1,
        version="1",
        next_cursor="2" if has_more else None,
        total=total,
    )


# Counting


def test_a_census_counts_entries_handles_and_what_is_none() -> None:
    census = take_census(["nasa", "@NASA", "bad one", "esa", "", "https://www.tiktok.com/@nasa"])
    assert (census.entries, census.invalid, census.distinct, census.wanted) == (6, 2, 2, 2)
    assert census.problems == [
        "'bad one' is not a TikTok handle: it has white space inside",
        "'' is not a TikTok handle: it is empty",
    ]
    assert census.sample == []


def test_a_census_names_a_few_problems_and_counts_all() -> None:
    census = take_census(f"bad {number}" for number in range(1_000))
    assert (census.invalid, len(census.problems)) == (1_000, 5)


def test_a_census_of_very_many_handles_takes_a_few_bytes_each() -> None:
    tracemalloc.start()
    census = take_census((f"handle{number % 20_000}" for number in range(40_000)), sample=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (census.entries, census.distinct) == (40_000, 20_000)
    assert peak < 40_000 * 24


def test_handles_that_are_not_wanted_are_neither_counted_nor_sampled() -> None:
    census = take_census("abcdef", sample=6, is_wanted=lambda handle: handle > "b")
    assert (census.distinct, census.wanted, sorted(census.sample)) == (6, 4, list("cdef"))


def test_a_sample_has_distinct_handles_and_is_the_same_for_the_same_input() -> None:
    handles = [f"handle{number}" for number in range(500)]
    census = take_census([*handles, *map(str.upper, handles), *handles], sample=50)
    assert len(set(map(str.lower, census.sample))) == 50
    Random(1).shuffle(handles)
    again = take_census(handles, sample=50)
    assert again.sample == census.sample


def test_every_handle_is_as_likely_to_be_sampled() -> None:
    hits = [0, 0, 0, 0]
    for number in range(2_000):
        # The first comes three times, the last but once: that must not matter.
        handles = [f"{number}.{place}" for place in range(4)]
        census = take_census([handles[0], *handles, handles[0]], sample=1)
        hits[int(census.sample[0][-1])] += 1
    assert all(430 < hit < 570 for hit in hits)  # 500 ± 3.6 standard deviations


def test_a_sample_larger_than_the_input_is_the_input() -> None:
    assert sorted(take_census("abcab", sample=10).sample) == ["a", "b", "c"]


# The pages of a list


@pytest.mark.parametrize(
    ("rows", "total", "options", "pages"),
    [
        (30, 95, {}, 4),
        (30, 90, {}, 3),
        (30, 20, {}, 2),  # more is promised, whatever the total says
        (30, 95, {"limit": 60}, 2),
        (30, 95, {"limit": 1}, 1),
        (30, 95, {"limit": 1_000}, 4),
        (30, 95, {"max_pages": 3}, 3),
        (30, 95, {"max_pages": 1}, 1),
        (30, None, {"max_pages": 1}, 1),
        (30, None, {}, None),
        (0, 95, {}, None),
    ],
)
def test_the_first_page_tells_how_many_there_are(
    rows: int, total: int | None, options: dict[str, int], pages: int | None
) -> None:
    limits: dict[str, Any] = {"limit": None, "max_pages": None, **options}
    assert count_pages(make_page(rows, total), **limits) == pages


def test_a_page_without_a_next_one_is_the_only_one() -> None:
    page = make_page(0, None, has_more=False)
    assert count_pages(page, limit=None, max_pages=None) == 1


# Estimates


def test_a_sample_of_all_is_no_estimate() -> None:
    assert estimate_pages([1, 5, 3], 3, Random(0)) == Estimate(likely=9, low=9, high=9)


def test_a_few_lists_give_no_interval() -> None:
    assert estimate_pages([1, 5, 3], 100, Random(0)) == Estimate(likely=300)


def test_lists_that_are_all_as_long_give_no_interval() -> None:
    assert estimate_pages([2] * 50, 100, Random(0)) == Estimate(likely=200)


def test_one_long_list_among_short_ones_gives_no_upper_end() -> None:
    estimate = estimate_pages([1] * 19 + [300], 1_000, Random(0))
    assert estimate.likely == round(1_000 * 319 / 20)
    assert estimate.low is not None
    assert 1_299 <= estimate.low < estimate.likely
    assert estimate.high is None


def test_an_interval_never_goes_below_a_page_each() -> None:
    estimate = estimate_pages([1] * 10 + [2], 1_000, Random(0))
    assert estimate.low == 1_001


def test_the_order_in_which_pages_came_changes_nothing() -> None:
    pages = [number % 17 + 1 for number in range(60)]
    other = estimate_pages(pages[::-1], 1_000, Random(0))
    assert other == estimate_pages(pages, 1_000, Random(0))


def test_an_interval_narrows_as_the_sample_grows_to_the_whole() -> None:
    chance = Random(5)
    pages = [math.ceil(chance.lognormvariate(2, 1)) for _ in range(1_000)]
    widths: list[int] = []
    for size in (200, 900):
        estimate = estimate_pages(pages[:size], 1_000, Random(0))
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.likely < estimate.high
        widths.append(estimate.high - estimate.low)
    assert widths[0] > 4 * widths[1] > 0


def test_an_interval_holds_the_truth_about_as_often_as_it_claims() -> None:
    chance = Random(7)
    pages = [math.ceil(min(chance.lognormvariate(2, 1), 334)) for _ in range(5_000)]
    truth, held, rounds = sum(pages), 0, 40
    for _ in range(rounds):
        estimate = estimate_pages(chance.sample(pages, 50), 5_000, chance)
        assert estimate.low is not None
        held += estimate.low <= truth <= (estimate.high or math.inf)
    assert held / rounds > 0.88
