"""A server of bare sockets, for what no HTTP library would send."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

Handler = Callable[["Connection"], Awaitable[None]]

FOUND = (
    b'{"data":{"lookupStatus":"found","accounts":[],"page":{"nextCursor":null,"hasMore":false},'
    b'"totalAccounts":0},"meta":{"requestId":"req_raw_1","creditsCharged":1,"version":"v1"}}'
)


def respond(body: bytes = FOUND, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One connection, as its handler sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_request(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    def reset(self) -> None:
        self.writer.transport.abort()


class RawServer:
    """Counts connections and the requests read from them."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections = 0
        self.requests: list[bytes] = []
        self.base_url = ""
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
        connection = Connection(reader, writer)
        read = connection.read_request

        async def read_request() -> bytes:
            request = await read()
            self.requests.append(request)
            return request

        connection.read_request = read_request  # type: ignore[method-assign] - counts what is read
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.handler(connection)
        writer.close()


@contextlib.asynccontextmanager
async def serve(
    handler: Handler, context: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    raw = RawServer(handler)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=context)
    scheme = "http" if context is None else "https"
    raw.base_url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        if raw.serving:  # what ends now leaves no transport behind; what hangs is left alone
            await asyncio.wait(raw.serving, timeout=0.1)
