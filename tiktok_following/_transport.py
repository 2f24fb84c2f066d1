"""One request, one answer: the only file that talks to the network.

The law: `send` makes exactly one HTTP request. It returns the whole answer, or raises an error of
ours that knows whether the request may have reached the server.
"""

import asyncio
import time
import warnings

import aiohttp
from aiohttp import ClientResponse, ClientSession, hdrs
from yarl import URL  # aiohttp's own type for URLs

from ._config import ApiKey, Timeout
from ._errors import ClientClosedError, ResponseDecodeError, TransportError, WrongLoopError
from ._forks import ProcessBound
from ._pool import Pool, check_session, find_proxy
from ._sending import Sending, Silences, TakeTurn, make_transport_error
from ._version import __version__
from ._wire import STATUS_OK, Response

MAX_BODY_BYTES = 32 * 2**20
"""The most the body of a 200 may hold, decompressed. A page of 30 accounts has about 34 KB."""
_MAX_ERROR_BODY_BYTES = 2**16
_MAX_HEADER_BYTES = 2**13
_READ_BUFFER_BYTES = 2**16


class Transport(ProcessBound):
    """Sends requests over one session, its own or the user's.

    Args:
        key: The API key.
        base_url: Where requests go; decides which proxy, if any.
        session: The user's session, which is used and never closed; `None` makes one when first
            needed, on the loop that runs then.
        min_pool: Requests that must fit the session's pool at once.
        trust_env: Read the proxy from the environment, once.

    Raises:
        ConfigurationError: The session's pool is smaller than `min_pool`, `trust_env` is meant for
            a session that is not ours, or the proxy cannot be used.
    """

    def __init__(
        self,
        key: ApiKey,
        *,
        base_url: str,
        session: ClientSession | None,
        min_pool: int,
        trust_env: bool,
    ) -> None:
        super().__init__()
        self._key = key
        self._headers = {
            "x-api-key": key,
            hdrs.ACCEPT: "application/json",
            hdrs.ACCEPT_ENCODING: "gzip, deflate",
            hdrs.USER_AGENT: f"tiktok-following/{__version__}",
        }
        scheme, _, rest = base_url.partition("://")
        self._scheme, self._authority = scheme, rest.partition("/")[0]
        self._path_at = len(f"{scheme}://{self._authority}")
        self._proxy = find_proxy(base_url) if trust_env else None
        # aiohttp shows a session's headers to the proxy too, which must not see the key.
        self._are_headers_in_session = session is None and self._proxy is None
        self._owns_session = session is None
        self._is_closed = False
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None
        self._silences = Silences()
        self._set_timeout(Timeout())
        if session is not None:
            check_session(session, min_pool, trust_env=trust_env)

    def make_sending(self, limits: Timeout, take_turn: TakeTurn | None = None) -> Sending:
        """Make what learns whether a request was sent, also when that is cancelled.

        Args:
            limits: How long to wait for the connection, and for each byte.
            take_turn: Gives what is to be awaited before a page is read, if anything. On a session
                that is not ours it is not called: its user's tracing comes before that.
        """
        timeout = self._timeout if limits is self._limits else self._set_timeout(limits)
        if not self._owns_session:
            return Sending(timeout, limits.read)
        return Sending(timeout, limits.read, self._silences, take_turn)

    async def send(self, url: str, sending: Sending) -> Response:
        """Send one GET and read the whole answer.

        Args:
            url: The URL, encoded.
            sending: What `make_sending` gave, for this alone.

        Raises:
            ConnectError: Certainly not sent.
            TransportError: Sent, and no usable answer came.
            ResponseDecodeError: The body of a 200 is larger than `MAX_BODY_BYTES`.
        """
        session = self._session
        if session is None or session.closed or self._is_closed:
            session = self.open()
        response: ClientResponse | None = None
        try:
            response = await session.get(
                self._make_url(url),
                timeout=sending.timeout,
                headers=None if self._are_headers_in_session else self._headers,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                read_bufsize=_READ_BUFFER_BYTES,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                middlewares=(sending,),
            )
            if sending.response is not None:
                return sending.response
            body = self._key.redact_bytes(await _read_body(response, sending))
            return Response(response.status, response.headers, body, time.time())
        except (TransportError, ResponseDecodeError, asyncio.CancelledError) as error:
            failure: BaseException = error
        except (aiohttp.ClientError, OSError) as error:
            failure = make_transport_error(error, self._key, sending)
        response = None  # it shows its headers, whatever the server put there
        try:
            raise failure.with_traceback(None)  # the frames it came through hold what was read
        finally:
            del failure  # it would hold itself by this frame

    def rescue(self, sending: Sending) -> Response | None:
        """Give the answer that waits for its turn, if one does, in place of who waits for it."""
        answer, sending.answer = sending.answer, None
        if answer is None:
            return None
        body = self._key.redact_bytes(answer.content.read_nowait())
        answer.close()
        sending.response = Response(answer.status, answer.headers, body, time.time())
        return sending.response

    def open(self) -> ClientSession:
        """Give the session, made if need be.

        Raises:
            WrongLoopError: It belongs to another event loop.
            WrongProcessError: It belongs to the process that this one was forked off.
            ClientClosedError: It is closed.
        """
        self._bind(asyncio.get_running_loop())
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if self._session is None:
            self._session = ClientSession(
                connector=Pool(self._silences.on_connected),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers if self._are_headers_in_session else None,
                proxy=self._proxy,
            )
        if self._session.closed:
            raise ClientClosedError("the session is closed")
        return self._session

    def check_open(self) -> None:
        """See that there is a session here to send with; raise as `open`."""
        session, is_here = self._session, self._loop is asyncio.get_running_loop()
        if session is None or session.closed or self._is_closed or not is_here:
            self.open()

    def check_loop(self) -> None:
        """See that the session, if there is one, belongs to the running loop; raise as `open`."""
        if self._session is not None and not self._is_closed:
            self._bind(asyncio.get_running_loop())

    async def close(self) -> None:
        """Send nothing more, and close the session if it is ours; again does nothing."""
        self._is_closed = True
        self._silences.close()
        if self._owns_session and self._session is not None:
            await self._session.close()

    def become_copy(self) -> None:
        """Belong to no loop any more, so that `open` looks why."""
        super().become_copy()
        self._loop = None

    def _make_url(self, url: str) -> URL:
        """Make what aiohttp takes, of its parts: that takes half the time of a whole text."""
        path, _, query = url[self._path_at :].partition("?")
        return URL.build(
            scheme=self._scheme,
            authority=self._authority,
            path=path,
            query_string=query,
            encoded=True,
        )

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            return
        self.check_process("client")
        if self._loop is None:
            with warnings.catch_warnings():  # the property is deprecated, and has no successor
                warnings.simplefilter("ignore", DeprecationWarning)
                self._loop = getattr(self._session, "loop", loop)
        if self._loop is not loop:
            raise WrongLoopError(
                "the client belongs to another event loop: make one client per asyncio.run()"
            )

    def _set_timeout(self, limits: Timeout) -> aiohttp.ClientTimeout:
        """Translate a timeout; what others use is timed by aiohttp, and not its pool."""
        self._limits = limits
        self._timeout = aiohttp.ClientTimeout(
            total=None,
            connect=limits.connect if self._owns_session else None,
            sock_connect=limits.connect,
            sock_read=None if self._owns_session else limits.read,
        )
        return self._timeout


