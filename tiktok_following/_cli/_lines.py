"""The lines of an input, checked and counted.

The law: what is read is UTF-8 text, and no line is so long that memory would notice.
"""

import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TextIO

STANDARD_INPUT = "-"
_UTF_16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
"""How such a text begins, in bytes that cannot be decoded."""
LONGEST_LINE = 1_048_576
"""Characters; a CSV row or a JSON object may hold a lot beside the handle."""


class InputError(Exception):
    """The input cannot be read; the text is a line for people."""


def name_input(path: str) -> str:
    """Give the words that messages call an input by."""
    return "standard input" if path == STANDARD_INPUT else path


def is_stream(path: str) -> bool:
    """Tell whether an input can be read once only, and may keep its reader waiting.

    Raises:
        InputError: There is no such input.
    """
    if path == STANDARD_INPUT:
        return True  # even a file: it is read on from where the last reader left it
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except OSError as error:
        raise _explain(error, path) from None


@contextmanager
def open_lines(path: str) -> Generator["Lines"]:
    """Open an input; a byte order mark is dropped, line ends of all kinds stay as they are.

    Raises:
        InputError: It cannot be opened.
    """
    try:
        # Bytes that cannot be decoded pass, so that the line they are on can be named. Standard
        # input gets a buffer of its own: a thread waiting in sys.stdin's keeps Python from ending.
        stream = open(  # noqa: SIM115 - closed below; may be a descriptor
            _find(path),
            encoding="utf-8-sig",
            errors="surrogateescape",
            newline="",
            closefd=path != STANDARD_INPUT,
        )
    except OSError as error:
        raise _explain(error, path) from None
    with stream:
        yield Lines(stream, path)


def _find(path: str) -> str | int:
    return 0 if path == STANDARD_INPUT else path


def _explain(error: OSError, path: str) -> InputError:
    return InputError(f"{name_input(path)} cannot be read: {error.strerror}")


class Lines:
    """An iterator over the lines of a text.

    Args:
        stream: Decoded with ``surrogateescape``.
        path: Its file; ``-`` is standard input.
    """

    def __init__(self, stream: TextIO, path: str) -> None:
        self._stream = stream
        self._path = path
        self.name = name_input(path)
        """What messages call the input."""
        self.number = 0
        """Of the line read last, from 1."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """Read a line.

        Raises:
            InputError: It cannot be read, is too long, or is no UTF-8 text.
        """
        try:
            line = self._stream.readline(LONGEST_LINE + 1)
        except OSError as error:
            raise _explain(error, self._path) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LONGEST_LINE:
            raise InputError(f"{self.place} has more than {LONGEST_LINE:,} characters")
        if not _is_unicode(line):
            hint = " (it looks like UTF-16)" if line.startswith(_UTF_16_MARKS) else ""
            raise InputError(f"{self.place} is not UTF-8 text{hint}: save it as UTF-8")
        if "\0" in line:
            text = "has a null character, as text in UTF-16 has: save it as UTF-8"
            raise InputError(f"{self.place} {text}")
        return line

    @property
    def place(self) -> str:
        """Say where the reading is."""
        return f"{self.name}, line {self.number},"


def _is_unicode(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
