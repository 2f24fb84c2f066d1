"""The throttle's promises: first come first served, no slot while waiting, no credit twice."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tiktok_following._errors import (
    BudgetExceededError,
    ClientClosedError,
    InsufficientCreditsError,
    RequestError,
    RunStoppedError,
    ServiceUnavailableError,
)
from tiktok_following._ledger import Ledger, Permit
from tiktok_following._limits import AdaptiveLimit, NoLimit, Pause
from tiktok_following._throttle import Throttle

REFUSAL = ServiceUnavailableError("busy", status_code=503)
PATIENCE = 120.0


async def turn() -> None:
    """Let every task that can move do so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(limit: int = 1) -> tuple[Throttle, Time]:
    time = Time()
    return Throttle(AdaptiveLimit(limit), time, Pause()), time


async def test_who_came_first_goes_first() -> None:
    throttle, _ = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    order: list[int] = []

    async def go(number: int) -> None:
        permit = await throttle.admit(ledger, PATIENCE)
        order.append(number)
        throttle.settle(permit, charged=1)

    tasks = [asyncio.create_task(go(number)) for number in range(20)]
    await turn()
    assert throttle.state.waiting == 20
    throttle.settle(held)
    await asyncio.gather(*tasks)
    assert order == list(range(20))
    assert throttle.state.in_flight == throttle.state.waiting == 0
    assert ledger.usage.credits_charged == 20


async def test_a_newcomer_does_not_overtake_one_who_was_just_woken() -> None:
    throttle, _ = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    waiting = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    throttle.settle(held)
    newcomer = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    assert waiting.done()
    assert not newcomer.done()
    newcomer.cancel()


async def test_a_pause_that_begins_as_a_slot_is_handed_over_is_obeyed_and_the_place_kept() -> None:
    throttle, time = make(2)
    ledger = Ledger()
    one, two = [await throttle.admit(ledger, PATIENCE) for _ in range(2)]
    first = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    second = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    throttle.settle(one, charged=1)  # the slot goes to `first`, which has not run yet
    throttle.refuse(two, 0.02, REFUSAL, 0.0)
    throttle.settle(two)
    await turn()
    assert throttle.state.in_flight == 0
    assert ledger.usage.credits_reserved == 0
    time.now += 0.02
    permit = await first
    assert not second.done()
    throttle.approve(permit)
    throttle.settle(permit, charged=1)
    throttle.settle(await second)


async def test_nobody_holds_a_slot_in_a_pause() -> None:
    throttle, time = make(1)
    ledger = Ledger()
    permit = await throttle.admit(ledger, PATIENCE)
    throttle.refuse(permit, 60, REFUSAL, 0.0)
    throttle.settle(permit)
    task = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    state = throttle.state
    assert (state.in_flight, state.waiting, state.paused_for) == (0, 1, 60)
    time.now += 59
    assert throttle.state.paused_for == 1
    task.cancel()
    await turn()
    assert throttle.state.waiting == 0
    throttle.close()


async def test_after_a_pause_one_goes_first_and_then_a_few() -> None:
    throttle, time = make(100)
    ledger = Ledger()
    permits = [await throttle.admit(ledger, PATIENCE) for _ in range(20)]
    throttle.refuse(permits[0], 0.01, REFUSAL, 0.0)
    for permit in permits:
        throttle.settle(permit)
    tasks = [asyncio.create_task(throttle.admit(ledger, PATIENCE)) for _ in range(50)]
    await turn()
    time.now += 0.011
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await turn()
    assert throttle.state.in_flight == 1
    probe = done.pop().result()
    throttle.approve(probe)
    throttle.settle(probe, charged=1)
    await turn()
    assert 1 < throttle.state.in_flight <= 20
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("moment", ["queued", "woken"])
async def test_a_cancelled_waiter_leaves_its_slot_to_the_next(moment: str) -> None:
    throttle, _ = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    first = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    second = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    if moment == "queued":
        first.cancel()
        await turn()
        throttle.settle(held)
    else:
        throttle.settle(held)  # the slot is handed to `first`, which is cancelled before it runs
        first.cancel()
    permit = await asyncio.wait_for(second, 1)
    assert throttle.state.in_flight == 1
    throttle.settle(permit)
    assert throttle.state.in_flight == throttle.state.waiting == 0


