"""How long is waited before which retry: chance is an argument, and nothing is waited for."""

from random import Random

import pytest

from tiktok_following import RequestError, RetryPolicy, ServiceUnavailableError, TransportError
from tiktok_following._limits import RetryQuota
from tiktok_following._retry import Retries, is_retryable

LOST = TransportError("lost", may_be_charged=False)
BUSY = ServiceUnavailableError("busy", status_code=503)


class HighestChance(Random):
    """Draws the most that is allowed."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


async def find_waits(policy: RetryPolicy, failures: list[RequestError]) -> list[float]:
    """Fail as told, the first time outside, and give the seconds that were waited each time."""
    waits: list[float] = []
    left = failures[1:]

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    retries = Retries(policy, RetryQuota(100), HighestChance(), sleep)
    assert await retries.run(failures[0], attempt, is_retryable) == "done"
    return waits


async def test_the_longest_wait_doubles_with_each_retry_up_to_the_most() -> None:
    policy = RetryPolicy(max_attempts=6, initial_backoff=0.5, max_backoff=3.0)
    assert await find_waits(policy, [LOST] * 5) == [0.5, 1.0, 2.0, 3.0, 3.0]


async def test_the_first_wait_is_half_a_second_unless_told_otherwise() -> None:
    assert await find_waits(RetryPolicy(), [LOST] * 3) == [0.5, 1.0, 2.0]


async def test_a_refusal_between_failures_is_waited_for_elsewhere_and_doubles_nothing() -> None:
    waits = await find_waits(RetryPolicy(), [LOST, BUSY, LOST])
    assert waits == [0.5, 0.0, 1.0]


async def test_after_the_last_attempt_nothing_is_waited_for() -> None:
    with pytest.raises(TransportError):
        await find_waits(RetryPolicy(max_attempts=1), [LOST])
