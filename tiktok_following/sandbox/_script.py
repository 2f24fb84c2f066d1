"""Hold what the test has planned, and give each request the fault that is meant for it."""

from collections import deque
from collections.abc import Callable
from types import EllipsisType

from attrs import frozen

from tiktok_following.sandbox._requests import RecordedRequest
from tiktok_following.sandbox.faults import Fault

Chooser = Callable[[RecordedRequest], Fault | None]
"""Decides the fault of one request; None leaves it honest."""


@frozen
class _Rule:
    """A queue of faults for the requests that match."""

    route: str
    handle: str | None
    cursor: str | EllipsisType | None
    faults: deque[Fault]

    def matches(self, request: RecordedRequest) -> bool:
        """Say whether the next fault is meant for this request."""
        return (
            self.route == request.route
            and self.handle in {None, (request.handle or "").lower()}
            and self.cursor in {..., request.cursor}
            and bool(self.faults)
        )


class Script:
    """The planned faults: queues first, in the order they were given, then the chooser."""

    def __init__(self) -> None:
        self.chooser: Chooser | None = None
        self._rules: list[_Rule] = []

    @property
    def faults_left(self) -> int:
        """How many queued faults no request has met yet."""
        return sum(len(rule.faults) for rule in self._rules)

    def queue(
        self,
        faults: tuple[Fault, ...],
        route: str,
        handle: str | None,
        cursor: str | EllipsisType | None,
    ) -> None:
        """Plan one fault each for the next requests that match."""
        self._rules.append(_Rule(route, handle and handle.lower(), cursor, deque(faults)))

    def clear(self) -> None:
        """Forget everything planned."""
        self.chooser = None
        self._rules = []

    def next_fault(self, request: RecordedRequest) -> Fault | None:
        """Take the fault that is meant for this request, or None if it is to be honest."""
        for rule in self._rules:
            if rule.matches(request):
                return rule.faults.popleft()
        return self.chooser(request) if self.chooser else None
