"""Count what is in flight, and for how long."""

from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic


class Load:
    """Page requests in flight: now, at most so far, and summed over time."""

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self._seconds = 0.0
        self._since = monotonic()

    @property
    def seconds(self) -> float:
        """The integral of requests in flight over time, in request-seconds."""
        return self._seconds + self.now * (monotonic() - self._since)

    @contextmanager
    def one_more(self) -> Generator[None]:
        """Count one request as in flight inside the block."""
        self._move(+1)
        try:
            yield
        finally:
            self._move(-1)

    def _move(self, step: int) -> None:
        moment = monotonic()
        self._seconds += self.now * (moment - self._since)
        self._since = moment
        self.now += step
        self.peak = max(self.peak, self.now)
