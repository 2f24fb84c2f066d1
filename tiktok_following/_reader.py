"""Write the function that reads an attrs class from its JSON value.

The law: such a function reads what is right and nothing else, at the speed of the best loop a
person would write. It looks once for each key, as a rule, writes out what it can instead of calling
it, and raises *something* at the first thing that is wrong: what and where is for others to find.

For `AccountMetrics`, shortened, it is this; a class within a class stands in line as well::

    def read(o, _):
        new, int, fail, AccountMetrics, followers_key, … = names
        made = new(AccountMetrics)
        v = o[followers_key]
        if not (v.__class__ is int and v >= 0): fail()
        made.followers = v
        …
        if len(o) != 3:
            made.held_extra = extra = {}
            …
        return made
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, get_args, get_origin

import attrs
import orjson

from ._fields import (
    LEAVES,
    Field,
    JsonObject,
    KnownKeys,
    Mismatch,
    SharedStr,
    from_iso,
    from_seconds,
    read_fields,
    read_known_keys,
    to_utc,
)

Convert = Callable[[Any], Any]
Hook = Callable[[Any, Any], Any]

_MOST_SHARED = 1024
_LONGEST_SHARED = 16


class SharedTexts(dict[str, str]):
    """Give one object for all equal texts: short ones, and not more than fit.

    `sys.intern` would do, but Python 3.12 never lets go of what it was given.
    """

    def __missing__(self, text: str) -> str:
        if len(text) <= _LONGEST_SHARED and len(self) < _MOST_SHARED:
            self[text] = text
        return text


_SHARED = SharedTexts()


def make_reader(cls: type, converted: Mapping[Any, Convert]) -> Hook:
    """Make the function that reads `cls`, for a registry of cattrs.

    Args:
        cls: An attrs class with slots and `wire` fields, without validators and converters.
        converted: What makes the values of kinds that are no plain values.
    """
    writer = _Writer(converted)
    lines = writer.write_object(cls, "o", "made")
    # As locals, named once for each body: CPython fetches two of these in one step.
    named = f"{', '.join(writer.names)} = names"
    guessed = [f"{name} = {value}" for name, value in writer.guesses.items()]
    # What only looks like a JSON object may make keys up.
    check = "if o.__class__ is not dict: fail()"
    text = ["def read(o, _):", *_indent([named, check, *guessed, *lines, "return made"])]
    scope: dict[str, Any] = {"names": tuple(writer.names.values())}
    code = compile("\n".join(text), f"<the reader of {cls.__name__}>", "exec")
    exec(code, scope)  # noqa: S102 - of our own classes alone # nosec B102
    read: Hook = scope["read"]
    return read


def collect_unknown(value: JsonObject, known: KnownKeys) -> JsonObject:
    """Keep the keys no field reads, nested as they came."""
    extra: JsonObject = {key: value[key] for key in value if key not in known}
    for key, below in known.items():
        if below and (unknown := collect_unknown(value[key], below)):
            extra[key] = unknown
    return extra


def is_list(hint: Any) -> bool:
    """Tell whether a kind is a list of something."""
    return get_origin(hint) is list


class _Writer:
    """Write the lines that read a class, and hold what the names in them stand for."""

    def __init__(self, converted: Mapping[Any, Convert]) -> None:
        self._converted = converted
        self.names: dict[str, Any] = {
            "new": object.__new__,  # with each slot set, less than half the time of `__init__`
            "shared": _SHARED,
            "from_iso": from_iso,
            "from_seconds": from_seconds,
            "to_utc": to_utc,
            "UTC": UTC,
            "fail": _fail,
            "collect_unknown": collect_unknown,
            **{kind.__name__: kind for kind in (str, int, float, dict, list)},
        }
        self.guesses: dict[str, str] = {}
        """What is thought of the first object of a class in a body, and then learned from each."""

    def write_object(self, cls: type, o: str, made: str) -> list[str]:
        """Write what makes `made`, a `cls`, of the JSON object called `o`."""
        fields = read_fields(cls)
        # Keys as orjson itself keeps them: those of a body are then found without comparing text.
        known: KnownKeys = orjson.loads(orjson.dumps(read_known_keys(fields)))
        containers = dict(_list_containers(known, o))
        nullable = {_name_container(field, o) for field in fields if field.nullable}
        self.names |= {cls.__name__: cls, f"{cls.__name__}_keys": known}
        lines = [f"{made} = new({cls.__name__})"]
        for name, keys in containers.items():
            self.names |= {f"{key}_key": key for key in keys}
            lines += [f"{name}_{key} = {name}[{key}_key]" for key, below in keys.items() if below]
        counted = [f"{name}_absent = 0" for name in containers if name in nullable]
        extra: list[str] = []
        if "extra" in attrs.fields_dict(cls):
            extra = self._write_extra(cls, containers, nullable, o, made)
        plain = [*counted, *self._write_fields(fields, o, made), *extra]
        if len(containers) > 1 or not any(field.optional for field in fields):
            return lines + plain
        return lines + self._write_regular(
            cls.__name__, fields, o, made, extra=extra, otherwise=plain
        )

    def _write_regular(
        self,
        cls: str,
        fields: list[Field],
        o: str,
        made: str,
        *,
        extra: list[str],
        otherwise: list[str],
    ) -> list[str]:
        """Write what reads an object with all the keys that are always there, as most are.

        They need no look for what is absent, nor does one with all keys there are. That it has
        those is told by their number; where that is mistaken, it is not believed again in this
        body, and the second time nothing is.
        """
        first = [field for field in fields if not field.optional]
        rest = [field for field in fields if field.optional]
        most, are_regular = f"{cls}_most", f"{cls}_are_regular"
        self.guesses |= {most: str(len(fields)), are_regular: "True"}
        return [
            f"{o}_size, {o}_is_read = len({o}), {are_regular}",
            f"if {are_regular}:",
            " try:",
            *_indent(self._write_fields(first, o, made, is_there=True), by=2),
            f"  if {o}_size == {most}:",
            *_indent(self._write_fields(rest, o, made, is_there=True), by=3),
            f"  elif {o}_size == {len(first)}:",
            f"   {' = '.join(f'{made}.{field.name}' for field in rest)} = None",
            "  else:",
            f"   {o}_absent = 0",
            *_indent([*self._write_fields(rest, o, made), *extra], by=3),
            " except KeyError:",
            f"  {o}_is_read, {are_regular}, {most} = False, {o}_size == {most}, None",
            f"if not {o}_is_read:",
            *_indent(otherwise),
        ]

    def _write_fields(
        self, fields: list[Field], o: str, made: str, *, is_there: bool = False
    ) -> list[str]:
        lines: list[str] = []
        for field in fields:
            lines += self._write_field(field, _name_container(field, o), made, is_there)
        return lines

    def _write_field(self, field: Field, container: str, made: str, is_there: bool) -> list[str]:
        """Write what fills a field; if its key may be absent, that is counted."""
        key, target = f"{field.path[-1]}_key", f"{made}.{field.name}"
        name, kind = f"{container}_{field.path[-1]}", field.kind
        lines = self._write_value(kind, target, name)
        read = f"v = {container}[{key}]"
        if not field.nullable:
            return [read, *lines]
        if not is_there:
            # A null where none should be is counted as absent too: it costs a second look, no more.
            absent = "1" if field.optional else f"{key} not in {container}"
            read, count = f"v = {container}.get({key})", f"; {container}_absent += {absent}"
            return [read, f"if v is None: {target} = v{count}", "else:", *_indent(lines)]
        if kind in LEAVES and kind != SharedStr:  # a null is looked for last, as it is rare
            return [read, f"if not ({_write_check(kind)} or v is None): fail()", f"{target} = v"]
        return [read, f"if v is None: {target} = v", "else:", *_indent(lines)]

    def _write_value(self, kind: Any, target: str, name: str) -> list[str]:
        """Write what checks `v`, and puts what is made of it in its place."""
        if kind in LEAVES:
            value = "shared[v]" if kind == SharedStr else "v"
            return [f"if not ({_write_check(kind)}): fail()", f"{target} = {value}"]
        if kind in self._converted:
            convert = self._converted[kind]
            self.names[convert.__name__] = convert
            if kind is datetime:  # as the API writes it, it is read in line
                return [
                    "if v.__class__ is str:",
                    f" {target} = v = from_iso(v)",
                    f" if v.tzinfo is not UTC: {target} = to_utc(v)",
                    f"elif v.__class__ is int and v >= 0: {target} = from_seconds(v, UTC)",
                    f"else: {target} = {convert.__name__}(v)",
                ]
            return [f"{target} = {convert.__name__}(v)"]
        if not is_list(kind):
            lines = self.write_object(kind, name, f"{name}_made")
            return [f"{name} = v", *lines, f"{target} = {name}_made"]
        return [
            "if v.__class__ is not list: fail()",
            f"{target} = {name} = []",
            f"for {name}_item in v:",
            *_indent(self.write_object(get_args(kind)[0], f"{name}_item", f"{name}_made")),
            f" {name}.append({name}_made)",
        ]

    def _write_extra(
        self,
        cls: type,
        containers: dict[str, KnownKeys],
        nullable: set[str],
        o: str,
        made: str,
    ) -> list[str]:
        """Write what keeps the keys that no field reads, if there are more keys than were read."""
        known, unknown = f"{cls.__name__}_keys", f"{cls.__name__}_unknown"
        counts = {
            f"len({name})" + f" + {name}_absent" * (name in nullable): len(keys)
            for name, keys in containers.items()
        }
        test = " and ".join(f"{count} == {most}" for count, most in counts.items())
        if len(containers) > 1:
            return [f"if not ({test}): {made}.held_extra = collect_unknown({o}, {known})"]
        self.guesses[unknown] = "None"
        ((count, most),) = counts.items()
        return [  # in line, as a new key may be in every row: then it is that of the row before
            f"if {count} != {most}:",
            f" {made}.held_extra = extra = {{}}",
            f" if {count} == {most + 1} and {unknown} in {o}: extra[{unknown}] = {o}[{unknown}]",
            " else:",
            f"  for key in {o}:",
            f"   if key not in {known}: extra[key], {unknown} = {o}[key], key",
        ]


def _list_containers(known: KnownKeys, name: str) -> Iterator[tuple[str, KnownKeys]]:
    """List the objects on the way to the fields under their names, with the keys they have."""
    yield name, known
    for key, below in known.items():
        if below:
            yield from _list_containers(below, f"{name}_{key}")


def _write_check(kind: Any) -> str:
    return LEAVES[kind][1].format(v="v")


def _name_container(field: Field, o: str) -> str:
    return "_".join((o, *field.path[:-1]))


def _indent(lines: list[str], by: int = 1) -> list[str]:
    return [" " * by + line for line in lines]


def _fail() -> NoReturn:
    raise Mismatch
