"""What a ledger promises: nothing is spent that is not allowed, anywhere above it."""

import gc
import inspect
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from tiktok_following import ConfigurationError, Usage
from tiktok_following._ledger import Ledger


def spend(ledger: Ledger, charged: int = 1, at_risk: int = 0) -> None:
    """Reserve a page and settle it at once."""
    ledger.settle(ledger.reserve(), charged=charged, at_risk=at_risk)


def counts(ledger: Ledger) -> tuple[int, int, int]:
    usage = ledger.usage
    return usage.credits_charged, usage.credits_at_risk, usage.credits_reserved


@pytest.mark.parametrize("value", [-1, 1.0, 0.5, True, False, "5", float("nan"), float("inf"), []])
def test_a_cap_is_a_whole_number_from_zero(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_credits must be a whole number ≥ 0"):
        Ledger(max_credits=value)


def test_without_a_cap_nothing_blocks() -> None:
    ledger = Ledger()
    for _ in range(100):
        ledger.reserve()
    assert ledger.find_block() is None
    assert not ledger.is_spent()
    assert not ledger.is_full()


def test_a_cap_of_nothing_is_spent_from_the_start() -> None:
    ledger = Ledger(max_credits=0)
    assert ledger.is_spent()
    assert ledger.find_block() is ledger


def test_a_huge_cap_is_a_cap() -> None:
    assert Ledger(max_credits=10**400).find_block() is None


def test_what_is_reserved_fills_but_does_not_spend() -> None:
    ledger = Ledger(max_credits=2)
    first, second = ledger.reserve(), ledger.reserve()
    assert ledger.find_block() is ledger
    assert ledger.is_full()
    assert not ledger.is_spent()
    ledger.settle(first)
    assert ledger.find_block() is None
    ledger.settle(second, charged=1)
    assert ledger.find_block() is None
    spend(ledger)
    assert ledger.is_spent()


@pytest.mark.parametrize(
    ("charged", "at_risk", "is_spent"), [(1, 0, True), (0, 1, True), (0, 0, False)]
)
def test_charged_and_at_risk_are_spent_and_free_is_not(
    charged: int, at_risk: int, is_spent: bool
) -> None:
    ledger = Ledger(max_credits=1)
    spend(ledger, charged, at_risk)
    assert counts(ledger) == (charged, at_risk, 0)
    assert ledger.is_spent() is is_spent


def test_every_entry_counts_in_all_above_and_none_beside() -> None:
    root = Ledger()
    child, other = Ledger(root), Ledger(root)
    grandchild = Ledger(child)
    reserved = grandchild.reserve()
    assert [counts(x) for x in (grandchild, child, root, other)] == [(0, 0, 1)] * 3 + [(0, 0, 0)]
    grandchild.settle(reserved, charged=1)
    spend(other, 0, 1)
    spend(child)
    assert counts(grandchild) == (1, 0, 0)
    assert counts(child) == (2, 0, 0)
    assert counts(other) == (0, 1, 0)
    assert counts(root) == (2, 1, 0)


def test_a_page_must_fit_every_ledger_above() -> None:
    root = Ledger(max_credits=2)
    child = Ledger(root, max_credits=5)
    grandchild = Ledger(child)
    spend(root)
    assert grandchild.find_block() is None
    spend(root)
    assert grandchild.find_block() is root
    assert child.find_block() is root


def test_a_full_child_does_not_block_its_parent() -> None:
    root = Ledger(max_credits=5)
    child = Ledger(root, max_credits=0)
    assert child.find_block() is child
    assert root.find_block() is None
    assert Ledger(root).find_block() is None


def test_a_spent_ledger_is_found_before_one_that_is_only_full() -> None:
    for spent_cap, full_cap in ((0, 1), (1, 0)):
        root = Ledger(max_credits=spent_cap)
        child = Ledger(root, max_credits=full_cap)
        full, spent = (child, root) if spent_cap == 0 else (root, child)
        Ledger(full).reserve()
        assert spent.is_spent()
        assert not full.is_spent()
        assert child.find_block() is spent


def test_a_dearer_page_raises_what_is_set_aside_for_everybody() -> None:
    root = Ledger(max_credits=10)
    one, two = Ledger(root), Ledger(root, max_credits=2)
    assert two.find_block() is None
    spend(one, charged=3)
    assert [ledger.price for ledger in (root, one, two)] == [3, 3, 3]
    assert two.is_spent()
    assert one.reserve() == 3
    assert counts(root) == (3, 0, 3)
    one.settle(3, charged=1)
    assert root.price == 3


def test_a_free_page_does_not_make_the_next_one_free() -> None:
    ledger = Ledger(max_credits=1)
    spend(ledger, charged=0)
    assert ledger.price == 1


def test_what_a_price_that_rose_overspends_is_booked_all_the_same() -> None:
    ledger = Ledger(max_credits=2)
    first, second = ledger.reserve(), ledger.reserve()
    ledger.settle(first, charged=3)
    assert counts(ledger) == (3, 0, 1)
    ledger.settle(second, charged=3)
    assert counts(ledger) == (6, 0, 0)
    assert ledger.is_spent()


def test_usage_is_a_snapshot() -> None:
    ledger = Ledger()
    before = ledger.usage
    ledger.finish("found")
    after = ledger.usage
    after.outcomes["found"] = 99
    after.credits_charged = 99
    assert before == Usage()
    assert ledger.usage == Usage(requests=1, outcomes={"found": 1})


def test_attempts_retries_pauses_waits_and_outcomes_are_counted_upwards() -> None:
    root = Ledger()
    child, other = Ledger(root), Ledger(root)
    spend(child)
    child.count_retry()
    child.count_pause()
    child.count_pause()
    child.count_wait(0.5)
    child.count_wait(0.25)
    child.finish("found")
    child.finish("ServerError")
    other.finish("found")
    told = Usage(
        credits_charged=1,
        attempts=1,
        retries=1,
        pauses=2,
        seconds_waited=0.75,
        requests=2,
        outcomes={"found": 1, "ServerError": 1},
    )
    assert child.usage == told
    assert root.usage.requests == 3
    assert root.usage.outcomes == {"found": 2, "ServerError": 1}
    assert other.usage == Usage(requests=1, outcomes={"found": 1})


def test_a_ledger_waits_for_nothing() -> None:
    assert not any(map(inspect.iscoroutinefunction, vars(Ledger).values()))


CAPS = st.none() | st.integers(0, 8)


class LedgerTree(RuleBasedStateMachine):
    """Pages bought from a root, two children and a grandchild, as the throttle buys them."""

    reservations = Bundle("reservations")

    @initialize(caps=st.tuples(CAPS, CAPS, CAPS, CAPS))
    def plant(self, caps: tuple[int | None, ...]) -> None:
        root = Ledger(max_credits=caps[0])
        left, right = Ledger(root, max_credits=caps[1]), Ledger(root, max_credits=caps[2])
        below = Ledger(left, max_credits=caps[3])
        self.tree = {"root": root, "left": left, "right": right, "below": below}
        self.lines = {"root": "root", "left": "left root", "right": "right root"}
        self.lines["below"] = "below left root"
        self.truth = {name: [0, 0, 0] for name in self.tree}
        self.under_way = 0
        self.is_as_reserved = True

    def book(self, name: str, charged: int, at_risk: int, reserved: int) -> None:
        for ledger in self.lines[name].split():
            for place, amount in enumerate((charged, at_risk, reserved)):
                self.truth[ledger][place] += amount

    @rule(target=reservations, name=st.sampled_from(["root", "left", "right", "below"]))
    def reserve(self, name: str) -> tuple[str, int] | None:
        ledger = self.tree[name]
        block = ledger.find_block()
        assert ledger.has_room() == (block is None)
        if block is not None:
            assert block in ledger.chain
            assert block.is_full()
            if not block.is_spent():
                assert not any(other.is_spent() for other in ledger.chain)
                assert block.credits_reserved > 0  # something will be settled, and wake it
            return None
        reserved = ledger.reserve()
        assert reserved == ledger.price
        self.book(name, 0, 0, reserved)
        self.under_way += 1
        return name, reserved

    @rule(taken=consumes(reservations), fate=st.sampled_from(["charged", "free", "at risk"]))
    def settle(self, taken: tuple[str, int] | None, fate: str) -> None:
        if taken is None:
            return
        name, reserved = taken
        charged = reserved if fate == "charged" else 0
        at_risk = reserved if fate == "at risk" else 0
        self.tree[name].settle(reserved, charged=charged, at_risk=at_risk)
        self.book(name, charged, at_risk, -reserved)
        self.under_way -= 1

    @precondition(lambda self: self.under_way)
    @rule(taken=consumes(reservations), price=st.integers(1, 3))
    def settle_at_another_price(self, taken: tuple[str, int] | None, price: int) -> None:
        if taken is None:
            return
        name, reserved = taken
        self.is_as_reserved &= price <= reserved
        self.tree[name].settle(reserved, charged=price)
        self.book(name, price, 0, -reserved)
        self.under_way -= 1
        assert self.tree["root"].price >= price

    @invariant()
    def books_are_right(self) -> None:
        for name, ledger in self.tree.items():
            assert list(counts(ledger)) == self.truth[name]

    @invariant()
    def no_cap_is_passed_while_a_page_costs_what_was_reserved(self) -> None:
        for ledger in self.tree.values():
            if ledger.max_credits is not None and self.is_as_reserved:
                assert sum(counts(ledger)) <= ledger.max_credits

    @invariant()
    def a_parent_holds_all_its_children_do(self) -> None:
        tree = {name: counts(ledger) for name, ledger in self.tree.items()}
        for place in range(3):
            assert tree["root"][place] >= tree["left"][place] + tree["right"][place]
            assert tree["left"][place] >= tree["below"][place]

    @invariant()
    def nothing_stays_reserved(self) -> None:
        assert (counts(self.tree["root"])[2] == 0) is (self.under_way == 0)
        assert all(min(counts(ledger)) >= 0 for ledger in self.tree.values())

    @invariant()
    def spent_is_full(self) -> None:
        for ledger in self.tree.values():
            assert ledger.is_full() or not ledger.is_spent()


TestLedgerTree = LedgerTree.TestCase
TestLedgerTree.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_ledger_that_is_left_leaves_nothing_for_the_garbage_collector() -> None:
    def count_ledgers() -> int:
        return sum(isinstance(found, Ledger) for found in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        root = Ledger(max_credits=5)
        before = count_ledgers()
        child = Ledger(Ledger(root), max_credits=2)
        child.settle(child.reserve(), charged=1)
        del child
        assert count_ledgers() == before
    finally:
        gc.enable()


def test_ledgers_may_be_nested_as_deep_as_one_likes() -> None:
    root = Ledger()
    deepest = root
    for _ in range(5000):
        deepest = Ledger(deepest)
    deepest.count_pause()
    assert (deepest.find_block(), root.usage.pauses) == (None, 1)
    while deepest.parent is not None:  # dropped at once they would be as many calls deep
        deepest = deepest.parent
