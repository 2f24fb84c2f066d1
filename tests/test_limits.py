"""What the numbers behind the throttle promise, without waiting: time is an argument."""

import heapq
import itertools
import math
import sys
from collections.abc import Callable
from random import Random

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tiktok_following import ServiceUnavailableError
from tiktok_following._limits import (
    CLEARLY_ABOVE,
    COOLDOWN,
    FIRST_CUT,
    OVERSHOOT,
    PROBE_CUT,
    PROBE_INTERVAL,
    START,
    AdaptiveLimit,
    NoLimit,
    Pause,
    RetryQuota,
)

REASON = ServiceUnavailableError("busy", status_code=503)


# The pause


def test_there_is_no_pause_at_first() -> None:
    pause = Pause()
    assert pause.remaining(0.0) == 0.0
    assert pause.remaining(-1e9) == 0.0
    assert pause.reason is None
    assert pause.streak == 0


def test_a_pause_lasts_as_long_as_asked_and_its_jitter() -> None:
    pause = Pause()
    pause.begin(10.0, 2.0, REASON, 0.5)
    assert pause.remaining(10.0) == 2.5
    assert pause.remaining(12.0) == 0.5
    assert pause.remaining(12.5) == pause.remaining(99.0) == 0.0
    assert (pause.seconds, pause.reason) == (2.0, REASON)


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    pause, other = Pause(), ServiceUnavailableError("also", status_code=503)
    pause.begin(0.0, 60.0, REASON)
    pause.begin(1.0, 5.0, other)
    assert pause.remaining(1.0) == 59.0
    assert (pause.seconds, pause.reason) == (60.0, REASON)
    pause.begin(2.0, 60.0, other)
    assert pause.remaining(2.0) == 60.0
    assert (pause.seconds, pause.reason) == (60.0, other)


def test_a_streak_counts_pauses_not_the_refusals_within_one() -> None:
    pause = Pause()
    for now in (0.0, 0.1, 0.9):
        pause.begin(now, 1.0, REASON)
    assert pause.streak == 1
    pause.begin(1.9, 1.0, REASON)
    assert pause.streak == 2
    pause.begin(2.0, 1.0, REASON)
    assert pause.streak == 2


class PauseHistory(RuleBasedStateMachine):
    """Refusals of any length at any time."""

    @initialize()
    def begin_at_nothing(self) -> None:
        self.pause, self.now, self.latest = Pause(), 0.0, -math.inf

    @rule(seconds=st.floats(0, 200), jitter=st.floats(0, 1))
    def refuse(self, seconds: float, jitter: float) -> None:
        before, streak, was_paused = self.pause.until, self.pause.streak, self.now < self.latest
        reason = ServiceUnavailableError("busy", status_code=503)
        self.pause.begin(self.now, seconds, reason, jitter)
        self.latest = max(self.latest, self.now + seconds + jitter)
        assert self.pause.until >= before
        assert self.pause.streak == streak + (not was_paused)
        if self.pause.until > before:
            assert (self.pause.reason, self.pause.seconds) == (reason, seconds)
        else:
            assert self.pause.reason is not reason

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        before = self.pause.remaining(self.now)
        self.now += seconds
        assert self.pause.remaining(self.now) <= before

    @invariant()
    def it_lasts_until_the_latest_of_all(self) -> None:
        assert self.pause.until == self.latest
        assert self.pause.remaining(self.now) == max(0.0, self.latest - self.now)


TestPauseHistory = PauseHistory.TestCase
TestPauseHistory.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


# The quota


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=40))
def test_a_quota_is_never_overdrawn_and_never_overflows(size: int, steps: list[bool]) -> None:
    quota, left = RetryQuota(size), size
    for takes in steps:
        if takes:
            assert quota.take() is (left > 0)
            left = max(0, left - 1)
        else:
            quota.give_back()
            left = min(size, left + 1)
        assert quota.tokens == left


def test_no_quota_is_no_retry() -> None:
    quota = RetryQuota(0)
    quota.give_back()
    assert quota.take() is False


# The adaptive limit, step by step


