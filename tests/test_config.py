"""What settings promise: checked at birth, and a key that nobody reads by accident."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from tiktok_following import ConfigurationError, RetryPolicy, Timeout
from tiktok_following._config import (
    API_KEY_VARIABLE,
    DEFAULT_BASE_URL,
    ApiKey,
    Options,
    check_number,
    is_loopback,
    parse_api_key,
    parse_base_url,
)

KEY = "sfk_test_0123456789abcdefghijklmn"
SHOWN = KEY[:8]
NO_NUMBERS: list[Any] = [
    None,
    "1",
    b"1",
    True,
    False,
    float("nan"),
    float("inf"),
    float("-inf"),
    1j,
    [],
    Fraction(1, 2),
    10**400,
    10**5000,
]
no_numbers = pytest.mark.parametrize("value", NO_NUMBERS, ids=type)


@no_numbers
@pytest.mark.parametrize("name", ["connect", "read"])
def test_a_timeout_is_a_finite_number(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name} must be a number > 0: ") as caught:
        Timeout(**{name: value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1, -0.001])
@pytest.mark.parametrize("name", ["connect", "read"])
def test_a_timeout_is_above_zero(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match="> 0"):
        Timeout(**{name: value})


def test_a_timeout_may_be_whole_or_tiny() -> None:
    assert attrs.astuple(Timeout(connect=1, read=1e-9)) == (1, 1e-9)
    assert attrs.astuple(Timeout()) == (10.0, 60.0)


COUNTS = ["max_attempts", "ambiguous_retries", "retry_quota"]
SECONDS = ["initial_backoff", "max_backoff", "max_retry_after"]


@no_numbers
@pytest.mark.parametrize("name", [*COUNTS, *SECONDS])
def test_a_retry_setting_is_a_finite_number(name: str, value: Any) -> None:
    if name in COUNTS and type(value) is int:
        RetryPolicy(**{name: value})  # a count may be as large as one likes
        return
    with pytest.raises(ConfigurationError, match=rf"^{name} must be a"):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [1.0, 2.5, -1])
def test_a_count_of_retries_is_whole(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be a whole number ≥ [01]: "):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_not_below_zero(name: str) -> None:
    RetryPolicy(**{name: 0})
    with pytest.raises(ConfigurationError, match=f"^{name} must be a number ≥ 0: -0.1$"):
        RetryPolicy(**{name: -0.1})  # type: ignore[arg-type] # mypy cannot tell which name it is


def test_there_is_always_a_first_attempt() -> None:
    assert RetryPolicy(max_attempts=1).max_attempts == 1
    with pytest.raises(ConfigurationError, match="max_attempts must be a whole number ≥ 1: 0"):
        RetryPolicy(max_attempts=0)


def test_the_defaults_are_the_documented_ones() -> None:
    assert attrs.asdict(RetryPolicy()) == {
        "max_attempts": 4,
        "ambiguous_retries": 1,
        "initial_backoff": 0.5,
        "max_backoff": 30.0,
        "max_retry_after": 120.0,
        "retry_quota": 100,
    }


def test_settings_are_frozen_keyword_only_and_can_be_replaced() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Timeout().read = 1.0  # type: ignore[misc] # that is the test
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RetryPolicy().retry_quota = 1  # type: ignore[misc] # that is the test
    with pytest.raises(TypeError):
        Timeout(1.0)  # type: ignore[call-arg] # that is the test
    assert attrs.evolve(Timeout(), read=5).read == 5
    with pytest.raises(ConfigurationError):
        attrs.evolve(RetryPolicy(), max_attempts=0)
    assert Timeout() == Timeout()
    assert hash(RetryPolicy()) == hash(RetryPolicy())


def test_no_retries_means_one_attempt_and_no_waiting() -> None:
    policy = RetryPolicy.none()
    assert (policy.max_attempts, policy.ambiguous_retries, policy.max_retry_after) == (1, 0, 0.0)


def test_the_backoff_doubles_from_the_first_to_the_longest() -> None:
    policy = RetryPolicy()
    assert [policy.backoff(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert policy.backoff(10**9) == 30
    assert RetryPolicy(initial_backoff=60).backoff(1) == 30
    assert RetryPolicy(initial_backoff=0).backoff(50) == 0
    assert RetryPolicy(max_backoff=0).backoff(50) == 0


@given(
    st.integers(0, 10**300) | st.floats(0, allow_infinity=False, allow_nan=False),
    st.floats(0, allow_infinity=False, allow_nan=False),
    st.integers(1, 2000),
)
def test_the_backoff_never_shrinks_and_never_passes_the_longest(
    initial: float, longest: float, number: int
) -> None:
    policy = RetryPolicy(initial_backoff=initial, max_backoff=longest)
    assert 0 <= policy.backoff(number) <= policy.backoff(number + 1) <= longest


def test_options_take_what_a_client_may_be_given() -> None:
    options = Options(timeout=Timeout(), deadline=None, retry=RetryPolicy())
    assert options.deadline is None
    assert attrs.evolve(options, deadline=0.5).deadline == 0.5


@pytest.mark.parametrize("value", [*NO_NUMBERS[1:], 0, -1], ids=type)
def test_a_deadline_is_a_number_above_zero(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline must be a number > 0"):
        Options(timeout=Timeout(), deadline=value, retry=RetryPolicy())


@pytest.mark.parametrize("value", [None, 10, 10.0, (10, 60), RetryPolicy()])
def test_a_timeout_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be a Timeout"):
        Options(timeout=value, deadline=None, retry=RetryPolicy())


@pytest.mark.parametrize("value", [None, 3, True, RetryPolicy])
def test_a_retry_policy_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="retry must be a RetryPolicy"):
        Options(timeout=Timeout(), deadline=None, retry=value)


def test_a_number_is_checked_against_its_bound() -> None:
    check_number("n", 0, low=0)
    check_number("n", 1, low=1, whole=True)
    check_number("n", 0.1, low=0, above=True)
    for value, options in ((0.5, {"whole": True}), (0, {"above": True}), (-1, {})):
        with pytest.raises(ConfigurationError):
            check_number("n", value, low=0, **options)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (DEFAULT_BASE_URL, DEFAULT_BASE_URL),
        ("https://api.socialfetch.dev/", DEFAULT_BASE_URL),
        (" https://api.socialfetch.dev\n", DEFAULT_BASE_URL),
        ("HTTPS://api.socialfetch.dev", DEFAULT_BASE_URL),
        ("https://proxy.test/socialfetch/", "https://proxy.test/socialfetch"),
        ("https://proxy.test/a/b///", "https://proxy.test/a/b"),
        ("https://proxy.test:8443", "https://proxy.test:8443"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST:8080", "http://LOCALHOST:8080"),
        ("http://api.localhost", "http://api.localhost"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.255.255.254", "http://127.255.255.254"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_is_https_or_this_machine(text: str, url: str) -> None:
    assert parse_base_url(text) == url
    assert parse_base_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://api.socialfetch.dev",
        "http://10.0.0.1:8080",
        "http://0.0.0.0:8080",
        "http://128.0.0.1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://notlocalhost",
        "http://127.1",
        "http://2130706433",
        "http://[::2]",
        "http://[::ffff:8.8.8.8]",
        "http://localhost\\.example.com",
    ],
)
def test_plain_http_to_another_machine_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_base_url(text)


def test_the_refusal_of_plain_http_says_why() -> None:
    with pytest.raises(ConfigurationError, match="API key in plain text: use https"):
        parse_base_url("http://api.socialfetch.dev")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://user@api.test", "no user, query or fragment"),
        ("https://user:secret@api.test", "no user, query or fragment"),
        ("https://:secret@api.test", "no user, query or fragment"),
        ("https://@api.test", "no user, query or fragment"),
        ("http://user:secret@api.test", "no user, query or fragment"),
        ("https://api.test/?a=b", "no user, query or fragment"),
        ("https://api.test?key=secret", "no user, query or fragment"),
        ("https://api.test/#top", "no user, query or fragment"),
        ("", "is not a URL like"),
        ("   ", "is not a URL like"),
        ("api.test", "is not a URL like"),
        ("localhost:8080", "is not a URL like"),
        ("//api.test", "is not a URL like"),
        ("https://", "is not a URL like"),
        ("https:///v1", "is not a URL like"),
        ("https://:443", "is not a URL like"),
        ("ftp://api.test", "is not a URL like"),
        ("file:///etc/hosts", "is not a URL like"),
        ("javascript:alert(1)", "is not a URL like"),
        ("https://api.test:99999", "is not a URL"),
        ("https://api.test:-1", "is not a URL"),
        ("https://api.test:http", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://api..test", "is not a URL"),
        (f"https://{'a' * 64}.test", "is not a URL"),
        ("https://[nonsense]", "is not a URL"),
    ],
)
def test_a_base_url_that_cannot_work_is_refused_at_birth(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_base_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://api test",
        "https://api.test/a b",
        "https://api.test/\x1b",
        "https://\x1bapi.test",
        "https://api.test\\x",
        "http://api.test\\@127.0.0.1",
        "https://api.te\nst",
        "https://api.test/\u200b",
    ],
)
def test_a_base_url_with_white_space_or_control_characters_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_base_url(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [b"https://api.test", 8080, ["https://api.test"]])
def test_a_base_url_that_is_not_text_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError):
        parse_base_url(value)


@pytest.mark.parametrize("text", ["ftp://user:secret@api.test", "//user:secret@api.test"])
def test_no_password_shows_in_a_refusal(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_base_url(text)
    assert "secret" not in str(caught.value)


@given(st.text() | st.text().map("https://".__add__) | st.text().map("http://".__add__))
def test_whatever_the_text_a_base_url_is_https_or_loopback_or_refused(text: str) -> None:
    try:
        url = parse_base_url(text)
    except ConfigurationError:
        return
    assert url.startswith(("https://", "http://"))
    assert parse_base_url(url) == url
    assert url.isprintable()
    assert " " not in url


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("", False),
        ("::", False),
        ("0.0.0.0", False),
        ("localhost.test", False),
        ("test", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def read_key(given_key: str | None, environment: str | None = None) -> ApiKey:
    """Read a key as the client does: what may be one is never a plain text."""
    given = None if given_key is None else ApiKey(given_key)
    return parse_api_key(given, ApiKey(environment or ""))


def test_a_key_given_comes_before_the_environments() -> None:
    assert read_key(KEY, "sfk_other") == KEY
    assert read_key(None, KEY) == KEY
    assert type(read_key(None, KEY)) is ApiKey
    assert type(read_key(f" {KEY} ")) is ApiKey
    assert read_key(read_key(KEY)) == KEY


@pytest.mark.parametrize("text", [f" {KEY}", f"{KEY}\n", f"\t{KEY}\r\n", f"\u00a0{KEY}\u3000"])
def test_white_space_around_a_key_is_dropped(text: str) -> None:
    assert read_key(text) == KEY
    assert read_key(None, text) == KEY


@pytest.mark.parametrize(
    ("given_key", "environment"),
    [(None, None), (None, ""), (None, "  \n"), ("", None), ("  ", None), ("", KEY), (" ", KEY)],
)
def test_no_key_is_an_error_that_names_the_variable(
    given_key: str | None, environment: str | None
) -> None:
    with pytest.raises(ConfigurationError, match=API_KEY_VARIABLE):
        read_key(given_key, environment)


BROKEN_KEYS = [
    f"{KEY[:20]}\n{KEY[20:]}",
    f"{KEY[:20]} {KEY[20:]}",
    f"{KEY}\r\nx-evil: 1",
    f"{KEY}\x00",
    f"{KEY}\x7f",
    f"{KEY}é",
    f"\ufeff{KEY}",
    f"{KEY}\u200b",
    "“" + KEY + "”",
]


@pytest.mark.parametrize("text", BROKEN_KEYS)
def test_a_key_that_cannot_be_a_header_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="API key has white space") as caught:
        read_key(text)
    assert KEY[:20] not in str(caught.value)


def own_frames_of(error: BaseException) -> str:
    """Write the traceback with the locals of the package's own frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "tiktok_following" in frame.filename]
    return "\n".join(f"{frame.name} {frame.locals}" for frame in frames)


