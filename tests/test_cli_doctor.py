"""What ``doctor`` promises: it finds what is wrong, says what to do, costs nothing."""

import errno
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bodies import make_body
from cli_runs import Result, point_to, run, run_process
from stores import fill_store

import tiktok_following
from tiktok_following._cli import _doctor, _surroundings
from tiktok_following.sandbox import Fault, Sandbox, faults

KEY = "sfk_test_doctor_0123456789"
HIDDEN = KEY[8:]
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, credits=1_234) as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.credits_charged == 0


def examine(*arguments: str) -> Result:
    result = run("doctor", *arguments)
    assert HIDDEN not in result.out + result.err
    return result


def find(result: Result, subject: str) -> tuple[str, str, str]:
    """Give a line's verdict and text, and its advice."""
    lines = result.out.splitlines()
    (number,) = (n for n, line in enumerate(lines) if line[9:].startswith(f"{subject}:"))
    below = lines[number + 1]
    advice = below.strip().removeprefix("→ ") if below.startswith(" ") else ""
    return lines[number][:9].strip(), lines[number][22:], advice


def test_all_is_well_with_the_sandbox_as_a_process_too() -> None:
    result = run_process("doctor", "--sandbox")
    assert (result.code, result.err) == (0, "")
    assert [line.split()[:2] for line in result.out.splitlines()] == [
        ["ok", "versions:"],
        ["ok", "descriptors:"],
        ["ok", "API:"],
        ["ok", "credits:"],
        ["all", "is"],
    ]


def test_it_looks_at_everything_and_asks_the_free_routes_alone(server: Sandbox) -> None:
    result = examine()
    assert (result.code, result.err) == (0, "")
    assert [line[9:22].strip() for line in result.out.splitlines()] == [
        "versions:", "key:", "address:", "proxy:", "descriptors:", "API:", "credits:", "ll",
    ]  # fmt: skip
    assert find(result, "key") == ("ok", "sfk_test… from SOCIALFETCH_API_KEY", "")
    assert find(result, "address")[1].startswith(server.base_url)
    assert find(result, "credits") == ("ok", "1,234 credits; the key is accepted", "")
    assert "with the connection" in find(result, "API")[1]
    assert {request.path for request in server.requests} == {"/health", "/v1/balance"}


def test_it_names_the_versions_that_a_report_of_a_fault_needs() -> None:
    _, text, _ = find(examine("--sandbox"), "versions")
    for part in (
        f"tiktok-following {tiktok_following.__version__}",
        f"CPython {sys.version.split()[0]}",
        "aiohttp 3.",
        "orjson 3.",
        "OpenSSL ",
        os.uname().sysname,
    ):
        assert part in text


# The key, the address


