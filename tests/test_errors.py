"""What every error promises: its place in the tree, its words, and that it travels."""

import copy
import inspect
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import tiktok_following
from tiktok_following import (
    Account,
    AccountMetrics,
    APIError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    ConnectError,
    DeadlineExceededError,
    ExportError,
    Following,
    FollowingError,
    InsufficientCreditsError,
    LookupStatus,
    ProfileUnavailableError,
    RequestError,
    RequestTimeoutError,
    ResponseDecodeError,
    RunStoppedError,
    ServiceUnavailableError,
    StoreError,
    StoreLockedError,
    TransportError,
    _errors,
    _store_errors,
)

PARTIAL = Following(
    handle="nasa",
    status=LookupStatus.FOUND,
    accounts=[
        Account(
            "a",
            "https://www.tiktok.com/@a",
            verified=True,
            metrics=AccountMetrics(1, 2, 3),
            created_at=datetime(2020, 1, 15, tzinfo=UTC),
        )
    ],
    pages=1,
)
CONTEXT: dict[str, Any] = {
    "handle": "nasa",
    "cursor": "1742744536",
    "attempts": 3,
    "may_be_charged": True,
    "retry_after": 2.5,
}
API_CONTEXT: dict[str, Any] = {
    **CONTEXT,
    "status_code": 503,
    "code": "temporarily_unavailable",
    "request_id": "req_1",
    "checkout_url": "https://pay.test/now",
}
CLASSES: list[type[FollowingError]] = [
    value
    for value in (vars(_errors) | vars(_store_errors)).values()
    if inspect.isclass(value) and issubclass(value, FollowingError)
]


def make(cls: type[FollowingError]) -> FollowingError:
    """Make an error with a value in every attribute."""
    if issubclass(cls, APIError):
        error: FollowingError = cls("it broke", **API_CONTEXT)
    elif issubclass(cls, ResponseDecodeError):
        error = cls("it broke", request_id="req_1", credits_charged=1, **CONTEXT)
    elif issubclass(cls, RequestError):
        error = cls("it broke", **CONTEXT)
    elif issubclass(cls, ProfileUnavailableError):
        error = cls("it broke", handle="nasa", status=LookupStatus.HIDDEN)
    elif issubclass(cls, RunStoppedError):
        error = cls("it broke", reason="user")
    elif issubclass(cls, StoreError | ExportError):
        error = cls("it broke", path="following.db")
    else:
        error = cls("it broke")
    error.partial = PARTIAL
    error.add_note("while testing")
    return error


def repickle(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


WAYS: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    repickle,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]
all_classes = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
all_ways = pytest.mark.parametrize("travel", WAYS)


def read_drawn_tree() -> dict[str, str]:
    """Read parent by child from the trees drawn on top of the files."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in f"{_errors.__doc__}\n{_store_errors.__doc__}".splitlines():
        names = re.findall(r"\b[A-Z]\w*Error\b", line.partition("(also")[0])
        if not names or not line.startswith(("FollowingError", "StoreError", "├", "│", "└")):
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        if "──" in line[4 * depth :]:  # a chain: the first is the parent of the rest
            parents |= dict.fromkeys(names[1:], names[0])
        names_here = names[:1] if "──" in line[4 * depth :] else names
        if depth:
            parents |= dict.fromkeys(names_here, above[depth - 1])
        above[depth:] = [names[-1]]
    return parents


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = read_drawn_tree()
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not FollowingError}
    assert drawn == real


def test_every_error_is_public() -> None:
    for cls in CLASSES:
        assert getattr(tiktok_following, cls.__name__) is cls
        assert cls.__name__ in tiktok_following.__all__
        assert cls.__doc__


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigurationError", ValueError),
        ("InvalidHandleError", ValueError),
        ("ClientClosedError", RuntimeError),
        ("WrongLoopError", RuntimeError),
        ("WrongProcessError", RuntimeError),
        ("RequestTimeoutError", TimeoutError),
        ("DeadlineExceededError", TimeoutError),
    ],
)
def test_errors_that_python_has_a_word_for_are_that_too(name: str, builtin: type) -> None:
    assert issubclass(getattr(_errors, name), builtin)


def test_no_other_error_is_a_builtin_one() -> None:
    own = {cls for cls in CLASSES if issubclass(cls, ValueError | RuntimeError | OSError)}
    assert {cls.__name__ for cls in own} == {
        "ConfigurationError",
        "InvalidHandleError",
        "ClientClosedError",
        "WrongLoopError",
        "WrongProcessError",
        "RequestTimeoutError",
        "DeadlineExceededError",
    }


@all_classes
def test_every_attribute_is_declared_and_explained(cls: type[FollowingError]) -> None:
    declared = {
        name for base in cls.__mro__ for name in inspect.get_annotations(base) if base is not object
    }
    given = set(vars(make(cls))) - {"__notes__"}
    assert given <= declared
    source = inspect.getsource(cls)
    for name in inspect.get_annotations(cls):
        assert re.search(rf'^    {name}: .+\n    """\w', source, re.MULTILINE), name


@all_ways
@all_classes
def test_an_error_travels_with_all_it_knows(
    cls: type[FollowingError], travel: Callable[[Any], Any]
) -> None:
    error = make(cls)
    arrived = travel(error)
    assert type(arrived) is cls
    assert arrived is not error
    assert vars(arrived) == vars(error)
    assert arrived.partial == PARTIAL
    assert arrived.args == ("it broke",)
    assert str(arrived) == str(error)
    assert repr(arrived) == repr(error)
    assert arrived.__notes__ == ["while testing"]
    assert travel(arrived).__dict__ == vars(error)


