"""What blocks runs beside the loop, and is never left alone."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stores import ORIGIN

from tiktok_following._session import open_store
from tiktok_following._threads import run_to_end
from tiktok_following.sync import FollowingClient as SyncClient

NAME = "following-errand"


class Thing:
    """What is made, and given back."""

    def __init__(self) -> None:
        self.is_given_back = threading.Event()

    def give_back(self) -> None:
        self.is_given_back.set()


@contextmanager
def no_threads() -> Iterator[None]:
    """Let no thread begin: there is no room for a stack like that."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def join_errands() -> None:
    """Wait until all that was begun is done."""
    for thread in threading.enumerate():
        if thread.name == NAME:
            thread.join(15)


async def test_what_fails_is_raised_and_leaves_nothing_behind() -> None:
    class OfThisTestError(Exception):
        pass

    def fail() -> None:
        raise OfThisTestError

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(OfThisTestError) as caught:
            await run_to_end(fail)
        error = weakref.ref(caught.value)
        del caught
        assert error() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_hears_of_it_when_it_is_done(times: int) -> None:
    go_on, left = threading.Event(), list[int]()

    def make() -> int:
        go_on.wait(15)
        return 7

    async def leave(number: int) -> None:
        await asyncio.sleep(0)
        left.append(number)

    task = asyncio.ensure_future(run_to_end(make, leave=leave))
    for _ in range(times):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [7]


async def test_a_timeout_around_it_is_a_timeout() -> None:
    go_on = threading.Event()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_to_end(lambda: go_on.wait(15))


@pytest.mark.parametrize("is_done", [False, True])
async def test_what_is_made_for_a_coroutine_that_was_thrown_away_is_given_back(
    *, is_done: bool
) -> None:
    go_on, thing = threading.Event(), Thing()

    def make() -> Thing:
        go_on.wait(15)
        return thing

    waiting = run_to_end(make, Thing.give_back)
    waiting.send(None)
    if is_done:
        go_on.set()
        join_errands()
    assert not thing.is_given_back.is_set()
    waiting.close()
    go_on.set()
    assert thing.is_given_back.wait(15)


def test_what_is_made_for_a_loop_that_was_closed_is_given_back() -> None:
    go_on, thing = threading.Event(), Thing()

    def make() -> Thing:
        go_on.wait(15)
        return thing

    async def begin() -> "asyncio.Task[Thing]":
        task = asyncio.ensure_future(run_to_end(make, Thing.give_back))
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(begin())
    loop.close()
    go_on.set()
    assert thing.is_given_back.wait(15)
    task._log_destroy_pending = False


async def test_where_no_thread_can_be_had_it_is_done_here() -> None:
    with no_threads():
        assert await run_to_end(threading.get_ident) == threading.get_ident()


async def test_a_store_that_can_have_no_thread_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "following.db"
    given: dict[str, Any] = {"origin": ORIGIN, "trim": False, "concurrency": 1}
    with no_threads(), pytest.raises(RuntimeError, match="thread"):
        open_store(path, **given)
    await open_store(path, **given).close()


def test_a_second_interruption_does_not_keep_a_call_from_hearing_of_the_first() -> None:
    begun, heard = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            heard.set()

    with SyncClient("sfk_test_threads") as client:
        thread = client._thread
        post, posted = thread._home.post, list[object]()

        def interrupt(callback: object) -> None:
            posted.append(callback)
            if len(posted) != 2:
                post(callback)
            if len(posted) != 3:
                assert begun.wait(15)
                raise KeyboardInterrupt

        thread._home.post = interrupt
        with pytest.raises(KeyboardInterrupt):
            thread.run(wait())
        assert heard.wait(15)
        del thread._home.post
