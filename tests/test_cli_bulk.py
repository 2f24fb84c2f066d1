"""What ``tiktok-following bulk`` promises, seen from the process that runs it."""

import json
import select
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Result, point_to, run, run_process, start_process

from tiktok_following import FollowingStore
from tiktok_following._cli._bulk_plan import BulkPlan, WithoutCredits
from tiktok_following.sandbox import Gate, Profile, Sandbox, faults

HANDLES = ["nasa", "hidden.profile", "empty.profile", "boundary.duplicates", "missing.profile"]
PAGES = 10  # 4 + 1 + 1 + 3 + 1
ROWS = 95 + 77


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*handles: str, name: str = "handles.txt") -> str:
    Path(name).write_text("".join(f"{handle}\n" for handle in handles), encoding="utf-8")
    return name


def bulk(*arguments: str, handles: str = "handles.txt") -> Result:
    return run("bulk", handles, "--store", "f.db", *arguments)


def read_store() -> dict[str, list[str]]:
    """Give what the store has, by handle."""
    with FollowingStore("f.db") as store:
        return {
            lookup.handle: [account.handle for account in store.accounts(lookup.handle)]
            for lookup in store.lookups()
        }


def tell_truth(server: Sandbox, *handles: str) -> dict[str, list[str]]:
    return {
        handle: [account["handle"] for page in server.pages(handle) for account in page]
        for handle in handles
    }


def get_command(err: str, words: str = "go on with: ") -> list[str]:
    [line] = [line for line in err.splitlines() if line.startswith(words)]
    program, *arguments = shlex.split(line.removeprefix(words))
    assert program == "tiktok-following"
    return arguments


def wait_for(gate: Gate) -> None:
    while not gate.arrivals:
        select.select([], [], [], 0.005)


def read_rows(text: str) -> Counter[tuple[str, str]]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert all("metrics" in row for row in rows)
    return Counter((row["source_handle"], row["handle"]) for row in rows)


def count_truth(server: Sandbox, *handles: str) -> Counter[tuple[str, str]]:
    truth = tell_truth(server, *handles)
    return Counter((source, handle) for source, rows in truth.items() for handle in rows)


# What is done, and what it cost


def test_everything_is_stored_and_the_last_lines_say_so(server: Sandbox) -> None:
    write(*HANDLES, "@NASA")
    result = bulk()
    assert result.code == 0
    assert result.out == ""
    done, cost = result.err.splitlines()
    assert done == "handles: 5 of 6 done, 3 found, 1 hidden, 1 not found, 1 repeated"
    assert cost.startswith(f"{PAGES} pages, {ROWS} accounts, {PAGES} credits charged, in 0:00:0")
    assert read_store() == tell_truth(server, *HANDLES)
    assert server.credits_charged == PAGES


def test_a_second_run_buys_nothing_again(server: Sandbox) -> None:
    write(*HANDLES)
    bulk()
    result = bulk()
    assert result.code == 0
    assert "5 from the store" in result.err
    assert "0 pages, 0 accounts, 0 credits charged" in result.err
    assert server.credits_charged == PAGES


def test_the_sandbox_is_gone_on_with_and_says_that_nothing_was_charged() -> None:
    write(*HANDLES)
    first = bulk("--sandbox", "--max-credits", "3")
    assert first.code == 5
    result = run(*get_command(first.err))
    while result.code == 5:
        result = run(*get_command(result.err))
    assert result.code == 0
    assert "(sandbox: no real credits)" in result.err
    assert sum(map(len, read_store().values())) == ROWS


def test_after_the_cap_the_printed_command_goes_on_until_all_is_done(server: Sandbox) -> None:
    write(*HANDLES)
    result = bulk("--max-credits", "3", "--trim")
    commands = 1
    while result.code == 5:
        assert "stopped: the credit cap is reached: " in result.err
        assert server.credits_charged <= 3 * commands
        arguments = get_command(result.err)
        assert arguments == [
            *("bulk", "--store", "f.db", "--max-credits", "3", "--trim", "handles.txt")
        ]
        result = run(*arguments)
        commands += 1
    assert (result.code, commands) == (0, 4)
    assert "go on" not in result.err
    assert read_store() == tell_truth(server, *HANDLES)
    assert server.credits_charged == PAGES
    assert all(request.trim for request in server.requests)


