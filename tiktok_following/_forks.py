"""Know a process from its copies: the only file that hears of a fork.

The law: what must not be used in a copy of the process that made it is told so in the copy, at
once, so that using it costs no look at where it is.
"""

import os
from weakref import WeakSet

from ._errors import WrongProcessError


class ProcessBound:
    """Something that belongs to the process that made it: a session, a connection, a lock."""

    is_copy = False
    """Whether this is a copy, in a process that was forked off the one that made it."""

    def __init__(self) -> None:
        _bound.add(self)

    def become_copy(self) -> None:
        """Hear, in a forked process, that this is a copy of something in use elsewhere."""
        self.is_copy = True

    def check_process(self, what: str) -> None:
        """See that this is no copy.

        Raises:
            WrongProcessError: It is one.
        """
        if self.is_copy:
            raise WrongProcessError(
                f"the {what} belongs to the process that this one was forked off: make one here"
            )


_bound: WeakSet[ProcessBound] = WeakSet()


def _tell_copies() -> None:
    for each in list(_bound):
        each.become_copy()


if hasattr(os, "register_at_fork"):  # pragma: no branch - where there is fork, the tests run
    os.register_at_fork(after_in_child=_tell_copies)
