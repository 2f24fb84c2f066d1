"""The handles of a run, counted by what became of them."""

import attrs

from ._outcomes import Outcome


@attrs.define
class Tally:
    """The handles of a run, counted as they end."""

    done: int = 0
    failed: int = 0
    unfinished: int = 0
    from_store: int = 0
    failed_lookups: int = 0
    """Those of the failed that were asked for in this run."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.done + self.failed + self.unfinished

    def count(self, outcome: Outcome) -> None:
        """Count one handle by its outcome."""
        if outcome.from_store:
            self.from_store += 1
        if outcome.is_unfinished:
            self.unfinished += 1
        elif outcome.error is None:
            self.done += 1
        else:
            self.failed += 1
            if outcome.handle is not None and not outcome.from_store:
                self.failed_lookups += 1
