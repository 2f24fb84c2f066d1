"""What the pytest plugin promises to other projects."""

import runpy
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tiktok_following import FollowingClient, pytest_plugin
from tiktok_following.sandbox import Sandbox, faults

pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


# Loaded by its module name, whether the package with its entry point is installed or not.
PLUGIN = ("-p", "no:tiktok_following", "-p", "tiktok_following.pytest_plugin")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of somebody else that has the plugin and nothing more of ours."""
    pytester.makefile(".ini", pytest=INI)
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *options)


def test_sync_and_async_tests_get_the_sandbox(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import urllib.request

        def test_sync(following_sandbox):
            with urllib.request.urlopen(following_sandbox.base_url + "/health") as response:
                assert response.status == 200
            assert following_sandbox.requests_received == 1

        async def test_async(following_client, following_sandbox):
            async with following_client() as client:
                assert (await client.balance()).balance == following_sandbox.credits_left
    """)
    run(project).assert_outcomes(passed=2)


def test_every_test_gets_a_fresh_sandbox(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.parametrize("turn", range(2))
        def test_fresh(following_sandbox, turn):
            assert following_sandbox.credits_left == 1_000_000
            following_sandbox.credits_left = 1
    """)
    run(project).assert_outcomes(passed=2)


def test_a_failing_test_closes_its_sandbox(project: pytest.Pytester) -> None:
    before = threading.active_count()
    project.makepyfile("""
        def test_fails(following_sandbox):
            assert following_sandbox.credits_left == 0
    """)
    run(project).assert_outcomes(failed=1)
    assert threading.active_count() == before


def test_the_fixtures_are_described(project: pytest.Pytester) -> None:
    result = run(project, "--fixtures")
    result.stdout.fnmatch_lines(["following_sandbox*", "following_client*"])


def test_the_sandbox_answers_on_a_thread_of_its_own(following_sandbox: Sandbox) -> None:
    following_sandbox.script(faults.html(200), route="health")
    with urllib.request.urlopen(f"{following_sandbox.base_url}/health") as response:
        assert response.read().startswith(b"<!doctype html>")
    assert following_sandbox.requests[0].status == 200


async def test_a_client_is_pointed_at_the_sandbox(
    following_client: Callable[..., FollowingClient], following_sandbox: Sandbox
) -> None:
    async with following_client() as client:
        page = await client.following_page("nasa")
    assert len(page.accounts) == 30
    assert following_sandbox.credits_charged == 1


async def test_a_client_takes_every_option(
    following_client: Callable[..., FollowingClient], following_sandbox: Sandbox
) -> None:
    following_sandbox.add_key("sfk_second_key_0002", 5)
    async with following_client(api_key="sfk_second_key_0002", max_credits=3) as client:
        assert (await client.balance()).balance == 5


def test_loading_the_plugin_imports_neither_client_nor_sandbox() -> None:
    # The file itself is run, because its package may be imported by any test before this one.
    path = Path(pytest_plugin.__file__)
    assert not {"Sandbox", "FollowingClient"} & set(runpy.run_path(str(path)))
    program = (
        "import runpy, sys, pytest; before = set(sys.modules);"
        f"runpy.run_path({str(path)!r});"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "sys.exit(', '.join(new - set(sys.stdlib_module_names)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
