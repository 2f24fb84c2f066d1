"""The client without a loop: the same as with one, for scripts, notebooks and threads."""

import asyncio
import gc
import inspect
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self, get_type_hints

import aiohttp
import pytest
from cli_runs import make_environment, point_to

import tiktok_following
from tiktok_following import (
    ClientClosedError,
    ConfigurationError,
    Event,
    FollowingError,
    FollowingStore,
    InsufficientCreditsError,
    InvalidHandleError,
    LimitChanged,
    RetryPolicy,
    RunProgress,
    WrongLoopError,
    WrongProcessError,
    _loop_thread,
    sync,
)
from tiktok_following._handle_relay import HandleRelay, _settle
from tiktok_following._lock import StoreLock
from tiktok_following._loop_thread import LoopThread
from tiktok_following.sandbox import Gate, Sandbox, faults
from tiktok_following.sync import FollowingClient

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (tiktok_following.FollowingClient, sync.FollowingClient),
    (tiktok_following.FollowingPager, sync.FollowingPager),
    (tiktok_following.FollowingRun, sync.FollowingRun),
]
QUICK_RETRY = RetryPolicy(initial_backoff=0.001, max_backoff=0.01)
CLIENT_THREAD = "following-client"


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def make(api: Sandbox) -> Iterator[Callable[..., FollowingClient]]:
    clients: list[FollowingClient] = []

    def make_client(**options: Any) -> FollowingClient:
        given = {"base_url": api.base_url, "retry": QUICK_RETRY, **options}
        clients.append(FollowingClient(given.pop("api_key", api.api_key), **given))
        return clients[-1]

    yield make_client
    for client in clients:
        client.close()
    assert CLIENT_THREAD not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def client(make: Callable[..., FollowingClient]) -> FollowingClient:
    return make()


# The same names, the same parameters


def list_public(cls: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS)
def test_every_public_name_has_its_partner_with_the_same_parameters(
    asynchronous: type[Any], synchronous: type[Any]
) -> None:
    theirs, ours = list_public(asynchronous), list_public(synchronous)
    assert theirs.keys() == ours.keys()
    for name in ("__init__", *theirs) if "Client" in asynchronous.__name__ else theirs:
        their, our = getattr(asynchronous, name), getattr(synchronous, name)
        if isinstance(their, property):
            their, our = their.fget, our.fget
        assert show_parameters(our) == show_parameters(their), name
        if inspect.iscoroutinefunction(their) or name in {"usage", "complete", "stopped_by"}:
            assert show_returned(our) == show_returned(their), name


def show_returned(function: Any) -> str:
    return str(get_type_hints(function)["return"])


def show_parameters(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [str(each) for each in parameters]


def test_its_public_names_are_these_and_documented() -> None:
    assert sync.__all__ == [ours.__name__ for _, ours in PAIRS]
    for _, ours in PAIRS:
        assert inspect.getdoc(ours)
        assert all(inspect.getdoc(value) for value in list_public(ours).values())


# What it does


def test_one_page_and_the_free_routes(client: FollowingClient, api: Sandbox) -> None:
    with client:
        page = client.following_page("@nasa", trim=True)
        assert (len(page.accounts), page.has_more) == (30, True)
        assert client.following_page("nasa", cursor=page.next_cursor).cursor == page.next_cursor
        assert client.balance().balance == api.credits_left
        assert client.whoami().id
        assert client.health() is True
        assert client.usage.credits_charged == 2
        assert client.throttle.in_flight == 0
    assert client.usage.credits_charged == 2


def test_a_pager_is_iterated_goes_on_and_tells(client: FollowingClient) -> None:
    pager = client.following("@nasa", limit=40)
    assert (pager.handle, pager.status, pager.total, pager.cursor) == ("nasa", None, None, None)
    first = next(pager)
    pages = pager.pages()
    page = next(pages)
    assert page.accounts[0] == first
    assert (pager.status, pager.total, pager.complete) == ("found", 95, False)
    assert pager.cursor == page.next_cursor
    assert len(list(pager)) == 10
    assert list(pages) == []
    assert pager.usage.credits_charged == 2
    assert repr(pager) == "<FollowingPager nasa: 40 rows of 2 pages>"


def test_collect_gives_all_and_an_error_has_what_came_before(
    client: FollowingClient, api: Sandbox
) -> None:
    following = client.following("nasa").collect()
    assert (following.complete, len(following.accounts)) == (True, 95)
    api.script(faults.priced(1), faults.status(402))
    pager = client.following("nasa")
    with pytest.raises(InsufficientCreditsError) as caught:
        pager.collect()
    assert caught.value.partial is not None
    assert len(caught.value.partial.accounts) == len(pager.partial.accounts) == 30


def test_errors_are_those_of_the_asyncio_client(make: Callable[..., FollowingClient]) -> None:
    client = make(max_credits=1)
    with pytest.raises(InvalidHandleError):
        client.following_page("not a handle")
    with pytest.raises(ConfigurationError):
        client.following("nasa", limit=-1)
    with pytest.raises(ConfigurationError, match="handles are many"):
        client.following_many("nasa")
    with pytest.raises(TypeError, match="no_such_option"):
        client.following_page("nasa", no_such_option=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="no API key"):
        FollowingClient()


async def test_a_session_of_a_loop_is_refused() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="use the asyncio client"):
            FollowingClient("sfk_test_session", session=session)