def serve_round(limit: AdaptiveLimit, now: float, *, sent_at: float | None = None) -> None:
    """Use the whole limit once, every answer good."""
    number = limit.limit
    for in_flight in range(1, number + 1):
        limit.admit(in_flight)
    for _ in range(number):
        limit.answer(now, now if sent_at is None else sent_at)


def come_back(limit: AdaptiveLimit, now: float) -> None:
    """Answer well until what may be in flight is the limit again."""
    for _ in range(1000):
        if limit.allowed == limit.limit:
            return
        limit.answer(now, now)
    raise AssertionError("it never came back")


def find_ceiling(ceiling: int = 64, maximum: int = 500, now: float = 0.0) -> AdaptiveLimit:
    """Make a limit that was refused once, at `ceiling` in flight, and is back."""
    limit = AdaptiveLimit(maximum)
    while limit.limit < ceiling:
        serve_round(limit, now)
    limit.refuse(now, now, ceiling)
    come_back(limit, now)
    return limit


@pytest.mark.parametrize(("maximum", "start"), [(1, 1), (5, 5), (19, 19), (20, 20), (100, START)])
def test_it_begins_with_twenty_or_all_there_are(maximum: int, start: int) -> None:
    limit = AdaptiveLimit(maximum)
    assert limit.limit == limit.allowed == start


def test_it_doubles_with_each_clean_round_up_to_the_most() -> None:
    limit = AdaptiveLimit(500)
    seen: list[int] = []
    for _ in range(7):
        seen.append(limit.limit)
        serve_round(limit, 0.0)
    assert seen == [20, 40, 80, 160, 320, 500, 500]


def test_a_round_is_as_many_answers_as_the_limit_at_its_start() -> None:
    limit = AdaptiveLimit(500)
    limit.admit(20)
    for _ in range(19):
        limit.answer(0.0, 0.0)
    assert limit.limit == 20
    limit.answer(0.0, 0.0)
    assert limit.limit == 40


def test_it_does_not_grow_when_it_was_not_used() -> None:
    limit = AdaptiveLimit(500)
    for _ in range(1000):
        limit.admit(19)
        limit.answer(0.0, 0.0)
    assert limit.limit == 20


def test_use_counts_for_one_round_only() -> None:
    limit = AdaptiveLimit(500)
    serve_round(limit, 0.0)
    assert limit.limit == 40
    for _ in range(400):
        limit.admit(39)
        limit.answer(0.0, 0.0)
    assert limit.limit == 40


@pytest.mark.parametrize("ceiling", [21, 40, 64, 100])
def test_the_first_refusal_cuts_by_a_fifth_of_what_was_in_flight(ceiling: int) -> None:
    limit = find_ceiling(ceiling)
    assert limit.limit == int(ceiling * FIRST_CUT)


def test_a_limit_of_one_stays_one() -> None:
    limit = AdaptiveLimit(1)
    for now in range(5):
        limit.refuse(now, now, 1)
        assert limit.limit == limit.allowed == 1
        limit.answer(now + 0.5, now + 0.5)
    assert limit.limit == 1


@pytest.mark.parametrize("in_flight", [0, 1])
def test_a_refusal_of_one_alone_pauses_and_leaves_the_limit(in_flight: int) -> None:
    limit = AdaptiveLimit(100)
    limit.refuse(0.0, 0.0, in_flight)
    assert (limit.limit, limit.allowed) == (START, 1)
    limit.answer(1.0, 1.0)
    assert limit.allowed == START


def test_answers_that_are_not_good_end_the_ramp_and_do_not_grow_the_limit() -> None:
    limit = AdaptiveLimit(100)
    limit.refuse(0.0, 0.0, 20)
    limit.answer(1.0, 1.0, is_good=False)
    assert limit.allowed == limit.limit == 16
    limit.admit(16)
    for _ in range(100):
        limit.answer(99.0, 98.0, is_good=False)
    assert limit.limit == 16


def test_patience_after_a_pause_ends_step_by_step() -> None:
    limit = AdaptiveLimit(100)
    limit.lose_patience()
    assert limit.allowed == START
    limit.refuse(0.0, 0.0, 1)
    for expected in (2, 3, 4):
        limit.lose_patience()
        assert limit.allowed == expected
    for _ in range(100):
        limit.lose_patience()
    assert limit.allowed == START


