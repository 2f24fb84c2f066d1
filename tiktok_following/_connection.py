"""What a client is, apart from what it does: opened, closed, varied, looked at."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn, Self

import attrs

from ._config import UNCHANGED, Options, RetryPolicy, Timeout, Unchanged
from ._engine import Engine
from ._ledger import Ledger
from ._limits import ThrottleState
from ._models import Usage


class Connection:
    """The life of a client, which sets these attributes at birth."""

    _engine: Engine
    _options: Options
    _ledger: Ledger
    _base_url: str = ""
    _is_root: bool
    """Whether it is not made from another by `with_options`."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be pickled or copied: make one per process")

    async def __aenter__(self) -> Self:
        self._engine.transport.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client, and its session if it is its own; closing again does nothing.

        A client made by `with_options` leaves all that to the one it was made from.

        Raises:
            WrongLoopError: The session belongs to another event loop.
        """
        if self._is_root:
            await self._engine.close()

    @property
    def usage(self) -> Usage:
        """What was asked for, sent and paid through this client and those made from it."""
        return self._ledger.usage

    @property
    def throttle(self) -> ThrottleState:
        """How many pages are in flight, may be, and wait, now."""
        return self._engine.pages.state

    def with_options(
        self,
        *,
        timeout: Timeout | Unchanged = UNCHANGED,
        deadline: float | Unchanged | None = UNCHANGED,
        retry: RetryPolicy | Unchanged = UNCHANGED,
        max_credits: int | None = None,
    ) -> Self:
        """Make a client that does some things differently and shares all else with this one.

        Session, throttle, retry quota and the stop after running out of credits are shared. What
        the new client spends counts here too, and must fit the budgets of both.

        Args:
            timeout: See `FollowingClient`; unchanged if left out.
            deadline: See `FollowingClient`; unchanged if left out.
            retry: See `FollowingClient`; unchanged if left out. Its `retry_quota` has no effect.
            max_credits: The most credits to spend with the new client, counted from 0; `None`
                means no limit beyond this client's.

        Raises:
            ConfigurationError: A setting cannot work.
        """
        given: dict[str, Any] = {"timeout": timeout, "deadline": deadline, "retry": retry}
        changes = {name: value for name, value in given.items() if value is not UNCHANGED}
        client = object.__new__(type(self))
        vars(client).update(
            vars(self),
            _options=attrs.evolve(self._options, **changes),
            _ledger=Ledger(self._ledger, max_credits=max_credits),
            _is_root=False,
        )
        return client