def test_options_can_be_varied_and_closing_that_closes_nothing(
    make: Callable[..., FollowingClient],
) -> None:
    client = make(max_credits=3)
    with client.with_options(max_credits=1, deadline=None) as careful:
        careful.following_page("nasa")
        with pytest.raises(FollowingError, match="credit"):
            careful.following_page("nasa")
    client.following_page("nasa")
    assert (client.usage.credits_charged, careful.usage.credits_charged) == (2, 1)


def test_it_can_be_neither_pickled_nor_read_for_its_key(client: FollowingClient) -> None:
    for thing in (client, client.following("nasa"), client.following_many([])):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing)
    assert repr(client).startswith("<FollowingClient http://127.0.0.1:")
    with pytest.raises(ConfigurationError) as caught:
        FollowingClient("sfk_test_with space_and_more")
    frames = inspect.getinnerframes(caught.value.__traceback__)  # type: ignore[arg-type]
    shown = [repr(frame.frame.f_locals) for frame in frames if "tiktok" in frame.filename]
    assert not any("space_and_more" in text for text in shown[1:])


# Many handles


def test_a_run_gives_outcomes_and_its_summary(client: FollowingClient, tmp_path: Path) -> None:
    path, seen = tmp_path / "a.db", list[RunProgress]()
    names = ["nasa", "NASA", "hidden.profile", "not a handle"]
    with client.following_many(names, store=path, on_progress=seen.append) as run:
        assert run.progress.total == 4
        outcomes = {outcome.handle: outcome for outcome in run}
        assert run.usage.credits_charged == 5
    assert (len(outcomes["nasa"].accounts), outcomes["hidden.profile"].status) == (95, "hidden")
    assert isinstance(outcomes[None].error, InvalidHandleError)
    assert (run.summary.progress.skipped, run.summary.stopped_by) == (1, None)
    assert (run.stopped_by, run.previous_at_risk) == (None, 0)
    assert seen[-1].done == 2
    with FollowingStore(path) as store, client.following_many(names, store=path) as again:
        assert all(outcome.from_store for outcome in again if outcome.handle)
        assert store.summary().pages == 5


def test_a_run_gives_pages_until_it_is_stopped(client: FollowingClient) -> None:
    outcomes = list[Any]()
    with client.following_many(["large.profile", "nasa"], concurrency=1) as run:
        for page in run.pages(on_outcome=outcomes.append):
            assert page.handle == "large.profile"
            run.stop()
    assert run.stopped_by == "user"
    assert [outcome.handle for outcome in outcomes] == ["large.profile"]


def test_handles_without_a_length_are_read_on_the_thread_that_waits(
    client: FollowingClient,
) -> None:
    threads = set[threading.Thread]()

    def read() -> Iterator[str]:
        for number in range(450):
            threads.add(threading.current_thread())
            yield f"some.{number % 3}"
        yield "empty.profile"

    with client.following_many(read(), ordered=True, max_pages=1) as run:
        handles = [outcome.handle for outcome in run]
    assert handles == ["some.0", "some.1", "some.2", "empty.profile"]
    assert threads == {threading.current_thread()}


