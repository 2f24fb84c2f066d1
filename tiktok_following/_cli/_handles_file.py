"""The file that handles come from: text, a column of a CSV file, or JSON lines.

The law: it is read lazily, an entry at a time, and what is no entry is handed on as a text that
cannot be a handle, so that it is told and never bought.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePath
from typing import Any, cast

from ._lines import LONGEST_LINE, InputError, Lines, open_lines

_NAMES = ("handle", "username", "uniqueid", "user", "account", "profile", "profileurl", "url")
"""What a column of handles is called, the likeliest first, as `_simplify` writes it."""
_DELIMITERS = (",", ";", "\t")
_FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "json", ".ndjson": "json"}
_SHOWN_COLUMNS = 12


def iter_handles(path: str, column: str | None = None) -> Iterator[str]:
    """Iterate over the entries of an input, as they are written in it.

    Text has an entry on each line; blank lines and lines that begin with ``#``, which no handle
    does, are skipped. A file is CSV or JSON lines by its suffix, or else by its first line.

    Args:
        path: A file; ``-`` is standard input.
        column: The CSV column, or the key in JSON objects; `None` finds it by its name.

    Raises:
        InputError: It cannot be read, or has no such column.
    """
    with open_lines(path) as lines:
        first = next((line for line in lines if _is_entry(line)), None)
        if first is None:
            return
        text = first.lstrip()
        rest = chain([first], lines)
        match _FORMATS.get(PurePath(path).suffix.lower()) or _guess_format(text, column):
            case "csv":
                yield from _iter_column(rest, lines, column, max(_DELIMITERS, key=text.count))
            case "tsv":
                yield from _iter_column(rest, lines, column, "\t")
            case "json":
                yield from _iter_json(rest, lines, column)
            case _:
                yield from (line.strip() for line in rest if _is_entry(line))


def _is_entry(line: str) -> bool:
    text = line.lstrip()
    return bool(text) and not text.startswith("#")


def _guess_format(text: str, column: str | None) -> str:
    """Guess by the first line; no handle has such signs, and a handle bought in error costs."""
    if text.startswith(("{", "[")) or _is_json_text(text):
        return "json"
    is_url = text.lower().startswith(("http:", "https:"))
    has_delimiter = any(sign in text.strip() for sign in _DELIMITERS) and not is_url
    return "csv" if has_delimiter or column is not None else "text"


def _is_json_text(text: str) -> bool:
    return text.startswith('"') and isinstance(_parse_json(text), str)


def _iter_column(
    rest: Iterable[str], lines: Lines, column: str | None, delimiter: str
) -> Iterator[str]:
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(rest, delimiter=delimiter, strict=True)
    try:
        place = _find_column(next(rows), column, lines.name)
        for row in rows:
            cell = row[place].strip() if len(row) > place else ""
            if cell:
                yield cell
    except csv.Error as error:
        raise InputError(f"{lines.place} is not CSV: {error}") from None


def _find_column(header: list[str], column: str | None, name: str) -> int:
    """Find the column of handles: the one named, spelled so or nearly so, or the likeliest."""
    if column is not None and column in header:
        return header.index(column)
    found = [_simplify(cell) for cell in header]
    for wanted in _NAMES if column is None else (_simplify(column),):
        if wanted in found:
            return found.index(wanted)
    raise InputError(_describe_columns(name, "column", header, column))


def _describe_columns(name: str, kind: str, found: Iterable[str], wanted: str | None) -> str:
    names = [ascii(each) for each in found]
    shown = ", ".join(names[:_SHOWN_COLUMNS]) + (", …" if len(names) > _SHOWN_COLUMNS else "")
    if wanted is None:
        problem = f"no {kind} is called handle, username, user or the like; choose with --column"
    else:
        problem = f"no {kind} is called {wanted!a}"
    return f"{name}: {problem}. It has {shown or 'none'}"


def _simplify(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _iter_json(rest: Iterable[str], lines: Lines, column: str | None) -> Iterator[str]:
    is_first = True
    for line in rest:
        text = line.strip()
        if not text:
            continue
        value = _parse_json(text)
        if isinstance(value, dict):
            row = cast("dict[str, Any]", value)
            key = _find_key(row, column)
            if key is None and is_first:
                raise InputError(_describe_columns(lines.name, "key", row, column))
            value = None if key is None else row[key]
        elif isinstance(value, list) and is_first:
            raise InputError(f"{lines.name} is a JSON array: JSON lines have one value on each")
        is_first = False
        # With its white space this is no handle, whatever the line is.
        yield value if isinstance(value, str) else f"line {lines.number} has no handle: {text}"


def _find_key(row: dict[str, Any], column: str | None) -> str | None:
    if column is not None:
        return column if column in row else None
    names = {_simplify(key): key for key in row}
    return next((names[name] for name in _NAMES if name in names), None)


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
