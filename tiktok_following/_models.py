"""The values users get: what the API said, in Python's names and types.

The law: a value holds what was served, no more and no less; `to_dict` writes it in the API's own
names and `from_dict` reads that back to an equal value. Facts and units are those of the provider's
published contract for ``GET /v1/tiktok/profiles/{handle}/following`` and the account routes.

The classes are mutable on purpose: freezing them costs half as much again per page.
"""

from datetime import datetime
from typing import Any, Self

import attrs

from ._errors import ProfileUnavailableError
from ._fields import (
    Count,
    JsonObject,
    Mismatch,
    NonEmptyStr,
    SharedStr,
    WithExtra,
    mismatch,
    parse_time,
    shorten,
    to_json,
    wire,
)
from ._status import WORDS, LookupStatus, Status
from ._structure import Structurer


def _parse_counts(value: Any) -> dict[str, int]:
    if value.__class__ is not dict:
        raise mismatch("an object", value)
    for name, count in value.items():
        if count.__class__ is not int or count < 0:
            raise Mismatch(f'["{shorten(str(name))}"]: {mismatch("an integer ≥ 0", count)}')
    return dict(value)


structurer = Structurer({datetime: parse_time, dict[str, int]: _parse_counts, **WORDS})


class Model(WithExtra):
    """What every value can do: become JSON and come back."""

    __slots__ = ()

    def to_dict(self) -> JsonObject:
        """Write this value as a JSON object in the API's own names; unknown keys come along.

        What has no class of its own, `details` and `extra`, is not copied.
        """
        body: JsonObject = to_json(self)
        return body

    @classmethod
    def from_dict(cls, data: JsonObject) -> Self:
        """Read what `to_dict` wrote, or a part of an API body.

        Raises:
            ValueError: The data has the wrong shape; the text says where.
        """
        return structurer.structure(data, cls)


def _raise_for_status(handle: str, status: Status | None) -> None:
    if status is not None and status != LookupStatus.FOUND:
        text = f"the profile {handle!r} is {shorten(status).replace('_', ' ')}"
        raise ProfileUnavailableError(text, handle=handle, status=status)


@attrs.define
class AccountMetrics(Model):
    """The public counts of an account, at the time the page was made."""

    followers: Count = attrs.field(metadata=wire("followers"))
    """How many accounts follow this one."""
    following: Count = attrs.field(metadata=wire("following"))
    """How many accounts this one follows."""
    posts: Count = attrs.field(metadata=wire("posts"))
    """How many videos and photos it has published."""
    extra: JsonObject = attrs.field(factory=dict[str, Any], kw_only=True)
    """Keys this version does not know, as they came."""


@attrs.define
class Account(Model):
    """One account of a following list."""

    handle: NonEmptyStr = attrs.field(metadata=wire("handle"))
    """The name in the profile's URL, without the leading ``@``. Users can change it."""
    profile_url: NonEmptyStr = attrs.field(metadata=wire("profileUrl"))
    """The canonical public URL of the profile."""
    verified: bool = attrs.field(metadata=wire("verified"))
    """Whether TikTok verified the account."""
    metrics: AccountMetrics = attrs.field(metadata=wire("metrics"))
    """Its public counts."""
    display_name: str | None = attrs.field(default=None, metadata=wire("displayName"))
    """The name shown above the handle; `None` when not told."""
    bio: str | None = attrs.field(default=None, metadata=wire("bio"))
    """The profile's text; can be empty, `None` when not told."""
    avatar_url: str | None = attrs.field(default=None, metadata=wire("avatarUrl"))
    """The profile picture; the URL is usually signed and expires. `None` when not told."""
    platform_user_id: str | None = attrs.field(
        default=None, metadata=wire("platformUserId", optional=True)
    )
    """TikTok's numeric id, up to 19 digits and therefore text; `None` when not told."""
    sec_uid: str | None = attrs.field(default=None, metadata=wire("secUid", optional=True))
    """TikTok's opaque stable id, the one to key on; `None` when not told."""
    private_account: bool | None = attrs.field(
        default=None, metadata=wire("privateAccount", optional=True)
    )
    """Whether the account is private; `None` when not told."""
    region: SharedStr | None = attrs.field(default=None, metadata=wire("region", optional=True))
    """Region code as TikTok reports it, such as ``US``; `None` when not told."""
    language: SharedStr | None = attrs.field(default=None, metadata=wire("language", optional=True))
    """Language code as TikTok reports it, such as ``en``; `None` when not told."""
    created_at: datetime | None = attrs.field(
        default=None, metadata=wire("accountCreatedAt", optional=True)
    )
    """When the account was made, aware and in UTC; `None` when not told."""
    details: JsonObject | None = attrs.field(default=None, metadata=wire("details", optional=True))
    """TikTok's own fields that have no place above, as they came; `None` when not told."""
    extra: JsonObject = attrs.field(factory=dict[str, Any], kw_only=True)
    """Keys this version does not know, as they came."""


