"""What ``export`` and ``status`` promise."""

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bodies import make_body, read_body
from cli_runs import run, run_on
from stores import ORIGIN, change, fill_store, repeat_pages

from tiktok_following import Usage
from tiktok_following._session import open_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "following.db"
    fill_store(path, {"nasa": [make_body(["a", "=b", "a"])], "esa": [make_body(["a"])]})
    return path


def list_files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if not p.name.startswith("following.db")}


# Export


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("options", "told"), [((), "4 accounts"), (("--edges",), "3 edges")], ids=["accounts", "edges"]
)
def test_export_writes_a_file_and_says_so(
    store: Path, suffix: str, options: tuple[str, ...], told: str
) -> None:
    out = store.with_name(f"out.{suffix}")
    result = run("export", str(store), str(out), *options)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{told} written to {out}\n"
    assert out.stat().st_size


def test_export_keeps_formulas_only_when_asked(store: Path) -> None:
    guarded, raw = store.with_name("guarded.csv"), store.with_name("raw.csv")
    run("export", str(store), str(guarded), "--edges")
    run("export", str(store), str(raw), "--edges", "--raw-csv")
    assert "nasa,'=b\n" in guarded.read_text()
    assert "nasa,=b\n" in raw.read_text()


def test_export_replaces_a_file_only_when_asked(store: Path) -> None:
    out = store.with_name("out.csv")
    out.write_text("before")
    result = run("export", str(store), str(out))
    assert result.code == 1
    assert result.err == f"the file exists already, which overwrite replaces (file {str(out)!r})\n"
    assert out.read_text() == "before"
    assert run("export", str(store), str(out), "--overwrite").code == 0
    assert out.read_text().startswith("source_handle,")


@pytest.mark.parametrize(
    ("out", "code", "words"),
    [
        ("out.txt", 2, "must end in .jsonl, .csv or .parquet"),
        ("no/out.csv", 1, "the export cannot be written: No such file or directory"),
    ],
)
def test_export_has_its_exit_codes(store: Path, out: str, code: int, words: str) -> None:
    result = run("export", str(store), str(store.parent / out))
    assert result.code == code
    assert words in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("command", ["status", "export"])
def test_what_is_no_store_is_one_line(tmp_path: Path, command: str) -> None:
    more = [str(tmp_path / "out.csv")] if command == "export" else []
    path = str(tmp_path / "none.db")
    result = run(command, path, *more)
    assert (result.code, result.err) == (1, f"there is no such store (store {path!r})\n")
    Path(path).write_text("text")
    result = run(command, path, *more)
    text = f"the file is not a store of tiktok-following (store {path!r})\n"
    assert (result.code, result.err) == (2, text)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_an_export_and_leaves_nothing(
    store: Path, number: signal.Signals, code: int
) -> None:
    repeat_pages(store, 20_000)
    out = store.with_name("out.jsonl")

    def interrupt() -> None:
        while not list_files(store.parent):
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = run("export", str(store), str(out))
    thread.join()
    assert (result.code, result.out) == (code, "")
    assert result.err == f"interrupted, {out} is not written\n"
    assert list_files(store.parent) == set()


# Status


def make_unfinished(path: Path, **options: Any) -> None:
    """Make a store with handles in every state, whose last run died."""

    async def make() -> None:
        body = make_body()
        page = read_body(body)
        given = {"origin": ORIGIN, "trim": False, "concurrency": 4, **options}
        session = open_store(path, **given)
        await session.claim([f"h{n}" for n in range(12)])
        for index, state in ((0, "complete"), (1, "limited"), (2, "pending")):
            await session.commit_page(index, page, body, state=state, next_cursor="1", at_risk=1)
        for index in range(3, 10):
            text = f"no \x1b[31m answer\nfor {index}" if index < 9 else None
            await session.fail(index, state="failed", error=text)
        await session.finish(stopped_by="budget", usage=Usage(credits_charged=3, credits_at_risk=3))
        await session.close()
        session = open_store(path, **given)
        await session.close()

    asyncio.run(make())


