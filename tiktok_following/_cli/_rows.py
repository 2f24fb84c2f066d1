"""Accounts as rows for programs: JSONL and CSV.

The law: both are UTF-8, hold every row's source handle, and are never altered on their way to a
program, except that no CSV cell can be taken for a formula.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from tiktok_following._columns import (
    ACCOUNT_COLUMNS,
    format_records,
    guard_cell,
    make_row,
    write_cells,
)
from tiktok_following._models import Account

from ._output import Output
from ._words import clean


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


class JsonWriter(Protocol):
    """Where lines of JSON go."""

    def write_json(self, *values: Any) -> None:
        """Write each value as a line; raises as `Output.write`."""
        ...


class JsonlRows:
    """One JSON object a line: ``source_handle``, then the API's own names."""

    def __init__(self, output: JsonWriter) -> None:
        self._output = output

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them; raises as `Output.write`."""
        rows = ({"source_handle": source_handle, **account.to_dict()} for account in accounts)
        self._output.write_json(*rows)


class CsvRows:
    """A header, then one record an account; missing values are empty."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._header = [[column.name for column in ACCOUNT_COLUMNS]]

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them, after the header the first time; raises as `Output.write`."""
        records, self._header = self._header, []
        records += [write_cells(make_row(source_handle, account)) for account in accounts]
        if self._output.is_terminal:
            records = [[guard_cell(clean(cell)) for cell in record] for record in records]
        self._output.write(format_records(records).encode())
