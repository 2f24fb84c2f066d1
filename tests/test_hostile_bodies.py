"""Answers that mean harm: any bytes are a value or an error of ours, in bounded time and memory.

Bodies as the sandbox sends them are changed in ways that know their shape, into what no serializer
would write. `--hypothesis-profile=long` looks at many more of them.
"""

import copy
import cProfile
import json
import pickle
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import example, given, strategies as st
from multidict import CIMultiDict

from tiktok_following import (
    APIError,
    Balance,
    FollowingError,
    FollowingPage,
    Identity,
    ResponseDecodeError,
)
from tiktok_following._config import ApiKey
from tiktok_following._json import write_line
from tiktok_following._models import Model
from tiktok_following._wire import (
    Request,
    Response,
    parse_balance_response,
    parse_following_response,
    parse_health_response,
    parse_identity_response,
    parse_stored_page,
)
from tiktok_following.sandbox import Sandbox, faults

KEY = ApiKey("sfk_test_0123456789abcdefghijklmn")
REQUEST = Request("https://api.test/", "nasa", "1742744536")
NOW = 1_579_089_600.0
PARSERS: dict[Callable[..., Any], type] = {
    parse_following_response: FollowingPage,
    parse_balance_response: Balance,
    parse_identity_response: Identity,
    parse_health_response: bool,
}
LONGEST_MESSAGE = 2000


@cache
def fetch_bodies() -> list[bytes]:
    """Fetch one body of each kind from a sandbox."""
    with Sandbox() as sandbox:
        sandbox.script(faults.status(503, retry_after=1), faults.status(402), handle="refused")
        page = "v1/tiktok/profiles/{}/following"
        paths = [
            *map(page.format, ("nasa", "hidden.profile", "empty.profile", "refused", "refused")),
            *("v1/balance", "v1/whoami", "health", "v1/unknown"),
        ]
        return [_fetch(f"{sandbox.base_url}/{path}", sandbox.api_key) for path in paths]


