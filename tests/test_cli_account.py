"""What ``balance``, ``whoami`` and ``sandbox`` promise."""

import json
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from cli_runs import point_to, run, start_process

from tiktok_following.sandbox import Sandbox, faults


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(credits=1_234) as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def test_balance_shows_the_credits_for_people(server: Sandbox) -> None:
    result = run("balance")
    assert result.code == 0
    assert result.out.splitlines()[0].split() == ["credits:", "1,234"]
    assert server.credits_charged == 0


def test_balance_shows_the_plan(server: Sandbox) -> None:
    plan = {"tier": "pro\x1b[31m", "status": "active", "periodEnd": "2030-01-01"}
    server.script(
        faults.reshaped(lambda body: {**body, "data": {"balance": 5, "subscription": plan}}),
        route="balance",
    )
    lines = run("balance").out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["credits", "plan"]
    assert lines[1].endswith("pro [31m, active until 2030-01-01")


def test_balance_shows_what_an_older_api_tells() -> None:
    with Sandbox(lean_balance=True, credits=7) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in point_to(server).items():
            patch.setenv(name, value)
        assert run("balance").out.split() == ["credits:", "7"]


def test_whoami_shows_whose_key_it_is() -> None:
    result = run("whoami", "--sandbox")
    assert result.code == 0
    assert [line.split(":")[0] for line in result.out.splitlines()] == ["id", "name", "email"]


@pytest.mark.parametrize("command", ["balance", "whoami"])
def test_json_is_one_line_in_the_names_of_the_api(command: str) -> None:
    result = run(command, "--sandbox", "--json")
    assert result.out.count("\n") == 1
    assert json.loads(result.out)["meta"]["requestId"]


@pytest.mark.parametrize("command", ["balance", "whoami"])
def test_a_refused_key_has_its_exit_code(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SOCIALFETCH_API_KEY", "sfk_wrong_and_secret_0001")
    result = run(command)
    assert result.code == 3
    assert "the API key was refused" in result.err
    assert "secret" not in result.err + result.out
    assert server.requests_received == 1


@pytest.mark.parametrize("command", ["balance", "whoami"])
def test_without_a_key_it_is_a_usage_error(command: str) -> None:
    assert run(command).code == 2


# The sandbox as a server


def test_the_sandbox_serves_until_ctrl_c_and_says_how_to_use_it() -> None:
    with start_process("sandbox", "--port", "0", "--credits", "9") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        settings = dict(
            process.stdout.readline().removeprefix("export ").strip().split("=") for _ in range(2)
        )
        assert set(settings) == {"SOCIALFETCH_BASE_URL", "SOCIALFETCH_API_KEY"}
        request = urllib.request.Request(
            settings["SOCIALFETCH_BASE_URL"] + "/v1/balance",
            headers={"x-api-key": settings["SOCIALFETCH_API_KEY"]},
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.load(response)["data"]["balance"] == 9
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
        told = process.stderr.read()
        assert settings["SOCIALFETCH_BASE_URL"] in told
        assert told.endswith("ended: 1 request, 0 credits charged\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_the_sandbox_is_no_failure(number: signal.Signals) -> None:
    read, write = os.pipe()

    def end() -> None:
        os.read(read, 10)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=end)
    thread.start()
    with os.fdopen(write, "w") as stdout, open(os.devnull, "w") as stderr:  # noqa: PTH123 - devices
        from cli_runs import run_on

        assert run_on(stdout, stderr, "sandbox", "--port", "0") == 0
    thread.join()
    os.close(read)


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("sandbox", "--port", str(port))
    assert result.code == 1
    assert (
        result.err
        == f"cannot listen on port {port}: Address already in use; choose another, --port\n"
    )


@pytest.mark.parametrize(
    "arguments", [("--port", "65536"), ("--latency", "-1"), ("--page-size", "0")]
)
def test_a_sandbox_that_cannot_be_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert run("sandbox", *arguments).code == 2