async def test_a_waiter_told_to_look_again_and_cancelled_leaves_nothing_behind() -> None:
    throttle, _ = make(1)
    held = await throttle.admit(Ledger(), PATIENCE)
    task = asyncio.create_task(throttle.admit(Ledger(), PATIENCE))
    await turn()
    throttle.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    throttle.settle(held)
    assert throttle.state.in_flight == 0


async def test_what_is_blocked_only_by_reservations_waits_for_them() -> None:
    throttle, _ = make(10)
    ledger = Ledger(max_credits=2)
    one, two = [await throttle.admit(ledger, PATIENCE) for _ in range(2)]
    third = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    fourth = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    assert not third.done()
    assert throttle.state.in_flight == 2
    throttle.settle(one)  # free after all
    permit = await third
    throttle.settle(two, charged=1)
    await turn()
    assert not fourth.done()
    throttle.settle(permit, at_risk=1)
    with pytest.raises(BudgetExceededError, match="2 spent or at risk"):
        await fourth
    assert throttle.state.in_flight == throttle.state.waiting == 0


async def test_a_list_with_no_budget_left_does_not_hold_up_the_others() -> None:
    throttle, _ = make(10)
    root = Ledger()
    poor, rich = Ledger(root, max_credits=1), Ledger(root)
    held = await throttle.admit(poor, PATIENCE)
    blocked = asyncio.create_task(throttle.admit(poor, PATIENCE))
    await turn()
    throttle.settle(await asyncio.wait_for(throttle.admit(rich, PATIENCE), 1), charged=1)
    assert not blocked.done()
    throttle.settle(held, charged=1)
    with pytest.raises(BudgetExceededError):
        await blocked


async def test_a_budget_taken_while_a_slot_is_handed_over_is_not_overshot() -> None:
    throttle, _ = make(1)
    root = Ledger(max_credits=2)
    held = await throttle.admit(root, PATIENCE)
    waiting = asyncio.create_task(throttle.admit(root, PATIENCE))
    await turn()
    throttle.settle(held, charged=2)  # dearer than documented, as the slot goes on
    with pytest.raises(BudgetExceededError):
        await waiting
    assert throttle.state.in_flight == 0


async def test_many_who_wait_for_credits_all_hear_that_they_are_spent() -> None:
    throttle, _ = make(5)
    ledger = Ledger(max_credits=3)

    async def go() -> str:
        try:
            permit = await throttle.admit(ledger, PATIENCE)
        except BudgetExceededError:
            return "refused"
        await asyncio.sleep(0)
        throttle.settle(permit, charged=1)
        return "paid"

    outcomes = await asyncio.gather(*(go() for _ in range(2000)))
    assert outcomes.count("paid") == 3
    assert throttle.state.waiting == throttle.state.in_flight == 0


@pytest.mark.parametrize("place", ["slot", "room", "nowhere"])
@pytest.mark.parametrize(
    ("stop", "error"),
    [
        (lambda throttle: throttle.close(), ClientClosedError),
        (
            lambda throttle: throttle.stop_spending(
                Permit(Ledger(), 0, 1000.0),
                InsufficientCreditsError("gone", status_code=402, checkout_url="https://x.test"),
            ),
            InsufficientCreditsError,
        ),
    ],
)
async def test_a_stop_reaches_everybody_wherever_they_wait(
    place: str, stop: Any, error: type[Exception]
) -> None:
    throttle, _ = make(1)
    ledger = Ledger(max_credits=1 if place == "room" else None)
    held = None if place == "nowhere" else await throttle.admit(ledger, PATIENCE)
    if place == "nowhere":
        stop(throttle)
    task = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    if held is not None:
        assert not task.done()
        stop(throttle)
    with pytest.raises(error):
        await task
    if held is not None:
        throttle.settle(held)
    assert throttle.state.in_flight == throttle.state.waiting == 0


