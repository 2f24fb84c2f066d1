"""What the ways into the command line promise."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import COMMAND, make_environment, run, run_process

import tiktok_following
from tiktok_following._cli import _app, main

MAIN = str(Path(tiktok_following.__file__).with_name("__main__.py"))


def test_python_m_runs_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tiktok-following", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(MAIN, run_name="__main__")


def test_importing_the_main_module_runs_nothing() -> None:
    assert "main" in runpy.run_path(MAIN, run_name="tiktok_following.__main__")


def test_the_version_is_shown() -> None:
    assert run("--version").out == f"tiktok-following {tiktok_following.__version__}\n"


def test_help_names_every_command_and_exit_code() -> None:
    result = run("--help")
    assert result.code == 0
    for word in ("list", "balance", "whoami", "doctor", "sandbox", "SOCIALFETCH_API_KEY", "130"):
        assert word in result.out


def test_there_is_no_option_for_the_key() -> None:
    for command in ("list", "balance", "whoami", "doctor"):
        assert "-key" not in run(command, "--help").out


def test_no_command_shows_the_help_and_is_a_usage_error() -> None:
    result = run()
    assert result.code == 2
    assert "Usage" in result.out + result.err


def test_an_unknown_option_is_a_usage_error() -> None:
    result = run("list", "nasa", "--api-key", "sfk_1")
    assert result.code == 2
    assert "No such option" in result.err


def test_an_argument_that_could_act_on_the_terminal_is_refused_and_shown_escaped() -> None:
    result = run("list", "--\x1b[31m")
    assert result.code == 2
    assert "\\x1b[31m" in result.err
    assert "\x1b" not in result.err


def test_version_and_help_are_quick_because_they_import_no_server() -> None:
    program = (
        "import sys\n"
        "from tiktok_following._cli import main\n"
        "early = [name for name in ('typer', 'rich') if name in sys.modules]\n"
        "sys.argv = ['tiktok-following', sys.argv[1]]\n"
        "try:\n    main()\nfinally:\n"
        "    late = {'aiohttp.web', 'tiktok_following.sandbox'} & set(sys.modules)\n"
        "    assert not early and not late, (early, late)\n"
    )
    for option in ("--version", "--help"):
        subprocess.run(
            [sys.executable, "-c", program, option],
            env=make_environment({}),
            stdout=subprocess.DEVNULL,
            timeout=20,
            check=True,
        )


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_the_extra_one_line_says_how_to_install_it(module: str) -> None:
    program = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from tiktok_following._cli import main; main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=make_environment({}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert 'pip install "tiktok-following[cli]"' in ended.stderr


def test_a_missing_extra_is_told_in_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tiktok_following._cli._app")
    monkeypatch.setitem(sys.modules, "typer", None)
    result = run("--version")
    assert result.code == 2
    assert "pip install" in result.err


def test_another_missing_module_is_not_mistaken_for_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tiktok_following._cli._app", None)
    with pytest.raises(ModuleNotFoundError, match="_app"):
        main()


def test_ctrl_c_before_a_command_runs_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_app, "run_app", interrupt)
    assert run("--version").code == 130


def test_a_full_disk_is_one_line_for_typers_own_output_too() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            [*COMMAND, "--version"],
            env=make_environment({}),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == b"cannot write: No space left on device\n"


def test_the_sandbox_needs_neither_key_nor_settings() -> None:
    result = run_process("list", "--sandbox", "nasa")
    assert result.code == 0
    assert len(result.out.splitlines()) == 96
    assert result.err.startswith("1 handle, 95 accounts, 4 pages, 4 credits charged")
