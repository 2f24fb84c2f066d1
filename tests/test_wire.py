"""What the wire promises: one reading of every answer, and no secret in any of it."""

import json
import pickle
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import contract
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from multidict import CIMultiDict
from speed import compare

from tiktok_following import (
    APIError,
    AuthenticationError,
    BadRequestError,
    FollowingPage,
    InsufficientCreditsError,
    LookupFailedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    ResponseDecodeError,
    ServerError,
    ServiceUnavailableError,
)
from tiktok_following._config import ApiKey
from tiktok_following._wire import (
    Request,
    Response,
    build_following_request,
    is_refusal,
    parse_balance_response,
    parse_following_response,
    parse_health_response,
    parse_identity_response,
    parse_retry_after,
)

KEY = ApiKey("sfk_live_0123456789abcdefghijklmn")
NOW = 1_579_089_600.0  # 2020-01-15 12:00:00 UTC
REQUEST = Request("https://api.test/", "ada", "1742744536")
PAGES = contract.examples(contract.FOLLOWING_ROUTE, "200")
PAGE = PAGES["first_page"]
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"
JSON_TYPE = {"Content-Type": "application/json; charset=utf-8"}


def answer(status: int = 200, body: Any = b"", headers: dict[str, str] | None = None) -> Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status, CIMultiDict(headers or {}), content, NOW)


def parse(response: Response) -> FollowingPage:
    return parse_following_response(REQUEST, response, KEY)


def catch(response: Response) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(response)
    return caught.value


def catch_api_error(response: Response) -> APIError:
    error = catch(response)
    assert isinstance(error, APIError)
    return error


def envelope(**error: Any) -> dict[str, Any]:
    told = {"code": "some_code", "message": "It broke.", "requestId": "req_1", **error}
    return {"error": told}


# Requests


def build(handle: str = "nasa", cursor: str | None = None, *, trim: bool = False) -> str:
    return build_following_request("https://api.test", handle, cursor, trim=trim).url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (build(), "https://api.test/v1/tiktok/profiles/nasa/following"),
        (build(cursor="17"), "https://api.test/v1/tiktok/profiles/nasa/following?cursor=17"),
        (build(trim=True), "https://api.test/v1/tiktok/profiles/nasa/following?trim=true"),
        (
            build(cursor="17", trim=True),
            "https://api.test/v1/tiktok/profiles/nasa/following?cursor=17&trim=true",
        ),
        (build("a/b"), "https://api.test/v1/tiktok/profiles/a%2Fb/following"),
        (build("a?b#c"), "https://api.test/v1/tiktok/profiles/a%3Fb%23c/following"),
        (build("a%2Fb"), "https://api.test/v1/tiktok/profiles/a%252Fb/following"),
        (build("ü🚀"), "https://api.test/v1/tiktok/profiles/%C3%BC%F0%9F%9A%80/following"),
        (
            build(cursor="a&b=c#=+ %"),
            "https://api.test/v1/tiktok/profiles/nasa/following?cursor=a%26b%3Dc%23%3D%2B+%25",
        ),
    ],
)
def test_a_request_is_one_encoded_url(url: str, expected: str) -> None:
    assert url == expected


def test_a_request_knows_what_it_asks_for() -> None:
    request = build_following_request("http://localhost:1/p", "nasa", "17", trim=True)
    assert (request.handle, request.cursor) == ("nasa", "17")
    assert request.url.startswith("http://localhost:1/p/v1/tiktok/profiles/nasa/following?")
    assert Request("https://api.test/v1/balance").handle is None


@given(st.text(min_size=1))
def test_a_cursor_arrives_as_it_was_given(cursor: str) -> None:
    url = urlsplit(build(cursor=cursor, trim=True))
    assert parse_qsl(url.query, strict_parsing=True) == [("cursor", cursor), ("trim", "true")]
    assert url.fragment == ""


