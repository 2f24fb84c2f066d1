"""Spans for OpenTelemetry: one for each call, and under it one for each HTTP request it took.

The law: it reads what `_watch` tells and changes nothing; the requests are sent without trace
headers, since they go to somebody else's API. Needs the extra ``otel``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.context import attach, detach
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from ._client import FollowingClient
from ._errors import FollowingError
from ._events import AttemptFinished, Event, PageFetched
from ._version import __version__
from ._watch import Watch
from ._wire import Request

if TYPE_CHECKING:
    from . import sync

__all__ = ["instrument"]

_SCHEMA = "https://opentelemetry.io/schemas/1.23.0"  # the first with stable names for HTTP
_PORTS = {"http": 80, "https": 443}


def instrument(
    client: FollowingClient | sync.FollowingClient, *, tracer_provider: TracerProvider | None = None
) -> None:
    """Have a client, and those made from it, measured in spans from now on.

    A call (``following_page``, ``balance``, ``whoami``, ``health``) is a span of kind INTERNAL,
    with all its waits, in the trace of who makes it; each page of a list or a run is a
    ``following_page``. An HTTP request is a span ``GET`` of kind CLIENT under it, by the stable
    semantic conventions, which want no HTTP span around those of the attempts.

    Args:
        client: The client, with a loop or without; again does nothing more.
        tracer_provider: Makes the tracer; `None` takes the global one.
    """
    inner = client
    if not isinstance(inner, FollowingClient):
        inner = inner._client  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - same house
    engine = inner._engine  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - same house
    tracer = get_tracer("tiktok_following", __version__, tracer_provider, _SCHEMA)
    engine.watch.trace(_Spans(tracer, engine.base_url, engine.watch))


class _Spans:
    """Opens spans around calls and attempts, and writes what is told within them on them."""

    def __init__(self, tracer: Tracer, base_url: str, watch: Watch) -> None:
        parts = urlsplit(base_url)
        self._tracer = tracer
        self._watch = watch
        self._open_now: set[Span] = set()
        self._server: dict[str, str | int] = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or _PORTS[parts.scheme],
        }

    @contextmanager
    def call(self, request: Request) -> Generator[None]:
        name, attributes = request.url.rpartition("/")[2], dict(self._server)
        if request.handle is not None:
            name, attributes["tiktok_following.handle"] = "following_page", request.handle
        with self._open(name, SpanKind.INTERNAL, attributes) as span:
            try:
                yield
            except BaseException as error:
                self._watch.call_safely("a span's failure", _mark_failure, span, error)
                raise

    @contextmanager
    def attempt(self, request: Request, number: int) -> Generator[None]:
        attributes = {**self._server, "http.request.method": "GET", "url.full": request.url}
        if number > 1:
            attributes["http.request.resend_count"] = number - 1
        with self._open("GET", SpanKind.CLIENT, attributes):
            yield

    def hear(self, event: Event) -> None:
        """Write an attempt's end on its span, and a page on that of its call."""
        span = get_current_span()
        if span not in self._open_now:  # it was under way before anybody measured it
            return
        if isinstance(event, AttemptFinished):
            if event.status_code is not None:
                span.set_attribute("http.response.status_code", event.status_code)
            span.set_attribute("tiktok_following.credits_at_risk", event.credits_at_risk)
            span.set_attribute("tiktok_following.credits_charged", event.credits_charged)
            if event.error is not None or event.is_cancelled:
                _mark_failure(span, event.error or asyncio.CancelledError())
        elif isinstance(event, PageFetched):
            span.set_attribute("tiktok_following.status", event.status)
            span.set_attribute("tiktok_following.accounts", event.accounts)

    @contextmanager
    def _open(self, name: str, kind: SpanKind, attributes: dict[str, str | int]) -> Generator[Span]:
        """Make a span the current one; one that raises must not cost anybody a page."""
        start, safely = self._tracer.start_span, self._watch.call_safely
        span = safely("a span's start", start, name, kind=kind, attributes=attributes)
        span = span or INVALID_SPAN
        self._open_now.add(span)
        token = attach(set_span_in_context(span))  # `use_span` would ask the span when a page fails
        try:
            yield span
        finally:
            detach(token)
            self._open_now.discard(span)
            safely("a span's end", span.end)


def _mark_failure(span: Span, error: BaseException) -> None:
    """Write on a span how it failed: the status is enough where the server gave one."""
    kind, text = type(error), str(error)
    if isinstance(error, asyncio.CancelledError):
        kind = asyncio.CancelledError  # a kind of ours is nobody's matter
    status_code: int | None = getattr(error, "status_code", None)
    if status_code is not None:
        name, text = str(status_code), ""
    elif isinstance(error, FollowingError):
        name = f"tiktok_following.{kind.__name__}"
    else:
        name = f"{kind.__module__}.{kind.__qualname__}"
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, text or None)