async def test_async_handles_are_read_on_the_loop(client: FollowingClient) -> None:
    async def read() -> Any:
        yield "empty.profile"

    with client.following_many(read()) as run:
        assert [outcome.handle for outcome in run] == ["empty.profile"]


def test_an_outcome_does_not_wait_for_handles_that_are_not_there_yet(
    client: FollowingClient,
) -> None:
    """As when somebody types them: each is answered before the next one is asked for."""
    answered, answered_before = list[Any](), list[int]()

    def read() -> Iterator[str]:
        for number in range(5):
            answered_before.append(len(answered))
            yield f"some.{number}"

    with client.following_many(read(), concurrency=1, max_pages=1) as run:
        for outcome in run:
            answered.append(outcome)
    assert len(answered) == 5
    assert answered_before == [0, 1, 2, 3, 4]


def test_what_the_handles_raise_ends_the_run(client: FollowingClient) -> None:
    def read() -> Iterator[str]:
        yield "empty.profile"
        raise OSError("the disk is gone")

    handles = list[Any]()

    def use() -> None:
        with client.following_many(read()) as run:
            handles.extend(outcome.handle for outcome in run)

    with pytest.raises(OSError, match="the disk is gone"):
        use()
    assert handles == ["empty.profile"]


def test_leaving_a_run_early_reads_no_more_handles(client: FollowingClient) -> None:
    def read() -> Iterator[str]:
        yield "empty.profile"
        pytest.fail("somebody read on")

    with client.following_many(read(), concurrency=1) as run:
        assert next(run).handle == "empty.profile"
    assert run.stopped_by == "user"


# Threads and loops


def test_threads_share_a_client(make: Callable[..., FollowingClient], api: Sandbox) -> None:
    client = make(max_credits=40)
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda n: client.following_page(f"some.{n}"), range(40)))
    assert len({page.handle for page in pages}) == 40
    assert client.usage.credits_charged == api.credits_charged == 40


def test_threads_share_a_run_whose_handles_are_read_by_one_at_a_time(
    client: FollowingClient,
) -> None:
    names = (f"some.{number}" for number in range(300))
    with client.following_many(names, max_pages=1) as run, ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: [outcome.handle for outcome in run], range(4)))
    assert len({handle for part in taken for handle in part}) == 300


async def test_it_works_where_a_loop_is_running(client: FollowingClient) -> None:
    assert asyncio.get_running_loop().is_running()
    with client:
        assert len(client.following("nasa").collect().accounts) == 95


async def test_it_can_be_used_beside_a_running_loop(client: FollowingClient) -> None:
    page = await asyncio.to_thread(client.following_page, "nasa")
    assert page.handle == "nasa"


def test_a_callback_that_would_wait_for_itself_is_told(client: FollowingClient) -> None:
    errors = list[FollowingError]()

    def ask(progress: RunProgress) -> None:
        assert run.progress.done == progress.done  # what only looks is fine
        with pytest.raises(WrongLoopError, match="wait for itself") as caught:
            client.health()
        errors.append(caught.value)
        run.stop()

    with client.following_many(["nasa"], on_progress=ask) as run:
        list(run)
    assert errors


def test_a_callback_may_close_the_client(client: FollowingClient, api: Sandbox) -> None:
    api.script(faults.hold(Gate()))  # so that there is something to wait for when it does

    def use() -> None:
        with client.following_many(
            ["nasa"], stall_timeout=1.0, on_progress=lambda _: client.close()
        ) as run:
            list(run)

    with pytest.raises(ClientClosedError):
        use()


def test_handles_that_are_interrupted_while_they_are_read_can_be_read_on(
    client: FollowingClient,
) -> None:
    class Handles:
        left: ClassVar = ["some.b", KeyboardInterrupt, "some.a"]

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> str:
            if not self.left:
                raise StopIteration
            given = self.left.pop()
            if given is KeyboardInterrupt:
                raise KeyboardInterrupt
            return str(given)

    with client.following_many(Handles(), concurrency=1, max_pages=1) as run:
        assert next(run).handle == "some.a"
        with pytest.raises(KeyboardInterrupt):
            next(run)
        assert next(run).handle == "some.b"
        assert list(run) == []


# Every end