# Pages


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_contract_is_a_page(name: str) -> None:
    page = parse(answer(body=PAGES[name], headers=JSON_TYPE))
    assert page == FollowingPage.from_dict({**PAGES[name], "handle": "ada", "cursor": "1742744536"})
    assert (page.handle, page.cursor) == ("ada", "1742744536")


@pytest.mark.parametrize("status", ["hidden", "private", "not_found"])
def test_a_hidden_profile_is_an_answer_not_an_error(status: str) -> None:
    page = parse(answer(body=PAGES[status]))
    assert page.status == status
    assert page.accounts == []
    assert page.credits_charged == PAGES[status]["meta"]["creditsCharged"]


def test_the_content_type_of_a_right_page_does_not_matter() -> None:
    for headers in ({}, {"Content-Type": "text/html"}, {"content-type": "nonsense"}):
        assert parse(answer(body=PAGE, headers=headers)).handle == "ada"


def test_the_server_cannot_say_which_handle_was_asked_for() -> None:
    page = parse(answer(body={**PAGE, "handle": "other", "cursor": 5}))
    assert (page.handle, page.cursor) == ("ada", "1742744536")


# Free routes


@pytest.mark.parametrize(
    ("parse_response", "body"),
    [
        *((parse_balance_response, b) for b in contract.examples("/v1/balance", "200").values()),
        *((parse_identity_response, b) for b in contract.examples("/v1/whoami", "200").values()),
    ],
)
def test_the_free_routes_are_read(parse_response: Any, body: dict[str, Any]) -> None:
    value = parse_response(Request("https://api.test/"), answer(body=body), KEY)
    assert value.request_id == body["meta"]["requestId"]
    with pytest.raises(ResponseDecodeError, match=r"^\$\.data: expected an object, got nothing"):
        parse_response(Request(""), answer(body={"meta": body["meta"]}), KEY)
    with pytest.raises(RateLimitError):
        parse_response(Request(""), answer(429, envelope()), KEY)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "ok"}, True),
        ({"status": "ok", "more": 1}, True),
        ({"status": "down"}, False),
        ({"status": True}, False),
        ({}, False),
    ],
)
def test_health_is_yes_or_no(body: Any, expected: bool) -> None:
    assert parse_health_response(Request(""), answer(body=body), KEY) is expected


def test_no_health_is_an_error_like_any_other() -> None:
    with pytest.raises(ServiceUnavailableError):
        parse_health_response(Request(""), answer(503), KEY)
    bodies: list[Any] = [HTML, [], "ok", None]
    for body in bodies:
        with pytest.raises(ResponseDecodeError):
            parse_health_response(Request(""), answer(body=body), KEY)


# Statuses

CLASSES = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
    500: ServerError,
    502: LookupFailedError,
    503: ServiceUnavailableError,
    504: ServerError,
    **dict.fromkeys([501, 505, 520, 521, 522, 523, 524, 599], ServerError),
    **dict.fromkeys([201, 204, 206, 301, 302, 304, 307, 405, 408, 409, 413, 418, 499], APIError),
}
FREE = {400, 401, 402, 403, 404, 429, 503}
statuses = pytest.mark.parametrize("status", CLASSES)


@statuses
def test_an_error_in_the_apis_words_is_read_whole(status: int) -> None:
    body = envelope(checkoutUrl="https://pay.test/now", more={"x": 1})
    error = catch_api_error(answer(status, body, {**JSON_TYPE, "Retry-After": "7"}))
    assert type(error) is CLASSES[status]
    assert error.status_code == status
    assert error.message == "It broke."
    assert error.code == "some_code"
    assert error.request_id == "req_1"
    assert error.checkout_url == "https://pay.test/now"
    assert error.retry_after == 7.0
    assert error.may_be_charged is (status not in FREE)
    assert is_refusal(error) is (status in {429, 503})


