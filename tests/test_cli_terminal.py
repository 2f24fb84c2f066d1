"""What the command line promises to terminals, pipes and disks."""

import contextlib
import errno
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_runs import COMMAND, make_environment, point_to, run, run_on, start_process
from hypothesis import given, strategies as st
from rich.cells import cell_len

from tiktok_following._cli._messages import Messages
from tiktok_following._cli._output import release_standard_streams
from tiktok_following._cli._words import clean, clean_json
from tiktok_following.sandbox import Gate, Profile, Sandbox, faults

EVIL = "\x1b]0;owned\x07 \x9b31m \u202etxt\u2066 a\u200bb\nc\td \x7f \ud7ff\ue000 ✏\ufe0f"
NASA = "tiktok-following list nasa"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def make_row(handle: str, **changes: Any) -> dict[str, Any]:
    row = {
        "handle": handle,
        "displayName": None,
        "bio": None,
        "avatarUrl": None,
        "profileUrl": f"https://www.tiktok.com/@{handle}",
        "verified": True,
        "metrics": {"followers": 1_234_567, "following": 2, "posts": 3},
    }
    return {**row, **changes}


def get_cursor(*options: str) -> str:
    """Read a little of a list, and give the cursor that the command says to go on with."""
    return run("list", "nasa", *options).err.split("--cursor ")[1].split()[0]


