"""Progress of what takes long, on a terminal."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ._messages import Messages


class ReadingProgress:
    """One line at the foot of standard error that goes away at the end.

    Args:
        messages: Where it is drawn.
        is_shown: Whether it is: rows on the same terminal are progress enough, and what reads a
            pipe may draw there too.
        nouns: What is counted.
    """

    def __init__(self, messages: Messages, *, is_shown: bool, nouns: str = "accounts") -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn(nouns),
            TimeElapsedColumn(),
            console=messages,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not (is_shown and messages.is_interactive),
        )
        self._task = self._progress.add_task("", start=False, total=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, handle: str) -> None:
        """Begin one; nothing is shown before it turns out to be long."""
        self._progress.reset(self._task, description=handle, total=None)

    def advance(self, accounts: int, total: int | None) -> None:
        """Show how many there are so far, of how many, while there are more to come."""
        self._progress.start()
        self._progress.update(self._task, completed=accounts, total=total, refresh=True)
