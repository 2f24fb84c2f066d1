"""A storm of cancellations leaves nothing behind: benchmarks/cancelling.py in small."""

import subprocess
import sys
from pathlib import Path

STORM = Path(__file__).parent.parent / "benchmarks" / "cancelling.py"


def test_a_storm_of_cancellations_leaves_nothing_behind() -> None:
    """In a process of its own: warnings are errors there, and asyncio tells all it notices."""
    command = [sys.executable, STORM, "--tasks", "250", "--seeds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reserved 0" in done.stdout
