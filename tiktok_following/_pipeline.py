"""The road of one request: retry(throttle(transport, parse)), and what it cost.

The law: an attempt is admitted, sent once, read and settled, in this order, and settled whatever
ends it. A success never meets tenacity.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import nullcontext
from copy import copy
from functools import partial
from random import Random
from typing import Any, TypeVar

from ._answers import Answers
from ._call import AnsweredCancellation, Call, Parse
from ._config import ApiKey, Options
from ._deadline import Deadline, Deadlines
from ._errors import (
    APIError,
    BudgetExceededError,
    ClientClosedError,
    InsufficientCreditsError,
    RequestError,
    TransportError,
)
from ._events import RetryScheduled
from ._ledger import Bill, Ledger, Permit
from ._limits import RetryQuota
from ._models import FollowingPage
from ._retry import Retries, is_retryable
from ._sending import Sending
from ._throttle import Throttle
from ._transport import Transport
from ._turns import Turns
from ._watch import Watch
from ._wire import STATUS_OK, Request, Response, is_refusal, parse_following_response

_logger = logging.getLogger("tiktok_following")
T = TypeVar("T")

MIN_PAUSE = 0.01
"""Seconds: a refusal always pauses, so that not even a server saying 0 is asked in a tight loop."""
JITTER = 0.1
"""Up to this part of a pause is added by chance, so that clients do not come back together."""
MAX_JITTER = 1.0
"""Seconds: the most that is added."""


class Pipeline:
    """Sends requests with all that this package promises about them.

    Args:
        key: The API key.
        transport: Sends one request.
        pages: The throttle of the pages.
        free: The throttle of the free routes.
        quota: Retry tokens of the pages.
        free_quota: Retry tokens of the free routes.
        chance: Where jitter comes from.
        watch: Who looks at attempts and retries.
    """

    def __init__(
        self,
        key: ApiKey,
        transport: Transport,
        *,
        pages: Throttle,
        free: Throttle,
        quota: RetryQuota,
        free_quota: RetryQuota,
        chance: Random,
        watch: Watch,
    ) -> None:
        self._key = key
        self._transport = transport
        self._pages = pages
        self._free = free
        self._quota = quota
        self._free_quota = free_quota
        self._chance = chance
        self._watch = watch
        self._deadlines = Deadlines()
        self.turns = Turns(time.monotonic)
        """Of all who read what came together."""
        self._answers = Answers(key, transport, self.turns)

    def send_page(
        self, request: Request, ledger: Ledger, options: Options, bill: Bill | None = None
    ) -> Coroutine[Any, Any, tuple[FollowingPage, bytes]]:
        """Buy one page, when awaited, and let `bill` hear its cost; give it with its body.

        Raises:
            RequestError: It could not be had.
            ClientClosedError: The client was closed.
        """
        return self._send(
            Call(request, _parse_page, self._pages, self._quota, ledger, options, _read_books, bill)
        )

    def send_free(
        self, request: Request, parse: Parse[T], options: Options
    ) -> Coroutine[Any, Any, T]:
        """Ask a free route, when awaited; raises as `send_page`."""
        return self._send(Call(request, parse, self._free, self._free_quota, Ledger(), options))

    def close(self) -> None:
        """Leave nothing behind, once nothing is under way."""
        self._deadlines.close()

    async def _send(self, call: Call[T]) -> T:
        call.deadline = Deadline(self._deadlines, call.options.deadline)
        try:
            try:
                permit = call.throttle.admit_at_once(call.ledger)
                return await (self._attempt(call) if permit is None else self._begin(call, permit))
            except RequestError as error:
                if not call.may_retry(error):
                    raise
                failed = error
            return await self._retry(call, failed)
        except BaseException as error:
            call.finish(error)
            if call.is_late(error):
                raise call.make_deadline_error() from call.failed
            raise
        finally:
            call.deadline.end()

    async def _retry(self, call: Call[T], failed: RequestError) -> T:
        async def sleep(seconds: float) -> None:
            self._watch.tell(
                RetryScheduled(
                    handle=call.request.handle,
                    cursor=call.request.cursor,
                    attempt=call.attempts + 1,
                    seconds=seconds,
                    error=copy(call.failed or failed),
                )
            )
            if any(call.spent) and call.bill is not None:
                with call.deadline.hold():  # the disk is not the API
                    await call.bill.note()
            await call.throttle.back_off(call.ledger, seconds)
            call.ledger.count_wait(seconds)

        return await Retries(call.options.retry, call.quota, self._chance, sleep).run(
            failed, lambda: self._attempt(call), call.may_retry
        )

    async def _attempt(self, call: Call[T]) -> T:
        """Make one attempt; a retry that the budget has no room for is the failure before it."""
        call.is_admitted = False
        try:
            permit = await self._wait(call)
        except ClientClosedError as error:
            raise error from call.failed
        except RequestError as error:
            if isinstance(error, BudgetExceededError) and call.failed is not None:
                raise call.failed from call.failed.__cause__
            raise call.annotate(error) from None
        return await self._begin(call, permit)

    def _begin(self, call: Call[T], permit: Permit) -> Coroutine[Any, Any, T]:
        """Count an attempt that was admitted, and make it when this is awaited."""
        call.is_admitted = True
        call.attempts += 1
        if call.attempts > 1:
            call.ledger.count_retry()
        call.is_watched = self._watch.is_on or _logger.isEnabledFor(logging.DEBUG)
        if call.is_watched:
            return self._spend_watched(call, permit)
        return self._spend(call, permit)

    async def _wait(self, call: Call[T]) -> Permit:
        """Wait until it may go, within the deadline if the options count that."""
        max_wait = call.options.retry.max_retry_after
        with nullcontext() if call.options.counts_waiting else call.deadline.hold():
            return await call.throttle.admit(call.ledger, max_wait)

    async def _spend(self, call: Call[T], permit: Permit) -> T:
        """Send what was admitted, and settle it whatever happens."""
        take_turn = partial(self._answers.wait, call, permit) if call.options.takes_turns else None
        sending, response = self._transport.make_sending(call.options.timeout, take_turn), None
        call.sent_at, call.spent = permit.sent_at, (0, 0)
        try:
            response = await self._transport.send(call.request.url, sending)
            lacks_turn = response.status == STATUS_OK and not sending.had_turn
            if lacks_turn and (turn := self._answers.wait(call, permit, response)) is not None:
                await turn
            if (answer := call.answer) is None:
                answer = call.accept(permit, call.parse(call.request, response, self._key))
        except RequestError as error:
            self._fail(call, permit, error)
            raise
        except BaseException as error:
            if call.answer is not None:
                raise
            response = response or self._transport.rescue(sending)
            paid = self._give_up(call, permit, sending, response)
            if paid is None or not isinstance(error, asyncio.CancelledError):
                raise
            raise AnsweredCancellation(paid) from None
        finally:
            call.settle(permit)
        return answer

    def _fail(self, call: Call[T], permit: Permit, error: RequestError) -> None:
        """Note what an attempt that failed cost, and let everybody hear of it."""
        if call.throttle is self._free:
            error.may_be_charged = False
        call.is_at_risk |= error.may_be_charged
        call.spent = permit.count_cost(error)
        call.failed = call.annotate(error)
        self._hear(call, permit, error)

    def _give_up(
        self, call: Call[T], permit: Permit, sending: Sending, response: Response | None
    ) -> T | None:
        """Note what an attempt that was given up cost: its answer tells, if it is here."""
        call.spent, answer = (0, permit.reserved if sending.was_sent else 0), None
        try:
            if response is not None:
                answer = call.parse(call.request, response, self._key)
                call.spent = call.read_books(answer)[0], 0
        except RequestError as error:
            call.spent = permit.count_cost(error)
        finally:
            call.is_at_risk |= call.spent[1] > 0
        return answer

    async def _spend_watched(self, call: Call[T], permit: Permit) -> T:
        """Do as `_spend`, and tell how it ended."""
        began = time.monotonic()
        with self._watch.attempt(call.request, call.attempts):
            try:
                answer = await self._spend(call, permit)
            except BaseException as error:
                self._watch.tell(call.make_event(began, error, is_free=call.throttle is self._free))
                raise
            self._watch.tell(call.make_event(began, None, is_free=call.throttle is self._free))
            return answer

    def _hear(self, call: Call[T], permit: Permit, error: RequestError) -> None:
        """Let the throttle know what an error says about everybody's requests."""
        if isinstance(error, InsufficientCreditsError) and call.throttle is self._pages:
            self._pages.stop_spending(permit, error)
        if isinstance(error, APIError) and is_refusal(error):
            seconds = error.retry_after
            if seconds is None:
                seconds = call.options.retry.backoff(call.throttle.refusals)
            call.pause = seconds = max(seconds, MIN_PAUSE)
            jitter = self._chance.uniform(0.0, min(seconds * JITTER, MAX_JITTER))
            call.throttle.refuse(permit, seconds, error, jitter)
        elif not isinstance(error, TransportError):
            call.throttle.note_answer()
            call.throttle.approve(permit, is_good=not is_retryable(error))


def _parse_page(request: Request, response: Response, key: ApiKey) -> tuple[FollowingPage, bytes]:
    return parse_following_response(request, response, key), response.body


def _read_books(answer: tuple[FollowingPage, bytes]) -> tuple[int, str]:
    return answer[0].credits_charged, str(answer[0].status)
