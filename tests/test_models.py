"""What values promise: what was served, no more and no less, there and back."""

import ast
import copy
import inspect
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import contract
import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tiktok_following import (
    Account,
    AccountMetrics,
    Balance,
    Following,
    FollowingPage,
    Identity,
    LookupStatus,
    ProfileUnavailableError,
    Usage,
    _models,
)
from tiktok_following._fields import read_fields, read_known_keys
from tiktok_following._models import Model, Subscription

PAGES = contract.examples(contract.FOLLOWING_ROUTE, "200")
BALANCES = contract.examples("/v1/balance", "200")
IDENTITIES = contract.examples("/v1/whoami", "200")
MODELS: list[type[Any]] = [
    Account,
    AccountMetrics,
    Balance,
    Following,
    FollowingPage,
    Identity,
    Subscription,
    Usage,
]
PROFILE_URL = "https://www.tiktok.com/@ada"


def read_page(body: dict[str, Any]) -> FollowingPage:
    return FollowingPage.from_dict({**body, "handle": "ada"})


def make_account(**keys: Any) -> Account:
    """Read an account of the keys that are never missing, and these."""
    body = {
        "handle": "ada",
        "displayName": None,
        "bio": None,
        "avatarUrl": None,
        "profileUrl": PROFILE_URL,
        "verified": False,
        "metrics": {"followers": 1, "following": 2, "posts": 3},
        **keys,
    }
    return Account.from_dict({key: value for key, value in body.items() if value is not ...})


def make_page(**changes: Any) -> FollowingPage:
    page = FollowingPage(
        "ada", LookupStatus.FOUND, [], has_more=False, request_id="r", credits_charged=1, version=""
    )
    return attrs.evolve(page, **changes)


