"""Accounts as a table for people, written row by row.

The law: a handle is never cut, and what has no certain width (names and bios in any script) stands
last, so that the columns hold on every terminal.
"""

import shutil
import sys
from collections.abc import Sequence
from typing import Final

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style

from tiktok_following._models import Account

from ._output import Output
from ._words import clean

_GAP: Final = "  "
_WIDEST_HANDLE: Final = 24
"""Cells: what TikTok allows. A longer one takes its cells from the name."""
_COUNTS: Final = (("FOLLOWERS", 11), ("FOLLOWING", 9), ("POSTS", 7))
_NAME: Final = 24
_LEAST_NAME: Final = 8
_LEAST_BIO: Final = 16
_WIDTH_OF_NO_TERMINAL: Final = 100


@attrs.frozen
class _Columns:
    """How many cells each column has; 0 leaves it out."""

    source: int
    handle: int
    counts: tuple[tuple[str, int], ...]
    name: int
    bio: int

    @property
    def before_handle(self) -> int:
        """Cells before the handle."""
        return self.source and self.source + len(_GAP)

    @property
    def before_name(self) -> int:
        """Cells before the name, the mark of the verified included."""
        counts = sum(len(_GAP) + width for _, width in self.counts)
        return self.before_handle + self.handle + counts + len(_GAP) + 2


def _fit_columns(width: int, source: int, handle: int) -> _Columns:
    """Share out the width: fewer counts where it is narrow, bios where it is wide."""
    columns = _Columns(source, handle, _COUNTS, 0, 0)
    if width - columns.before_name < _LEAST_NAME:
        columns = attrs.evolve(columns, counts=_COUNTS[:1])
    room = max(width - columns.before_name, _LEAST_NAME)
    bio = room - _NAME - len(_GAP)
    if bio < _LEAST_BIO:
        return attrs.evolve(columns, name=room)
    return attrs.evolve(columns, name=_NAME, bio=bio)


@attrs.frozen
class _Row:
    """The texts of one row."""

    source: str
    handle: str
    counts: Sequence[str]
    mark: str
    name: str
    bio: str


class TableRows:
    """A table as wide as the terminal, or 100 columns (``COLUMNS``) where there is none.

    Args:
        output: Where it goes.
        sources: The handles asked for; more than one make a column.
    """

    def __init__(self, output: Output, sources: Sequence[str]) -> None:
        self._output = output
        self._source = _measure("SOURCE", sources) if len(sources) > 1 else 0
        self._columns: _Columns | None = None
        is_rich = self._encodable("✓…") == "✓…"
        self._verified, self._ellipsis = ("✓", "…") if is_rich else ("v", "~")

    def write(self, source_handle: str, accounts: Sequence[Account]) -> None:
        """Write them, after the header the first time; raises as `Output.write`."""
        rows = [self._make_row(source_handle, account) for account in accounts]
        text = ""
        if rows and self._columns is None:
            self._columns = _fit_columns(
                shutil.get_terminal_size((_WIDTH_OF_NO_TERMINAL, 1)).columns,
                self._source,
                _measure("HANDLE", [row.handle for row in rows]),
            )
            text = self._make_header(self._columns)
        if self._columns is not None:
            columns = self._columns
            text += "".join(self._lay_out(columns, row) + "\n" for row in rows)
        self._output.write_text(text)

    def _make_row(self, source_handle: str, account: Account) -> _Row:
        metrics = account.metrics
        return _Row(
            self._make_cell(source_handle),
            self._make_cell(account.handle),
            [f"{count:,}" for count in (metrics.followers, metrics.following, metrics.posts)],
            self._verified if account.verified else " ",
            self._make_cell(account.display_name),
            self._make_cell(account.bio),
        )

    def _make_header(self, columns: _Columns) -> str:
        titles = [title for title, _ in _COUNTS]
        line = self._lay_out(columns, _Row("SOURCE", "HANDLE", titles, " ", "NAME", "BIO"))
        console = Console(file=sys.stdout)
        is_plain = console.color_system is None or console.no_color or console.legacy_windows
        return (line if is_plain else Style(bold=True).render(line)) + "\n"

    def _lay_out(self, columns: _Columns, row: _Row) -> str:
        """Put the texts in their columns; what is too wide pushes the next ones only so far."""
        end = columns.before_handle
        line = _pad(row.source + _GAP, end) if end else ""
        end += columns.handle
        line = _pad(line + row.handle, end)
        for text, (_, width) in zip(row.counts, columns.counts, strict=False):
            end += len(_GAP) + width
            line += _GAP + text.rjust(end - len(_GAP) - cell_len(line))
        line += f"{_GAP}{row.mark} "
        room = max(columns.name - max(cell_len(line) - columns.before_name, 0), 0)
        if not columns.bio:
            return (line + self._cut(row.name, room)).rstrip()
        bio = self._cut(row.bio, columns.bio)
        return (line + _pad(self._cut(row.name, room), room) + _GAP + bio).rstrip()

    def _cut(self, text: str, width: int) -> str:
        if cell_len(text) <= width:
            return text
        return set_cell_size(text, max(width - 1, 0)).rstrip() + self._ellipsis[:width]

    def _make_cell(self, text: str | None) -> str:
        """Make a text one line that the output can encode."""
        return self._encodable(" ".join(clean(text or "").split()))

    def _encodable(self, text: str) -> str:
        encoding = self._output.encoding
        return text.encode(encoding, "replace").decode(encoding)


def _measure(title: str, texts: Sequence[str]) -> int:
    """Give the cells that a column of handles needs."""
    return min(max(map(cell_len, [title, *texts])), _WIDEST_HANDLE)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
