"""What a bulk run holds does not grow with the number of handles; benchmarks/memory.py has more."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from bodies import make_body

from tiktok_following import FollowingClient
from tiktok_following.sandbox import Sandbox, faults

FEW = 100
MANY = 1_000
BODY = make_body(["ada", "bob", "cyd"], None)


async def run(client: FollowingClient, count: int, store: Path | None) -> int:
    """Look handles up and drop what comes; return the most bytes held meanwhile."""
    handles = (f"handle{number}" for number in range(count))
    gc.collect()
    tracemalloc.reset_peak()
    begun, _ = tracemalloc.get_traced_memory()
    async with client.following_many(handles, store=store) as following:
        async for outcome in following:
            assert len(outcome.accounts) == 3
    assert following.summary.progress.done == count
    _, peak = tracemalloc.get_traced_memory()
    return peak - begun


@pytest.mark.parametrize("has_store", [False, True])
async def test_ten_times_the_handles_take_no_more_memory_than_it_takes_to_know_them_again(
    tmp_path: Path, *, has_store: bool
) -> None:
    async with Sandbox(keep_records=False) as sandbox:
        sandbox.script_by(lambda _: faults.raw(BODY))
        url = sandbox.base_url
        async with FollowingClient(sandbox.api_key, base_url=url, max_concurrency=20) as client:
            tracemalloc.start()
            try:
                _, few, many = [  # the first also makes what stays for good, as the connections
                    await run(client, count, tmp_path / f"{number}.db" if has_store else None)
                    for number, count in enumerate((FEW, FEW, MANY))
                ]
            finally:
                tracemalloc.stop()
    assert many - few < 100 * (MANY - FEW) + 2**19  # the rows would be ten times that
