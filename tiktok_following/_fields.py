"""What a field of a model says about its JSON: where it stands, what it may be, how it is written.

The law: one table drives both directions, the attrs fields themselves. `wire` is their metadata,
`LEAVES` the plain values they may hold.
"""

import functools
import types
from datetime import UTC, datetime
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import attrs

Count = Annotated[int, "≥ 0"]
NonEmptyStr = Annotated[str, "not empty"]
SharedStr = Annotated[str, "one of few, and held once"]
JsonObject = dict[str, Any]
KnownKeys = dict[str, "KnownKeys | None"]
"""The keys a class knows: `None` under one that a field reads, a tree under one on the way."""

# How a plain JSON value is named in errors, and the Python expression that is true of a right one.
LEAVES: dict[Any, tuple[str, str]] = {
    str: ("a string", "{v}.__class__ is str"),
    NonEmptyStr: ("a string that is not empty", "{v}.__class__ is str and {v}"),
    SharedStr: ("a string", "{v}.__class__ is str"),
    Count: ("an integer ≥ 0", "{v}.__class__ is int and {v} >= 0"),
    bool: ("true or false", "{v} is False or {v} is True"),
    float: ("a number", "{v}.__class__ in (float, int)"),
    JsonObject: ("an object", "{v}.__class__ is dict"),
}
from_iso, from_seconds = datetime.fromisoformat, datetime.fromtimestamp  # a look-up less each
_QUOTED_CHARACTERS = 40
_SHOWN_BITS = 128  # str() of a huge integer is slow, and refused from 4,300 digits on


class Mismatch(ValueError):  # noqa: N818 - an outcome between the parts of this file, not a public error
    """A value is not what was expected; the text says where, what was expected and what came."""


def wire(path: str, *, optional: bool = False) -> dict[str, Any]:
    """Say where in the JSON a field stands, as attrs metadata.

    Args:
        path: Keys from the top of the class's own JSON value, joined by dots.
        optional: The contract lets the key be missing, so `None` is written by leaving it out.
    """
    return {"path": tuple(path.split(".")), "optional": optional}


class WithExtra:
    """Makes the dict `extra` of a class with slots when it is first looked at: mostly it is empty.

    Two of them for each account would be a third of all that the garbage collector looks at. What
    has one puts it into `held_extra`, the slot itself.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        slot = vars(cls).get("extra")
        if isinstance(slot, types.MemberDescriptorType):
            for name, attribute in (("held_extra", slot), ("extra", _make_on_demand(slot))):
                setattr(cls, name, attribute)


def _make_on_demand(slot: types.MemberDescriptorType) -> property:
    def get(owner: object) -> JsonObject:
        try:
            held: JsonObject = slot.__get__(owner)
        except AttributeError:
            held = {}
            slot.__set__(owner, held)
        return held

    return property(get, slot.__set__, slot.__delete__)


def quote(value: Any) -> str:
    """Show a JSON value in a few printable words, for an error text."""
    if isinstance(value, str):
        return f'"{shorten(value)}"'
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int | float):
        is_huge = isinstance(value, int) and value.bit_length() > _SHOWN_BITS
        return "a huge integer" if is_huge else str(value)
    names = {dict: "an object", list: "an array"}
    return names.get(value.__class__, f"a Python {type(value).__name__}")


def shorten(text: str) -> str:
    """Show the beginning of a text in printable characters."""
    text = text[:_QUOTED_CHARACTERS] + "…" * (len(text) > _QUOTED_CHARACTERS)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def mismatch(expected: str, value: Any) -> Mismatch:
    """Make the error for a value that is not what was expected."""
    return Mismatch(f"expected {expected}, got {quote(value)}")


def parse_time(value: Any) -> datetime:
    """Read a point in time from Unix seconds or ISO-8601 text; a text without an offset is UTC.

    Raises:
        Mismatch: The value is neither, or not within the years 1 (1970 for seconds) to 9999.
    """
    try:
        if value.__class__ is str:
            return to_utc(from_iso(value))
        if (value.__class__ is int or value.__class__ is float) and value >= 0:
            return from_seconds(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass  # said below, in the words that fit all of them
    raise mismatch("Unix seconds or ISO-8601 text", value)


def to_utc(time: datetime) -> datetime:
    """Give a point in time in UTC, which is what one without an offset is in."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def format_time(time: datetime) -> str:
    """Write a point in time as the API does: UTC, milliseconds, ``Z``; finer only where needed."""
    digits = "microseconds" if time.microsecond % 1000 else "milliseconds"
    return time.astimezone(UTC).isoformat(timespec=digits).removesuffix("+00:00") + "Z"


def to_json(value: Any) -> Any:
    """Write a value of an attrs class with `wire` fields as JSON, in the wire's own names."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, list):
        return [to_json(item) for item in cast("list[object]", value)]
    if isinstance(value, str):
        return str(value)
    if not attrs.has(value.__class__):
        return value
    body: JsonObject = {}
    for field in attrs.fields(value.__class__):
        item = getattr(value, field.name)
        if field.name == "extra":
            _merge(body, item)
        elif item is not None or not field.metadata["optional"]:
            _put(body, field.metadata["path"], to_json(item))
    return body


def _put(body: JsonObject, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


def _merge(body: JsonObject, extra: JsonObject) -> None:
    """Put unknown keys back where they stood, between the known ones."""
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(body.get(key), dict):
            _merge(body[key], cast("JsonObject", value))
        else:
            body.setdefault(key, value)


@attrs.frozen
class Field:
    """One field of a class, as both ways of reading need it."""

    name: str
    path: tuple[str, ...]
    optional: bool
    """The contract lets the key be missing."""
    nullable: bool
    """The value may be null, and then the key may be missing too."""
    kind: Any
    """The annotation without its `None`."""


def read_fields(cls: type) -> list[Field]:
    """List the fields of `cls` that stand in the JSON; `extra` is what no field reads."""
    hints = get_type_hints(cls, include_extras=True)
    return [
        Field(
            field.name,
            field.metadata["path"],
            field.metadata["optional"],
            *_split_optional(hints[field.name]),
        )
        for field in attrs.fields(cls)
        if field.name != "extra"
    ]


def _split_optional(hint: Any) -> tuple[bool, Any]:
    members = get_args(hint) if get_origin(hint) in {types.UnionType, Union} else (hint,)
    kinds = [member for member in members if member is not type(None)]
    return len(kinds) < len(members), functools.reduce(lambda one, other: one | other, kinds)


def read_known_keys(fields: list[Field]) -> KnownKeys:
    """Draw the tree of keys that lead to the fields."""
    known: KnownKeys = {}
    for field in fields:
        tree = known
        for key in field.path[:-1]:
            tree = cast("KnownKeys", tree.setdefault(key, {}))
        tree[field.path[-1]] = None
    return known
