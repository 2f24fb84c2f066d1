"""Judge what a server saw of a client: when each request came, and what it was answered.

The law: nothing is taken from the client but how it stood.
"""

import itertools
from collections.abc import Iterator

from apart import judge
from attrs import frozen

from tiktok_following import RunSummary

LATENCY = 0.3
RETRY_AFTER = 1.0
SHARE, REFUSED, FIRST = 0.85, 0.03, 20
"""What is promised: part of the best, part of all answers, requests."""
LOOK = 0.003
"""Seconds between two looks at what came: how exactly the time of a request is known."""
HEARD = 0.25
"""Seconds within which the client has heard a refusal, and what it sent before has arrived."""
OK, REFUSAL = 200, 503


@frozen
class Seen:
    """One request, as the server saw it; times in seconds since the run began."""

    arrived: float
    answered: float
    status: int | None


@frozen
class Plan:
    """What one run meets."""

    ceilings: dict[float, int]
    """The ceiling from so many seconds on."""
    seconds: float
    stall_timeout: float


@frozen
class Note:
    """How the client stood at the end of ten seconds."""

    limit: int
    late: float
    """Seconds."""


@frozen
class Pause:
    """What came in one pause, and after it."""

    inside: int
    before_answer: int
    """Requests after it, up to the first answer to one of them."""


def print_table(came: list[Seen], plan: Plan, notes: list[Note]) -> None:
    """Print a line for every ten seconds: what the server did, and how the client stood."""
    print("  seconds  ceiling  pages/s  of best  refused  a page took   limit  loop late by")
    for begin, note in zip(range(0, int(plan.seconds), 10), notes, strict=False):
        rate, best = find_rate(came, begin, begin + 10), find_best(plan, begin)
        share = f"{rate / best:.1%}" if best else ""
        refused = find_refused(came, begin, begin + 10)
        print(
            f"{begin:>9}{best * LATENCY:>9.0f}{rate:>9.1f}{share:>9}{refused:>9.2%}"
            f"{find_seconds(came, begin, begin + 10) * 1000:>10.0f} ms{note.limit:>8}"
            f"{note.late * 1000:>11.0f} ms"
        )
    print()


def find_seconds(came: list[Seen], begin: float, end: float) -> float:
    """Give the mean time, in seconds, that a page took the server itself."""
    took = [one.answered - one.arrived for one in came if begin <= one.answered < end]
    served = [seconds for seconds in took if seconds >= LATENCY]
    return sum(served) / max(1, len(served))


def find_rate(came: list[Seen], begin: float, end: float) -> float:
    """Give the pages served in a second."""
    return sum(one.status == OK and begin <= one.answered < end for one in came) / (end - begin)


def find_refused(came: list[Seen], begin: float, end: float) -> float:
    """Give the part of the answers that were refusals."""
    told = [one.status for one in came if begin <= one.answered < end]
    return told.count(REFUSAL) / max(1, len(told))


def find_best(plan: Plan, at: float) -> float:
    """Give the pages in a second that the server can serve at a time."""
    return max((since, most) for since, most in plan.ceilings.items() if since <= at)[1] / LATENCY


def find_pauses(came: list[Seen]) -> Iterator[Pause]:
    """Find the pauses: refusals that came together begin one."""
    refused = sorted(one.answered for one in came if one.status == REFUSAL)
    pairs = enumerate(itertools.pairwise(refused), 1)
    splits = [number for number, (a, b) in pairs if b - a > RETRY_AFTER / 2]
    for begin, end in itertools.pairwise([0, *splits, len(refused)]):
        over = refused[end - 1] + RETRY_AFTER - LOOK
        later = [one for one in came if one.arrived >= over]
        answered = min((one.answered for one in later), default=over)
        yield Pause(
            sum(refused[begin] + HEARD < one.arrived < over for one in came),
            sum(one.arrived < answered for one in later),
        )


def judge_pauses(came: list[Seen]) -> bool:
    """Tell whether pauses were kept, and work came back gradually."""
    pauses = list(find_pauses(came)) if any(one.status == REFUSAL for one in came) else []
    inside = sum(pause.inside for pause in pauses)
    most = max((pause.before_answer for pause in pauses), default=0)
    is_kept = judge(f"{inside} requests within {len(pauses)} pauses", holds=not inside)
    text = f"at most {most} requests after a pause before the first answer (≤ {FIRST})"
    return judge(text, holds=0 < most <= FIRST) and is_kept


def judge_share(came: list[Seen], plan: Plan, begin: float, end: float) -> bool:
    """Tell whether most of what the server could do was used, and little was refused."""
    share = find_rate(came, begin, end) / find_best(plan, begin)
    refused = find_refused(came, begin, end)
    span = f"from {begin:g} to {end:g} s"
    is_used = judge(f"{share:.1%} of the best {span} (≥ {SHARE:.0%})", holds=share >= SHARE)
    text = f"{refused:.2%} refused {span} (< {REFUSED:.0%})"
    return judge(text, holds=refused < REFUSED) and is_used


def judge_probes(came: list[Seen], begin: float, end: float) -> bool:
    """Tell whether, with everything refused, one request went after each pause."""
    probes = [one.arrived for one in came if begin + 3 <= one.arrived < end]
    apart = min((b - a for a, b in itertools.pairwise(probes)), default=0.0)
    text = f"{len(probes)} probes while all was refused, at least {apart:.3f} s apart (one a pause)"
    return judge(text, holds=apart >= RETRY_AFTER - 2 * LOOK)


def judge_end(summary: RunSummary, wanted: str) -> bool:
    """Tell whether a run ended as it should, and no handle was blamed."""
    progress = summary.progress
    text = (
        f"it ended by {summary.stopped_by} after {progress.seconds:.1f} s, "
        f"{progress.failed} failed, {progress.unfinished} unfinished"
    )
    return judge(text, holds=summary.stopped_by == wanted and not progress.failed)