# The contract's examples


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_contract_is_read_whole(name: str) -> None:
    body = PAGES[name]
    page = read_page(body)
    data, meta = body["data"], body["meta"]
    assert page.handle == "ada"
    assert page.cursor is None
    assert page.status == data["lookupStatus"]
    assert type(page.status) is LookupStatus
    assert page.has_more is data["page"]["hasMore"]
    assert page.next_cursor == data["page"]["nextCursor"]
    assert page.total == data["totalAccounts"]
    assert page.request_id == meta["requestId"]
    assert page.credits_charged == meta["creditsCharged"]
    assert page.version == meta["version"]
    assert page.cached is meta.get("cached")
    assert len(page.accounts) == len(data["accounts"])
    for account, row in zip(page.accounts, data["accounts"], strict=True):
        assert account.handle == row["handle"]
        assert account.display_name == row["displayName"]
        assert account.bio == row["bio"]
        assert account.avatar_url == row["avatarUrl"]
        assert account.profile_url == row["profileUrl"]
        assert account.platform_user_id == row.get("platformUserId")
        assert account.sec_uid == row.get("secUid")
        assert account.verified is row["verified"]
        assert account.private_account is row.get("privateAccount")
        assert account.region == row.get("region")
        assert account.language == row.get("language")
        assert (account.created_at is None) is ("accountCreatedAt" not in row)
        assert account.details == row.get("details")
        assert account.metrics.followers == row["metrics"]["followers"]
        assert account.metrics.following == row["metrics"]["following"]
        assert account.metrics.posts == row["metrics"]["posts"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_contract_becomes_its_own_body_again(name: str) -> None:
    body = PAGES[name]
    page = read_page(body)
    written = page.to_dict()
    contract.check("FollowingBody", written)
    assert FollowingPage.from_dict(written) == page
    del written["handle"], written["cursor"]
    for row in (*written["data"]["accounts"], *(rows := copy.deepcopy(body["data"]["accounts"]))):
        row.pop("accountCreatedAt", None)  # written as text whatever it was
    written["data"]["accounts"], expected = written["data"]["accounts"], copy.deepcopy(body)
    expected["data"]["accounts"] = rows
    assert written == expected


@pytest.mark.parametrize("name", BALANCES)
def test_a_balance_of_the_contract_becomes_its_own_body_again(name: str) -> None:
    body = BALANCES[name]
    balance = Balance.from_dict(body)
    assert balance.balance == body["data"]["balance"]
    assert Balance.from_dict(balance.to_dict()) == balance
    contract.check("BalanceBody", {**body, **balance.to_dict()})
    for field in attrs.fields(Subscription):
        if balance.subscription and field.name != "extra":
            wire_name = field.metadata["path"][0]
            told = body["data"]["subscription"][wire_name]
            assert getattr(balance.subscription, field.name) == told


@pytest.mark.parametrize("name", IDENTITIES)
def test_an_identity_of_the_contract_becomes_its_own_body_again(name: str) -> None:
    body = IDENTITIES[name]
    identity = Identity.from_dict(body)
    assert (identity.id, identity.name, identity.email) == tuple(
        body["data"]["user"][key] for key in ("id", "name", "email")
    )
    assert identity.to_dict() == body


def test_the_contract_has_examples_of_what_matters() -> None:
    assert {body["data"]["lookupStatus"] for body in PAGES.values()} == set(LookupStatus)
    rows = [row for body in PAGES.values() for row in body["data"]["accounts"]]
    assert {type(row.get("accountCreatedAt")) for row in rows} == {str, int, float, type(None)}
    assert len(BALANCES) >= 2
    assert len(IDENTITIES) >= 1


# Fields


def list_contract_paths(schema: dict[str, Any], prefix: str = "") -> set[str]:
    """List the dotted paths of the plain values of a schema, arrays and free objects included."""
    if "$ref" in schema:
        schema = contract.CONTRACT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties")
    if not properties:
        return {prefix.removesuffix(".")}
    return {
        path
        for key, below in properties.items()
        for path in list_contract_paths(below, f"{prefix}{key}.")
    }


def list_read_paths(cls: type) -> set[str]:
    return {".".join(field.path) for field in read_fields(cls)}


@pytest.mark.parametrize(
    ("schema", "cls", "ours", "elsewhere"),
    [
        ("FollowingBody", FollowingPage, {"handle", "cursor"}, set[str]()),
        ("AccountMetrics", AccountMetrics, set[str](), set[str]()),
        ("IdentityBody", Identity, set[str](), {"creditsCharged", "version", "cached"}),
    ],
)
def test_every_value_of_the_contract_has_a_field(
    schema: str, cls: type, ours: set[str], elsewhere: set[str]
) -> None:
    expected = list_contract_paths(contract.CONTRACT["components"]["schemas"][schema])
    expected -= {f"meta.{key}" for key in elsewhere}
    assert list_read_paths(cls) - ours == expected


def test_every_value_of_an_account_has_a_field() -> None:
    paths = list_contract_paths(contract.CONTRACT["components"]["schemas"]["Account"])
    metrics = {path for path in paths if path.startswith("metrics.")}
    assert list_read_paths(Account) == paths - metrics | {"metrics"}


def test_every_value_of_a_balance_has_a_field() -> None:
    paths = list_contract_paths(contract.CONTRACT["components"]["schemas"]["BalanceData"])
    plan = {path for path in paths if path.startswith("subscription.")}
    read = {path.removeprefix("data.") for path in list_read_paths(Balance) - {"meta.requestId"}}
    assert read == paths - plan | {"subscription"}
    assert list_read_paths(Subscription) == {path.removeprefix("subscription.") for path in plan}


@pytest.mark.parametrize("cls", MODELS)
def test_every_field_is_snake_case_and_explained(cls: type) -> None:
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    explained = [
        field.target.id
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and re.fullmatch(r"[A-Z`].*\.", str(text.value.value), re.DOTALL)
    ]
    assert explained == [field.name for field in attrs.fields(cls)]
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in explained)
    assert cls.__doc__


def test_all_models_are_looked_at_here() -> None:
    own = {
        value
        for value in vars(_models).values()
        if inspect.isclass(value) and issubclass(value, Model) and value is not Model
    }
    assert own == set(MODELS)


@pytest.mark.parametrize("cls", MODELS)
def test_values_compare_copy_and_pickle(cls: type) -> None:
    values: dict[type, Model] = {
        Account: make_account(details={"a": [1]}, x=1),
        AccountMetrics: AccountMetrics(1, 2, 3, extra={"x": 1}),
        Balance: Balance.from_dict(next(iter(BALANCES.values()))),
        Following: Following(handle="ada", accounts=[make_account()]),
        FollowingPage: read_page(PAGES["unknown_keys"]),
        Identity: Identity(id="u", request_id="r"),
        Subscription: Subscription(tier="a", status="b", period_end="c"),
        Usage: Usage(outcomes={"found": 1}),
    }
    value = values[cls]
    for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert made == value
        assert made is not value
    assert not hasattr(value, "__dict__")


