"""Record what came: one request, and what became of it."""

from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web
from attrs import define

from tiktok_following.sandbox._ledger import redact

_PREFIX = "/v1/tiktok/profiles/"
_SUFFIX = "/following"
_FREE_ROUTES = {"/v1/balance": "balance", "/v1/whoami": "whoami", "/health": "health"}
_LONGEST_HANDLE = 64


@define(kw_only=True)
class RecordedRequest:
    """A request as it came, then what it was answered with."""

    number: int
    """Place in the order of arrival, from 0."""

    method: str
    """HTTP method."""

    path: str
    """Path as it came, still percent-encoded, without the query."""

    route: str
    """``following``, ``balance``, ``whoami``, ``health`` or ``unknown``."""

    handle: str | None
    """The handle of a page request, percent-decoded; None on other routes."""

    cursor: str | None
    """The cursor that was sent, ``""`` if sent empty; None if not sent."""

    trim: str | None
    """The ``trim`` option as sent; None if not sent."""

    headers: Mapping[str, str]
    """What was sent, names in any case; the key is shortened."""

    request_id: str
    """The id that the answer carries."""

    status: int | None = None
    """The status answered; None before that and when no status went out."""

    credits: int = 0
    """Credits charged for this request."""

    seconds: float | None = None
    """Time from arrival until the answer was handed to the connection; None while in flight."""

    def find_fault(self) -> str | None:
        """Say what is wrong with the parameters of a page request, None if nothing is."""
        handle = self.handle or ""
        if not 0 < len(handle) <= _LONGEST_HANDLE:
            return f"handle must have 1 to {_LONGEST_HANDLE} characters"
        if handle.startswith("@") or "/" in handle or " " in handle or not handle.isprintable():
            return "handle must not have a leading @, a slash, a space or a control character"
        if self.cursor == "":
            return "cursor must have at least 1 character"
        if self.trim not in {None, "true", "false"}:
            return "trim must be true or false"
        return None


def read_request(request: web.BaseRequest, number: int) -> RecordedRequest:
    """Record a request that has just come."""
    path, _, _ = request.raw_path.partition("?")
    route, handle = _find_route(request.method, path)
    query = request.query
    headers = request.headers.copy()
    if "x-api-key" in headers:
        headers["x-api-key"] = redact(headers["x-api-key"])
    return RecordedRequest(
        number=number,
        method=request.method,
        path=path,
        route=route,
        handle=handle,
        cursor=query.get("cursor"),
        trim=query.get("trim"),
        headers=headers,
        request_id=f"req_sandbox_{number:08d}",
    )


def _find_route(method: str, path: str) -> tuple[str, str | None]:
    """Name the route of a path, and the handle in it."""
    if method != "GET":
        return "unknown", None
    if path.startswith(_PREFIX) and path.endswith(_SUFFIX):
        handle = path[len(_PREFIX) : -len(_SUFFIX)]
        if "/" not in handle and len(path) >= len(_PREFIX) + len(_SUFFIX):
            return "following", unquote(handle)
    return _FREE_ROUTES.get(path, "unknown"), None
