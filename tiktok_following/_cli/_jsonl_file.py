"""The file that ``--jsonl`` names.

The law: a file of that name is always whole; rows are collected beside it until they are.
"""

import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._output import OutputFailedError, format_lines

SUFFIX = ".part"
RESCUED = ".rescued-"


class JsonlFile:
    """JSON lines that become the file when all are written; a device or pipe is written at once.

    Args:
        name: The file, made anew.

    Raises:
        OutputFailedError: It cannot be written.
    """

    def __init__(self, name: str) -> None:
        try:
            path = Path(name).resolve()
            is_special = _is_special(path)
            if not is_special and _holds_something_else(path):
                raise OutputFailedError(f"{name} exists and holds no JSON lines; name another file")
            self._target = path
            self._path = path if is_special else Path(f"{path}{SUFFIX}")
            self.name = name if is_special else name + SUFFIX
            """Where the rows are until the file is whole."""
            self._file = self._path.open("wb")
        except (OSError, RuntimeError) as error:  # links in a circle
            raise OutputFailedError(_explain(name, error)) from None

    def write_json(self, *values: Any) -> None:
        """Write each value as a line and flush.

        Raises:
            OutputFailedError: The system says why.
        """
        try:
            self._file.write(format_lines(values, is_terminal=self._file.isatty()))
            self._file.flush()
        except OSError as error:
            raise OutputFailedError(_explain(self.name, error)) from None

    def keep(self) -> None:
        """Make what was written the file.

        Raises:
            OutputFailedError: The system says why.
        """
        try:
            self._file.close()
            if self._path != self._target:
                self._path.replace(self._target)
                self.name = self.name.removesuffix(SUFFIX)
        except OSError as error:
            raise OutputFailedError(_explain(self.name, error)) from None

    def set_aside(self) -> None:
        """Close it under a name that no later run takes: some of its rows are nowhere else.

        Raises:
            OutputFailedError: The system says why.
        """
        try:
            self._file.close()
            if self._path != self._target:
                number = 1
                while (aside := Path(f"{self._target}{RESCUED}{number}")).exists():
                    number += 1
                self._path = self._path.rename(aside)
                self.name = f"{self.name.removesuffix(SUFFIX)}{RESCUED}{number}"
        except OSError as error:
            raise OutputFailedError(_explain(self.name, error)) from None

    def close(self) -> None:
        """Close it, whatever was written; again does nothing."""
        with suppress(OSError):  # a full disk was told when it was written
            self._file.close()


def _is_special(path: Path) -> bool:
    """Tell whether rows can be written there and nowhere beside it: a device, a pipe."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _holds_something_else(path: Path) -> bool:
    """Tell whether a file is there that is not one of JSON lines, such as a store."""
    try:
        with path.open("rb") as file:
            return file.read(1) not in {b"", b"{"}
    except FileNotFoundError:
        return False


def _explain(name: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot write {name}: {reason}"