def test_limits_of_a_handle_are_passed_on_and_can_be_raised(server: Sandbox) -> None:
    write("nasa", "large.profile")
    assert bulk("--limit-per-handle", "50").code == 0
    assert server.credits_charged == 4
    assert bulk("--max-pages", "3").code == 0
    assert server.credits_charged == 6
    assert bulk("--max-pages", "3").code == 0
    assert server.credits_charged == 6


@pytest.mark.parametrize("limit", [1, 30, 31, 70, 200])
def test_no_more_rows_of_a_handle_are_written_than_the_limit_allows(
    server: Sandbox, limit: int
) -> None:
    write(*HANDLES)
    bulk("--limit-per-handle", "50")
    write(*(handle.upper() for handle in HANDLES))
    for _ in range(2):  # of the store and bought, and then of the store alone
        result = bulk("--limit-per-handle", str(limit), "--jsonl", "-")
        assert result.code == 0
        written = Counter(source.lower() for source, _ in read_rows(result.out).elements())
        assert written == {
            handle: min(limit, len(rows))
            for handle, rows in tell_truth(server, *HANDLES).items()
            if rows
        }


def test_concurrency_may_be_more_than_the_client_has_by_itself(server: Sandbox) -> None:
    write(*HANDLES)
    assert bulk("--concurrency", "300").code == 0
    assert server.credits_charged == PAGES


def test_concurrency_bounds_the_pages_at_once(server: Sandbox) -> None:
    write(*(f"user{number}" for number in range(20)))
    server.terms.latency = 0.005
    assert bulk("--concurrency", "2", "--max-pages", "1").code == 0
    assert server.peak_in_flight == 2


# Failures


def test_a_failed_handle_is_told_and_the_others_go_on(server: Sandbox) -> None:
    server.script(faults.status(400, message="No\x1b[2J such\nhandle"), handle="bad")
    write("nasa", "bad", "not one", "esa\u202e")
    result = bulk()
    assert result.code == 1
    assert "bad: No [2J such handle (HTTP 400)\n" in result.err
    assert "'not one' is not a TikTok handle: it has white space inside\n" in result.err
    assert r"'esa\u202e' is not a TikTok handle" in result.err
    assert "handles: 1 of 4 done, 1 found, 1 failed, 2 invalid\n" in result.err
    assert read_store()["nasa"] == tell_truth(server, "nasa")["nasa"]


def test_failed_handles_are_tried_again_when_that_is_asked_for(server: Sandbox) -> None:
    server.script(faults.status(400), handle="bad")
    write("nasa", "bad")
    result = bulk()
    assert "go on" not in result.err
    again = get_command(result.err, "try the failed ones again with: ")
    left_alone = bulk()
    assert left_alone.code == 1
    assert server.credits_charged == 4
    assert "--retry-failed" in left_alone.err
    result = run(*again)
    assert result.code == 0
    assert "--retry-failed" not in result.err
    assert read_store().keys() == {"nasa", "bad"}


def test_of_many_failures_the_first_are_told_and_all_are_counted(server: Sandbox) -> None:
    write(*(f"not a handle {number}" for number in range(30)))
    result = bulk()
    assert result.code == 1
    assert result.err.count(" is not a TikTok handle") == 10
    assert result.err.count("more failures are only counted, without -v\n") == 1
    assert "30 invalid" in result.err
    assert bulk("-v").err.count("\n  InvalidHandleError: ") == 30
    assert server.requests_received == 0


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (faults.status(401), 3, "stopped: the API key was refused, check SOCIALFETCH_API_KEY"),
        (
            faults.status(402, checkout_url="https://pay.example/1"),
            4,
            "buy more at https://pay.example/1",
        ),
        (faults.status(403), 1, "stopped: This failure was scripted. (HTTP 403)"),
        (
            faults.status(404),
            1,
            "stopped: check SOCIALFETCH_BASE_URL: This failure was scripted. (HTTP 404)",
        ),
    ],
)
def test_what_concerns_all_handles_ends_the_run_and_can_be_gone_on_from(
    server: Sandbox, fault: faults.Fault, code: int, words: str
) -> None:
    server.script(fault, handle="boundary.duplicates")
    write("boundary.duplicates", *HANDLES)
    result = bulk("--concurrency", "1")
    assert result.code == code
    assert words in result.err
    assert "not begun" in result.err
    assert run(*get_command(result.err)).code == 0
    assert read_store().keys() == set(HANDLES)
    assert server.credits_charged == PAGES


