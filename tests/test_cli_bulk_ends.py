"""What ``tiktok-following bulk`` promises to whoever interrupts it: nothing paid is lost."""

import asyncio
import contextlib
import io
import json
import os
import re
import select
import shlex
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_runs import point_to, run, run_on, run_process, start_process

from tiktok_following import FollowingStore
from tiktok_following._cli._bulk_plan import BulkPlan
from tiktok_following._cli._bulk_run import run_bulk
from tiktok_following._cli._handles import open_handles
from tiktok_following._cli._interruption import ECHO
from tiktok_following._cli._messages import Messages
from tiktok_following.sandbox import Gate, Sandbox, faults

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
AT_ONCE = 5
COMMAND = ("bulk", "handles.txt", "--store", "f.db", "--concurrency", str(AT_ONCE))
HANDLES = [f"user{number}" for number in range(30)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(totals=(0, 100)) as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("handles.txt").write_text("\n".join(HANDLES), encoding="utf-8")
    return tmp_path


def count_pages(server: Sandbox) -> int:
    return sum(max(1, len(server.pages(handle))) for handle in HANDLES)


def hold_pages(server: Sandbox) -> Gate:
    """Hold as many pages as a run has under way at once."""
    gate = Gate()
    for handle in HANDLES[10 : 10 + AT_ONCE]:
        server.script(faults.hold(gate), handle=handle)
    return gate


def wait_for(has_come: Callable[[], bool]) -> None:
    while not has_come():
        select.select([], [], [], 0.002)


def is_locked() -> bool:
    """Tell whether a run locked the store since its lock was emptied."""
    return Path("f.db.lock").stat().st_size > 0


@contextlib.contextmanager
def start_held(
    server: Sandbox, *arguments: str, before: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], Gate]]:
    """Start a process, and wait until the server holds all pages that it has under way."""
    gate = hold_pages(server)
    settings = point_to(server)
    with start_process(*COMMAND, *arguments, settings=settings, before=before) as process:
        try:
            wait_for(lambda: gate.arrivals >= AT_ONCE)
            yield process, gate
        finally:
            gate.release()


def get_command(err: str) -> list[str]:
    [line] = [line for line in err.splitlines() if line.startswith("go on with: ")]
    program, *arguments = shlex.split(line.removeprefix("go on with: "))
    assert program == "tiktok-following"
    return arguments


def interrupt(
    server: Sandbox,
    number: signal.Signals,
    *arguments: str,
    times: int = 1,
    seconds_apart: float = 2 * ECHO,
) -> tuple[int, str]:
    """Run a command in this process, and send it signals while all its pages are held."""
    gate = hold_pages(server)
    out, err = io.StringIO(), io.StringIO()

    def send() -> None:
        wait_for(lambda: gate.arrivals >= AT_ONCE)
        for _ in range(times):
            os.kill(os.getpid(), number)
            wait_for(lambda: "stopping" in err.getvalue())
            time.sleep(seconds_apart)
        if times == 1 or not seconds_apart:
            gate.release()

    thread = threading.Thread(target=send)
    thread.start()
    code = run_on(out, err, *COMMAND, *arguments)
    thread.join()
    gate.release()
    return code, err.getvalue()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_lets_the_pages_under_way_land_and_nothing_is_bought_twice(
    server: Sandbox, number: signal.Signals
) -> None:
    code, err = interrupt(server, number)
    assert code == 128 + number
    assert "stopping: 5 pages under way will be stored; again leaves at once\n" in err
    assert " at risk" not in err
    assert "not begun" in err
    assert "stopped: " not in err
    with FollowingStore("f.db") as store:
        assert store.summary().pages == server.credits_charged > 0
    assert run(*get_command(err)).code == 0
    assert server.credits_charged == count_pages(server)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("options", [(), ("--jsonl", "out.jsonl")])
def test_a_second_signal_leaves_at_once_and_says_what_is_at_risk(
    server: Sandbox, number: signal.Signals, options: tuple[str, ...]
) -> None:
    began = time.monotonic()
    code, err = interrupt(server, number, *options, times=2)
    assert time.monotonic() - began < 15  # pages under way are waited for 30 seconds
    assert code == 128 + number
    assert "5 at risk" in err
    result = run(*get_command(err))
    assert result.code == 0
    assert "an earlier run died" not in result.err  # it said so itself
    assert server.credits_charged <= count_pages(server) + AT_ONCE
    with FollowingStore("f.db") as store:
        assert store.summary().pages == count_pages(server)


