"""Who looks inside a client: its log, its listener, its spans. The only file that tells events.

The law: an event is told once, here, and all three read the same one. Nobody who looks can break
what is looked at.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import ParamSpec, Protocol, TypeVar

from ._config import check_callback
from ._events import AttemptFinished, Event, LimitChanged, Paused, RetryScheduled, RunEnded
from ._wire import Request

P = ParamSpec("P")
T = TypeVar("T")
OnEvent = Callable[[Event], object]

_logger = logging.getLogger("tiktok_following")
_LEVELS: dict[type[Event], int] = {
    AttemptFinished: logging.DEBUG,
    RetryScheduled: logging.DEBUG,
    Paused: logging.INFO,
    LimitChanged: logging.INFO,
    RunEnded: logging.INFO,
}
_PREFIX = "following_"
"""What the names of an event's fields begin with on a log record, where others have theirs."""


class Spans(Protocol):
    """Measures calls and their attempts, around which it stands."""

    def call(self, request: Request) -> AbstractContextManager[object]:
        """Stand around a call, with all its waits and attempts."""
        ...

    def attempt(self, request: Request, number: int) -> AbstractContextManager[object]:
        """Stand around one attempt of a call, counted from 1, until it has been told."""
        ...

    def hear(self, event: Event) -> None:
        """Take what was told within one of them."""
        ...


class Watch:
    """Tells events to all who look.

    Args:
        on_event: The user's function; `None` without one.

    Raises:
        ConfigurationError: It is no function, or one to be awaited.
    """

    def __init__(self, on_event: OnEvent | None = None) -> None:
        check_callback("on_event", on_event)
        self._on_event = on_event
        self._spans: Spans | None = None
        self.is_on = on_event is not None
        """Whether anybody looks but the log."""
        self._failures: set[str] = set()

    def trace(self, spans: Spans) -> None:
        """Have calls and attempts measured from now on."""
        self._spans = spans
        self.is_on = True

    def call(self, request: Request) -> AbstractContextManager[object]:
        """Give what is to stand around a call."""
        return nullcontext() if self._spans is None else self._spans.call(request)

    def attempt(self, request: Request, number: int) -> AbstractContextManager[object]:
        """Give what is to stand around an attempt."""
        return nullcontext() if self._spans is None else self._spans.attempt(request, number)

    def tell(self, event: Event) -> None:
        """Let all who look know what happened."""
        level = _LEVELS.get(type(event))
        if level is not None and _logger.isEnabledFor(level):
            fields = {_PREFIX + name: value for name, value in event.to_dict().items()}
            self.call_safely("logging", _logger.log, level, "%s", event, extra=fields)
        if self._spans is not None:
            self.call_safely(f"a span, told {event.name},", self._spans.hear, event)
        if self._on_event is not None:
            self.call_safely(f"on_event, told {event.name},", self._on_event, event)

    def call_safely(
        self, what: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Call what is not ours: what it raises is logged, the first time for each `what`."""
        try:
            return function(*args, **kwargs)
        # Nothing is awaited, so a cancellation is not ours: the result of some cancelled task.
        except (Exception, asyncio.CancelledError):
            if what not in self._failures:
                self._failures.add(what)
                with suppress(Exception):  # it may be the log that failed
                    _logger.exception("%s failed; if it fails again, that is not logged", what)
            return None
