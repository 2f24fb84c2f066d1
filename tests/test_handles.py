"""What `parse_handle` promises: one name per profile, one path segment per name."""

import re
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given, strategies as st

from tiktok_following import InvalidHandleError
from tiktok_following._handles import MAX_HANDLE_LENGTH, parse_handle
from tiktok_following._wire import build_following_request


def assert_fit_for_a_terminal(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 600


@pytest.mark.parametrize(
    "spelling",
    [
        "nasa",
        "@nasa",
        "@@nasa",
        " nasa ",
        "\tnasa\r\n",
        "\u00a0@nasa\u3000",
        "https://www.tiktok.com/@nasa",
        "https://www.tiktok.com/@nasa/",
        "https://www.tiktok.com/@nasa?lang=en",
        "https://www.tiktok.com/@nasa/?lang=en&is_from_webapp=1#top",
        "https://tiktok.com/@nasa",
        "https://m.tiktok.com/@nasa",
        "http://www.tiktok.com/@nasa",
        "HTTPS://WWW.TikTok.COM/@nasa",
        "https://www.tiktok.com:443/@nasa",
        "https://www.tiktok.com/@n%61sa",
        "www.tiktok.com/@nasa",
        "m.tiktok.com/@nasa",
        "tiktok.com/@nasa",
        "  tiktok.com/@nasa?lang=en  ",
    ],
)
def test_many_spellings_are_one_handle(spelling: str) -> None:
    assert parse_handle(spelling) == "nasa"


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("NASA", "NASA"),
        ("https://www.tiktok.com/@NaSa", "NaSa"),
        ("a", "a"),
        ("a" * 64, "a" * 64),
        ("@" + "a" * 64, "a" * 64),
        ("some.one_1", "some.one_1"),
        ("...", "..."),
        ("tiktok.com", "tiktok.com"),
        ("https", "https"),
        ("中文", "中文"),
        ("nasa🚀", "nasa🚀"),
        ("a%2Fb", "a%2Fb"),
        ("a+b&c", "a+b&c"),
    ],
)
def test_a_handle_keeps_its_case_and_characters(text: str, handle: str) -> None:
    assert parse_handle(text) == handle


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("@", "it is empty"),
        (" @@ ", "it is empty"),
        ("https://www.tiktok.com/@", "it is empty"),
        (".", "a step in a path"),
        ("..", "a step in a path"),
        ("@..", "a step in a path"),
        ("https://www.tiktok.com/@%2E%2E", "a step in a path"),
        ("a" * 65, "65 characters, 64 are allowed"),
        ("https://www.tiktok.com/@" + "a" * 65, "65 characters, 64 are allowed"),
        ("na sa", "white space inside"),
        ("@ nasa", "white space inside"),
        ("na\nsa", "white space inside"),
        ("na\u2003sa", "white space inside"),
        ("https://www.tiktok.com/@na%20sa", "white space inside"),
        ("nasa@example.com", "an @ inside"),
        ("nasa,esa", "a comma inside"),
        ("nasa;esa", "a semicolon inside"),
        ("#nasa", "a # inside"),
        ("nasa?lang=en", "a ? inside"),
        ("https://www.tiktok.com/@nasa%3Flang=en", "a ? inside"),
        ("na\x00sa", r"character '\x00'"),
        ("nasa\x1b[31m", r"character '\x1b'"),
        ("na\x7fsa", r"character '\x7f'"),
        ("na\u200bsa", r"character '\u200b'"),
        ("\ufeffnasa", r"character '\ufeff'"),
        ("na\u202esa", r"character '\u202e'"),
        ("na\ud800sa", r"character '\ud800'"),
        ("https://www.tiktok.com/@na%00sa", r"character '\x00'"),
        ("https://example.com/@nasa", "is not on tiktok.com"),
        ("https://eviltiktok.com/@nasa", "is not on tiktok.com"),
        ("https://tiktok.com.example.com/@nasa", "is not on tiktok.com"),
        ("https://www.tiktok.com@example.com/@nasa", "is not on tiktok.com"),
        ("https://www.tiktok.com\\@example.com/@nasa", "is not on tiktok.com"),
        ("https:///@nasa", "is not on tiktok.com"),
        ("https://", "is not on tiktok.com"),
        ("https://www.tiktok.com", "is not the URL of a profile"),
        ("https://www.tiktok.com/nasa", "is not the URL of a profile"),
        ("https://www.tiktok.com/@nasa/video/7", "is not the URL of a profile"),
        ("https://www.tiktok.com/@nasa%2Fvideo", "is not the URL of a profile"),
        ("https://www.tiktok.com//@nasa", "is not the URL of a profile"),
        ("https://vm.tiktok.com/ZM1234567/", "is not the URL of a profile"),
        ("tiktok.com/foryou", "is not the URL of a profile"),
        ("https://[::1/@nasa", "is not a URL"),
        ("https://[nonsense]/@nasa", "is not a URL"),
    ],
)
def test_what_is_no_handle_is_refused_with_its_reason(text: str, problem: str) -> None:
    with pytest.raises(InvalidHandleError, match=re.escape(problem)):
        parse_handle(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://www.tiktok.com/@na\nsa",
        "https://www.tiktok.com/@na\tsa",
        "https://www.tiktok.com/@na\rsa",
        "https://www.tik\ntok.com/@nasa",
        "tiktok.com/@na\nsa",
    ],
)
def test_a_line_break_inside_a_profile_url_is_not_taken_out_silently(text: str) -> None:
    with pytest.raises(InvalidHandleError):
        parse_handle(text)