@statuses
@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", {}, "the API did not say why, in an empty body"),
        (
            HTML,
            {"Content-Type": "text/html; charset=utf-8"},
            f"the API did not say why, in a body of {len(HTML)} bytes, text/html",
        ),
        (b"oops", {}, "the API did not say why, in a body of 4 bytes, no content type"),
    ],
)
def test_a_proxys_own_page_is_an_error_without_a_code(
    status: int, body: bytes, headers: dict[str, str], message: str
) -> None:
    error = catch_api_error(answer(status, body, headers))
    assert type(error) is CLASSES[status]
    assert error.message == message
    assert (error.code, error.request_id, error.checkout_url) == (None, None, None)
    assert error.retry_after is None
    assert error.may_be_charged is (status not in FREE)


@statuses
@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        7,
        "text",
        {},
        {"error": None},
        {"error": "it broke"},
        {"error": ["it broke"]},
        {"error": {}},
        {"error": {"code": 5, "message": None, "requestId": {}, "checkoutUrl": []}},
        {"error": {"code": "", "message": "", "requestId": "", "checkoutUrl": ""}},
        {"error": {"code": True, "message": 1.5, "requestId": 0, "checkoutUrl": False}},
        PAGE,
    ],
)
def test_an_error_body_of_any_other_shape_says_nothing_wrong(status: int, body: Any) -> None:
    error = catch_api_error(answer(status, body, JSON_TYPE))
    assert type(error) is CLASSES[status]
    assert error.message.startswith("the API did not say why, in a body of ")
    assert error.message.endswith(" bytes, application/json")
    assert (error.code, error.request_id, error.checkout_url) == (None, None, None)
    assert error.may_be_charged is (status not in FREE)


def test_a_half_right_error_body_gives_what_it_has() -> None:
    error = catch_api_error(answer(500, {"error": {"message": 5, "requestId": "req_9"}}, JSON_TYPE))
    assert error.request_id == "req_9"
    assert error.code is None
    assert error.message.startswith("the API did not say why")


@pytest.mark.parametrize("text", [" ", "\n\t", "\u200b", "\x00\x00"])
def test_a_blank_message_is_no_message(text: str) -> None:
    error = catch_api_error(answer(500, envelope(message=text, code=text)))
    assert error.message.strip()
    assert error.code is None


ERRORS = [
    (route, status, body)
    for route in contract.CONTRACT["paths"]
    for status in contract.CONTRACT["paths"][route]["get"]["responses"]
    if status.isdigit() and status != "200"
    for body in contract.examples(route, status).values()
]


@pytest.mark.parametrize(("route", "status", "body"), ERRORS)
def test_every_error_of_the_contract_is_read(route: str, status: str, body: dict[str, Any]) -> None:
    assert route
    error = catch_api_error(answer(int(status), body))
    told = body["error"]
    assert (error.code, error.message) == (told["code"], told["message"])
    assert (error.request_id, error.checkout_url) == (told["requestId"], told.get("checkoutUrl"))


def test_a_long_checkout_url_still_leads_to_the_checkout() -> None:
    url = "https://checkout.pay.test/c/pay/" + "x" * 400 + "#fid" + "y" * 400
    error = catch_api_error(answer(402, envelope(checkoutUrl=url)))
    assert error.checkout_url == url


@pytest.mark.parametrize("url", ["https://pay.test/" + "x" * 10**6, "javascript:\x1b[31m", "x\ny"])
def test_a_checkout_url_that_cannot_be_one_does_no_harm(url: str) -> None:
    error = catch_api_error(answer(402, envelope(checkoutUrl=url)))
    assert len(str(error)) < 10_000
    assert str(error).isprintable()


@pytest.mark.parametrize(("length", "shown"), [(200, "x" * 200), (201, "x" * 200 + "…")])
def test_a_long_message_of_the_server_is_cut_after_200_characters(length: int, shown: str) -> None:
    body = orjson.dumps({"error": {"code": "c", "message": "x" * length}})
    assert catch_api_error(answer(500, body)).message == shown


def test_an_error_that_was_no_answer_is_no_refusal() -> None:
    assert not is_refusal(RequestTimeoutError("silence"))
    assert not is_refusal(ValueError())
    assert not is_refusal(ResponseDecodeError("odd"))


