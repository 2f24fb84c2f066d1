"""Signals to a run that pays: the first asks it to stop, the second leaves.

The law: a signal that the parent process has turned off, as ``nohup`` does, stays off.
"""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Self, cast

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_BASE = 128
ECHO = 0.2
"""Seconds within which another SIGTERM is the same one: ``timeout`` sends it to the process that it
started, and then to all of its group."""


class Interruption:
    """Listens for signals while it is entered, from the task that pays.

    Args:
        stop: What to do at the first.
    """

    def __init__(self, stop: Callable[[], Any]) -> None:
        self._stop = stop
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._listening = ExitStack()
        self.exit_code: int | None = None
        """The code of a process that the first signal ended; `None` before it."""
        self._is_urgent = False
        self._stopped_at = 0.0

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) is signal.SIG_IGN:
                continue
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; a thread
                loop.add_signal_handler(number, self._receive, number)
                self._listening.callback(loop.remove_signal_handler, number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.close()

    def _receive(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if self.exit_code is None:
            self.exit_code = _BASE + number
            self._stopped_at = now
            self._stop()
        elif number != signal.SIGTERM or now >= self._stopped_at + ECHO:
            self._is_urgent = True
            self._task.cancel()

    @contextmanager
    def hasten(self) -> Generator[None]:
        """Within a run's block: let the second signal not wait for its pages."""
        try:
            yield
        except asyncio.CancelledError:
            if self._is_urgent:
                self._task.cancel()  # a run drains at the first one, and leaves at the next
            raise