@attrs.define
class FollowingPage(Model):
    """One answer of the API: what one request, and one charge, bought."""

    handle: NonEmptyStr = attrs.field(metadata=wire("handle"))
    """The handle asked for."""
    status: Status = attrs.field(metadata=wire("data.lookupStatus"))
    """What became of the lookup; a status not known to this version is its plain text."""
    accounts: list[Account] = attrs.field(metadata=wire("data.accounts"))
    """The rows in the order and number served; may be empty on a found page, even a middle one."""
    has_more: bool = attrs.field(metadata=wire("data.page.hasMore"))
    """Whether another page follows."""
    request_id: NonEmptyStr = attrs.field(metadata=wire("meta.requestId"))
    """The id to quote to the provider's support."""
    credits_charged: Count = attrs.field(metadata=wire("meta.creditsCharged"))
    """Credits this request cost."""
    version: SharedStr = attrs.field(metadata=wire("meta.version"))
    """Version of the API that answered."""
    cursor: str | None = attrs.field(default=None, metadata=wire("cursor"))
    """The cursor asked for; `None` for the first page."""
    next_cursor: str | None = attrs.field(default=None, metadata=wire("data.page.nextCursor"))
    """Where the next page starts, opaque; `None` when none was given."""
    total: Count | None = attrs.field(default=None, metadata=wire("data.totalAccounts"))
    """How many accounts the profile follows, live; `None` when not told."""
    cached: bool | None = attrs.field(default=None, metadata=wire("meta.cached", optional=True))
    """Whether the provider served it from its cache, at full price; `None` when not told."""
    extra: JsonObject = attrs.field(factory=dict[str, Any], kw_only=True)
    """Keys this version does not know, nested as they came."""

    def raise_for_status(self) -> Self:
        """Return this page if its profile was found.

        Raises:
            ProfileUnavailableError: The profile is hidden, private, not found or of a status not
                known to this version.
        """
        _raise_for_status(self.handle, self.status)
        return self


@attrs.define(kw_only=True)
class Usage(Model):
    """What was asked for, sent and paid so far: a snapshot of a ledger."""

    credits_charged: Count = attrs.field(default=0, metadata=wire("creditsCharged"))
    """Credits the API's answers say were charged."""
    credits_at_risk: Count = attrs.field(default=0, metadata=wire("creditsAtRisk"))
    """Credits nobody knows about: the most that lost or unclear answers may have cost."""
    credits_reserved: Count = attrs.field(default=0, metadata=wire("creditsReserved"))
    """Credits set aside for requests under way."""
    requests: Count = attrs.field(default=0, metadata=wire("requests"))
    """Pages asked for, however often each was tried."""
    attempts: Count = attrs.field(default=0, metadata=wire("attempts"))
    """HTTP requests tried for them."""
    retries: Count = attrs.field(default=0, metadata=wire("retries"))
    """Attempts that followed a failed one of the same page."""
    pauses: Count = attrs.field(default=0, metadata=wire("pauses"))
    """Answers that told the client to wait."""
    seconds_waited: float = attrs.field(default=0.0, metadata=wire("secondsWaited"))
    """Seconds pages spent queued, paused or backing off, added up."""
    outcomes: dict[str, int] = attrs.field(factory=dict[str, int], metadata=wire("outcomes"))
    """How often each came: lookup statuses, and names of error classes; ``other`` if too many."""


