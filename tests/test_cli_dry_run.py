"""What ``tiktok-following bulk --dry-run`` promises: what there is, and what it would cost."""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Result, point_to, run, run_process

from tiktok_following.sandbox import Gate, Sandbox, faults


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(totals=(0, 300)) as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*handles: str) -> None:
    Path("handles.txt").write_text("\n".join(handles), encoding="utf-8")


def dry_run(*arguments: str) -> Result:
    return run("bulk", "handles.txt", "--store", "f.db", "--dry-run", *arguments)


def read_report(result: Result) -> dict[str, str]:
    lines = [line for line in result.out.splitlines() if not line.startswith(" ")]
    return dict(re.split(r": +", line, maxsplit=1) for line in lines)


def count_pages(server: Sandbox, *handles: str) -> int:
    return sum(max(1, len(server.pages(handle))) for handle in handles)


def test_a_dry_run_counts_the_handles_shows_the_balance_and_buys_nothing(server: Sandbox) -> None:
    write("nasa", "@NASA", "esa", "not one", "b\u202ed", *(f"a b{number}" for number in range(9)))
    result = dry_run()
    assert result.code == 0
    assert result.err == ""
    assert result.out.splitlines() == [
        "entries:              14",
        "handles:              2, and 1 duplicate",
        "invalid:              11",
        "  'not one' is not a TikTok handle: it has white space inside",
        "  'b\\u202ed' is not a TikTok handle: it has the control or invisible character '\\u202e'",
        "  'a b0' is not a TikTok handle: it has white space inside",
        "  'a b1' is not a TikTok handle: it has white space inside",
        "  'a b2' is not a TikTok handle: it has white space inside",
        "  and 6 more",
        "settled in the store: 0",
        "to be asked for:      2",
        "balance:              1,000,000 credits",
    ]
    assert server.credits_charged == 0
    assert [request.route for request in server.requests] == ["balance"]
    assert [path.name for path in Path().iterdir()] == ["handles.txt"]


def test_the_sandbox_needs_no_key() -> None:
    write("nasa")
    result = dry_run("--sandbox", "--sample", "1")
    assert result.code == 0
    assert "1,000,000 credits (sandbox: no real credits)" in result.out


def test_what_the_store_has_is_not_asked_for_again(server: Sandbox) -> None:
    server.script(faults.status(400), handle="bad")
    write("nasa", "empty.profile", "bad", "large.profile")
    assert run("bulk", "handles.txt", "--store", "f.db", "--max-pages", "4").code == 1
    write("nasa", "@NASA", "empty.profile", "bad", "large.profile", "esa")
    for options, wanted in (
        (("--max-pages", "4"), "1"),  # esa
        ((), "2"),  # and the rest of large.profile
        (("--limit-per-handle", "120"), "1"),
        (("--limit-per-handle", "121"), "2"),
        (("--max-pages", "4", "--retry-failed"), "2"),
    ):
        report = read_report(dry_run(*options))
        assert report["to be asked for"] == wanted
        assert report["settled in the store"] == str(5 - int(wanted))


def test_a_file_that_is_no_store_is_refused(server: Sandbox) -> None:
    write("nasa")
    Path("f.db").write_text("hello, hello, this is no store at all", encoding="utf-8")
    result = dry_run()
    assert result.code == 2
    assert result.err == "the file is not a store of tiktok-following (store 'f.db')\n"
    assert server.requests_received == 0


def test_an_empty_file_that_is_to_be_a_store_has_nothing_in_it_yet(server: Sandbox) -> None:
    write("nasa")
    Path("f.db").touch()
    result = dry_run()
    assert (result.code, result.err) == (0, "")
    assert read_report(result)["settled in the store"] == "0"
    assert server.credits_charged == 0


def test_a_sample_is_announced_bought_and_told(server: Sandbox) -> None:
    handles = [f"user{number}" for number in range(400)]
    write(*handles, *handles)
    result = dry_run("--sample", "60")
    assert result.code == 0
    assert result.err == (
        "buying the first pages of 60 handles for about 60 credits; they are not stored\n"
    )
    assert server.credits_charged == 60
    asked = [request.handle for request in server.requests if request.route == "following"]
    assert len(set(asked)) == 60
    assert set(asked) < set(handles)
    report = read_report(result)
    assert report["sample"] == "60 first pages, 60 credits charged"
    low, high = re.findall(r"[\d,]+", report["95 % interval"].split("credits")[0])
    truth = count_pages(server, *handles)
    assert int(low.replace(",", "")) < truth < int(high.replace(",", ""))
    assert "by studentized bootstrap" in report["95 % interval"]
    assert dry_run("--sample", "60").out == result.out.replace("1,000,000", "999,940")
    assert not Path("f.db").exists()


def test_a_sample_of_all_knows_what_all_cost(server: Sandbox) -> None:
    write("nasa", "hidden.profile", "empty.profile", "boundary.duplicates")
    report = read_report(dry_run("--sample", "100"))
    assert report["pages of a handle"] == "2.25 on average, 1 to 4"
    assert report["estimated cost"] == "9 credits"
    assert report["95 % interval"] == "9 to 9 credits: all were asked"
    assert server.credits_charged == 4


def test_limits_make_it_cheaper(server: Sandbox) -> None:
    write("nasa", "large.profile")
    assert read_report(dry_run("--sample", "2"))["estimated cost"] == "138 credits"
    limited = dry_run("--sample", "2", "--limit-per-handle", "60", "--trim")
    assert read_report(limited)["estimated cost"] == "4 credits"
    assert server.requests[-1].trim
    assert (
        read_report(dry_run("--sample", "2", "--max-pages", "3"))["estimated cost"] == "6 credits"
    )


