"""Let answers wait for their turn for good, to see what becomes of those that are given up then."""

import asyncio

from tiktok_following import FollowingClient
from tiktok_following._turns import Turns


def hold_turns(client: FollowingClient) -> Turns:
    """Let nobody have a turn from now on."""
    turns = client._engine._pipeline._turns
    turns._left, turns._is_counting = 0, True
    return turns


async def until_waiting(turns: Turns, count: int = 1) -> None:
    """Wait until so many wait for a turn, all of their answers being here."""
    while len(turns._waiting) < count:
        await asyncio.sleep(0.001)
