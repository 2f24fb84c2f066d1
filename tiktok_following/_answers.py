"""Who reads an answer that is here, and when: who asked, in its turn, or who waits for its news.

The law: an answer that is read is booked in the same step, and by one of the two alone.
"""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from ._call import Call
from ._config import ApiKey
from ._errors import RequestError
from ._ledger import Permit, Reader
from ._sending import Sending
from ._transport import Transport
from ._turns import Turns
from ._wire import Response


class Answers:
    """Lets answers wait until they are read.

    Args:
        key: The API key.
        transport: What they came by.
        turns: When they are read by who asked.
    """

    def __init__(self, key: ApiKey, transport: Transport, turns: Turns) -> None:
        self._key = key
        self._transport = transport
        self._turns = turns

    def wait(
        self, call: Call[Any], permit: Permit, came: Sending | Response
    ) -> Awaitable[None] | None:
        """Note that an answer is here, and give what is to be awaited before it is read, if any.

        It is read by who waits for what it says, if anybody does.

        Args:
            call: Whose it is.
            permit: What it was sent with.
            came: The answer, or the sending that holds it.
        """
        call.throttle.note_answer()
        if not call.options.takes_turns:
            return None
        reader = None if call.bill is None or call.is_watched else call.bill.reader
        if reader is not None and reader.is_awaited:
            call.deadline.end()
            return reader.add(partial(self._land, call, permit, came, reader))
        if self._turns.take_at_once():
            return None
        call.deadline.end()  # it came in time, whenever its turn is
        return self._turns.take()

    def _land(
        self, call: Call[Any], permit: Permit, came: Sending | Response, reader: Reader
    ) -> None:
        """Read an answer and book it; who asked reads it again to see what is wrong with it."""
        response = came if isinstance(came, Response) else self._transport.rescue(came)
        assert response is not None  # noqa: S101 - for the type checkers # nosec B101
        try:
            answer = call.parse(call.request, response, self._key)
        except RequestError:
            return
        reader.take(call.bill, call.accept(permit, answer))