async def _read_body(response: ClientResponse, sending: Sending) -> bytes:
    """Read a body, never more than the limit in memory, and let go of the connection.

    The status of an error answer says enough, so its body may be cut short or broken. Nothing
    goes past what may trace a session that is not ours.
    """
    is_error = response.status != STATUS_OK
    limit = _MAX_ERROR_BODY_BYTES if is_error else MAX_BODY_BYTES
    length = response.content_length
    is_plain = length is not None and length <= limit
    is_plain = is_plain and hdrs.CONTENT_ENCODING not in response.headers
    try:
        if is_plain and not sending.is_watched:
            return await response.read()
        if is_plain and not is_error and response.content.is_eof():
            return response.content.read_nowait()
        body = await _read_chunks(response, limit, sending)
    except (aiohttp.ClientError, OSError):
        if is_error:
            return b""
        raise
    if len(body) > limit and not is_error:
        text = f"the body has more than {MAX_BODY_BYTES} bytes, decompressed"
        raise ResponseDecodeError(text, may_be_charged=True)
    return body


async def _read_chunks(response: ClientResponse, limit: int, sending: Sending) -> bytes:
    """Read a body that comes bit by bit, or may turn out to be larger than it says, until it is."""
    body = bytearray()
    if response.connection is not None:
        sending.watch(response.connection)
    try:
        async for chunk in response.content.iter_any():
            sending.touch()
            body += chunk
            if len(body) > limit:
                response.close()
                break
    finally:
        sending.unwatch()
        response.release()
    if sending.is_silent:  # of a body without a length, its end is that of the connection
        raise aiohttp.SocketTimeoutError
    return bytes(body)