@pytest.mark.parametrize(
    "text",
    [
        "a/b",
        "../balance",
        "nasa/",
        "a\\b",
        "..\\balance",
        "//www.tiktok.com/@nasa",
        "ftp://www.tiktok.com/@nasa",
        "vm.tiktok.com/ZM1234567",
        "example.com/@nasa",
    ],
)
def test_a_slash_is_refused_because_a_proxy_may_decode_it(text: str) -> None:
    with pytest.raises(InvalidHandleError):
        parse_handle(text)


@pytest.mark.parametrize("text", ["https://www.tiktok.com/@%ff", "https://www.tiktok.com/@na%c3sa"])
def test_a_url_that_is_not_utf8_is_no_handle(text: str) -> None:
    with pytest.raises(InvalidHandleError):
        parse_handle(text)


@pytest.mark.parametrize("value", [None, 7, b"nasa", ["nasa"], object()])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidHandleError, match=f"not {type(value).__name__}"):
        parse_handle(value)  # type: ignore[arg-type] # what an untyped caller may do


def test_a_refusal_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="is empty"):
        parse_handle("")


def test_a_handle_is_a_plain_string() -> None:
    class Text(str):
        __slots__ = ()

    assert type(parse_handle(Text("nasa"))) is str


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31m" * 1000,
        "https://\u2100\x1b[31m.example.com/@x",
        "https://a\u2100" + "b" * 5000,
        "https://[" + "\x1b" * 5000 + "]/@nasa",
        "https://example.com/" + "x" * 5000,
        "https://www.tiktok.com/@" + "\x9b" * 70,
    ],
)
def test_a_refusal_is_short_and_does_nothing_to_a_terminal(text: str) -> None:
    with pytest.raises(InvalidHandleError) as caught:
        parse_handle(text)
    assert_fit_for_a_terminal(str(caught.value))
    assert caught.value.__cause__ is None


def test_reading_a_handle_does_not_change_it() -> None:
    for text in ("nasa", "https://www.tiktok.com/@nasa"):
        handle = parse_handle(text)
        assert parse_handle(handle) == handle
        assert parse_handle(f"@{handle}") == handle


PIECES = st.sampled_from(
    ["@", "/", "\\", ".", "..", "%2F", "%2e", "%00", "?", "#", ":", ";", "[", "]", " ", "\n"]
) | st.sampled_from(["@[", "nasa", "https://", "tiktok.com", "tiktok.com/@", "\u200b", "\ud800"])
TEXTS = st.text() | st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join)


@given(TEXTS)
@example("https://www.tiktok.com/@..%2f..%2fbalance")
@example("https://www.tiktok.com/@%252e%252e")
@example("?trim=true")
@example("#")
@example("%2e%2e")
def test_whatever_the_text_nothing_leaves_its_path_segment(text: str) -> None:
    try:
        handle = parse_handle(text)
    except InvalidHandleError as error:
        assert_fit_for_a_terminal(str(error))
        return
    assert 1 <= len(handle) <= MAX_HANDLE_LENGTH
    url = urlsplit(build_following_request("https://api.test", handle, None, trim=False).url)
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("https", "api.test", "", "")
    segment = url.path.removeprefix("/v1/tiktok/profiles/").removesuffix("/following")
    assert url.path == f"/v1/tiktok/profiles/{segment}/following"
    assert segment == quote(handle, safe="")
    assert not {"/", "\\"} & set(segment)
    assert segment not in {"", ".", ".."}


@given(st.from_regex(r"[A-Za-z0-9_.]{2,24}", fullmatch=True).filter(lambda h: h.strip(".")))
def test_every_handle_that_tiktok_allows_is_one_in_all_its_spellings(handle: str) -> None:
    for spelling in (handle, f"@{handle}", f" {handle}\n", f"https://www.tiktok.com/@{handle}?a=b"):
        assert parse_handle(spelling) == handle