class SmallDisk(io.TextIOWrapper):
    """An output that has room for so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__(io.BufferedWriter(_SmallFile(room)), encoding="utf-8")


class _SmallFile(io.RawIOBase):
    def __init__(self, room: int) -> None:
        self._room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)


# What reaches a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x07", " [31mred "),
        ("one\r\ntwo", "one  two"),
        ("\u202eabc\u2066d\u200b\ufeffe", "abcde"),
        ("👩\u200d🚀 ✏\ufe0f", "👩🚀 ✏"),
        ("\x85\x9b\u2028\u3000", "    "),
        ("\ue000\ud800", "\ufffd\ufffd"),
        ("Łąka 青い कि", "Łąka 青い कि"),
        ("\u3164\uffa0\u2800x\u115f\u1160", "   x  "),
        ("a\u034fb\u17b4\u17b5c\U000e0100\u180b", "abc"),
        ("\U000e0041\U000e007f\u061c\u2069x", "x"),
        ("Z" + "\u0335\u0300" * 500 + "x", "Z" + "\u0335\u0300" * 2 + "x"),
        ("שָׁלוֹם ที่นี่", "שָׁלוֹם ที่นี่"),
    ],
)
def test_texts_are_cleaned(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_any_text_becomes_harmless_and_stays_so(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert not HARMFUL.search(cleaned)
    assert clean(cleaned) == cleaned
    assert len(cleaned) <= len(text)
    cleaned.encode()


def test_json_is_made_harmless_without_changing_its_value() -> None:
    line = json.dumps({"a": EVIL + "\U000e0041"}, ensure_ascii=False)
    assert not HARMFUL.search(clean_json(line))
    assert json.loads(clean_json(line)) == {"a": EVIL + "\U000e0041"}
    assert clean_json('"Łąka"') == '"Łąka"'


@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_nothing_harmful_reaches_a_terminal(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    accounts = [make_row("me", displayName=EVIL, bio=EVIL, region=EVIL)]
    server.set_profile("evil", Profile(accounts=accounts))
    result = run("list", "evil", "--format", format_, terminal=True)
    assert result.code == 0
    assert "owned" in result.out
    assert not HARMFUL.search(result.out)


@pytest.mark.parametrize("hidden", ["\ufe0f", "\u200b", "\u034f", "\x1b", "\u202e \x00", "\u3164"])
def test_what_a_terminal_shows_can_be_copied_into_a_spreadsheet(
    server: Sandbox, hidden: str
) -> None:
    evil = f"{hidden}=HYPERLINK(1)"
    server.set_profile("evil", Profile(accounts=[make_row("me", displayName=evil, bio=evil)]))
    row = run("list", "evil", "--format", "csv", terminal=True).out.splitlines()[1].split(",")
    assert [cell.replace(" ", "") for cell in row if "HYPER" in cell] == ["'=HYPERLINK(1)"] * 2


def test_rows_of_a_bulk_run_do_a_terminal_no_harm(server: Sandbox, tmp_path: Path) -> None:
    server.set_profile("evil", Profile(accounts=[make_row("me", displayName=EVIL, bio=EVIL)]))
    handles = tmp_path / "handles.txt"
    handles.write_text("evil\n")
    rows, plain = {}, {**point_to(server), "NO_COLOR": "1"}
    for target in ("-", "/dev/stdout"):
        store = str(tmp_path / f"{len(rows)}.db")
        arguments = ("bulk", str(handles), "--store", store, "--jsonl", target)
        shown = run_on_terminal(*arguments, settings=plain).replace("\r\n", "\n")
        [rows[target]] = [line for line in shown.split("\n") if "source_handle" in line]
        text = rows[target][rows[target].index('{"source_handle') :]
        assert not HARMFUL.search(text)
        assert json.loads(text)["bio"] == EVIL


def test_a_status_that_a_server_invents_does_a_terminal_no_harm(server: Sandbox) -> None:
    def invent(body: dict[str, Any]) -> dict[str, Any]:
        body["data"] |= {"lookupStatus": EVIL * 1000, "accounts": []}
        return body

    server.script(faults.reshaped(invent))
    result = run("list", "nasa")
    assert "a status this version does not know" in result.err
    assert not HARMFUL.search(result.err)
    assert len(result.err) < 400


def test_programs_get_their_rows_unaltered(server: Sandbox) -> None:
    server.set_profile("evil", Profile(accounts=[make_row("me", bio=EVIL)]))
    [line] = run("list", "evil", "--format", "jsonl").out.splitlines()
    assert json.loads(line)["bio"] == EVIL
    assert EVIL in run("list", "evil", "--format", "csv").out


def read_all(terminal: int) -> str:
    """Read what a terminal shows until its last process is gone."""
    data = b""
    while select.select([terminal], [], [], 10)[0]:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:
            break
        data += chunk
    os.close(terminal)
    return data.decode()


def run_on_terminal(*arguments: str, settings: Mapping[str, str], stdout: int | None = None) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=make_environment({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **settings}),
        stdin=theirs,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
    )
    os.close(theirs)
    shown = read_all(ours)
    assert process.wait(10) == 0
    return shown


def test_a_real_terminal_gets_a_bold_header_and_clean_rows(server: Sandbox) -> None:
    server.set_profile("evil", Profile(accounts=[make_row("me", displayName=EVIL)]))
    shown = run_on_terminal("list", "evil", settings={**point_to(server), "COLUMNS": "70"})
    header, row, summary = shown.splitlines()
    assert header == "\x1b[1mHANDLE    FOLLOWERS  FOLLOWING    POSTS    NAME\x1b[0m"
    assert row.startswith("me        1,234,567          2        3  ✓ ]0;owned")
    assert not HARMFUL.search(row + summary)


def test_no_color_means_no_escape_sequence_at_all(server: Sandbox) -> None:
    settings = {**point_to(server), "NO_COLOR": "1"}
    shown = run_on_terminal("list", "nasa", "--limit", "1", settings=settings)
    assert "HANDLE" in shown
    assert "\x1b" not in shown


def test_a_long_list_into_a_file_shows_progress_that_goes_away(server: Sandbox) -> None:
    with open(os.devnull, "wb") as rows:  # noqa: PTH123 - a device
        shown = run_on_terminal(
            "list", "nasa", "--format", "jsonl", settings=point_to(server), stdout=rows.fileno()
        )
    assert "nasa" in shown
    assert "90/95" in shown
    assert "1 handle, 95 accounts, 4 pages, 4 credits charged" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("options", "expected"),
    [((), "90/95"), (("--limit", "70"), "60/70"), (("--cursor", "{cursor}"), "30/?")],
)
def test_progress_knows_how_many_there_will_be(options: tuple[str, ...], expected: str) -> None:
    cursor = get_cursor("--max-pages", "1")
    arguments = [option.format(cursor=cursor) for option in options]
    forced = {"FORCE_COLOR": "1", "TERM": "xterm"}
    assert expected in run("list", "nasa", "--format", "csv", *arguments, settings=forced).err


def test_progress_does_not_disturb_a_pipe_that_may_end_on_the_terminal(server: Sandbox) -> None:
    read, write = os.pipe()
    shown = run_on_terminal("list", "nasa", settings=point_to(server), stdout=write)
    os.close(write)
    os.close(read)
    assert shown.splitlines() == ["1 handle, 95 accounts, 4 pages, 4 credits charged"]


# The table


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_the_table_fits_the_width_whatever_the_script(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run("list", "nasa").out.splitlines()
    header = lines[0]
    name = header.index("NAME")
    assert len(lines) == 96
    assert ("BIO" in header) == (width >= 100)
    assert ("POSTS" in header) == (width >= 80)
    for line in lines:
        assert cell_len(line) <= max(width, name + 8)
        assert line[name - 4 : name].rstrip() in {"", "  ✓"}


def test_the_table_names_the_source_when_there_are_several(server: Sandbox) -> None:
    server.set_profile("a", Profile(accounts=[make_row("x")]))
    server.set_profile("bb", Profile(accounts=[make_row("y")]))
    lines = run("list", "a", "bb").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["SOURCE", "HANDLE"], ["a", "x"], ["bb", "y"]]


def test_a_handle_is_never_cut(server: Sandbox) -> None:
    long = "h" * 60
    server.set_profile(
        "me", Profile(accounts=[make_row("x"), make_row(long, displayName="N" * 99)])
    )
    assert long in run("list", "me").out


def test_an_output_that_cannot_write_a_character_gets_a_stand_in(server: Sandbox) -> None:
    server.set_profile("me", Profile(accounts=[make_row("x", displayName="é👩" + "n" * 40)]))
    result = run("list", "me", encoding="ascii")
    assert result.code == 0
    assert "v ??nnnn" in result.out
    assert "n~" in result.out


def test_an_ascii_process_writes_json_as_utf_8_all_the_same(server: Sandbox) -> None:
    settings = {**point_to(server), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    with start_process("list", "nasa", "--format", "jsonl", settings=settings) as process:
        out, err = process.communicate()
    assert process.returncode == 0
    names = [json.loads(line)["displayName"] for line in out.splitlines()]
    assert names == [row["displayName"] for page in server.pages("nasa") for row in page]
    assert err == "1 handle, 95 accounts, 4 pages, 4 credits charged\n"


# Pipes and disks


def test_rows_come_before_the_next_page_does(server: Sandbox) -> None:
    gate = Gate()
    cursor = get_cursor("--max-pages", "1")
    server.script(faults.hold(gate), cursor=cursor)
    with start_process("list", "nasa", settings=point_to(server)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(31)]
        assert lines[30].startswith(server.pages("nasa")[0][29]["handle"])
        gate.release()
        process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_a_pipe_closed_by_its_reader_is_no_error_and_buys_nothing_more(
    server: Sandbox, format_: str
) -> None:
    gate = Gate()
    server.script(faults.hold(gate), handle="large.profile")
    with start_process(
        "list", "large.profile", "nasa", "--format", format_, settings=point_to(server)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        gate.release()
        assert process.wait(10) == 0
        assert process.stderr.read() == "1 handle, 0 accounts, 1 page, 1 credit charged\n"
    assert server.credits_charged == 1


def test_head_gets_its_lines_and_one_page_is_bought(server: Sandbox) -> None:
    read, write = os.pipe()
    with start_process("list", "large.profile", stdout=write, settings=point_to(server)) as process:
        os.close(write)
        os.read(read, 10)
        os.close(read)
        assert process.stderr is not None
        assert process.wait(10) == 0
        assert "large.profile" not in process.stderr.read()
    assert server.credits_charged <= 2


def test_a_reader_that_left_is_noticed_before_the_next_page(server: Sandbox) -> None:
    read, write = os.pipe()

    def leave(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["accounts"] = []
        os.close(read)
        return body

    server.script(faults.reshaped(leave))
    with os.fdopen(write, "w", encoding="utf-8") as stdout:
        assert run_on(stdout, io.StringIO(), "list", "nasa") == 0
    assert server.credits_charged == 1


@pytest.mark.usefixtures("server")
def test_a_reader_that_stays_gets_everything() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as stdout:
        assert run_on(stdout, io.StringIO(), "list", "nasa", "--trim") == 0
    with os.fdopen(read, encoding="utf-8") as rows:
        assert len(rows.readlines()) == 96


@pytest.mark.parametrize("is_read", [True, False])
def test_without_poll_a_closed_pipe_is_noticed_at_the_next_row(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch, *, is_read: bool
) -> None:
    monkeypatch.delattr(select, "poll")
    read, write = os.pipe()
    if not is_read:
        os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stdout:
        assert run_on(stdout, io.StringIO(), "list", "nasa", "--limit", "31") == 0
    assert server.credits_charged == 1 + is_read
    if is_read:
        os.close(read)


@pytest.mark.parametrize("format_", ["table", "jsonl", "csv"])
def test_a_full_disk_is_one_line_and_buys_nothing_more(server: Sandbox, format_: str) -> None:
    arguments = ("list", "nasa", "b", "--format", format_)
    with (
        open("/dev/full", "wb") as full,  # noqa: PTH123 - a device
        start_process(*arguments, stdout=full.fileno(), settings=point_to(server)) as process,
    ):
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.splitlines() == [
        "cannot write the output: No space left on device",
        "not begun: b",
        "1 handle, 0 accounts, 1 page, 1 credit charged",
    ]
    assert server.credits_charged == 1


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("arguments", [("list", "nasa"), ("balance",), ("--version",)])
def test_every_command_fails_where_nothing_can_be_written(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        assert run_on(full, full, *arguments) == 1


def test_a_disk_that_fills_up_loses_no_page_that_was_paid_for(server: Sandbox) -> None:
    cursor = get_cursor("--max-pages", "1")
    output, messages = SmallDisk(40_000), io.StringIO()
    assert run_on(output, messages, "list", "nasa", "--format", "jsonl") == 1
    assert messages.getvalue().splitlines()[:2] == [
        "cannot write the output: No space left on device",
        f"nasa: stopped after 30 accounts; go on with: {NASA} --format jsonl --cursor {cursor}",
    ]
    assert server.credits_charged == 3


def test_a_command_without_standard_output_fails_before_it_costs_anything(server: Sandbox) -> None:
    with open(os.devnull, "w") as stderr:  # noqa: PTH123 - a device
        assert run_on(None, stderr, "list", "nasa") == 1
    assert server.requests_received == 0


def test_rows_are_written_when_nobody_listens_to_standard_error(server: Sandbox) -> None:
    read, write = os.pipe()
    os.close(read)
    with start_process("list", "nasa", stderr=write, settings=point_to(server)) as process:
        os.close(write)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert len(out.splitlines()) == 96


def test_messages_fall_silent_where_they_cannot_be_written() -> None:
    read, write = os.pipe()
    os.close(read)
    for path in (write, "/dev/full"):
        with open(path, "w") as stderr, contextlib.redirect_stderr(stderr):  # noqa: PTH123 - devices
            messages = Messages()
            messages.say("one")
            assert messages.quiet
            messages.say("two")
            release_standard_streams()  # or closing it would fail


# Ctrl-C


def test_ctrl_c_in_a_real_process_leaves_no_traceback(server: Sandbox) -> None:
    gate = Gate()
    cursor = get_cursor("--max-pages", "1")
    server.script(faults.hold(gate), cursor=cursor)
    with start_process("list", "nasa", "--format", "jsonl", settings=point_to(server)) as process:
        assert process.stdout is not None
        rows = [process.stdout.readline() for _ in range(30)]
        while gate.arrivals == 0:
            select.select([], [], [], 0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    gate.release()
    assert process.returncode == 130
    assert len(rows) == 30
    assert out == ""
    assert err.splitlines() == [
        f"nasa: interrupted after 30 accounts; go on with: {NASA} --format jsonl --cursor {cursor}",
        "1 handle, 30 accounts, 1 page, 1 credit charged, 1 at risk",
    ]
