"""Ways to the sandbox that are closed at first: what goes wrong before a request is sent."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult

SELF_SIGNED = Path(__file__).parent / "self_signed.pem"


async def _nothing() -> None:
    pass


@attrs.frozen
class Door:
    """Where a client is to go, and how to let it in."""

    base_url: str
    session: aiohttp.ClientSession | None = None
    """The session it needs; `None` if its own will do."""
    open: Callable[[], Awaitable[object]] = _nothing


def make_self_signed() -> ssl.SSLContext:
    """A server's side of TLS with a certificate for 127.0.0.1 that nobody signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    return context


class _Relay:
    """Passes everything on to the sandbox and back."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(2**16):
            writer.write(data)
    writer.close()


def _address(listener: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.asynccontextmanager
async def open_door(port: int) -> AsyncIterator[Door]:
    """Nothing stands in the way."""
    yield Door(f"http://127.0.0.1:{port}")


class _Resolver(AbstractResolver):
    """Knows no name until it is told where all of them are."""

    def __init__(self) -> None:
        self.is_told = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not self.is_told:
            raise OSError(socket.EAI_NONAME, "this name is not known")
        at: dict[str, Any] = {"proto": 0, "flags": socket.AI_NUMERICHOST}
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, **at)]

    async def close(self) -> None:
        pass

    async def tell(self) -> None:
        self.is_told = True


@contextlib.asynccontextmanager
async def door_without_a_name(port: int) -> AsyncIterator[Door]:
    """The name cannot be resolved."""
    resolver = _Resolver()
    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Door(f"http://api.localhost:{port}", session, resolver.tell)


@contextlib.asynccontextmanager
async def door_that_refuses(port: int) -> AsyncIterator[Door]:
    """Nobody listens there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with contextlib.AsyncExitStack() as relays:

            async def listen() -> None:
                server = await asyncio.start_server(_Relay(port).serve, sock=listener)
                relays.callback(server.close)

            yield Door(_address(listener), open=listen)


@contextlib.asynccontextmanager
async def door_with_a_bad_certificate(port: int) -> AsyncIterator[Door]:
    """The certificate is of somebody whom the client does not know, until it is told."""
    trusted = ssl.create_default_context()

    async def trust() -> None:
        trusted.load_verify_locations(SELF_SIGNED)

    server = await asyncio.start_server(_Relay(port).serve, "127.0.0.1", 0, ssl=make_self_signed())
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Door(_address(server.sockets[0], "https"), session, trust)
    server.close()


@contextlib.asynccontextmanager
async def deaf_door(port: int) -> AsyncIterator[Door]:
    """It neither accepts nor refuses: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            caller = queue.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        async with contextlib.AsyncExitStack() as relays:

            async def listen() -> None:
                queue.close()
                server = await asyncio.start_server(_Relay(port).serve, sock=listener)
                relays.callback(server.close)

            yield Door(_address(listener), open=listen)


CLOSED = {
    "DNS failure": door_without_a_name,
    "connection refused": door_that_refuses,
    "bad certificate": door_with_a_bad_certificate,
    "connect time-out": deaf_door,
}
"""The doors, by the names of their faults."""
