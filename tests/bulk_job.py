"""The job that test_crash.py kills: a bulk run on a store, in a process as a service has it.

Run as a script, it forks one such process for each line of its input, which names the sandbox, the
key and the store; what it imports is then imported once and not for each of them. It writes
``begins`` and the process's number, ``stopped by`` and why if the run comes to its end, and
``ended`` and the exit code.
"""

import asyncio
import os
import signal
import sys
import traceback

from tiktok_following import FollowingClient, RetryPolicy

HANDLES = ["nasa", "boundary.duplicates", *(f"Handle.{number}" for number in range(178))]
SLOTS = 8
CONCURRENCY = 12
RETRY = RetryPolicy(initial_backoff=0.001, max_backoff=0.01)
LONGEST_LIFE = 30
"""Seconds after which a process counts as stuck, and dies."""


def tell(line: str) -> None:
    """Write a line that the test hears at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def work(base_url: str, key: str, store: str) -> None:
    """Run until all is done, or until SIGTERM has let what was under way land."""
    client = FollowingClient(key, base_url=base_url, max_concurrency=SLOTS, retry=RETRY)
    async with client:
        run = client.following_many(
            HANDLES, concurrency=CONCURRENCY, store=store, retry_failed=True, keep_accounts=False
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.stop)
        tell(f"begins {os.getpid()}")
        async with run:
            async for _ in run:
                pass
    tell(f"stopped by {run.stopped_by}")


def live(line: str) -> None:
    """Do the job in this process, and leave it."""
    signal.alarm(LONGEST_LIFE)
    try:
        asyncio.run(work(*line.split()))
        os._exit(0)
    except Exception:  # noqa: BLE001 - a forked process must not go on as its parent would
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    for told in sys.stdin:
        child = os.fork()
        if child == 0:
            live(told)
        _, status = os.waitpid(child, 0)
        tell(f"ended {os.waitstatus_to_exitcode(status)}")
