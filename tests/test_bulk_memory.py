"""What a bulk run holds does not grow with the number of handles; benchmarks/memory.py has more."""

import asyncio
import gc
import tracemalloc
from pathlib import Path
from statistics import median

import pytest
from bodies import make_body

from tiktok_following import FollowingClient, FollowingRun
from tiktok_following.sandbox import Sandbox, faults

HANDLES = 1_300
CONCURRENCY = 20
WINDOW = 2 * CONCURRENCY
"""Outcomes that may be under way or wait for the consumer."""
EARLY, LATE = range(200, 500, 17), range(900, 1_200, 17)
"""Outcomes taken at two stretches of one run."""
KNOWN = 100
"""Bytes that it may take to know a handle again."""
UNEVEN = 1 << 16
"""Bytes by which two such moments may differ; keeping the outcomes between them is 2 MB."""
BODY = make_body(["ada", "bob", "cyd"], None)


async def measure(run: FollowingRun, taken: int) -> int:
    """Return the bytes held when the window is full, so that nothing moves, without garbage."""
    while run.progress.done < taken + WINDOW:
        await asyncio.sleep(0.001)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("has_store", [False, True])
async def test_what_was_handed_over_is_held_no_longer(tmp_path: Path, *, has_store: bool) -> None:
    held: dict[int, int] = {}
    handles = (f"handle{number}" for number in range(HANDLES))
    store = tmp_path / "following.db" if has_store else None
    async with Sandbox(keep_records=False) as sandbox:
        sandbox.script_by(lambda _: faults.raw(BODY))
        url = sandbox.base_url
        async with FollowingClient(sandbox.api_key, base_url=url, max_concurrency=20) as client:
            tracemalloc.start()
            try:
                async with client.following_many(
                    handles, concurrency=CONCURRENCY, store=store
                ) as run:
                    taken = 0
                    async for outcome in run:
                        assert len(outcome.accounts) == 3
                        taken += 1
                        if taken in EARLY or taken in LATE:
                            held[taken] = await measure(run, taken)
            finally:
                tracemalloc.stop()
    assert taken == HANDLES
    early, late = (median(held[n] for n in part) for part in (EARLY, LATE))
    known = 0 if has_store else KNOWN * (LATE.start - EARLY.start)  # the store knows them itself
    assert late - early < known + UNEVEN
