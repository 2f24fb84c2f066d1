"""What was paid, what may have been paid, and what is set aside: the money of one client or list.

The law: charged + at risk + reserved never exceeds `max_credits`, in a ledger or any above it,
while a page costs what is documented. Nothing here waits: it says whether to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs

from ._config import check_number
from ._errors import BudgetExceededError, FollowingError, RequestError
from ._models import Usage

_MOST_OUTCOMES = 64
_LONGEST_OUTCOME = 64


class Reader(Protocol):
    """Who may read answers in place of the task that asked."""

    is_awaited: bool

    @property
    def take(self) -> Callable[[Any, Any], None]:
        """What takes the bill, and what was read for it."""
        ...

    def add(self, land: Callable[[], None]) -> Awaitable[None]:
        """Leave an answer to it, as what reads that; give what is to be awaited."""
        ...


class Bill(Protocol):
    """What hears how many credits something cost, without a limit of its own."""

    charged: int
    at_risk: int

    @property
    def reader(self) -> Reader | None:
        """Who reads its answers, if it waits for them; `None` if that is always who asked."""
        ...

    def note(self) -> Awaitable[None]:
        """Write down what was put at risk, before another attempt, or a wait that may be long."""
        ...


@attrs.define
class Permit:
    """The right to send one request now; it must be settled."""

    ledger: Ledger
    reserved: int
    sent_at: float

    def count_cost(self, error: RequestError) -> tuple[int, int]:
        """Give the credits a failed attempt is known to have cost, and those it may have."""
        charged: int | None = getattr(error, "credits_charged", None)
        if charged is not None:
            return charged, 0
        return 0, self.reserved if error.may_be_charged else 0


class Ledger:
    """The credits of a client, a `with_options` client or a list; each entry counts in its parents.

    Args:
        parent: The ledger this one spends from; `None` for the root.
        max_credits: The most to spend here; `None` means no limit of its own.

    Raises:
        ConfigurationError: `max_credits` is no whole number ≥ 0.
    """

    __slots__ = (
        "_root",
        "attempts",
        "credits_at_risk",
        "credits_charged",
        "credits_reserved",
        "dearest",
        "max_credits",
        "outcomes",
        "parent",
        "pauses",
        "promised",
        "requests",
        "retries",
        "seconds_waited",
        "stop",
    )

    def __init__(self, parent: Ledger | None = None, *, max_credits: int | None = None) -> None:
        if max_credits is not None:
            check_number("max_credits", max_credits, low=0, whole=True)
        self.max_credits = max_credits
        self.parent = parent
        self._root: Ledger | None = parent and parent.root
        self.promised = 0
        """Credits kept for requests that have a slot and are about to reserve them."""
        self.dearest = 1
        """The dearest price of a page seen, in credits; kept by the root."""
        self.stop: FollowingError | None = None
        """Why nothing more may be spent here, for good; `None` as long as it may."""
        self.credits_charged = self.credits_at_risk = self.credits_reserved = 0
        self.requests = self.attempts = self.retries = self.pauses = 0
        self.seconds_waited = 0.0
        self.outcomes: dict[str, int] = {}

    @property
    def root(self) -> Ledger:
        """The one above all; a ledger does not hold itself, so that none is left as garbage."""
        return self._root or self

    @property
    def chain(self) -> tuple[Ledger, ...]:
        """This ledger and all above it, the root last; what every page meets walks `parent`."""
        chain: list[Ledger] = [self]
        while (above := chain[-1].parent) is not None:
            chain.append(above)
        return tuple(chain)

    @property
    def usage(self) -> Usage:
        """A snapshot."""
        return Usage(
            credits_charged=self.credits_charged,
            credits_at_risk=self.credits_at_risk,
            credits_reserved=self.credits_reserved,
            requests=self.requests,
            attempts=self.attempts,
            retries=self.retries,
            pauses=self.pauses,
            seconds_waited=self.seconds_waited,
            outcomes=dict(self.outcomes),
        )

    @property
    def price(self) -> int:
        """What to set aside for a page: 1 credit, or the dearest price seen."""
        return self.root.dearest

    def is_spent(self) -> bool:
        """Tell whether no page fits any more, even if nothing under way is charged."""
        if self.max_credits is None:
            return False
        return self.credits_charged + self.credits_at_risk + self.price > self.max_credits

    def is_full(self) -> bool:
        """Tell whether no page fits now, counting what others have reserved."""
        if self.max_credits is None:
            return False
        spent = self.credits_charged + self.credits_at_risk
        return spent + self.credits_reserved + self.promised + self.price > self.max_credits

    def has_room(self) -> bool:
        """Tell whether nothing stands against a page now: neither a stop nor a budget."""
        ledger: Ledger | None = self
        while ledger is not None:
            if ledger.stop is not None or (ledger.max_credits is not None and ledger.is_full()):
                return False
            ledger = ledger.parent
        return True

    def find_stop(self) -> FollowingError | None:
        """Find what stands against spending here for good; `None` when nothing does."""
        for ledger in self.chain:
            if ledger.stop is not None:
                return ledger.stop
        return None

    def find_block(self) -> Ledger | None:
        """Find the ledger that has no room for a page now; a spent one before one that is full."""
        full = [ledger for ledger in self.chain if ledger.is_full()]
        return max(full, key=Ledger.is_spent, default=None)

    def make_error(self) -> BudgetExceededError:
        """Make the error of a page that is not bought because this is spent."""
        spent = self.credits_charged + self.credits_at_risk
        return BudgetExceededError(
            f"max_credits={self.max_credits} does not allow another page: "
            f"{spent} spent or at risk, a page costs {self.price}"
        )

    def promise(self, credits_: int) -> int:
        """Keep credits for a request that was given a slot; a negative number gives them back."""
        for ledger in self.chain:
            ledger.promised += credits_
        return credits_

    def reserve(self) -> int:
        """Set the price of a page aside for one attempt; return how much."""
        price = self.root.dearest
        ledger: Ledger | None = self
        while ledger is not None:
            ledger.credits_reserved += price
            ledger.attempts += 1
            ledger = ledger.parent
        return price

    def settle(self, reserved: int, charged: int = 0, at_risk: int = 0) -> None:
        """Turn a reservation into what became of it; what is neither is free again."""
        root = self.root
        if charged > root.dearest:  # noqa: PLR1730 - a call of max() takes longer than this line
            root.dearest = charged
        ledger: Ledger | None = self
        while ledger is not None:
            ledger.credits_reserved -= reserved
            ledger.credits_charged += charged
            ledger.credits_at_risk += at_risk
            ledger = ledger.parent

    def count_retry(self) -> None:
        """Count an attempt that follows a failed one."""
        for ledger in self.chain:
            ledger.retries += 1

    def count_pause(self) -> None:
        """Count an answer that asked to wait."""
        for ledger in self.chain:
            ledger.pauses += 1

    def count_wait(self, seconds: float) -> None:
        """Count time spent waiting."""
        for ledger in self.chain:
            ledger.seconds_waited += seconds

    def finish(self, outcome: str) -> None:
        """Count a page that was asked for, by what became of it."""
        ledger: Ledger | None = self
        while ledger is not None:
            ledger.requests += 1
            count = ledger.outcomes.get(outcome)
            if count is None:
                _count_first(ledger.outcomes, outcome)
            else:
                ledger.outcomes[outcome] = count + 1
            ledger = ledger.parent


def _count_first(outcomes: dict[str, int], outcome: str) -> None:
    """Count one that was not counted before, so that no server fills memory with its inventions."""
    is_short = len(outcome) <= _LONGEST_OUTCOME
    name = outcome if is_short and len(outcomes) < _MOST_OUTCOMES else "other"
    outcomes[name] = outcomes.get(name, 0) + 1