def test_a_sigterm_that_comes_twice_at_once_is_one(server: Sandbox) -> None:
    """As ``timeout`` sends it, to the process that it started and to all of its group."""
    code, err = interrupt(server, signal.SIGTERM, times=2, seconds_apart=0)
    assert code == 128 + signal.SIGTERM
    assert " at risk" not in err
    with FollowingStore("f.db") as store:
        assert store.summary().pages == server.credits_charged > 0


def test_ctrl_c_in_a_real_process_goes_on_as_told(server: Sandbox) -> None:
    with start_held(server) as (process, gate):
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping: 5 pages under way")
        gate.release()
        _, err = process.communicate()
    assert process.returncode == 130
    assert run(*get_command(err)).code == 0
    assert server.credits_charged == count_pages(server)


@pytest.mark.parametrize("jsonl", [None, "out.jsonl"])
def test_what_landed_and_could_not_be_stored_is_handed_over_after_two_signals(
    server: Sandbox, jsonl: str | None
) -> None:
    """Another program has the store for longer than is waited for."""
    options = () if jsonl is None else ("--jsonl", jsonl)
    with start_held(server, *options) as (process, gate):
        other = sqlite3.connect("f.db")
        other.execute("BEGIN IMMEDIATE")
        gate.release()
        wait_for(lambda: server.in_flight == 0)
        time.sleep(3)  # of the 10 that the store is waited for: until then all has landed
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(2 * ECHO)
        out, err = process.communicate(timeout=60)
        other.close()
    assert process.returncode == 130
    rows = out if jsonl is None else Path("out.jsonl.rescued-1").read_text("utf-8")
    with FollowingStore("f.db") as store:
        stored = store.summary().accounts
    (bought,) = re.findall(r"([\d,]+) accounts?, [\d,]+ credits? charged", err)
    assert err.count("database is locked") == 1
    (lost,) = re.findall(r"([\d,]+) accounts? that the store could not take", err)
    written = Counter(json.loads(line)["source_handle"] for line in rows.splitlines())
    assert int(lost) == int(bought.replace(",", "")) - stored > 0
    assert written.total() == (int(lost) if jsonl is None else int(lost) + stored)


