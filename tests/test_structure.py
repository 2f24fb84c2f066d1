"""What reading promises: fast for what is right, a verdict like plain cattrs', and where."""

import copy
import functools
import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import contract
import pytest
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override
from hypothesis import HealthCheck, given, settings, strategies as st
from speed import compare

from tiktok_following import (
    Account,
    AccountMetrics,
    Balance,
    Following,
    FollowingPage,
    Identity,
    LookupStatus,
    Usage,
)
from tiktok_following._fields import (
    Count,
    Mismatch,
    NonEmptyStr,
    SharedStr,
    parse_time,
    read_fields,
)
from tiktok_following._models import Subscription, structurer
from tiktok_following._status import Status

PAGES = {
    name: {**body, "handle": "ada", "cursor": None}
    for name, body in contract.examples(contract.FOLLOWING_ROUTE, "200").items()
}
BODIES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    **{name: (FollowingPage, body) for name, body in PAGES.items()},
    **{
        f"balance_{name}": (Balance, body)
        for name, body in contract.examples("/v1/balance", "200").items()
    },
    **{
        f"identity_{name}": (Identity, body)
        for name, body in contract.examples("/v1/whoami", "200").items()
    },
    "following": (
        Following,
        Following(
            handle="ada",
            status=LookupStatus.FOUND,
            accounts=FollowingPage.from_dict(PAGES["first_page"]).accounts,
            usage=Usage(outcomes={"found": 2}),
        ).to_dict(),
    ),
    "following_unread": (Following, Following(handle="ada").to_dict()),
}
all_bodies = pytest.mark.parametrize(("cls", "body"), BODIES.values(), ids=BODIES.keys())


def read_fast(body: Any, cls: type) -> Any:
    """Read with the generated function alone, which raises whatever it trips over."""
    return structurer._fast.get_structure_hook(cls)(body, cls)


def read_explaining(body: Any, cls: type) -> Any:
    """Read the second way alone."""
    return structurer._explain(body, cls)


# The reference: cattrs as it comes, on bodies made flat by other means


def require(is_right: Callable[[Any], bool]) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if not is_right(value):
            raise ValueError(value)
        return value

    return structure


def structure_status(value: Any, _: Any) -> Any:
    if type(value) is not str or not value:
        raise ValueError(value)
    return LookupStatus(value) if value in set(LookupStatus) else value


def structure_optional_status(value: Any, _: Any) -> Any:
    return None if value is None else structure_status(value, None)


def structure_object(value: Any, hint: Any) -> Any:
    if type(value) is not dict:
        raise ValueError(value)
    if hint == dict[str, int] and not all(type(v) is int and v >= 0 for v in value.values()):
        raise ValueError(value)
    return value


def structure_rows(value: Any, _: Any) -> list[Account]:
    if type(value) is not list:
        raise ValueError(value)
    return [read_as_stock(row, Account) for row in value]


STOCK = Converter(detailed_validation=False)
for kind, hook in {
    str: require(lambda v: type(v) is str),
    NonEmptyStr: require(lambda v: type(v) is str and v != ""),
    Count: require(lambda v: type(v) is int and v >= 0),
    bool: require(lambda v: type(v) is bool),
    float: require(lambda v: type(v) in {int, float}),
    SharedStr: require(lambda v: type(v) is str),
    datetime: lambda value, _: parse_time(value),
    Status: structure_status,
    Status | None: structure_optional_status,
    dict[str, Any]: structure_object,
    dict[str, int]: structure_object,
    list[Account]: structure_rows,
}.items():
    if isinstance(kind, type):  # of a plain class cattrs would take its own hook first
        STOCK.register_structure_hook(kind, hook)
    else:
        STOCK.register_structure_hook_func(functools.partial(operator.eq, kind), hook)


def read_as_stock(body: Any, cls: type) -> Any:
    """Read by stock cattrs, or raise; the paths are walked and the rest is collected by hand."""
    if type(body) is not dict:
        raise ValueError(body)
    flat: dict[str, Any] = {}
    rest = copy.deepcopy(body)
    containers: list[tuple[str, ...]] = []
    for field in read_fields(cls):
        place, left = body, rest
        for key in field.path[:-1]:
            place, left = place[key], left[key]
            if type(place) is not dict:
                raise ValueError(place)
        containers += [field.path[:n] for n in range(1, len(field.path))]
        if field.path[-1] in place:
            flat[".".join(field.path)] = place[field.path[-1]]
            del left[field.path[-1]]
    made = PLAIN[cls](flat, cls)
    for path in sorted(set(containers), key=len, reverse=True):
        left = rest
        for key in path[:-1]:
            left = left[key]
        if not left[path[-1]]:
            del left[path[-1]]
    if hasattr(made, "extra"):
        made.extra = rest
    return made