async def test_a_stop_passes_over_those_who_gave_up_waiting_for_credits() -> None:
    throttle, _ = make(2)
    ledger = Ledger(max_credits=1)
    held = await throttle.admit(ledger, PATIENCE)
    gone, stays = (asyncio.create_task(throttle.admit(ledger, PATIENCE)) for _ in range(2))
    await turn()
    gone.cancel()
    await turn()
    throttle.close()
    with pytest.raises(ClientClosedError):
        await stays
    throttle.settle(held)
    assert throttle.state.waiting == 0


async def test_a_stop_that_comes_with_the_slot_gives_the_slot_back() -> None:
    throttle, _ = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    task = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    throttle.settle(held)
    throttle.close()
    with pytest.raises(ClientClosedError):
        await task
    assert throttle.state.in_flight == 0


async def test_a_stop_that_is_over_before_it_is_heard_costs_only_the_place() -> None:
    throttle, _ = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    task = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    throttle.stop_spending(held, InsufficientCreditsError("gone", status_code=402))
    throttle.resume_spending()
    await turn()
    assert not task.done()
    throttle.settle(held)
    throttle.settle(await task)


async def test_closing_in_a_pause_leaves_no_timer() -> None:
    throttle, _ = make(1)
    permit = await throttle.admit(Ledger(), PATIENCE)
    throttle.refuse(permit, 0.01, REFUSAL, 0.0)
    throttle.settle(permit)
    task = asyncio.create_task(throttle.admit(Ledger(), PATIENCE))
    await turn()
    throttle.close()
    with pytest.raises(ClientClosedError):
        await task
    assert throttle._timer is None


async def test_a_timer_that_fires_early_waits_for_the_rest() -> None:
    throttle, time = make(1)
    permit = await throttle.admit(Ledger(), PATIENCE)
    throttle.refuse(permit, 0.005, REFUSAL, 0.0)
    throttle.settle(permit)
    task = asyncio.create_task(throttle.admit(Ledger(), PATIENCE))
    await asyncio.sleep(0.01)  # the loop's time passed, the throttle's did not
    assert not task.done()
    time.now += 1
    throttle.settle(await task)


async def test_the_free_lane_has_no_slots() -> None:
    throttle = Throttle(NoLimit(), Time(), Pause())
    permits = [await throttle.admit(Ledger(), PATIENCE) for _ in range(500)]
    assert throttle.state.in_flight == 500
    for permit in permits:
        throttle.settle(permit)


async def test_time_spent_waiting_is_counted() -> None:
    throttle, time = make(1)
    ledger = Ledger()
    held = await throttle.admit(ledger, PATIENCE)
    task = asyncio.create_task(throttle.admit(ledger, PATIENCE))
    await turn()
    time.now += 7
    throttle.settle(held)
    throttle.settle(await task)
    assert ledger.usage.seconds_waited == 7


async def admit(throttle: Throttle, ledger: Ledger, served: list[int], number: int) -> Permit:
    permit = await throttle.admit(ledger, PATIENCE)
    served.append(number)
    return permit


async def test_a_newcomer_does_not_take_the_credit_that_another_waits_for() -> None:
    throttle, _ = make(10)
    ledger = Ledger(max_credits=1)
    permit = await throttle.admit(ledger, PATIENCE)
    served: list[int] = []
    tasks = []
    for number in range(20):
        tasks.append(asyncio.create_task(admit(throttle, ledger, served, number)))
        await turn()
    for task in tasks:
        throttle.settle(permit)  # free after all: the next may have the credit
        newcomer = asyncio.create_task(admit(throttle, ledger, served, 99))
        permit = await task
        newcomer.cancel()
    throttle.settle(permit)
    assert served == list(range(20))