def test_two_times_ctrl_c_leave_a_real_process_at_once(server: Sandbox) -> None:
    with start_held(server) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("stopping: ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()  # before the pages are let go
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "5 at risk" in err


def test_a_signal_that_was_turned_off_stays_off(server: Sandbox) -> None:
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with start_held(server, before=nohup) as (process, gate):
        process.send_signal(signal.SIGHUP)
        gate.release()
        _, err = process.communicate()
    assert process.returncode == 0
    assert "stopping" not in err


def test_after_a_kill_the_next_run_says_what_may_have_been_lost(server: Sandbox) -> None:
    with start_held(server) as (process, _):
        process.kill()
        process.wait()
    result = run("bulk", "handles.txt", "--store", "f.db")
    assert result.code == 0
    first = result.err.splitlines()[0]
    assert first.startswith("an earlier run died: its pages in flight may have cost up to ")
    assert result.err.count("an earlier run died") == 1
    with FollowingStore("f.db") as store:
        summary = store.summary()
    assert summary.pages == count_pages(server)
    assert summary.credits_charged <= server.credits_charged
    assert server.credits_charged <= summary.credits_charged + summary.credits_at_risk
    assert "an earlier run died" not in run("bulk", "handles.txt", "--store", "f.db").err


def test_a_file_of_rows_that_a_kill_left_is_a_part_and_made_anew(server: Sandbox) -> None:
    with start_held(server, "--jsonl", "out.jsonl") as (process, _):
        process.kill()
        process.wait()
    assert Path("out.jsonl.part").exists()
    assert not Path("out.jsonl").exists()
    assert run("bulk", "handles.txt", "--store", "f.db", "--jsonl", "out.jsonl").code == 0
    lines = Path("out.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [(row["source_handle"], row["handle"]) for row in map(json.loads, lines)]
    truth = [
        (handle, account["handle"])
        for handle in HANDLES
        for page in server.pages(handle)
        for account in page
    ]
    assert sorted(rows) == sorted(truth)
    assert not Path("out.jsonl.part").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_waiting_for_the_first_handle_is_ended_by_a_signal(
    number: signal.Signals, code: int
) -> None:
    os.mkfifo("pipe")
    with start_process("bulk", "pipe", "--store", "f.db", "--sandbox") as process:
        with open("pipe", "wb"):  # noqa: PTH123 - waits until the process reads from it
            process.send_signal(number)
            assert process.wait(10) == code
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert not Path("f.db").exists()


def test_waiting_for_more_standard_input_is_ended_by_a_signal(server: Sandbox) -> None:
    arguments = ("bulk", "-", "--store", "f.db", "--jsonl", "-")
    with start_process(*arguments, stdin=subprocess.PIPE, settings=point_to(server)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("nasa\n")
        process.stdin.flush()
        for _ in range(95):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        assert process.stderr is not None
        assert "handles: 1 done, 1 found" in process.stderr.read()


async def test_cancelling_a_run_lets_its_pages_land(server: Sandbox) -> None:
    """As Ctrl-C does where a loop cannot listen for signals."""
    gate = hold_pages(server)
    err = io.StringIO()
    plan = BulkPlan(input="handles.txt", store="f.db", concurrency=AT_ONCE)
    with contextlib.redirect_stderr(err):
        command = run_bulk(plan, open_handles(plan.input, None), Messages())
    task = asyncio.create_task(command)
    while gate.arrivals < AT_ONCE:
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    gate.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    with FollowingStore("f.db") as store:
        assert store.summary().pages == server.credits_charged
        assert store.summary().credits_at_risk == 0


@pytest.mark.parametrize("is_freed", [True, False])
async def test_two_signals_while_the_store_is_opened_are_no_success(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch, *, is_freed: bool
) -> None:
    """Another program has the store, in which an earlier run died."""
    monkeypatch.setattr("tiktok_following._writer.BUSY_TIMEOUT", 15_000 if is_freed else 500)
    with start_held(server) as (process, _):
        process.kill()
        process.wait()
    os.truncate("f.db.lock", 0)
    err = io.StringIO()
    with contextlib.closing(sqlite3.connect("f.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        plan = BulkPlan(input="handles.txt", store="f.db", concurrency=AT_ONCE)
        with contextlib.redirect_stderr(err):
            command = run_bulk(plan, open_handles(plan.input, None), Messages())
            task = asyncio.create_task(command)
            while not is_locked():
                await asyncio.sleep(0.002)
            os.kill(os.getpid(), signal.SIGTERM)
            while "stopping: " not in err.getvalue():
                await asyncio.sleep(0.002)
            os.kill(os.getpid(), signal.SIGINT)
            while not task.cancelling():
                await asyncio.sleep(0.002)
            if is_freed:
                other.execute("COMMIT")
            assert await task == 143
    told = err.getvalue()
    assert ("an earlier run died" in told, "go on with: " in told) == (is_freed, is_freed)
    assert ("database is locked" in told) == (not is_freed)
    later = run_process(*COMMAND, settings=point_to(server))
    assert ("an earlier run died" in later.err, later.code) == (not is_freed, 0)


def test_a_signal_that_was_turned_off_is_left_so(server: Sandbox) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gate = hold_pages(server)

    def send() -> None:
        wait_for(lambda: gate.arrivals >= AT_ONCE)
        os.kill(os.getpid(), signal.SIGHUP)
        gate.release()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert run(*COMMAND).code == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        thread.join()
        signal.signal(signal.SIGHUP, before)


def test_a_pipe_that_turns_bad_is_told(server: Sandbox) -> None:
    os.mkfifo("pipe")

    def write() -> None:
        with open("pipe", "wb") as pipe:  # noqa: PTH123 - waits until it is read from
            pipe.write(b"nasa\n\xff\nesa\n")

    thread = threading.Thread(target=write)
    thread.start()
    result = run("bulk", "pipe", "--store", "f.db")
    thread.join()
    assert result.code == 1
    assert "pipe, line 2, is not UTF-8 text: save it as UTF-8; what comes after" in result.err
    assert get_command(result.err)
    assert server.credits_charged == 4
