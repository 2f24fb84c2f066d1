"""The wire: what a request looks like, what a response means, what an error answer costs.

The law: pure functions. Nothing here waits, reads a clock or opens a socket; everything the API's
contract says about requests, bodies, statuses and billing is written here once.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import attrs
import orjson

from ._config import ApiKey
from ._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    InsufficientCreditsError,
    LookupFailedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    ResponseDecodeError,
    ServerError,
    ServiceUnavailableError,
)
from ._fields import JsonObject, Mismatch, mismatch
from ._models import Balance, FollowingPage, Identity, structurer

T = TypeVar("T")

STATUS_OK = 200
_SHOWN_CHARACTERS = 200
_READ_CHARACTERS = 4096

# Statuses the contract says are never billed; every other failure may have been.
_FREE_STATUSES = frozenset({400, 401, 402, 403, 404, 429, 503})
_REFUSALS = frozenset({429, 503})

_ERRORS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
    502: LookupFailedError,
    503: ServiceUnavailableError,
}


@attrs.define  # freezing it takes twice as long
class Request:
    """One GET, ready to send."""

    url: str
    """The whole URL, encoded."""
    handle: str | None = None
    """The handle asked for; `None` on the free routes."""
    cursor: str | None = None
    """The cursor asked for; `None` for the first page."""


@attrs.define
class Response:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Looked up without regard to case."""
    body: bytes = attrs.field(repr=False)
    received_at: float
    """When it came, in Unix seconds of this machine's clock."""


def build_following_request(
    base_url: str, handle: str, cursor: str | None, *, trim: bool
) -> Request:
    """Build the request for one page of a following list.

    The handle is one path segment whatever is in it; a cursor is sent only where there is one.
    """
    query = {} if cursor is None else {"cursor": cursor}
    if trim:
        query["trim"] = "true"
    is_plain = handle.isascii() and handle.isidentifier()  # most are, and quoting takes a while
    segment = handle if is_plain else quote(handle, safe="")
    url = f"{base_url}/v1/tiktok/profiles/{segment}/following"
    return Request(f"{url}?{urlencode(query)}" if query else url, handle, cursor)


def is_refusal(error: BaseException) -> bool:
    """Tell whether an answer asks to wait and try again, at no cost."""
    return isinstance(error, APIError) and error.status_code in _REFUSALS


def parse_following_response(request: Request, response: Response, key: ApiKey) -> FollowingPage:
    """Read a page, or raise the error the response stands for.

    Raises:
        APIError: The status is not 200.
        ResponseDecodeError: The body is not what the contract says.
    """
    asked = {"handle": request.handle, "cursor": request.cursor}
    return _give(
        _read(response, key, lambda body: structurer.structure(body | asked, FollowingPage))
    )


def parse_stored_page(body: str, handle: str, cursor: str | None) -> FollowingPage:
    """Read a page from the body it was parsed from before.

    Raises:
        ValueError: The body is not what the contract says.
    """
    asked = {"handle": handle, "cursor": cursor}
    return structurer.structure(_check_object(orjson.loads(body)) | asked, FollowingPage)


def parse_balance_response(_: Request, response: Response, key: ApiKey) -> Balance:
    """Read the balance, in the old version of its body or the new; raise as for a page."""
    return _give(_read(response, key, lambda body: structurer.structure(body, Balance)))


def parse_identity_response(_: Request, response: Response, key: ApiKey) -> Identity:
    """Read who the key belongs to; raise as for a page."""
    return _give(_read(response, key, lambda body: structurer.structure(body, Identity)))


def parse_health_response(_: Request, response: Response, key: ApiKey) -> bool:
    """Read whether the API says that it is well; raise as for a page."""
    return _give(_read(response, key, lambda body: bool(body.get("status") == "ok")))


def _give(read: T | RequestError) -> T:
    if isinstance(read, RequestError):
        raise read
    return read


def _read(response: Response, key: ApiKey, make: Callable[[JsonObject], T]) -> T | RequestError:
    """Make a value of the body of a 200, or the error that the response stands for.

    It returns the error: raised from here, its traceback would show the server's text, and a server
    may well echo the key.
    """
    if response.status != STATUS_OK:
        return _make_error(response, key)
    body: Any = None
    try:
        body = orjson.loads(response.body)
        return make(_check_object(body))
    except orjson.JSONDecodeError as error:
        text = f"$: expected JSON, got {error}, in {_describe(response)}"
    except Mismatch as error:
        text = str(error)
    meta = _as_object(_as_object(body).get("meta"))
    charged = meta.get("creditsCharged")
    credits_charged = charged if type(charged) is int and charged >= 0 else None
    return ResponseDecodeError(
        clean(text, key),
        request_id=_clean_text(meta.get("requestId"), key),
        credits_charged=credits_charged,
        may_be_charged=credits_charged != 0,
    )


def _make_error(response: Response, key: ApiKey) -> APIError:
    """Make the error a status other than 200 stands for, whoever wrote the body."""
    status = response.status
    told = _read_error_body(response.body)
    message = _clean_text(told.get("message"), key)
    if message is None:
        message = clean(f"the API did not say why, in {_describe(response)}", key)
    return _ERRORS.get(status, ServerError if status >= 500 else APIError)(  # noqa: PLR2004 - 5xx
        message,
        status_code=status,
        code=_clean_text(told.get("code"), key),
        request_id=_clean_text(told.get("requestId"), key),
        checkout_url=_clean_url(told.get("checkoutUrl"), key),
        may_be_charged=status not in _FREE_STATUSES,
        retry_after=parse_retry_after(response),
    )


def _read_error_body(body: bytes) -> JsonObject:
    try:
        return _as_object(_as_object(orjson.loads(body)).get("error"))
    except orjson.JSONDecodeError:
        return {}


def _check_object(value: Any) -> JsonObject:
    if value.__class__ is not dict:
        raise Mismatch(f"$: {mismatch('an object', value)}")
    checked: JsonObject = value
    return checked


def _as_object(value: Any) -> JsonObject:
    """Give a JSON object as it is, and an empty one for everything else."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _describe(response: Response) -> str:
    """Say what a body that is not the API's own was."""
    if not response.body:
        return "an empty body"
    kind = response.headers.get("Content-Type", "no content type").split(";")[0]
    return f"a body of {len(response.body)} bytes, {kind}"


def _clean_text(value: Any, key: ApiKey) -> str | None:
    return (clean(value, key).strip() or None) if isinstance(value, str) else None


def _clean_url(value: Any, key: ApiKey) -> str | None:
    """Give a URL whole, since half of one leads nowhere, or not at all."""
    if isinstance(value, str) and 0 < len(value) <= _READ_CHARACTERS and value.isprintable():
        return key.redact(value)
    return None


def clean(text: str, key: ApiKey) -> str:
    """Make a text of others fit for a log: without the key, short, no control characters."""
    text = key.redact(text[:_READ_CHARACTERS])
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def parse_retry_after(response: Response) -> float | None:
    """Read how many seconds the server asks to wait, from a number or an HTTP date.

    A date is measured against the response's own ``Date``, so that a wrong clock on this machine
    does not matter, and against `received_at` where there is none. `None` when nothing is asked
    that can be understood.
    """
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text, re.ASCII):
        return float(text)
    until = _parse_http_date(text)
    if until is None:
        return None
    sent_at = _parse_http_date(response.headers.get("Date", ""))
    now = response.received_at if sent_at is None else sent_at.timestamp()
    return max(0.0, until.timestamp() - now)


def _parse_http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