def test_a_dearer_page_counts_as_what_it_costs(server: Sandbox) -> None:
    server.terms.price = 3
    write("nasa")
    report = read_report(dry_run("--sample", "1"))
    assert report["sample"] == "1 first page, 3 credits charged"
    assert report["estimated cost"] == "12 credits"


def test_a_few_lists_make_no_interval(server: Sandbox) -> None:
    write(*(f"user{number}" for number in range(50)))
    report = read_report(dry_run("--sample", "5"))
    assert report["95 % interval"] == (
        "none: fewer than 10 lists cannot tell; take a larger sample"
    )
    write(*(f"user{number}" for number in range(50)))
    report = read_report(dry_run("--sample", "20", "--max-pages", "1"))
    assert report["95 % interval"].startswith("none: lists that are all as long cannot tell")
    assert server.credits_charged == 25


def test_a_single_long_list_makes_no_upper_end(server: Sandbox) -> None:
    handles = [f"user{number}" for number in range(40)]
    for handle in handles:
        hide(server, handle)
    write("large.profile", *handles)
    report = read_report(dry_run("--sample", "40"))  # by their hashes, the long one among them
    assert report["pages of a handle"].endswith("1 to 134")
    interval = report["95 % interval"]
    assert interval == "from 174 on: a few lists are most of the sample; take a larger one"


def hide(server: Sandbox, handle: str) -> None:
    def change(body: dict[str, Any]) -> dict[str, Any]:
        page = {"nextCursor": None, "hasMore": False}
        body["data"] = {"lookupStatus": "hidden", "accounts": [], "page": page}
        return body

    server.script(faults.reshaped(change), handle=handle)


def test_lists_that_do_not_tell_their_length_are_left_out_and_told(server: Sandbox) -> None:
    def forget(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["totalAccounts"] = None
        return body

    write("nasa", "large.profile")
    server.script(faults.reshaped(forget), handle="large.profile")
    report = read_report(dry_run("--sample", "2"))
    assert report["of unknown length"] == "1, left out"
    assert report["estimated cost"] == "8 credits"
    server.script(faults.reshaped(forget), faults.reshaped(forget))
    report = read_report(dry_run("--sample", "2"))
    assert report["estimated cost"] == "unknown"


def test_a_failed_first_page_is_told_and_left_out(server: Sandbox) -> None:
    server.script(faults.status(400), handle="bad")
    write("nasa", "bad")
    result = dry_run("--sample", "2")
    assert result.code == 1
    assert "bad: This failure was scripted. (HTTP 400)\n" in result.err
    report = read_report(result)
    assert report["sample"] == "1 first page, 1 credit charged"
    assert report["estimated cost"] == "8 credits"


@pytest.mark.parametrize(
    ("fault", "options", "code", "words"),
    [
        (faults.status(402), (), 4, "out of credits: "),
        (faults.status(401), (), 3, "the API key was refused"),
        (None, ("--max-credits", "7"), 5, "the credit cap is reached: "),
    ],
)
def test_what_ends_a_sample_is_told_with_what_it_cost(
    server: Sandbox, fault: faults.Fault | None, options: tuple[str, ...], code: int, words: str
) -> None:
    write(*(f"user{number}" for number in range(100)))
    if fault is not None:
        server.script(fault)
    result = dry_run("--sample", "100", *options)
    assert result.code == code
    assert words in result.err
    assert "estimated cost" not in result.out
    assert read_report(result)["sample"].endswith("charged")
    assert server.credits_charged < 60


def test_a_sample_keeps_to_the_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    write(*(f"user{number}" for number in range(4)))
    with Sandbox(latency=0.02) as server:
        for name, value in point_to(server).items():
            monkeypatch.setenv(name, value)
        assert dry_run("--sample", "4", "--concurrency", "1").code == 0
        assert server.peak_in_flight == 1


def test_an_interrupted_sample_says_what_it_cost(server: Sandbox) -> None:
    gate = Gate()
    server.script(faults.hold(gate), handle="esa")
    write("nasa", "esa")

    def interrupt() -> None:
        asyncio.run(gate.reached())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = dry_run("--sample", "2", "--concurrency", "1")
    thread.join()
    gate.release()
    assert result.code == 130
    assert read_report(result)["sample"].endswith("1 at risk")


def test_handles_are_counted_from_standard_input(server: Sandbox) -> None:
    write("nasa", "esa")
    with open("handles.txt", "rb") as stdin:  # noqa: PTH123 - given to a process
        result = run_process(
            *("bulk", "-", "--store", "f.db", "--dry-run"),
            settings=point_to(server),
            stdin=stdin.fileno(),
        )
    assert result.code == 0
    assert read_report(result)["handles"] == "2, and 0 duplicates"


def test_an_input_without_handles_is_refused(server: Sandbox) -> None:
    write("# nobody")
    result = dry_run()
    assert (result.code, result.err) == (2, "there is no handle in handles.txt\n")
    assert server.requests_received == 0


def test_the_interval_is_within_what_the_options_allow(server: Sandbox) -> None:
    write(*(f"user{number}" for number in range(60)))
    interval = read_report(dry_run("--sample", "12", "--max-pages", "3"))["95 % interval"]
    _, high = re.findall(r"\d+", interval)[:2]
    assert int(high) <= 60 * 3
    assert server.credits_charged == 12
