"""Time how long importing this package takes, against the five libraries that it stands on.

Run it as ``python benchmarks/importing.py``. Each import is that of a fresh interpreter, in turns;
an interpreter that imports nothing is taken off both sides.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 31
LIBRARIES = "import aiohttp, attrs, cattrs, orjson, tenacity"
CLIENT = "from tiktok_following import FollowingClient"
SIDES = ["pass", LIBRARIES, CLIENT, "import tiktok_following"]
ABSENT = ("typer", "rich", "sqlite3", "pyarrow", "tiktok_following.sandbox")
LIST_ABSENT = f"import sys; {CLIENT}; print(*[m for m in {ABSENT} if m in sys.modules])"


def time_once(code: str) -> float:
    """Return the milliseconds that an interpreter takes for some code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Print the times, their ratio, and what is imported that should not be."""
    for code in SIDES:
        time_once(code)  # compiles what is not compiled yet
    rounds = [[time_once(code) for code in SIDES] for _ in range(ROUNDS)]
    sides = zip(*rounds, strict=True)
    nothing, libraries, client, names = (statistics.median(taken) for taken in sides)
    ratios = [(ours - none) / (theirs - none) for none, theirs, ours, _ in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"the five libraries: {libraries - nothing:.0f} ms")
    print(f"{CLIENT}: {client - nothing:.0f} ms")
    print(f"import tiktok_following, whose names load when used: {names - nothing:.0f} ms")
    print(f"the client to the libraries: {middle:.3f}, half of them {low:.3f} … {high:.3f}")
    command = [sys.executable, "-c", LIST_ABSENT]
    imported = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"imported though for others: {imported or 'nothing'}")


if __name__ == "__main__":
    main()
