"""A store's accounts, or who follows whom, as a file for other programs.

The law: the file appears whole or not at all, its size costs no memory, and JSONL and Parquet hold
what the API served. The only file that imports pyarrow.
"""

import os
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import partial
from importlib import import_module
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ._columns import (
    ACCOUNT_COLUMNS,
    EDGE_COLUMNS,
    Column,
    Row,
    format_records,
    make_row,
    write_cells,
)
from ._errors import ConfigurationError
from ._fields import JsonObject
from ._json import write_line
from ._models import Account
from ._store import FollowingStore
from ._store_errors import ExportError

_ROWS_AT_ONCE = 1000
_ROW_GROUP = 32 * 2**20
"""Bytes of a row group in memory: some 50,000 accounts, or 1,000,000 edges."""
_DATABASE = b"SQLite format 3\0"


def export(
    store: FollowingStore | str | PathLike[str],
    path: str | PathLike[str],
    *,
    edges: bool = False,
    raw_csv: bool = False,
    overwrite: bool = False,
) -> int:
    """Write all accounts of a store to a file, one row each, in constant memory.

    The file is written beside its place and put there at the end, so nobody ever sees half of it.
    A run may write to the store meanwhile. On an event loop call it with `asyncio.to_thread`.

    Args:
        store: The store, or its file.
        path: What to write. Its name says how: ``.jsonl`` has every field in the API's own names,
            ``.csv`` fixed columns, ``.parquet`` the same ones with their types (extra ``parquet``).
        edges: Write who follows whom instead, each pair once.
        raw_csv: Leave out the apostrophe that stands before what a spreadsheet would take for a
            formula.
        overwrite: Replace a file that exists. A database never is.

    Returns:
        How many rows it has.

    Raises:
        ConfigurationError: The name says no format, or pyarrow is not installed.
        ExportError: The file exists, or cannot be written; nothing of it is left.
        StoreError: The store cannot be read.
    """
    steps = iter_export(store, path, edges=edges, raw_csv=raw_csv, overwrite=overwrite)
    with closing(steps):
        return max(steps, default=0)


def iter_export(
    store: FollowingStore | str | PathLike[str],
    path: str | PathLike[str],
    *,
    edges: bool,
    raw_csv: bool,
    overwrite: bool,
) -> Generator[int]:
    """Export step by step, and give how many rows are written each time.

    Whoever stops before the end must close it, and nothing is left. Raises as `export`.
    """
    name = fspath(path)
    table = _EDGES if edges else _ACCOUNTS
    with ExitStack() as opened:
        write = _choose_format(name, raw_csv=raw_csv)
        if not isinstance(store, FollowingStore):
            store = opened.enter_context(FollowingStore(store))
        file = opened.enter_context(_put_in_place(name, overwrite=overwrite))
        written = 0
        try:
            for rows in opened.enter_context(closing(write(file, table, store))):
                written += rows
                yield written
        except OverflowError as error:
            text = "a count is too large for Parquet; JSONL and CSV hold it"
            raise ExportError(text, path=name) from error


# What rows hold


@attrs.frozen
class _Table:
    columns: tuple[Column, ...]
    iter_rows: Callable[[FollowingStore], Iterator[Row]]
    iter_objects: Callable[[FollowingStore], Iterator[JsonObject]]


def _iter_accounts(store: FollowingStore) -> Iterator[tuple[str, int, int, Account]]:
    """Iterate over the accounts with their place: source handle, page from 1, row from 0."""
    source, number = "", 0
    for page in store.pages():
        number = number + 1 if page.handle == source else 1
        source = page.handle
        for row, account in enumerate(page.accounts):
            yield source, number, row, account


def _iter_account_rows(store: FollowingStore) -> Iterator[Row]:
    for source, page, row, account in _iter_accounts(store):
        yield (*make_row(source, account), page, row)


def _iter_account_objects(store: FollowingStore) -> Iterator[JsonObject]:
    for source, page, row, account in _iter_accounts(store):
        yield {"source_handle": source, "page": page, "row": row, **account.to_dict()}


def _iter_edge_objects(store: FollowingStore) -> Iterator[JsonObject]:
    for source, target in store.edges():
        yield {"source_handle": source, "target_handle": target}