async def test_those_who_wait_for_dear_pages_are_served_in_their_order() -> None:
    throttle, _ = make(10)
    ledger = Ledger(max_credits=6)
    first = await throttle.admit(ledger, PATIENCE)
    throttle.settle(first, charged=3)
    held = await throttle.admit(ledger, PATIENCE)
    served: list[int] = []
    tasks = [asyncio.create_task(admit(throttle, ledger, served, n)) for n in range(6)]
    await turn()
    for task in tasks:
        throttle.settle(held)
        held = await task
    throttle.settle(held, charged=3)
    assert served == list(range(6))
    assert ledger.usage.credits_charged == 6


async def test_a_credit_offered_to_one_who_leaves_goes_to_the_next() -> None:
    throttle, _ = make(10)
    ledger = Ledger(max_credits=2)
    _, second = [await throttle.admit(ledger, PATIENCE) for _ in range(2)]
    leaves, stays = (asyncio.create_task(throttle.admit(ledger, PATIENCE)) for _ in range(2))
    await turn()
    throttle.settle(second)
    leaves.cancel()
    permit = await asyncio.wait_for(stays, 1)
    assert ledger.promised == 0
    throttle.settle(permit)


async def test_one_who_waits_for_two_budgets_leaves_the_free_one_to_others() -> None:
    throttle, _ = make(10)
    root = Ledger(max_credits=2)
    narrow, wide = Ledger(root, max_credits=1), Ledger(root)
    held, other = await throttle.admit(narrow, PATIENCE), await throttle.admit(wide, PATIENCE)
    both = asyncio.create_task(throttle.admit(narrow, PATIENCE))
    only_root = asyncio.create_task(throttle.admit(wide, PATIENCE))
    await turn()
    throttle.settle(other)
    throttle.settle(await asyncio.wait_for(only_root, 1))
    assert not both.done()
    throttle.settle(held)
    throttle.settle(await asyncio.wait_for(both, 1))
    assert throttle.state.in_flight == throttle.state.waiting == root.promised == 0


async def test_places_are_kept_through_a_pause() -> None:
    throttle, time = make(3)
    ledger = Ledger()
    held = [await throttle.admit(ledger, PATIENCE) for _ in range(3)]
    served: list[int] = []
    tasks = [asyncio.create_task(admit(throttle, ledger, served, n)) for n in range(6)]
    await turn()
    for permit in held[:2]:
        throttle.settle(permit)  # two slots are handed over, and a pause begins before they run
    throttle.refuse(held[2], 0.001, REFUSAL, 0.0)
    throttle.settle(held[2])
    await turn()
    assert served == []
    time.now += 1
    for task in tasks:
        permit = await task
        throttle.approve(permit)
        throttle.settle(permit)
    assert served == list(range(6))


async def test_a_probe_that_hangs_does_not_hold_up_the_others_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tiktok_following._throttle.SLOW_PROBE", 0.005)
    throttle, time = make(50)
    ledger = Ledger()
    permits = [await throttle.admit(ledger, PATIENCE) for _ in range(20)]
    throttle.refuse(permits[0], 0.001, REFUSAL, 0.0)
    for permit in permits:
        throttle.settle(permit)
    time.now += 1
    hangs = await throttle.admit(ledger, PATIENCE)
    tasks = [asyncio.create_task(throttle.admit(ledger, PATIENCE)) for _ in range(3)]
    await turn()
    assert throttle.state.in_flight == 1
    for number, task in enumerate(tasks, 2):
        await task
        assert throttle.state.in_flight == number
    throttle.refuse(hangs, 60, REFUSAL, 0.0)
    assert throttle._timer is None


async def test_an_old_402_does_not_undo_a_top_up() -> None:
    throttle, time = make(5)
    old = await throttle.admit(Ledger(), PATIENCE)
    time.now += 1
    throttle.resume_spending()
    throttle.stop_spending(old, InsufficientCreditsError("gone", status_code=402))
    throttle.settle(old)
    throttle.settle(await throttle.admit(Ledger(), PATIENCE))


