"""What an export promises: every row as it was served, in a file that is whole or not there."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from bodies import EXAMPLES, make_body, read_body
from pyarrow import csv as arrow_csv, parquet
from stores import ORIGIN, change, fill_store, repeat_pages

from tiktok_following import (
    ConfigurationError,
    ExportError,
    FollowingStore,
    StoreError,
    StoreMismatchError,
    export,
)
from tiktok_following._export import iter_export
from tiktok_following._session import open_store

SUFFIXES = ["jsonl", "csv", "parquet"]
COLUMNS = [
    *("source_handle", "handle", "display_name", "followers", "following", "posts", "verified"),
    *("private_account", "region", "language", "created_at", "profile_url", "avatar_url"),
    *("platform_user_id", "sec_uid", "bio", "page", "row"),
]
all_formats = pytest.mark.parametrize("suffix", SUFFIXES)

# What texts may hold to the harm of a format.
TEXTS = [
    "",
    "a\nb",
    "a\r\nb",
    "a\rb",
    "\n",
    'a "quoted", text',
    '"',
    "a\0b",
    "\0",
    "a\tb",
    "\ufeffbom",
    "\u2028 and \u2029 and \x85",
    "\u202etxt\u2066 \x1b[31m",
    "ж☕\U0001f680\U0010ffff",
    "\ue000\uffff",
    "\\n \\u0000 \\",
    "NULL",
    "=1+1",
    "'=1+1",
    " x ",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "following.db"


def make_accounts(number: int = 30, **changes: Any) -> list[dict[str, Any]]:
    row = EXAMPLES["first_page"]["data"]["accounts"][0]
    return [{**row, **changes, "handle": f"a{n}"} for n in range(number)]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def read_csv(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


def read_parquet(path: Path) -> list[list[Any]]:
    table = parquet.read_table(path)
    return [table.column_names, *map(list, zip(*(c.to_pylist() for c in table), strict=True))]


READERS: dict[str, Callable[[Path], list[Any]]] = {
    "jsonl": read_jsonl,
    "csv": lambda path: read_csv(path)[1:],
    "parquet": lambda path: read_parquet(path)[1:],
}


def list_files(folder: Path) -> set[str]:
    """List what is in a folder, but for the store and what belongs to it."""
    return {p.name for p in folder.iterdir() if not p.name.startswith("following.db")}


# Rows


def test_jsonl_has_every_field_as_it_was_served(path: Path) -> None:
    first = EXAMPLES["first_page"]["data"]["accounts"][0]
    rows = [{**first, "new": {"deep": [1, None]}}, make_accounts(1)[0]]
    fill_store(path, {"nasa": [make_body(accounts=rows), make_body()], "Esa": [make_body()]})
    out = path.with_name("out.jsonl")
    assert export(path, out) == 6
    written = read_jsonl(out)
    with FollowingStore(path) as store:
        served = [account.to_dict() for account in store.accounts()]
    place = ("source_handle", "page", "row")
    assert [{k: v for k, v in row.items() if k not in place} for row in written] == served
    assert [tuple(row[k] for k in place) for row in written] == [
        *(("nasa", 1, 0), ("nasa", 1, 1), ("nasa", 2, 0), ("nasa", 2, 1)),
        *(("Esa", 1, 0), ("Esa", 1, 1)),
    ]
    assert written[0]["new"] == {"deep": [1, None]}


def test_the_places_are_those_of_the_view_that_sqlite_has(path: Path) -> None:
    fill_store(path, {"b": [make_body(), make_body([])], "a": [make_body(), make_body(["x"])]})
    with FollowingStore(path) as store:
        expected = list(store._select("SELECT source_handle, page, row, handle FROM accounts"))
    out = path.with_name("out.jsonl")
    export(path, out)
    names = ("source_handle", "page", "row", "handle")
    assert [tuple(row[name] for name in names) for row in read_jsonl(out)] == expected


def test_csv_has_the_columns_of_list_and_the_place(path: Path) -> None:
    full = {"verified": True, "privateAccount": False, "accountCreatedAt": 0, "bio": None}
    bare = {"displayName": None, "metrics": {"followers": 1, "following": 2, "posts": 3}}
    fill_store(path, {"nasa": [make_body(accounts=make_accounts(1, **full))]})
    fill_store(path, {"esa": [make_body(accounts=make_accounts(1, **bare))]})
    out = path.with_name("out.csv")
    assert export(path, out) == 2
    header, one, two = read_csv(out)
    assert header == COLUMNS
    first, second = dict(zip(header, one, strict=True)), dict(zip(header, two, strict=True))
    assert (first["verified"], first["private_account"], first["bio"]) == ("true", "false", "")
    assert first["created_at"] == "1970-01-01T00:00:00.000Z"
    assert [second[name] for name in ("source_handle", "followers", "page", "row")] == [
        *("esa", "1", "1", "0")
    ]


def test_parquet_has_the_types_of_the_model(path: Path) -> None:
    told = {"accountCreatedAt": "2020-01-02T03:04:05.678901+02:00", "privateAccount": False}
    rows = [make_accounts(1, **told)[0], make_accounts(1)[0]]
    for optional in ("privateAccount", "accountCreatedAt", "region", "language", "secUid"):
        rows[1].pop(optional, None)
    fill_store(path, {"nasa": [make_body(accounts=rows)]})
    out = path.with_name("out.parquet")
    assert export(path, out) == 2
    table = parquet.read_table(out)
    text, whole, flag = pa.string(), pa.int64(), pa.bool_()
    time = pa.timestamp("us", "UTC")
    kinds = [text, text, text, whole, whole, whole, flag, flag, text, text, time]
    kinds += [text, text, text, text, text, whole, whole]
    assert [(field.name, field.type) for field in table.schema] == list(
        zip(COLUMNS, kinds, strict=True)
    )
    assert [field.name for field in table.schema if field.nullable] == [
        *("display_name", "private_account", "region", "language", "created_at", "avatar_url"),
        *("platform_user_id", "sec_uid", "bio"),
    ]
    told_row, bare_row = table.to_pylist()
    assert told_row["created_at"] == datetime(2020, 1, 2, 1, 4, 5, 678901, UTC)
    assert told_row["private_account"] is False
    assert bare_row["created_at"] is bare_row["private_account"] is bare_row["sec_uid"] is None
    with FollowingStore(path) as store:
        account = next(store.accounts())
    assert [told_row["followers"], told_row["bio"]] == [account.metrics.followers, account.bio]


@all_formats
def test_no_text_breaks_a_format_or_is_changed(path: Path, suffix: str) -> None:
    rows = [{**make_accounts(1)[0], "bio": text, "displayName": text} for text in TEXTS]
    fill_store(path, {"nasa": [make_body(accounts=rows)]})
    out = path.with_name(f"out.{suffix}")
    assert export(path, out, raw_csv=True) == len(TEXTS)
    if suffix == "jsonl":
        assert [row["bio"] for row in read_jsonl(out)] == TEXTS
        assert [row["displayName"] for row in read_jsonl(out)] == TEXTS
    else:
        index = COLUMNS.index("bio")
        assert [row[index] for row in READERS[suffix](out)] == TEXTS
        assert [row[2] for row in READERS[suffix](out)] == TEXTS


def test_another_reader_of_csv_finds_the_same(path: Path) -> None:
    rows = [{**make_accounts(1)[0], "bio": text} for text in TEXTS]
    fill_store(path, {"nasa": [make_body(accounts=rows)]})
    out = path.with_name("out.csv")
    export(path, out, raw_csv=True)
    table = arrow_csv.read_csv(
        out,
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types={"bio": pa.string()}),
    )
    assert table.column("bio").to_pylist() == TEXTS


SIGNS = [
    *("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "﹢", "﹣", "﹦", "﹫"),  # noqa: RUF001
    *(
        "\x00=",
        " =",
        "\x0b+",
        "\xa0-",
        "\u3000@",
        "\u200b=",
        "\ufeff=",
        "\u202e+",
        "\ufe0f=",
        "\u0301@",
    ),
    *("\t \r\n\u2028＝", " " * 5000 + "=", "\x00" * 5000 + "="),  # noqa: RUF001
]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("edges", [False, True])
def test_no_csv_cell_is_taken_for_a_formula_unless_asked(
    path: Path, sign: str, edges: bool
) -> None:
    evil = f"{sign}cmd|' /C calc'!A0"
    fill_store(path, {"-dash": [make_body([evil], bio=evil)]})
    out = path.with_name("out.csv")
    export(path, out, edges=edges)
    assert read_csv(out)[1][:2] == ["'-dash", f"'{evil}"]
    export(path, out, edges=edges, raw_csv=True, overwrite=True)
    assert read_csv(out)[1][:2] == ["-dash", evil]
    for suffix in ("jsonl", "parquet"):
        other = path.with_name(f"out.{suffix}")
        export(path, other, edges=edges)
        row = READERS[suffix](other)[0]
        assert evil in (row.values() if suffix == "jsonl" else row)


def test_a_cell_that_is_no_formula_is_left_alone(path: Path) -> None:
    texts = ["a=b", "1-1", "é=", "_x", "#1", '"=1"', "☕ -", " x", "\u200bx", "'=1", "...=", ""]
    rows = [{**make_accounts(1)[0], "bio": text, "displayName": text} for text in texts]
    fill_store(path, {"nasa": [make_body(accounts=rows)]})
    out = path.with_name("out.csv")
    export(path, out)
    assert [row[COLUMNS.index("bio")] for row in read_csv(out)[1:]] == texts
    assert [row[2] for row in read_csv(out)[1:]] == texts


@all_formats
def test_edges_are_each_pair_once(path: Path, suffix: str) -> None:
    fill_store(
        path,
        {
            "nasa": [make_body(["a", "b", "a"]), make_body(["b", "c", "A"])],
            "Esa": [make_body(["a"])],
            "nobody": [make_body([])],
        },
    )
    out = path.with_name(f"edges.{suffix}")
    assert export(path, out, edges=True) == 5
    rows = READERS[suffix](out)
    pairs = [[*row.values()] for row in rows] if suffix == "jsonl" else rows
    assert pairs == [["nasa", "a"], ["nasa", "b"], ["nasa", "c"], ["nasa", "A"], ["Esa", "a"]]
    if suffix == "jsonl":
        assert list(rows[0]) == ["source_handle", "target_handle"]
    else:
        head = read_csv(out)[0] if suffix == "csv" else read_parquet(out)[0]
        assert head == ["source_handle", "target_handle"]


@all_formats
@pytest.mark.parametrize("edges", [False, True])
def test_a_store_without_rows_is_a_file_without_rows(path: Path, suffix: str, edges: bool) -> None:
    fill_store(path, {"nobody": [make_body([])]})
    out = path.with_name(f"out.{suffix}")
    assert export(path, out, edges=edges) == 0
    assert READERS[suffix](out) == []
    columns = ["source_handle", "target_handle"] if edges else COLUMNS
    if suffix == "csv":
        assert read_csv(out) == [columns]
    elif suffix == "parquet":
        assert read_parquet(out) == [columns]
        assert parquet.read_schema(out).field("source_handle").type == pa.string()


@all_formats
def test_an_open_store_stays_open(path: Path, suffix: str) -> None:
    fill_store(path, {"nasa": [make_body()]})
    with FollowingStore(path) as store:
        assert export(store, f"{path.parent}/out.{suffix.upper()}") == 2
        assert store.summary().pages == 1
    assert list_files(path.parent) == {f"out.{suffix.upper()}"}


# Memory


@all_formats
@pytest.mark.parametrize("edges", [False, True])
def test_memory_does_not_grow_with_the_rows(path: Path, suffix: str, edges: bool) -> None:
    fill_store(path, {f"h{n}": [make_body(accounts=make_accounts())] for n in range(40)})
    out = path.with_name(f"out.{suffix}")

    def measure() -> int:
        tracemalloc.start()
        export(path, out, edges=edges, overwrite=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    measure()
    few = measure()
    change(
        path,
        """
        WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < 9)
        INSERT INTO lookups (id, key, handle, state, run_id, updated_at)
        SELECT id + 1000 * n, key || '-' || n, handle || '-' || n, state, run_id, updated_at
        FROM lookups JOIN copies;
        INSERT INTO pages SELECT lookups.id, number, cursor, pages.next_cursor, pages.status,
        pages.accounts, credits, request_id, fetched_at, pages.run_id, body
        FROM lookups JOIN pages ON lookup_id = lookups.id % 1000 WHERE lookups.id >= 1000;
        """,
    )
    assert measure() < few + 3_000_000  # the rows themselves are ten times that
    assert len(READERS[suffix](out)) == 12_000


def test_a_list_of_many_pages_needs_no_more_memory_for_its_edges(path: Path) -> None:
    fill_store(path, {"nasa": [make_body(accounts=make_accounts())]})
    repeat_pages(path, 300)
    out = path.with_name("out.csv")
    tracemalloc.start()
    assert export(path, out, edges=True) == 30
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_parquet_is_written_in_row_groups(path: Path) -> None:
    fill_store(path, {"nasa": [make_body(accounts=make_accounts(30, bio="x" * 20_000))]})
    repeat_pages(path, 140)
    out = path.with_name("out.parquet")
    held = [
        pa.total_allocated_bytes()
        for _ in iter_export(path, out, edges=False, raw_csv=False, overwrite=False)
    ]
    file = parquet.ParquetFile(out)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [
        *(2000, 2000, 200)
    ]
    assert max(held) < 50_000_000


# Beside a run


async def test_a_run_may_write_meanwhile(path: Path) -> None:
    body = make_body(accounts=make_accounts())
    page = read_body(body)
    session = open_store(path, origin=ORIGIN, trim=False, concurrency=4)
    lookups = await session.claim([f"h{n}" for n in range(60)])
    for index in range(len(lookups)):
        await session.commit_page(index, page, body, state="pending", next_cursor="1")
    out = path.with_name("out.jsonl")
    steps = iter_export(path, out, edges=False, raw_csv=False, overwrite=False)
    assert next(steps) == 1000
    await session.commit_page(59, page, body, state="complete", next_cursor=None)
    assert max(steps) == 61 * 30
    await session.close()
    assert read_jsonl(out)[-1]["page"] == 2


# Whole or not at all


def break_last_page(path: Path, body: str) -> None:
    change(path, f"UPDATE pages SET body = '{body}' WHERE rowid = (SELECT max(rowid) FROM pages)")


@all_formats
@pytest.mark.parametrize("body", ["{}", '{"data": "\\ud800"}', "nonsense"])
def test_a_store_that_cannot_be_read_leaves_what_was_there(
    path: Path, suffix: str, body: str
) -> None:
    fill_store(path, {f"h{n}": [make_body(accounts=make_accounts())] for n in range(40)})
    break_last_page(path, body)
    out = path.with_name(f"out.{suffix}")
    with pytest.raises(StoreError, match="damaged"):
        export(path, out)
    assert list_files(path.parent) == set()
    out.write_text("before")
    with pytest.raises(StoreError, match="damaged"):
        export(path, out, overwrite=True)
    assert list_files(path.parent) == {out.name}
    assert out.read_text() == "before"


@all_formats
def test_nobody_sees_half_a_file_and_stopping_leaves_nothing(path: Path, suffix: str) -> None:
    fill_store(path, {f"h{n}": [make_body(accounts=make_accounts())] for n in range(40)})
    out = path.with_name(f"out.{suffix}")
    steps = iter_export(path, out, edges=False, raw_csv=False, overwrite=False)
    assert next(steps) == 1000
    assert not out.exists()
    assert len(list_files(path.parent)) == 1
    steps.close()
    assert list_files(path.parent) == set()


class StoppedStore(FollowingStore):
    """A store whose reader presses Ctrl-C at the last page."""

    def pages(self, handle: str | None = None) -> Any:
        yield from super().pages(handle)
        raise KeyboardInterrupt


@all_formats
def test_ctrl_c_leaves_nothing(path: Path, suffix: str) -> None:
    fill_store(path, {"nasa": [make_body()]})
    with StoppedStore(path) as store, pytest.raises(KeyboardInterrupt):
        export(store, path.with_name(f"out.{suffix}"))
    assert list_files(path.parent) == set()


@all_formats
@pytest.mark.parametrize("room", [0, 100, 20_000])
def test_a_disk_that_fills_up_leaves_nothing(path: Path, suffix: str, room: int) -> None:
    accounts = [{**row, "bio": os.urandom(1000).hex()} for row in make_accounts()]
    fill_store(path, {f"h{n}": [make_body(accounts=accounts)] for n in range(40)})
    code = (
        "import resource, sys\n"
        "from tiktok_following import ExportError, FollowingStore, export\n"
        "with FollowingStore(sys.argv[1]) as store:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "    try:\n"
        "        export(store, sys.argv[2])\n"
        "    except ExportError as error:\n"
        "        print(error.message, type(error.__cause__).__name__)\n"
    )
    out = path.with_name(f"out.{suffix}")
    done = subprocess.run(
        [sys.executable, "-c", code, path, out, str(room)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "the export cannot be written: File too large OSError\n"
    assert done.stderr == ""
    assert list_files(path.parent) == set()


@all_formats
def test_a_file_that_exists_is_replaced_only_on_request(path: Path, suffix: str) -> None:
    fill_store(path, {"nasa": [make_body()]})
    out = path.with_name(f"out.{suffix}")
    out.write_text("before")
    with pytest.raises(ExportError, match="exists already") as caught:
        export(path, out)
    assert caught.value.path == str(out)
    assert str(caught.value).endswith(f"(file {str(out)!r})")
    assert out.read_text() == "before"
    assert export(path, out, overwrite=True) == 2
    assert len(READERS[suffix](out)) == 2
    assert list_files(path.parent) == {out.name}


def test_a_file_that_appears_meanwhile_is_kept(path: Path) -> None:
    fill_store(path, {"nasa": [make_body()]})
    out = path.with_name("out.csv")
    steps = iter_export(path, out, edges=False, raw_csv=False, overwrite=False)
    next(steps)
    out.write_text("somebody else's")
    with pytest.raises(ExportError, match="exists already"):
        next(steps)
    assert out.read_text() == "somebody else's"
    assert list_files(path.parent) == {out.name}


def test_no_store_is_ever_overwritten(path: Path) -> None:
    store = path.with_name("store.csv")
    fill_store(store, {"nasa": [make_body()]})
    before = store.read_bytes()
    with pytest.raises(ExportError, match="is a database"):
        export(store, store, overwrite=True)
    assert store.read_bytes() == before


def test_a_link_stays_one(path: Path) -> None:
    fill_store(path, {"nasa": [make_body()]})
    (path.parent / "there").mkdir()
    link, real = path.with_name("out.csv"), path.parent / "there" / "real"
    real.write_text("before")
    link.symlink_to(real)
    export(path, link, overwrite=True)
    assert link.is_symlink()
    assert len(read_csv(real)) == 3


def test_the_file_has_the_rights_that_new_files_have(path: Path) -> None:
    fill_store(path, {"nasa": [make_body()]})
    out, other = path.with_name("out.csv"), path.with_name("other")
    export(path, out)
    other.touch()
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


# What cannot be


@pytest.mark.parametrize("name", ["out.txt", "out", ".csv", "csv", "out.csv.gz", "out.db", ""])
def test_a_name_that_says_no_format_is_refused(path: Path, name: str) -> None:
    fill_store(path, {"nasa": [make_body()]})
    with pytest.raises(ConfigurationError, match=r"must end in \.jsonl, \.csv or \.parquet"):
        export(path, os.path.join(path.parent, name))  # noqa: PTH118 - an empty name stays empty
    assert list_files(path.parent) == set()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/out.csv", "No such file or directory"),
        ("folder.csv", "not that of a file"),
        ("following.db/out.csv", "cannot be written: Not a directory"),
        ("a\0b.csv", "the path cannot be used"),
        ("\ud800.csv", "the path cannot be used"),
        (f"{'x' * 300}.csv", "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_an_error_of_ours(
    path: Path, name: str, words: str
) -> None:
    fill_store(path, {"nasa": [make_body()]})
    path.with_name("folder.csv").mkdir()
    with pytest.raises(ExportError, match=words):
        export(path, f"{path.parent}/{name}", overwrite=True)
    assert list_files(path.parent) == {"folder.csv"}


def test_a_store_that_is_none_is_an_error_of_ours(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such store"):
        export(path, path.with_name("out.csv"))
    path.write_text("text")
    with pytest.raises(StoreMismatchError):
        export(path, path.with_name("out.csv"))
    assert list_files(path.parent) == set()


def test_a_count_too_large_for_parquet_is_told(path: Path) -> None:
    huge = {"followers": 2**63, "following": 0, "posts": 0}
    fill_store(path, {"nasa": [make_body(accounts=make_accounts(1, metrics=huge))]})
    out = path.with_name("out.parquet")
    with pytest.raises(ExportError, match="too large for Parquet"):
        export(path, out)
    assert list_files(path.parent) == set()
    export(path, out.with_suffix(".csv"))
    assert read_csv(out.with_suffix(".csv"))[1][3] == str(2**63)


def test_without_pyarrow_the_error_says_how_to_install_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_store(path, {"nasa": [make_body()]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError) as caught:
        export(path, path.with_name("out.parquet"))
    assert 'pip install "tiktok-following[parquet]"' in str(caught.value)
    assert list_files(path.parent) == set()


def test_the_other_formats_do_not_import_pyarrow(path: Path) -> None:
    fill_store(path, {"nasa": [make_body()]})
    code = (
        "import sys\nfrom tiktok_following import export\n"
        "export(sys.argv[1], sys.argv[2]), export(sys.argv[1], sys.argv[3])\n"
        "print('pyarrow' in sys.modules)"
    )
    arguments = [path, path.with_name("out.csv"), path.with_name("out.jsonl")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_bytes_of_json_lines_are_json_in_utf_8(path: Path) -> None:
    fill_store(path, {"nasa": [make_body(["ж"])]})
    out = path.with_name("out.jsonl")
    export(path, out)
    (line,) = out.read_bytes().splitlines()
    assert "ж".encode() in line
    assert orjson.loads(line)["handle"] == "ж"
