"""Build the bodies that the API answers with, as the contract describes them."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from attrs import field, frozen

CHECKOUT_URL: Final = "https://checkout.sandbox.example/credits"
"""Where an out-of-credits answer of the sandbox points; the host does not exist."""

JSON_HEADERS: Final[Mapping[str, str]] = {"Content-Type": "application/json"}

DEFAULT_CODES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    429: "temporarily_unavailable",
    500: "internal_error",
    502: "lookup_failed",
    503: "temporarily_unavailable",
}
"""The ``error.code`` that the contract gives each status."""


@frozen(kw_only=True)
class Answer:
    """A whole HTTP answer before anything is written."""

    status: int
    """HTTP status."""

    body: bytes = b""
    """The body as it goes over the wire."""

    headers: Mapping[str, str] = field(default=JSON_HEADERS)
    """Headers besides those that the server always adds."""


def build_success(data: bytes, request_id: str, credits_charged: int) -> Answer:
    """Wrap serialised data in the envelope of a 200."""
    meta = b'{"requestId":"%s","creditsCharged":%d,"version":"v1"}' % (
        request_id.encode(),
        credits_charged,
    )
    return Answer(status=200, body=b'{"data":%s,"meta":%s}' % (data, meta))


def build_error(
    status: int,
    message: str,
    request_id: str,
    *,
    code: str | None = None,
    checkout_url: str | None = None,
    retry_after: float | str | None = None,
) -> Answer:
    """Wrap an error in its envelope; ``code`` defaults to the contract's for this status."""
    error = {
        "code": code or DEFAULT_CODES.get(status, f"http_{status}"),
        "message": message,
        "requestId": request_id,
    }
    if checkout_url is not None:
        error["checkoutUrl"] = checkout_url
    headers = dict(JSON_HEADERS)
    if retry_after is not None:
        headers["Retry-After"] = format_retry_after(retry_after)
    return Answer(status=status, body=orjson.dumps({"error": error}), headers=headers)


def format_retry_after(retry_after: float | str) -> str:
    """Write seconds without a needless ``.0``; an HTTP date passes as it is."""
    return retry_after if isinstance(retry_after, str) else f"{retry_after:.10g}"


def build_balance(credits_left: int, *, lean: bool) -> bytes:
    """Serialise the credit account: all of it, or ``balance`` alone as older versions do."""
    data: dict[str, Any] = {"balance": credits_left}
    if not lean:
        data |= {
            "payg": credits_left,
            "paygSpendable": credits_left,
            "graceDebtCredits": 0,
            "refillState": "healthy" if credits_left else "exhausted",
            "billingAlert": "none",
            "subscriptionIncludedRemaining": 0,
            "subscriptionIncludedTotal": 0,
            "subscription": None,
            "collectionStatus": "current",
        }
    return orjson.dumps(data)


def build_identity() -> bytes:
    """Serialise the user that every sandbox key belongs to."""
    user = {"id": "usr_sandbox", "name": "Sandbox User", "email": "user@sandbox.example"}
    return orjson.dumps({"user": user})
