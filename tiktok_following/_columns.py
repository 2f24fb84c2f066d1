"""Accounts as rows with columns, and rows as lines of CSV.

The law: names, kinds and what may be missing are those of the model, and no cell of a CSV file can
be taken for a formula unless that is asked for.
"""

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, get_args

import attrs

from ._fields import format_time, read_fields
from ._models import Account, AccountMetrics

Row = tuple[Any, ...]
"""The values of a row, in the order of its columns."""

_FORMULA_SIGNS = frozenset("=+-@＝＋－＠﹢﹣﹦﹫")  # noqa: RUF001 - some spreadsheets read the wide ones
_SEPARATORS = ("\t", "\r", "\n")
_UNSEEN = frozenset("CMZ")  # control, format, combining, white space

_NAMES = (
    *("handle", "display_name", "followers", "following", "posts", "verified"),
    *("private_account", "region", "language", "created_at", "profile_url", "avatar_url"),
    *("platform_user_id", "sec_uid", "bio"),
)


@attrs.frozen
class Column:
    """One column."""

    name: str
    kind: type
    """What its values are: `str`, `int`, `bool` or `datetime`."""
    is_nullable: bool = False


_METRICS = {field.name: field for field in read_fields(AccountMetrics)}
_FIELDS = {field.name: field for field in read_fields(Account)} | _METRICS


def _make_column(name: str) -> Column:
    field = _FIELDS[name]
    kind = get_args(field.kind)[0] if get_args(field.kind) else field.kind  # of Annotated
    return Column(name, kind, field.nullable)


ACCOUNT_COLUMNS = (Column("source_handle", str), *map(_make_column, _NAMES))
"""What every row of an account begins with; new columns are only ever added at the end."""

EDGE_COLUMNS = (Column("source_handle", str), Column("target_handle", str))

_read_account = attrgetter(*(f"metrics.{name}" if name in _METRICS else name for name in _NAMES))


def make_row(source_handle: str, account: Account) -> Row:
    """Make the row of an account, in the order of `ACCOUNT_COLUMNS`."""
    return (source_handle, *_read_account(account))


def write_cells(row: Row, *, raw: bool = False) -> list[str]:
    """Write a row's values as text: what is missing is empty, times are ISO-8601 in UTC.

    An apostrophe stands before what a spreadsheet would take for a formula, unless `raw`.
    """
    cells = list(map(_write_cell, row))
    return cells if raw else list(map(guard_cell, cells))


def _write_cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_time(value) if isinstance(value, datetime) else str(value)


def guard_cell(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    if cell[:1].isalnum() or not cell:  # as nearly all are
        return cell
    is_formula = cell.startswith(_SEPARATORS) or _find_first_seen(cell) in _FORMULA_SIGNS
    return f"'{cell}" if is_formula else cell


def _find_first_seen(cell: str) -> str:
    """Find the first character that shows: what stands before it a reader may drop."""
    return next((sign for sign in cell if unicodedata.category(sign)[0] not in _UNSEEN), "")


class _Lines(list[str]):
    """What the csv module writes to, a record at a time."""

    def write(self, record: str) -> None:
        self.append(record.removesuffix("\r\n") + "\n")


def format_records(records: Iterable[Sequence[str]]) -> str:
    """Write records as CSV, each of them ended by a line feed."""
    lines = _Lines()
    # Python 3.11 quotes a carriage return only where the line terminator has one.
    csv.writer(lines, lineterminator="\r\n").writerows(records)
    return "".join(lines)
