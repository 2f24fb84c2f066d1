"""What stands between the workers of a run and its consumer."""

import asyncio

from tiktok_following._outbox import Outbox


async def test_things_come_as_they_were_put() -> None:
    outbox: Outbox[str] = Outbox(9, is_ordered=False)
    for number, thing in ((2, "c"), (0, "a"), (1, None), (3, "d")):
        outbox.put(number, thing)
    outbox.close()
    assert [await outbox.get() for _ in range(4)] == ["c", "a", "d", None]


async def test_ordered_ones_come_by_their_numbers() -> None:
    outbox: Outbox[str] = Outbox(9, is_ordered=True)
    first = asyncio.ensure_future(outbox.get())
    for number, thing in ((2, "c"), (1, None), (4, "e")):
        outbox.put(number, thing)
        await asyncio.sleep(0)
        assert not first.done()
    outbox.put(0, "a")
    assert [await first, await outbox.get()] == ["a", "c"]


async def test_what_is_held_at_the_end_comes_in_order_though_numbers_are_missing() -> None:
    outbox: Outbox[str] = Outbox(9, is_ordered=True)
    for number in (7, 3, 5):
        outbox.put(number, str(number))
    outbox.close()
    assert [await outbox.get() for _ in range(4)] == ["3", "5", "7", None]


async def test_there_is_room_for_a_window_and_then_for_what_is_taken() -> None:
    outbox: Outbox[str] = Outbox(2, is_ordered=False)
    assert [outbox.take_room() for _ in range(3)] == [True, True, False]
    third = outbox.wait_for_room()
    outbox.put(0, "a")
    assert not third.done()
    assert await outbox.get() == "a"
    assert third.done()
    assert not outbox.take_room()


async def test_a_number_that_has_nothing_gives_its_room_back_at_once() -> None:
    outbox: Outbox[str] = Outbox(1, is_ordered=False)
    assert outbox.take_room()
    outbox.put(0, None)
    assert outbox.take_room()


async def test_nobody_waits_for_room_any_more_when_told() -> None:
    outbox: Outbox[str] = Outbox(1, is_ordered=False)
    assert outbox.take_room()
    waiting = [outbox.wait_for_room() for _ in range(3)]
    outbox.stop_waiting()
    await asyncio.gather(*waiting)
    assert outbox.take_room()


async def test_several_consumers_share_what_comes_and_all_hear_of_the_end() -> None:
    outbox: Outbox[int] = Outbox(9, is_ordered=False)
    getting = [asyncio.ensure_future(outbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    outbox.put(0, 10)
    outbox.put(1, 11)
    outbox.close()
    assert sorted(await asyncio.gather(*getting), key=str) == [10, 11, None]


async def test_room_passes_over_those_who_have_left() -> None:
    outbox: Outbox[str] = Outbox(1, is_ordered=False)
    assert outbox.take_room()
    gone, staying = outbox.wait_for_room(), outbox.wait_for_room()
    gone.cancel()
    outbox.put(0, "a")
    await outbox.get()
    await staying
