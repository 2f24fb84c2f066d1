"""One request on its way: whether it was sent, when its answer is given up, when it may be read.

The law: what was sent is never sent again. aiohttp's habit of silently sending a GET again when a
kept-alive connection drops is off.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.connector import Connection

from ._config import ApiKey
from ._deadline import Deadlines
from ._errors import ConnectError, RequestTimeoutError, TransportError
from ._frames import drop_frames
from ._pool import OnConnected
from ._wire import STATUS_OK, Response, clean

TakeTurn = Callable[["Sending"], Awaitable[None] | None]

_GRACE = 0.05
"""Seconds for what came while the event loop stood still to be read."""


class Silences(Deadlines):
    """All requests of our own session that wait for the server."""

    def __init__(self) -> None:
        super().__init__()
        self.on_connected: OnConnected = {}
        """What is to be told of the connection of a request."""


class Sending:
    """One request, as aiohttp's client middleware: it stands between aiohttp and the connection.

    So a lost connection reaches aiohttp as an error of ours, which it does not repeat. On our own
    session it also sees to it that the server does not keep silent for too long, for which aiohttp
    sets a timer anew with each piece of an answer, and none any more after a 1xx.

    Args:
        timeout: What aiohttp is to watch over.
        seconds: How long to wait for the answer to begin, and for each piece of it.
        silences: Where all are watched over that wait for the server; `None` leaves it to aiohttp.
        take_turn: Called when a page is here, gives what is to be awaited before it is read, if
            anything. Who waits here still holds what was sent: let go of before the wait, and taken
            anew after it, this would look like growth to the garbage collector.
    """

    __slots__ = (
        "_connection",
        "_second_look",
        "_silences",
        "_take_turn",
        "answer",
        "had_turn",
        "is_silent",
        "response",
        "seconds",
        "timeout",
        "until",
        "was_sent",
    )

    def __init__(
        self,
        timeout: aiohttp.ClientTimeout,
        seconds: float,
        silences: Silences | None = None,
        take_turn: TakeTurn | None = None,
    ) -> None:
        self.timeout = timeout
        self.was_sent = False
        self.is_silent = False
        """Whether the server was silent for too long, and is not listened to any more."""
        self.until = math.inf
        """Until when something must come, by the clock of the loop."""
        self.had_turn = False
        self.answer: ClientResponse | None = None
        """The answer that waits for its turn, all of it."""
        self.response: Response | None = None
        """What it says, where another than the task that waits for it has read it."""
        self.seconds = seconds
        self._silences = silences
        self._take_turn = take_turn
        self._connection: Connection | None = None
        self._second_look: asyncio.TimerHandle | None = None

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Let one request through."""
        if self._silences is not None:
            self._silences.on_connected[request] = self.watch
        try:
            response = await handler(request)
        except BaseException as error:
            self.unwatch()
            self.was_sent = _is_sent(request, error)
            if not isinstance(error, aiohttp.ClientError | OSError):
                raise
            key, has_proxy = ApiKey(request.headers["x-api-key"]), request.proxy is not None
            failure = make_transport_error(error, key, self, has_proxy=has_proxy)
        else:
            self.unwatch()
            self.was_sent = True
            is_page = response.status == STATUS_OK and response.content.is_eof()
            if is_page and self._take_turn is not None:
                self.had_turn, self.answer = True, response
                if (turn := self._take_turn(self)) is not None:
                    await turn
                self.answer = None
            return response
        finally:
            if self._silences is not None:
                self._silences.on_connected.pop(request, None)
        raise failure  # out here, so that it does not have the error of aiohttp for its context

    @property
    def is_watched(self) -> bool:
        """Whether it is this, and not aiohttp, that waits no longer than it should."""
        return self._silences is not None

    def watch(self, connection: Connection) -> None:
        """Wait no longer than it should for what comes over a connection, until `unwatch`."""
        if self._silences is not None:
            self._connection = connection
            self.touch()
            self._silences.add(self)

    def touch(self) -> None:
        """Note that something came."""
        self.until = asyncio.get_running_loop().time() + self.seconds

    def unwatch(self) -> None:
        """Wait for nothing any more."""
        self._connection = None
        if self._silences is not None:
            self._silences.remove(self)
        if self._second_look is not None:
            self._second_look.cancel()
            self._second_look = None

    def expire(self) -> None:
        """Give up in a moment, unless something came that is not read yet."""
        self._second_look = asyncio.get_running_loop().call_later(_GRACE, self._give_up)

    def _give_up(self) -> None:
        self._second_look = None
        if self._connection is None or self._silences is None:
            return
        if self.until > asyncio.get_running_loop().time():
            self._silences.add(self)
        elif (transport := self._connection.transport) is not None:
            self.is_silent = True
            transport.abort()


def make_transport_error(
    error: Exception, key: ApiKey, sending: Sending, *, has_proxy: bool = False
) -> TransportError:
    """Say what happened, and nothing that aiohttp's errors hold besides.

    Its frames hold the request's bytes and its errors the proxy's password, and those that could
    not read an answer quote it, whatever the server wrote.
    """
    if sending.is_silent:  # it was we who hung up, which aiohttp takes for the server
        error = aiohttp.SocketTimeoutError(f"nothing came for {sending.seconds:g} s")
    text, may_tell = str(error), has_proxy
    if isinstance(error, aiohttp.ClientResponseError):
        text, may_tell = f"{error.status}, {error.message}", True
    detail = clean(" ".join(f"{type(error).__name__}: {text}".rstrip(": ").split()), key)
    if not sending.was_sent:
        made: TransportError = ConnectError(f"no connection to the API: {detail}")
    elif isinstance(error, TimeoutError):
        text = f"the API did not answer within the read timeout of {sending.seconds:g} s"
        made = RequestTimeoutError(text, may_be_charged=True)
    else:
        text = f"the connection was lost before the answer was complete: {detail}"
        made = TransportError(text, may_be_charged=True)
    shown = repr([error, error.__cause__, error.__context__])
    may_tell = may_tell or key.redact(shown) != shown
    made.__cause__ = aiohttp.ClientError(detail) if may_tell else drop_frames(error)
    return made


def _is_sent(request: ClientRequest, error: BaseException) -> bool:
    """Tell whether the request was written; aiohttp makes its response object right after that."""
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return False
    return getattr(request, "response", True) is not None
