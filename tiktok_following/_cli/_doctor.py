"""The command ``doctor``."""

import statistics
import time
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from tiktok_following._client import FollowingClient
from tiktok_following._config import DEFAULT_BASE_URL, RetryPolicy
from tiktok_following._errors import (
    AuthenticationError,
    FollowingError,
    NotFoundError,
    TransportError,
)
from tiktok_following._models import Balance

from ._exit import DONE, OUT_OF_CREDITS
from ._findings import Finding, approve, object_for, object_to, warn
from ._messages import Messages
from ._options import SandboxOption, VerboseOption
from ._output import Output
from ._run import open_client, run
from ._surroundings import (
    examine_address,
    examine_concurrency,
    examine_descriptors,
    examine_key,
    examine_proxy,
    examine_store,
    examine_versions,
)
from ._words import clean, count

_TIMES = 5
"""How often the API is asked whether it is well."""
_DEADLINE = 20.0
"""Seconds that each answer may take."""
_SLOW = 2.0
"""Seconds; a page takes longer than this route."""
_FINE = {None, "none", "healthy"}


def doctor(
    *,
    sandbox: SandboxOption = False,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Pages at once that are planned.", metavar="N")
    ] = 100,
    store: Annotated[
        str | None, typer.Option(metavar="FILE", help="The store of a bulk job, to look at too.")
    ] = None,
    verbose: VerboseOption = False,
) -> None:
    """Look whether all is well: key, credits, API, proxy, limits, versions. Free.

    Each line says ok, warning or problem, and what to do about it. Nothing is bought or changed.
    """
    run(_report(sandbox=sandbox, concurrency=concurrency, store=store), Messages(verbose=verbose))


async def _report(*, sandbox: bool, concurrency: int, store: str | None) -> int:
    """Say each thing as it is found; return the exit code of the first problem."""
    output = Output()
    found: list[Finding] = []
    async for finding in _examine(sandbox=sandbox, concurrency=concurrency, store=store):
        found.append(finding)
        text = "\n".join(clean(line) for line in finding.describe().split("\n"))
        output.write_text(f"{text}\n")
    problems = [finding for finding in found if finding.verdict == "problem"]
    warnings = [finding for finding in found if finding.verdict == "warning"]
    told = [count(len(problems), "problem"), count(len(warnings), "warning")]
    output.write_text(f"{', '.join(told) if problems or warnings else 'all is well'}\n")
    return problems[0].code if problems else DONE


async def _examine(*, sandbox: bool, concurrency: int, store: str | None) -> AsyncIterator[Finding]:
    """Look at everything, what needs the network last."""
    yield examine_versions()
    settings = [] if sandbox else [examine_key(), examine_address(), examine_proxy()]
    for finding in settings:
        yield finding
    yield examine_descriptors(concurrency)
    for finding in examine_concurrency(concurrency):
        yield finding
    if store is not None:
        for finding in examine_store(store):
            yield finding
    if all(finding.verdict != "problem" for finding in settings):
        async with open_client(sandbox=sandbox) as client:
            patient = client.with_options(deadline=_DEADLINE, retry=RetryPolicy.none())
            async for finding in _examine_api(patient):
                yield finding


async def _examine_api(client: FollowingClient) -> AsyncIterator[Finding]:
    """Ask the free routes; one that cannot be reached is asked once."""
    try:
        yield await _examine_health(client)
    except FollowingError as error:
        yield object_for("API", error, _advise(error))
        if isinstance(error, TransportError):
            return
    try:
        balance = await client.balance()
    except FollowingError as error:
        yield object_for("credits", error, _advise(error))
    else:
        yield _examine_balance(balance)


async def _examine_health(client: FollowingClient) -> Finding:
    seconds: list[float] = []
    is_well = True
    for _ in range(_TIMES):
        began = time.perf_counter()
        is_well = await client.health() and is_well
        seconds.append(time.perf_counter() - began)
    typical = statistics.median(seconds[1:])
    text = f"answers in {typical * 1000:,.1f} ms, {seconds[0] * 1000:,.1f} ms with the connection"
    if not is_well:
        return warn("API", f"says that it is not well; {text}", "wait a little before a long run")
    if typical > _SLOW:
        return warn("API", text, "look at network and proxy; more pages at once make up for it")
    return approve("API", text)


def _examine_balance(balance: Balance) -> Finding:
    credits_left = count(balance.balance, "credit")
    if balance.balance == 0:
        advice = "buy some with the provider; tiktok-following balance tells more"
        return object_to("credits", credits_left, advice, code=OUT_OF_CREDITS)
    states = {"billing alert": balance.billing_alert, "refill": balance.refill_state}
    alerts = [f"{name} {state}" for name, state in states.items() if state not in _FINE]
    if alerts:
        text = f"{credits_left}, {', '.join(alerts)}"
        return warn("credits", text, "look at your account with the provider")
    return approve("credits", f"{credits_left}; the key is accepted")


def _advise(error: FollowingError) -> str:
    """Say what to do about a failure."""
    if isinstance(error, AuthenticationError):
        return "copy the key again from your account with the provider"
    if isinstance(error, NotFoundError):
        return f"look at the address ({DEFAULT_BASE_URL} by itself): nothing of the API is there"
    if isinstance(error, TransportError):
        return f"look at network, firewall, proxy and address ({DEFAULT_BASE_URL} by itself)"
    return "try again later; if it stays so, ask the provider's support"
