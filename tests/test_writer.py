"""What the writer promises: done means on the disk, together, once, and by one process."""

import asyncio
import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiktok_following import StoreError, StoreLockedError, StoreWriteError, _lock
from tiktok_following._writer import StoreWriter

MakeWriter = Callable[..., StoreWriter]
Work = Callable[[sqlite3.Connection], None]

CHILD = """
import sqlite3, sys
from pathlib import Path
from tiktok_following._writer import StoreWriter
path = Path(sys.argv[1])
writer = StoreWriter(path, str(path), lambda db: None)
print("ready", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "following.db"


@pytest.fixture
def make_writer(path: Path) -> Iterator[MakeWriter]:
    """Make writers of a table of numbers; all are closed at the end."""
    writers: list[StoreWriter] = []

    def make(prepare: Work = lambda _: None) -> StoreWriter:
        def prepare_table(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TABLE IF NOT EXISTS numbers (n)")
            prepare(connection)

        writers.append(StoreWriter(path, str(path), prepare_table))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def add(number: int) -> Callable[[sqlite3.Connection], int]:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        return number

    return work


def read_numbers(path: Path) -> list[int]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]
    finally:
        connection.close()


def hold_until(event: threading.Event) -> Callable[[sqlite3.Connection], None]:
    """Make a job that keeps the writer busy, so that others queue behind it."""
    return lambda _: (event.wait(30), None)[1]


async def test_what_queued_during_a_commit_commits_together(make_writer: MakeWriter) -> None:
    statements: list[str] = []
    writer = make_writer(lambda connection: connection.set_trace_callback(statements.append))
    free = threading.Event()
    first = writer.submit(hold_until(free))
    while "BEGIN IMMEDIATE" not in "".join(statements):
        await asyncio.sleep(0)
    group = [writer.submit(add(number)) for number in range(100)]
    free.set()
    assert await asyncio.gather(first, *group) == [None, *range(100)]
    assert statements.count("COMMIT") == 2


async def test_a_job_is_not_done_before_it_is_committed(
    make_writer: MakeWriter, path: Path
) -> None:
    writer = make_writer()
    seen: list[list[int]] = []
    future = writer.submit(add(7))
    future.add_done_callback(lambda _: seen.append(read_numbers(path)))
    await future
    await asyncio.sleep(0)
    assert seen == [[7]]


async def test_what_a_commit_gives_is_durable(make_writer: MakeWriter) -> None:
    writer = make_writer()

    def read(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "fullfsync")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await writer.commit(read) == ["wal", 2, 1]


async def test_a_commit_survives_the_cancellation_of_its_caller(
    make_writer: MakeWriter, path: Path
) -> None:
    writer = make_writer()
    free = threading.Event()
    writer.submit(hold_until(free))
    caller = asyncio.create_task(writer.commit(add(1)))
    future = writer.submit(add(2))
    await asyncio.sleep(0)
    caller.cancel()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    free.set()
    assert await writer.commit(add(3)) == 3
    assert read_numbers(path) == [1, 2, 3]


async def test_a_job_that_fails_by_itself_fails_alone(make_writer: MakeWriter, path: Path) -> None:
    writer = make_writer()
    free = threading.Event()

    def fail(_: sqlite3.Connection) -> None:
        raise KeyError("mine")

    jobs: list[asyncio.Future[object]] = [
        writer.submit(work) for work in (hold_until(free), add(1), fail, add(2), fail, add(3))
    ]
    free.set()
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results[1:]] == [int, KeyError, int, KeyError, int]
    assert read_numbers(path) == [1, 2, 3]
    assert await writer.commit(add(4)) == 4


async def test_a_full_disk_is_told_to_every_waiter_and_what_was_committed_stays(
    make_writer: MakeWriter, path: Path
) -> None:
    writer = make_writer()
    assert await writer.commit(add(1)) == 1

    free = threading.Event()
    jobs: list[asyncio.Future[object]] = [
        writer.submit(work) for work in (hold_until(free), add(2), fill, add(3))
    ]
    free.set()
    results = await asyncio.gather(*jobs, return_exceptions=True)
    errors = [result for result in results if isinstance(result, StoreWriteError)]
    assert len(errors) >= 3  # the first job may have been a group of its own
    assert len(set(map(id, errors))) == len(errors)
    assert isinstance(errors[0].__cause__, sqlite3.OperationalError)
    assert errors[0].path == str(path)
    assert str(errors[0]).startswith("the store cannot be written: database or disk is full (")
    for _ in range(2):
        with pytest.raises(StoreWriteError, match="disk is full"):
            await writer.commit(add(4))
    assert await writer.commit(add(5), is_last=True) == 5
    writer.close()
    assert read_numbers(path) == [1, 5]


async def test_room_is_kept_for_the_last_job(make_writer: MakeWriter, path: Path) -> None:
    writer = make_writer()
    kept = len(read_lock(path))
    assert kept > 65_536
    with pytest.raises(StoreLockedError):
        make_writer()
    assert len(read_lock(path)) == kept
    rooms: list[int] = []

    def overfill(connection: sqlite3.Connection) -> None:
        rooms.append(len(read_lock(path)))
        fill(connection)

    with pytest.raises(StoreWriteError, match="disk is full"):
        await writer.commit(overfill, is_last=True)
    assert rooms == [kept, len(b"%d\n" % os.getpid())]
    writer.close()
    assert read_lock(path) == b""


async def test_only_the_last_job_is_tried_again(make_writer: MakeWriter, path: Path) -> None:
    writer = make_writer()
    free = threading.Event()
    writer.submit(hold_until(free))
    together = [writer.submit(add(2)), writer.submit(fill), writer.submit(add(3), is_last=True)]
    free.set()
    results = await asyncio.gather(*together, return_exceptions=True)
    assert [type(result) for result in results] == [StoreWriteError, StoreWriteError, int]
    writer.close()
    assert read_numbers(path) == [3]


async def test_the_last_job_is_tried_again_when_somebody_else_wrote(
    make_writer: MakeWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiktok_following._writer.BUSY_TIMEOUT", 50)
    writer = make_writer()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = "cannot be written: database is locked: another connection"
        with pytest.raises(StoreWriteError, match=told):
            await writer.commit(add(1))
        with pytest.raises(StoreWriteError, match=told):
            await writer.commit(add(2))
        last = writer.submit(add(3), is_last=True)
        asyncio.get_running_loop().call_later(0.05, other.execute, "COMMIT")
        assert await last == 3
    writer.close()
    assert read_numbers(path) == [3]


async def test_the_last_job_on_a_full_disk_waits_for_somebody_else_too(
    make_writer: MakeWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiktok_following._writer.LAST_BUSY_TIMEOUT", 0)
    writer = make_writer()
    with pytest.raises(StoreWriteError, match="disk is full"):
        await writer.commit(fill)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        last = writer.submit(add(1), is_last=True)
        asyncio.get_running_loop().call_later(0.05, other.execute, "COMMIT")
        assert await last == 1


async def test_what_other_failures_refused_is_not_tried_again(
    make_writer: MakeWriter, path: Path
) -> None:
    writer = make_writer()
    os.remove(f"{path}.lock")  # noqa: PTH107 - another process may have a lock of its own now
    for _ in range(2):
        with pytest.raises(StoreWriteError, match="removed or replaced"):
            await writer.commit(add(1), is_last=True)
    writer.close()
    assert read_numbers(path) == [1]


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1")
    connection.execute("INSERT INTO numbers VALUES (zeroblob(100000))")


def read_lock(path: Path) -> bytes:
    return Path(f"{path}.lock").read_bytes()


async def test_closing_commits_what_is_queued(make_writer: MakeWriter, path: Path) -> None:
    writer = make_writer()
    future = writer.submit(add(1))
    writer.close()
    assert read_numbers(path) == [1]
    assert await future == 1


async def test_closing_again_does_nothing_and_leaves_nothing(
    make_writer: MakeWriter, path: Path
) -> None:
    threads = threading.active_count()
    writer = make_writer()
    await writer.commit(add(1))
    writer.close()
    writer.close()
    assert threading.active_count() == threads
    left = {file.name for file in path.parent.iterdir()}
    assert left == {"following.db", "following.db.lock"}
    with pytest.raises(StoreError, match="the store is closed"):
        writer.submit(add(2))
    assert await make_writer().commit(add(3)) == 3


def test_a_loop_that_ended_is_no_trouble(make_writer: MakeWriter, path: Path) -> None:
    writer = make_writer()
    free = threading.Event()

    async def leave() -> None:
        writer.submit(hold_until(free))
        writer.submit(add(1))

    asyncio.run(leave())
    free.set()
    writer.close()
    assert read_numbers(path) == [1]


async def test_all_its_files_are_the_owners_alone_whatever_the_umask(
    make_writer: MakeWriter, path: Path
) -> None:
    umask = os.umask(0)
    try:
        writer = make_writer()
        await writer.commit(add(1))
    finally:
        os.umask(umask)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["following.db", "following.db-shm", "following.db-wal", "following.db.lock"], 0o600
    )


def test_a_preparation_that_fails_leaves_the_lock_free(make_writer: MakeWriter, path: Path) -> None:
    def refuse(_: sqlite3.Connection) -> None:
        raise StoreError("no", path="x")

    def break_off(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT * FROM absent")

    with pytest.raises(StoreError, match="no"):
        make_writer(refuse)
    with pytest.raises(StoreWriteError, match="no such table") as caught:
        make_writer(break_off)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    make_writer()
    assert path.exists()


def test_two_writers_in_one_process_are_one_too_many(make_writer: MakeWriter, path: Path) -> None:
    make_writer()
    with pytest.raises(StoreLockedError, match="another run of this process is writing"):
        make_writer()
    os.truncate(f"{path}.lock", 0)  # as it is for a moment when one is made
    with pytest.raises(StoreLockedError, match="another run of this process is writing"):
        make_writer()


def test_another_process_of_the_same_number_is_told_as_a_process(
    make_writer: MakeWriter, path: Path
) -> None:
    """In two containers that share a folder both may be number 1."""
    with Path(f"{path}.lock").open("w+b") as file:
        _lock._lock(file.fileno())
        file.write(b"%d\n" % os.getpid())
        file.flush()
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} is writing"):
            make_writer()


def test_a_lock_whose_holder_is_unknown_holds_too(make_writer: MakeWriter, path: Path) -> None:
    make_writer().close()
    with Path(f"{path}.lock").open("r+b") as file:
        file.truncate()
        _lock._lock(file.fileno())
        with pytest.raises(StoreLockedError, match="another process is writing"):
            make_writer()
    make_writer()


def test_a_file_system_without_locks_is_told(
    make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(_lock, "_lock", refuse)
    with pytest.raises(StoreWriteError, match="No locks available"):
        make_writer()


@contextmanager
def start_child(path: Path, code: str = "sys.stdin.read()") -> Iterator[subprocess.Popen[str]]:
    """Start a process that writes to the store, wait until it does, and kill it in the end."""
    command = [sys.executable, "-c", CHILD + code, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(
    make_writer: MakeWriter, path: Path
) -> None:
    make_writer().close()
    with start_child(path) as child:
        with pytest.raises(StoreLockedError, match=f"process {child.pid} is writing") as caught:
            make_writer()
        assert caught.value.path == str(path)
        assert read_numbers(path) == []
    assert child.returncode == -signal.SIGKILL
    make_writer()


def test_a_writer_that_nobody_closed_does_not_keep_the_process_alive(
    make_writer: MakeWriter, path: Path
) -> None:
    with start_child(path, code="") as child:
        assert child.wait(30) == 0
    make_writer()
