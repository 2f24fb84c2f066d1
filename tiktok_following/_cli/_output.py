"""Standard output: the only file that writes to it.

The law: what is written is flushed at once; a reader that went away is told from a disk that is
full; neither leaves anything behind that Python would complain about at its end.
"""

import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from tiktok_following._json import write_line

from ._words import clean_json

_MOMENT = 5
"""Milliseconds."""


class OutputClosed(Exception):  # noqa: N818 - whoever reads the output has enough: no error
    """The reader of standard output went away."""


class OutputFailedError(Exception):
    """Standard output cannot be written."""


def format_lines(values: Iterable[Any], *, is_terminal: bool) -> bytes:
    """Write each value as a line of JSON, which does no harm to a terminal."""
    lines: Iterator[bytes] = map(write_line, values)
    if is_terminal:
        lines = (clean_json(line.decode()[:-1]).encode() + b"\n" for line in lines)
    return b"".join(lines)


class Output:
    """Standard output.

    JSON and CSV are UTF-8 whatever the terminal or the locale; text for people is in the encoding
    of the stream, ``?`` where that has no such character.

    Raises:
        OutputFailedError: The process was started without one.
    """

    def __init__(self) -> None:
        stream = sys.stdout
        if stream is None:  # pyright: ignore[reportUnnecessaryComparison] - it is after `>&-`
            raise OutputFailedError("standard output is closed")
        self.is_terminal = stream.isatty()
        self.encoding = stream.encoding
        self.is_pipe = _is_pipe(stream)
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Write and flush.

        Raises:
            OutputClosed: The reader went away.
            OutputFailedError: The system says why.
        """
        try:
            self._stream.buffer.write(data)
            self._stream.buffer.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise OutputFailedError(f"cannot write the output: {error.strerror}") from None

    def write_text(self, text: str) -> None:
        """Write a text for people; raises as `write`."""
        self.write(text.encode(self.encoding, "replace"))

    def write_json(self, *values: Any) -> None:
        """Write each value as a line of JSON, harmless on a terminal; raises as `write`."""
        self.write(format_lines(values, is_terminal=self.is_terminal))

    def check_reader(self) -> None:
        """Look whether a pipe's reader went away, where the system can tell without writing.

        It gets a moment to do so, which is cheaper than a page that nobody reads.

        Raises:
            OutputClosed: It did.
        """
        if self.is_pipe and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._stream, 0)
            if poll.poll(_MOMENT):
                raise OutputClosed


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:  # a stream without a file
        return False


def release_standard_streams() -> None:
    """Flush what is left; what cannot be written goes nowhere, silently."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except AttributeError:
            pass  # started without this stream