def test_a_closed_client_says_so_and_may_be_closed_again(client: FollowingClient) -> None:
    with client:
        pager = client.following("nasa")
    client.close()
    for use in (client.balance, client.__enter__, pager.collect, pager.next_page):
        with pytest.raises(ClientClosedError):
            use()
    assert pager.partial.accounts == []


def test_a_run_whose_client_was_closed_lets_go_of_its_store(
    client: FollowingClient, tmp_path: Path
) -> None:
    file = tmp_path / "f.db"
    with client.following_many(["nasa"], store=file):
        client.close()
    with FollowingStore(file) as store:
        (run,) = store.runs()
    assert (run.stopped_by, run.ended_at is not None) == ("user", True)
    StoreLock(file, "f.db").release()
    assert CLIENT_THREAD not in {thread.name for thread in threading.enumerate()}


def test_an_interrupted_run_whose_client_was_closed_lets_go_of_its_store(
    client: FollowingClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, interruptions = tmp_path / "f.db", [KeyboardInterrupt]

    def join(home: _loop_thread._Home) -> None:  # while the end of the client is waited for
        if interruptions:
            raise interruptions.pop()
        wait_for_home(home)

    def use() -> None:
        with client.following_many(["nasa"], store=file):
            client.close()
            monkeypatch.setattr(_loop_thread._Home, "join", join)

    wait_for_home = _loop_thread._Home.join
    with pytest.raises(KeyboardInterrupt):
        use()
    with FollowingStore(file) as store:
        (run,) = store.runs()
    assert (run.stopped_by, run.ended_at is not None) == ("cancelled", True)
    StoreLock(file, "f.db").release()


def test_a_run_whose_client_another_thread_closes_ends(
    client: FollowingClient, api: Sandbox, tmp_path: Path
) -> None:
    file, gate = tmp_path / "f.db", Gate()
    api.script(faults.hold(gate))

    def take(run: sync.FollowingRun) -> None:
        with run:
            next(run)

    with ThreadPoolExecutor(2) as pool:
        taking = pool.submit(take, client.following_many(["nasa"], store=file))
        asyncio.run(gate.reached())
        client.close()
        with pytest.raises(ClientClosedError):
            taking.result(20)
    with FollowingStore(file) as store:
        (run,) = store.runs()
    assert (run.stopped_by, run.credits_at_risk) == ("cancelled", 1)
    StoreLock(file, "f.db").release()


def test_handles_that_raise_what_a_closed_client_does_close_no_client(
    client: FollowingClient,
) -> None:
    def read() -> Iterator[str]:
        yield "nasa"
        raise ClientClosedError("another client is closed")

    with pytest.raises(ClientClosedError, match="another"), client.following_many(read()) as run:
        list(run)
    assert client.health()


def test_closing_ends_what_other_threads_wait_for(client: FollowingClient, api: Sandbox) -> None:
    gate = Gate()
    api.script(faults.hold(gate))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client.following_page, "nasa")
        asyncio.run(gate.reached())
        client.close()
        with pytest.raises(FollowingError):
            waiting.result()


def test_closing_cancels_what_does_not_end_by_itself(client: FollowingClient) -> None:
    begun = threading.Event()

    async def stay() -> None:
        begun.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client._thread.run, stay())
        assert begun.wait(20)
        client.close()
        with pytest.raises(ClientClosedError):
            waiting.result(20)


def test_a_client_that_nobody_has_any_more_ends_its_thread(
    make: Callable[..., FollowingClient], api: Sandbox
) -> None:
    client = FollowingClient(api.api_key, base_url=api.base_url)
    pager = client.following("nasa")
    client_is_gone = weakref.ref(client)
    del client
    assert client_is_gone() is None
    next(pager)  # a pager keeps the loop
    (thread,) = (each for each in threading.enumerate() if each.name == CLIENT_THREAD)
    del pager
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()
    make()


def test_what_nobody_closed_is_closed_at_the_end(client: FollowingClient) -> None:
    assert client.health()
    _loop_thread._close_all()
    with pytest.raises(ClientClosedError):
        client.health()


def test_an_interruption_before_anything_was_begun_leaves_nothing(client: FollowingClient) -> None:
    """Ctrl-C comes between any two steps, so also between these."""

    async def never() -> None:
        pytest.fail("it was begun")

    call = _loop_thread._Call(never())
    client._thread._end(call)
    client.close()
    client._thread._end(call)


