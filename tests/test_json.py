"""What lines of JSON promise: whatever could be read can be written, in every place that does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from bodies import make_body
from cli_runs import point_to, run
from hypothesis import example, given, strategies as st

from tiktok_following import FollowingStore, export
from tiktok_following._json import write_line
from tiktok_following.sandbox import Sandbox, faults

DEEPEST = 1015  # what orjson reads, less what stands around it in a page
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def nest(value: Any, times: int) -> Any:
    for number in range(times):
        value = [0, value] if number % 2 else {"a": 1, "b": value, "c": []}
    return value


@given(JSON)
@example({})
@example([[], {}])
def test_what_is_nested_too_deep_for_orjson_is_written_the_same(value: Any) -> None:
    line = write_line(nest(value, 300))
    assert line == write_line(nest("@", 300)).replace(b'"@"', orjson.dumps(value))
    assert line.endswith(b"\n")
    assert json.loads(line) == nest(value, 300)


def test_depth_costs_no_stack() -> None:
    deep = nest("the bottom", 100_000)
    line = write_line(deep)
    assert line.count(b"the bottom") == 1
    assert line.count(b"[0,") == 50_000


@pytest.mark.parametrize("value", [{"a": 2**64}, "\ud800", {1: 2}, [b"raw"], Path])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        write_line(value)


# In every place


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def make_deep_body() -> tuple[bytes, bytes]:
    """Make a page whose only row holds as many levels as can be read, and give those too."""
    deep = b'{"a":' * (DEEPEST // 2) + b"[" * (DEEPEST // 2) + b"]" * (DEEPEST // 2)
    deep += b"}" * (DEEPEST // 2)
    row = {**orjson.loads(make_body(["ada"]))["data"]["accounts"][0], "details": {"deep": "@"}}
    return make_body(accounts=[row], next_cursor=None).replace(b'"@"', deep), deep


@pytest.mark.parametrize("terminal", [False, True])
def test_a_row_of_any_depth_can_be_listed(server: Sandbox, terminal: bool) -> None:
    body, deep = make_deep_body()
    server.script(faults.raw(body))
    result = run("list", "nasa", "--format", "jsonl", terminal=terminal)
    assert result.code == 0
    assert deep.decode() in result.out
    assert result.out.count("\n") == 1


def test_a_row_of_any_depth_is_stored_and_exported(server: Sandbox, tmp_path: Path) -> None:
    body, deep = make_deep_body()
    server.script(faults.raw(body))
    handles, store, rows = (tmp_path / name for name in ("handles.txt", "f.db", "rows.jsonl"))
    handles.write_text("nasa\n")
    result = run("bulk", str(handles), "--store", str(store), "--jsonl", str(rows))
    assert (result.code, result.out) == (0, "")
    assert deep in rows.read_bytes()
    for suffix in ("jsonl", "csv", "parquet"):
        for edges in (False, True):
            assert export(store, tmp_path / f"{edges}.{suffix}", edges=edges) == 1
    assert deep in (tmp_path / "False.jsonl").read_bytes()
    with FollowingStore(store) as opened:
        assert [account.handle for account in opened.accounts()] == ["ada"]