@all_classes
def test_a_deep_copy_shares_no_rows(cls: type[FollowingError]) -> None:
    error = make(cls)
    copied = copy.deepcopy(error)
    assert copied.partial is not error.partial
    assert copied.partial == error.partial


@all_ways
def test_a_cause_of_ours_travels_along(travel: Callable[[Any], Any]) -> None:
    error, cause, first = make(DeadlineExceededError), make(TransportError), make(ConnectError)
    cause.__cause__ = first
    error.__cause__ = cause
    arrived = travel(error)
    assert type(arrived.__cause__) is TransportError
    assert vars(arrived.__cause__) == vars(cause)
    assert type(arrived.__cause__.__cause__) is ConnectError


@all_ways
def test_a_cause_from_elsewhere_stays_at_home(travel: Callable[[Any], Any]) -> None:
    class Unpicklable(Exception):  # noqa: N818 - not an error of the package
        def __init__(self, one: object, two: object) -> None:
            super().__init__("it holds headers")
            self.held = (one, two, lambda: None)

    error = make(TransportError)
    error.__cause__ = Unpicklable(1, 2)
    assert travel(error).__cause__ is None
    assert error.__cause__ is not None
    assert travel(error).may_be_charged is True


@all_classes
def test_errors_compare_by_identity(cls: type[FollowingError]) -> None:
    error = make(cls)
    assert error == error  # noqa: PLR0124 - identity is what is promised
    assert error != make(cls)
    assert len({error, make(cls)}) == 2


@all_classes
def test_an_error_can_be_raised_again_after_it_travelled(cls: type[FollowingError]) -> None:
    with pytest.raises(cls, match="it broke"):
        raise repickle(make(cls))


@all_classes
def test_an_error_may_be_raised_through_a_group(cls: type[FollowingError]) -> None:
    group = ExceptionGroup("several", [make(cls)])
    assert group.split(FollowingError)[0] is not None


def test_an_error_without_attributes_says_just_its_message() -> None:
    assert str(ConfigurationError("no key")) == "no key"
    assert str(RequestError("it broke")) == "it broke"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RequestError("lost", handle="nasa"), "lost (handle 'nasa')"),
        (RequestError("lost", handle="nasa", attempts=1), "lost (handle 'nasa')"),
        (
            RequestTimeoutError(
                "lost", handle="nasa", cursor="17", attempts=2, may_be_charged=True
            ),
            "lost (handle 'nasa', cursor '17', 2 attempts, may have been charged)",
        ),
        (BadRequestError("no", status_code=400), "no (HTTP 400)"),
        (
            BadRequestError("no", status_code=400, handle="nasa", cursor="17", attempts=2),
            "no (HTTP 400, handle 'nasa', cursor '17', 2 attempts)",
        ),
        (
            ServiceUnavailableError("busy", status_code=503, code="overload", retry_after=2.0),
            "busy (HTTP 503, overload, retry after 2 s)",
        ),
        (
            InsufficientCreditsError(
                "pay",
                status_code=402,
                code="insufficient_credits",
                request_id="req_1",
                checkout_url="https://pay.test",
            ),
            "pay (HTTP 402, insufficient_credits, request id req_1, credits: https://pay.test)",
        ),
        (
            ResponseDecodeError("odd", request_id="req_1", cursor="17", may_be_charged=True),
            "odd (request id req_1, cursor '17', may have been charged)",
        ),
        (ResponseDecodeError("odd", credits_charged=1), "odd"),
        (StoreLockedError("held", path="a.db"), "held (store 'a.db')"),
        (BudgetExceededError("stop", handle="\x1b[31m"), r"stop (handle '\x1b[31m')"),
    ],
)
def test_the_text_names_what_a_reader_of_a_log_needs(error: FollowingError, text: str) -> None:
    assert str(error) == text
    assert traceback.format_exception_only(error)[-1].strip().endswith(text)


def test_attributes_that_come_later_show_in_the_text() -> None:
    error = RequestError("lost")
    error.handle, error.attempts = "nasa", 4
    assert str(error) == "lost (handle 'nasa', 4 attempts)"


def test_a_replaced_error_is_another_one_with_what_was_changed() -> None:
    error = make(InsufficientCreditsError)
    error.__cause__ = cause = KeyError("at home")
    assert isinstance(error, InsufficientCreditsError)
    other = error.replace(handle="other", attempts=0)
    assert type(other) is InsufficientCreditsError
    assert (other.handle, other.attempts) == ("other", 0)
    assert (error.handle, error.attempts) == ("nasa", 3)
    assert other.checkout_url == error.checkout_url
    assert other.__cause__ is cause
    assert other.__traceback__ is None
    assert other.args == ("it broke",)


def test_a_replaced_error_has_nothing_of_the_other_lists_rows() -> None:
    error = make(ServiceUnavailableError)
    assert isinstance(error, ServiceUnavailableError)
    assert error.replace().partial is None
    assert error.partial == PARTIAL


def test_a_replaced_message_is_the_one_shown() -> None:
    error = RequestError("lost", handle="nasa").replace(message="found")
    assert str(error) == "found (handle 'nasa')"
    assert error.args == ("found",)


def test_partial_is_empty_until_somebody_sets_it() -> None:
    assert FollowingError("it broke").partial is None
    assert RequestError("it broke").partial is None


def test_an_error_holds_the_values_it_was_given_and_no_more() -> None:
    assert vars(make(ConnectError)).keys() == {
        "message",
        "partial",
        "handle",
        "cursor",
        "attempts",
        "may_be_charged",
        "retry_after",
        "__notes__",
    }
    assert attrs.asdict(PARTIAL)["handle"] == "nasa"