def test_without_answers_never_more_than_twenty_go_after_a_pause() -> None:
    limit = find_ceiling(100)
    limit.refuse(10.0, 10.0, 80)
    for _ in range(100):
        limit.lose_patience()
    assert limit.allowed == START < limit.limit


def test_after_patience_was_lost_an_answer_lets_one_more_go() -> None:
    limit = find_ceiling(100)
    limit.refuse(10.0, 10.0, 80)
    limit.lose_patience()
    limit.answer(20.0, 15.0)
    assert limit.allowed == 3


def test_after_a_refusal_one_goes_first_then_twenty_then_one_more_each() -> None:
    limit = find_ceiling(100)
    limit.refuse(10.0, 10.0, 80)
    assert limit.allowed == 1
    limit.answer(11.0, 9.9)  # sent before: says nothing of how it is now
    assert limit.allowed == 1
    limit.answer(11.0, 10.5)
    assert limit.allowed == START
    for more in range(1, 10):
        limit.answer(11.0, 10.5)
        assert limit.allowed == START + more
    come_back(limit, 11.0)
    assert limit.allowed == limit.limit


def test_a_small_limit_is_back_with_the_first_answer() -> None:
    limit = AdaptiveLimit(10)
    limit.refuse(0.0, 0.0, 10)
    assert (limit.limit, limit.allowed) == (8, 1)
    limit.answer(1.0, 0.5)
    assert limit.allowed == 8


def refuse_many(limit: AdaptiveLimit, now: float, in_flight: int, count: int) -> None:
    """Refuse so many of what was sent together, one right after the other."""
    for number in range(count):
        limit.refuse(now + number / 1e6, now - 0.1, in_flight - number)


def test_a_burst_of_refusals_tells_how_many_were_too_many_and_is_one_cut() -> None:
    limit = AdaptiveLimit(500)
    for _ in range(3):
        serve_round(limit, 0.0)
    assert limit.limit == 160
    refuse_many(limit, 10.0, 160, 40)
    assert (limit.limit, limit.allowed) == (int(121 * FIRST_CUT), 1)  # 121 was one too many
    come_back(limit, 11.0)
    serve_round(limit, 10.0 + COOLDOWN)
    assert limit.limit == int(121 * PROBE_CUT)


def test_a_burst_says_no_more_than_that_doubling_went_too_far() -> None:
    limit = find_ceiling(64)
    refuse_many(limit, 10.0, 51, 51)  # everything at once: an outage
    assert (limit.limit, limit.allowed) == (int(25 * FIRST_CUT), 1)


def test_a_burst_in_answer_to_lone_probes_cuts_nothing() -> None:
    limit = find_ceiling(64)
    limit.refuse(10.0, 9.9, 51)
    limit.refuse(12.0, 11.5, 1)
    for _ in range(10):
        limit.refuse(12.0, 9.9, 30)
    assert limit.limit == int(51 * FIRST_CUT)


def test_a_late_refusal_of_the_same_burst_is_no_second_cut() -> None:
    limit = find_ceiling(64)
    limit.refuse(10.0, 9.9, 51)
    come_back(limit, 11.0)
    before = limit.limit
    for _ in range(10):
        limit.refuse(11.5, 9.9, before)
    assert limit.limit == limit.allowed == before


def test_a_lone_probe_that_is_refused_cuts_nothing() -> None:
    limit = find_ceiling(64)
    before = limit.limit
    for number in range(10):
        limit.refuse(10.0 + number, 10.0 + number, 1)
        if number == 0:
            before = limit.limit  # the first was at some level; the rest were alone
        assert limit.allowed == 1
    assert limit.limit == before


def test_a_refused_probe_cuts_nothing_while_many_are_still_under_way() -> None:
    limit = find_ceiling(100)
    limit.refuse(10.0, 10.0, 80)
    limit.refuse(12.0, 11.0, 60)  # one was sent after the pause, 59 before it
    assert (limit.limit, limit.allowed) == (64, 1)


def test_no_growth_in_the_cooldown() -> None:
    limit = find_ceiling(64, now=100.0)
    for now in (100.0, 101.0, 100.0 + COOLDOWN - 0.001):
        serve_round(limit, now)
        assert limit.limit == int(64 * FIRST_CUT)
    serve_round(limit, 100.0 + COOLDOWN)
    assert limit.limit > int(64 * FIRST_CUT)


