"""What a death costs: no page that was committed, and of the others only those under way.

Real processes are killed here. The sandbox lives on, so it knows what every life of the job asked
for and paid; the store is looked at in copies, so that the next life finds it as the dead left it.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import attrs
import pytest
from bulk_job import CONCURRENCY, HANDLES

from tiktok_following import Account, FollowingStore
from tiktok_following.sandbox import Fault, RecordedRequest, Sandbox, faults

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with POSIX signals")

JOB = Path(__file__).parent / "bulk_job.py"
LATENCY = 0.03
"""Seconds that an answer takes at most."""
PATIENCE = 30.0
"""Seconds that anything here may take before it counts as stuck."""

Question = tuple[str, str | None]
"""A handle and a cursor: asked and paid a second time, it is a page bought twice."""


@attrs.frozen
class Stored:
    """What is on the disk."""

    pages: dict[str, Question]
    """What was asked for each page, by the id of the request that bought it."""
    runs: list[tuple[int, int]]
    """The credits charged and at risk of each run."""


@attrs.frozen
class Life:
    """One process, until nothing of what it asked is under way at the sandbox any more."""

    requests: list[RecordedRequest]
    before: Stored
    after: Stored
    output: list[str]

    @property
    def paid(self) -> dict[str, Question]:
        """What the sandbox charged for, by the id of the request."""
        return {r.request_id: ask(r) for r in self.requests if r.credits}

    @property
    def lost(self) -> list[Question]:
        """What was paid and is not on the disk."""
        return [question for id_, question in self.paid.items() if id_ not in self.after.pages]

    @property
    def last_questions(self) -> set[Question]:
        """What was asked last of each handle."""
        return set({r.handle: ask(r) for r in self.requests}.values())


class Job:
    """A list of handles to look up, and all the lives that this takes."""

    def __init__(self, sandbox: Sandbox, path: Path, parent: subprocess.Popen[str]) -> None:
        self.sandbox = sandbox
        self.path = path
        self.parent = parent
        self.lives: list[Life] = []

    @contextmanager
    def live(self) -> Iterator[int]:
        """Start the job again, give its process's number, and note what it did once it is dead."""
        before = self.lives[-1].after if self.lives else Stored({}, [])
        received = self.sandbox.requests_received
        self.tell(f"{self.sandbox.base_url} {self.sandbox.api_key} {self.path}\n")
        process = int(self.hear().removeprefix("begins "))
        output: list[str] = []
        try:
            yield process
        except BaseException:
            os.kill(process, signal.SIGKILL)
            raise
        finally:
            while not output or not output[-1].startswith("ended "):
                output.append(self.hear())
        self.settle()
        requests = [r for r in self.sandbox.requests[received:] if r.route == "following"]
        self.lives.append(Life(requests, before, self.look(), output))

    def tell(self, line: str) -> None:
        assert self.parent.stdin is not None
        self.parent.stdin.write(line)
        self.parent.stdin.flush()

    def hear(self) -> str:
        assert self.parent.stdout is not None
        line = self.parent.stdout.readline()
        assert line, "the parent of the job is dead"
        return line.rstrip()

    def signal_after(self, requests: int, number: signal.Signals, chance: Random) -> None:
        """Live until so many requests came, and a moment longer; the job must not be done then."""
        goal = self.sandbox.requests_received + requests
        with self.live() as process:
            wait_until(lambda: self.sandbox.requests_received >= goal)
            time.sleep(chance.random() * LATENCY)  # at any moment between asking and committing
            os.kill(process, number)

    def finish(self) -> None:
        """Live until all is done."""
        with self.live():
            pass
        assert self.lives[-1].output == ["stopped by None", "ended 0"]

    def settle(self) -> None:
        """Wait until the sandbox has billed whatever a dead process sent.

        It reads what came first first: once it has answered a later question, nothing sent before
        is unread.
        """
        urllib.request.urlopen(f"{self.sandbox.base_url}/health").close()
        wait_until(lambda: self.sandbox.in_flight == 0)

    def look(self) -> Stored:
        """Check a copy of the store, its log included, and read what is committed."""
        copy = self.path.with_name("copy.db")
        if not self.path.exists():
            return Stored({}, [])
        for suffix in ("", "-wal", "-journal"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
            if Path(f"{self.path}{suffix}").exists():
                shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
        connection = sqlite3.connect(copy)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return Stored({}, [])  # died before it made the tables, which come all at once
            rows = connection.execute(
                "SELECT request_id, handle, cursor FROM pages JOIN lookups ON id = lookup_id"
            )
            pages = {id_: (handle, cursor) for id_, handle, cursor in rows}
            runs = connection.execute(
                "SELECT credits_charged, credits_at_risk FROM runs"
            ).fetchall()
            return Stored(pages, runs)
        finally:
            connection.close()

    def check_lists(self) -> None:
        """Check that the store has what the sandbox has: every list whole, account by account."""
        with FollowingStore(self.path) as store:
            assert [lookup.handle for lookup in store.lookups()] == HANDLES
            for name in HANDLES:
                lookup, truth = store.lookup(name), self.sandbox.pages(name)
                assert lookup is not None
                assert (lookup.state, lookup.next_cursor) == ("complete", None)
                assert lookup.status == self.sandbox.profile(name).status
                rows = [[Account.from_dict(row) for row in page] for page in truth]
                assert [page.accounts for page in store.pages(name)] == rows

    def check_books(self) -> None:
        """Check that each run's credits, and what is at risk besides, have the truth between them.

        The run that died is given its risk by the next one, so the last look has them all.
        """
        runs = self.lives[-1].after.runs
        began = [life for life in self.lives if len(life.after.runs) > len(life.before.runs)]
        assert len(began) == len(runs)
        for life, (charged, at_risk) in zip(began, runs, strict=True):
            assert charged <= len(life.paid) <= charged + at_risk
        assert sum(len(life.paid) for life in began) == self.sandbox.credits_charged


def ask(request: RecordedRequest) -> Question:
    assert request.handle is not None
    return request.handle, request.cursor


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def count_bought_twice(sandbox: Sandbox) -> int:
    bought = Counter((charge.handle, charge.cursor) for charge in sandbox.charges)
    return sum(times - 1 for times in bought.values())


def make_slow(request: RecordedRequest, chance: Random) -> Fault:
    """Let answers come at any time, so that a signal meets workers at every point of their way."""
    delay = chance.uniform(0, LATENCY) if request.route == "following" else 0.0
    return faults.slow(delay, pieces=1)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    chance = Random(1)
    with Sandbox(page_size=10, totals=(0, 100)) as sandbox:
        sandbox.script_by(lambda request: make_slow(request, chance))
        command = [sys.executable, JOB]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
            yield Job(sandbox, tmp_path / "following.db", parent)


def test_after_twenty_kills_the_store_is_whole_and_only_what_was_under_way_was_bought_twice(
    job: Job,
) -> None:
    chance = Random(20)
    for requests in [0, 0, *(chance.randrange(1, 40) for _ in range(18))]:
        job.signal_after(requests, signal.SIGKILL, chance)
    assert [life.output for life in job.lives] == [["ended -9"]] * 20
    job.finish()
    for life in job.lives:
        assert life.before.pages.items() <= life.after.pages.items()
        # Nothing that was committed is even asked for again.
        assert not set(life.before.pages.values()) & {ask(request) for request in life.requests}
        # A worker asks for something only when what it asked before is committed. So what a kill
        # loses is what was in the hands of the workers: one question each, and the last one of its
        # handle.
        assert len(life.lost) <= CONCURRENCY
        assert set(life.lost) <= life.last_questions
    lost = sum(len(life.lost) for life in job.lives)
    assert count_bought_twice(job.sandbox) == lost > 0
    job.check_books()
    job.check_lists()


def test_what_a_kill_leaves_in_doubt_is_bounded_also_where_answers_are_lost(job: Job) -> None:
    chance, fate = Random(7), Random(8)

    def choose(request: RecordedRequest) -> Fault | None:
        """Bill every third page for nothing."""
        if request.route != "following" or fate.random() < 2 / 3:
            return make_slow(request, fate)
        return fate.choice([faults.drop_after(), faults.status(502, billed=True)])

    job.sandbox.script_by(choose)
    for _ in range(4):
        job.signal_after(chance.randrange(20, 80), signal.SIGKILL, chance)
    assert [life.output for life in job.lives] == [["ended -9"]] * 4
    job.sandbox.clear_script()
    job.finish()
    job.check_books()
    job.check_lists()


def test_a_run_that_is_told_to_end_ten_times_buys_nothing_twice(job: Job) -> None:
    chance = Random(10)
    for requests in (chance.randrange(1, 40) for _ in range(10)):
        job.signal_after(requests, signal.SIGTERM, chance)
    assert [life.output for life in job.lives] == [["stopped by user", "ended 0"]] * 10
    job.finish()
    assert [life.lost for life in job.lives] == [[]] * 11
    assert count_bought_twice(job.sandbox) == 0
    assert job.lives[-1].after.runs == [(len(life.paid), 0) for life in job.lives]
    job.check_lists()
