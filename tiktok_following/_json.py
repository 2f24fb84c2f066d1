"""Values as lines of JSON.

The law: whatever was read can be written again. orjson reads four times deeper than it writes, so
what is nested deeper than that is written here.
"""

from typing import Any, cast

import orjson


def write_line(value: Any) -> bytes:
    """Write a JSON value as a line, with the line feed that ends it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return _write_deep(value) + b"\n"


class _Text(bytes):
    """What is written already."""


_COMMA = _Text(b",")


def _write_deep(value: Any) -> bytes:
    """Write a value without a call for each level; what is no JSON is refused by orjson again."""
    written = bytearray()
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if isinstance(item, _Text):
            written += item
        elif isinstance(item, dict):
            pairs = cast("dict[str, Any]", item).items()
            entries = [(_COMMA, _Text(orjson.dumps({key: 0})[1:-2]), each) for key, each in pairs]
            left += _put_between(b"{", entries, b"}")
        elif isinstance(item, list):
            left += _put_between(b"[", [(_COMMA, each) for each in cast("Any", item)], b"]")
        else:
            written += orjson.dumps(item)
    return bytes(written)


def _put_between(start: bytes, entries: list[tuple[Any, ...]], end: bytes) -> list[Any]:
    """Give what is to be written, the last thing first."""
    parts = [part for entry in entries for part in entry][1:]  # no comma before the first
    return [_Text(end), *reversed(parts), _Text(start)]