# Retry-After


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), True)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        ("0.5", 0.5),
        ("0.02", 0.02),
        (" 3 ", 3.0),
        ("\t3", 3.0),
        ("007", 7.0),
        ("120", 120.0),
        ("86400", 86400.0),
        ("999999999999", 999999999999.0),
        ("0." + "3" * 1000, 1 / 3),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("0x10", None),
        ("1_000", None),
        ("1,5", None),
        ("1.", None),
        (".5", None),
        ("1.2.3", None),
        ("nan", None),
        ("inf", None),
        ("abc", None),
        ("", None),
        ("   ", None),
        ("2 seconds", None),
        ("2, 3", None),
        ("٣", None),
        ("²", None),
        ("9" * 13, None),
        ("9" * 10_000, None),
        ("2\n3", None),
    ],
)
def test_a_wait_in_seconds_is_read(name: str, text: str, seconds: float | None) -> None:
    assert parse_retry_after(answer(503, headers={name: text})) == seconds


def test_no_wait_is_no_wait() -> None:
    assert parse_retry_after(answer(503)) is None


@pytest.mark.parametrize("name", ["Date", "date"])
@pytest.mark.parametrize(
    ("until", "date", "seconds"),
    [
        (http_date(30), http_date(0), 30.0),
        (http_date(30), None, 30.0),
        (http_date(7200), http_date(7170), 30.0),  # this machine's clock is two hours late
        (http_date(-7200), http_date(-7230), 30.0),  # or early
        (http_date(-1), http_date(0), 0.0),
        (http_date(-86400), None, 0.0),
        (http_date(0), http_date(0), 0.0),
        (http_date(30), "not a date", 30.0),
        (http_date(30), "", 30.0),
        ("Wed, 15 Jan 2020 12:00:30 +0000", http_date(0), 30.0),
        ("Wed, 15 Jan 2020 14:00:30 +0200", http_date(0), 30.0),
        ("Wed, 15 Jan 2020 12:00:30 -0000", http_date(0), 30.0),
        ("Wednesday, 15-Jan-20 12:00:30 GMT", http_date(0), 30.0),
        ("Wed Jan 15 12:00:30 2020", http_date(0), 30.0),
        ("Wed, 32 Jan 2020 12:00:30 GMT", http_date(0), None),
        ("Wed, 15 Jan 2020 25:00:30 GMT", http_date(0), None),
        ("Wed, 15 Foo 2020 12:00:30 GMT", http_date(0), None),
        ("Wed, 15 Jan 99999999999999999999 12:00:30 GMT", http_date(0), None),
        ("Wed, 15 Jan 2020 12:00:30 +99999999999999", http_date(0), None),
        ("Wed, 15 Jan", http_date(0), None),
        (",,,", http_date(0), None),
    ],
)
def test_a_wait_until_a_date_is_measured_against_the_servers_clock(
    name: str, until: str, date: str | None, seconds: float | None
) -> None:
    headers = {"Retry-After": until} | ({} if date is None else {name: date})
    assert parse_retry_after(answer(503, headers=headers)) == seconds


def test_a_date_without_a_zone_is_not_this_machines_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-05")
    time.tzset()
    try:
        headers = {"Retry-After": "Wed, 15 Jan 2020 12:00:30 -0000"}
        assert parse_retry_after(answer(503, headers=headers)) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "until", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"]
)
def test_a_wait_until_the_end_of_time_is_a_long_one(until: str) -> None:
    seconds = parse_retry_after(answer(503, headers={"Retry-After": until}))
    assert seconds is None or seconds > 10**9


@given(st.text(max_size=40), st.text(max_size=40))
@example("Mon, 00 Jan 0000 00:00:00 GMT", "")
@example("0 0 0 0 0 0", "0 Jan 1 0:0:0 0")
@example("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359")
@example("1 Jan 1 00:00 +2359", "")
def test_any_header_is_a_wait_of_no_less_than_nothing_or_none(until: str, date: str) -> None:
    seconds = parse_retry_after(answer(503, headers={"Retry-After": until, "Date": date}))
    assert seconds is None or seconds >= 0.0


