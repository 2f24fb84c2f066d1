"""Every path is walked with a marked key, and all that anybody could find afterwards is searched.

The server is as bad as can be: it puts the key it was sent into every text of every answer.
"""

import asyncio
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from cli_runs import make_environment, run, run_process
from raw_server import Connection, respond, serve

from tiktok_following import (
    Event,
    FollowingClient,
    FollowingError,
    FollowingStore,
    RetryPolicy,
    Timeout,
    export,
)
from tiktok_following.sandbox import RecordedRequest, Sandbox, faults


class Marked:
    """The key, kept where no traceback shows it: in no local and no repr."""

    key = "sfk_test_Zq7mK2xV9bN4tR8wYc3L"
    shown = 8
    window = 5
    """Characters in a row of what may not show that are too many."""
    heard: ClassVar[list[Event]] = []
    """What hooks were told."""

    @classmethod
    def find(cls, text: str) -> str | None:
        hidden = cls.key[cls.shown :]
        parts = (hidden[i : i + cls.window] for i in range(len(hidden) - cls.window + 1))
        return next((f"{part} in …{text[:500]}…" for part in parts if part in text), None)


def assert_clean(*things: Any) -> None:
    """Search all that a thing shows of itself, and what it is as a pickle and a copy."""
    for thing in things:
        texts = [thing] if isinstance(thing, str) else [repr(thing), str(thing)]
        if isinstance(thing, bytes):
            texts = [thing.decode("latin-1"), thing.decode("utf-16-le", "replace")]
        elif not isinstance(thing, str):
            texts += [repr(vars(thing))] if hasattr(thing, "__dict__") else []
            texts += _write_copies(thing)
        for text in texts:
            assert Marked.find(text) is None


def _write_copies(thing: Any) -> Iterator[str]:
    try:
        yield pickle.dumps(thing).decode("latin-1")
        yield repr(copy.deepcopy(thing))
    except (TypeError, pickle.PicklingError, AttributeError):
        pass  # what cannot be copied, such as a client, gets nowhere


def assert_error_clean(error: BaseException) -> None:
    """Search an error, its causes and contexts, and the locals of all their frames."""
    link: BaseException | None = error
    while link is not None:
        assert_clean(link, *link.args)
        shown = traceback.TracebackException.from_exception(link, capture_locals=True)
        assert_clean("".join(shown.format()))
        link = link.__cause__ or link.__context__


def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Put the key into every text of a body, and beside it."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()} | {Marked.key: Marked.key}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        is_word = value in {"found", "hidden", "ok"} or not isinstance(value, str)
        return value if is_word or value[:4].isdigit() else f"{value} {Marked.key}"

    return {"data": fill(body["data"]), "meta": fill(body["meta"])}


ERRORS = {
    **{f"s{n}": faults.status(n, message=f"no {Marked.key}") for n in (400, 404, 500, 502)},
    "html": faults.html(504, text=Marked.key),
    "shape": faults.raw(b'{"data":"%b"}' % Marked.key.encode()),
    "escaped": faults.raw(b'{"data":"%b"}' % b"".join(b"\\u%04x" % c for c in Marked.key.encode())),
    "lost": faults.drop_after(reset=True),
    "short": faults.truncated(),
    "slow": faults.slow(5),
    "bomb": faults.gzip_bomb(34 * 2**20),
}


def choose(request: RecordedRequest) -> faults.Fault | None:
    if request.route != "following":
        return faults.reshaped(echo) if request.route != "health" else None
    return ERRORS.get(request.handle or "", faults.reshaped(echo))


def refuse(code: int) -> faults.Fault:
    url = f"https://pay.test/{Marked.key}"
    return faults.status(
        code, message=Marked.key, code=Marked.key, checkout_url=url, retry_after=900
    )


@pytest.fixture
def server() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.add_key(Marked.key, 10_000)
        running.script_by(choose)
        yield running


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp.client", "aiohttp.internal", "tiktok_following"):
        caplog.set_level(logging.DEBUG, logger=name)
    Marked.heard.clear()
    yield caplog
    assert caplog.records
    assert Marked.heard
    for event in Marked.heard:
        assert_clean(event, event.to_dict())
    assert_clean(caplog.text, *(record.__dict__ for record in caplog.records))


