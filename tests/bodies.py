"""Bodies of pages, as the API sends them, and the pages that they say."""

from typing import Any

import contract
import orjson

from tiktok_following import FollowingPage

EXAMPLES = contract.examples(contract.FOLLOWING_ROUTE, "200")


def make_body(
    handles: list[str] | None = None, next_cursor: str | None = "c1", **changes: Any
) -> bytes:
    """Make a found page of these accounts; `changes` go into ``data``."""
    row = EXAMPLES["first_page"]["data"]["accounts"][0]
    names = ["ada", "bob"] if handles is None else handles
    data = {
        **EXAMPLES["first_page"]["data"],
        "accounts": [{**row, "handle": name} for name in names],
        "page": {"nextCursor": next_cursor, "hasMore": next_cursor is not None},
        **changes,
    }
    return orjson.dumps({**EXAMPLES["first_page"], "data": data})


def read_body(body: bytes, handle: str = "nasa", cursor: str | None = None) -> FollowingPage:
    return FollowingPage.from_dict({**orjson.loads(body), "handle": handle, "cursor": cursor})
