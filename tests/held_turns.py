"""Let answers wait for their turn for good, to see what becomes of those that are given up then."""

import asyncio

from tiktok_following import FollowingClient, FollowingRun
from tiktok_following._landings import Landings
from tiktok_following._turns import Turns


def hold_turns(client: FollowingClient) -> Turns:
    """Let nobody have a turn from now on."""
    turns = client._engine._pipeline.turns
    turns._left, turns._is_counting = 0, True
    return turns


def hold_landings(run: FollowingRun) -> Landings:
    """Let the consumer of a run that was entered read nothing from now on, though it waits."""
    assert run._crew is not None
    landings = run._crew.outbox.landings
    assert landings is not None
    landings.wake = lambda: None
    return landings


async def until_waiting(held: Turns | Landings, count: int = 1) -> None:
    """Wait until so many wait to be read, all of their answers being here."""
    while len(held._waiting) < count:
        await asyncio.sleep(0.001)
