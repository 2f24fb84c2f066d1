"""What a handle is: the one name under which a profile is asked for."""

import re
from urllib.parse import unquote, urlsplit

from ._errors import InvalidHandleError

MAX_HANDLE_LENGTH = 64
"""Characters; the API's documented limit (TikTok itself allows 24)."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")
_FOREIGN = {
    "/": "a slash",
    "\\": "a slash",
    "@": "an @",
    ",": "a comma",
    ";": "a semicolon",
    "#": "a #",
    "?": "a ?",
}
"""What stands in paths, mail addresses, lists, hashtags and URLs, and in no handle."""
_PROFILE_URL = re.compile(r"(?i:https?://)|(?i:(?:www\.|m\.)?tiktok\.com/)")


def parse_handle(text: str) -> str:
    """Read a handle, ``@handle`` or profile URL as the plain handle, its case kept.

    Args:
        text: ``nasa``, ``@nasa``, either with white space around it, or
            ``https://www.tiktok.com/@nasa`` with or without a query.

    Raises:
        InvalidHandleError: The text is none of these: empty, longer than 64 characters, a path
            step (``.`` or ``..``), with control or invisible characters, white space, a slash or
            one of ``@ , ; # ?`` inside, or a URL of another site or of no profile.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a CSV cell may be anything
        raise InvalidHandleError(f"a handle is text, not {type(text).__name__}")
    if _PLAIN.fullmatch(text):  # nearly all are, and there may be a hundred thousand
        return str(text)
    handle = text.strip()
    if problem := _find_character(handle):  # before a URL is read, which drops line breaks
        raise InvalidHandleError(f"{_show(text)} is not a TikTok handle: {problem}")
    if _PROFILE_URL.match(handle):
        handle = _read_profile_url(handle)
    handle = handle.lstrip("@")
    if problem := _find_problem(handle):
        raise InvalidHandleError(f"{_show(text)} is not a TikTok handle: {problem}")
    return handle


def _read_profile_url(text: str) -> str:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "").lower()
    except ValueError as error:
        raise InvalidHandleError(f"{_show(text)} is not a URL: {_show(str(error))}") from None
    if host != "tiktok.com" and not host.endswith(".tiktok.com"):
        raise InvalidHandleError(f"{_show(text)} is not on tiktok.com")
    path = unquote(parts.path.removesuffix("/"), errors="surrogateescape")
    if not path.startswith("/@") or "/" in path[1:]:
        raise InvalidHandleError(
            f"{_show(text)} is not the URL of a profile, https://www.tiktok.com/@handle"
        )
    return path.removeprefix("/@")


def _find_problem(handle: str) -> str | None:
    if not handle:
        return "it is empty"
    if len(handle) > MAX_HANDLE_LENGTH:
        return f"it has {len(handle)} characters, {MAX_HANDLE_LENGTH} are allowed"
    if handle in {".", ".."}:
        return "it is a step in a path"
    if handle == "-":
        return "it is what commands take for standard input"
    for character, name in _FOREIGN.items():
        if character in handle:
            return f"it has {name} inside"
    return _find_character(handle)


def _find_character(text: str) -> str | None:
    for character in text:
        if character.isspace():
            return "it has white space inside"
        if not character.isprintable():
            return f"it has the control or invisible character {character!a}"
    return None


def _show(text: str) -> str:
    """Quote what was given, short and without anything that acts on a terminal."""
    return ascii(text) if len(text) <= MAX_HANDLE_LENGTH else ascii(text[:MAX_HANDLE_LENGTH]) + "…"