_ACCOUNTS = _Table(
    (*ACCOUNT_COLUMNS, Column("page", int), Column("row", int)),
    _iter_account_rows,
    _iter_account_objects,
)
_EDGES = _Table(EDGE_COLUMNS, FollowingStore.edges, _iter_edge_objects)


# How they are written

_Write = Callable[[BinaryIO, _Table, FollowingStore], Generator[int]]
"""Writes all rows, and gives how many at a time."""


def _choose_format(name: str, *, raw_csv: bool) -> _Write:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - its errors are told later
    if suffix == ".jsonl":
        return _write_jsonl
    if suffix == ".csv":
        return partial(_write_csv, raw=raw_csv)
    if suffix == ".parquet":
        return partial(_write_parquet, *_import_pyarrow())
    text = f"cannot tell the format of {name!r}: the name must end in .jsonl, .csv or .parquet"
    raise ConfigurationError(text)


def _gather(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        yield some


def _write_jsonl(file: BinaryIO, table: _Table, store: FollowingStore) -> Generator[int]:
    for some in _gather(table.iter_objects(store)):
        file.writelines(map(write_line, some))
        yield len(some)


def _write_csv(
    file: BinaryIO, table: _Table, store: FollowingStore, *, raw: bool
) -> Generator[int]:
    file.write(format_records([[column.name for column in table.columns]]).encode())
    for some in _gather(table.iter_rows(store)):
        file.write(format_records(write_cells(row, raw=raw) for row in some).encode())
        yield len(some)


def _write_parquet(
    arrow: Any, parquet: Any, file: BinaryIO, table: _Table, store: FollowingStore
) -> Generator[int]:
    schema = _make_schema(arrow, table)
    batches: list[Any] = []
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for some in _gather(table.iter_rows(store)):
            columns = zip(schema, zip(*some, strict=True), strict=True)
            arrays = [arrow.array(values, field.type) for field, values in columns]
            batches.append(arrow.record_batch(arrays, schema=schema))
            if sum(batch.nbytes for batch in batches) >= _ROW_GROUP:
                writer.write_table(arrow.Table.from_batches(batches))
                batches.clear()
            yield len(some)
        writer.write_table(arrow.Table.from_batches(batches, schema))


def _import_pyarrow() -> tuple[Any, Any]:
    """Import it by name, as it has no types."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        text = 'Parquet needs pyarrow: pip install "tiktok-following[parquet]"'
        raise ConfigurationError(text) from error


def _make_schema(arrow: Any, table: _Table) -> Any:
    kinds = {
        str: arrow.string(),
        int: arrow.int64(),
        bool: arrow.bool_(),
        datetime: arrow.timestamp("us", "UTC"),
    }
    return arrow.schema(
        [
            arrow.field(column.name, kinds[column.kind], nullable=column.is_nullable)
            for column in table.columns
        ]
    )


# Where they go


@contextmanager
def _put_in_place(name: str, *, overwrite: bool) -> Generator[BinaryIO]:
    """Open a file beside the one that is wanted; it takes its place if all went well."""
    target = _find_target(name)
    part = target.with_name(f".tiktok-following-{secrets.token_hex(8)}.part")
    try:
        _check_target(target, name, overwrite=overwrite)
        with ExitStack() as failed, part.open("xb") as file:
            failed.callback(part.unlink)
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            _check_target(target, name, overwrite=overwrite)
            part.replace(target)
            failed.pop_all()
    except OSError as error:
        text = f"the export cannot be written: {error.strerror}"
        raise ExportError(text, path=name) from error


def _find_target(name: str) -> Path:
    """Find the file that a name means: a link stays a link."""
    try:
        return Path(os.path.realpath(name))
    except (OSError, ValueError) as error:  # a NUL character
        raise ExportError(f"the path cannot be used: {error}", path=name) from error


def _check_target(target: Path, name: str, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise ExportError("the file exists already, which overwrite replaces", path=name)
    if not target.is_file():
        raise ExportError("the path is not that of a file", path=name)
    with target.open("rb") as file:
        if file.read(len(_DATABASE)) == _DATABASE:
            raise ExportError("the file is a database, and no export overwrites one", path=name)