# Points in time

TIME = datetime(2020, 1, 15, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wire_value", "time"),
    [
        ("2020-01-15T12:00:00.000Z", TIME),
        ("2020-01-15T12:00:00Z", TIME),
        ("2020-01-15T12:00:00+00:00", TIME),
        ("2020-01-15T14:00:00.000+02:00", TIME),
        ("2020-01-15T06:30:00-05:30", TIME),
        ("2020-01-15T12:00:00", TIME),
        ("2020-01-15 12:00:00", TIME),
        ("20200115T120000Z", TIME),
        ("2020-01-15T12:00:00.123456Z", TIME.replace(microsecond=123456)),
        ("2020-01-15T12:00:00.123Z", TIME.replace(microsecond=123000)),
        ("2020-01-15", TIME.replace(hour=0)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999Z", datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (1579089600, TIME),
        (1579089600.0, TIME),
        (1579089600.5, TIME.replace(microsecond=500000)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (0.0, datetime(1970, 1, 1, tzinfo=UTC)),
        (253402300799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_of_either_form_is_an_aware_one_in_utc(
    wire_value: str | float, time: datetime
) -> None:
    created_at = make_account(accountCreatedAt=wire_value).created_at
    assert created_at == time
    assert created_at is not None
    assert created_at.tzinfo is UTC


@pytest.mark.parametrize("value", [None, ...])
def test_a_time_that_is_missing_or_null_is_none(value: Any) -> None:
    assert make_account(accountCreatedAt=value).created_at is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2020-13-01T00:00:00Z",
        "2020-01-15T25:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "1579089600",
        "2020-01-15\ud800",
        "\ud800",
        "\x00",
        -1,
        -0.5,
        253402300800,
        10**30,
        10**400,
        1e300,
        float("nan"),
        float("inf"),
        float("-inf"),
        True,
        False,
        [],
        {},
    ],
)
def test_a_time_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(
        ValueError, match="accountCreatedAt: expected Unix seconds or ISO-8601"
    ) as e:
        make_account(accountCreatedAt=value)
    assert str(e.value).isprintable()
    assert len(str(e.value)) < 200


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (TIME, "2020-01-15T12:00:00.000Z"),
        (TIME.replace(microsecond=120000), "2020-01-15T12:00:00.120Z"),
        (TIME.replace(microsecond=1), "2020-01-15T12:00:00.000001Z"),
        (TIME.astimezone(timezone(timedelta(hours=-7))), "2020-01-15T12:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_as_the_api_does(time: datetime, text: str) -> None:
    account = attrs.evolve(make_account(), created_at=time)
    assert account.to_dict()["accountCreatedAt"] == text
    assert Account.from_dict(account.to_dict()).created_at == time


# Missing, null and unknown

OPTIONAL = [
    "platformUserId",
    "secUid",
    "privateAccount",
    "region",
    "language",
    "accountCreatedAt",
    "details",
]
NULLABLE = ["displayName", "bio", "avatarUrl"]


def test_an_account_of_the_fewest_keys_is_read() -> None:
    account = make_account(displayName=..., bio=..., avatarUrl=...)
    assert account == make_account()
    assert account == Account("ada", PROFILE_URL, verified=False, metrics=AccountMetrics(1, 2, 3))
    assert account.extra == {}
    assert account.metrics.extra == {}


@pytest.mark.parametrize("key", [*OPTIONAL, *NULLABLE])
def test_missing_and_null_are_none(key: str) -> None:
    assert make_account(**{key: None}) == make_account(**{key: ...}) == make_account()


@pytest.mark.parametrize("key", OPTIONAL)
def test_an_optional_key_without_a_value_is_left_out_again(key: str) -> None:
    assert key not in make_account(**{key: None}).to_dict()


@pytest.mark.parametrize("key", NULLABLE)
def test_a_nullable_key_without_a_value_is_written_as_null(key: str) -> None:
    assert make_account(**{key: ...}).to_dict()[key] is None


def test_an_empty_text_stays_an_empty_text() -> None:
    account = make_account(bio="", displayName="", region="", secUid="", platformUserId="")
    assert (account.bio, account.display_name, account.region) == ("", "", "")
    assert account.to_dict()["region"] == ""
    assert Account.from_dict(account.to_dict()) == account


def test_a_nineteen_digit_id_stays_exact() -> None:
    body = orjson.loads(b'{"platformUserId":"6808393333333333333"}')
    assert make_account(**body).platform_user_id == "6808393333333333333"


def test_empty_details_are_not_missing_details() -> None:
    assert make_account(details={}).details == {}
    assert make_account(details={}).to_dict()["details"] == {}


@pytest.mark.parametrize("missing", [("data", "page", "nextCursor"), ("data", "totalAccounts")])
def test_a_nullable_key_of_a_page_may_be_missing(missing: tuple[str, ...]) -> None:
    body = copy.deepcopy(PAGES["first_page"])
    place = body
    for key in missing[:-1]:
        place = place[key]
    del place[missing[-1]]
    page = read_page(body)
    assert None in (page.next_cursor, page.total)


def test_unknown_keys_are_kept_at_every_level() -> None:
    body = copy.deepcopy(PAGES["first_page"])
    body["top"] = 1
    body["data"]["fresh"] = {"a": [None]}
    body["data"]["page"]["size"] = {}
    body["meta"]["region"] = "eu"
    row = body["data"]["accounts"][0]
    row["badge"] = [{"deep": {}}]
    row["metrics"]["likes"] = None
    row["extra"] = "a key called extra"
    page = read_page(body)
    assert page.extra == {
        "top": 1,
        "data": {"fresh": {"a": [None]}, "page": {"size": {}}},
        "meta": {"region": "eu"},
    }
    assert page.accounts[0].extra == {"badge": [{"deep": {}}], "extra": "a key called extra"}
    assert page.accounts[0].metrics.extra == {"likes": None}
    written = page.to_dict()
    assert FollowingPage.from_dict(written) == page
    assert written["data"]["page"]["size"] == {}
    assert written["data"]["accounts"][0]["extra"] == "a key called extra"


def test_unknown_keys_of_the_account_routes_are_kept() -> None:
    body = copy.deepcopy(BALANCES["full"])
    body["data"]["subscription"]["seats"] = 3
    body["data"]["bonus"] = {"x": 1}
    balance = Balance.from_dict(body)
    assert balance.subscription is not None
    assert balance.subscription.extra == {"seats": 3}
    assert balance.extra["data"] == {"bonus": {"x": 1}}
    body = copy.deepcopy(IDENTITIES["named"])
    body["data"]["user"]["team"] = "t"
    identity = Identity.from_dict(body)
    assert identity.extra["data"] == {"user": {"team": "t"}}
    assert identity.to_dict() == body


def test_a_page_without_unknown_keys_shares_nothing() -> None:
    one, two = read_page(PAGES["first_page"]), read_page(PAGES["first_page"])
    one.extra["mine"] = 1
    one.accounts[0].extra["mine"] = 1
    assert two.extra == {}
    assert two.accounts[0].extra == {}


def test_a_row_without_unknown_keys_is_like_one_that_was_looked_at() -> None:
    one, two = make_account(), make_account()
    assert (two.extra, two.metrics.extra) == ({}, {})
    assert one == two
    assert repr(make_account()) == repr(two)
    assert attrs.asdict(make_account()) == attrs.asdict(two)
    for copied in (copy.copy(make_account()), pickle.loads(pickle.dumps(make_account()))):
        assert copied == two
        assert copied.extra == {}
    assert attrs.evolve(make_account(), bio="new").extra == {}
    one.extra = {"mine": 1}
    assert one.extra == {"mine": 1}


def test_writing_a_value_does_not_change_it() -> None:
    page = read_page(PAGES["unknown_keys"])
    before = copy.deepcopy(page)
    written = page.to_dict()
    written["data"]["accounts"].clear()
    written["meta"]["mine"] = written["data"]["page"]["mine"] = 1
    assert page == before
    assert page.to_dict() == before.to_dict()


# Status and rows


@pytest.mark.parametrize("status", ["age_restricted", "FOUND", " found", "?", "суд"])
def test_a_status_unknown_today_survives_as_itself(status: str) -> None:
    body = copy.deepcopy(PAGES["empty"])
    body["data"]["lookupStatus"] = status
    page = read_page(body)
    assert page.status == status
    assert not isinstance(page.status, LookupStatus)
    assert page.to_dict()["data"]["lookupStatus"] == status


@pytest.mark.parametrize("status", LookupStatus)
def test_a_known_status_is_one_of_the_enum_and_plain_text_again(status: LookupStatus) -> None:
    body = copy.deepcopy(PAGES["empty"])
    body["data"]["lookupStatus"] = status.value
    page = read_page(body)
    assert page.status is status
    assert type(page.to_dict()["data"]["lookupStatus"]) is str
    assert type(Following(handle="a", status=status).to_dict()["lookupStatus"]) is str


@pytest.mark.parametrize("status", [None, "", 1, True, [], {}, ["found"]])
def test_a_status_that_is_no_word_is_refused(status: Any) -> None:
    body = copy.deepcopy(PAGES["empty"])
    body["data"]["lookupStatus"] = status
    with pytest.raises(ValueError, match=r"^\$\.data\.lookupStatus: expected a lookup status, got"):
        read_page(body)


def test_rows_keep_their_order_and_their_duplicates() -> None:
    body = copy.deepcopy(PAGES["first_page"])
    rows = [make_account(handle=handle).to_dict() for handle in ("b", "a", "b", "c", "a", "b")]
    body["data"]["accounts"] = rows
    page = read_page(body)
    assert [account.handle for account in page.accounts] == ["b", "a", "b", "c", "a", "b"]
    assert [row["handle"] for row in page.to_dict()["data"]["accounts"]] == list("babcab")


def test_a_page_carries_what_it_was_asked_with() -> None:
    body = {**PAGES["middle_page"], "handle": "ada", "cursor": "1742744536"}
    page = FollowingPage.from_dict(body)
    assert (page.handle, page.cursor) == ("ada", "1742744536")
    assert page.to_dict()["cursor"] == "1742744536"


# raise_for_status


@pytest.mark.parametrize("value", [make_page(), Following(handle="a", status=LookupStatus.FOUND)])
def test_a_found_profile_raises_nothing_and_is_handed_back(value: Any) -> None:
    assert value.raise_for_status() is value


def test_a_list_nobody_read_yet_raises_nothing() -> None:
    following = Following(handle="ada")
    assert following.raise_for_status() is following


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (LookupStatus.HIDDEN, "hidden"),
        (LookupStatus.PRIVATE, "private"),
        (LookupStatus.NOT_FOUND, "not found"),
        ("age_restricted", "age restricted"),
    ],
)
def test_another_status_is_raised_only_where_asked(status: str, words: str) -> None:
    for value in (make_page(status=status), Following(handle="ada", status=status)):
        with pytest.raises(ProfileUnavailableError, match=f"'ada' is {words}") as caught:
            value.raise_for_status()
        assert caught.value.handle == "ada"
        assert caught.value.status is status


def test_a_strange_status_does_nothing_to_a_terminal() -> None:
    page = make_page(status="\x1b[31m" + "x" * 5000)
    with pytest.raises(ProfileUnavailableError) as caught:
        page.raise_for_status()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert caught.value.status == page.status


# There and back, whatever is in it

TEXT = st.text(max_size=8)
NAME = st.text(min_size=1, max_size=8)
COUNT = st.integers(0, 2**53)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=2)
STATUS = st.sampled_from(LookupStatus) | NAME.filter(lambda text: text not in set(LookupStatus))
TIMES = st.datetimes(timezones=st.just(UTC))


def extras(cls: type, known: Any = None) -> st.SearchStrategy[dict[str, Any]]:
    """Make keys that `cls` does not know, nested along its containers; none is empty."""
    known = read_known_keys(read_fields(cls)) if known is None else known
    fresh = st.dictionaries(TEXT.filter(lambda key: key not in known), JSON, max_size=2)
    below = {key: extras(cls, tree).filter(bool) for key, tree in known.items() if tree is not None}
    nested = st.fixed_dictionaries({}, optional=below)
    return st.builds(lambda one, other: {**one, **other}, fresh, nested)


METRICS = st.builds(AccountMetrics, COUNT, COUNT, COUNT, extra=extras(AccountMetrics))
ACCOUNTS = st.builds(
    Account,
    NAME,
    NAME,
    st.booleans(),
    METRICS,
    display_name=st.none() | TEXT,
    bio=st.none() | TEXT,
    avatar_url=st.none() | TEXT,
    platform_user_id=st.none() | TEXT,
    sec_uid=st.none() | TEXT,
    private_account=st.none() | st.booleans(),
    region=st.none() | TEXT,
    language=st.none() | TEXT,
    created_at=st.none() | TIMES,
    details=st.none() | OBJECT,
    extra=extras(Account),
)
FOLLOWING_PAGES = st.builds(
    FollowingPage,
    NAME,
    STATUS,
    st.lists(ACCOUNTS, max_size=3),
    st.booleans(),
    NAME,
    COUNT,
    TEXT,
    cursor=st.none() | TEXT,
    next_cursor=st.none() | TEXT,
    total=st.none() | COUNT,
    cached=st.none() | st.booleans(),
    extra=extras(FollowingPage),
)
USAGES = st.builds(
    Usage,
    credits_charged=COUNT,
    credits_at_risk=COUNT,
    credits_reserved=COUNT,
    requests=COUNT,
    attempts=COUNT,
    retries=COUNT,
    pauses=COUNT,
    seconds_waited=FLOATS.map(abs),
    outcomes=st.dictionaries(TEXT, COUNT, max_size=3),
)
FOLLOWINGS = st.builds(
    Following,
    handle=NAME,
    status=st.none() | STATUS,
    accounts=st.lists(ACCOUNTS, max_size=3),
    total=st.none() | COUNT,
    complete=st.booleans(),
    next_cursor=st.none() | TEXT,
    pages=COUNT,
    usage=USAGES,
)
SUBSCRIPTIONS = st.builds(
    Subscription, tier=TEXT, status=TEXT, period_end=TEXT, extra=extras(Subscription)
)
BALANCE_VALUES = st.builds(
    Balance,
    balance=COUNT,
    request_id=NAME,
    payg=st.none() | COUNT,
    payg_spendable=st.none() | COUNT,
    grace_debt_credits=st.none() | COUNT,
    subscription_included_remaining=st.none() | COUNT,
    subscription_included_total=st.none() | COUNT,
    refill_state=st.none() | TEXT,
    billing_alert=st.none() | TEXT,
    collection_status=st.none() | TEXT,
    subscription=st.none() | SUBSCRIPTIONS,
    extra=extras(Balance),
)
IDENTITY_VALUES = st.builds(
    Identity,
    id=TEXT,
    request_id=NAME,
    name=st.none() | TEXT,
    email=st.none() | TEXT,
    extra=extras(Identity),
)
ROUND_TRIP = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_comes_back(value: Any) -> None:
    written = value.to_dict()
    assert type(value).from_dict(written) == value
    assert type(value).from_dict(written).to_dict() == written


@ROUND_TRIP
@given(ACCOUNTS)
def test_an_account_comes_back_from_its_dict(account: Account) -> None:
    assert_comes_back(account)


@ROUND_TRIP
@given(FOLLOWING_PAGES)
def test_a_page_comes_back_from_its_dict(page: FollowingPage) -> None:
    assert_comes_back(page)


@ROUND_TRIP
@given(FOLLOWINGS)
def test_a_following_comes_back_from_its_dict(following: Following) -> None:
    assert_comes_back(following)


@ROUND_TRIP
@given(st.one_of(BALANCE_VALUES, IDENTITY_VALUES, USAGES))
def test_the_small_values_come_back_from_their_dicts(value: Model) -> None:
    assert_comes_back(value)


@ROUND_TRIP
@given(FOLLOWING_PAGES)
def test_what_json_can_hold_comes_back_from_json(page: FollowingPage) -> None:
    try:
        body = orjson.dumps(page.to_dict())
    except TypeError:
        return  # an integer of more than 64 bits, which no API body can hold here
    assert FollowingPage.from_dict(orjson.loads(body)) == page


@ROUND_TRIP
@given(FOLLOWING_PAGES)
def test_whatever_a_page_holds_the_contract_allows_its_dict(page: FollowingPage) -> None:
    page.version = "v1"
    if page.status not in set(LookupStatus):
        page.status = LookupStatus.FOUND
    if page.status != LookupStatus.FOUND:
        page.accounts, page.total = [], None
    contract.check("FollowingBody", page.to_dict())