def test_a_thread_that_comes_second_reads_no_handle() -> None:
    relay = HandleRelay.make(iter(["nasa"]))
    assert relay is not None
    relay.serve()
    assert not relay.wants()


def test_a_watcher_that_ends_the_program_leaves_every_page_in_the_books(
    make: Callable[..., FollowingClient], api: Sandbox
) -> None:
    ended = list[str]()

    def end(event: Event) -> None:
        if isinstance(event, LimitChanged):
            ended.append(event.name)
            raise SystemExit

    client = make(on_event=end, max_credits=100)

    api.script_by(lambda request: faults.slow(0.03) if request.handle else None)

    def buy(number: int) -> None:
        with suppress(SystemExit):
            client.following_page(f"short{number}")

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(buy, range(60)))
    assert ended
    assert client.usage.credits_charged == api.credits_charged == 60
    assert (client.usage.credits_reserved, client.throttle.in_flight) == (0, 0)


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_goes_from_a_callback_to_who_waits(
    client: FollowingClient, ending: type[BaseException]
) -> None:
    def end(_: RunProgress) -> None:
        raise ending

    def use() -> None:
        with client.following_many(["nasa"], on_progress=end) as run:
            list(run)

    with pytest.raises(ending):
        use()
    assert client.health()


def test_a_copy_in_a_forked_process_is_refused(client: FollowingClient) -> None:
    assert client.health()
    client._thread.become_copy()
    for use in (client.health, client.close, client.following("nasa").collect):
        with pytest.raises(WrongProcessError):
            use()
    assert client.usage.requests == 0
    client._thread.is_copy = False


# Processes: Ctrl-C, no close at all, fork


