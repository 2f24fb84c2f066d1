"""What one ``bulk`` command was asked to do, and how to ask for it again."""

import shlex
from enum import StrEnum

import attrs

from tiktok_following._lookups import Lookup

from ._lines import STANDARD_INPUT


class WithoutCredits(StrEnum):
    """What to do when the credits have run out."""

    STOP = "stop"
    WAIT = "wait"


@attrs.frozen(kw_only=True)
class BulkPlan:
    """The options of ``bulk``, checked."""

    input: str
    """A file; ``-`` is standard input."""
    store: str
    column: str | None = None
    sandbox: bool = False
    max_credits: int | None = None
    """The most credits of this run."""
    concurrency: int | None = None
    limit_per_handle: int | None = None
    """The most accounts of each list."""
    max_pages: int | None = None
    """The most pages of each list."""
    retry_failed: bool = False
    on_insufficient_credits: WithoutCredits = WithoutCredits.STOP
    jsonl: str | None = None
    """Where rows go; ``-`` is standard output."""
    trim: bool = False

    def write_command(self, *, retry_failed: bool = False) -> str:
        """Write this command again, for a shell.

        Args:
            retry_failed: Whether failed handles are to be asked for again.
        """
        words = ["tiktok-following", "bulk", "--store", self.store]
        options = {
            "--column": self.column,
            "--max-credits": self.max_credits,
            "--concurrency": self.concurrency,
            "--limit-per-handle": self.limit_per_handle,
            "--max-pages": self.max_pages,
            "--jsonl": self.jsonl,
        }
        if self.on_insufficient_credits is WithoutCredits.WAIT:
            options["--on-insufficient-credits"] = self.on_insufficient_credits.value
        for option, value in options.items():
            if value is not None:
                words += [option, str(value)]
        flags = {
            "--sandbox": self.sandbox,
            "--retry-failed": self.retry_failed or retry_failed,
            "--trim": self.trim,
        }
        words += [flag for flag, is_set in flags.items() if is_set]
        is_option = self.input.startswith("-") and self.input != STANDARD_INPUT
        return shlex.join([*words, *["--"] * is_option, self.input])

    def wants(self, lookup: Lookup | None) -> bool:
        """Tell whether a run would buy something of a handle, by what the store has of it."""
        if lookup is None or lookup.state == "pending":
            return True
        if lookup.state == "limited":
            has_room = self.limit_per_handle is None or lookup.accounts < self.limit_per_handle
            return has_room and (self.max_pages is None or lookup.pages < self.max_pages)
        return lookup.state == "failed" and self.retry_failed
