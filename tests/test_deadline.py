"""How long a call may take: one timer for all, each cancelled once, and only by its own."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from itertools import permutations
from typing import Any

import pytest

from tiktok_following._deadline import Deadline, Deadlines


async def wait_for_ever(deadlines: Deadlines, seconds: float | None) -> str:
    deadline = Deadline(deadlines, seconds)
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if deadline.is_over:
            return "late"
        raise
    finally:
        deadline.end()
    return "never"


async def until_started(task: asyncio.Task[str]) -> asyncio.Task[str]:
    await asyncio.sleep(0)
    return task


async def test_who_is_late_is_cancelled_and_goes_on_as_if_it_had_not_been() -> None:
    async def call() -> tuple[str, int]:
        ended = await wait_for_ever(Deadlines(), 0.01)
        await asyncio.sleep(0)  # no cancellation is left to come
        task = asyncio.current_task()
        assert task is not None
        return ended, task.cancelling()

    assert await asyncio.create_task(call()) == ("late", 0)


async def test_each_is_late_at_its_own_time_whatever_the_order_they_came_in() -> None:
    deadlines, ended = Deadlines(), list[float]()

    async def call(seconds: float) -> None:
        assert await wait_for_ever(deadlines, seconds) == "late"
        ended.append(seconds)

    await asyncio.gather(*(call(seconds) for seconds in (0.03, 0.01, 0.04, 0.02, 0.01)))
    assert ended == [0.01, 0.01, 0.02, 0.03, 0.04]


async def test_none_is_no_limit_and_sets_no_timer() -> None:
    deadlines = Deadlines()
    task = await until_started(asyncio.create_task(wait_for_ever(deadlines, None)))
    assert deadlines._timer is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_elsewhere_passes() -> None:
    task = await until_started(asyncio.create_task(wait_for_ever(Deadlines(), 30)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_from_elsewhere_passes_though_it_is_late_as_well() -> None:
    deadlines = Deadlines()
    task = await until_started(asyncio.create_task(wait_for_ever(deadlines, 30)))
    task.cancel()
    (deadline,) = deadlines._running
    deadline.expire()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


async def test_time_that_is_held_does_not_count() -> None:
    deadline = Deadline(Deadlines(), 0.02)
    with deadline.hold():
        await asyncio.sleep(0.03)
        assert not deadline.is_over
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    assert deadline.is_over
    deadline.end()


async def test_without_a_limit_there_is_nothing_to_hold() -> None:
    deadlines = Deadlines()
    deadline = Deadline(deadlines, None)
    with deadline.hold():
        pass
    deadline.end()
    assert deadlines._timer is None


async def test_who_was_late_already_is_not_cancelled_again() -> None:
    deadlines = Deadlines()
    deadline = Deadline(deadlines, 0.01)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    with deadline.hold():
        pass
    await asyncio.sleep(0.005)
    deadline.end()
    assert deadlines._timer is None


async def test_many_calls_share_one_timer() -> None:
    deadlines = Deadlines()
    first = Deadline(deadlines, 30)
    timer = deadlines._timer
    others = [Deadline(deadlines, 30) for _ in range(100)]
    for deadline in (first, *others):
        deadline.end()
    assert deadlines._timer is timer


async def test_a_timer_that_nobody_needs_any_more_ends() -> None:
    deadlines = Deadlines()
    Deadline(deadlines, 0.01).end()
    await asyncio.sleep(0.02)
    assert deadlines._timer is None


async def test_closing_leaves_no_timer_once_the_last_call_is_through() -> None:
    deadlines = Deadlines()
    deadline = Deadline(deadlines, 30)
    deadlines.close()
    assert deadlines._timer is not None
    deadline.end()
    assert deadlines._timer is None
    deadlines.close()
    assert deadlines._timer is None


async def test_closing_with_nothing_under_way_leaves_no_timer() -> None:
    deadlines = Deadlines()
    Deadline(deadlines, 30).end()
    deadlines.close()
    assert deadlines._timer is None


Strike = Callable[[], object]


def strike_together(*strikes: Strike) -> None:
    """Let these happen one after the other, in one pass of the loop."""

    def strike() -> None:
        for each in strikes:
            each()

    asyncio.get_running_loop().call_soon(strike)


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def call_hostile(answer: asyncio.Future[str], deadlines: Deadlines) -> str:
    """Wait for an answer as a page does, also while it is put away."""
    deadline = Deadline(deadlines, 30)
    try:
        try:
            return await answer
        finally:
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        if deadline.is_over:
            return "late"
        raise
    finally:
        deadline.end()


async def run_struck(
    order: Sequence[str], around: Callable[[Coroutine[Any, Any, str]], Coroutine[Any, Any, str]]
) -> tuple[object, int, list[str]]:
    """Let a call be struck in this order; give how it ended, and what was left in its task."""
    deadlines, log = Deadlines(), list[str]()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def call() -> tuple[object, int]:
        try:
            ended: object = await around(call_hostile(answer, deadlines))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is asked
            ended = type(error)
        cancelling = own_task().cancelling()
        while own_task().uncancel():
            pass
        await asyncio.sleep(0)
        log.append("goes on")
        return ended, cancelling

    def expire() -> None:
        for deadline in list(deadlines._running):
            deadline.until = 0.0
        deadlines._wake()

    task = asyncio.create_task(call())
    strikes: dict[str, Strike] = {
        "deadline": expire,
        "cancel": task.cancel,
        "answer": lambda: answer.done() or answer.set_result("answered"),
    }
    await asyncio.sleep(0)
    strike_together(*(strikes[name] for name in order))
    ended, cancelling = await task
    return ended, cancelling, log


async def plainly(call: Coroutine[Any, Any, str]) -> str:
    return await call


async def in_a_timeout(call: Coroutine[Any, Any, str]) -> str:
    async with asyncio.timeout(30):
        return await call


async def in_a_group(call: Coroutine[Any, Any, str]) -> str:
    async with asyncio.TaskGroup():
        return await call


@pytest.mark.parametrize("around", [plainly, in_a_timeout, in_a_group])
@pytest.mark.parametrize("order", [*permutations(("deadline", "cancel", "answer"))])
async def test_who_is_cancelled_in_the_pass_in_which_the_deadline_and_the_answer_come_is_cancelled(
    order: Sequence[str], around: Callable[..., Coroutine[Any, Any, str]]
) -> None:
    ended = await run_struck(order, around)
    assert ended == (asyncio.CancelledError, 1, ["goes on"])


@pytest.mark.parametrize("around", [plainly, in_a_timeout, in_a_group])
@pytest.mark.parametrize("order", [*permutations(("deadline", "answer"))])
async def test_who_is_late_in_the_pass_in_which_the_answer_comes_is_late_and_nothing_is_left(
    order: Sequence[str], around: Callable[..., Coroutine[Any, Any, str]]
) -> None:
    assert await run_struck(order, around) == ("late", 0, ["goes on"])


@pytest.mark.parametrize("is_late_first", [True, False])
async def test_a_timeout_around_it_that_ends_in_the_same_pass_is_heard(is_late_first: bool) -> None:
    deadlines = Deadlines()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def expire() -> None:
        for deadline in list(deadlines._running):
            deadlines.remove(deadline)
            deadline.expire()

    async def call_in_a_timeout() -> None:
        async with asyncio.timeout(30) as around:
            # What ends the timeout is its own timer, run when we say.
            strikes = [expire, lambda: around.reschedule(0)]
            strike_together(*(strikes if is_late_first else reversed(strikes)))
            await call_hostile(answer, deadlines)

    async def call() -> None:
        with pytest.raises(TimeoutError):
            await call_in_a_timeout()
        assert own_task().cancelling() == 0
        await asyncio.sleep(0)

    await asyncio.create_task(call())


@pytest.mark.parametrize("seconds", [(0.01, 0.01), (0.01, 0.02), (0.02, 0.01)])
async def test_a_timeout_within_it_is_the_calls_own(seconds: tuple[float, float]) -> None:
    """As aiohttp has one for the connection: whichever ends first, nothing is left in the task."""
    outer, inner = seconds

    async def call() -> str:
        deadline = Deadline(Deadlines(), outer)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(inner):
                    await asyncio.get_running_loop().create_future()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            assert deadline.is_over
        finally:
            deadline.end()
        assert own_task().cancelling() == 0
        await asyncio.sleep(0)
        return "late"

    assert await asyncio.create_task(call()) == "late"


async def test_a_group_that_fails_in_the_same_pass_is_heard() -> None:
    deadlines = Deadlines()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def fail() -> None:
        for deadline in list(deadlines._running):
            deadlines.remove(deadline)
            deadline.expire()
        raise ValueError

    async def call_in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await call_hostile(answer, deadlines)

    async def call() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await call_in_a_group()
        assert caught.group_contains(ValueError)
        assert own_task().cancelling() == 0
        await asyncio.sleep(0)

    await asyncio.create_task(call())


async def test_who_swallowed_a_cancellation_before_is_late_all_the_same() -> None:
    async def call() -> tuple[str, int]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return await wait_for_ever(Deadlines(), 0.01), own_task().cancelling()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == ("late", 1)


async def test_each_of_many_in_one_task_group_is_late_alone() -> None:
    deadlines, ended = Deadlines(), list[str]()

    async def call(seconds: float | None) -> None:
        ended.append(await wait_for_ever(deadlines, seconds))

    async def call_all() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(call(0.01 if number % 2 else None))
            while len(ended) < 50:
                await asyncio.sleep(0.001)
            raise ValueError

    with pytest.raises(ExceptionGroup) as caught:
        await call_all()
    assert caught.group_contains(ValueError)
    assert ended == ["late"] * 50
    assert not deadlines._running
