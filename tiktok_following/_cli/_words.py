"""Words for people: text made harmless on a terminal, whoever wrote it.

The law: no control character, no escape sequence and nothing invisible is left.
"""

import json
import unicodedata

_FORMAT = "Cf"
_MEANINGLESS = frozenset({"Cn", "Co", "Cs"})


def clean(text: str) -> str:
    """Make a text for people harmless and its width certain.

    Control characters and unusual white space become spaces; what is invisible is dropped (format
    characters such as bidi overrides and joiners, and variation selectors); what has no meaning of
    its own becomes the replacement character.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_clean_character, text))


def _clean_character(character: str) -> str:
    if character.isprintable():
        is_selector = "VARIATION SELECTOR" in unicodedata.name(character, "")
        return "" if is_selector else character
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