def make(server: Sandbox, **options: Any) -> FollowingClient:
    asyncio.get_running_loop().set_debug(True)
    given = {"base_url": server.base_url, "retry": RetryPolicy.none()}
    options = {"on_event": Marked.heard.append, **options}
    return FollowingClient(Marked.key, **{**given, "timeout": Timeout(read=0.2), **options})


@pytest.mark.usefixtures("log")
async def test_a_client_and_what_it_gives_hold_no_key(server: Sandbox) -> None:
    async with make(server) as client:
        pager = client.following("nasa", max_pages=2)
        given = [await client.following_page("nasa"), await pager.collect(), pager, pager.partial]
        given += [await client.balance(), await client.whoami(), await client.health()]
        given += [client, client.usage, client.throttle, client.with_options(max_credits=1)]
        assert_clean(*given)
        assert "sfk_test…" in given[0].accounts[0].handle
        assert "sfk_test…" in given[0].request_id
        part = client._engine
        assert_clean(part, part.transport, part.transport._session, part._pipeline)


@pytest.mark.parametrize("handle", ERRORS)
@pytest.mark.usefixtures("log")
async def test_no_error_holds_the_key(server: Sandbox, handle: str) -> None:
    async with make(server) as client:
        for work in (client.following_page(handle), client.following(handle).collect()):
            with pytest.raises(FollowingError) as caught:
                await work
            assert_error_clean(caught.value)


@pytest.mark.parametrize("code", [401, 402, 403, 429, 503])
@pytest.mark.usefixtures("log")
async def test_no_refusal_holds_the_key(server: Sandbox, code: int) -> None:
    server.script_by(lambda _: refuse(code))
    async with make(server) as client:
        for work in (client.following_page("nasa"), client.balance(), client.whoami()):
            with pytest.raises(FollowingError) as caught:
                await work
            assert_error_clean(caught.value)


