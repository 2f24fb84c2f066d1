"""Time what it costs to make a typed page of JSON, and weigh what is then held.

Run it as ``python benchmarks/structuring.py``. The yardstick is `orjson.loads` of the same bytes.
Machines are shared and noisy, so the sides take turns in one process, and the ratio of their
medians is what counts. Stock cattrs reads the rows alone, without type checks or unknown keys.
"""

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from tiktok_following import Account, AccountMetrics, FollowingPage
from tiktok_following._fields import parse_time
from tiktok_following.sandbox import Sandbox

ROUNDS = 41
PAGES_A_ROUND = 50
PAGES_HELD = 100
ROWS = 30
REQUIRED = ("handle", "displayName", "bio", "avatarUrl", "profileUrl", "verified", "metrics")
REST_OF_AN_ADDRESS = "&refresh_token=9a2d8e3f&t=4d5b0474&ps=13740610&shp=a5d48078&idc=maliva" * 2

Row = dict[str, Any]
Call = Callable[[], object]


def lengthen(row: Row) -> Row:
    """Give a row addresses as long as TikTok signs them, one more of them in its details."""
    address = (row["avatarUrl"] or "https://p16-sign.avatars.example/") + REST_OF_AN_ADDRESS
    details = {**row.get("details", {}), "avatarLarger": address}
    return {**row, "avatarUrl": address, "details": details}


def add_unknown(row: Row) -> Row:
    """Put keys into a row that no version knows."""
    return {**row, "badge": None, "metrics": {**row["metrics"], "likes": 7}}


def trim(row: Row) -> Row:
    """Leave what is left with ``trim=true``."""
    return {key: row[key] for key in REQUIRED}


def make_pages() -> dict[str, bytes]:
    """Make the bodies, all of the same accounts."""
    served = Sandbox().profile("nasa").accounts[:ROWS]
    full = [lengthen(row) for row in served]
    return {
        "full": make_body(full),
        "as the sandbox serves it": make_body(served),
        "trimmed": make_body([trim(row) for row in full]),
        "with unknown keys": make_body([add_unknown(row) for row in full]),
    }


def make_body(rows: list[Row]) -> bytes:
    """Make the body of a page, with what was asked for."""
    page = {"nextCursor": "1742744536", "hasMore": True}
    data = {"lookupStatus": "found", "accounts": rows, "page": page, "totalAccounts": 95}
    meta = {"requestId": "req_benchmark_1", "creditsCharged": 1, "version": "v1"}
    return orjson.dumps({"data": data, "meta": meta, "handle": "nasa", "cursor": None})


def make_stock() -> Converter:
    """Make the converter that a user of cattrs would: names and dates, and no more."""
    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(datetime, lambda value, _: parse_time(value))
    for cls in (AccountMetrics, Account):
        names: dict[str, Any] = {
            field.name: override(omit=True)
            if field.name == "extra"
            else override(rename=field.metadata["path"][0])
            for field in attrs.fields(cls)
        }
        hook = make_dict_structure_fn(cls, converter, **names)
        converter.register_structure_hook(cls, hook)
    return converter


def time_once(call: Call) -> float:
    """Return the microseconds of one call, by the processor's clock."""
    started = time.process_time()
    for _ in range(PAGES_A_ROUND):
        call()
    return (time.process_time() - started) / PAGES_A_ROUND * 1e6


def weigh(make: Call) -> float:
    """Return the bytes that stay held for an account, when pages of them are kept."""
    make()  # what is made once and shared by all pages is no page's weight
    gc.collect()
    tracemalloc.start()
    held = [make() for _ in range(PAGES_HELD)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(held) / ROWS


def compare(raw: bytes, stock: Converter) -> list[str]:
    """Return the cells of one line: times, ratios to the yardstick, and weights."""
    body = orjson.loads(raw)
    rows = body["data"]["accounts"]
    page = FollowingPage.from_dict(body)
    calls: list[Call] = [
        lambda: orjson.loads(raw),
        lambda: FollowingPage.from_dict(body),
        lambda: stock.structure(rows, list[Account]),
        page.to_dict,
    ]
    rounds = [[time_once(call) for call in calls] for _ in range(ROUNDS)]
    parse, ours, plain, back = (statistics.median(taken) for taken in zip(*rounds, strict=True))
    dicts = weigh(lambda: orjson.loads(raw))
    typed = weigh(lambda: FollowingPage.from_dict(orjson.loads(raw)))
    times = [f"{parse:.1f}", f"{ours:.1f}"]
    ratios = [f"{taken / parse:.2f}" for taken in (ours, plain, back)]
    return [f"{len(raw):,}", *times, *ratios, f"{dicts:,.0f}", f"{typed:,.0f}"]


def main() -> None:
    """Print one table."""
    stock = make_stock()
    names = ["bytes", "parse µs", "read µs", "ratio", "cattrs", "to_dict", "dicts", "typed"]
    print(f"pages of {ROWS} accounts; medians of {ROUNDS} rounds, as ratios to orjson.loads;")
    print("dicts and typed are the bytes held per account")
    print(f"{'':26}" + "".join(f"{name:>10}" for name in names))
    for name, raw in make_pages().items():
        print(f"{name:26}" + "".join(f"{cell:>10}" for cell in compare(raw, stock)))


if __name__ == "__main__":
    main()
