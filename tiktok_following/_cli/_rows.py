"""Accounts as rows for programs: JSONL and CSV.

The law: both are UTF-8, hold every row's source handle, and are never altered on their way to a
program, except that no CSV cell can be taken for a formula.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from tiktok_following._fields import format_time
from tiktok_following._models import Account

from ._output import Output
from ._words import clean

CSV_COLUMNS = (
    *("source_handle", "handle", "display_name", "followers", "following", "posts", "verified"),
    *("private_account", "region", "language", "created_at", "profile_url", "avatar_url"),
    *("platform_user_id", "sec_uid", "bio"),
)
"""The columns of the CSV format; new ones are only ever added at the end."""

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


class RowWriter(Protocol):
    """Writes the accounts of a page at once."""

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them; raises as `Output.write`."""
        ...


class JsonlRows:
    """One JSON object a line: ``source_handle``, then the API's own names."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them; raises as `Output.write`."""
        rows = ({"source_handle": source_handle, **account.to_dict()} for account in accounts)
        self._output.write_json(*rows)


class CsvRows:
    """A header, then one record an account; missing values are empty."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._header: str = _format_record(CSV_COLUMNS)

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them, after the header the first time; raises as `Output.write`."""
        text, self._header = self._header, ""
        for account in accounts:
            cells = map(_guard, _list_cells(source_handle, account))
            text += _format_record(map(clean, cells) if self._output.is_terminal else cells)
        self._output.write(text.encode())


def _format_record(cells: Iterable[str]) -> str:
    """Write a record that ends in a line feed."""
    text = io.StringIO()
    # Python 3.11 quotes a carriage return only where the line terminator has one.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _guard(cell: str) -> str:
    """Keep a spreadsheet from taking text for a formula, with an apostrophe before it."""
    return f"'{cell}" if cell.startswith(_FORMULA_SIGNS) else cell


def _list_cells(source_handle: str, account: Account) -> list[str]:
    metrics, created_at = account.metrics, account.created_at
    return [
        source_handle,
        account.handle,
        account.display_name or "",
        str(metrics.followers),
        str(metrics.following),
        str(metrics.posts),
        _write_bool(account.verified),
        _write_bool(account.private_account),
        account.region or "",
        account.language or "",
        "" if created_at is None else format_time(created_at),
        account.profile_url,
        account.avatar_url or "",
        account.platform_user_id or "",
        account.sec_uid or "",
        account.bio or "",
    ]


def _write_bool(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