@pytest.mark.parametrize("text", BROKEN_KEYS)
def test_a_broken_key_is_in_no_local_of_ours_either(text: str) -> None:
    for given_key, environment in ((text, None), (None, text)):
        with pytest.raises(ConfigurationError) as caught:
            read_key(given_key, environment)
        shown = own_frames_of(caught.value)
        assert "parse_api_key" in shown
        assert KEY[:20] not in shown


def assert_hidden(text: str) -> None:
    """Raise when more than the first eight characters of the key show."""
    assert KEY[:9] not in text
    assert KEY[-9:] not in text


@attrs.frozen
class Holder:
    key: ApiKey


@pytest.mark.parametrize(
    "show",
    [
        repr,
        ascii,
        lambda key: f"{key!r}",
        lambda key: f"{key!a}",
        lambda key: "%r" % (key,),  # noqa: UP031 - the old way leaks no more than the new
        lambda key: str([key]),
        lambda key: str((key,)),
        lambda key: str({"x-api-key": key}),
        lambda key: str({key}),
        lambda key: str({key: 1}),
        lambda key: str(Holder(key)),
        lambda key: str(ValueError(key, 1)),
        lambda key: repr(KeyError(key)),
        lambda key: pprint.pformat(Holder(key)),
        lambda key: "".join(traceback.format_exception(KeyError(key))),
    ],
)
def test_a_key_shows_its_first_characters_at_most(show: Any) -> None:
    text = show(ApiKey(KEY))
    assert_hidden(text)
    assert SHOWN in text


