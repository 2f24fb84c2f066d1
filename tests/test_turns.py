"""Answers that came together are read a few in each pass of the loop, in their order."""

import asyncio
from itertools import count, pairwise
from random import Random

import aiohttp
import attrs
import pytest
from conftest import MakeClient
from held_turns import hold_turns, until_waiting
from raw_server import Connection, respond, serve

from tiktok_following import FollowingClient
from tiktok_following._turns import EACH_PASS, EACH_SECOND, Turns
from tiktok_following.sandbox import Sandbox, faults


async def start_waiting(client: FollowingClient) -> asyncio.Task[object]:
    """Ask for a page whose answer is here, all of it, and has to wait for its turn."""
    client._options = attrs.evolve(client._options, takes_turns=True)  # as in a run
    turns = hold_turns(client)
    buying = asyncio.create_task(client.following_page("nasa"))
    await until_waiting(turns)
    return buying


def make_turns(seconds: float = 0.0) -> Turns:
    """Make turns for passes that take so long each."""
    return Turns(count(0.0, seconds).__next__)


async def take(turns: Turns, number: int, taken: list[int]) -> None:
    if not turns.take_at_once():
        await turns.take()
    taken.append(number)


def start(turns: Turns, count: int, taken: list[int]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(take(turns, number, taken)) for number in range(count)]


async def test_in_each_pass_a_few_go_on_and_in_their_order() -> None:
    taken: list[int] = []
    tasks = start(make_turns(), 5 * EACH_PASS, taken)
    most, before = 0, 0
    while len(taken) < len(tasks):
        await asyncio.sleep(0)
        most, before = max(most, len(taken) - before), len(taken)
    assert taken == list(range(5 * EACH_PASS))
    assert most == EACH_PASS


async def test_where_others_make_the_passes_long_more_go_on_in_each() -> None:
    taken: list[int] = []
    each = 5 * EACH_PASS
    tasks = start(make_turns((each + 0.5) / EACH_SECOND), 4 * each, taken)
    counts: list[int] = []
    while len(taken) < len(tasks):
        await asyncio.sleep(0)
        counts.append(len(taken))
    assert {after - before for before, after in pairwise(counts)} <= {0, each, each - EACH_PASS}
    assert taken == list(range(4 * each))


async def test_who_comes_later_does_not_overtake() -> None:
    turns, taken = make_turns(), list[int]()
    tasks = start(turns, 4 * EACH_PASS, taken)
    await asyncio.sleep(0)
    await take(turns, -1, taken)
    assert taken.index(-1) == len(tasks)


async def test_who_comes_alone_does_not_wait() -> None:
    turns = make_turns()
    for _ in range(3):
        assert turns.take_at_once()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    turns, taken = make_turns(), list[int]()
    tasks = start(turns, 3 * EACH_PASS, taken)
    await asyncio.sleep(0)
    for task in tasks[EACH_PASS : 2 * EACH_PASS]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert taken == [*range(EACH_PASS), *range(2 * EACH_PASS, 3 * EACH_PASS)]


async def test_the_loop_is_left_alone_when_nobody_comes() -> None:
    turns = make_turns()
    turns.take_at_once()
    assert turns._is_counting
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turns._is_counting


async def test_who_is_cancelled_as_its_turn_comes_holds_nobody_up() -> None:
    turns, taken = make_turns(), list[int]()
    tasks = start(turns, 4 * EACH_PASS, taken)
    await asyncio.sleep(0)
    waiting = list(turns._waiting)
    while not waiting[0].done():
        await asyncio.sleep(0)
    for task in tasks[EACH_PASS : 2 * EACH_PASS]:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert taken[:EACH_PASS] == list(range(EACH_PASS))
    assert taken[-2 * EACH_PASS :] == list(range(2 * EACH_PASS, 4 * EACH_PASS))


async def test_after_all_who_waited_were_cancelled_turns_are_there_again() -> None:
    turns, taken = make_turns(), list[int]()
    tasks = start(turns, 50 * EACH_PASS, taken)
    await asyncio.sleep(0)
    for task in tasks[EACH_PASS:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turns._is_counting
    assert not turns._waiting
    assert turns.take_at_once()


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_is_cancelled_when_the_others_take_their_turns(seed: int) -> None:
    chance, turns, taken = Random(seed), make_turns(), list[int]()
    tasks: list[asyncio.Task[None]] = []
    for number in range(300):
        tasks.append(asyncio.create_task(take(turns, number, taken)))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert taken == [number for number, end in enumerate(ended) if end is None]
    assert len(taken) < len(tasks)


async def test_an_answer_given_up_while_it_waits_is_booked_at_what_it_says_it_cost(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.priced(3))
    buying = await start_waiting(client)
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert sandbox.credits_charged == 3
    assert (client.usage.credits_charged, client.usage.credits_at_risk) == (3, 0)
    assert client.throttle.in_flight == 0


async def test_a_broken_answer_given_up_while_it_waits_is_at_risk(
    client: FollowingClient, sandbox: Sandbox
) -> None:
    sandbox.script(faults.malformed())
    buying = await start_waiting(client)
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert (client.usage.credits_charged, client.usage.credits_at_risk) == (0, 1)


@pytest.mark.parametrize("has_session", [False, True])
async def test_an_answer_that_came_in_pieces_waits_for_its_turn_too(
    make_client: MakeClient, has_session: bool
) -> None:
    async def answer(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond()[:-50])
        await asyncio.sleep(0.05)
        assert not client._engine._pipeline.turns._waiting
        connection.writer.write(respond()[-50:])

    async with serve(answer) as server, aiohttp.ClientSession() as session:
        client = make_client(base_url=server.base_url, session=session if has_session else None)
        buying = await start_waiting(client)
        buying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await buying
        assert (client.usage.credits_charged, client.usage.credits_at_risk) == (1, 0)


async def test_who_waits_for_a_turn_lets_go_of_its_connection(make_client: MakeClient) -> None:
    async def answer(connection: Connection) -> None:
        while await connection.read_request():
            connection.writer.write(respond())

    async with serve(answer) as server:
        client = make_client(base_url=server.base_url)
        for _ in range(3):
            buying = await start_waiting(client)
            buying.cancel()
            await asyncio.gather(buying, return_exceptions=True)
            client._engine._pipeline.turns._waiting.clear()
        assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("deadline", [2.0, None])
async def test_an_answer_that_waits_for_its_turn_is_not_late(
    make_client: MakeClient, deadline: float | None
) -> None:
    client = make_client(deadline=deadline)
    buying = await start_waiting(client)
    assert client._engine._pipeline._deadlines._running == set()
    client._engine._pipeline.turns._begin_pass()
    assert await buying


async def test_what_a_long_pass_allowed_is_gone_after_it() -> None:
    seconds = iter([0.0, 1.0])
    turns = Turns(lambda: next(seconds, 1.0))
    assert turns.take_at_once()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [turns.take_at_once() for _ in range(EACH_PASS + 1)] == [*[True] * EACH_PASS, False]


async def test_whatever_comes_out_of_reading_an_answer_leaves_no_slot_taken(
    client: FollowingClient,
) -> None:
    def fail(*_: object) -> bool:
        raise MemoryError

    for _ in range(3):
        with pytest.raises(MemoryError):
            await client._engine.ask("/health", fail, client._options)
    assert client._engine._free.state.in_flight == 0
