"""Count the instructions of a page, where noise has no say: ours, bare aiohttp's, the parse alone.

Run it as ``python benchmarks/instructions.py``; it needs valgrind, and takes two minutes. Each
side runs in a process of its own under valgrind, once for few pages and once for more, and what is
told is the difference. Two runs differ by less than a hundredth. Caches are not counted: what is
far from the processor's takes longer than here.
"""

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
from contenders import Target
from others import OTHERS
from ours import OURS
from serving import serve

from tiktok_following import FollowingPage, _landings, _turns

CONCURRENCY = 64
FEW, MORE = 256, 1024
WARM_UP = 200
ASKED = {"handle": "nasa", "cursor": None}
PARSED = ("orjson.loads", "and a typed page")
READ = ("bare aiohttp + orjson", "following_page", "following_many")
VALGRIND = "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null"


def parse(name: str, body: bytes, pages: int) -> None:
    """Do what needs no network so many times."""
    for _ in range(pages):
        data = orjson.loads(body)
        if name == PARSED[1]:
            FollowingPage.from_dict(data | ASKED)


async def read(name: str, target: Target, pages: int) -> None:
    """Read so many pages."""
    _turns.EACH_SECOND = 0.0  # valgrind's passes of the loop take long, and not for their work
    _landings.HOLD *= 50
    (side,) = [side for side in (*OTHERS, *OURS) if side.name == name]
    async with side.open(target) as read_pages:
        await read_pages(WARM_UP)
        gc.collect()
        gc.freeze()
        await read_pages(pages)


def count_once(name: str, url: str, folder: Path, pages: int) -> int:
    """Count what a process does that is there for one side alone."""
    command = [*VALGRIND.split(), sys.executable, __file__, "--side", name, url, str(folder)]
    done = subprocess.run(
        [*command, str(pages)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1].replace(",", ""))


def count(name: str, url: str, folder: Path) -> float:
    """Count the instructions of one page."""
    few, more = (count_once(name, url, folder, pages) for pages in (FEW, MORE))
    return (more - few) / (MORE - FEW)


def main() -> None:
    """Print one table, or be one of its sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)
    if given := parser.parse_args().side:
        name, url, folder, pages = given[0], given[1], Path(given[2]), int(given[3])
        if name in PARSED:
            parse(name, (folder / "pages" / "one.json").read_bytes(), pages)
        else:
            asyncio.run(read(name, Target(url, CONCURRENCY, folder), pages))
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as served:
        counted = {side: count(side, served.url, Path(name)) for side in (*PARSED, *READ)}
    bare = counted[READ[0]]
    print(f"thousands of instructions a page, {CONCURRENCY} in flight{'':8}bare aiohttp ÷ it")
    for side, instructions in counted.items():
        ratio = f"{bare / instructions:.2f}" if side in READ else ""
        print(f"{side:36}{instructions / 1000:>10,.0f}{ratio:>20}")


if __name__ == "__main__":
    main()
