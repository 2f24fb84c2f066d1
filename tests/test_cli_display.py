"""What the progress of ``tiktok-following bulk`` promises."""

import contextlib
import io
import os
import pty
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import COMMAND, make_environment, point_to, run

from tiktok_following import Usage
from tiktok_following._cli._bulk_display import BulkDisplay, format_seconds
from tiktok_following._cli._messages import Messages
from tiktok_following._outcomes import RunProgress
from tiktok_following.sandbox import Sandbox


def make_progress(**changes: Any) -> RunProgress:
    values: dict[str, Any] = {
        "done": 90,
        "failed": 0,
        "skipped": 0,
        "unfinished": 0,
        "from_store": 0,
        "in_flight": 5,
        "pages": 1_200,
        "accounts": 36_000,
        "usage": Usage(credits_charged=1_200),
        "seconds": 60.0,
        "limit": 20,
        "paused_for": 0.0,
        "waits_for": None,
        "total": 900,
    }
    return RunProgress(**{**values, **changes})


def show(*snapshots: RunProgress, is_drawn: bool = False) -> str:
    err = io.StringIO()
    with (
        contextlib.redirect_stderr(err),
        BulkDisplay(Messages(), is_drawn=is_drawn) as display,
    ):
        for snapshot in snapshots:
            display.show(snapshot)
    return err.getvalue()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            (
                "90 of 900, 0:09:00 left, 1,200 pages, 20.0 pages/s, 1,200 credits charged, "
                "5 in flight of 20"
            ),
        ),
        (
            {"failed": 8, "skipped": 2, "usage": Usage(credits_charged=1, credits_at_risk=7)},
            (
                "100 of 900, 8 failed, 0:08:10 left, 1,200 pages, 20.0 pages/s, 1 credit charged, "
                "7 at risk, 5 in flight of 20"
            ),
        ),
        (
            {"total": None, "paused_for": 75.4},
            (
                "90 handles, paused, 0:01:15 to go, 1,200 pages, 20.0 pages/s, "
                "1,200 credits charged, 5 in flight of 20"
            ),
        ),
        (
            {"waits_for": "connection"},
            (
                "90 of 900, no connection to the API, trying again, 1,200 pages, 20.0 pages/s, "
                "1,200 credits charged, 5 in flight of 20"
            ),
        ),
        (
            {"waits_for": "credits"},
            (
                "90 of 900, out of credits, waiting for more, 1,200 pages, 20.0 pages/s, "
                "1,200 credits charged, 5 in flight of 20"
            ),
        ),
        (
            {"done": 0, "pages": 1, "usage": Usage()},
            "0 of 900, 1 page, 0.0 pages/s, 0 credits charged, 5 in flight of 20",
        ),
    ],
)
def test_a_line_says_how_the_run_stands(changes: dict[str, Any], line: str) -> None:
    assert show(make_progress(**changes)) == line + "\n"


def test_lines_come_every_few_seconds_only() -> None:
    snapshots = [make_progress(seconds=tenth / 10) for tenth in range(200)]
    lines = show(*snapshots, is_drawn=True).splitlines()
    assert len(lines) == 3
    assert show(make_progress(seconds=4.9)) == ""


def test_a_time_is_written_in_hours() -> None:
    assert format_seconds(59.6) == "0:01:00"
    assert format_seconds(100 * 3_600) == "4 days, 4:00:00"


@pytest.mark.parametrize("width", ["20", "60", "80", "200"])
def test_a_terminal_shows_a_bar_and_numbers_and_is_left_clean(
    monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": width}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LINES", "20")
    shown = show(make_progress(paused_for=3), make_progress(total=None), is_drawn=True)
    assert "paused, 0:00:0" in shown
    if int(width) >= 60:
        assert "90 of 900, 0:09:00 left" in shown
    if int(width) >= 200:
        assert "5 in flight of 20" in shown
    assert shown.endswith("\x1b[2K")


def test_rows_on_the_same_terminal_are_not_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[2K" not in show(make_progress())


def test_a_terminal_that_went_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        is_gone = False

        def flush(self) -> None:
            if self.is_gone:
                raise OSError(5, "Input/output error")

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    err = Gone()
    with (
        contextlib.redirect_stderr(err),
        BulkDisplay(Messages(), is_drawn=True) as display,
    ):
        display.show(make_progress())
        err.is_gone = True
        display.show(make_progress())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.chdir(tmp_path)
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_real_terminal_is_drawn_on_and_ends_with_the_last_lines(server: Sandbox) -> None:
    Path("handles.txt").write_text("nasa\nbad one\x1b[31m\n", encoding="utf-8")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "bulk", "handles.txt", "--store", "f.db"],
        env=make_environment({"TERM": "xterm", "COLUMNS": "100", **point_to(server)}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 10)[0]:
        try:
            shown += os.read(ours, 65_536)
        except OSError:  # the last one at it has closed it
            break
    os.close(ours)
    assert process.wait(10) == 1
    text = shown.decode()
    assert "2 of 2" in text
    assert r"'bad one\x1b[31m' is not a TikTok handle" in text
    last = text.split("\x1b[2K")[-1].splitlines()
    assert last[0] == "handles: 1 of 2 done, 1 found, 1 invalid"


def test_a_failure_is_told_above_the_bar(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    Path("handles.txt").write_text("nasa\nbad one\n", encoding="utf-8")
    forced = {"FORCE_COLOR": "1", "COLUMNS": "100"}
    result = run("bulk", "handles.txt", "--store", "f.db", settings=forced)
    assert result.code == 1
    assert "'bad one' is not a TikTok handle: it has white space inside\n" in result.err
    assert server.credits_charged == 4
