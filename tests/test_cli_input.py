"""What ``tiktok-following bulk`` promises of the files that handles come from."""

import asyncio
import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiktok_following import InvalidHandleError
from tiktok_following._cli._handles import FileHandles, StreamHandles, open_handles
from tiktok_following._cli._handles_file import iter_handles
from tiktok_following._cli._lines import LONGEST_LINE, InputError, Lines, is_stream
from tiktok_following._handles import parse_handle


def write(folder: Path, text: str | bytes, name: str = "handles.txt") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read(folder: Path, text: str | bytes, name: str = "handles.txt", **options: str) -> list[str]:
    return list(iter_handles(write(folder, text, name), **options))


def refuse(
    folder: Path, text: str | bytes, name: str = "handles.txt", column: str | None = None
) -> str:
    path = write(folder, text, name)
    with pytest.raises(InputError) as caught:
        list(iter_handles(path, column))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


# Text


def test_text_has_an_entry_a_line_and_may_have_blanks_and_comments(tmp_path: Path) -> None:
    text = "# of agencies\n\nnasa\n  @esa \n \t\nhttps://www.tiktok.com/@jaxa?a=1,2\n #no\nbad one"
    entries = ["nasa", "@esa", "https://www.tiktok.com/@jaxa?a=1,2", "bad one"]
    assert read(tmp_path, text) == entries


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["handles", "handles.txt", "handles.csv", "handles.jsonl"])
def test_line_ends_and_byte_order_marks_are_no_part_of_a_handle(
    tmp_path: Path, end: str, mark: bytes, name: str
) -> None:
    lines = {"csv": ["handle", "Łąka", "b"], "jsonl": ['"Łąka"', '{"handle": "b"}']}
    text = end.join(lines.get(name.partition(".")[2], ["Łąka", "b"]))
    for ending in ("", end):
        assert read(tmp_path, mark + (text + ending).encode(), name) == ["Łąka", "b"]


def test_a_url_with_a_comma_on_the_first_line_is_text(tmp_path: Path) -> None:
    assert read(tmp_path, "https://www.tiktok.com/@a?x=1,2\nb") == [
        *("https://www.tiktok.com/@a?x=1,2", "b")
    ]


# CSV


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.txt", "a"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize(
    "column", ["handle", "Username", "user_name", "unique_id", "uniqueId", " Profile URL "]
)
def test_a_csv_column_is_found_by_its_name(
    tmp_path: Path, name: str, sign: str, column: str
) -> None:
    text = f'id{sign}{column}{sign}bio\n1{sign}nasa{sign}"two\nlines"\n\n2{sign} @esa{sign}x\n3\n'
    assert read(tmp_path, text, name) == ["nasa", "@esa"]


def test_a_tsv_file_is_one_of_columns(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\thandle\n1\tnasa\n", "a.tsv") == ["nasa"]


def test_the_likeliest_of_several_columns_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, "url,user,handle\n1,2,3\n") == ["3"]


@pytest.mark.parametrize("column", ["Who is it", "who is it", "WHO_IS_IT"])
def test_a_column_can_be_named(tmp_path: Path, column: str) -> None:
    assert read(tmp_path, "handle,Who is it\n1,2\n", column=column) == ["2"]
    assert read(tmp_path, "Who is it\n2\n", column=column) == ["2"]


def test_a_column_named_exactly_wins_over_one_named_nearly_so(tmp_path: Path) -> None:
    assert read(tmp_path, "who,Who\n1,2\n", column="Who") == ["2"]


def test_a_csv_file_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    assert refuse(tmp_path, "nasa,e\x1bsa\n") == (
        "handles.txt: no column is called handle, username, user or the like; "
        r"choose with --column. It has 'nasa', 'e\x1bsa'"
    )
    assert refuse(tmp_path, "handle,b\n", column="c") == (
        "handles.txt: no column is called 'c'. It has 'handle', 'b'"
    )


def test_of_very_many_columns_the_first_are_named(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(40))
    assert refuse(tmp_path, header).endswith("'c10', 'c11', …")


