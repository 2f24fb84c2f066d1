"""A page as openai's client would have it: a model for each object, named as in Python."""

from datetime import datetime
from typing import Literal

from openai import BaseModel
from pydantic import Field


class Metrics(BaseModel):
    """Counts of an account."""

    followers: int | None = None
    following: int | None = None
    posts: int | None = None
    friend_count: int | None = Field(None, alias="friendCount")


class Account(BaseModel):
    """One account."""

    handle: str
    display_name: str | None = Field(alias="displayName")
    bio: str | None
    avatar_url: str | None = Field(alias="avatarUrl")
    profile_url: str = Field(alias="profileUrl")
    platform_user_id: str | None = Field(None, alias="platformUserId")
    sec_uid: str | None = Field(None, alias="secUid")
    verified: bool
    private_account: bool | None = Field(None, alias="privateAccount")
    region: str | None = None
    language: str | None = None
    created_at: datetime | None = Field(None, alias="accountCreatedAt")
    metrics: Metrics
    details: dict[str, object] | None = None


class Page(BaseModel):
    """Where the list goes on."""

    next_cursor: str | None = Field(None, alias="nextCursor")
    has_more: bool = Field(alias="hasMore")


class Data(BaseModel):
    """What was asked for."""

    lookup_status: Literal["found", "not_found", "private", "hidden"] = Field(alias="lookupStatus")
    accounts: list[Account]
    page: Page
    total_accounts: int | None = Field(None, alias="totalAccounts")


class Meta(BaseModel):
    """What it cost."""

    request_id: str = Field(alias="requestId")
    credits_charged: int = Field(alias="creditsCharged")


class Body(BaseModel):
    """One answer."""

    data: Data
    meta: Meta
