"""What ``bulk`` promises of rows: they are whole or said not to be, and none paid for is lost."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import point_to, run, run_on

from tiktok_following import Account, AccountMetrics, FollowingStore, StoreWriteError
from tiktok_following._cli._bulk_rows import BulkRows
from tiktok_following._cli._jsonl_file import JsonlFile
from tiktok_following._cli._messages import Messages
from tiktok_following._cli._output import OutputFailedError
from tiktok_following._outcomes import Outcome
from tiktok_following.sandbox import Sandbox

COMMAND = ("bulk", "handles.txt", "--store", "f.db")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    handles = [f"user{number}\n" for number in range(300)]
    Path("handles.txt").write_text("".join(handles), encoding="utf-8")
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def make_accounts(count: int) -> list[Account]:
    url = "https://www.tiktok.com/@a"
    return [Account(f"a{number}", url, False, AccountMetrics(1, 2, 3)) for number in range(count)]


def make_refused(count: int) -> Outcome:
    """Make the outcome of a handle of which the store could not take a page."""
    error = StoreWriteError("the store cannot be written", path="f.db")
    return Outcome(given="nasa", index=0, handle="nasa", error=error, accounts=make_accounts(count))


@contextlib.contextmanager
def open_rows(
    target: str | None, *, stdout: io.TextIOBase | None = None
) -> Iterator[tuple[BulkRows, io.StringIO, list[str]]]:
    """Make the rows of a run; give what is said, and how often it was stopped."""
    err, stops = io.StringIO(), list[str]()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8") if stdout is None else stdout
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        yield BulkRows(target, Messages(), lambda: stops.append("stop")), err, stops


KEEP = "keep these if you do not go on: going on buys their pages again"


def count_rows(text: str) -> int:
    return sum(json.loads(line)["source_handle"] == "nasa" for line in text.splitlines())


def read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def test_without_a_file_only_what_the_store_refused_is_written() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with open_rows(None, stdout=out) as (rows, err, stops):
        rows.write("nasa", make_accounts(5))
        rows.note(make_refused(3))
        rows.note(make_refused(0))
        rows.close(is_whole=False, is_told=False)
        assert count_rows(read(out)) == 3
    assert err.getvalue().splitlines() == [
        "the store cannot be written (store 'f.db')",
        "3 accounts that the store could not take are on standard output, as JSON lines",
        KEEP,
    ]
    assert stops == []


def test_what_the_store_refused_after_its_outcome_was_told_is_written_too() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with open_rows(None, stdout=out) as (rows, _, _):
        late, stored = make_refused(3), make_refused(4)
        refusal, late.error, stored.error = late.error, None, None
        rows.note(late)
        rows.note(stored)
        late.error = refusal
        rows.close(is_whole=False, is_told=True)
        assert count_rows(read(out)) == 3


def test_what_the_store_refused_is_in_the_file_of_rows_already() -> None:
    Path("out.jsonl.rescued-1").write_text("of the run before", encoding="utf-8")
    with open_rows("out.jsonl") as (rows, err, _):
        refused = make_refused(3)
        rows.write("nasa", refused.accounts)
        rows.note(refused)
        rows.close(is_whole=False, is_told=True)
    assert err.getvalue().splitlines() == [
        (
            "3 accounts that the store could not take are among those in out.jsonl.rescued-2, "
            "as JSON lines"
        ),
        KEEP,
        "rows of a part of the handles are in out.jsonl.rescued-2",
    ]
    assert count_rows(Path("out.jsonl.rescued-2").read_text(encoding="utf-8")) == 3
    assert Path("out.jsonl.rescued-1").read_text(encoding="utf-8") == "of the run before"
    assert not Path("out.jsonl.part").exists()


def test_what_was_written_to_a_device_cannot_be_set_aside() -> None:
    with open_rows("/dev/null") as (rows, err, _):
        rows.note(make_refused(3))
        rows.close(is_whole=False, is_told=True)
    assert "the store could not take are among those in /dev/null" in err.getvalue()


def test_rows_that_cannot_be_set_aside_stay_where_they_are() -> None:
    with open_rows("out.jsonl") as (rows, err, _):
        rows.note(make_refused(3))
        Path("out.jsonl.part").unlink()
        rows.close(is_whole=False, is_told=True)
    assert err.getvalue().startswith("cannot write out.jsonl.part: ")


@pytest.mark.parametrize("held", [b"SQLite format 3", b"my notes"])
def test_a_file_that_holds_something_else_is_not_overwritten(held: bytes) -> None:
    Path("out").write_bytes(held)
    with pytest.raises(OutputFailedError, match="out exists and holds no JSON lines"):
        JsonlFile("out")
    assert Path("out").read_bytes() == held
    assert not Path("out.part").exists()


def test_what_neither_the_store_nor_the_file_takes_goes_to_standard_output() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with open_rows("/dev/full", stdout=out) as (rows, err, stops):
        refused = make_refused(3)
        rows.write("nasa", refused.accounts)
        rows.write("nasa", refused.accounts)
        rows.note(refused)
        rows.close(is_whole=True, is_told=True)
        assert count_rows(read(out)) == 3
    assert rows.is_broken
    assert stops == ["stop"]
    assert "cannot write /dev/full: No space left on device\n" in err.getvalue()


def test_what_can_be_written_nowhere_is_said_to_be_lost() -> None:
    with (
        open("/dev/full", "w") as full,  # noqa: PTH123 - a device
        open_rows("-", stdout=full) as (rows, err, stops),
    ):
        refused = make_refused(3)
        rows.write("nasa", refused.accounts)
        rows.note(refused)
        rows.close(is_whole=False, is_told=True)
        with contextlib.suppress(OSError):
            full.close()
    assert "lost: 3 accounts that could not be written anywhere\n" in err.getvalue()
    assert stops == ["stop"]


def test_a_file_that_cannot_get_its_name_keeps_the_rows() -> None:
    with open_rows("out.jsonl") as (rows, err, _):
        rows.write("nasa", make_accounts(3))
        Path("out.jsonl").mkdir()
        rows.close(is_whole=True, is_told=True)
    assert rows.is_broken
    assert err.getvalue() == "cannot write out.jsonl.part: Is a directory\n"
    assert count_rows(Path("out.jsonl.part").read_text(encoding="utf-8")) == 3


def test_a_link_to_a_file_stays_one() -> None:
    Path("link.jsonl").symlink_to("there.jsonl")
    with open_rows("link.jsonl") as (rows, _, _):
        rows.write("nasa", make_accounts(3))
        rows.close(is_whole=True, is_told=True)
    assert Path("link.jsonl").is_symlink()
    assert count_rows(Path("there.jsonl").read_text(encoding="utf-8")) == 3


def test_links_in_a_circle_are_refused() -> None:
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    with pytest.raises(OutputFailedError, match="cannot write a: "):
        JsonlFile("a")


def test_a_full_disk_ends_the_run_and_the_store_has_what_was_paid(server: Sandbox) -> None:
    result = run(*COMMAND, "--jsonl", "/dev/full")
    assert result.code == 1
    assert result.err.count("No space left on device") == 1
    assert "not begun" in result.err
    with FollowingStore("f.db") as store:
        assert store.summary().pages == server.credits_charged


def test_a_reader_that_left_ends_the_run_without_an_error(server: Sandbox) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        err = io.StringIO()
        assert run_on(stdout, err, *COMMAND, "--jsonl", "-") == 0
    assert "not begun" in err.getvalue()
    assert "go on with: " in err.getvalue()
    assert server.credits_charged > 0
