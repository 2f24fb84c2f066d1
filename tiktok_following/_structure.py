"""Read attrs classes from JSON values.

The law: the fast way and the explaining way accept the same values. A function written per class
knows only *that* something is wrong; cattrs' detailed validation then reads the value again,
decides, and knows *where*.
"""

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar, cast, get_args

import attrs
from cattrs import BaseValidationError, ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, override

from ._fields import LEAVES, JsonObject, KnownKeys, Mismatch, mismatch, read_fields, read_known_keys
from ._reader import Convert, Hook, collect_unknown, is_list, make_reader

T = TypeVar("T")


def _flatten(value: Any, known: KnownKeys, prefix: str = "") -> JsonObject:
    """Lift the values that fields read to one level, under their paths joined by dots."""
    if not isinstance(value, dict):
        raise mismatch("an object", value)
    flat: JsonObject = {}
    for key, below in known.items():
        path = f"{prefix}{key}"
        if below is not None:
            if key not in value:
                raise Mismatch(f".{path}: expected an object, got nothing")
            try:
                flat.update(_flatten(value[key], below, f"{path}."))
            except Mismatch as error:
                text = str(error)
                raise Mismatch(text if text[0] == "." else f".{path}: {text}") from None
        elif key in value:
            flat[path] = value[key]
    return flat


def _locate(error: BaseException, path: str) -> str:
    """Say where the first thing went wrong in what cattrs' detailed validation found."""
    if isinstance(error, ClassValidationError):
        located, _ = error.group_exceptions()
        inner, note = located[0]
        field = attrs.fields_dict(cast("Any", error.cl))[note.name]
        return _locate(inner, f"{path}.{'.'.join(field.metadata['path'])}")
    if isinstance(error, KeyError):
        return f"{path}: expected a value, got nothing"
    text = str(error)
    return f"{path}{text}" if text.startswith((".", "[")) else f"{path}: {text}"


class Structurer:
    """Read attrs classes with `wire` fields from JSON values, every field checked.

    Args:
        converted: What else a field may be: a function that makes each kind from its JSON value,
            raising `Mismatch` where it cannot.
    """

    def __init__(self, converted: Mapping[Any, Convert]) -> None:
        self._converted = converted
        self._fast = Converter(detailed_validation=False)
        self._fast.register_structure_hook_factory(attrs.has, self._make_fast_hook)
        self._detailed = Converter(detailed_validation=True)
        self._detailed.register_structure_hook_factory(attrs.has, self._make_detailed_hook)
        self._detailed.register_structure_hook_factory(is_list, self._make_list_hook)
        for kind, (expected, expression) in LEAVES.items():
            is_right = eval(f"lambda v: {expression.format(v='v')}")  # noqa: S307 - our own table # nosec B307
            self._register(kind, _make_leaf_hook(expected, is_right))
        for kind, convert in converted.items():
            self._register(kind, _make_converting_hook(convert))

    def structure(self, value: Any, cls: type[T]) -> T:
        """Make a `cls` from a JSON value.

        Raises:
            Mismatch: The value has the wrong shape; the text starts with where, as in
                ``$.metrics.followers: expected an integer ≥ 0, got "12"``.
        """
        try:
            made: T = self._fast.get_structure_hook(cls)(value, cls)
        except Exception:  # noqa: BLE001, S110 - the second reading decides # nosec B110
            pass
        else:
            return made
        return self._explain(value, cls)

    def _explain(self, value: Any, cls: type[T]) -> T:
        try:
            return self._detailed.structure(value, cls)
        except (BaseValidationError, Mismatch) as error:
            text = _locate(error, "$")
        raise Mismatch(text)

    def _register(self, kind: Any, hook: Hook) -> None:
        if isinstance(kind, type):  # cattrs looks for its own hook of a plain class first
            self._detailed.register_structure_hook(kind, hook)
            return
        self._detailed.register_structure_hook_func(lambda hint: hint == kind, hook)
        if isinstance(kind, UnionType):  # with `None` in it, it is another union to cattrs

            def structure_optional(value: Any, _: Any) -> Any:
                return None if value is None else hook(value, kind)

            self._detailed.register_structure_hook_func(
                lambda hint: hint == kind | None, structure_optional
            )

    def _make_fast_hook(self, cls: type) -> Hook:
        return make_reader(cls, self._converted)

    def _make_detailed_hook(self, cls: type, converter: Converter) -> Hook:
        fields = read_fields(cls)
        known = read_known_keys(fields)
        has_extra = "extra" in attrs.fields_dict(cls)
        overrides: dict[str, Any] = {"extra": override(omit=True)} if has_extra else {}
        overrides |= {field.name: override(rename=".".join(field.path)) for field in fields}
        structure_flat = cast("Hook", make_dict_structure_fn(cls, converter, **overrides))

        def structure_detailed(value: Any, _: Any) -> Any:
            made = structure_flat(_flatten(value, known), cls)
            if has_extra:
                made.extra = collect_unknown(value, known)
            return made

        return structure_detailed

    def _make_list_hook(self, hint: Any, _: Converter) -> Hook:
        kind = get_args(hint)[0]

        def structure_list(value: Any, _: Any) -> Any:
            if value.__class__ is not list:
                raise mismatch("an array", value)
            made: list[Any] = []
            for number, item in enumerate(value):
                try:
                    made.append(self.structure(item, kind))
                except Mismatch as error:  # the first is enough: a hostile body has millions
                    raise Mismatch(f"[{number}]{str(error).removeprefix('$')}") from None
            return made

        return structure_list


def _make_leaf_hook(expected: str, is_right: Callable[[Any], bool]) -> Hook:
    def structure_leaf(value: Any, _: Any) -> Any:
        if not is_right(value):
            raise mismatch(expected, value)
        return value

    return structure_leaf


def _make_converting_hook(convert: Convert) -> Hook:
    def structure_converted(value: Any, _: Any) -> Any:
        return convert(value)

    return structure_converted