def test_a_key_in_a_traceback_with_locals_is_hidden() -> None:
    key = read_key(KEY)

    def fail(api_key: ApiKey) -> None:
        headers = {"x-api-key": api_key}
        raise RuntimeError(str(len(headers)))

    with pytest.raises(RuntimeError) as caught:
        fail(key)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "api_key" in "".join(shown.format())
    assert_hidden("".join(shown.format()))


def test_a_key_among_the_arguments_of_a_log_record_is_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("sending %r", {"x-api-key": ApiKey(KEY)})
    assert_hidden(caplog.text)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_key_is_no_key(protocol: int) -> None:
    for value in (ApiKey(KEY), [ApiKey(KEY)], {"key": ApiKey(KEY)}, Holder(ApiKey(KEY))):
        data = pickle.dumps(value, protocol)
        assert KEY[:9].encode() not in data
        assert KEY[-9:].encode() not in data
    assert pickle.loads(pickle.dumps(ApiKey(KEY), protocol)) == f"{SHOWN}…"


def test_a_copied_key_is_no_key() -> None:
    for made in (copy.copy(ApiKey(KEY)), copy.deepcopy(ApiKey(KEY))):
        assert made == f"{SHOWN}…"
        assert type(made) is str


def test_a_short_key_shows_nothing_of_itself() -> None:
    assert repr(ApiKey("sfk_123456")) == "'…'"
    assert repr(ApiKey("x" * 15)) == "'…'"
    assert repr(ApiKey("x" * 16)) == "'xxxxxxxx…'"


def test_a_key_is_the_whole_text_to_http() -> None:
    key = ApiKey(KEY)
    assert key == KEY
    assert key.encode() == KEY.encode()
    assert {KEY: 1}[key] == 1
    assert json.dumps({"x-api-key": key}) == json.dumps({"x-api-key": KEY})


def test_a_key_takes_itself_out_of_a_text() -> None:
    key = ApiKey(KEY)
    assert key.redact(f"a {KEY} b {KEY}{KEY}") == f"a {SHOWN}… b {SHOWN}…{SHOWN}…"
    assert key.redact("nothing") == "nothing"
    assert key.redact("") == ""
