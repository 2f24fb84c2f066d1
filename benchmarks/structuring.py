"""Time what it costs to make a typed page of JSON, against parsing the same bytes with orjson.

Run it as ``python benchmarks/structuring.py``. Machines are shared and noisy, so the sides take
turns in one process, and the ratio of their medians is what counts.
"""

import statistics
import time
from collections.abc import Callable

import orjson

from tiktok_following import FollowingPage
from tiktok_following.sandbox import Sandbox

ROUNDS = 31
PAGES_A_ROUND = 100
ROWS = 30


def make_body() -> bytes:
    """Make a page of accounts as the sandbox serves them."""
    rows = Sandbox().profile("nasa").accounts[:ROWS]
    page = {"nextCursor": "1742744536", "hasMore": True}
    data = {"lookupStatus": "found", "accounts": rows, "page": page, "totalAccounts": 95}
    meta = {"requestId": "req_benchmark_1", "creditsCharged": 1, "version": "v1"}
    return orjson.dumps({"data": data, "meta": meta, "handle": "nasa", "cursor": None})


def time_once(call: Callable[[], object]) -> float:
    """Return the microseconds of one call, by the processor's clock."""
    started = time.process_time()
    for _ in range(PAGES_A_ROUND):
        call()
    return (time.process_time() - started) / PAGES_A_ROUND * 1e6


def main() -> None:
    """Print one table."""
    raw = make_body()
    body = orjson.loads(raw)
    page = FollowingPage.from_dict(body)
    contenders: dict[str, Callable[[], object]] = {
        "orjson.loads, the yardstick": lambda: orjson.loads(raw),
        "structure a page": lambda: FollowingPage.from_dict(body),
        "write it back (to_dict)": page.to_dict,
    }
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            taken[name].append(time_once(call))
    yardstick = statistics.median(taken["orjson.loads, the yardstick"])
    print(f"a page of {ROWS} accounts, {len(raw):,} bytes; medians of {ROUNDS} rounds")
    print(f"{'':30}{'µs':>8}{'ratio':>8}")
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:30}{median:8.1f}{median / yardstick:8.2f}")


if __name__ == "__main__":
    main()
