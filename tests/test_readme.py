"""Every Python passage of the README runs, against the sandbox, and prints what the README says."""

import ast
import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

import tiktok_following
from tiktok_following import FollowingClient
from tiktok_following.sandbox import Sandbox

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
PROGRAMS = [text for text in PYTHON if "asyncio.run(" in text]
TESTS = [text for text in PYTHON if "def test_" in text]
SNIPPETS = [text for text in PYTHON if text not in PROGRAMS + TESTS]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        monkeypatch.setenv("SOCIALFETCH_API_KEY", running.api_key)
        monkeypatch.setenv("SOCIALFETCH_BASE_URL", running.base_url)
        yield running


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    logger = logging.getLogger("tiktok_following")
    yield
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


def test_the_readme_has_something_of_each_kind() -> None:
    assert (len(PROGRAMS), len(TESTS)) == (1, 1)
    assert len(SNIPPETS) >= 4


def test_the_program_prints_what_the_readme_says(api: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0]], capture_output=True, text=True, check=True
    )
    printed = next(text for language, text in BLOCKS if language == "text")
    assert done.stdout == printed
    assert done.stderr == ""
    assert api.credits_charged == 5


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_a_passage_runs(
    api: Sandbox, snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = compile(snippet, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    async with FollowingClient() as client:
        names: dict[str, Any] = {"client": client}
        if "following.db" in snippet and "following_many" not in snippet:
            async with client.following_many(["nasa"], store="following.db") as run:
                assert [outcome.complete async for outcome in run] == [True]
        running = FunctionType(code, names)()
        if running is not None:  # a passage that awaits something
            await asyncio.wait_for(running, 30)
    assert names.get("sandbox", api).requests


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "py"])
def test_a_recipe_for_what_is_not_installed_here_is_python_and_names_what_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "tiktok_following":
            assert {alias.name for alias in node.names} <= set(tiktok_following.__all__)


def test_the_tests_of_the_readme_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS[0])
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "addopts=")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+Error)`", README)) - {"ValueError"}))
def test_every_error_the_readme_names_exists(name: str) -> None:
    assert issubclass(getattr(tiktok_following, name), tiktok_following.FollowingError)