def test_a_run_may_wait_for_credits(server: Sandbox) -> None:
    server.script(faults.status(402), handle="nasa")
    write("nasa")
    assert bulk("--on-insufficient-credits", "wait").code == 0
    assert read_store() == tell_truth(server, "nasa")


# Rows


def test_rows_are_written_as_list_writes_them(server: Sandbox) -> None:
    write("nasa")
    listed = run("list", "nasa", "--format", "jsonl")
    assert bulk("--jsonl", "out.jsonl").code == 0
    assert Path("out.jsonl").read_text(encoding="utf-8") == listed.out
    assert bulk("--jsonl", "-").out == listed.out
    assert server.credits_charged == 8


def test_a_file_of_rows_is_whole_or_called_a_part(server: Sandbox) -> None:
    write(*HANDLES)
    Path("out.jsonl").write_text("{}\n", encoding="utf-8")
    result = bulk("--jsonl", "out.jsonl", "--max-credits", "5")
    assert result.code == 5
    assert "rows of a part of the handles are in out.jsonl.part\n" in result.err
    assert Path("out.jsonl").read_text(encoding="utf-8") == "{}\n"
    part = read_rows(Path("out.jsonl.part").read_text(encoding="utf-8"))
    truth = count_truth(server, *HANDLES)
    assert 0 < part.total() < truth.total()
    arguments = get_command(result.err)
    assert arguments[arguments.index("--jsonl") + 1] == "out.jsonl"
    assert run(*arguments).code == 0
    assert not Path("out.jsonl.part").exists()
    assert read_rows(Path("out.jsonl").read_text(encoding="utf-8")) == truth
    assert server.credits_charged == PAGES


