"""A client, a run and a store belong to the process that made them, and say so elsewhere."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from weakref import WeakSet

import pytest
from bodies import make_body
from cli_runs import make_environment, point_to
from conftest import MakeClient
from stores import ORIGIN, fill_store

from tiktok_following import (
    FollowingClient,
    FollowingStore,
    StoreLockedError,
    WrongProcessError,
    _forks,
)
from tiktok_following._session import open_store
from tiktok_following.sandbox import Sandbox

TESTS = Path(__file__).parent

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_script(code: str, server: Sandbox) -> str:
    """Run a script as a process of its own that may fork, and give what it prints."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env=make_environment({**point_to(server), "PYTHONPATH": _find_path()}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout


def _find_path() -> str:
    return os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])


@needs_fork
@pytest.mark.parametrize("was_used", [False, True])
def test_a_client_in_a_forked_process_says_so_and_the_parent_goes_on(was_used: bool) -> None:
    with Sandbox() as server:
        printed = run_script(
            f"""
            import asyncio
            from forked import in_child
            from tiktok_following import FollowingClient

            async def use_it():
                async with client:
                    await client.following_page("nasa")

            client = FollowingClient()
            with asyncio.Runner() as runner:
                if {was_used}:
                    runner.run(client.following_page("nasa"))
                print(in_child(lambda: asyncio.run(use_it())))
                print(in_child(lambda: asyncio.run(client.close())))
                print(len(runner.run(client.following_page("nasa")).accounts))
                runner.run(client.close())
            """,
            server,
        ).splitlines()
        requests = server.requests_received
    assert printed[0].startswith("WrongProcessError: the client belongs to the process")
    assert "make one here" in printed[0]
    assert printed[1].split(":")[0] == ("WrongProcessError" if was_used else "None")
    assert printed[2] == "30"
    assert requests == 1 + was_used


@needs_fork
def test_a_process_of_multiprocessing_needs_a_client_of_its_own() -> None:
    with Sandbox() as server:
        printed = run_script(
            """
            import asyncio, multiprocessing
            from tiktok_following import FollowingClient, WrongProcessError

            client = FollowingClient()

            async def count(one):
                async with one:
                    return len((await one.following_page("nasa")).accounts)

            def work(answers):
                try:
                    asyncio.run(count(client))
                except WrongProcessError as error:
                    answers.put(type(error).__name__)
                answers.put(asyncio.run(count(FollowingClient())))

            if __name__ == "__main__":
                context = multiprocessing.get_context("fork")
                answers = context.SimpleQueue()
                process = context.Process(target=work, args=(answers,))
                process.start()
                print(answers.get(), answers.get())
                process.join()
            """,
            server,
        )
    assert printed.split() == ["WrongProcessError", "30"]


def test_spawning_a_process_with_a_client_says_so() -> None:
    client = FollowingClient("sfk_test_spawn")
    process = multiprocessing.get_context("spawn").Process(target=print, args=(client,))
    with pytest.raises(TypeError, match="cannot be pickled or copied: make one per process"):
        process.start()


