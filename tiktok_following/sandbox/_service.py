"""Process one request from the key to the bytes: the order in which the API does things.

Key, overload, script, then processing (``latency`` seconds), then the bill, then whatever the
script still wants, then the answer. A request is therefore billed at the moment its processing
ends, before a byte is written, and a client that leaves earlier stops neither.
"""

from contextlib import nullcontext
from http import HTTPStatus
from time import monotonic

from aiohttp import web
from attrs import define, field
from attrs.validators import ge, instance_of, optional

from tiktok_following.sandbox._answers import (
    CHECKOUT_URL,
    Answer,
    build_balance,
    build_error,
    build_identity,
    build_success,
)
from tiktok_following.sandbox._delivery import deliver, drop
from tiktok_following.sandbox._ledger import Charge, Ledger, redact
from tiktok_following.sandbox._load import Load
from tiktok_following.sandbox._requests import RecordedRequest, read_request
from tiktok_following.sandbox._script import Script
from tiktok_following.sandbox._waiting import Waits
from tiktok_following.sandbox.faults import Fault
from tiktok_following.sandbox.profiles import World

_HONEST = Fault(name="honest", billed=True)


@define(kw_only=True)
class Terms:
    """How the sandbox serves and charges; every field may be changed while it runs."""

    page_size: int = field(default=30, validator=(instance_of(int), ge(1)))
    """Accounts on a page."""

    price: int = field(default=1, validator=(instance_of(int), ge(0)))
    """Credits that a page costs."""

    latency: float = field(default=0.0, validator=ge(0))
    """Seconds that processing takes, on every route."""

    max_in_flight: int | None = field(default=None, validator=optional(ge(0)))
    """Page requests processed at once, the others get 503; None means any number."""

    retry_after: float | str = 1.0
    """``Retry-After`` of that 503: seconds (decimals too) or an HTTP date as text."""

    lean_balance: bool = False
    """Whether ``/v1/balance`` answers as older versions do, with ``balance`` alone."""


@define(kw_only=True, eq=False)
class Service:
    """The API without a socket: everything that happens between a request and its answer."""

    terms: Terms
    ledger: Ledger
    world: World
    keep_records: bool
    script: Script = field(factory=Script)
    load: Load = field(factory=Load)
    waits: Waits = field(factory=Waits)
    requests: list[RecordedRequest] = field(factory=list[RecordedRequest])
    received: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, and record what became of it."""
        record = read_request(request, self.received)
        self.received += 1
        if self.keep_records:
            self.requests.append(record)
        started = monotonic()
        try:
            return await self._answer(request, record)
        except ConnectionError:  # the client has left, or the sandbox is closing
            record.status = None
            return drop(request)
        finally:
            record.seconds = monotonic() - started

    async def _answer(
        self, request: web.BaseRequest, record: RecordedRequest
    ) -> web.StreamResponse:
        key = request.headers.get("x-api-key", "")
        paid = record.route == "following"
        refusal = self._refuse(record, key)
        if refusal is not None:
            record.status = refusal.status
            return await deliver(request, refusal, _HONEST, self.waits)
        fault = self.script.next_fault(record) or _HONEST
        if fault.drop == "before":
            return drop(request, reset=fault.reset)
        with self.load.one_more() if paid else nullcontext():
            await self.waits.sleep(self.terms.latency)
            answer = self._process(record, key, fault)
            return await self._finish(request, record, answer, fault)

    async def _finish(
        self, request: web.BaseRequest, record: RecordedRequest, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        """Do what the script wants of an answer that is decided, then write it."""
        if fault.gate is not None:
            await self.waits.until(fault.gate.arrive())
        await self.waits.sleep(fault.delay)
        if fault.drop == "after" or fault.wire is not None:
            return drop(request, reset=fault.reset, last_words=fault.wire)
        if request.transport is not None:
            record.status = answer.status
        return await deliver(request, answer, fault, self.waits)

    def _refuse(self, record: RecordedRequest, key: str) -> Answer | None:
        """Turn away an unknown route, a wrong key or one request too many; None lets it in."""
        request_id = record.request_id
        if record.route == "unknown":
            return build_error(404, "There is no such route.", request_id)
        if record.route == "health":
            return None
        paid = record.route == "following"
        if paid and not key:
            return build_error(
                402,
                "Send a key, or pay for this call.",
                request_id,
                code="payment_required",
                checkout_url=CHECKOUT_URL,
            )
        if self.ledger.balance(key) is None:
            return build_error(401, "The key is missing or not known.", request_id)
        most = self.terms.max_in_flight
        if paid and most is not None and self.load.now >= most:
            wait = self.terms.retry_after
            return build_error(503, "Too much is in flight.", request_id, retry_after=wait)
        return None

    def _process(self, record: RecordedRequest, key: str, fault: Fault) -> Answer:
        """Decide the answer and bill it, with no await in between."""
        if record.route == "following":
            answer = self._process_page(record, key, fault)
        elif record.route == "health":
            answer = Answer(status=200, body=b'{"status":"ok"}')
        else:
            balance = self.ledger.balance(key) or 0
            is_balance = record.route == "balance"
            lean = self.terms.lean_balance
            data = build_balance(balance, lean=lean) if is_balance else build_identity()
            answer = build_success(data, record.request_id, 0)
        if answer.status == HTTPStatus.OK and fault.rewrite is not None:
            return fault.rewrite(answer, record)
        return answer

    def _process_page(self, record: RecordedRequest, key: str, fault: Fault) -> Answer:
        """Look up a page; a fault that replaces it is billed without looking."""
        data: bytes | None = b"null"
        if not fault.replaces:
            wrong = record.find_fault()
            if wrong is not None:
                return build_error(400, wrong, record.request_id)
            data = self._page(record)
        if data is None:
            return build_error(400, "This cursor was never handed out.", record.request_id)
        if fault.billed and not self._bill(record, key, fault):
            text = "There are not enough credits left."
            return build_error(402, text, record.request_id, checkout_url=CHECKOUT_URL)
        return build_success(data, record.request_id, record.credits)

    def _page(self, record: RecordedRequest) -> bytes | None:
        trim, size = record.trim == "true", self.terms.page_size
        return self.world.page(record.handle or "", record.cursor, size, trim=trim)

    def _bill(self, record: RecordedRequest, key: str, fault: Fault) -> bool:
        """Take the price of a page; False when the key cannot pay it."""
        charge = Charge(
            key=redact(key),
            handle=record.handle or "",
            cursor=record.cursor,
            credits=self.terms.price if fault.credits is None else fault.credits,
            request_id=record.request_id,
        )
        if not self.ledger.bill(key, charge):
            return False
        record.credits = charge.credits
        return True