def test_without_a_key_it_says_where_to_put_it_and_sends_nothing(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", " ")
    result = examine()
    assert result.code == 2
    verdict, text, advice = find(result, "key")
    assert (verdict, text) == ("problem", "there is none")
    assert "SOCIALFETCH_API_KEY" in advice
    assert "--sandbox" in advice
    assert result.out.endswith("\n1 problem, 0 warnings\n")
    assert server.requests_received == 0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("key", [KEY + "_wrong", "sfk_wrong"])
def test_a_wrong_key_is_refused_by_the_api(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", key)
    result = examine()
    assert result.code == 3
    assert find(result, "API")[0] == "ok"
    verdict, text, advice = find(result, "credits")
    assert (verdict, "the API key was refused" in text) == ("problem", True)
    assert "copy the key again" in advice


def test_a_key_that_cannot_be_one_is_not_sent(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", f"export KEY={KEY}")
    result = examine()
    assert (result.code, find(result, "key")[0]) == (2, "problem")
    assert server.requests_received == 0


def test_a_key_that_looks_like_none_is_a_warning(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_key("another_0123456789", 5)
    monkeypatch.setenv("SOCIALFETCH_API_KEY", "another_0123456789")
    result = examine()
    assert result.code == 0
    assert find(result, "key") == (
        "warning",
        "another_… from SOCIALFETCH_API_KEY does not begin with sfk_",
        "see that it is the whole key",
    )
    assert result.out.endswith("\n0 problems, 1 warning\n")


def test_an_address_that_cannot_be_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", KEY)  # swapped
    result = examine()
    assert (result.code, find(result, "address")[0]) == (2, "problem")
    _, problem, advice = find(result, "address")
    assert problem.startswith("SOCIALFETCH_BASE_URL is not a URL like")
    assert advice == "mend or unset SOCIALFETCH_BASE_URL"
    assert find(result, "proxy")[0] == "ok"


# The network, the API, the credits


def test_an_address_with_a_wrong_path_is_what_it_advises_to_look_at(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", f"{server.base_url}/wrong")
    result = examine()
    assert result.code == 1
    for subject in ("API", "credits"):
        verdict, text, advice = find(result, subject)
        assert (verdict, "HTTP 404" in text) == ("problem", True)
        assert "look at the address (https://api.socialfetch.dev by itself)" in advice


def test_without_a_network_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", f"http://127.0.0.1:{port}")
    result = examine()
    assert result.code == 1
    verdict, text, advice = find(result, "API")
    assert (verdict, text.startswith("no connection to the API")) == ("problem", True)
    assert "firewall" in advice
    assert "credits:" not in result.out


ANSWERS: list[tuple[str, Callable[[], Fault], int, str, str]] = [
    ("health", lambda: faults.status(500), 1, "problem", "HTTP 500"),
    ("health", lambda: faults.status(429, retry_after=30), 1, "problem", "asked to wait 30 s"),
    ("health", lambda: faults.reshaped(lambda _: {"status": "ill"}), 0, "warning", "not well"),
    ("balance", lambda: faults.status(500), 1, "problem", "HTTP 500"),
]


@pytest.mark.parametrize(("route", "fault", "code", "verdict", "text"), ANSWERS)
def test_an_answer_that_is_not_as_it_should_be(  # noqa: PLR0917 - a table
    server: Sandbox, route: Any, fault: Callable[[], Fault], code: int, verdict: str, text: str
) -> None:
    server.script(fault(), route=route)
    result = examine()
    found = find(result, "API" if route == "health" else "credits")
    assert (result.code, found[0], text in found[1]) == (code, verdict, True)
    assert found[2]
    assert find(result, "credits")


def test_an_api_that_is_slow_is_a_warning(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "_SLOW", 0.0)
    server.terms.latency = 0.001
    assert find(examine(), "API")[0] == "warning"


def test_no_credits_are_a_problem_with_its_exit_code(server: Sandbox) -> None:
    server.credits_left = 0
    result = examine()
    assert (result.code, find(result, "credits")[:2]) == (4, ("problem", "0 credits"))


def test_an_alert_about_the_payments_is_a_warning(server: Sandbox) -> None:
    data = {"balance": 1, "billingAlert": "payment_action_required", "refillState": "grace"}
    server.script(faults.reshaped(lambda body: {**body, "data": data}), route="balance")
    result = examine()
    verdict, text, _ = find(result, "credits")
    assert (result.code, verdict) == (0, "warning")
    assert text == "1 credit, billing alert payment_action_required, refill grace"


# The proxy


def test_a_proxy_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "https://api.invalid")
    monkeypatch.setenv("HTTPS_PROXY", f"somebody:a_password@127.0.0.1:{port}")
    result = examine()
    verdict, text, _ = find(result, "proxy")
    assert verdict == "ok"
    assert text.startswith(f"http://127.0.0.1:{port} is used by this command")
    assert "a_password" not in result.out + result.err
    assert result.code == 1


@pytest.mark.usefixtures("server")
def test_a_proxy_that_is_not_used_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    verdict, text, _ = find(examine(), "proxy")
    assert verdict == "ok"
    assert text.startswith("http://proxy.invalid:1 is not used: the address is this machine")


@pytest.mark.usefixtures("server")
def test_a_variable_that_nothing_reads_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:1")
    verdict, _, advice = find(examine(), "proxy")
    assert (verdict, advice) == ("warning", "if it is needed, name it in HTTP_PROXY")


def test_a_proxy_of_another_kind_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.invalid:1")
    result = examine()
    assert (result.code, find(result, "proxy")[0]) == (2, "problem")
    assert "API:" not in result.out


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("base_url", ["https://api.invalid", "http://127.0.0.1:1"])
def test_of_a_proxy_that_cannot_be_read_nothing_shows(
    monkeypatch: pytest.MonkeyPatch, name: str, base_url: str
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", base_url)
    monkeypatch.setenv(name, "http://user:a_pass/word@proxy.invalid:8080")
    result = examine()
    shown, would_be_used = result.out + result.err, (name, base_url[:5]) == ("HTTPS_PROXY", "https")
    assert (find(result, "proxy")[0] == "problem") is would_be_used
    for part in ("a_pass", "word@proxy", "proxy.invalid"):
        assert part not in shown


def test_an_address_with_a_password_is_a_problem_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", KEY)
    monkeypatch.setenv("SOCIALFETCH_BASE_URL", "https://user:a_pass/word@api.invalid")
    result = examine()
    assert (result.code, find(result, "address")[0]) == (2, "problem")
    assert "a_pass" not in result.out + result.err


# Descriptors and concurrency


@pytest.mark.parametrize(
    ("allowed", "most", "advice"),
    [
        (150, 150, None),
        (149, 150, "run `ulimit -n 150` before, in the same shell"),
        (120, 130, "use --concurrency 70, or have the hard limit of 130 raised"),
        (20, 20, "use --concurrency 1, or have the hard limit of 20 raised"),
    ],
)
def test_the_limit_of_open_files_must_hold_the_pages_at_once(
    allowed: int, most: int, advice: str | None
) -> None:
    finding = _surroundings.judge_descriptors(100, allowed, most)
    assert finding.advice == advice
    assert finding.verdict == ("ok" if advice is None else "warning")


def test_the_limit_is_that_of_the_process() -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (140, most))
    try:
        verdict, text, _ = find(examine("--sandbox"), "descriptors")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    assert (verdict, text) == ("warning", "140 may be open, 100 pages at once need 150")


def test_a_system_without_such_limits_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert find(examine("--sandbox"), "descriptors")[0] == "ok"


def test_more_at_once_than_the_api_recommends_is_a_warning() -> None:
    result = examine("--sandbox", "--concurrency", "500")
    assert find(result, "concurrency")[2] == "use --concurrency 400"
    assert "concurrency:" not in examine("--sandbox", "--concurrency", "499").out


# The store


def test_a_store_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    fill_store(path, {"nasa": [make_body()], "esa": [make_body()]})
    _, text, _ = find(examine("--sandbox", "--store", str(path)), "store")
    assert text == f"{path}: 0 pending, 2 complete, 0 limited, 0 failed; 2 pages"


def test_a_store_that_is_none_yet_is_well_where_it_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert find(examine("--sandbox", "--store", str(path)), "store")[0] == "ok"
    assert not path.exists()
    path.touch()  # a run takes an empty file for one that is not there
    assert find(examine("--sandbox", "--store", str(path)), "store")[0] == "ok"
    result = examine("--sandbox", "--store", str(tmp_path / "nowhere" / "a.db"))
    assert (result.code, find(result, "store")[0]) == (2, "problem")


@pytest.mark.parametrize("length", [248, 300])
def test_a_name_too_long_for_a_store_or_what_is_beside_it_is_a_problem(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / ("a" * length)
    result = examine("--sandbox", "--store", str(path))
    verdict, text, advice = find(result, "store")
    assert (result.code, verdict, advice) == (2, "problem", "choose another file")
    assert text == f"{path} cannot be used: {os.strerror(errno.ENAMETOOLONG)}"


def test_a_name_that_is_none_is_a_problem(tmp_path: Path) -> None:
    (finding,) = _surroundings.examine_store(f"{tmp_path}/a\0b")
    assert (finding.verdict, finding.code, finding.advice) == ("problem", 1, "choose another file")


def test_a_file_that_is_no_store_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("no store")
    result = examine("--sandbox", "--store", str(path))
    assert (result.code, find(result, "store")[0]) == (2, "problem")
    assert path.read_text() == "no store"


def test_a_store_that_cannot_be_written_and_a_full_disk_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    fill_store(path, {"nasa": [make_body()]})
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may be run by root
    monkeypatch.setattr(_surroundings, "_LITTLE_ROOM", sys.maxsize)
    result = examine("--sandbox", "--store", str(path))
    assert find(result, "store")[:2] == ("warning", f"{path} cannot be written")
    assert find(result, "disk")[2] == "make room, or put the store elsewhere"