async def test_nothing_that_is_open_can_be_pickled_or_copied(
    client: FollowingClient, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    async with client.following_many([], store=path):
        pass
    with FollowingStore(path) as store:
        for thing in (client, client.following("nasa"), client.following_many([]), store):
            for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot be pickled or copied"):
                    duplicate(thing)


# A copy, seen from inside: what a fork makes of everything at once


async def test_a_copy_of_a_client_sends_nothing(make_client: MakeClient, sandbox: Sandbox) -> None:
    client = make_client()
    await client.following_page("nasa")
    client._engine.transport.become_copy()
    pager, run = client.following("nasa"), client.following_many(["nasa"])
    for use in (client.balance, client.close, pager.collect, run.__aenter__):
        with pytest.raises(WrongProcessError, match="the client belongs to the process"):
            await use()
    assert sandbox.requests_received == 1
    client._engine.transport.is_copy = False
    await client.close()


def test_a_copy_of_a_store_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.db"
    bound: WeakSet[_forks.ProcessBound] = WeakSet()
    monkeypatch.setattr(_forks, "_bound", bound)
    fill_store(path, {"nasa": [make_body(), make_body()]})
    with FollowingStore(path) as store:
        pages = store.pages()
        assert list(store.lookups())
        _forks._tell_copies()
        with pytest.raises(WrongProcessError, match="the store belongs to the process"):
            store.summary()
        with pytest.raises(WrongProcessError):
            next(pages)


async def test_a_copy_of_a_run_writes_nothing_and_leaves_its_owner_the_lock(
    tmp_path: Path,
) -> None:
    session = open_store(tmp_path / "a.db", origin=ORIGIN, trim=False, concurrency=1)
    writer = session._writer
    copied = copy.copy(writer._lock)
    copied._descriptor = os.dup(writer._lock._descriptor)
    writer.is_copy = True
    with pytest.raises(WrongProcessError):
        await session.claim(["nasa"])
    writer.is_copy = False
    copied.become_copy()
    with pytest.raises(StoreLockedError):
        open_store(tmp_path / "a.db", origin=ORIGIN, trim=False, concurrency=1)
    inherited = os.dup(writer._lock._descriptor)  # by a child that has not let go of it yet
    await session.close()
    await _open_and_close(tmp_path / "a.db")
    os.close(inherited)
    writer._lock.become_copy()  # nothing is left to let go of


# The lock of a store, and children that outlive its owner


@needs_fork
def test_a_store_in_a_forked_process_says_so_in_the_middle_of_reading_too(tmp_path: Path) -> None:
    fill_store(tmp_path / "a.db", {"nasa": [make_body()] * 40})
    with Sandbox() as server:
        printed = run_script(
            f"""
            from forked import in_child
            from tiktok_following import FollowingStore

            with FollowingStore({str(tmp_path / "a.db")!r}) as store:
                pages = store.pages()
                next(pages)
                print(in_child(lambda: sum(1 for _ in pages)))
                print(in_child(lambda: store.lookup("nasa")))
                print(sum(1 for _ in pages))
            """,
            server,
        ).splitlines()
    assert [line.split(":")[0] for line in printed] == ["WrongProcessError"] * 2 + ["39"]


@needs_fork
@pytest.mark.parametrize("end", ["finish", "die"])
def test_a_child_forked_off_during_a_run_does_not_hold_its_store(tmp_path: Path, end: str) -> None:
    """A child has the lock's file open too, and lives on when the run or its process ended."""
    path = tmp_path / "a.db"
    read, write = os.pipe()
    code = f"""
        import asyncio, os, signal, sys
        from tiktok_following._session import open_store
        from tiktok_following import Usage

        async def main():
            session = open_store({str(path)!r}, origin={ORIGIN!r}, trim=False, concurrency=1)
            child = os.fork()
            if not child:
                os.close(1)
                os.read(0, 1)  # lives until the test closes this
                os._exit(0)
            print(child, flush=True)
            if {end!r} == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            await session.close()

        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env=make_environment({"PYTHONPATH": _find_path()}),
        stdin=read,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.close(read)
        printed, _ = process.communicate(timeout=60)
        os.kill(int(printed), 0)  # the child is there
        asyncio.run(_open_and_close(path))
    finally:
        os.close(write)
    assert process.returncode == (-signal.SIGKILL if end == "die" else 0)


@needs_fork
def test_a_copy_of_a_copy_closes_nothing_of_others(tmp_path: Path) -> None:
    code = f"""
        import os
        from pathlib import Path
        from forked import in_child
        from tiktok_following._lock import StoreLock

        lock = StoreLock(Path({str(tmp_path / "a.db")!r}), "a.db")

        def open_another():
            with open({str(tmp_path / "own")!r}, "w") as file:  # by the number that was the lock's
                number = file.fileno()
                written = in_child(lambda: os.write(number, b"x"))
            return f"{{number == lock._descriptor}} {{written}}"

        print(in_child(open_another))
    """
    with Sandbox() as server:
        assert run_script(code, server) == "True 1\n"


async def _open_and_close(path: Path) -> None:
    session = open_store(path, origin=ORIGIN, trim=False, concurrency=1)
    await session.close()