def test_it_returns_to_just_under_the_refused_level_and_stays() -> None:
    limit = find_ceiling(64, now=0.0)
    for tenth in range(int(COOLDOWN * 10), int(PROBE_INTERVAL * 10)):
        serve_round(limit, tenth / 10)
    assert limit.limit == int(64 * PROBE_CUT)


@pytest.mark.parametrize(("ceiling", "step"), [(40, 1), (60, 2), (64, 2), (200, 5), (400, 10)])
def test_it_probes_one_step_per_interval(ceiling: int, step: int) -> None:
    limit = find_ceiling(ceiling)
    serve_round(limit, COOLDOWN)
    under = int(ceiling * PROBE_CUT)
    assert limit.limit == under
    seen: list[int] = []
    for tenth in range(int(COOLDOWN * 10) + 1, int((COOLDOWN + PROBE_INTERVAL * 2.5) * 10)):
        serve_round(limit, tenth / 10)
        if limit.limit != under + step * len(seen):
            seen.append(limit.limit)
    assert seen == [under + step, under + 2 * step]


def test_a_probe_that_is_refused_costs_a_twentieth() -> None:
    limit = find_ceiling(100)
    serve_round(limit, 10.0)
    serve_round(limit, 20.0)
    at = limit.limit
    assert at > int(100 * PROBE_CUT)
    limit.refuse(30.0, 30.0, at)
    assert limit.limit == int(at * PROBE_CUT)


def test_a_second_refusal_before_a_clean_round_cuts_by_a_fifth_again() -> None:
    limit = find_ceiling(100)
    limit.refuse(1.0, 1.0, 80)
    assert limit.limit == 64


@pytest.mark.parametrize(
    ("ceiling", "first"),
    [(2, 5), (3, 6), (5, 8), (20, 23), (40, 43), (41, 44), (60, 65), (100, 107)],
)
def test_it_doubles_again_once_clearly_above(ceiling: int, first: int) -> None:
    limit, now, doubled = find_ceiling(ceiling), 0.0, list[int]()
    while limit.limit < 500 and now < 600:
        now += 0.5
        before = limit.limit
        serve_round(limit, now)
        if limit.limit in {before * 2, 500} and before > ceiling:
            doubled.append(before)
        elif before >= ceiling:
            assert limit.limit - before <= max(1, round(ceiling / 40))
    assert doubled[0] == first > max(ceiling * CLEARLY_ABOVE, ceiling + 2)
    assert limit.limit == 500


def test_answers_to_what_was_sent_before_the_cut_do_not_count() -> None:
    limit = find_ceiling(64)
    limit.refuse(10.0, 10.0, 51)
    for _ in range(1000):
        limit.answer(20.0, 9.0)
    assert limit.allowed == 1


def test_the_free_routes_have_no_limit() -> None:
    limit = NoLimit()
    for now in range(10):
        limit.admit(10_000)
        limit.refuse(now, now, 10_000)
        assert limit.allowed == sys.maxsize
        limit.answer(now, now)
        assert limit.allowed == sys.maxsize