NESTED = {AccountMetrics, Subscription, Usage}
for kind in NESTED:
    STOCK.register_structure_hook(kind, read_as_stock)
RENAMED: dict[type, dict[str, Any]] = {
    cls: {
        field.name: override(omit=True)
        if field.name == "extra"
        else override(rename=".".join(field.metadata["path"]))
        for field in attrs.fields(cls)
    }
    for cls in (Account, FollowingPage, Following, Balance, Identity, *NESTED)
}
PLAIN: dict[type, Callable[[Any, Any], Any]] = {
    cls: make_dict_structure_fn(cls, STOCK, **names) for cls, names in RENAMED.items()
}


def judge(read: Callable[[Any, Any], Any], body: Any, cls: type) -> Any:
    """Give what is read of a body, or `Mismatch` for none."""
    try:
        return read(copy.deepcopy(body), cls)
    except Exception:  # noqa: BLE001 - the three ways refuse in three languages
        return Mismatch


@all_bodies
def test_a_right_body_is_read_without_a_second_look(cls: type, body: dict[str, Any]) -> None:
    assert read_fast(body, cls) == read_as_stock(body, cls)


@all_bodies
def test_the_explaining_way_reads_the_same(cls: type, body: dict[str, Any]) -> None:
    assert read_explaining(body, cls) == read_fast(body, cls)
    assert structurer.structure(body, cls) == read_fast(body, cls)


