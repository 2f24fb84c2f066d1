"""What type checkers know of the public API, with the checkers that the package itself passes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiktok_following

TYPED = Path(__file__).parent / "typed"
ROOT = Path(tiktok_following.__file__).parent.parent
SETTINGS = {
    "include": [str(TYPED)],
    "extraPaths": [str(ROOT)],
    "pythonVersion": "3.11",
    "typeCheckingMode": "strict",
    "enableTypeIgnoreComments": True,
    "reportUnnecessaryTypeIgnoreComment": True,
}
MYPY = ("mypy", "--strict", "--python-version=3.11", "--cache-dir=cache", str(TYPED))
BASEDPYRIGHT = ("basedpyright", "--project=settings.json", f"--pythonpath={sys.executable}")


@pytest.mark.parametrize("command", [MYPY, BASEDPYRIGHT], ids=lambda command: str(command[0]))
def test_a_checker_knows_what_users_get_and_objects_to_what_is_wrong(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """Each line of ``typed/mistakes.py`` must be an error: an ignore that is not needed is one."""
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith(("Success: no issues found in 2", "0 errors, 0 warnings"))
