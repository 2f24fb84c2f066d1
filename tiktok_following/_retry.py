"""Which failure is tried again, and when: the retry table, held by tenacity.

| what happened | then |
|---|---|
| not sent | again after a backoff, `max_attempts` in all |
| told to wait (503, 429) | again when the throttle's pause is over; costs time, not attempts |
| sent, and nobody knows | again after a backoff, `ambiguous_retries` times |
| everything else | never |
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar, cast

from tenacity import AsyncRetrying, Future, RetryCallState, retry_if_exception

from ._config import RetryPolicy
from ._errors import RequestError, ServerError, TransportError
from ._limits import RetryQuota
from ._wire import is_refusal

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


def is_retryable(error: BaseException) -> bool:
    """Tell whether trying again can help at all."""
    return isinstance(error, TransportError | ServerError) or is_refusal(error)


class Retries:
    """The retries of one page, made when its first attempt failed.

    Args:
        policy: How often and how long apart.
        quota: Tokens shared with other pages.
        chance: Where jitter comes from.
        sleep: How to wait, in seconds.
    """

    def __init__(
        self, policy: RetryPolicy, quota: RetryQuota, chance: Random, sleep: Sleep
    ) -> None:
        self._policy = policy
        self._quota = quota
        self._chance = chance
        self._sleep = sleep
        self._failures = 0
        self._ambiguous = 0

    async def run(
        self,
        failed: RequestError,
        attempt: Callable[[], Awaitable[T]],
        may_retry: Callable[[BaseException], bool],
    ) -> T:
        """Try again until it works or the policy ends.

        Args:
            failed: How the first attempt, made outside, ended; it counts as the first here.
            attempt: Makes one more.
            may_retry: Tells whether an error is one of an attempt that may be repeated.

        Raises:
            RequestError: The last failure.
        """
        first = [failed]

        async def replay_or_attempt() -> T:
            if first:
                raise first.pop()
            return await attempt()

        # One per call: tenacity keeps the state of a call on this object.
        retrying = AsyncRetrying(
            retry=retry_if_exception(may_retry),
            wait=self._choose_wait,
            stop=self._must_stop,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(replay_or_attempt)

    def _choose_wait(self, state: RetryCallState) -> float:
        """Give the seconds to back off; after a refusal the throttle does the waiting."""
        if is_refusal(_read_error(state)):
            return 0.0
        return self._chance.uniform(0.0, self._policy.backoff(self._failures + 1))

    def _must_stop(self, state: RetryCallState) -> bool:
        """Count a failure, and tell whether it is the last; asked once for each."""
        error = _read_error(state)
        if is_refusal(error):
            return False
        self._failures += 1
        self._ambiguous += error.may_be_charged
        return (
            self._failures >= self._policy.max_attempts
            or self._ambiguous > self._policy.ambiguous_retries
            or not self._quota.take()
        )


def _read_error(state: RetryCallState) -> RequestError:
    return cast("RequestError", cast("Future", state.outcome).exception())
