"""Stores on the disk, filled with the lists of some handles."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bodies import read_body

from tiktok_following import Usage
from tiktok_following._session import open_store

ORIGIN = "https://api.test"


def fill_store(path: Path, lists: dict[str, list[bytes]], **options: Any) -> None:
    """Write the bodies of each handle's pages, all lists complete, in a run that ends well."""
    asyncio.run(_fill(path, lists, **options))


async def _fill(path: Path, lists: dict[str, list[bytes]], **options: Any) -> None:
    given = {"origin": ORIGIN, "trim": False, "concurrency": 4, **options}
    session = open_store(path, **given)
    for handle, bodies in lists.items():
        (lookup,) = await session.claim([handle])
        assert lookup is not None
        for body in bodies:
            page = read_body(body, handle)
            await session.commit_page(
                lookup.index, page, body, state="complete", next_cursor=page.next_cursor
            )
    await session.finish(
        stopped_by=None, usage=Usage(credits_charged=sum(map(len, lists.values())))
    )
    await session.close()


def change(path: Path, sql: str) -> None:
    """Change a store with nothing but SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def repeat_pages(path: Path, times: int) -> None:
    """Make every list so many times as long, of the same pages."""
    change(
        path,
        f"""
        WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies
        WHERE n < {times - 1})
        INSERT INTO pages SELECT lookup_id, number + 1000000 * n, cursor, next_cursor, status,
        accounts, credits, request_id, fetched_at, run_id, body FROM pages JOIN copies;
        UPDATE lookups SET (pages, accounts) = (
            SELECT count(*), sum(accounts) FROM pages WHERE lookup_id = lookups.id
        );
        """,
    )