def start_script(code: str, server: Sandbox) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    head = "from tiktok_following.sync import FollowingClient\n"
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-c", head + textwrap.dedent(code)],
        env=make_environment({**point_to(server), "PYTHONPATH": os.pathsep.join(paths)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


LEFT_OPEN = {
    "never used": "client = FollowingClient()",
    "used": "client = FollowingClient(); print(len(client.following_page('nasa').accounts))",
    "in a run": """
        client = FollowingClient()
        run = client.following_many((f"some.{n}" for n in range(10**6)), store="left.db")
        run.__enter__()
        print(len([next(run) for _ in range(5)]))
    """,
    "in the middle of a request": """
        import contextlib, threading, time
        client = FollowingClient()
        client.health()
        def ask():
            with contextlib.suppress(Exception): client.following_page("nasa")
        threading.Thread(target=ask, daemon=True).start()
        while not client.throttle.in_flight: time.sleep(0.001)
    """,
    "and its executor used": """
        import asyncio
        client = FollowingClient()
        client._thread.run(asyncio.to_thread(print, "looked a name up"))
    """,
}


@pytest.mark.parametrize("how", LEFT_OPEN)
def test_a_client_left_open_ends_with_the_process(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox() as server:
        if "request" in how:
            server.script(faults.hold(Gate()))
        code, _, err = finish(start_script(LEFT_OPEN[how], server))
    assert (code, err) == (0, "")
    if "run" in how:
        with FollowingStore(tmp_path / "left.db") as store:
            (run,) = store.runs()
            assert run.stopped_by == "cancelled"
            assert store.summary().handles["complete"] >= 5


def test_ctrl_c_ends_a_run_whose_pages_under_way_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = """
        try:
            with FollowingClient() as client:
                with client.following_many(["large.profile"], store="a.db") as run:
                    print("begun", flush=True)
                    for outcome in run: pass
        except KeyboardInterrupt:
            print(run.stopped_by, client.usage.credits_reserved, client.usage.credits_at_risk)
    """
    gate = Gate()
    with Sandbox() as server:
        server.script(faults.hold(gate))
        process = start_script(script, server)
        asyncio.run(gate.reached())
        process.send_signal(signal.SIGINT)
        gate.release()
        code, out, err = finish(process)
        charged = server.credits_charged
    assert (code, err) == (0, "")
    assert out.split() == ["begun", "cancelled", "0", "0"]
    with FollowingStore(tmp_path / "a.db") as store:
        assert store.summary().credits_charged == charged


def interrupt_at_each_step(use: Callable[[], object]) -> Iterator[bool]:
    """Raise where Ctrl-C may, a step later each time, and tell whether it was; last it was not."""
    for step in range(1, 10_000):  # pragma: no branch - it ends before
        steps = iter(range(step))

        def interrupt(frame: Any, event: str, _: object, left: Iterator[int] = steps) -> None:
            is_ours = Path(frame.f_code.co_filename).parent == Path(sync.__file__).parent
            if is_ours and event != "return" and next(left, None) is None:
                sys.setprofile(None)
                raise KeyboardInterrupt

        was_interrupted = False
        sys.setprofile(interrupt)
        try:
            use()
            sys.setprofile(None)
        except KeyboardInterrupt:
            was_interrupted = True
        yield was_interrupted
        if next(steps, None) is not None:
            assert step > 10
            return


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("kind", ["rows", "pages"])
def test_ctrl_c_loses_nothing_of_a_list(client: FollowingClient, kind: str) -> None:
    expected = client.following("some.1", max_pages=1).collect().accounts
    got = list[Any]()

    def take() -> None:
        nonlocal got
        for _ in range(3):
            for thing in pager if kind == "rows" else iter(pager.next_page, None):
                got += [thing]  # not append: Ctrl-C may come before a call
                break

    pager = client.following("some.1", max_pages=1)
    for was_interrupted in interrupt_at_each_step(take):
        was_complete, before = pager.complete, len(got)
        got.extend(pager if kind == "rows" else pager.pages())
        assert not (was_interrupted and was_complete and len(got) > before)
        rows = got if kind == "rows" else [row for page in got for row in page.accounts]
        assert rows == expected
        got.clear()
        pager = client.following("some.1", max_pages=1)


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("kind", ["outcomes", "pages"])
def test_ctrl_c_loses_nothing_of_a_run(client: FollowingClient, kind: str) -> None:
    got = list[Any]()

    def take() -> None:
        nonlocal got
        for thing in run if kind == "outcomes" else run.pages():
            got += [thing]

    def make() -> sync.FollowingRun:
        return client.following_many((name for name in ("empty.profile", "some.1")), max_pages=1)

    run = make().__enter__()
    for _ in interrupt_at_each_step(take):
        take()
        run.__exit__(None, None, None)
        assert sorted(thing.handle for thing in got) == ["empty.profile", "some.1"]
        got.clear()
        run = make().__enter__()
    run.__exit__(None, None, None)


@pytest.mark.filterwarnings("ignore:coroutine")
def test_ctrl_c_while_a_run_is_entered_leaves_the_store_free(
    client: FollowingClient, tmp_path: Path
) -> None:
    def use() -> None:
        with client.following_many(["not a handle"], store=tmp_path / "a.db"):
            sys.setprofile(None)

    for _ in interrupt_at_each_step(use):
        use()


@pytest.mark.filterwarnings("ignore:coroutine")
def test_ctrl_c_while_a_run_is_left_ends_it(client: FollowingClient) -> None:
    def make() -> sync.FollowingRun:
        run = client.following_many(["nasa", "some.1", "some.2"], concurrency=1).__enter__()
        next(run)
        return run

    def leave() -> None:
        run.__exit__(None, None, None)

    run = make()
    for was_interrupted in interrupt_at_each_step(leave):
        assert (run.summary.is_over, run.progress.in_flight) == (True, 0)
        if was_interrupted:
            run = make()


AT_ANY_STEP = """
    import sys
    from contextlib import suppress
    from tiktok_following import ClientClosedError, WrongLoopError

    def handle_signal(frame, event, argument):
        global left
        left -= 1
        if left == 0:
            sys.setprofile(None)
            with suppress(WrongLoopError, ClientClosedError):  # it was starting, or at its end
                {does}

    for step in range(1, 10_000):
        left = step
        with suppress(ClientClosedError), FollowingClient() as client:
            sys.setprofile(handle_signal)
            with client.following_many((name for name in ["no handle"])) as run:
                next(run)
        sys.setprofile(None)
        if left > 0: break
    print("came in at", step - 1, "steps")
"""


@pytest.mark.parametrize("does", ["client.usage", "client.whoami()", "client.close()"])
def test_a_signal_handler_may_use_the_client_between_any_two_steps(does: str) -> None:
    """A profiler comes in where a handler would, on the thread that waits, and at will."""
    with Sandbox() as server:
        code, out, err = finish(start_script(AT_ANY_STEP.format(does=does), server))
    assert (code, err) == (0, "")
    assert int(out.split()[3]) > 50


@pytest.mark.parametrize(
    "waiting",
    [
        "client.following_page('nasa')",
        "list(client.following('nasa'))",
        "run = client.following_many(read()); next(run.__enter__())",
    ],
)
def test_ctrl_c_leaves_nothing_under_way(waiting: str) -> None:
    script = f"""
        import threading
        def read():
            print("waits", flush=True)
            threading.Event().wait()
            yield "nasa"
        client = FollowingClient()
        try:
            {waiting}
        except KeyboardInterrupt:
            used = client.usage
            print(used.credits_reserved, used.credits_at_risk, client.throttle.in_flight)
    """
    gate = Gate()
    with Sandbox() as server:
        server.script(faults.hold(gate))
        process = start_script(script, server)
        if "read" in waiting:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
        else:
            asyncio.run(gate.reached())
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert out.split() == ["0", "0" if "read" in waiting else "1", "0"]


def test_a_second_ctrl_c_leaves_at_once() -> None:
    script = """
        import threading, time
        def tell():
            while run.stopped_by is None: time.sleep(0.001)
            print("drains", flush=True)
        client = FollowingClient()
        try:
            with client.following_many(["nasa"], drain_timeout=1e6) as run:
                threading.Thread(target=tell).start()
                list(run)
        except KeyboardInterrupt:
            print(run.usage.credits_at_risk, run.stopped_by)
    """
    gate = Gate()
    with Sandbox() as server:
        server.script(faults.hold(gate))
        process = start_script(script, server)
        asyncio.run(gate.reached())
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "drains\n"
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
    assert (code, err, out.split()) == (0, "", ["1", "cancelled"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_in_a_forked_process_it_says_so_and_the_parent_goes_on() -> None:
    quiet = "import warnings; warnings.simplefilter('ignore')\n"  # of fork beside threads
    script = """
        from forked import in_child
        client = FollowingClient()
        client.health()
        print(in_child(client.health))
        print(in_child(client.close))
        print(in_child(lambda: FollowingClient().health()))
        print(client.health())
    """
    with Sandbox() as server:
        process = start_script(quiet + textwrap.dedent(script), server)
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    kinds = [line.split(":")[0] for line in out.splitlines()]
    assert kinds == ["WrongProcessError", "WrongProcessError", "True", "True"]


async def test_a_handle_that_nobody_wants_any_more_is_dropped() -> None:
    wanted = asyncio.get_running_loop().create_future()
    wanted.cancel()
    _settle(wanted, "nasa", None)
    assert wanted.cancelled()


async def close_nothing() -> None:
    pass


def test_a_signal_handler_cannot_wait_for_a_client_that_is_being_started() -> None:
    thread = LoopThread(close_nothing)
    thread._home._is_starting = True
    with pytest.raises(WrongLoopError, match="being started"):
        thread.run(close_nothing())
    thread.close()


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.parametrize("is_begun", [True, False])
def test_an_interruption_while_a_loop_is_started_hangs_nobody(
    monkeypatch: pytest.MonkeyPatch, *, is_begun: bool, is_used: bool
) -> None:
    late: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if late:
            really_start(thread)
            return
        late.append(thread)
        if is_begun:
            really_start(thread)
        raise KeyboardInterrupt

    really_start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    thread = LoopThread(close_nothing)
    with pytest.raises(KeyboardInterrupt):
        thread.run(close_nothing())
    if is_used:
        thread.run(close_nothing())
    thread.close()
    if not is_begun:
        really_start(late[0])
    late[0].join(20)
    assert CLIENT_THREAD not in {each.name for each in threading.enumerate()}


def test_a_loop_stopped_while_it_is_started_ends() -> None:
    thread = LoopThread(close_nothing)
    thread._home._is_closed = True
    thread._home._start()
    thread._home.join()
    assert thread._home._thread is not None
    assert not thread._home._thread.is_alive()