class LimitHistory(RuleBasedStateMachine):
    """Requests that start, are answered and are refused in any order and at any time."""

    @initialize(maximum=st.sampled_from([1, 2, 19, 20, 21, 100, 500]))
    def begin(self, maximum: int) -> None:
        self.limit, self.now = AdaptiveLimit(maximum), 0.0
        self.in_flight: list[float] = []
        self.cut_at = -math.inf
        self.answered_since = True

    def step(self, seconds: float) -> None:
        self.now += seconds + 1e-6  # two things never happen at the very same time

    @rule(number=st.integers(1, 60), seconds=st.floats(0, 0.1))
    def send(self, number: int, seconds: float) -> None:
        self.step(seconds)
        for _ in range(number):
            if len(self.in_flight) < self.limit.allowed:
                self.in_flight.append(self.now)
                self.limit.admit(len(self.in_flight))

    @precondition(lambda self: self.in_flight)
    @rule(number=st.integers(1, 60), place=st.integers(0, 500), seconds=st.floats(0, 3))
    def answer(self, number: int, place: int, seconds: float) -> None:
        self.step(seconds)
        for _ in range(min(number, len(self.in_flight))):
            before, allowed = self.limit.limit, self.limit.allowed
            sent_at = self.in_flight.pop(place % len(self.in_flight))
            self.limit.answer(self.now, sent_at)
            assert self.limit.limit >= before
            if sent_at < self.cut_at:
                assert (self.limit.limit, self.limit.allowed) == (before, allowed)
            elif not self.answered_since:
                assert self.limit.allowed == min(self.limit.limit, START)
                self.answered_since = True
            if self.limit.limit > before:
                assert self.limit.limit <= before * 2
                assert self.now >= self.cut_at + COOLDOWN

    @precondition(lambda self: self.in_flight)
    @rule(place=st.integers(0, 500), seconds=st.floats(0, 3))
    def refuse(self, place: int, seconds: float) -> None:
        self.step(seconds)
        before, allowed = self.limit.limit, self.limit.allowed
        in_flight = len(self.in_flight)
        sent_at = self.in_flight.pop(place % in_flight)
        self.limit.refuse(self.now, sent_at, in_flight)
        if sent_at < self.cut_at:
            assert int(self.least) <= self.limit.limit <= before
            assert self.limit.limit in {before, before - 1}
            assert self.limit.allowed == min(allowed, self.limit.limit)
            return
        if self.answered_since and in_flight > 1:
            assert self.limit.limit < min(before, in_flight) or self.limit.limit == 1
        else:
            assert self.limit.limit == before
        self.cut_at, self.answered_since = self.now, False
        self.least = max(1, self.limit.limit * OVERSHOOT - 1)

    @precondition(lambda self: self.in_flight)
    @rule(seconds=st.floats(0, 3))
    def fail(self, seconds: float) -> None:
        """Lose a request without a word: nobody tells the limit."""
        self.step(seconds)
        self.in_flight.pop()

    @invariant()
    def it_stays_between_one_and_the_most(self) -> None:
        assert 1 <= self.limit.allowed <= self.limit.limit <= self.limit.maximum

    @invariant()
    def until_an_answer_one_goes_alone(self) -> None:
        if not self.answered_since:
            assert self.limit.allowed == 1


TestLimitHistory = LimitHistory.TestCase
TestLimitHistory.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


# The controller against a server


@attrs.frozen
class Event:
    """One answer of the server."""

    at: float
    was_served: bool
    limit: int
    in_flight: int


def simulate(
    seconds: float,
    ceiling: Callable[[float], int],
    *,
    latency: float = 0.3,
    retry_after: float = 1.0,
    maximum: int = 500,
    seed: int = 0,
) -> list[Event]:
    """Ask a server that refuses above a ceiling as fast as limit and pause allow, on its clock."""
    chance, order = Random(seed), itertools.count()
    limit, pause = AdaptiveLimit(maximum), Pause()
    now, in_flight, served = 0.0, 0, 0
    coming: list[tuple[float, int, bool, float]] = []
    events: list[Event] = []
    while now < seconds:
        while not pause.remaining(now) and in_flight < limit.allowed:
            in_flight += 1
            limit.admit(in_flight)
            is_served = served < ceiling(now)
            served += is_served
            takes = latency * chance.uniform(0.9, 1.1) if is_served else latency * 0.02
            heapq.heappush(coming, (now + takes, next(order), is_served, now))
        if pause.until > now and (not coming or pause.until <= coming[0][0]):
            now = pause.until
            continue
        now, _, was_served, sent_at = heapq.heappop(coming)
        if was_served:
            served -= 1
            pause.streak = 0
            limit.answer(now, sent_at)
        else:
            limit.refuse(now, sent_at, in_flight)
            pause.begin(now, retry_after, REASON, chance.uniform(0.0, retry_after * 0.1))
        events.append(Event(now, was_served, limit.limit, in_flight))
        in_flight -= 1
    return events


def measure(events: list[Event], begin: float, end: float) -> tuple[float, float]:
    """Return the pages a second, and the part of answers that were refusals."""
    inside = [event.was_served for event in events if begin <= event.at < end]
    return sum(inside) / (end - begin), 1 - sum(inside) / len(inside)