@pytest.mark.parametrize("rest", ['"never closed\n2\n3\n', '"closed" too early\n'])
def test_a_broken_csv_file_loses_no_row_silently(tmp_path: Path, rest: str) -> None:
    assert ", is not CSV: " in refuse(tmp_path, "handle\n1\n" + rest, "a.csv")


# JSON lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.txt", "a"])
def test_json_lines_are_texts_or_objects(tmp_path: Path, name: str) -> None:
    text = '{"n": 1, "Handle": "nasa"}\n\n"@esa"\n{"username": "jaxa", "url": "x"}\n'
    assert read(tmp_path, text, name) == ["nasa", "@esa", "jaxa"]
    assert read(tmp_path, '"nasa"\n"esa"\n', name) == ["nasa", "esa"]


def test_a_key_can_be_named(tmp_path: Path) -> None:
    assert read(tmp_path, '{"handle": "a", "b": "c"}\n', column="b") == ["c"]


def test_json_lines_without_the_key_name_those_they_have(tmp_path: Path) -> None:
    assert refuse(tmp_path, '{"id": 1, "name": "a"}\n') == (
        "handles.txt: no key is called handle, username, user or the like; "
        "choose with --column. It has 'id', 'name'"
    )
    assert refuse(tmp_path, "{}\n", column="b") == (
        "handles.txt: no key is called 'b'. It has none"
    )


def test_a_json_array_is_refused(tmp_path: Path) -> None:
    assert "is a JSON array" in refuse(tmp_path, '["nasa"]', "a.json")


@pytest.mark.parametrize(
    "line",
    ['{"a": 1}', '{"handle": 7}', '{"handle": null}', "7", "nasa", '{"handle": "x"', "[" * 99_999],
)
def test_a_json_line_without_a_handle_is_told_and_never_bought(tmp_path: Path, line: str) -> None:
    entries = read(tmp_path, f'"nasa"\n{line}\n"esa"\n')
    assert entries == ["nasa", f"line 2 has no handle: {line}", "esa"]
    with pytest.raises(InvalidHandleError, match="line 2 has no handle: "):
        parse_handle(entries[1])


# What cannot be read


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path, name: str) -> None:
    head = b'{"handle": "x"}' if name == "a.jsonl" else b"handle"
    assert refuse(tmp_path, head + b"\nnasa\nm\xfcller\n", name) == (
        f"{name}, line 3, is not UTF-8 text: save it as UTF-8"
    )


NULL = "has a null character, as text in UTF-16 has: save it as UTF-8"


def test_a_null_character_is_told(tmp_path: Path) -> None:
    text = refuse(tmp_path, b"nasa\nes\0a.b\n")
    assert text == f"handles.txt, line 2, {NULL}"


