"""Any loop that runs will do: uvloop's, and one that was there before, as in a notebook."""

import ast
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from tiktok_following import FollowingClient, FollowingStore, RetryPolicy, TransportError, sync
from tiktok_following.sandbox import Gate, Sandbox, faults

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def make_uvloop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        pytest.skip("uvloop is not made for Windows")
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    assert isinstance(loop, uvloop.Loop)
    return loop


@pytest.fixture(params=[make_uvloop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def make_loop(request: pytest.FixtureRequest) -> MakeLoop:
    make: MakeLoop = request.param
    return make


def run(make_loop: MakeLoop, use: Callable[[FollowingClient, Sandbox], Any]) -> Sandbox:
    """Use a client on such a loop, with the sandbox on the same one."""

    async def main() -> Sandbox:
        async with Sandbox() as sandbox:
            retry = RetryPolicy(initial_backoff=0.001, ambiguous_retries=0)
            async with FollowingClient(
                sandbox.api_key, base_url=sandbox.base_url, retry=retry
            ) as client:
                await use(client, sandbox)
            return sandbox

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main())


def test_a_client_reads_retries_and_pauses(make_loop: MakeLoop) -> None:
    async def use(client: FollowingClient, sandbox: Sandbox) -> None:
        sandbox.script(faults.status(503, retry_after=0.02), faults.status(503))
        assert len((await client.following("nasa").collect()).accounts) == 95
        assert client.usage.retries == 2
        assert (await client.balance()).balance == sandbox.credits_left

    run(make_loop, use)


def test_a_lost_connection_is_not_sent_again(make_loop: MakeLoop) -> None:
    async def use(client: FollowingClient, sandbox: Sandbox) -> None:
        await client.following_page("nasa")
        sandbox.script(faults.drop_after())
        with pytest.raises(TransportError) as caught:
            await client.following_page("nasa")
        assert caught.value.may_be_charged
        assert sandbox.credits_charged == 2

    run(make_loop, use)


def test_a_run_with_a_store_and_going_on_with_it(make_loop: MakeLoop, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    names = [f"some.{number}" for number in range(50)]

    async def use(client: FollowingClient, sandbox: Sandbox) -> None:
        async with client.following_many(names, store=path, max_pages=1, concurrency=4) as run:
            async for _ in run:
                if run.progress.done >= 10:
                    run.stop()
        before = sandbox.credits_charged
        async with client.following_many(names, store=path, max_pages=1) as run:
            outcomes = [outcome async for outcome in run]
        assert [outcome.error for outcome in outcomes] == [None] * 50
        assert before < sandbox.credits_charged == 50

    run(make_loop, use)
    with FollowingStore(path) as store:
        assert store.summary().pages == 50


def test_cancelling_books_what_was_sent_and_frees_its_slot(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    async def use(client: FollowingClient, sandbox: Sandbox) -> None:
        gate = Gate()
        sandbox.script(faults.hold(gate), faults.hold(gate))
        page = asyncio.create_task(client.following_page("nasa"))
        await gate.reached()
        page.cancel()
        with pytest.raises(asyncio.CancelledError):
            await page
        assert (client.usage.credits_at_risk, client.throttle.in_flight) == (1, 0)

        async def run_many() -> None:
            path = tmp_path / "a.db"
            async with client.following_many(["nasa"], store=path, drain_timeout=0) as run:
                async for _ in run:
                    pass

        task = asyncio.create_task(run_many())
        await gate.reached(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (client.usage.credits_at_risk, client.throttle.in_flight) == (2, 0)

    run(make_loop, use)


# A notebook: cells on one loop that runs on between them


CELLS = [
    "from tiktok_following import FollowingClient",
    "client = FollowingClient()",
    "page = await client.following_page('nasa')",
    "async for account in client.following('nasa', limit=3): print(account.handle)",
    """async with client.following_many(["nasa", "esa"], max_pages=1, store="a.db") as run:
    outcomes = [outcome async for outcome in run]""",
    "tasks = [asyncio.create_task(client.following_page(name)) for name in ('nasa', 'esa')]",
    "pages = await asyncio.gather(*tasks)",
    "from tiktok_following.sync import FollowingClient as SyncClient",
    "waiting = SyncClient()",
    "same = waiting.following('nasa').collect()",
    "waiting.close()",
    "await client.close()",
]


def test_cells_of_a_notebook_await_at_their_top_level(
    make_loop: MakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As IPython runs them: each its own coroutine, the loop running on in between."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"asyncio": asyncio}

    async def run_cells() -> None:
        for cell in CELLS:
            code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            awaited = FunctionType(code, names)()
            if awaited is not None:
                await asyncio.create_task(awaited)

    with Sandbox() as sandbox:
        monkeypatch.setenv("SOCIALFETCH_API_KEY", sandbox.api_key)
        monkeypatch.setenv("SOCIALFETCH_BASE_URL", sandbox.base_url)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(run_cells())
    assert len(names["page"].accounts) == 30
    assert [outcome.pages for outcome in names["outcomes"]] == [1, 1]
    assert len(names["same"].accounts) == 95
    assert isinstance(names["waiting"], sync.FollowingClient)
