"""Spans: one for each call, one for each request under it, in the trace of who made the call."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from conftest import MakeClient
from held_turns import hold_turns, until_waiting
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider as AnyTracerProvider,
    get_current_span,
)
from raw_server import Connection, respond, serve

from tiktok_following import (
    AuthenticationError,
    ConnectError,
    Event,
    FollowingClient,
    FollowingError,
    ResponseDecodeError,
    RetryPolicy,
    sync,
)
from tiktok_following.otel import instrument
from tiktok_following.sandbox import Gate, Sandbox, faults

KEY = "sfk_test_1a2b3c4d5e6f7g8h"
MakeTraced = Callable[..., FollowingClient]


class Traces:
    """A provider, and the spans that ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("the application")

    def named(self, *names: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name in names]

    @property
    def attempts(self) -> list[ReadableSpan]:
        return self.named("GET")

    @property
    def pages(self) -> list[ReadableSpan]:
        return self.named("following_page")


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def make_traced(make_client: MakeClient, traces: Traces) -> MakeTraced:
    def make(**options: Any) -> FollowingClient:
        client = make_client(**options)
        instrument(client, tracer_provider=traces.provider)
        return client

    return make


@pytest.fixture
def traced(make_traced: MakeTraced) -> FollowingClient:
    return make_traced()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    context = parent.get_span_context()
    return span.parent is not None and context is not None and span.parent == context


async def test_a_page_is_a_span_and_its_request_another_under_it(
    traced: FollowingClient, traces: Traces, sandbox: Sandbox
) -> None:
    await traced.following_page("nasa")
    attempt, page = traces.exporter.get_finished_spans()
    port = int(sandbox.base_url.rpartition(":")[2])
    server = {"server.address": "127.0.0.1", "server.port": port}
    assert (page.name, page.kind, page.parent) == ("following_page", SpanKind.INTERNAL, None)
    assert attributes(page) == {
        **server,
        "tiktok_following.handle": "nasa",
        "tiktok_following.status": "found",
        "tiktok_following.accounts": 30,
    }
    assert (attempt.name, attempt.kind, is_child(attempt, page)) == ("GET", SpanKind.CLIENT, True)
    assert attributes(attempt) == {
        **server,
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": f"{sandbox.base_url}/v1/tiktok/profiles/nasa/following",
        "tiktok_following.credits_charged": 1,
        "tiktok_following.credits_at_risk": 0,
    }
    for span in (attempt, page):
        assert span.status.status_code == StatusCode.UNSET
        scope = span.instrumentation_scope
        assert scope is not None
        assert scope.name == "tiktok_following"
        assert scope.schema_url == "https://opentelemetry.io/schemas/1.23.0"


async def test_each_attempt_of_a_page_has_its_own_span_with_its_number(
    traced: FollowingClient, traces: Traces, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(503, retry_after=0.01), faults.status(500))
    await traced.following_page("nasa")
    (page,) = traces.pages
    told = [attributes(span) for span in traces.attempts]
    assert [it["http.response.status_code"] for it in told] == [503, 500, 200]
    assert [it.get("http.request.resend_count") for it in told] == [None, 1, 2]
    assert [it.get("error.type") for it in told] == ["503", "500", None]
    assert [it["tiktok_following.credits_at_risk"] for it in told] == [0, 1, 0]
    statuses = [span.status for span in traces.attempts]
    assert [it.status_code for it in statuses] == [StatusCode.ERROR] * 2 + [StatusCode.UNSET]
    assert [it.description for it in statuses] == [None] * 3
    assert all(is_child(span, page) for span in traces.attempts)
    assert page.status.status_code == StatusCode.UNSET
    assert "error.type" not in attributes(page)
    assert page.end_time is not None
    assert all((span.end_time or 0) <= page.end_time for span in traces.attempts)


async def test_a_page_that_cannot_be_had_is_an_error_in_both_spans(
    traced: FollowingClient, traces: Traces, sandbox: Sandbox
) -> None:
    sandbox.script(faults.status(401))
    with pytest.raises(AuthenticationError):
        await traced.following_page("nasa")
    for span in traces.exporter.get_finished_spans():
        assert span.status.status_code == StatusCode.ERROR
        assert attributes(span)["error.type"] == "401"
        assert span.events == ()


async def test_an_answer_that_cannot_be_read_has_its_status_and_the_error(
    traced: FollowingClient, traces: Traces, sandbox: Sandbox
) -> None:
    sandbox.script(faults.raw(b"[]"))
    with pytest.raises(ResponseDecodeError) as caught:
        await traced.following_page("nasa")
    (attempt,) = traces.attempts
    assert attributes(attempt)["http.response.status_code"] == 200
    assert attributes(attempt)["error.type"] == "tiktok_following.ResponseDecodeError"
    assert attempt.status.status_code == StatusCode.ERROR
    assert caught.value.message in (attempt.status.description or "")