@pytest.mark.usefixtures("log")
async def test_what_was_cancelled_or_came_too_late_holds_no_key(server: Sandbox) -> None:
    async with make(server, timeout=Timeout(), deadline=0.05) as client:
        task = asyncio.create_task(client.with_options(deadline=None).following_page("slow"))
        with pytest.raises(FollowingError) as late:
            await client.following_page("slow")
        assert_error_clean(late.value)
        assert_clean(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert_error_clean(cancelled.value)


@pytest.mark.usefixtures("log")
async def test_a_session_of_the_user_shows_no_key(server: Sandbox) -> None:
    seen: list[Any] = []

    async def note(_session: Any, _context: Any, params: Any) -> None:
        seen.append(params)

    trace = aiohttp.TraceConfig()
    for signal in (trace.on_request_start, trace.on_request_end, trace.on_request_exception):
        signal.append(note)
    async with aiohttp.ClientSession(trace_configs=[trace], trust_env=True) as session:
        client = make(server, session=session)
        page = await client.following_page("nasa")
        with pytest.raises(FollowingError) as caught:
            await client.following_page("lost")
        assert_clean(page, client)
        assert_error_clean(caught.value)
        assert Marked.find(repr(session.headers)) is None
    assert seen
    assert all(Marked.find(repr(params)) is None for params in seen)


@pytest.mark.usefixtures("log")
async def test_a_proxy_is_not_shown_the_key(
    server: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(respond(b"", status="407 Proxy Authentication Required"))

    async with serve(hang_up) as proxy:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        for is_trusted in (False, True):
            url = "https://api.invalid"
            async with make(server, base_url=url, trust_env=is_trusted) as client:
                with pytest.raises(FollowingError) as caught:
                    await client.following_page("nasa")
            assert_error_clean(caught.value)
            assert len(proxy.requests) == is_trusted
        assert_clean(*proxy.requests)
    assert server.requests == []


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_a_netrc_file_is_never_read(
    server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password pa55word\ndefault login me password x\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    async with make(server, trust_env=is_trusted) as client:
        await client.following_page("nasa")
    async with aiohttp.ClientSession(trust_env=True) as session:
        await make(server, session=session).following_page("nasa")
    ours, theirs = server.requests
    assert "Authorization" not in ours.headers
    assert theirs.headers["Authorization"].startswith("Basic ")  # so the file was there to be read


def scan_files(folder: Path) -> set[str]:
    names = set()
    for path in folder.rglob("*"):
        if path.is_file():
            assert_clean(path.name, path.read_bytes())
            names.add(path.name)
    return names


@pytest.mark.usefixtures("log")
async def test_a_run_its_store_and_its_exports_hold_no_key(server: Sandbox, tmp_path: Path) -> None:
    store = tmp_path / "following.db"
    failing = set(ERRORS) - {"s404"}  # which would end the run
    async with make(server) as client:
        async with client.following_many(["nasa", "hidden.profile", *failing], store=store) as run:
            outcomes = []
            async for outcome in run:
                outcomes.append(outcome)
                names = scan_files(tmp_path)
            assert_clean(run, run.progress)
        assert {"following.db", "following.db-wal"} <= names
        assert {outcome.handle for outcome in outcomes if outcome.error} == failing
        assert_clean(run.summary, *outcomes)
        for outcome in outcomes:
            if outcome.error is not None:
                assert_error_clean(outcome.error)
    with FollowingStore(store) as opened:
        assert_clean(opened, opened.summary(), *opened.lookups(), *opened.runs(), *opened.pages())
    for suffix in ("jsonl", "csv", "parquet"):
        export(store, tmp_path / f"rows.{suffix}")
        export(store, tmp_path / f"edges.{suffix}", edges=True)
    assert len(scan_files(tmp_path)) >= 7


COMMANDS = [
    *(("list", "nasa", "--max-pages", "2", "--format", each) for each in ("table", "jsonl", "csv")),
    *(("list", handle, "-v") for handle in ("s400", "s500", "shape", "lost", "html")),
    *(("balance", "-v"), ("balance", "--json"), ("whoami",), ("whoami", "--json", "-v")),
    ("bulk", "handles.txt", "--store", "f.db", "--jsonl", "rows.jsonl", "-v"),
    ("bulk", "handles.txt", "--store", "f.db", "--retry-failed", "--jsonl", "-", "-v"),
    ("bulk", "handles.txt", "--store", "g.db", "--dry-run", "--sample", "2"),
    *(("status", "f.db"), ("status", "f.db", "--json"), ("export", "f.db", "rows.csv")),
]


def test_no_command_shows_the_key_or_leaves_it_anywhere(
    server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("handles.txt").write_text("nasa\ns400\nshape\nhtml\nbad handle\nescaped\n")
    settings = {"SOCIALFETCH_API_KEY": Marked.key, "SOCIALFETCH_BASE_URL": server.base_url}
    for command in COMMANDS:
        result = run(*command, settings={**settings, "FORCE_COLOR": ""})
        assert result.out + result.err
        assert_clean(result.out, result.err)
    server.script_by(lambda _: faults.status(401, message=f"who is {Marked.key}?"))
    refused = run_process("list", "nasa", "-v", settings=settings)
    assert refused.code == 3
    assert_clean(refused.out, refused.err)
    assert {"f.db", "rows.jsonl", "rows.csv"} <= scan_files(tmp_path)


STARTS = {"subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system"}
WATCH = f"""
import os, sys
def watch(event, told):
    if event in {STARTS}:
        os.write(2, b"CHILD")
    elif event == "os.putenv":
        os.write(2, repr(told).encode())
sys.addaudithook(watch)
from tiktok_following._cli import main
main()
"""


def test_no_child_is_given_the_key(server: Sandbox, tmp_path: Path) -> None:
    settings = {"SOCIALFETCH_API_KEY": Marked.key, "SOCIALFETCH_BASE_URL": server.base_url}
    (tmp_path / "handles.txt").write_text("nasa\n")
    for command in (("list", "nasa"), ("bulk", "handles.txt", "--store", "f.db"), ("whoami",)):
        done = subprocess.run(
            [sys.executable, "-c", WATCH, *command],
            cwd=tmp_path,
            env=make_environment({**settings, "PYTHONPATH": os.pathsep.join(sys.path)}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "CHILD" not in done.stderr
        assert_clean(done.stderr)


async def test_a_key_that_was_passed_is_in_no_environment(server: Sandbox) -> None:
    async with make(server) as client:
        await client.following_page("nasa")
        shown = "import os, json; print(json.dumps(dict(os.environ)))"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", shown, stdout=asyncio.subprocess.PIPE
        )
        written, _ = await child.communicate()
    assert json.loads(written)
    assert_clean(written, dict(os.environ))