DATE_WORDS = st.sampled_from(["Mon,", "Fri", "31", "0", "Jan", "2020", "0001", "00:00", "23:59:60"])
DATES = st.lists(DATE_WORDS | st.integers(-9999, 9999).map(str) | st.just("GMT"), max_size=8).map(
    " ".join
)


@given(DATES, DATES)
def test_anything_like_a_date_is_a_wait_or_none(until: str, date: str) -> None:
    seconds = parse_retry_after(answer(503, headers={"Retry-After": until, "Date": date}))
    assert seconds is None or seconds >= 0.0


# A 200 of the wrong shape


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "no content type"),
        (b"{", "application/json"),
        (b'{"data":', "application/json"),
        (HTML, "text/html"),
        (b"\xff\xfe", "application/octet-stream"),
        (b'{"a": NaN}', "application/json"),
        (b'"\xed\xa0\x80"', "application/json"),
        (b'{"data":{}}x', "application/json"),
        (b"[" * 100_000, "application/json"),
        (orjson.dumps(PAGE)[:-1], "application/json"),
        (b"\x1f\x8b\x08" + b"\x00" * 20, "application/json"),
    ],
)
def test_what_is_not_json_may_have_been_charged(body: bytes, kind: str) -> None:
    headers = {} if kind == "no content type" else {"Content-Type": kind}
    error = catch(answer(body=body, headers=headers))
    assert type(error) is ResponseDecodeError
    assert error.message.startswith("$: expected JSON, got ")
    what = f"a body of {len(body)} bytes, {kind}" if body else "an empty body"
    assert error.message.endswith(f", in {what}")
    assert error.may_be_charged is True
    assert (error.request_id, error.credits_charged) == (None, None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "$: expected an object, got an array"),
        ([PAGE], "$: expected an object, got an array"),
        (7, "$: expected an object, got 7"),
        (1, "$: expected an object, got 1"),
        (0, "$: expected an object, got 0"),
        (None, "$: expected an object, got null"),
        (True, "$: expected an object, got true"),
        ("page", '$: expected an object, got "page"'),
        ({}, "$.data: expected an object, got nothing"),
        ({"error": {"code": "x"}}, "$.data: expected an object, got nothing"),
        ({**PAGE, "meta": None}, "$.meta: expected an object, got null"),
        ({**PAGE, "meta": [1]}, "$.meta: expected an object, got an array"),
        ({**PAGE, "meta": "m"}, '$.meta: expected an object, got "m"'),
    ],
)
def test_json_that_is_no_page_may_have_been_charged(body: Any, message: str) -> None:
    error = catch(answer(body=body))
    assert type(error) is ResponseDecodeError
    assert error.message == message
    assert error.may_be_charged is True
    assert (error.request_id, error.credits_charged) == (None, None)


@pytest.mark.parametrize(
    ("meta", "request_id", "charged", "may_be_charged"),
    [
        ({"requestId": "req_1", "creditsCharged": 1, "version": "v1"}, "req_1", 1, True),
        ({"requestId": "req_1", "creditsCharged": 0, "version": "v1"}, "req_1", 0, False),
        ({"requestId": "req_1", "creditsCharged": 5}, "req_1", 5, True),
        ({"requestId": "req_1"}, "req_1", None, True),
        ({"creditsCharged": 1}, None, 1, True),
        ({"creditsCharged": 0}, None, 0, False),
        ({"requestId": 7, "creditsCharged": "1"}, None, None, True),
        ({"requestId": "", "creditsCharged": -1}, None, None, True),
        ({"requestId": None, "creditsCharged": None}, None, None, True),
        ({"requestId": ["x"], "creditsCharged": True}, None, None, True),
        ({"creditsCharged": False}, None, None, True),
        ({"creditsCharged": 1.0}, None, None, True),
        ({"creditsCharged": 0.0}, None, None, True),
        ({"creditsCharged": [1]}, None, None, True),
        ({}, None, None, True),
    ],
)
def test_a_wrong_page_books_what_its_meta_says(
    meta: dict[str, Any], request_id: str | None, charged: int | None, may_be_charged: bool
) -> None:
    error = catch(answer(body={"data": "not an object", "meta": meta}))
    assert type(error) is ResponseDecodeError
    assert error.message == '$.data: expected an object, got "not an object"'
    assert error.request_id == request_id
    assert error.credits_charged == charged
    assert type(error.credits_charged) is type(charged)
    assert error.may_be_charged is may_be_charged