async def test_a_burst_of_refusals_is_one_pause_and_old_answers_do_not_end_the_series() -> None:
    throttle, time = make(5)
    permits = [await throttle.admit(Ledger(), PATIENCE) for _ in range(5)]
    assert throttle.refusals == 1
    for permit in permits[:4]:
        throttle.refuse(permit, 1.0, REFUSAL, 0.0)
        assert throttle.refusals == 1
    time.now += 2
    throttle.approve(permits[4])
    assert throttle.refusals == 2


async def test_who_will_not_wait_as_long_as_a_pause_hears_at_once_how_long_is_left() -> None:
    throttle, time = make(5)
    permit = await throttle.admit(Ledger(), PATIENCE)
    throttle.refuse(permit, 60.0, REFUSAL, 2.0)
    throttle.settle(permit)
    assert throttle.state.paused_for == 62.0
    with pytest.raises(ServiceUnavailableError) as early:
        await throttle.admit(Ledger(), 59.0)
    assert early.value.retry_after == 60.0
    time.now += 42.0
    with pytest.raises(ServiceUnavailableError) as late:
        await throttle.admit(Ledger(), 59.0)
    assert late.value.retry_after == 20.0
    waiting = asyncio.create_task(throttle.admit(Ledger(), 60.0))
    await turn()
    assert not waiting.done()
    waiting.cancel()


async def test_one_who_waits_exactly_as_long_as_a_new_pause_stays() -> None:
    throttle, _ = make(2)
    one, two = [await throttle.admit(Ledger(), PATIENCE) for _ in range(2)]
    patient = asyncio.create_task(throttle.admit(Ledger(), 60.0))
    hasty = asyncio.create_task(throttle.admit(Ledger(), 59.0))
    await turn()
    throttle.refuse(one, 60.0, REFUSAL, 0.0)
    throttle.settle(one)
    throttle.settle(two)
    with pytest.raises(ServiceUnavailableError):
        await hasty
    assert not patient.done()
    patient.cancel()


async def test_a_pause_that_begins_during_a_backoff_leaves_it_as_it_is() -> None:
    throttle, _ = make(1)
    permit = await throttle.admit(Ledger(), PATIENCE)
    resting = asyncio.create_task(throttle.back_off(Ledger(), 0.02))
    await turn()
    throttle.refuse(permit, 60.0, REFUSAL, 0.0)
    throttle.settle(permit)
    await turn()
    assert not resting.done()
    await resting


async def test_a_good_answer_ends_a_series_of_pauses_and_a_closed_throttle_says_so() -> None:
    throttle, time = make(1)
    for number in (1, 2):
        assert throttle.refusals == number
        permit = await throttle.admit(Ledger(), PATIENCE)
        throttle.refuse(permit, 0.02, REFUSAL, 0.0)
        throttle.settle(permit)
        time.now += 0.02
    permit = await throttle.admit(Ledger(), PATIENCE)
    throttle.approve(permit)
    throttle.settle(permit)
    assert throttle.refusals == 1
    throttle.close()
    with pytest.raises(ClientClosedError, match=r"^the client is closed$"):
        await throttle.admit(Ledger(), PATIENCE)


@pytest.mark.parametrize("is_good", [True, False])
async def test_only_good_answers_let_more_go(is_good: bool) -> None:
    throttle, _ = make(100)
    before = throttle.state.limit
    for _ in range(3):
        permits = [await throttle.admit(Ledger(), PATIENCE) for _ in range(before)]
        for permit in permits:
            throttle.approve(permit, **({} if is_good else {"is_good": False}))
            throttle.settle(permit)
    assert (throttle.state.limit > before) == is_good