@attrs.define(kw_only=True)
class Following(Model):
    """What was read of one profile's list."""

    handle: NonEmptyStr = attrs.field(metadata=wire("handle"))
    """The handle asked for."""
    status: Status | None = attrs.field(default=None, metadata=wire("lookupStatus"))
    """What became of the lookup, by the last page read; `None` before the first."""
    accounts: list[Account] = attrs.field(factory=list[Account], metadata=wire("accounts"))
    """The rows in the order and number served."""
    total: Count | None = attrs.field(default=None, metadata=wire("totalAccounts"))
    """How many accounts the profile follows by the last page read; `None` when not told."""
    complete: bool = attrs.field(default=False, metadata=wire("complete"))
    """Whether the list was read to its end."""
    next_cursor: str | None = attrs.field(default=None, metadata=wire("nextCursor"))
    """Where to go on: the first page not wholly in `accounts`; `None` for the first page, or
    when `complete`."""
    pages: Count = attrs.field(default=0, metadata=wire("pages"))
    """Pages bought."""
    usage: Usage = attrs.field(factory=Usage, metadata=wire("usage"))
    """What reading it cost."""

    def raise_for_status(self) -> Self:
        """Return this list if its profile was found, or no page of it was read.

        Raises:
            ProfileUnavailableError: The profile is hidden, private, not found or of a status not
                known to this version.
        """
        _raise_for_status(self.handle, self.status)
        return self


@attrs.define(kw_only=True)
class Subscription(Model):
    """A plan with included credits."""

    tier: str = attrs.field(metadata=wire("tier"))
    """Name of the plan."""
    status: str = attrs.field(metadata=wire("status"))
    """State of the plan, such as ``active``."""
    period_end: str = attrs.field(metadata=wire("periodEnd"))
    """When the paid period ends, as the API writes it."""
    extra: JsonObject = attrs.field(factory=dict[str, Any])
    """Keys this version does not know, as they came."""


def _wire_data(key: str) -> dict[str, Any]:
    return wire(f"data.{key}", optional=True)


@attrs.define(kw_only=True)
class Balance(Model):
    """The credits of an account. Older versions of the API tell `balance` alone."""

    balance: Count = attrs.field(metadata=wire("data.balance"))
    """Credits that can be spent now."""
    request_id: NonEmptyStr = attrs.field(metadata=wire("meta.requestId"))
    """The id to quote to the provider's support."""
    payg: Count | None = attrs.field(default=None, metadata=_wire_data("payg"))
    """Pay-as-you-go credits bought."""
    payg_spendable: Count | None = attrs.field(default=None, metadata=_wire_data("paygSpendable"))
    """Pay-as-you-go credits that can be spent."""
    grace_debt_credits: Count | None = attrs.field(
        default=None, metadata=_wire_data("graceDebtCredits")
    )
    """Credits spent beyond the balance, owed."""
    subscription_included_remaining: Count | None = attrs.field(
        default=None, metadata=_wire_data("subscriptionIncludedRemaining")
    )
    """Credits of the subscription left in this period."""
    subscription_included_total: Count | None = attrs.field(
        default=None, metadata=_wire_data("subscriptionIncludedTotal")
    )
    """Credits of the subscription per period."""
    refill_state: str | None = attrs.field(default=None, metadata=_wire_data("refillState"))
    """``healthy``, ``grace`` or ``exhausted``; `None` when not told."""
    billing_alert: str | None = attrs.field(default=None, metadata=_wire_data("billingAlert"))
    """``none``, ``payment_action_required`` or ``suspended``; `None` when not told."""
    collection_status: str | None = attrs.field(
        default=None, metadata=_wire_data("collectionStatus")
    )
    """State of the payments, such as ``current``; `None` when not told."""
    subscription: Subscription | None = attrs.field(
        default=None, metadata=_wire_data("subscription")
    )
    """The plan; `None` without one."""
    extra: JsonObject = attrs.field(factory=dict[str, Any])
    """Keys this version does not know, nested as they came."""


@attrs.define(kw_only=True)
class Identity(Model):
    """Who the API key belongs to."""

    id: str = attrs.field(metadata=wire("data.user.id"))
    """The provider's id of the user."""
    request_id: NonEmptyStr = attrs.field(metadata=wire("meta.requestId"))
    """The id to quote to the provider's support."""
    name: str | None = attrs.field(default=None, metadata=wire("data.user.name"))
    """The user's name; `None` when not told."""
    email: str | None = attrs.field(default=None, metadata=wire("data.user.email"))
    """The user's address; `None` when not told."""
    extra: JsonObject = attrs.field(factory=dict[str, Any])
    """Keys this version does not know, nested as they came."""
