"""A view inside: what happens is told once, to listener and log, and costs nobody a page.

What must always hold: the costs of all attempts told add up to the client's usage, whatever
happened.
"""

import asyncio
import functools
import json
import logging
import pickle
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from conftest import QUICK_RETRY, MakeClient

from tiktok_following import (
    AttemptFinished,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    Event,
    FollowingClient,
    FollowingError,
    FollowingPage,
    LimitChanged,
    LookupStatus,
    PageFetched,
    Paused,
    RetryPolicy,
    RetryScheduled,
    RunEnded,
    ServerError,
    ServiceUnavailableError,
    Timeout,
)
from tiktok_following._limits import Pause
from tiktok_following.sandbox import Fault, Gate, Sandbox, faults

KINDS = {AttemptFinished, RetryScheduled, Paused, LimitChanged, PageFetched, RunEnded}
LEVELS: dict[type[Event], int] = {
    AttemptFinished: logging.DEBUG,
    RetryScheduled: logging.DEBUG,
    Paused: logging.INFO,
    LimitChanged: logging.INFO,
    RunEnded: logging.INFO,
}
LOGGER = "tiktok_following"
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MANY = [f"profile{number}" for number in range(60)]


class Heard(list[Event]):
    """A listener that keeps all it is told."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kinds)]

    def costs(self) -> tuple[int, int]:
        told = self.of(AttemptFinished)
        return sum(it.credits_charged for it in told), sum(it.credits_at_risk for it in told)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watched(make_client: MakeClient, heard: Heard) -> FollowingClient:
    return make_client(on_event=heard, timeout=Timeout(read=0.2))


def make_every_kind() -> list[Event]:
    error = ServiceUnavailableError("busy", status_code=503, handle="nasa")
    return [
        AttemptFinished(
            url="http://127.0.0.1/health",
            handle=None,
            cursor=None,
            attempt=1,
            seconds=0.25,
            status_code=503,
            error=error,
            is_cancelled=False,
            credits_charged=0,
            credits_at_risk=0,
        ),
        RetryScheduled(handle="nasa", cursor="c1", attempt=2, seconds=0.5, error=error),
        Paused(seconds=1.5, error=error),
        LimitChanged(limit=40, before=20),
        PageFetched(
            handle="nasa",
            cursor=None,
            next_cursor="c1",
            status=LookupStatus.FOUND,
            accounts=30,
            total=95,
            credits_charged=1,
            cached=None,
            request_id="req_1",
            seconds=0.3,
        ),
        RunEnded(
            stopped_by="budget",
            error=None,
            done=1,
            failed=0,
            unfinished=2,
            skipped=0,
            from_store=0,
            pages=4,
            accounts=95,
            credits_charged=4,
            credits_at_risk=0,
            seconds=2.0,
        ),
    ]


# What is told


async def test_a_page_had_at_once_is_one_attempt_and_one_page(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    page = await watched.following_page("@nasa")
    attempt, fetched = heard
    assert isinstance(attempt, AttemptFinished)
    assert isinstance(fetched, PageFetched)
    assert attempt == AttemptFinished(
        url=f"{sandbox.base_url}/v1/tiktok/profiles/nasa/following",
        handle="nasa",
        cursor=None,
        attempt=1,
        seconds=attempt.seconds,
        status_code=200,
        error=None,
        is_cancelled=False,
        credits_charged=1,
        credits_at_risk=0,
    )
    assert fetched == PageFetched(
        handle="nasa",
        cursor=None,
        next_cursor=page.next_cursor,
        status=LookupStatus.FOUND,
        accounts=len(page.accounts),
        total=95,
        credits_charged=1,
        cached=page.cached,
        request_id=page.request_id,
        seconds=fetched.seconds,
    )
    assert 0 < attempt.seconds <= fetched.seconds


async def test_every_page_of_a_list_is_told_with_its_cursor(
    watched: FollowingClient, heard: Heard
) -> None:
    pages = [page async for page in watched.following("nasa").pages()]
    assert [it.cursor for it in heard.of(PageFetched)] == [page.cursor for page in pages]
    assert [it.cursor for it in heard.of(AttemptFinished)] == [page.cursor for page in pages]
    assert sum(it.accounts for it in heard.of(PageFetched)) == 95


async def test_a_hard_way_to_a_page_is_told_step_by_step(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=0.02), faults.status(500))
    await watched.following_page("nasa")
    assert [(type(it), getattr(it, "attempt", None)) for it in heard] == [
        (Paused, None),
        (AttemptFinished, 1),
        (RetryScheduled, 2),
        (AttemptFinished, 2),
        (RetryScheduled, 3),
        (AttemptFinished, 3),
        (PageFetched, None),
    ]
    pause, after_refusal, after_failure = heard.of(Paused, RetryScheduled)
    assert 0.02 <= pause.seconds <= 0.022
    assert after_refusal.seconds == 0
    assert 0 < after_failure.seconds <= QUICK_RETRY.initial_backoff
    assert isinstance(pause.error, ServiceUnavailableError)
    assert isinstance(after_refusal.error, ServiceUnavailableError)
    assert type(after_failure.error) is ServerError
    assert [it.status_code for it in heard.of(AttemptFinished)] == [503, 500, 200]
    assert [it.credits_at_risk for it in heard.of(AttemptFinished)] == [0, 1, 0]
    assert [it.error and it.error.may_be_charged for it in heard.of(AttemptFinished)] == [
        False,
        True,
        None,
    ]


FAULTS: list[Fault] = [
    faults.status(400),
    faults.status(402),
    faults.status(500, billed=True),
    faults.status(503, retry_after=900),
    faults.html(200),
    faults.raw(b'{"meta": {"creditsCharged": 3}}'),
    faults.priced(7),
    faults.drop_before(),
    faults.drop_after(reset=True),
    faults.truncated(),
    faults.slow(0.5),
    faults.gzip_bomb(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_what_the_attempts_told_cost_adds_up_to_the_usage(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox, fault: Fault
) -> None:
    sandbox.script(*[fault] * 9, handle="nasa")
    results = await asyncio.gather(
        *(watched.following_page(name) for name in ("nasa", "nasa", "esa")), return_exceptions=True
    )
    usage = watched.usage
    assert heard.costs() == (usage.credits_charged, usage.credits_at_risk)
    assert len(heard.of(AttemptFinished)) == usage.attempts
    assert len(heard.of(RetryScheduled)) >= usage.retries
    assert len(heard.of(PageFetched)) == sum(not isinstance(it, Exception) for it in results)


async def test_an_attempt_that_was_given_up_is_told_with_what_it_may_have_cost(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.status(500), faults.hold(gate))
    task = asyncio.create_task(watched.with_options(timeout=Timeout()).following_page("nasa"))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    failed, given_up = heard.of(AttemptFinished)
    assert (failed.is_cancelled, given_up.is_cancelled) == (False, True)
    assert (given_up.error, given_up.status_code, given_up.credits_at_risk) == (None, None, 1)
    assert heard.costs() == (0, watched.usage.credits_at_risk) == (0, 2)


async def test_an_attempt_whose_deadline_is_over_was_given_up(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate))
    with pytest.raises(TimeoutError):
        await make_client(on_event=heard, deadline=0.05).following_page("nasa")
    gate.release()
    (attempt,) = heard
    assert isinstance(attempt, AttemptFinished)
    assert attempt.is_cancelled


async def test_an_attempt_cancelled_before_it_was_sent_risks_nothing(
    watched: FollowingClient, heard: Heard
) -> None:
    task = asyncio.create_task(watched.following_page("nasa"))
    await asyncio.sleep(0)  # it has begun to connect
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = heard
    assert isinstance(attempt, AttemptFinished)
    assert (attempt.is_cancelled, attempt.credits_at_risk) == (True, 0)


async def test_who_is_heard_fails_as_who_is_not(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(500), faults.status(401))
    with pytest.raises(AuthenticationError) as caught:
        await watched.following_page("nasa")
    assert caught.value.may_be_charged  # the first attempt may have been
    last = heard.of(AttemptFinished)[-1].error
    assert (last.attempts, last.may_be_charged) == (2, False)


async def test_an_attempt_does_not_risk_again_what_the_one_before_did(
    make_client: MakeClient, sandbox: Sandbox
) -> None:
    session, heard, closing = aiohttp.ClientSession(), Heard(), list[asyncio.Task[None]]()

    def close_before_the_retry(event: Event) -> None:
        heard(event)
        if isinstance(event, RetryScheduled):
            closing.append(asyncio.create_task(session.close()))

    client = make_client(on_event=close_before_the_retry, session=session)
    sandbox.script(faults.status(500))
    with pytest.raises(ClientClosedError):
        await client.following_page("nasa")
    await asyncio.gather(*closing)
    assert [it.credits_at_risk for it in heard.of(AttemptFinished)] == [1, 0]
    assert client.usage.credits_at_risk == 1


async def test_an_attempt_on_a_session_that_was_closed_meanwhile_says_so(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox
) -> None:
    session, gate = aiohttp.ClientSession(), Gate()
    options = {"session": session, "retry": RetryPolicy.none(), "max_concurrency": 1}
    client = make_client(on_event=heard, **options)
    sandbox.script(faults.hold(gate))
    first = asyncio.create_task(client.following_page("nasa"))
    await gate.reached()
    second = asyncio.create_task(client.following_page("esa"))
    while not client.throttle.waiting:
        await asyncio.sleep(0)
    await session.close()
    gate.release()
    with pytest.raises(FollowingError):
        await first
    with pytest.raises(ClientClosedError):
        await second
    last = heard.of(AttemptFinished)[-1]
    assert (last.handle, last.is_cancelled, last.credits_at_risk) == ("esa", False, 0)
    assert isinstance(last.error, ClientClosedError)


async def test_what_is_told_adds_up_whenever_tasks_are_cancelled(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox
) -> None:
    client, chance = make_client(on_event=heard, max_concurrency=10), random.Random(7)
    gate = Gate()
    sandbox.script(faults.hold(gate), handle="esa")
    held = asyncio.create_task(client.following_page("esa"))
    await gate.reached()
    held.cancel()  # of the others, chance tells which are cancelled while they are sent
    await asyncio.wait([held])
    gate.release()
    sandbox.script(*(faults.status(500), faults.status(503, retry_after=0.005)) * 10)
    tasks = [asyncio.create_task(client.following_page("nasa")) for _ in range(100)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        chance.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    usage, told = client.usage, heard.of(AttemptFinished)
    assert any(it.is_cancelled for it in told)
    assert len(told) == usage.attempts
    assert heard.costs() == (usage.credits_charged, usage.credits_at_risk)
    pages = [it for it in results if isinstance(it, FollowingPage)]
    assert len(heard.of(PageFetched)) == len(pages)


async def test_free_calls_are_told_too_and_cost_nothing(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.raw(b'{"meta": {"creditsCharged": 3}}'), route="balance")
    sandbox.script(faults.hold(gate), route="whoami")
    with pytest.raises(FollowingError):
        await watched.balance()
    task = asyncio.create_task(watched.whoami())
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    assert await watched.health()
    assert [it.url.removeprefix(sandbox.base_url) for it in heard.of(AttemptFinished)] == [
        "/v1/balance",
        "/v1/whoami",
        "/health",
    ]
    assert {it.handle for it in heard.of(AttemptFinished)} == {None}
    assert heard.costs() == (0, 0)
    assert not heard.of(PageFetched)


async def test_clients_made_from_one_tell_the_same_listener(
    watched: FollowingClient, heard: Heard
) -> None:
    await watched.with_options(max_credits=5).following_page("nasa")
    assert len(heard.of(PageFetched)) == 1


def test_a_pause_is_told_when_it_begins_and_when_it_lasts_a_second_longer() -> None:
    told: list[tuple[float, float]] = []
    reason, now = ServiceUnavailableError("busy", status_code=503), 0.0

    def tell(event: Event) -> None:
        assert isinstance(event, Paused)
        assert event.error is reason
        told.append((now, event.seconds))

    pause = Pause(tell)
    first = ((0, 2), (0.1, 2), (0.5, 2), (0.9, 2.2), (1.5, 0.1))
    others = ((4, 2), (4.1, 60), (64.2, 0.1), (64.3, 0.1))
    for now, seconds in (*first, *others):
        pause.begin(now, seconds, reason, 0.05)
    assert told == [(0, 2.05), (0.9, 2.25), (4, 2.05), (4.1, 60.05), (64.2, 0.1 + 0.05)]


async def test_a_growing_limit_and_the_end_of_a_run_are_told(
    make_client: MakeClient, heard: Heard
) -> None:
    client = make_client(on_event=heard)
    async with client.following_many(MANY, max_pages=2) as run:
        outcomes = [outcome async for outcome in run]
    changes = heard.of(LimitChanged)
    assert [(it.before, it.limit) for it in changes][:2] == [(20, 40), (40, 80)]
    assert changes[-1].limit == client.throttle.limit
    (end,) = heard.of(RunEnded)
    assert heard[-1] is end
    summary, usage = run.summary, run.usage
    assert (end.stopped_by, end.error, end.seconds) == (None, None, summary.progress.seconds)
    assert (end.done, end.failed, end.unfinished, end.skipped) == (len(outcomes), 0, 0, 0)
    assert (end.pages, end.accounts) == (summary.progress.pages, summary.progress.accounts)
    assert (end.credits_charged, end.credits_at_risk) == (usage.credits_charged, 0)
    assert end.pages == len(heard.of(PageFetched)) == heard.costs()[0]


async def test_a_limit_that_is_the_most_there_may_be_is_not_told_again(
    make_client: MakeClient, heard: Heard
) -> None:
    client = make_client(on_event=heard, max_concurrency=20)
    async with client.following_many(MANY, max_pages=1) as run:
        assert len([outcome async for outcome in run]) == 60
    assert heard.of(LimitChanged) == []


async def test_a_limit_that_a_burst_of_refusals_cut_is_told_once(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox
) -> None:
    client, gate = make_client(on_event=heard, max_concurrency=10), Gate()
    sandbox.script(*(faults.hold(gate, then=faults.status(503, retry_after=0.01)),) * 10)
    pages = [asyncio.create_task(client.following_page("nasa")) for _ in range(10)]
    await gate.reached(10)
    gate.release()
    await asyncio.gather(*pages)
    cuts = [it for it in heard.of(LimitChanged) if it.limit < it.before]
    assert cuts == [LimitChanged(limit=4, before=10)]


async def test_a_run_that_was_stopped_says_by_what(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox
) -> None:
    client = make_client(on_event=heard)
    sandbox.credits_left = 3
    async with client.following_many(MANY) as run:
        assert [outcome async for outcome in run]
    (end,) = heard.of(RunEnded)
    assert end.stopped_by == run.stopped_by == "out_of_credits"
    assert type(end.error) is type(run.summary.error)
    assert end.unfinished == run.progress.unfinished > 0


async def test_a_run_that_never_began_ends_all_the_same(
    make_client: MakeClient, heard: Heard
) -> None:
    async with make_client(on_event=heard).following_many(MANY):
        pass
    (end,) = heard
    assert isinstance(end, RunEnded)
    assert (end.stopped_by, end.pages) == ("user", 0)


async def test_pages_of_a_store_are_not_told_as_bought(
    make_client: MakeClient, heard: Heard, tmp_path: Path
) -> None:
    for client in (make_client(), make_client(on_event=heard)):
        async with client.following_many(["nasa"], store=tmp_path / "following.db") as run:
            assert len([page async for page in run.pages()]) == 4
    (end,) = heard
    assert isinstance(end, RunEnded)
    assert (end.from_store, end.pages, end.credits_charged) == (1, 0, 0)


# Events as values


def test_every_kind_of_event_is_known_here() -> None:
    assert {type(event) for event in make_every_kind()} == KINDS == set(Event.__subclasses__())


def test_the_readme_names_every_kind_its_level_and_its_fields() -> None:
    for kind in KINDS:
        row = rf"^\| `{kind.__name__}` \| (\w*) ?\|.*\| (.*) \|$"
        ((level, fields),) = re.findall(row, README, re.MULTILINE)
        assert re.findall(r"`(\w+)`", fields) == [field.name for field in attrs.fields(kind)]
        assert level == ("" if kind is PageFetched else logging.getLevelName(LEVELS[kind]))


@pytest.mark.parametrize("event", make_every_kind(), ids=lambda event: event.name)
def test_an_event_can_be_kept_pickled_and_written_down(event: Event) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.seconds = 1  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(event))
    assert again.to_dict() == event.to_dict()
    plain = json.loads(json.dumps(event.to_dict()))
    assert plain == event.to_dict()
    fields = {field.name for field in attrs.fields(type(event))}
    assert set(plain) - {"event", "error_type"} == fields
    assert plain["event"] == event.name


def test_an_error_is_written_down_as_text_and_class() -> None:
    plain = make_every_kind()[2].to_dict()
    assert plain == {
        "event": "paused",
        "seconds": 1.5,
        "error": "busy (HTTP 503, handle 'nasa')",
        "error_type": "ServiceUnavailableError",
    }


async def test_the_errors_of_events_hold_no_frames(
    watched: FollowingClient, heard: Heard, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=0), faults.drop_after(), faults.status(401))
    with pytest.raises(FollowingError) as caught:
        await watched.following_page("nasa")
    errors = [event.error for event in heard.of(AttemptFinished, RetryScheduled, Paused)]
    assert len(errors) == 6
    for error in errors:
        assert error is not caught.value
        assert error.__traceback__ is None
        assert error.__cause__ is None
        assert error.__context__ is None


# Listeners


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_listener_that_fails_breaks_nothing_and_is_logged_once_for_each_kind(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    told: list[Event] = []

    def fail(event: Event) -> None:
        told.append(event)
        raise error

    client = make_client(on_event=fail)
    async with client.following_many(MANY[:5], max_pages=1) as run:
        outcomes = [outcome async for outcome in run]
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert client.usage.credits_charged == run.progress.pages
    assert len(told) > 10
    failures = [it for it in caplog.records if it.exc_info]
    kinds = {event.name for event in told}
    assert sorted(it.getMessage().split()[2].strip(",") for it in failures) == sorted(kinds)
    assert all(it.exc_info and it.exc_info[0] is error for it in failures)


@pytest.mark.parametrize("kind", sorted(KINDS - {RunEnded}, key=repr))
async def test_a_listener_may_look_at_everything_and_stop_the_run(
    make_client: MakeClient, sandbox: Sandbox, kind: type[Event]
) -> None:
    looks: list[object] = []

    def stop(event: Event) -> None:
        if isinstance(event, kind):
            looks.append((client.throttle, client.usage, run.progress, run.summary))
            run.stop()

    client = make_client(on_event=stop)
    sandbox.script(faults.status(500), faults.status(503, retry_after=0.01), handle=MANY[0])
    run = client.following_many(MANY)
    async with run:
        outcomes = [outcome async for outcome in run]
    assert looks
    assert run.stopped_by == "user"
    assert len(outcomes) == run.progress.done + run.progress.failed + run.progress.unfinished
    assert (client.throttle.in_flight, client.throttle.waiting) == (0, 0)
    usage = client.usage
    assert usage.credits_reserved == 0
    most = usage.credits_charged + usage.credits_at_risk
    assert usage.credits_charged <= sandbox.credits_charged <= most


async def _coroutine(_: Any) -> None: ...


async def _generator(_: Any) -> AsyncIterator[None]:
    yield


class _Awaited:
    async def __call__(self, _: Any) -> None: ...

    async def method(self, _: Any) -> None: ...


AWAITED: list[Any] = [
    _coroutine,
    _generator,
    _Awaited(),
    _Awaited().method,
    functools.partial(_coroutine),
]


@pytest.mark.parametrize("given", [*AWAITED, "print", 1])
def test_what_cannot_be_called_or_is_to_be_awaited_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_event is"):
        FollowingClient("sfk_test_1", on_event=given)


@pytest.mark.parametrize("given", [print, [].append, _Awaited, functools.partial(print), None])
def test_what_can_be_called_is_taken(given: Callable[[Event], object] | None) -> None:
    FollowingClient("sfk_test_1", on_event=given)


# The log


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name.removeprefix("following_"): value
        for name, value in vars(record).items()
        if name.startswith("following_")
    }


async def test_the_log_says_what_the_listener_hears(
    make_client: MakeClient, heard: Heard, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    sandbox.script(faults.status(503, retry_after=0.01), faults.status(500))
    async with make_client(on_event=heard).following_many(MANY[:40], max_pages=1) as run:
        assert [outcome async for outcome in run]
    records = [record for record in caplog.records if record.name == LOGGER]
    logged = [event for event in heard if not isinstance(event, PageFetched)]
    assert [fields_of(record) for record in records] == [event.to_dict() for event in logged]
    assert [record.getMessage() for record in records] == [str(event) for event in logged]
    levels = {type(event): it.levelno for event, it in zip(logged, records, strict=True)}
    assert levels == LEVELS


def test_log_lines_are_sentences_for_people() -> None:
    attempt, retry, pause, limit, _, end = make_every_kind()
    assert isinstance(attempt, AttemptFinished)
    assert isinstance(retry, RetryScheduled)
    good = attrs.evolve(attempt, error=None, status_code=200)
    sums = "budget, 1 done, 0 failed, 2 unfinished, 4 pages, 4 credits charged, 0 at risk"
    lines = [
        attempt,
        good,
        attrs.evolve(good, is_cancelled=True),
        retry,
        attrs.evolve(retry, seconds=0.0, handle=None),
        pause,
        limit,
        end,
    ]
    assert [str(line) for line in lines] == [
        "attempt 1: busy (HTTP 503, handle 'nasa')",
        "attempt 1: HTTP 200 after 0.250 s, http://127.0.0.1/health",
        "attempt 1: given up after 0.250 s, http://127.0.0.1/health",
        "attempt 2 of nasa follows in 0.5 s",
        "attempt 2 of a free call follows when the pause is over",
        "the API asked to wait: nothing is sent for 1.5 s",
        "40 pages may be in flight, before it was 20",
        f"the run ended: {sums}",
    ]


async def test_attempts_are_logged_without_a_listener_from_the_moment_it_is_asked_for(
    client: FollowingClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await client.following_page("nasa")
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, LOGGER)
    await client.following_page("nasa")
    (record,) = caplog.records
    assert fields_of(record)["event"] == "attempt_finished"
    assert fields_of(record)["status_code"] == 200


async def test_a_log_handler_that_fails_costs_no_page(client: FollowingClient) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(record.name)

    logger, broken = logging.getLogger(LOGGER), Broken()
    logger.addHandler(broken)
    logger.setLevel(logging.DEBUG)
    try:
        assert (await client.following_page("nasa")).accounts
    finally:
        logger.removeHandler(broken)
        logger.setLevel(logging.NOTSET)
