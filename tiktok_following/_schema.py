"""The tables of a store: what the file is for anybody with an SQLite shell.

The law: every statement that makes or changes what a store is made of stands here, and a file that
is something else is never touched.

========  ====================================================================================
meta      what is fixed at the file's birth: created_at, origin, trim (0 or 1), package_version
runs      one row per run; one without ended_at is under way or, with stopped_by 'crash', died
lookups   one row per handle, in the order given, and how far it has come
pages     one row per page bought, its body as the API sent it
accounts  a view: one row per account per page, its columns drawn from the bodies
edges     a view: who follows whom, each pair once
========  ====================================================================================

Times are ISO-8601 text in UTC, truth is 0 or 1, a handle's `key` is its lower-case form.
"""

import sqlite3
from datetime import UTC, datetime
from typing import get_args

from ._fields import format_time
from ._status import LookupState
from ._store_errors import StoreError, StoreMismatchError, StoreVersionError

APPLICATION_ID = 0x54466F6C  # "TFol"; shown by the command `file`
VERSION = 1
PAGE_SIZE = 8192
"""Bytes of a page of the file; bodies of 28 KB cost a fifth less time than with SQLite's 4096."""
STATES = get_args(LookupState)

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    stopped_by TEXT,
    concurrency INTEGER NOT NULL,
    risk_per_lookup INTEGER NOT NULL,
    credits_charged INTEGER NOT NULL DEFAULT 0,
    credits_at_risk INTEGER NOT NULL DEFAULT 0,
    options TEXT NOT NULL
);

CREATE TABLE lookups (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    handle TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'complete', 'limited', 'failed')),
    status TEXT,
    total INTEGER,
    pages INTEGER NOT NULL DEFAULT 0,
    accounts INTEGER NOT NULL DEFAULT 0,
    credits_charged INTEGER NOT NULL DEFAULT 0,
    credits_at_risk INTEGER NOT NULL DEFAULT 0,
    next_cursor TEXT,
    error TEXT,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    updated_at TEXT NOT NULL
);

CREATE TABLE pages (
    lookup_id INTEGER NOT NULL REFERENCES lookups (id),
    number INTEGER NOT NULL,
    cursor TEXT,
    next_cursor TEXT,
    status TEXT NOT NULL,
    accounts INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    fetched_at TEXT NOT NULL,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    body TEXT NOT NULL,
    PRIMARY KEY (lookup_id, number)
);

CREATE VIEW accounts AS
SELECT
    lookups.handle AS source_handle,
    pages.number AS page,
    account.key AS row,
    json_extract(account.value, '$.handle') AS handle,
    json_extract(account.value, '$.displayName') AS display_name,
    json_extract(account.value, '$.bio') AS bio,
    json_extract(account.value, '$.profileUrl') AS profile_url,
    json_extract(account.value, '$.avatarUrl') AS avatar_url,
    json_extract(account.value, '$.verified') AS verified,
    json_extract(account.value, '$.privateAccount') AS private_account,
    json_extract(account.value, '$.metrics.followers') AS followers,
    json_extract(account.value, '$.metrics.following') AS following,
    json_extract(account.value, '$.metrics.posts') AS posts,
    json_extract(account.value, '$.platformUserId') AS platform_user_id,
    json_extract(account.value, '$.secUid') AS sec_uid,
    json_extract(account.value, '$.region') AS region,
    json_extract(account.value, '$.language') AS language,
    json_extract(account.value, '$.accountCreatedAt') AS created_at,
    account.value AS json
FROM lookups
JOIN pages ON pages.lookup_id = lookups.id
JOIN json_each(pages.body, '$.data.accounts') AS account;

CREATE VIEW edges AS
SELECT DISTINCT source_handle, handle AS target_handle FROM accounts;
"""


def format_now() -> str:
    """Write the time it is as the store does."""
    return format_time(datetime.now(UTC))


def check_store(connection: sqlite3.Connection, path: str) -> bool:
    """Tell whether the file is a store already; `False` for one that holds nothing at all.

    Raises:
        StoreMismatchError: It is not an SQLite file, or that of another program.
        StoreVersionError: A newer version made it.
        StoreError: It cannot be read.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (entries,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise _make_foreign_error(path) from error
        raise StoreError(f"the store cannot be read: {error}", path=path) from error
    if application != APPLICATION_ID:
        if application or version or entries:
            raise _make_foreign_error(path)
        return False
    if version > VERSION:
        text = f"a newer version made this store: it has schema {version}, this one reads {VERSION}"
        raise StoreVersionError(f"{text}; update tiktok-following", path=path)
    return True


def _make_foreign_error(path: str) -> StoreMismatchError:
    return StoreMismatchError("the file is not a store of tiktok-following", path=path)


def create_store(connection: sqlite3.Connection, meta: dict[str, str | bool]) -> None:
    """Make a store of an empty file, all of it or nothing."""
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA.split(";\n"):
        connection.execute(statement)
    rows = {**meta, "created_at": format_now()}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def check_fixed(connection: sqlite3.Connection, path: str, wanted: dict[str, str | bool]) -> None:
    """Check what was fixed at the file's birth.

    Raises:
        StoreMismatchError: A value is another one.
    """
    found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    for key, value in wanted.items():
        if found.get(key) != value:
            was = bool(found.get(key)) if isinstance(value, bool) else found.get(key)
            text = f"the store was made with {key}={was!r}, this run has {key}={value!r}"
            raise StoreMismatchError(f"{text}; use another file", path=path)