def test_a_wrong_field_deep_inside_is_named() -> None:
    body = json.loads(json.dumps(PAGE))
    body["data"]["accounts"][1]["metrics"]["followers"] = "12"
    error = catch(answer(body=body))
    expected = '$.data.accounts[1].metrics.followers: expected an integer ≥ 0, got "12"'
    assert error.message == expected
    assert isinstance(error, ResponseDecodeError)
    assert error.request_id == PAGE["meta"]["requestId"]
    assert error.credits_charged == PAGE["meta"]["creditsCharged"]
    assert expected in str(error)


# Nothing harmful passes through

PLACES: list[Any] = [
    lambda text: answer(500, envelope(message=text)),
    lambda text: answer(500, envelope(code=text)),
    lambda text: answer(401, envelope(requestId=text)),
    lambda text: answer(402, envelope(checkoutUrl=text)),
    lambda text: answer(400, envelope(message=f"the key {text}{text} is wrong")),
    lambda text: answer(500, b"<html>" + text.encode(), {"Content-Type": text}),
    lambda text: answer(500, b"x", {"Content-Type": f"text/html; charset={text}"}),
    lambda text: answer(502, text.encode()),
    lambda text: answer(503, b"", {"Retry-After": text, "Date": text}),
    lambda text: answer(200, b"x", {"Content-Type": text}),
    lambda text: answer(200, b"<html>" + text.encode()),
    lambda text: answer(200, orjson.dumps(text)),
    lambda text: answer(200, {"data": text}),
    lambda text: answer(200, {"data": {}, "meta": {"requestId": text}}),
    lambda text: answer(200, {**PAGE, "data": {**PAGE["data"], "lookupStatus": [text]}}),
    lambda text: answer(200, {**PAGE, "data": {**PAGE["data"], "totalAccounts": text}}),
    lambda text: answer(
        200,
        {
            **PAGE,
            "data": {
                **PAGE["data"],
                "accounts": [{**PAGE["data"]["accounts"][0], "accountCreatedAt": text}],
            },
        },
    ),
    lambda text: answer(
        200,
        {**PAGE, "data": {**PAGE["data"], "accounts": [{text: text, "verified": text}]}},
    ),
    lambda text: answer(200, {text: text}),
]
places = pytest.mark.parametrize("place", PLACES)


def write_everything(error: BaseException) -> str:
    """Write all that anybody could see of an error, its causes and contexts included."""
    return "\n".join(
        [
            str(error),
            repr(error),
            repr(vars(error)),
            repr(error.args),
            "".join(traceback.format_exception(error)),
            pickle.dumps(error).decode("latin-1"),
            *(write_everything(e) for e in (error.__cause__, error.__context__) if e is not None),
        ]
    )


def assert_key_hidden(text: str) -> None:
    assert KEY[:9] not in text
    assert KEY[-9:] not in text


@places
@pytest.mark.parametrize("before", [0, 1, 10, 20, 31, 32, 39, 40, 100, 180, 190, 199, 200])
def test_a_key_echoed_by_the_server_is_in_no_error(place: Any, before: int) -> None:
    error = catch(place("x" * before + KEY))
    assert_key_hidden(write_everything(error))


