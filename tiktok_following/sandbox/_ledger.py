"""Keep the credit account of every key; the only file that moves credits."""

import threading

from attrs import frozen

_SHORTEST_SHOWN = 12
"""Shorter keys would be shown nearly whole."""


@frozen(kw_only=True)
class Charge:
    """One billed request, as the provider's books have it."""

    key: str
    """The key that paid, shortened so that it can be shown."""

    handle: str
    """The handle that was asked for, as sent."""

    cursor: str | None
    """The cursor that was sent; None for the first page."""

    credits: int
    """Credits taken for this request."""

    request_id: str
    """The ``meta.requestId`` of the answer, also of one that never arrived."""


class Ledger:
    """The credits of every key, and what was taken from them.

    A lock guards the sums, because a test may top up from another thread than the server's.
    """

    def __init__(self, *, keep_charges: bool) -> None:
        self.charges: list[Charge] = []
        self.charged = 0
        self._keep_charges = keep_charges
        self._balances: dict[str, int] = {}
        self._lock = threading.Lock()

    def set_balance(self, key: str, credits_left: int) -> None:
        """Open an account, or give it another balance in credits."""
        if not key or credits_left < 0:
            raise ValueError("a key must not be empty and its credits must be at least 0")
        with self._lock:
            self._balances[key] = credits_left

    def balance(self, key: str) -> int | None:
        """Return the credits of a key, or None for an unknown key."""
        return self._balances.get(key)

    def bill(self, key: str, charge: Charge) -> bool:
        """Take the credits of a charge, or take nothing and say False if they are not there."""
        with self._lock:
            if self._balances[key] < charge.credits:
                return False
            self._balances[key] -= charge.credits
            self.charged += charge.credits
            if self._keep_charges:
                self.charges.append(charge)
            return True


def redact(key: str) -> str:
    """Shorten a key to what may be shown: its first and last four characters at most."""
    return f"{key[:4]}…{key[-4:]}" if len(key) > _SHORTEST_SHOWN else "…"