async def test_a_server_that_is_not_there_has_an_error_and_no_status(traces: Traces) -> None:
    async with FollowingClient(
        KEY, base_url="https://localhost/proxy", retry=RetryPolicy.none()
    ) as client:
        instrument(client, tracer_provider=traces.provider)
        with pytest.raises(ConnectError):
            await client.health()
    (attempt,), (call,) = traces.attempts, traces.named("health")
    assert attributes(attempt)["url.full"] == "https://localhost/proxy/health"
    for span in (attempt, call):
        assert "http.response.status_code" not in attributes(span)
        assert attributes(span)["error.type"] == "tiktok_following.ConnectError"
        assert attributes(span)["server.address"] == "localhost"
        assert attributes(span)["server.port"] == 443


async def test_a_cancelled_page_ends_its_spans_as_cancelled(
    traced: FollowingClient, traces: Traces, sandbox: Sandbox
) -> None:
    gate = Gate()
    sandbox.script(faults.hold(gate))
    task = asyncio.create_task(traced.following_page("nasa"))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.release()
    (attempt,), (page,) = traces.attempts, traces.pages
    assert attributes(attempt)["tiktok_following.credits_at_risk"] == 1
    for span in (attempt, page):
        assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"
        assert span.status.status_code == StatusCode.ERROR


async def test_every_span_ends_whenever_tasks_are_cancelled(
    make_traced: MakeTraced, traces: Traces, sandbox: Sandbox
) -> None:
    client, chance = make_traced(max_concurrency=10), random.Random(7)
    sandbox.script(*(faults.status(500), faults.status(503, retry_after=0.005)) * 10)
    began = 0

    async def ask() -> None:
        nonlocal began
        began += 1
        with traces.tracer.start_as_current_span("the job") as job:
            try:
                await client.following_page("nasa")
            finally:
                assert get_current_span() is job

    tasks = [asyncio.create_task(ask()) for _ in range(100)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.001)
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(traces.pages) == len(traces.named("the job")) == began
    assert len(traces.attempts) == client.usage.attempts
    assert not client._engine.watch._spans._open_now  # type: ignore[union-attr, attr-defined]
    for attempt in traces.attempts:
        assert sum(is_child(attempt, page) for page in traces.pages) == 1


async def test_free_calls_are_spans_named_as_they_are_called(
    traced: FollowingClient, traces: Traces
) -> None:
    await traced.balance()
    await traced.whoami()
    await traced.health()
    calls = traces.named("balance", "whoami", "health")
    assert [span.name for span in calls] == ["balance", "whoami", "health"]
    assert all(map(is_child, traces.attempts, calls))


async def test_each_task_keeps_its_own_trace_however_many_there_are(
    make_traced: MakeTraced, traces: Traces, sandbox: Sandbox
) -> None:
    client = make_traced(max_concurrency=7)
    sandbox.script(*(faults.status(500) for _ in range(20)))

    async def ask(number: int) -> None:
        with traces.tracer.start_as_current_span(f"task {number}") as mine:
            await client.with_options().following_page(f"profile{number}")
            assert get_current_span() is mine
            await client.following_page(f"profile{number}")
            assert get_current_span() is mine

    await asyncio.gather(*map(ask, range(30)))
    pages, attempts = traces.pages, traces.attempts
    assert (len(pages), len(attempts)) == (60, 80)
    for number in range(30):
        (task,) = traces.named(f"task {number}")
        mine = [page for page in pages if is_child(page, task)]
        assert [attributes(it)["tiktok_following.handle"] for it in mine] == [
            f"profile{number}"
        ] * 2
        for page in mine:
            (*_, last) = [attempt for attempt in attempts if is_child(attempt, page)]
            assert f"/profile{number}/" in attributes(last)["url.full"]


async def test_the_pages_of_a_run_are_in_the_trace_of_the_run(
    traced: FollowingClient, traces: Traces
) -> None:
    names = [f"profile{number}" for number in range(40)]
    with traces.tracer.start_as_current_span("the job") as job:
        async with traced.following_many(names, max_pages=2) as run:
            async for _ in run:
                assert get_current_span() is job
    (outer,) = traces.named("the job")
    assert len(traces.pages) == run.progress.pages > 40
    assert all(is_child(page, outer) for page in traces.pages)
    for attempt in traces.attempts:
        (page,) = [page for page in traces.pages if is_child(attempt, page)]
        handle = attributes(page)["tiktok_following.handle"]
        assert f"/{handle}/" in attributes(attempt)["url.full"]


def test_a_client_without_a_loop_is_measured_in_the_trace_of_its_thread(traces: Traces) -> None:
    with Sandbox() as api, sync.FollowingClient(api.api_key, base_url=api.base_url) as client:
        instrument(client, tracer_provider=traces.provider)
        with traces.tracer.start_as_current_span("the job"):
            client.following_page("nasa")
            assert client.following("nasa", limit=40).collect().pages == 2
            with client.following_many(["nasa", "esa"], max_pages=1) as run:
                assert len(list(run)) == 2
    (job,) = traces.named("the job")
    assert len(traces.pages) == 5
    assert all(is_child(page, job) for page in traces.pages)