@all_bodies
def test_reading_leaves_the_body_alone(cls: type, body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    structurer.structure(body, cls)
    read_explaining(body, cls)
    assert body == before


TEXT = st.text(max_size=4)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats(allow_nan=False)
    | TEXT
    | st.sampled_from(["found", "2020-01-15T12:00:00Z"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


def list_places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of everything inside a body."""
    items: list[tuple[Any, Any]] = []
    if isinstance(body, dict):
        items = list(body.items())
    elif isinstance(body, list):
        items = list(enumerate(body))
    return [
        place for key, item in items for place in ((*path, key), *list_places(item, (*path, key)))
    ]


@st.composite
def broken_bodies(draw: st.DrawFn) -> tuple[type, Any]:
    """Make a body of which one to three things were replaced, taken out or added."""
    cls, body = draw(st.sampled_from(sorted(BODIES.values(), key=lambda pair: pair[0].__name__)))
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(0, 3))):
        places = list_places(body)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        place = body
        for key in path:
            place = place[key]
        change = draw(st.sampled_from(["replace", "delete", "add"]))
        if change == "delete":
            del place[last]
        elif change == "replace" or not isinstance(place, dict):
            place[last] = draw(JSON)
        else:
            place[draw(TEXT)] = draw(JSON)
    return cls, body


MODEST = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MODEST
@given(broken_bodies())
def test_on_any_body_the_verdict_is_that_of_plain_cattrs(case: tuple[type, Any]) -> None:
    cls, body = case
    verdict = judge(structurer.structure, body, cls)
    assert verdict == judge(read_as_stock, body, cls)
    assert verdict == judge(read_explaining, body, cls)
    if judge(read_fast, body, cls) is not Mismatch:
        assert judge(read_fast, body, cls) == verdict


@MODEST
@given(broken_bodies())
def test_a_page_is_never_read_slowly_when_it_is_right(case: tuple[type, Any]) -> None:
    cls, body = case
    if cls in {FollowingPage, Balance, Identity}:
        assert judge(read_fast, body, cls) == judge(read_explaining, body, cls)


@MODEST
@given(broken_bodies() | st.tuples(st.just(FollowingPage), JSON))
def test_a_refusal_is_always_short_printable_and_says_where(case: tuple[type, Any]) -> None:
    cls, body = case
    try:
        structurer.structure(body, cls)
    except Mismatch as error:
        assert_explains(str(error))


def assert_explains(text: str) -> None:
    assert text.startswith("$")
    assert ": expected " in text
    assert ", got " in text
    assert text.isprintable()
    assert len(text) < 600


# Where, what was expected, what came

SIMPLE = PAGES["first_page"]


def break_page(path: str, value: Any) -> dict[str, Any]:
    """Copy the first page with one value replaced; `...` takes it out."""
    body = copy.deepcopy(SIMPLE)
    place: Any = body
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (
            "data.accounts.1.metrics.followers",
            "12",
            '$.data.accounts[1].metrics.followers: expected an integer ≥ 0, got "12"',
        ),
        (
            "data.accounts.0.metrics.posts",
            -1,
            "$.data.accounts[0].metrics.posts: expected an integer ≥ 0, got -1",
        ),
        (
            "data.accounts.0.metrics.posts",
            1.5,
            "$.data.accounts[0].metrics.posts: expected an integer ≥ 0, got 1.5",
        ),
        (
            "data.accounts.0.metrics.posts",
            1.0,
            "$.data.accounts[0].metrics.posts: expected an integer ≥ 0, got 1.0",
        ),
        (
            "data.accounts.0.metrics.posts",
            True,
            "$.data.accounts[0].metrics.posts: expected an integer ≥ 0, got true",
        ),
        (
            "data.accounts.0.metrics.posts",
            None,
            "$.data.accounts[0].metrics.posts: expected an integer ≥ 0, got null",
        ),
        (
            "data.accounts.0.metrics.posts",
            ...,
            "$.data.accounts[0].metrics.posts: expected a value, got nothing",
        ),
        (
            "data.accounts.0.metrics",
            ...,
            "$.data.accounts[0].metrics: expected a value, got nothing",
        ),
        ("data.accounts.0.metrics", 7, "$.data.accounts[0].metrics: expected an object, got 7"),
        (
            "data.accounts.0.metrics",
            [],
            "$.data.accounts[0].metrics: expected an object, got an array",
        ),
        ("data.accounts.0", None, "$.data.accounts[0]: expected an object, got null"),
        ("data.accounts.1", "ada", '$.data.accounts[1]: expected an object, got "ada"'),
        ("data.accounts", {}, "$.data.accounts: expected an array, got an object"),
        ("data.accounts", None, "$.data.accounts: expected an array, got null"),
        ("data.accounts", ..., "$.data.accounts: expected a value, got nothing"),
        (
            "data.accounts.0.handle",
            "",
            '$.data.accounts[0].handle: expected a string that is not empty, got ""',
        ),
        (
            "data.accounts.0.handle",
            1,
            "$.data.accounts[0].handle: expected a string that is not empty, got 1",
        ),
        (
            "data.accounts.0.verified",
            1,
            "$.data.accounts[0].verified: expected true or false, got 1",
        ),
        (
            "data.accounts.0.verified",
            0,
            "$.data.accounts[0].verified: expected true or false, got 0",
        ),
        (
            "data.accounts.0.verified",
            0.0,
            "$.data.accounts[0].verified: expected true or false, got 0.0",
        ),
        (
            "data.accounts.0.verified",
            None,
            "$.data.accounts[0].verified: expected true or false, got null",
        ),
        (
            "data.accounts.0.verified",
            "yes",
            '$.data.accounts[0].verified: expected true or false, got "yes"',
        ),
        ("data.accounts.0.bio", 0, "$.data.accounts[0].bio: expected a string, got 0"),
        ("data.accounts.0.bio", False, "$.data.accounts[0].bio: expected a string, got false"),
        (
            "data.accounts.0.platformUserId",
            6808393333333333333,
            "$.data.accounts[0].platformUserId: expected a string, got 6808393333333333333",
        ),
        (
            "data.accounts.0.details",
            "x",
            '$.data.accounts[0].details: expected an object, got "x"',
        ),
        (
            "data.accounts.0.accountCreatedAt",
            -1,
            "$.data.accounts[0].accountCreatedAt: expected Unix seconds or ISO-8601 text, got -1",
        ),
        ("data.lookupStatus", 3, "$.data.lookupStatus: expected a lookup status, got 3"),
        ("data.lookupStatus", ..., "$.data.lookupStatus: expected a value, got nothing"),
        ("data.page", None, "$.data.page: expected an object, got null"),
        ("data.page", ..., "$.data.page: expected an object, got nothing"),
        ("data.page", [1], "$.data.page: expected an object, got an array"),
        ("data.page.hasMore", "no", '$.data.page.hasMore: expected true or false, got "no"'),
        ("data.page.hasMore", ..., "$.data.page.hasMore: expected a value, got nothing"),
        ("data.page.nextCursor", 17, "$.data.page.nextCursor: expected a string, got 17"),
        ("data.totalAccounts", "9", '$.data.totalAccounts: expected an integer ≥ 0, got "9"'),
        ("data.totalAccounts", -9, "$.data.totalAccounts: expected an integer ≥ 0, got -9"),
        ("data", ..., "$.data: expected an object, got nothing"),
        ("data", 1.25, "$.data: expected an object, got 1.25"),
        ("meta", ..., "$.meta: expected an object, got nothing"),
        ("meta", None, "$.meta: expected an object, got null"),
        ("meta.requestId", "", '$.meta.requestId: expected a string that is not empty, got ""'),
        ("meta.creditsCharged", "1", '$.meta.creditsCharged: expected an integer ≥ 0, got "1"'),
        ("meta.creditsCharged", True, "$.meta.creditsCharged: expected an integer ≥ 0, got true"),
        ("meta.version", 1, "$.meta.version: expected a string, got 1"),
        ("meta.cached", 0, "$.meta.cached: expected true or false, got 0"),
        ("handle", "", '$.handle: expected a string that is not empty, got ""'),
        ("data.accounts.0.bio", float("nan"), "$.data.accounts[0].bio: expected a string, got nan"),
        (
            "data.accounts.0.verified",
            "\x1b[31m\n\u202e",
            r'$.data.accounts[0].verified: expected true or false, got "\x1b[31m\n\u202e"',
        ),
        (
            "data.accounts.0.verified",
            "x" * 41,
            f'$.data.accounts[0].verified: expected true or false, got "{"x" * 40}…"',
        ),
        (
            "data.accounts.0.verified",
            "x" * 40,
            f'$.data.accounts[0].verified: expected true or false, got "{"x" * 40}"',
        ),
        (
            "data.accounts.0.verified",
            "\ud800",
            r'$.data.accounts[0].verified: expected true or false, got "\ud800"',
        ),
    ],
)
def test_a_wrong_page_is_refused_with_where_and_what(path: str, value: Any, text: str) -> None:
    with pytest.raises(Mismatch) as caught:
        FollowingPage.from_dict(break_page(path, value))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "$: expected an object, got null"),
        ([], "$: expected an object, got an array"),
        ("x", '$: expected an object, got "x"'),
        (1, "$: expected an object, got 1"),
        (True, "$: expected an object, got true"),
        ({}, "$.handle: expected a value, got nothing"),
    ],
)
def test_what_is_no_object_is_no_value(value: Any, text: str) -> None:
    with pytest.raises(Mismatch) as caught:
        Account.from_dict(value)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("cls", "body", "text"),
    [
        (
            Balance,
            {"data": {"balance": "9"}, "meta": {"requestId": "r"}},
            '$.data.balance: expected an integer ≥ 0, got "9"',
        ),
        (
            Balance,
            {"data": {"balance": 9, "subscription": {"tier": "a"}}, "meta": {"requestId": "r"}},
            "$.data.subscription.status: expected a value, got nothing",
        ),
        (
            Identity,
            {"data": {"user": None}, "meta": {"requestId": "r"}},
            "$.data.user: expected an object, got null",
        ),
        (
            Identity,
            {"data": {}, "meta": {"requestId": "r"}},
            "$.data.user: expected an object, got nothing",
        ),
        (Following, {"handle": ""}, '$.handle: expected a string that is not empty, got ""'),
        (
            Following,
            {**Following(handle="a").to_dict(), "lookupStatus": 7},
            "$.lookupStatus: expected a lookup status, got 7",
        ),
        (
            Following,
            {**Following(handle="a").to_dict(), "usage": {"attempts": -1}},
            "$.usage.attempts: expected an integer ≥ 0, got -1",
        ),
        (
            Usage,
            {**Usage().to_dict(), "outcomes": []},
            "$.outcomes: expected an object, got an array",
        ),
        (
            Usage,
            {**Usage().to_dict(), "secondsWaited": "1"},
            '$.secondsWaited: expected a number, got "1"',
        ),
    ],
)
def test_every_other_value_says_where_it_is_wrong_too(cls: type[Any], body: Any, text: str) -> None:
    with pytest.raises(Mismatch) as caught:
        cls.from_dict(body)
    assert str(caught.value) == text


@pytest.mark.parametrize("count", ["3", 2.7, True, None, -1, []])
@pytest.mark.parametrize("name", ["found", "\x1b[31m", "x" * 1000])
def test_counts_of_outcomes_are_checked_like_every_other_count(name: str, count: Any) -> None:
    with pytest.raises(ValueError, match=r"^\$\.outcomes.*expected") as caught:
        Usage.from_dict({**Usage().to_dict(), "outcomes": {name: count}})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "value",
    [
        10**400,
        -(10**400),
        10**5000,
        -(10**5000),
        b"bytes" * 100,
        ("a", ["tuple"]),
        {"a set"},
        object(),
        datetime(2020, 1, 1),  # noqa: DTZ001 - any wrong value will do
        bytearray(b"\x1b"),
        1j,
        float("inf"),
        float("-inf"),
        "\ud800" * 100,
        "\x00" * 10**6,
    ],
    ids=type,
)
@pytest.mark.parametrize(
    "path", ["data.accounts.0.verified", "data.accounts.0.metrics", "data.lookupStatus", "data"]
)
def test_what_json_cannot_hold_is_refused_as_briefly(path: str, value: Any) -> None:
    if path == "data.lookupStatus" and isinstance(value, str):
        return  # a status nobody knows yet
    with pytest.raises(Mismatch) as caught:
        FollowingPage.from_dict(break_page(path, value))
    assert_explains(str(caught.value))


@pytest.mark.parametrize("value", [10**400, 10**5000, 2**63, 2**64], ids=int.bit_length)
def test_a_huge_count_is_a_count(value: int) -> None:
    page = FollowingPage.from_dict(break_page("data.totalAccounts", value))
    assert page.total == value


def test_the_first_thing_that_is_wrong_is_named() -> None:
    body = break_page("data.accounts.1.metrics.posts", "second")
    body["data"]["accounts"][0]["metrics"]["posts"] = "first"
    with pytest.raises(Mismatch, match=r"accounts\[0\]\.metrics\.posts.*first"):
        FollowingPage.from_dict(body)


def test_a_refusal_of_a_library_does_not_get_out() -> None:
    with pytest.raises(Mismatch) as caught:
        FollowingPage.from_dict(break_page("data.accounts.0.handle", 7))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_value_nested_as_deep_as_can_be_is_kept_as_it_came() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    body = break_page("data.accounts.0.details", deep)
    body["data"]["accounts"][0]["fresh"] = deep
    page = FollowingPage.from_dict(body)
    assert page.accounts[0].details is deep
    assert page.accounts[0].extra["fresh"] is deep
    assert page.to_dict()["data"]["accounts"][0]["details"] is deep
    body["data"]["accounts"][0]["verified"] = deep
    with pytest.raises(Mismatch, match="expected true or false, got an object"):
        FollowingPage.from_dict(body)


def test_lone_surrogates_pass_through_as_they_came() -> None:
    page = FollowingPage.from_dict(break_page("data.accounts.0.bio", "\ud800"))
    assert page.accounts[0].bio == "\ud800"
    assert page.to_dict()["data"]["accounts"][0]["bio"] == "\ud800"


@pytest.mark.parametrize("row", [{}, None, {"handle": 1}, {"metrics": []}])
def test_a_huge_wrong_body_does_not_hold_up_the_loop(row: Any) -> None:
    body = break_page("data.accounts", [row] * 50_000)

    def read() -> None:
        with pytest.raises(Mismatch, match=r"accounts\[0\]"):
            FollowingPage.from_dict(body)

    assert compare(read, lambda: [dict(SIMPLE) for _ in range(50_000)]) < 5


def test_one_wrong_row_after_many_right_ones_is_named() -> None:
    body = break_page("data.accounts", [*SIMPLE["data"]["accounts"][:1] * 300, {}, {}])
    with pytest.raises(Mismatch, match=r"^\$\.data\.accounts\[300\]\.handle: expected a value"):
        FollowingPage.from_dict(body)


def test_a_long_wrong_text_is_not_looked_at_to_its_end() -> None:
    long, short = (break_page("data.page.hasMore", "\x00" * size) for size in (10**7, 100))

    def read(body: Any) -> None:
        with pytest.raises(Mismatch):
            FollowingPage.from_dict(body)

    assert compare(lambda: read(long), lambda: read(short)) < 20