def test_status_says_what_a_store_holds_and_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "my store.db"
    make_unfinished(path)
    change(path, "UPDATE runs SET started_at = '2030-01-02T03:04:05Z' WHERE id = 2")
    change(
        path,
        "UPDATE runs SET (started_at, ended_at) = "
        "('2030-01-01T00:00:00Z', '2030-01-01T01:00:00Z') WHERE id = 1; "
        "UPDATE meta SET value = '2029-12-31T00:00:00Z' WHERE key = 'created_at'",
    )
    result = run("status", str(path))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"store:    {path}",
        "created:  2029-12-31 00:00:00 UTC",
        "API:      https://api.test",
        "handles:  12: 3 pending, 1 complete, 1 limited, 7 failed",
        "pages:    3",
        "accounts: 6, duplicates included",
        "credits:  3 charged, 3 at risk, and what was in flight",
        "runs:     2",
        (
            "  2030-01-01 00:00:00 UTC: stopped by budget at 2030-01-01 01:00:00 UTC, "
            "3 credits charged, 3 at risk"
        ),
        (
            "  2030-01-02 03:04:05 UTC: under way, or died since, "
            "0 credits charged, 0 at risk, and what was in flight"
        ),
        "failed:   7, the first 5",
        *(f"  h{n}: no  [31m answer for {n}" for n in range(3, 8)),
        f"go on with: tiktok-following bulk HANDLES_FILE --store '{path}'",
        "            and the options of the run before: --sandbox, --max-pages, --max-credits …",
    ]


def test_status_of_a_finished_store_has_nothing_to_go_on_with(store: Path) -> None:
    lines = run("status", str(store)).out.splitlines()
    assert lines[3] == "handles:  2: 0 pending, 2 complete, 0 limited, 0 failed"
    assert lines[-2] == "runs:     1"
    assert ": done at " in lines[-1]


def test_status_shows_the_last_runs_and_which_died(store: Path) -> None:
    for _ in range(6):
        fill_store(store, {})
    change(store, "UPDATE runs SET stopped_by = 'crash', ended_at = NULL WHERE id = 7")
    lines = run("status", str(store)).out.splitlines()
    assert lines[-6] == "runs:     7, the last 5"
    assert ": died, " in lines[-1]


def test_status_says_why_nobody_knows(store: Path) -> None:
    change(store, "UPDATE lookups SET state = 'failed' WHERE handle = 'esa'")
    lines = run("status", str(store)).out.splitlines()
    assert lines[-4:-2] == ["failed:   1", "  esa: nobody said why"]
    assert lines[-2].endswith(f" bulk HANDLES_FILE --store {store} --retry-failed")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_whatever_is_in_a_store_does_a_terminal_no_harm(
    store: Path, options: tuple[str, ...]
) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e\u200b\r\x00"
    letters = " || ".join(f"char({ord(letter)})" for letter in evil)
    change(
        store,
        f"UPDATE lookups SET state = 'failed', error = {letters}, handle = {letters};"
        f"UPDATE runs SET stopped_by = {letters};"
        f"UPDATE meta SET value = {letters} WHERE key = 'origin';",
    )
    shown = run("status", str(store), *options, terminal=True)
    assert shown.code == 0
    assert shown.out.count("owned") == 6
    assert shown.out.replace("\n", "").isprintable()
    assert shown.err == ""


def test_the_command_to_go_on_asks_for_the_same_answers(tmp_path: Path) -> None:
    path = tmp_path / "following.db"
    make_unfinished(path, origin="http://localhost", trim=True)
    lines = run("status", str(path)).out.splitlines()
    assert lines[2] == "API:      http://localhost, trimmed answers"
    assert lines[-2].endswith(f" bulk HANDLES_FILE --store {path} --trim")


def test_status_is_one_line_of_json_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "following.db"
    make_unfinished(path)
    result = run("status", str(path), "--json")
    assert result.out.count("\n") == 1
    told = json.loads(result.out)
    assert told["store"] == str(path)
    assert told["handles"] == {"pending": 3, "complete": 1, "limited": 1, "failed": 7}
    assert [each["stoppedBy"] for each in told["lastRuns"]] == ["budget", None]
    assert [each["handle"] for each in told["firstFailed"]] == ["h3", "h4", "h5", "h6", "h7"]
    assert told["goOnWith"] == f"tiktok-following bulk HANDLES_FILE --store {path}"
    change(path, "UPDATE lookups SET state = 'complete'")
    told = json.loads(run("status", str(path), "--json").out)
    assert (told["goOnWith"], told["firstFailed"]) == (None, [])


@pytest.mark.parametrize("command", ["status", "export"])
def test_status_and_export_need_no_key_and_change_nothing(store: Path, command: str) -> None:
    before = store.read_bytes()
    more = [str(store.with_name("out.csv"))] if command == "export" else []
    assert "SOCIALFETCH_API_KEY" not in os.environ
    assert run(command, str(store), *more).code == 0
    assert store.read_bytes() == before


def test_status_fails_where_nothing_can_be_written(store: Path) -> None:
    with open("/dev/full", "w") as stdout, open(os.devnull, "w") as stderr:  # noqa: PTH123 - devices
        assert run_on(stdout, stderr, "status", str(store)) == 1