def rate_of(events: list[Event], begin: float, end: float, best: float) -> float:
    """Return which part of the best possible rate was reached."""
    return measure(events, begin, end)[0] / best


def refused_part(events: list[Event], begin: float, end: float) -> float:
    return measure(events, begin, end)[1]


SEEDS = range(3)
seeds = pytest.mark.parametrize("seed", SEEDS)


@seeds
def test_it_gets_most_of_what_a_server_can_do(seed: int) -> None:
    events = simulate(180, lambda _: 40, seed=seed)
    assert rate_of(events, 60, 180, 40 / 0.3) >= 0.91  # 0.85 is promised, of a real server
    assert refused_part(events, 60, 180) < 0.03
    assert refused_part(events, 0, 60) < 0.03


@pytest.mark.parametrize("moved_at", range(100, 124, 6))
def test_it_finds_a_ceiling_that_moved_up(moved_at: int) -> None:
    """Wherever between two probes it moves; a real server has ten seconds more."""
    events = simulate(moved_at + 80, lambda now: 40 if now < moved_at else 120, seed=moved_at)
    best, within = 120 / 0.3, moved_at + 50
    assert max(rate_of(events, at, at + 10, best) for at in range(moved_at, within - 9)) >= 0.85
    assert rate_of(events, within, moved_at + 80, best) >= 0.85
    assert refused_part(events, moved_at, moved_at + 80) < 0.03


@seeds
def test_it_follows_a_ceiling_that_fell_at_once(seed: int) -> None:
    events = simulate(160, lambda now: 120 if now < 100 else 20, seed=seed)
    best = 20 / 0.3
    assert rate_of(events, 105, 115, best) >= 0.7
    assert rate_of(events, 110, 160, best) >= 0.8
    assert refused_part(events, 100, 160) < 0.03


@seeds
def test_an_outage_is_probed_once_a_pause_and_left_behind(seed: int) -> None:
    events = simulate(160, lambda now: 0 if 60 <= now < 120 else 40, seed=seed)
    before = [event for event in events if event.at < 60]
    probes = [event for event in events if 63 <= event.at < 120]
    assert not any(event.was_served for event in probes)
    assert {event.in_flight for event in probes} == {1}
    assert all(later.at - first.at >= 1.0 for first, later in itertools.pairwise(probes))
    assert len(probes) >= 50
    assert {event.limit for event in probes} == {probes[0].limit}
    assert probes[0].limit >= before[-1].limit * FIRST_CUT * PROBE_CUT - 2
    assert rate_of(events, 125, 160, 40 / 0.3) >= 0.8


def test_a_server_that_never_refuses_is_used_to_the_full() -> None:
    events = simulate(30, lambda _: 10**9, maximum=200)
    assert all(event.was_served for event in events)
    assert rate_of(events, 5, 30, 200 / 0.3) >= 0.98


@pytest.mark.parametrize(
    ("latency", "ceiling", "end", "share", "refused"),
    [
        (0.02, 5, 60, 0.78, 0.003),
        (0.02, 40, 40, 0.85, 0.001),
        (0.02, 300, 15, 0.75, 0.001),
        (0.3, 5, 180, 0.78, 0.02),
        (0.3, 300, 90, 0.80, 0.001),
        (2.0, 5, 300, 0.85, 0.03),
        (2.0, 40, 300, 0.80, 0.005),
        (2.0, 300, 180, 0.80, 0.001),
    ],
)
def test_other_servers_are_used_well_too(
    latency: float, ceiling: int, end: int, share: float, refused: float
) -> None:
    events = simulate(end, lambda _: ceiling, latency=latency)
    assert rate_of(events, end / 3, end, ceiling / latency) >= share
    assert refused_part(events, end / 3, end) <= refused


@pytest.mark.parametrize(("retry_after", "share"), [(0.02, 0.9), (5.0, 0.8), (30.0, 0.75)])
def test_longer_waits_are_risked_less_often(retry_after: float, share: float) -> None:
    events = simulate(240, lambda _: 40, retry_after=retry_after)
    assert refused_part(events, 0, 240) < 0.01
    assert rate_of(events, 60, 240, 40 / 0.3) >= share
