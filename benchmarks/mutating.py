"""Break the code everywhere, a little at a time, and count what the tests do not notice.

Run it as ``python benchmarks/mutating.py _limits _retry``; without names it takes hours. It needs
``pip install mutmut``. Each file is broken in a copy of the tree, and only the tests that are meant
for it run. mutmut leaves alone what is decorated, and what stands outside of functions.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = {
    "_limits": ["test_limits"],
    "_retry": ["test_retry_table", "test_retries"],
    "_pagination": ["test_pager"],
    "_wire": ["test_wire"],
    "_throttle": ["test_throttle"],
    "_store": ["test_store", "test_resume"],
}
"""The files that are broken, and the tests that should notice."""
SETTINGS = """
[tool.mutmut]
source_paths = ["tiktok_following"]
only_mutate = ["tiktok_following/{name}.py"]
also_copy = ["tiktok_following", "README.md", "LICENSE", "CHANGELOG.md"]
timeout_multiplier = 6.0
pytest_add_cli_args = ["--no-cov", "-p", "no:cacheprovider", "-q"]
pytest_add_cli_args_test_selection = {tests}
"""


def mutate(name: str, folder: Path) -> None:
    """Break one file in every way, and print the counts and what survived."""
    found = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for path in found.splitlines():
        copy = folder / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / path).read_bytes())
    tests = json.dumps([f"tests/{test}.py" for test in TESTS[name]])
    with (folder / "pyproject.toml").open("a") as settings:
        settings.write(SETTINGS.format(name=name, tests=tests))
    run(folder, "run", "--max-children", "1")
    run(folder, "export-cicd-stats")
    counts = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())
    print(f"{name}: {counts['total']} made, {counts['killed']} killed", flush=True)
    for line in run(folder, "results").splitlines():
        mutant, _, end = line.strip().partition(": ")
        changes = run(folder, "show", mutant).splitlines()
        shown = [row for row in changes if row[:1] in "+-" and row[:3] not in {"+++", "---"}]
        print("", f"{end}: {mutant}", *shown, sep="\n", flush=True)


def run(folder: Path, *arguments: str) -> str:
    """Run mutmut there, and give what it says."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def main() -> None:
    """Take the files named, or all, one after the other."""
    for name in sys.argv[1:] or TESTS:
        with tempfile.TemporaryDirectory() as folder:
            mutate(name, Path(folder))


if __name__ == "__main__":
    main()
