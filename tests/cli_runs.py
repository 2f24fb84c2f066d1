"""Run the command line: inside the test's process, or as a process of its own."""

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TextIO
from unittest import mock

import attrs
import pytest

from tiktok_following._cli import main
from tiktok_following.sandbox import Sandbox

COMMAND = (sys.executable, "-m", "tiktok_following")
NOTHING: Mapping[str, str] = MappingProxyType({})
UNCOLORED: Mapping[str, str] = MappingProxyType({"FORCE_COLOR": ""})


@attrs.frozen
class Result:
    """What a command left."""

    code: int
    out: str
    err: str


class _Stream(io.TextIOWrapper):
    """A standard stream that may say it is a terminal."""

    def __init__(self, *, is_terminal: bool, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def run(
    *arguments: str,
    terminal: bool = False,
    encoding: str = "utf-8",
    settings: Mapping[str, str] = UNCOLORED,
) -> Result:
    """Run a command in this process; `terminal` is what its standard output says it is."""
    stdout = _Stream(is_terminal=terminal, encoding=encoding)
    stderr = _Stream(is_terminal=False, encoding="utf-8")
    code = run_on(stdout, stderr, *arguments, settings=settings)
    return Result(code, stdout.text(), stderr.text())


def run_on(
    stdout: TextIO | None,
    stderr: TextIO | None,
    *arguments: str,
    settings: Mapping[str, str] = UNCOLORED,
) -> int:
    """Run a command in this process on these streams, and return its exit code."""
    with (
        mock.patch.object(sys, "argv", ["tiktok-following", *arguments]),
        mock.patch.dict(os.environ, settings),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as ending,
    ):
        main()
    code = ending.value.code
    assert isinstance(code, int)
    return code


def make_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a process: this one's without a key, and these settings."""
    dropped = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING", "PYTHONUTF8", "TERM"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith(("SOCIALFETCH_", "COV_", "COVERAGE"))
    }
    return {**kept, **settings}


def point_to(server: Sandbox) -> dict[str, str]:
    """Give the settings by which a command uses this sandbox."""
    return {"SOCIALFETCH_API_KEY": server.api_key, "SOCIALFETCH_BASE_URL": server.base_url}


def run_process(
    *arguments: str,
    settings: Mapping[str, str] = NOTHING,
    stdin: int | None = None,
    before: tuple[str, ...] = (),
) -> Result:
    """Run a command as a process, by the program in `before` if that is given."""
    ended = subprocess.run(
        [*before, *COMMAND, *arguments],
        env=make_environment(settings),
        stdin=stdin,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return Result(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@contextlib.contextmanager
def start_process(
    *arguments: str,
    settings: Mapping[str, str] = NOTHING,
    stdin: int | None = None,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    before: tuple[str, ...] = (),
) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process, and see to it that it is gone at the end."""
    process = subprocess.Popen(
        [*before, *COMMAND, *arguments],
        env=make_environment(settings),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
    )
    timer = threading.Timer(20, process.kill)
    timer.start()
    try:
        with process:
            yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait()