async def test_instrumenting_again_makes_no_span_twice_and_the_listener_hears_on(
    make_traced: MakeTraced, traces: Traces
) -> None:
    told: list[Event] = []
    client = make_traced(on_event=told.append)
    instrument(client, tracer_provider=traces.provider)
    await client.following_page("nasa")
    assert len(traces.exporter.get_finished_spans()) == 2
    assert [event.name for event in told] == ["attempt_finished", "page_fetched"]


async def test_what_was_under_way_before_writes_on_nobody_elses_span(
    make_client: MakeClient, traces: Traces, sandbox: Sandbox
) -> None:
    client, gate = make_client(on_event=print), Gate()
    sandbox.script(faults.hold(gate))

    async def ask() -> None:
        with traces.tracer.start_as_current_span("the job"):
            await client.following_page("nasa")

    task = asyncio.create_task(ask())
    await gate.reached()
    instrument(client, tracer_provider=traces.provider)
    gate.release()
    await task
    (job,) = traces.exporter.get_finished_spans()
    assert attributes(job) == {}


async def test_a_trace_that_is_not_sampled_costs_no_page(client: FollowingClient) -> None:
    instrument(client, tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    assert (await client.following_page("nasa")).accounts


@pytest.mark.parametrize("moment", ["on_start", "on_end"])
async def test_a_span_processor_that_fails_costs_no_page(
    client: FollowingClient, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    class Broken(SpanProcessor):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    processor, provider = Broken(), TracerProvider(shutdown_on_exit=False)
    setattr(processor, moment, fail)
    provider.add_span_processor(processor)
    instrument(client, tracer_provider=provider)
    for _ in range(2):
        assert (await client.following_page("nasa")).accounts
    assert client.usage.credits_charged == sandbox.credits_charged == 2
    assert client.throttle.in_flight == 0
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert not get_current_span().get_span_context().is_valid


class BrokenSpan(NonRecordingSpan):
    """What no maker of spans should make: it raises whatever it is asked."""

    def fail(self, *_: Any, **__: Any) -> Any:
        raise self.error

    is_recording = set_attribute = set_status = end = fail

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__(SpanContext(1, 1, is_remote=False))
        self.error = error


class BrokenTracers(AnyTracerProvider, Tracer):
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        return self

    def start_span(self, *_: Any, **__: Any) -> BrokenSpan:
        return BrokenSpan(self.error)

    def start_as_current_span(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


async def test_a_cancelled_page_whose_answer_is_here_is_a_cancelled_one(
    traced: FollowingClient, traces: Traces
) -> None:
    turns = hold_turns(traced)
    async with traced.following_many(["nasa"]) as run:
        first = asyncio.ensure_future(anext(run))
        await until_waiting(turns)
        assert run._crew is not None
        run._crew.abandon()
        assert (await first).pages == 1
    for span in (*traces.attempts, *traces.pages):
        assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_span_that_fails_costs_no_page_and_hides_no_error(
    client: FollowingClient,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    instrument(client, tracer_provider=BrokenTracers(error))
    sandbox.script(faults.status(503, retry_after=0.01))
    assert (await client.following_page("nasa")).accounts
    sandbox.script(faults.status(401))
    with pytest.raises(AuthenticationError):
        await client.following_page("nasa")
    assert client.usage.credits_charged == sandbox.credits_charged == 1
    assert client.throttle.in_flight == 0
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert [text.partition(" failed;")[0] for text in told] == [
        "a span, told attempt_finished,",
        "a span's end",
        "a span, told page_fetched,",
        "a span's failure",
    ]
    assert not get_current_span().get_span_context().is_valid


async def test_no_span_shows_the_key(traces: Traces, sandbox: Sandbox) -> None:
    sandbox.add_key(KEY, 100)
    sandbox.script(
        faults.status(500, message=f"you sent {KEY}", code=KEY), faults.html(200, text=KEY)
    )
    async with FollowingClient(KEY, base_url=sandbox.base_url) as client:
        instrument(client, tracer_provider=traces.provider)
        with pytest.raises(FollowingError):
            await client.following_page("nasa")
    assert len(traces.attempts) == 2
    for span in traces.exporter.get_finished_spans():
        assert KEY[8:] not in span.to_json()


async def test_the_api_is_told_nothing_of_the_trace(traces: Traces) -> None:
    sent: list[bytes] = []

    async def answer(connection: Connection) -> None:
        sent.append(await connection.read_request())
        connection.writer.write(respond())

    async with serve(answer) as server, FollowingClient(KEY, base_url=server.base_url) as client:
        instrument(client, tracer_provider=traces.provider)
        with traces.tracer.start_as_current_span("the job"):
            await client.following_page("nasa")
    assert b"x-api-key" in sent[0].lower()
    assert b"trace" not in sent[0].lower()


def test_without_a_provider_it_is_the_global_one() -> None:
    code = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from tiktok_following import FollowingClient
from tiktok_following.otel import instrument
from tiktok_following.sandbox import Sandbox

async def main():
    async with Sandbox() as api, FollowingClient(api.api_key, base_url=api.base_url) as client:
        instrument(client)
        provider = TracerProvider()  # set later, as applications do
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
        trace.set_tracer_provider(provider)
        await client.following_page("nasa")

def line(span):
    return span.name + "\\n"

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["GET", "following_page"]