async def test_no_error_that_is_kept_holds_the_frames_of_who_caused_it() -> None:
    throttle, _ = make(5)
    permit = await throttle.admit(Ledger(), PATIENCE)
    gone = InsufficientCreditsError("gone", status_code=402)
    for error in (REFUSAL, gone):
        with pytest.raises(RequestError):
            raise error
    throttle.refuse(permit, 1.0, REFUSAL, 0.0)
    throttle.stop_spending(permit, gone)
    assert throttle._pause.reason is not None
    assert throttle._pause.reason.__traceback__ is None
    assert throttle._out_of_credits is not None
    assert throttle._out_of_credits.__traceback__ is None


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 5),
    budgets=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_nothing_is_left_behind_and_no_budget_overshot(
    limit: int, budgets: list[int], seed: int
) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        time = Time()
        throttle = Throttle(AdaptiveLimit(limit), time, Pause())
        root = Ledger(max_credits=sum(budgets) // 2 + 1)
        ledgers = [Ledger(root, max_credits=budget) for budget in budgets]

        def check() -> None:
            for ledger in (root, *ledgers):
                usage = ledger.usage
                spent = usage.credits_charged + usage.credits_at_risk + usage.credits_reserved
                assert spent <= (ledger.max_credits or 0)
            assert 0 <= throttle.state.in_flight <= limit

        async def go() -> None:
            try:
                permit = await throttle.admit(chance.choice(ledgers), PATIENCE)
            except RequestError:
                return
            check()
            try:
                for _ in range(chance.randint(0, 3)):
                    await asyncio.sleep(0)
            finally:
                finish(permit)

        def finish(permit: Permit) -> None:
            outcome = chance.choice(["charged", "at_risk", "free", "refused"])
            if outcome == "refused":
                throttle.refuse(permit, chance.random() / 1000, REFUSAL, 0.0)
            else:
                throttle.approve(permit)
            throttle.settle(permit, **({outcome: 1} if outcome in ("charged", "at_risk") else {}))
            check()

        tasks = [asyncio.create_task(go()) for _ in range(40)]
        while not all(task.done() for task in tasks):
            time.now += chance.random() / 500
            if chance.random() < 0.1:
                chance.choice(tasks).cancel()
            await asyncio.sleep(0)
        state = throttle.state
        assert (state.in_flight, state.waiting, root.usage.credits_reserved) == (0, 0, 0)
        throttle.close()

    asyncio.run(asyncio.wait_for(run(), 20))


async def test_stopping_a_ledger_lets_go_all_below_it_and_nobody_else() -> None:
    throttle, _ = make(1)
    root = Ledger()
    run, other = Ledger(root), Ledger(root)
    full = Ledger(run, max_credits=1)
    held = await throttle.admit(full, PATIENCE)
    tasks = [
        asyncio.create_task(throttle.admit(ledger, PATIENCE))
        for ledger in (run, Ledger(run), full, other)
    ]
    await turn()
    throttle.stop(run, RunStoppedError("enough", reason="user"))
    await turn()
    assert [task.done() for task in tasks] == [True, True, True, False]
    for task in tasks[:3]:
        with pytest.raises(RunStoppedError, match="enough"):
            await task
    with pytest.raises(RunStoppedError):
        await throttle.admit(run, PATIENCE)
    throttle.settle(held, charged=1)
    throttle.settle(await tasks[3])
    assert (run.usage.credits_charged, throttle.state.waiting) == (1, 0)


async def test_a_stop_ends_the_backoff_of_its_own_and_no_other() -> None:
    throttle, _ = make(1)
    root = Ledger()
    run, other = Ledger(root), Ledger(root)
    stopped = asyncio.create_task(throttle.back_off(Ledger(run), 60))
    resting = asyncio.create_task(throttle.back_off(other, 60))
    await turn()
    throttle.stop(run, RunStoppedError("enough", reason="user"))
    await turn()
    assert (stopped.done(), resting.done()) == (True, False)
    throttle.close()
    await resting


async def test_a_backoff_takes_as_long_as_it_should() -> None:
    throttle, _ = make(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await throttle.back_off(Ledger(), 0.02)
    assert loop.time() - began >= 0.019


async def test_each_who_is_stopped_gets_an_error_of_its_own() -> None:
    throttle, _ = make(1)
    run = Ledger()
    throttle.stop(run, BudgetExceededError("spent"))
    caught: list[BudgetExceededError] = []
    for _ in range(2):
        with pytest.raises(BudgetExceededError) as info:
            await throttle.admit(run, PATIENCE)
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert run.stop is not None
    assert run.stop.__traceback__ is None
