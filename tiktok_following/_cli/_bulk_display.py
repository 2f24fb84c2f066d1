"""Progress of a run over many handles: drawn on a terminal, a line now and then elsewhere."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from tiktok_following._outcomes import RunProgress
from tiktok_following._status import WaitsFor

from ._messages import Messages
from ._words import count

_SECONDS_BETWEEN_LINES = 5.0
_WAITS: dict[WaitsFor, str] = {
    "connection": "no connection to the API, trying again",
    "credits": "out of credits, waiting for more",
}


class BulkDisplay:
    """Shows how a run stands, on standard error.

    Args:
        messages: Where it is shown.
        is_drawn: Whether two lines at the foot of a terminal may be drawn: not where rows go to the
            same terminal.
    """

    def __init__(self, messages: Messages, *, is_drawn: bool) -> None:
        self._messages = messages
        self._bar = Progress(
            BarColumn(30), TaskProgressColumn(), TextColumn("{task.description}", markup=False)
        )
        self._task = self._bar.add_task("", total=None)
        self._live: Live | None = None
        if is_drawn and messages.is_interactive:
            self._live = Live(
                console=messages,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
        self._next_line = _SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            with suppress(OSError):  # the terminal may be gone
                self._live.stop()

    def show(self, progress: RunProgress) -> None:
        """Show a snapshot: at once on a terminal, else if the last was some seconds ago."""
        if self._live is not None:
            with suppress(OSError):
                self._draw(self._live, progress)
        elif progress.seconds >= self._next_line:
            self._next_line = progress.seconds + _SECONDS_BETWEEN_LINES
            self._messages.say(", ".join([*_describe_handles(progress), *_describe_work(progress)]))

    def _draw(self, live: Live, progress: RunProgress) -> None:
        handles, *rest = _describe_handles(progress)
        words = ", ".join((handles, *rest))
        completed = progress.done + progress.failed + progress.skipped
        self._bar.update(self._task, description=words, completed=completed, total=progress.total)
        work = Text(", ".join(_describe_work(progress)), no_wrap=True, overflow="ellipsis")
        live.update(Group(self._bar, work), refresh=True)


def _count_ended(progress: RunProgress) -> int:
    return progress.done + progress.failed + progress.skipped


def _describe_handles(progress: RunProgress) -> Iterator[str]:
    ended = _count_ended(progress)
    yield count(ended, "handle") if progress.total is None else f"{ended:,} of {progress.total:,}"
    if progress.failed:
        yield f"{progress.failed:,} failed"
    if progress.eta is not None:
        yield f"{format_seconds(progress.eta)} left"


def _describe_work(progress: RunProgress) -> Iterator[str]:
    if progress.waits_for is not None:
        yield _WAITS[progress.waits_for]
    if progress.paused_for > 0:
        yield f"paused, {format_seconds(progress.paused_for)} to go"
    yield count(progress.pages, "page")
    yield f"{progress.pages_per_second:,.1f} pages/s"
    yield f"{count(progress.usage.credits_charged, 'credit')} charged"
    if progress.usage.credits_at_risk:
        yield f"{progress.usage.credits_at_risk:,} at risk"
    yield f"{progress.in_flight:,} in flight of {progress.limit:,}"


def format_seconds(seconds: float) -> str:
    """Write a time as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
