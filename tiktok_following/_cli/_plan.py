"""What one ``list`` command was asked to do, and how to ask for the rest of it."""

import shlex

import attrs

from ._rows import Format


@attrs.frozen(kw_only=True)
class Plan:
    """The options of ``list``, checked."""

    handles: tuple[str, ...]
    sandbox: bool
    format: Format
    limit: int | None
    """The most accounts of each list."""
    max_pages: int | None
    """The most pages of each list."""
    max_credits: int | None
    """The most credits for all lists together."""
    cursor: str | None
    trim: bool

    def expect(self, total: int | None) -> int | None:
        """Give how many rows a list of this total will have; `None` when nobody knows."""
        if total is None or self.cursor is not None:
            return None
        return total if self.limit is None else min(total, self.limit)

    def continue_from(self, handle: str, cursor: str) -> str:
        """Write the command that goes on with a list, its other options as given, for a shell."""
        words = ["tiktok-following", "list", f"@{handle}" if handle.startswith("-") else handle]
        if self.sandbox:
            words.append("--sandbox")
        if self.format != Format.TABLE:
            words += ["--format", self.format.value]
        numbers = {
            "--limit": self.limit,
            "--max-pages": self.max_pages,
            "--max-credits": self.max_credits,
        }
        for option, number in numbers.items():
            if number is not None:
                words += [option, str(number)]
        if self.trim:
            words.append("--trim")
        return shlex.join([*words, "--cursor", cursor])