@pytest.mark.parametrize("first", ["nasa", "имя,другое"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised(tmp_path: Path, encoding: str, first: str) -> None:
    body = f"{first}\nesa".encode(encoding)
    marked = refuse(tmp_path, "\ufeff".encode(encoding) + body)
    is_not = "is not UTF-8 text (it looks like UTF-16): save it as UTF-8"
    assert marked == f"handles.txt, line 1, {is_not}"
    bare = refuse(tmp_path, body)
    assert bare == f"handles.txt, line 1, {NULL}"


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, b"handle\n" + b"n" * 20 * LONGEST_LINE, name)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{name}, line 2, has more than 1,048,576 characters"):
        list(iter_handles(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * LONGEST_LINE


def test_files_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    for path, reason in (
        (str(tmp_path), "Is a directory"),
        (str(tmp_path / "none"), "No such file or directory"),
    ):
        for use in (lambda path: list(iter_handles(path)), lambda path: open_handles(path, None)):
            with pytest.raises(InputError) as caught:
                use(path)
            assert str(caught.value) == f"{path} cannot be read: {reason}"


def test_a_disk_that_fails_while_it_is_read_says_so() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object, /) -> int:
            raise OSError(5, "Input/output error")

    broken = io.TextIOWrapper(io.BufferedReader(Broken()))
    with pytest.raises(InputError, match="a cannot be read: Input/output error"):
        next(Lines(broken, "a"))


@pytest.mark.parametrize("text", ["", "\n \n# nobody\n"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_an_input_without_handles_is_refused(tmp_path: Path, text: str, name: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(InputError, match="there is no handle in "):
        open_handles(path, None)


# Files and streams


def test_standard_input_is_a_stream_even_if_it_is_a_file(tmp_path: Path) -> None:
    assert is_stream("-")
    assert not is_stream(write(tmp_path, "a"))


def test_a_file_knows_how_many_handles_it_has_and_holds_none_of_them(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"handle{number}\n" for number in range(20_000)))
    tracemalloc.start()
    handles = open_handles(path, None)
    assert isinstance(handles, FileHandles)
    assert len(handles) == 20_000
    assert sum(1 for _ in handles) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000
    assert handles.problem is None


def test_a_file_that_is_spoilt_later_ends_with_its_problem(tmp_path: Path) -> None:
    path = write(tmp_path, "a\nb\nc\n")
    handles = open_handles(path, None)
    write(tmp_path, b"a\nb\n\xff\n")
    assert list(handles) == ["a", "b"]  # type: ignore[arg-type]
    assert "line 3, is not UTF-8" in str(handles.problem)


def open_pipe(folder: Path) -> tuple[str, int]:
    path = str(folder / "pipe")
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)  # or opening it would wait for the other side
    return path, both


async def test_a_stream_gives_each_handle_as_it_comes(tmp_path: Path) -> None:
    path, pipe = open_pipe(tmp_path)
    os.write(pipe, b"nasa\nesa\n")
    handles = await asyncio.to_thread(open_handles, path, None)
    assert isinstance(handles, StreamHandles)
    assert [await anext(handles), await anext(handles)] == ["nasa", "esa"]
    third = asyncio.ensure_future(anext(handles))
    await asyncio.sleep(0.01)
    assert not third.done()
    os.write(pipe, b"jaxa\n")
    assert await third == "jaxa"
    os.close(pipe)
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(handles)


async def test_an_empty_stream_is_refused(tmp_path: Path) -> None:
    path, pipe = open_pipe(tmp_path)
    os.write(pipe, b"\n")
    asyncio.get_running_loop().call_later(0.01, os.close, pipe)
    with pytest.raises(InputError, match="there is no handle in "):
        await asyncio.to_thread(open_handles, path, None)


async def test_a_stream_loses_nothing_and_is_read_only_a_little_ahead() -> None:
    taken = 0

    def count() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 20_001):
            yield str(taken)

    handles = StreamHandles(count())
    first = [await anext(handles) for _ in range(5)]
    await asyncio.sleep(0.02)
    assert taken <= 1_010
    rest = [entry async for entry in handles]
    assert [*first, *rest] == [str(number) for number in range(1, 20_001)]


async def test_a_stream_that_turns_bad_ends_with_its_problem() -> None:
    def fail() -> Iterator[str]:
        yield "nasa"
        raise InputError("line 2 is bad")

    handles = StreamHandles(fail())
    assert [entry async for entry in handles] == ["nasa"]
    assert str(handles.problem) == "line 2 is bad"


def test_the_thread_of_a_stream_ends_also_when_the_loop_has() -> None:
    async def begin() -> StreamHandles:
        handles = StreamHandles(map(str, range(3_000)))
        await anext(handles)
        return handles

    handles = asyncio.run(begin())
    assert handles._thread is not None
    assert handles._thread.daemon  # or it would keep the process, waiting for an entry
    for _ in range(3_000):
        handles._room.release()
    handles._thread.join(10)
    assert not handles._thread.is_alive()


def test_rows_of_list_can_be_read_back(tmp_path: Path) -> None:
    row = json.dumps({"source_handle": "nasa", "handle": "esa"})
    assert read(tmp_path, row + "\n") == ["esa"]