def test_rows_go_into_a_device_or_pipe_at_once(server: Sandbox) -> None:
    write("nasa")
    assert bulk("--jsonl", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()
    assert server.credits_charged == 4


@pytest.mark.parametrize("jsonl", ["/dev/full", "-"])
def test_rows_that_cannot_be_written_stop_the_run_and_the_store_has_them(
    server: Sandbox, jsonl: str
) -> None:
    write(*HANDLES, *(f"user{number}" for number in range(500)))
    arguments = ("bulk", "handles.txt", "--store", "f.db", "--jsonl", jsonl)
    with (
        open("/dev/full", "wb") as full,  # noqa: PTH123 - a device
        start_process(*arguments, stdout=full.fileno(), settings=point_to(server)) as process,
    ):
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.count("No space left on device") == 1
    assert "not begun" in err
    with FollowingStore("f.db") as store:
        assert store.summary().pages == server.credits_charged
    assert get_command(err)[:2] == ["bulk", "--store"]


def test_a_file_of_rows_that_cannot_be_made_costs_nothing(server: Sandbox) -> None:
    write("nasa")
    result = bulk("--jsonl", "none/out.jsonl")
    assert result.code == 1
    assert result.err == "cannot write none/out.jsonl: No such file or directory\n"
    assert server.requests_received == 0


def test_a_file_of_rows_that_cannot_get_its_name_says_so(server: Sandbox) -> None:
    write("nasa")
    gate = Gate()
    server.script(faults.hold(gate))
    with start_process(
        *("bulk", "handles.txt", "--store", "f.db", "--jsonl", "out"), settings=point_to(server)
    ) as process:
        wait_for(gate)
        Path("out").mkdir()
        gate.release()
        _, err = process.communicate()
    assert process.returncode == 1
    assert "cannot write out.part: " in err
    assert read_rows(Path("out.part").read_text(encoding="utf-8")) == count_truth(server, "nasa")


def test_a_reader_that_has_enough_ends_the_run_without_an_error(server: Sandbox) -> None:
    write(*HANDLES, *(f"user{number}" for number in range(500)))
    arguments = ("bulk", "handles.txt", "--store", "f.db", "--jsonl", "-")
    with start_process(*arguments, settings=point_to(server)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(10) == 0
    assert "not begun" in err
    assert get_command(err)


@pytest.mark.parametrize("name", ["f.db", "handles.txt", "./handles.txt"])
def test_rows_never_replace_the_store_or_the_input(server: Sandbox, name: str) -> None:
    write("nasa")
    assert bulk("--jsonl", name).code == 2
    assert Path("handles.txt").read_text(encoding="utf-8") == "nasa\n"
    assert server.requests_received == 0


# Input


def test_handles_come_from_standard_input(server: Sandbox) -> None:
    write(*HANDLES)
    with open("handles.txt", "rb") as stdin:  # noqa: PTH123 - given to a process
        first = run_process(
            *("bulk", "-", "--store", "f.db", "--max-credits", "4"),
            settings=point_to(server),
            stdin=stdin.fileno(),
        )
        assert first.code == 5
        arguments = get_command(first.err, "go on, with the same input, with: ")
        assert arguments[-1] == "-"
        stdin.seek(0)
        arguments[arguments.index("4")] = "400"
        second = run_process(*arguments, settings=point_to(server), stdin=stdin.fileno())
    assert second.code == 0
    assert "handles: 5 done, 3 found" in second.err
    assert read_store() == tell_truth(server, *HANDLES)
    assert server.credits_charged == PAGES


def test_a_pipe_is_read_as_it_comes(server: Sandbox) -> None:
    arguments = ("bulk", "-", "--store", "f.db", "--jsonl", "-")
    with start_process(*arguments, settings=point_to(server), stdin=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for handle in ("nasa", "boundary.duplicates"):
            process.stdin.write(f"{handle}\n")
            process.stdin.flush()
            rows = len(tell_truth(server, handle)[handle])
            lines = [process.stdout.readline() for _ in range(rows)]
            assert {json.loads(line)["source_handle"] for line in lines} == {handle}
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_pipe_that_turns_bad_is_told_and_what_came_before_is_done(server: Sandbox) -> None:
    Path("handles.txt").write_bytes(b"nasa\n\xff\nesa\n")
    with open("handles.txt", "rb") as stdin:  # noqa: PTH123 - given to a process
        arguments = ("bulk", "-", "--store", "f.db")
        result = run_process(*arguments, settings=point_to(server), stdin=stdin.fileno())
    assert result.code == 1
    problem = "standard input, line 2, is not UTF-8 text: save it as UTF-8"
    assert f"{problem}; what comes after it was not read\n" in result.err
    assert get_command(result.err, "go on, with the same input, with: ")
    assert read_store().keys() == {"nasa"}


def test_a_bad_file_is_refused_before_anything_is_bought(server: Sandbox) -> None:
    for text, words in (
        (b"nasa\n\xff\n", "handles.txt, line 2, is not UTF-8 text"),
        (b"", "there is no handle in handles.txt"),
        (b"id,name\n1,2\n", "handles.txt: no column is called handle"),
    ):
        Path("handles.txt").write_bytes(text)
        for options in ((), ("--dry-run",)):
            result = bulk(*options)
            assert result.code == 2
            assert result.err.startswith(words)
            assert len(result.err.splitlines()) == 1
    assert bulk(handles="none.txt").err == "none.txt cannot be read: No such file or directory\n"
    assert not Path("f.db").exists()
    assert server.requests_received == 0


def test_a_csv_column_is_read(server: Sandbox) -> None:
    Path("people.csv").write_text("name;who\nNASA;nasa\n", encoding="utf-8")
    assert bulk("--column", "who", handles="people.csv").code == 0
    assert read_store() == tell_truth(server, "nasa")


def test_without_a_key_the_message_names_the_variable_and_the_sandbox() -> None:
    write("nasa")
    result = bulk()
    assert result.code == 2
    assert "no API key: set the environment variable SOCIALFETCH_API_KEY" in result.err


# The store


def test_what_is_wrong_with_a_store_is_one_line(server: Sandbox) -> None:
    write("nasa")
    assert bulk().code == 0
    assert bulk("--trim").code == 2
    Path("text").write_text("hello, hello, this is no store at all", encoding="utf-8")
    for name, words, code in (
        ("text", "the file is not a store of tiktok-following (store 'text')", 2),
        (".", "the path is not that of a file (store '.')", 2),
        ("none/f.db", "(store 'none/f.db')", 1),
    ):
        result = run("bulk", "handles.txt", "--store", name)
        assert result.code == code
        assert words in result.err
        assert len(result.err.splitlines()) == 1
    assert Path("text").read_text(encoding="utf-8").startswith("hello")
    assert server.credits_charged == 4


def test_a_store_of_the_sandbox_is_not_gone_on_with_elsewhere(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("nasa")
    assert bulk().code == 0
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "https://api.example.com")
    result = bulk()
    assert result.code == 2
    assert "origin=" in result.err
    assert server.credits_charged == 4


def test_two_runs_do_not_share_a_store(server: Sandbox) -> None:
    write("nasa")
    gate = Gate()
    server.script(faults.hold(gate))
    arguments = ("bulk", "handles.txt", "--store", "f.db")
    with start_process(*arguments, settings=point_to(server)) as process:
        wait_for(gate)
        result = bulk()
        gate.release()
        process.communicate()
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "f.db" in result.err
    assert process.returncode == 0
    assert server.credits_charged == 4


FULL_DISK = ("sh", "-c", 'ulimit -f 600; exec "$@"', "sh")  # no file grows beyond 300 KiB


@pytest.mark.parametrize("jsonl", [None, "-", "out.jsonl"])
def test_what_a_full_disk_cannot_take_is_handed_over(server: Sandbox, jsonl: str | None) -> None:
    for number in range(40):
        rows = [make_row(f"{number}.{row}", bio="b" * 500) for row in range(60)]
        server.set_profile(f"user{number}", Profile(accounts=rows))
    write(*(f"user{number}" for number in range(40)))
    options = () if jsonl is None else ("--jsonl", jsonl)
    result = run_process(
        *("bulk", "handles.txt", "--store", "f.db", "--concurrency", "4", *options),
        settings=point_to(server),
        before=FULL_DISK,
    )
    assert result.code == 1
    assert "stopped: the store cannot be written: " in result.err
    stored = Counter((source, row) for source, rows in read_store().items() for row in rows)
    handed_over = read_rows(result.out)
    if jsonl == "out.jsonl":
        part = Path("out.jsonl.rescued-1").read_text(encoding="utf-8")
        handed_over |= read_rows(part[: part.rfind("\n") + 1])
    assert len(stored | handed_over) == 30 * server.credits_charged
    unstored = handed_over.keys() - stored.keys()
    assert f"{len(unstored):,} accounts that the store could not take are " in result.err
    assert 0 < len(unstored) == 30 * server.credits_charged - len(stored)
    assert len(stored) > 0
    assert "lost" not in result.err
    assert run(*get_command(result.err)).code == 0
    assert server.credits_charged == 80 + len(unstored) // 30


def make_row(handle: str, **changes: Any) -> dict[str, Any]:
    row = {
        "handle": handle,
        "displayName": None,
        "bio": None,
        "avatarUrl": None,
        "profileUrl": f"https://www.tiktok.com/@{handle}",
        "verified": False,
        "metrics": {"followers": 1, "following": 2, "posts": 3},
    }
    return {**row, **changes}


# The command to go on with


def test_a_command_is_written_as_it_was_given_and_quoted() -> None:
    plan = BulkPlan(
        input="-my 'list'.txt",
        column="a b",
        store="the $store.db",
        sandbox=True,
        max_credits=1,
        concurrency=2,
        limit_per_handle=3,
        max_pages=4,
        retry_failed=False,
        on_insufficient_credits=WithoutCredits.WAIT,
        jsonl="o ut",
        trim=True,
    )
    assert shlex.split(plan.write_command(retry_failed=True)) == [
        *("tiktok-following", "bulk", "--store", "the $store.db", "--column", "a b"),
        *("--max-credits", "1", "--concurrency", "2", "--limit-per-handle", "3"),
        *("--max-pages", "4", "--jsonl", "o ut", "--on-insufficient-credits", "wait"),
        *("--sandbox", "--retry-failed", "--trim", "--", "-my 'list'.txt"),
    ]


def test_options_that_do_not_go_together_are_refused() -> None:
    write("nasa")
    assert bulk("--sample", "3").code == 2
    assert run("bulk", "handles.txt").code == 2
    assert bulk("--concurrency", "0").code == 2
    assert bulk("--on-insufficient-credits", "beg").code == 2
