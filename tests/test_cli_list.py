"""What ``tiktok-following list`` promises, seen from the process that runs it."""

import asyncio
import csv
import io
import json
import logging
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cli_runs import point_to, run

from tiktok_following import ConnectError, FollowingClient, NotFoundError
from tiktok_following._cli._exit import explain
from tiktok_following._engine import Engine
from tiktok_following.sandbox import Gate, Profile, Sandbox, faults

CSV_COLUMNS = (
    *("source_handle", "handle", "display_name", "followers", "following", "posts", "verified"),
    *("private_account", "region", "language", "created_at", "profile_url", "avatar_url"),
    *("platform_user_id", "sec_uid", "bio"),
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox on its own thread that commands use by their environment."""
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def make_row(handle: str, **changes: Any) -> dict[str, Any]:
    row = {
        "handle": handle,
        "displayName": handle.title(),
        "bio": None,
        "avatarUrl": None,
        "profileUrl": f"https://www.tiktok.com/@{handle}",
        "verified": False,
        "metrics": {"followers": 1, "following": 2, "posts": 3},
    }
    return {**row, **changes}


def list_handles(server: Sandbox, handle: str) -> list[str]:
    return [account["handle"] for page in server.pages(handle) for account in page]


def read_jsonl(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Rows


def test_jsonl_has_every_account_with_its_source_and_all_its_fields(server: Sandbox) -> None:
    result = run("list", "nasa", "@boundary.duplicates", "--format", "jsonl")
    assert result.code == 0
    rows = read_jsonl(result.out)
    expected = [("nasa", handle) for handle in list_handles(server, "nasa")] + [
        ("boundary.duplicates", handle) for handle in list_handles(server, "boundary.duplicates")
    ]
    assert [(row["source_handle"], row["handle"]) for row in rows] == expected
    first = server.pages("nasa")[0][0]
    assert rows[0]["metrics"] == first["metrics"]
    assert rows[0]["details"] == first["details"]
    assert server.credits_charged == 7
    assert result.err == "2 handles, 172 accounts, 7 pages, 7 credits charged\n"


def test_csv_has_a_stable_header_and_a_record_an_account(server: Sandbox) -> None:
    result = run("list", "nasa", "--format", "csv")
    records = list(csv.reader(io.StringIO(result.out, newline="")))
    assert tuple(records[0]) == CSV_COLUMNS
    assert [record[1] for record in records[1:]] == list_handles(server, "nasa")
    assert {len(record) for record in records} == {len(CSV_COLUMNS)}


def test_csv_writes_flags_dates_and_missing_values_for_programs(server: Sandbox) -> None:
    full = make_row("full", verified=True, privateAccount=False, accountCreatedAt=0, bio='a "b"\nc')
    server.set_profile("me", Profile(accounts=[full, make_row("bare", displayName=None)]))
    result = run("list", "me", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out, newline="")))
    assert rows[0]["verified"] == "true"
    assert rows[0]["private_account"] == "false"
    assert rows[0]["created_at"] == "1970-01-01T00:00:00.000Z"
    assert rows[0]["bio"] == 'a "b"\nc'
    assert rows[1]["display_name"] == rows[1]["private_account"] == rows[1]["created_at"] == ""


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_csv_cell_can_be_taken_for_a_formula(server: Sandbox, sign: str) -> None:
    server.set_profile("me", Profile(accounts=[make_row("evil", bio=f"{sign}cmd|' /C calc'!A0")]))
    result = run("list", "me", "--format", "csv")
    [row] = csv.DictReader(io.StringIO(result.out, newline=""))
    assert row["bio"] == f"'{sign}cmd|' /C calc'!A0"


def test_csv_of_nobody_is_a_header(server: Sandbox) -> None:
    assert run("list", "hidden.profile", "--format", "csv").out == ",".join(CSV_COLUMNS) + "\n"
    assert server.credits_charged == 1


def test_trim_is_passed_on(server: Sandbox) -> None:
    result = run("list", "nasa", "--trim", "--limit", "1", "--format", "jsonl")
    assert "details" not in read_jsonl(result.out)[0]
    assert server.requests[0].trim


def test_the_sandbox_flag_needs_no_key_and_says_that_nothing_was_charged() -> None:
    result = run("list", "--sandbox", "nasa", "--format", "jsonl")
    assert result.code == 0
    assert len(result.out.splitlines()) == 95
    assert "4 credits charged (sandbox: no real credits)" in result.err


# Limits, and where to go on


@pytest.mark.parametrize("limit", [1, 29, 30, 31, 60, 95, 96])
def test_limit_cuts_rows_exactly_and_buys_no_page_more(server: Sandbox, limit: int) -> None:
    result = run("list", "nasa", "--limit", str(limit), "--format", "jsonl")
    assert result.code == 0
    handles = [row["handle"] for row in read_jsonl(result.out)]
    assert handles == list_handles(server, "nasa")[:limit]
    assert server.credits_charged == -(-min(limit, 95) // 30)
    assert ("stopped after" in result.err) == (limit < 95)


def get_command_to_go_on(err: str) -> list[str]:
    [line] = [line for line in err.splitlines() if " with: " in line]
    program, *arguments = shlex.split(line.split(" with: ")[1])
    assert program == "tiktok-following"
    return arguments


@pytest.mark.parametrize(
    "options", [("--max-pages", "2"), ("--max-credits", "1"), ("--limit", "30")]
)
def test_going_on_as_told_reads_the_rest(server: Sandbox, options: tuple[str, str]) -> None:
    arguments = ["list", "nasa", *options, "--format", "jsonl"]
    handles: list[str] = []
    for _ in range(4):
        result = run(*arguments)
        handles += [row["handle"] for row in read_jsonl(result.out)]
        if "stopped" not in result.err:
            break
        arguments = get_command_to_go_on(result.err)
        assert set(options) < set(arguments)
    assert handles == list_handles(server, "nasa")
    assert server.credits_charged == 4


def test_a_stop_within_a_page_tells_how_many_rows_come_again(server: Sandbox) -> None:
    result = run("list", "nasa", "--limit", "40", "--trim", "--format", "jsonl")
    assert "nasa: stopped after 40 accounts; go on, 10 of them again, with:" in result.err
    again = run(*get_command_to_go_on(result.err))
    handles = [row["handle"] for row in read_jsonl(again.out)]
    assert handles == list_handles(server, "nasa")[30:70]


def test_a_stop_within_the_first_page_says_there_is_no_cursor(server: Sandbox) -> None:
    result = run("list", "nasa", "--limit", "5")
    assert "within the first page: no cursor to go on from yet" in result.err
    assert server.credits_charged == 1


def test_the_command_to_go_on_is_quoted_for_a_shell(server: Sandbox) -> None:
    cursor = "a b'$(date)"
    server.script(faults.repeated_cursor(cursor), handle="-dash")
    result = run("list", "--max-pages", "1", "--", "-dash")
    assert get_command_to_go_on(result.err) == [
        *("list", "@-dash", "--max-pages", "1", "--cursor", cursor)
    ]


def test_the_credit_cap_holds_for_the_whole_command_and_has_its_exit_code(server: Sandbox) -> None:
    result = run("list", "nasa", "large.profile", "--max-credits", "5", "--sandbox")
    assert result.code == 5
    assert "the credit cap is reached" in result.err
    assert "large.profile: stopped after 30 accounts; go on with:" in result.err
    assert "2 handles, 125 accounts, 5 pages, 5 credits charged" in result.err
    assert server.requests_received == 0


def test_lists_that_were_not_begun_are_named(server: Sandbox) -> None:
    result = run("list", "a", "b", "c", "d", "e", "f", "g", "--max-credits", "0")
    assert result.code == 5
    assert "not begun: b, c, d, e, f and 1 more\n" in result.err
    assert "1 handle, 0 accounts, 0 pages, 0 credits charged\n" in result.err
    assert server.requests_received == 0


# Answers that are no rows


def test_answers_without_rows_are_a_line_each_and_no_failure(server: Sandbox) -> None:
    def hold(body: dict[str, Any]) -> dict[str, Any]:
        body["data"]["lookupStatus"] = "on\x1bhold"
        return body

    server.set_profile("other", Profile(accounts=[]))
    server.script(faults.reshaped(hold), handle="other")
    handles = ("hidden.profile", "private.profile", "missing.profile", "empty.profile", "other")
    result = run("list", *handles)
    assert result.code == 0
    assert result.out == ""
    assert [line.split(" (")[0] for line in result.err.splitlines()] == [
        "hidden.profile: hidden",
        "private.profile: private",
        "missing.profile: not found",
        "empty.profile: follows nobody",
        r"other: 'on\x1bhold', a status this version does not know",
        "5 handles, 0 accounts, 5 pages, 5 credits charged",
    ]


def test_a_profile_that_becomes_hidden_in_the_middle_says_where_to_go_on(server: Sandbox) -> None:
    def hide(body: dict[str, Any]) -> dict[str, Any]:
        page = {"nextCursor": None, "hasMore": False}
        body["data"] = {"lookupStatus": "hidden", "accounts": [], "page": page}
        return body

    first = run("list", "nasa", "--max-pages", "1")
    cursor = get_command_to_go_on(first.err)[-1]
    server.script(faults.reshaped(hide), handle="nasa", cursor=cursor)
    result = run("list", "nasa")
    assert result.code == 0
    assert "nasa: hidden" in result.err
    assert (
        f"nasa: stopped after 30 accounts; go on with: tiktok-following list nasa --cursor {cursor}"
        in result.err
    )


def test_an_empty_rest_is_not_said_to_follow_nobody(server: Sandbox) -> None:
    cursor = get_command_to_go_on(run("list", "nasa", "--max-pages", "1").err)[-1]

    def empty(body: dict[str, Any]) -> dict[str, Any]:
        body["data"] |= {"accounts": [], "page": {"nextCursor": None, "hasMore": False}}
        return body

    server.script(faults.reshaped(empty))
    result = run("list", "nasa", "--cursor", cursor)
    assert result.err == "1 handle, 0 accounts, 1 page, 1 credit charged\n"


# Errors and exit codes


def test_one_lists_failure_is_a_line_and_the_others_go_on(server: Sandbox) -> None:
    server.script(faults.status(400, message="No\x1b[2J such\nhandle"), handle="bad")
    result = run("list", "hidden.profile", "bad", "nasa", "--format", "jsonl")
    assert result.code == 1
    assert len(result.out.splitlines()) == 95
    lines = result.err.splitlines()
    assert lines[1] == "bad: No [2J such handle (HTTP 400)"
    assert lines[-1] == "3 handles, 95 accounts, 5 pages, 5 credits charged, 1 failed"


def test_a_failure_in_the_middle_says_where_to_go_on(server: Sandbox) -> None:
    cursor = get_command_to_go_on(run("list", "nasa", "--max-pages", "2").err)[-1]
    server.script(faults.malformed(), cursor=cursor)
    result = run("list", "nasa")
    assert result.code == 1
    assert "(may have been charged)" in result.err
    assert (
        f"nasa: stopped after 60 accounts; go on with: tiktok-following list nasa --cursor {cursor}"
        in result.err
    )
    assert "2 credits charged, 1 at risk, 1 failed" in result.err


def test_a_cursor_that_leads_in_circles_is_not_recommended(server: Sandbox) -> None:
    cursor = get_command_to_go_on(run("list", "nasa", "--max-pages", "1").err)[-1]
    server.script(faults.repeated_cursor(), cursor=cursor)
    result = run("list", "nasa")
    assert result.code == 1
    assert "followed before" in result.err
    assert "--cursor" not in result.err


def test_a_pause_too_long_to_wait_for_says_how_long(server: Sandbox) -> None:
    server.script(faults.status(503, retry_after=500))
    result = run("list", "nasa")
    assert result.code == 1
    assert "(HTTP 503, asked to wait 500 s)" in result.err


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (faults.status(401), 3, "the API key was refused, check SOCIALFETCH_API_KEY"),
        (
            faults.status(402, checkout_url="https://pay.example/1"),
            4,
            "This failure was scripted; buy more at https://pay.example/1 (HTTP 402)",
        ),
        (faults.status(402), 4, "out of credits: This failure was scripted. (HTTP 402)"),
        (faults.status(403), 1, "(HTTP 403)"),
        (
            faults.status(404),
            1,
            "check SOCIALFETCH_BASE_URL: This failure was scripted. (HTTP 404)",
        ),
    ],
)
def test_what_concerns_every_list_ends_the_run(
    server: Sandbox, fault: faults.Fault, code: int, words: str
) -> None:
    server.script(fault, handle="nasa")
    result = run("list", "nasa", "large.profile")
    assert result.code == code
    assert words in result.err
    assert "not begun: large.profile" in result.err
    assert server.requests_received == 1


def test_a_missing_route_is_no_matter_of_an_address_that_nobody_gave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SOCIALFETCH_BASE_URL", raising=False)
    assert explain(NotFoundError("no such route", status_code=404)) == "no such route (HTTP 404)"


def test_verbose_tells_request_id_and_causes(server: Sandbox) -> None:
    short = run("list", "nasa", "--cursor", "nonsense")
    long = run("list", "nasa", "--cursor", "nonsense", "-v")
    assert "request id" not in short.err
    assert (
        "  BadRequestError: This cursor was never handed out. (HTTP 400, bad_request, request id"
        in long.err
    )
    assert server.requests_received == 2


def test_verbose_tells_what_caused_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ConnectError("no connection", attempts=4) from OSError("the cable is out")

    monkeypatch.setattr(Engine, "buy", fail)
    assert "nasa: no connection (4 attempts)\n" in run("list", "--sandbox", "nasa").err
    assert "caused by OSError: the cable is out" in run("list", "--sandbox", "nasa", "-v").err


def test_verbose_shows_the_library_s_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def log(_: FollowingClient) -> None:
        logging.getLogger("tiktok_following.test").debug("a line\x1b[31m of the log")
        raise AssertionError

    monkeypatch.setattr(FollowingClient, "whoami", log)
    assert (
        "DEBUG tiktok_following.test: a line [31m of the log"
        in run("whoami", "--sandbox", "-v").err
    )
    assert "of the log" not in run("whoami", "--sandbox").err
    assert not logging.getLogger("tiktok_following").handlers


def test_an_unexpected_error_is_one_line_and_with_verbose_a_traceback_without_values(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("a surprise\nof two lines")

    monkeypatch.setattr(Engine, "buy", fail)
    short, long = run("list", "nasa"), run("list", "nasa", "-v")
    assert short.code == long.code == 1
    unexpected = short.err.splitlines()[-1]
    assert unexpected.startswith("unexpected error: KeyError: ")
    assert unexpected.endswith("(run again with -v for the traceback)")
    assert "Traceback" not in short.err
    assert "Traceback" in long.err
    assert server.api_key not in long.err


# Usage


def test_every_bad_handle_is_named_before_anything_is_sent(server: Sandbox) -> None:
    result = run("list", "nasa", "bad one", "https://example.com/@x", "ok", "-")
    assert result.code == 2
    assert "'bad one' is not a TikTok handle: it has white space inside\n" in result.err
    assert "'https://example.com/@x' is not on tiktok.com\n" in result.err
    assert "'-' is not a TikTok handle: it is what commands take for standard input\n" in result.err
    assert server.requests_received == 0


def test_a_handle_given_twice_is_bought_once(server: Sandbox) -> None:
    result = run("list", "empty.profile", "@Empty.Profile", "https://www.tiktok.com/@empty.profile")
    assert result.code == 0
    assert server.credits_charged == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "b", "--cursor", "1"),
        ("a", "--cursor", ""),
        ("a", "--limit", "0"),
        ("a", "--max-pages", "none"),
        ("a", "--max-credits", "-1"),
        ("a", "--format", "xml"),
        ("a", "--cursor", "x\udce9"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(
    server: Sandbox, arguments: tuple[str, ...]
) -> None:
    assert run("list", *arguments).code == 2
    assert server.requests_received == 0


def test_without_a_key_the_message_names_the_variable_and_the_sandbox() -> None:
    result = run("list", "nasa")
    assert result.code == 2
    assert result.err == (
        "no API key: set the environment variable SOCIALFETCH_API_KEY, "
        "or try --sandbox, which needs none\n"
    )


def test_a_base_url_that_would_give_the_key_away_is_a_usage_error(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "http://api.example.com")
    result = run("list", "nasa")
    assert result.code == 2
    assert result.err.startswith("SOCIALFETCH_BASE_URL 'http://api.example.com' would send")
    assert server.api_key not in result.err


def test_the_proxy_of_the_environment_is_used(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[dict[str, Any]] = []

    class RecordedClient(FollowingClient):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            clients.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("tiktok_following._cli._run.FollowingClient", RecordedClient)
    assert run("balance").code == run("balance", "--sandbox").code == 0
    assert clients[0] == {"max_credits": None, "trust_env": True}
    assert "trust_env" not in clients[1]
    assert server.requests_received == 1


# Interruptions


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("pages", [0, 1])
def test_an_interruption_says_where_to_go_on(
    server: Sandbox, number: signal.Signals, code: int, pages: int
) -> None:
    cursor = get_command_to_go_on(run("list", "nasa", "--max-pages", "1").err)[-1]
    gate = Gate()
    server.script(faults.hold(gate), cursor=cursor if pages else None)

    def interrupt() -> None:
        asyncio.run(gate.reached())
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = run("list", "nasa", "empty.profile", "--format", "jsonl")
    thread.join()
    gate.release()
    assert result.code == code
    assert len(result.out.splitlines()) == 30 * pages
    place = "before the first page"
    if pages:
        command = "tiktok-following list nasa --format jsonl --cursor"
        place = f"after 30 accounts; go on with: {command} {cursor}"
    summary = ("0 accounts, 0 pages, 0 credits", "30 accounts, 1 page, 1 credit")[pages]
    assert result.err.splitlines() == [
        f"nasa: interrupted {place}",
        "not begun: empty.profile",
        f"1 handle, {summary} charged, 1 at risk",
    ]