@places
@pytest.mark.parametrize("wrapped", ["{0}{0}", " {0} ", "\n{0}\n", '"{0}"', "é{0}é", "{0}; q=1"])
def test_a_key_with_something_around_it_is_in_no_error(place: Any, wrapped: str) -> None:
    if "\n" in wrapped and place is PLACES[5]:
        return  # no header holds a line break
    error = catch(place(wrapped.format(KEY)))
    assert_key_hidden(write_everything(error))


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_key_echoed_in_json_escapes_is_in_no_error(status: int) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    for body in (
        f'{{"error": {{"message": "{escaped}", "code": "{escaped}"}}, "data": "{escaped}"}}',
        f'"{escaped}"',
        f'{{"data": {{"page": "{escaped}"}}, "meta": {{"requestId": "{escaped}"}}}}',
        f'{{"{escaped}": "{escaped}"',
    ):
        assert_key_hidden(write_everything(catch(answer(status, body.encode()))))


def test_a_key_with_quotes_and_backslashes_is_hidden_too() -> None:
    key = ApiKey('sfk_live_"0123\\456789\\abcdefghij"')
    for body in ({"data": str(key)}, {"data": "xxxxx" + key}):
        with pytest.raises(ResponseDecodeError) as caught:
            parse_following_response(REQUEST, answer(body=body), key)
        assert key[:9] not in write_everything(caught.value)
        assert "456789" not in write_everything(caught.value)


def test_an_error_still_tells_which_key_it_was() -> None:
    error = catch(answer(401, envelope(message=f"unknown key {KEY}")))
    assert error.message == f"unknown key {KEY[:8]}…"


def test_the_body_of_an_answer_is_in_no_traceback_local() -> None:
    error = catch(answer(500, b"<html>" + KEY.encode()))
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "tiktok_following" in frame.filename]
    assert frames
    assert_key_hidden("\n".join(str(frame.locals) for frame in frames))


HOSTILE = "\x1b]0;owned\x07\r\n\x9b31m\u202e\u200b\x00"


@places
@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 1000, "x" * 10**5])
def test_control_characters_and_floods_stay_out(place: Any, text: str) -> None:
    error = catch(place(text))
    assert str(error).isprintable()
    assert error.message.isprintable()
    assert len(str(error)) < 5000
    for value in vars(error).values():
        if isinstance(value, str) and value != error.cursor:
            assert value.isprintable()
            assert len(value) < 5000


@pytest.mark.parametrize("status", [200, 402, 500])
def test_a_flood_is_not_looked_at_to_its_end(status: int) -> None:
    flood = "\x00" * 1_000_000
    response = answer(status, {"data": flood, **envelope(message=flood, code=flood)})
    assert compare(lambda: catch(response), lambda: orjson.loads(response.body)) < 3


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "meta", "error", "message", "page", "accounts", "requestId"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODIES = st.binary(max_size=60) | ANY_JSON.map(orjson.dumps) | st.just(orjson.dumps(PAGE))
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "retry-after", "DATE"]), st.text(max_size=10), max_size=3
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BODIES, st.just(200) | st.sampled_from(list(CLASSES)) | st.integers(100, 999), HEADERS)
def test_any_bytes_with_any_status_are_a_page_or_a_request_error(
    body: bytes, status: int, headers: dict[str, str]
) -> None:
    response = answer(status, body, headers)
    for parse_response in (
        parse_following_response,
        parse_balance_response,
        parse_identity_response,
        parse_health_response,
    ):
        try:
            parse_response(REQUEST, response, KEY)
        except RequestError as error:
            assert_fit_for_a_log(error, status)
        else:
            assert status == 200


def assert_fit_for_a_log(error: RequestError, status: int) -> None:
    assert str(error).isprintable()
    assert error.message
    assert isinstance(error, ResponseDecodeError if status == 200 else APIError)
    assert error.retry_after is None or error.retry_after >= 0
    assert pickle.loads(pickle.dumps(error)).message == error.message
