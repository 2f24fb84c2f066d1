"""Time an export of a store in each format, and measure the memory it needs.

Run it as ``python benchmarks/exporting.py [PAGES]``. Each format has a process of its own, so that
its peak is its own too; the memory is told on Linux alone.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from tiktok_following import FollowingPage, export
from tiktok_following._session import open_store
from tiktok_following.sandbox import Sandbox

PAGES = 10_000
PAGES_A_HANDLE = 4
ROWS = 30


def make_bodies() -> list[bytes]:
    """Make the pages of a long list as the sandbox serves them."""
    rows = Sandbox().profile("large.profile").accounts
    place = {"nextCursor": "1742744536", "hasMore": True}
    meta = {"requestId": "req_benchmark_1", "creditsCharged": 1, "version": "v1"}
    return [
        orjson.dumps(
            {
                "data": {
                    "lookupStatus": "found",
                    "accounts": rows[start : start + ROWS],
                    "page": place,
                    "totalAccounts": len(rows),
                },
                "meta": meta,
            }
        )
        for start in range(0, len(rows), ROWS)
    ]


async def make_store(path: Path, pages: int) -> None:
    """Fill a store, a few pages a handle."""
    bodies = make_bodies()
    known = [
        FollowingPage.from_dict({**orjson.loads(body), "handle": "nasa", "cursor": None})
        for body in bodies
    ]
    session = open_store(path, origin="https://benchmark.test", trim=False, concurrency=500)
    for handle in range(pages // PAGES_A_HANDLE):
        (lookup,) = await session.claim([f"handle{handle}"])
        for number in range(PAGES_A_HANDLE if lookup else 0):
            which = (handle * PAGES_A_HANDLE + number) % len(bodies)
            await session.commit_page(
                handle, known[which], bodies[which], state="pending", next_cursor="1"
            )
    await session.close()


def read_peak() -> float:
    """Read the most MiB this process has held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def export_once(store: str, name: str) -> None:
    """Export and print one line of the table."""
    before = read_peak()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        started = time.perf_counter()
        rows = export(store, path, edges=name.startswith("edges"))
        seconds = time.perf_counter() - started
        size = path.stat().st_size
    print(
        f"{name:18}{rows:>10,}{rows / seconds:>12,.0f}{size / rows:>9.1f}"
        f"{read_peak() - before:>8.0f}"
    )


def main() -> None:
    """Print one table."""
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        asyncio.run(make_store(store, pages))
        print(f"a store of {pages:,} pages of {ROWS} accounts, {store.stat().st_size:,} bytes")
        print(f"{'':18}{'rows':>10}{'rows/s':>12}{'B/row':>9}{'MiB':>8}", flush=True)
        for what in ("accounts", "edges"):
            for suffix in (".jsonl", ".csv", ".parquet"):
                command = [sys.executable, __file__, str(store), what + suffix]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - a store and a name: it is the child
        export_once(sys.argv[1], sys.argv[2])
    else:
        main()