def _fetch(url: str, key: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(urllib.request.Request(url, headers={"x-api-key": key})).read()
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


@cache
def list_read(parse: Callable[..., Any]) -> list[bytes]:
    """List the bodies that a parser makes a value of."""
    verdicts = {body: judge(parse, 200, {}, body) for body in fetch_bodies()}
    return [body for body, each in verdicts.items() if not isinstance(each, FollowingError)]


# JSON that no serializer writes

DEEP = [b"[" * n + b"]" * n for n in (200, 1000, 1100, 50_000)]
DEEP += [b'{"data":' * n + b"{}" + b"}" * n for n in (200, 1000, 1100, 50_000)]
HUGE = [
    b"9" * 5000,
    b"-" + b"9" * 100_000,
    b'"' + b"x" * 200_000 + b'"',
    b'"' + b"\\u0000" * 20_000 + b'"',
    b'"' + "\u202e".encode() * 20_000 + b'"',
    b"[" + b"0," * 50_000 + b"0]",
    b"[" + b"{}," * 20_000 + b"{}]",
    b"[" + b'{"handle":"a"},' * 5000 + b"null]",
    b"{" + b",".join(b'"%d":0' % n for n in range(20_000)) + b"}",
]
NUMBERS = [
    *(b"NaN", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"1E+2", b"-0", b"-0.0", b"1.0", b"00"),
    *(b"0x10", b"-1", b"1.5", b"253402300799", b"253402300800", b"1e18", b"9223372036854775808"),
    *(b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"1_0"),
]
TEXTS = [
    *(
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        rb'"\u0000"',
        b'"\x00"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'""',
    ),
    *(b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"', b'"2020-02-30"', b'"12345"'),
    *(b'"20200115"', b'"2020-W01-1"', b'"10000-01-01T00:00:00Z"', b'"\\u001b[31m"', b'"=1+1"'),
    *(b'"found', b"'found'", b'"\\x41"', b'"found"', b'"hidden"', b'"1742744536"'),
]
OTHERS = [
    b"null",
    b"true",
    b"false",
    b"[]",
    b"{}",
    b"[null]",
    b"",
    b",",
    b"}",
    b"]",
    b'{"a":1,"a":{}}',
]
TOKENS = st.sampled_from(NUMBERS + TEXTS + OTHERS) | st.sampled_from(DEEP + HUGE)


def list_places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of everything inside a body, of lists the first three items."""
    items: list[tuple[Any, Any]] = []
    if isinstance(body, dict):
        items = list(body.items())
    elif isinstance(body, list):
        items = list(enumerate(body[:3]))
    return [
        place for key, item in items for place in ((*path, key), *list_places(item, (*path, key)))
    ]


@st.composite
def changed_bodies(draw: st.DrawFn, of: Callable[..., Any]) -> bytes:
    """Change up to three places of a body, as a rule of one for this parser, then its bytes."""
    is_other = draw(st.integers(0, 4)) == 0
    body = orjson.loads(draw(st.sampled_from(fetch_bodies() if is_other else list_read(of))))
    tokens: dict[str, bytes] = {}
    for number in range(draw(st.integers(0, 3))):
        if not (places := list_places(body)):
            break
        *path, last = draw(st.sampled_from(places))
        place: Any = body
        for key in path:
            place = place[key]
        mark = f"@{number}@"
        change = draw(st.sampled_from(["replace", "delete", "twice", "wrap"]))
        if change == "delete":
            del place[last]
        elif change == "wrap":
            place[last] = [place[last]]
        elif change == "twice" and isinstance(place, dict):
            place[mark] = draw(st.sampled_from([None, 1, [], {}, "x"]))
            tokens[mark] = json.dumps(last).encode()
        else:
            place[last] = mark
            tokens[mark] = draw(TOKENS)
    text = json.dumps(body, ensure_ascii=draw(st.booleans())).encode()
    for mark, token in tokens.items():
        text = text.replace(f'"{mark}"'.encode(), token)
    return draw(change_bytes(text))


@st.composite
def change_bytes(draw: st.DrawFn, text: bytes) -> bytes:
    """Cut, double or overwrite bytes, mostly not."""
    change = draw(st.sampled_from(["none"] * 5 + ["cut", "insert", "flip", "double", "prefix"]))
    where = draw(st.integers(0, len(text)))
    if change == "cut":
        return text[:where]
    if change == "insert":
        return text[:where] + draw(st.binary(min_size=1, max_size=4)) + text[where:]
    if change == "flip" and where < len(text):
        return text[:where] + bytes([text[where] ^ draw(st.integers(1, 255))]) + text[where + 1 :]
    if change == "prefix":
        return draw(st.sampled_from([b"\xef\xbb\xbf", b" \n", b"\x00", b")]}',\n"])) + text
    return text + text if change == "double" else text


STATUSES = st.just(200) | st.sampled_from(
    [100, 204, 206, 301, 400, 401, 402, 403, 404, 418, 429, 500, 502, 503, 504, 520, 599, 999]
)
HEADER_TEXTS = st.sampled_from(
    [
        *("0", "1", "-1", "1e9", "9" * 12, "9" * 5000, "0." + "9" * 5000, "nan", "inf", "soon", ""),
        *(
            "Wed, 15 Jan 2020 12:00:30 GMT",
            "Fri, 31 Dec 9999 23:59:59 -2359",
            "1 Jan 1 00:00 +2359",
        ),
        *(
            "text/html",
            "application/json; charset=\x00",
            "\u202e" * 100,
            KEY,
            "2, 3",
            "٣",
            "1" * 7000,
        ),
    ]
) | st.text(max_size=30)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Retry-After", "retry-after", "Date", "Content-Type", "Age", "X-" * 50]),
        HEADER_TEXTS,
    ),
    max_size=4,
)


def judge(parse: Callable[..., Any], status: int, headers: Any, body: bytes) -> Any:
    """Give the value or the error of an answer; whatever else comes out fails the test."""
    response = Response(status, CIMultiDict(headers), body, NOW)
    try:
        return parse(REQUEST, response, KEY)
    except FollowingError as error:
        return error


def check(verdict: Any, parse: Callable[..., Any], status: int) -> None:
    """Check what everybody relies on who is handed a value or an error."""
    if isinstance(verdict, FollowingError):
        assert isinstance(verdict, ResponseDecodeError if status == 200 else APIError)
        assert str(verdict).isprintable()
        assert len(str(verdict)) < LONGEST_MESSAGE
        assert KEY[8:] not in str(verdict) + repr(vars(verdict))
        assert verdict.retry_after is None or verdict.retry_after >= 0
        assert str(pickle.loads(pickle.dumps(verdict))) == str(verdict)
        return
    assert status == 200
    assert type(verdict) is PARSERS[parse]
    if isinstance(verdict, Model):
        written = write_line(verdict.to_dict())
        assert type(verdict).from_dict(orjson.loads(written)).to_dict() is not None
        assert write_line(type(verdict).from_dict(orjson.loads(written)).to_dict()) == written


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.data(), status=STATUSES, headers=HEADERS)
def test_any_answer_is_a_value_or_an_error_of_ours(
    parse: Callable[..., Any], data: st.DataObject, status: int, headers: list[tuple[str, str]]
) -> None:
    body = data.draw(changed_bodies(parse) | st.binary(max_size=100))
    check(judge(parse, status, headers, body), parse, status)


@given(changed_bodies(parse_following_response))
def test_what_was_read_once_can_be_read_from_the_store(body: bytes) -> None:
    page = judge(parse_following_response, 200, {}, body)
    if isinstance(page, FollowingPage):
        again = parse_stored_page(body.decode(), "nasa", REQUEST.cursor)
        assert write_line(again.to_dict()) == write_line(page.to_dict())


def list_extremes() -> dict[str, bytes]:
    """Put each of what is deep or huge into every kind of place of a page."""
    page = orjson.loads(fetch_bodies()[0])
    places = [
        *(("data",), ("data", "accounts"), ("data", "accounts", 0), ("data", "page"), ("meta",)),
        *(("data", "lookupStatus"), ("data", "page", "nextCursor"), ("data", "totalAccounts")),
        *(("data", "accounts", 0, field) for field in ("handle", "bio", "details", "metrics")),
        *(("data", "accounts", 0, field) for field in ("accountCreatedAt", "new")),
    ]
    bodies: dict[str, bytes] = {}
    for path in places:
        body = copy.deepcopy(page)
        place = body
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = "@@"
        head, tail = orjson.dumps(body).split(b'"@@"')
        for number, token in enumerate(DEEP + HUGE):
            bodies[f"{'.'.join(map(str, path))} {number}"] = head + token + tail
    return bodies


def count_steps(work: Callable[[], object]) -> int:
    """Count the calls that some work makes: unlike its time, it is the same on every machine."""
    profile = cProfile.Profile(builtins=True)
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("status", [200, 500])
def test_no_answer_takes_more_than_its_size_allows(status: int) -> None:
    for name, body in list_extremes().items():
        for parse in PARSERS:
            verdicts: list[Any] = []

            def work(
                parse: Any = parse, body: bytes = body, verdicts: list[Any] = verdicts
            ) -> None:
                verdicts.append(judge(parse, status, {}, body))

            assert count_steps(work) < 20_000 + len(body) / 2, name
            tracemalloc.start()
            work()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 2**20 + 40 * len(body), name
            check(verdicts[0], parse, status)


@pytest.mark.parametrize("body", [*DEEP, *HUGE], ids=lambda body: f"{body[:8]!r} {len(body)}")
@pytest.mark.parametrize("parse", PARSERS)
def test_what_is_deep_or_huge_and_nothing_else_is_an_error(
    parse: Callable[..., Any], body: bytes
) -> None:
    for status in (200, 503):
        verdict = judge(parse, status, {"Retry-After": "1"}, body)
        check(verdict, parse, status)
        assert isinstance(verdict, FollowingError) or verdict is False


@given(st.dictionaries(st.text(max_size=5), HEADER_TEXTS, max_size=3), st.integers(100, 999))
@example({"Retry-After": "9" * 7000, "Date": "9" * 7000}, 503)
@example({"Retry-After": " ".join("1" * 3000)}, 503)
def test_any_headers_are_a_wait_or_none(headers: Mapping[str, str], status: int) -> None:
    verdict = judge(parse_following_response, status, headers, b"")
    check(verdict, parse_following_response, status)
    if "Retry-After" not in headers and "retry-after" not in headers:
        assert verdict.retry_after is None
