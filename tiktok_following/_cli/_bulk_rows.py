"""The rows of a run.

The law: rows that the store could not take are paid, so they go anywhere rather than nowhere.
"""

from collections.abc import Callable, Sequence

from tiktok_following._models import Account
from tiktok_following._outcomes import Outcome
from tiktok_following._store_errors import StoreError

from ._jsonl_file import JsonlFile
from ._messages import Messages
from ._output import Output, OutputClosed, OutputFailedError
from ._rows import JsonlRows
from ._words import count

STANDARD_OUTPUT = "-"


class BulkRows:
    """Writes accounts as JSON lines, and knows which ones nothing else has.

    Args:
        target: The file; ``-`` is standard output, `None` means that no rows were asked for.
        messages: Where trouble is told.
        stop: What to do when the rows can go nowhere any more.

    Raises:
        OutputFailedError: The file cannot be made.
    """

    def __init__(self, target: str | None, messages: Messages, stop: Callable[[], object]) -> None:
        self._messages = messages
        self._stop = stop
        self._file = None if target in {None, STANDARD_OUTPUT} else JsonlFile(str(target))
        self._rows = None if target is None else JsonlRows(self._file or Output())
        self._held: list[Outcome] = []
        self.is_broken = False
        """Whether rows that somebody wants could not be written."""

    def write(self, handle: str, accounts: Sequence[Account]) -> None:
        """Write rows; where that is not possible any more the run is stopped."""
        if self._rows is None:
            return
        try:
            self._rows.write(handle, accounts)
        except OutputClosed:
            self._give_up()
        except OutputFailedError as error:
            self._messages.say(str(error))
            self.is_broken = True
            self._give_up()

    def _give_up(self) -> None:
        self._rows = None
        self._stop()

    def note(self, outcome: Outcome) -> None:
        """Keep what may not be in the store: at most a page of each handle under way."""
        if outcome.accounts:
            self._held.append(outcome)

    def close(self, *, is_whole: bool, is_told: bool) -> None:
        """Save what the store could not take, and let the file be what was asked for if it is.

        Args:
            is_whole: Whether it is.
            is_told: Whether why the store could not take it is told elsewhere.
        """
        lost = [outcome for outcome in self._held if isinstance(outcome.error, StoreError)]
        if lost:
            if not is_told:
                self._messages.say(str(lost[0].error))
            self._rescue(lost)
        try:
            if self._file is not None:
                self._end_file(self._file, is_whole=is_whole and self._rows is not None)
        except OutputFailedError as error:
            self._messages.say(str(error))
            self.is_broken = True

    def _rescue(self, lost: list[Outcome]) -> None:
        if self._file is not None and self._rows is not None:
            try:
                self._file.set_aside()
            except OutputFailedError as error:
                self._messages.say(str(error))
        number = count(sum(len(each.accounts) for each in lost), "account")
        place = "on standard output" if self._file is None else f"among those in {self._file.name}"
        if self._rows is None:
            try:
                rows, place = JsonlRows(Output()), "on standard output"
                for outcome in lost:
                    rows.write(str(outcome.handle), outcome.accounts)
            except (OutputClosed, OutputFailedError):
                self._messages.say(f"lost: {number} that could not be written anywhere")
                return
        self._messages.say(f"{number} that the store could not take are {place}, as JSON lines")
        self._messages.say("keep these if you do not go on: going on buys their pages again")

    def _end_file(self, file: JsonlFile, *, is_whole: bool) -> None:
        if is_whole:
            file.keep()
        else:
            file.close()
            self._messages.say(f"rows of a part of the handles are in {file.name}")
