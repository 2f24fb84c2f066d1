"""What the written functions promise: quick, small to hold, and no short cut that shows."""

import gc
import itertools
import subprocess
import sys
import tracemalloc
from collections import UserDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import orjson
import pytest
from bodies import EXAMPLES, make_body, read_body

from tiktok_following import Account, _models
from tiktok_following._models import Model, structurer
from tiktok_following._reader import SharedTexts
from tiktok_following.sandbox import Sandbox

ROWS = Sandbox().profile("nasa").accounts[:30]
OPTIONAL = ("platformUserId", "secUid", "privateAccount", "region", "language", "details")
TRIMMED = [
    {key: row[key] for key in row if key not in {*OPTIONAL, "accountCreatedAt"}} for row in ROWS
]
MODELS = [
    value
    for value in vars(_models).values()
    if isinstance(value, type) and issubclass(value, Model) and value is not Model
]


# Time

TIMING = """
import orjson
from bodies import make_body
from speed import compare
from tiktok_following import FollowingPage
from tiktok_following.sandbox import Sandbox

raw = make_body(accounts=Sandbox().profile("nasa").accounts[:30])
body = {**orjson.loads(raw), "handle": "nasa"}

def read():
    for _ in range(30):
        FollowingPage.from_dict(body)

def parse():
    for _ in range(30):
        orjson.loads(raw)

print(min(compare(read, parse) for _ in range(9)))
"""


def test_a_page_is_read_in_about_the_time_it_takes_to_parse() -> None:
    # In a process of its own, where no coverage is measured. It is 1.0 on a quiet machine.
    taken = subprocess.run(
        [sys.executable, "-c", TIMING], cwd=Path(__file__).parent, capture_output=True, check=True
    )
    assert float(taken.stdout) < 1.6


# Memory


def weigh(make: Callable[[], object]) -> int:
    make()
    gc.collect()
    tracemalloc.start()
    held = [make() for _ in range(20)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size // len(held)


@pytest.mark.parametrize("rows", [ROWS, TRIMMED], ids=["full", "trimmed"])
def test_a_page_is_smaller_than_its_dicts(rows: list[dict[str, Any]]) -> None:
    body = make_body(accounts=rows)
    assert weigh(lambda: read_body(body)) < weigh(lambda: orjson.loads(body))


def test_texts_that_come_again_are_held_once() -> None:
    one, two = (read_body(make_body(accounts=ROWS)) for _ in range(2))
    assert one.version is two.version
    words = [word for row in (*one.accounts, *two.accounts) for word in (row.region, row.language)]
    assert len(words) == 120
    assert len(set(map(id, words))) == len(set(words)) < 30


def test_a_bad_server_cannot_fill_the_memory_with_texts_to_share() -> None:
    shared = SharedTexts()
    long = "x" * 10_000
    assert shared[long] is long
    assert not shared
    for number in range(5_000):
        assert shared[f"{number:x}"] == f"{number:x}"
    assert len(shared) < 2_000
    assert shared["".join("ff")] is shared["".join("ff")]
    assert shared["fresh"] == "fresh"


# Nothing that `__init__` would do is left out


@pytest.mark.parametrize("cls", MODELS)
def test_a_model_is_no_more_than_its_slots(cls: type) -> None:
    assert not hasattr(cls, "__attrs_post_init__")
    for field in attrs.fields(cls):
        assert field.validator is None
        assert field.converter is None
        assert field.init


@pytest.mark.parametrize("cls", MODELS)
def test_the_written_function_says_whose_it_is(cls: type) -> None:
    read: Any = structurer._fast.get_structure_hook(cls)
    assert read.__code__.co_filename == f"<the reader of {cls.__name__}>"


# Unknown keys are counted, not looked for

ROW = EXAMPLES["first_page"]["data"]["accounts"][0]


@pytest.mark.parametrize("nulls", [OPTIONAL[:1], OPTIONAL])
@pytest.mark.parametrize("extra", [{}, {"fresh": 1}, {"fresh": None, "extra": {}}])
@pytest.mark.parametrize("missing", [(), ("bio",), ("bio", "avatarUrl", "displayName")])
def test_nulls_and_missing_keys_hide_no_unknown_one(
    nulls: tuple[str, ...], extra: dict[str, Any], missing: tuple[str, ...]
) -> None:
    row = {**ROW, **dict.fromkeys(nulls), **extra}
    account = Account.from_dict({key: row[key] for key in row if key not in missing})
    assert account.extra == extra


def test_a_null_where_a_key_may_be_missing_is_read_without_a_second_look() -> None:
    row = {**ROW, **dict.fromkeys(OPTIONAL), "fresh": 1}
    account = structurer._fast.get_structure_hook(Account)(row, Account)
    assert account.extra == {"fresh": 1}
    assert account.region is None


# What one row is thought to be like is learned from the rows before it

WHOLE = {**dict.fromkeys((*OPTIONAL, "accountCreatedAt")), **ROWS[0]}
NEVER_MISSING = {key: WHOLE[key] for key in WHOLE if key not in {*OPTIONAL, "accountCreatedAt"}}
BADGES = {"badge": 1, "shop": {}}
KINDS_OF_ROWS: list[dict[str, Any]] = [
    WHOLE,
    NEVER_MISSING,
    {**NEVER_MISSING, "region": "US"},
    {**WHOLE, "badge": 1},
    {**WHOLE, **BADGES},
    {**WHOLE, "shop": {}, "badge": 1},
    {**NEVER_MISSING, "shop": {}, "region": None},
    {key: WHOLE[key] for key in WHOLE if key != "bio"} | {"badge": None},
    {key: NEVER_MISSING[key] for key in NEVER_MISSING if key != "displayName"},
    {**WHOLE, "metrics": {**WHOLE["metrics"], **BADGES}},
    {**NEVER_MISSING, "metrics": {**WHOLE["metrics"], "badge": 2}},
]


def test_no_row_is_read_otherwise_for_those_before_it() -> None:
    read_account = structurer._fast.get_structure_hook(Account)
    alone = [read_account(row, Account) for row in KINDS_OF_ROWS]
    assert alone == [structurer._detailed.structure(row, Account) for row in KINDS_OF_ROWS]
    read_page = structurer._fast.get_structure_hook(_models.FollowingPage)
    numbers = range(len(KINDS_OF_ROWS))
    for order in itertools.product(numbers, repeat=4):
        body = make_body(accounts=[KINDS_OF_ROWS[number] for number in order])
        page = read_page({**orjson.loads(body), "handle": "nasa"}, _models.FollowingPage)
        assert page.accounts == [alone[number] for number in order]
        assert [list(account.extra) for account in page.accounts] == [
            list(alone[number].extra) for number in order
        ]


@pytest.mark.parametrize("make", [MappingProxyType, UserDict])
def test_what_only_looks_like_an_object_is_none(make: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="expected an object"):
        Account.from_dict(make(WHOLE))


def test_a_dict_that_makes_keys_up_is_read_without() -> None:
    row = defaultdict(str, {key: NEVER_MISSING[key] for key in NEVER_MISSING if key != "bio"})
    assert Account.from_dict(row).bio is None
    assert "bio" not in row
