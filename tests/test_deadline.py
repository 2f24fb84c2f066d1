"""How long a call may take: one timer for all, each cancelled once, and only by its own."""

import asyncio

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
    left = deadline.hold()
    assert left is not None
    await asyncio.sleep(0.03)
    assert not deadline.is_over
    deadline.go_on(left)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    assert deadline.is_over
    deadline.end()


async def test_without_a_limit_there_is_nothing_to_hold() -> None:
    deadline = Deadline(Deadlines(), None)
    assert deadline.hold() is None
    deadline.end()


async def test_who_was_late_already_is_not_cancelled_again() -> None:
    deadlines = Deadlines()
    deadline = Deadline(deadlines, 0.01)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(1)
    deadline.go_on(0.0)
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
