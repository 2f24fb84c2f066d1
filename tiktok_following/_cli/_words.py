"""Words for people: text made harmless on a terminal, whoever wrote it.

The law: no control character, no escape sequence and nothing invisible is left.
"""

import json
import unicodedata

_FORMAT = "Cf"
_MEANINGLESS = frozenset({"Cn", "Co", "Cs"})
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and signs that show nothing
_JOINERS = frozenset("\u034f\u17b4\u17b5")
_MOST_MARKS = 4
"""Marks on one letter. More of them are no writing, and are drawn over the lines around."""


def clean(text: str) -> str:
    """Make a text for people harmless and its width certain.

    Control characters, unusual white space and blank letters become spaces; what is invisible is
    dropped (format characters such as bidi overrides and joiners, and variation selectors), and so
    are marks piled upon marks; what has no meaning of its own becomes the replacement character.
    """
    if text.isascii() and text.isprintable():
        return text
    cleaned = "".join(map(_clean_character, text))
    marks = 0
    kept: list[str] = []
    for character in cleaned:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _clean_character(character: str) -> str:
    if character.isprintable():
        if character in _BLANKS:
            return " "
        name = unicodedata.name(character, "")
        return "" if character in _JOINERS or "VARIATION SELECTOR" in name else character
    category = unicodedata.category(character)
    if category == _FORMAT:
        return ""
    return "\N{REPLACEMENT CHARACTER}" if category in _MEANINGLESS else " "


def clean_json(line: str) -> str:
    """Make a line of JSON harmless; it stays JSON of the same value."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
