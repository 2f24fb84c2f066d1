"""One call on its way through all its attempts: what is known of it so far.

The law: `_pipeline` moves it; it books what became of it, and waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from ._config import ApiKey, Options
from ._errors import DeadlineExceededError, FollowingError, RequestError, ResponseDecodeError
from ._events import AttemptFinished
from ._ledger import Bill, Ledger, Permit
from ._limits import RetryQuota
from ._retry import is_retryable
from ._wire import STATUS_OK, Request, Response, is_refusal

if TYPE_CHECKING:
    from ._deadline import Deadline
    from ._throttle import Throttle

T = TypeVar("T")
Parse = Callable[[Request, Response, ApiKey], T]


class AnsweredCancellation(asyncio.CancelledError):
    """A call was cancelled when its answer was here, and paid: this brings it to who keeps it."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


@attrs.define(eq=False)
class Call(Generic[T]):
    """One request on its way, through all its attempts."""

    request: Request
    parse: Parse[T]
    throttle: Throttle
    quota: RetryQuota
    ledger: Ledger
    options: Options
    read_books: Callable[[T], tuple[int, str]] = lambda _: (0, "")
    """Tells the credits that an answer says it cost, and what kind of answer it is."""
    bill: Bill | None = None
    """What hears the cost of this call besides the ledger."""
    deadline: Deadline = attrs.field(init=False)
    is_watched: bool = False
    """Whether somebody hears of its attempts."""
    answer: T | None = None
    """The answer, once it is booked, maybe by another than the task that waits for it."""
    attempts: int = 0
    failed: RequestError | None = None
    """How the last attempt ended."""
    is_admitted: bool = False
    """Whether the latest error is that of an attempt, and not of the wait for one."""
    sent_at: float = float("-inf")
    """When the last attempt was sent, by the throttle's clock."""
    spent: tuple[int, int] = (0, 0)
    """The credits that the last attempt was charged, and those it put at risk."""
    pause: float = 0.0
    """Seconds that the last refusal asked to wait."""
    is_at_risk: bool = False
    """Whether an attempt so far may have been charged."""

    def annotate(self, error: RequestError) -> RequestError:
        """Tell an error which request it is about."""
        error.handle, error.cursor = self.request.handle, self.request.cursor
        error.attempts = self.attempts
        error.sent_at = self.sent_at
        return error

    def accept(self, permit: Permit, answer: T) -> T:
        """Book an answer that is as it should be."""
        charged, kind = self.read_books(answer)
        self.spent = charged, 0
        self.throttle.approve(permit)
        self.settle(permit)
        self.quota.give_back()
        self.ledger.finish(kind)
        self.answer = answer
        return answer

    def settle(self, permit: Permit) -> None:
        """Book what the last attempt cost, unless it was booked with its answer."""
        if self.answer is not None:
            return
        (charged, at_risk), bill = self.spent, self.bill
        self.throttle.settle(permit, charged, at_risk)
        if bill is not None:
            bill.charged += charged
            bill.at_risk += at_risk

    def may_retry(self, error: BaseException) -> bool:
        """Tell whether an error is that of an attempt, and of a kind and a pause to wait for."""
        if not self.is_admitted or not is_retryable(error):
            return False
        return not is_refusal(error) or self.pause <= self.options.retry.max_retry_after

    def make_event(
        self, began: float, failure: BaseException | None, *, is_free: bool
    ) -> AttemptFinished:
        """Tell how an attempt ended that began then, by the monotonic clock."""
        error = copy(failure) if isinstance(failure, FollowingError) else None
        is_read = failure is None or isinstance(failure, ResponseDecodeError | AnsweredCancellation)
        charged, at_risk = (0, 0) if is_free else self.spent
        return AttemptFinished(
            url=self.request.url,
            handle=self.request.handle,
            cursor=self.request.cursor,
            attempt=self.attempts,
            seconds=time.monotonic() - began,
            status_code=STATUS_OK if is_read else getattr(error, "status_code", None),
            error=error,
            is_cancelled=failure is not None and error is None,
            credits_charged=charged,
            credits_at_risk=at_risk,
        )

    def finish(self, error: BaseException) -> None:
        """Count what ended the call, and let it say whether any attempt may have been charged."""
        if self.answer is not None:
            return  # that was counted already
        if isinstance(error, AnsweredCancellation):
            self.ledger.finish(self.read_books(error.answer)[1])
            return
        if isinstance(error, RequestError):
            error.may_be_charged = self.is_at_risk
        kind = DeadlineExceededError if self.is_late(error) else type(error)
        self.ledger.finish(kind.__name__)

    def is_late(self, error: BaseException) -> bool:
        """Tell whether it was the deadline that ended the call."""
        return isinstance(error, asyncio.CancelledError) and self.deadline.is_over

    def make_deadline_error(self) -> DeadlineExceededError:
        """Make the error of a call whose deadline is over."""
        waited = "waiting to be sent" if self.attempts == 0 else f"after {self.attempts} attempts"
        text = f"no answer within the deadline of {self.options.deadline:g} s, {waited}"
        if self.failed is not None:
            text += f"; the last failure: {self.failed.message}"
        error = DeadlineExceededError(text, may_be_charged=self.is_at_risk)
        self.annotate(error)
        return error
