"""Compare how long two things take in one run, so that a busy machine makes no difference."""

import time
from collections.abc import Callable

ROUNDS = 5


def compare(call: Callable[[], object], yardstick: Callable[[], object]) -> float:
    """Return how many times the processor time of the yardstick a call takes, both at best."""
    times = [(_time(call), _time(yardstick)) for _ in range(ROUNDS)]
    return min(taken for taken, _ in times) / min(taken for _, taken in times)


def _time(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun
