"""Standard error: the only file that writes to it once typer and rich are there."""

from rich.console import Console

from ._words import clean


class Messages(Console):
    """Lines for people; progress is drawn below them.

    Args:
        verbose: Whether the user wants to hear more.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        super().__init__(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.verbose = verbose

    def say(self, text: str) -> None:
        """Write lines, cleaned; a standard error that cannot be written stays silent."""
        try:
            for line in text.split("\n"):
                self.print(clean(line))
        except OSError:
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Fall silent: the rows may still have a reader."""
        self.quiet = True
