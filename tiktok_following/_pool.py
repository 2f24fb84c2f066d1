"""What requests go over: a pool of connections, ours or the user's, and the proxy if there is one.

The law: a pool in which requests wait unseen, and a connection that answered unasked, are no good.
Of a proxy that cannot be used nothing shows: where its password begins and ends nobody knows.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import ClientRequest, ClientSession
from aiohttp.connector import Connection
from yarl import URL

from ._config import is_loopback
from ._errors import ConfigurationError

OnConnected = dict[ClientRequest, Callable[[Connection], None]]


class Pool(aiohttp.TCPConnector):
    """Gives no connection that answered unasked.

    aiohttp takes what came over an idle connection for the answer to the next request: the page of
    another handle, kept under the name of this one.

    Args:
        on_connected: What is called with the connection of a request, when it has it.
    """

    def __init__(self, on_connected: OnConnected) -> None:
        # The throttle's slots are the limit. One of aiohttp's own types is not known to pyright.
        super().__init__(limit=0)  # pyright: ignore[reportUnknownMemberType]
        self._on_connected = on_connected

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """Give a connection over which nothing came yet; raise before anything is sent."""
        connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None and connection.protocol.should_close:
            connection.close()
            raise aiohttp.ClientConnectionError("something came before it was asked for")
        if (hear := self._on_connected.get(req)) is not None:
            hear(connection)
        return connection


def find_proxy(base_url: str) -> URL | None:
    """Read the environment's proxy for the API; this machine itself is never asked through one.

    Raises:
        ConfigurationError: It cannot be used.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    if not getproxies().get(parts.scheme):
        return None
    proxy = read_proxy(parts.scheme)
    if proxy is None:
        raise ConfigurationError(
            f"{parts.scheme.upper()}_PROXY names no proxy like http://user:password@host:8080 "
            "(or https; not SOCKS): in a password, / is written as %2F, and so on"
        )
    return proxy


def read_proxy(scheme: str) -> URL | None:
    """Read the environment's proxy for URLs of a scheme; `None` if it is none that can be used."""
    text = getproxies().get(scheme, "").strip()
    try:
        url = URL(text if "://" in text else f"http://{text}")
        (url.host or "").encode("idna")  # as it is when its address is looked up
        f"{url.user}{url.password}".encode("latin-1")  # as it is when it is sent
    except ValueError:
        return None
    is_whole = url.host and url.port and ":" not in (url.user or "") and text.isprintable()
    # A password with a / in it makes a host of the user, and a path of the rest.
    is_bare = url.path in {"", "/"} and not url.query_string and not url.fragment
    return url if url.scheme in {"http", "https"} and is_whole and is_bare else None


def check_session(session: ClientSession, min_pool: int, *, trust_env: bool) -> None:
    """See that a session of the user's can serve.

    Args:
        session: The session.
        min_pool: Requests that must fit its pool at once.
        trust_env: Whether our own is to use the environment's proxy.

    Raises:
        ConfigurationError: It cannot.
    """
    if trust_env:
        raise ConfigurationError("trust_env is for the client's own session: set it on yours")
    if not isinstance(session, ClientSession):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise ConfigurationError(f"session is an aiohttp.ClientSession, not {type(session)}")
    connector = session.connector
    if connector is None or session.closed:
        raise ConfigurationError("the session is closed")
    for name, limit in (("limit", connector.limit), ("limit_per_host", connector.limit_per_host)):
        if 0 < limit < min_pool:
            raise ConfigurationError(
                f"the session's pool ({name}={limit}) is smaller than max_concurrency={min_pool}: "
                "requests would wait in it unseen"
            )
