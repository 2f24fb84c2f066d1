"""Run a server in a process of its own, with a pipe to it, and print verdicts on what was seen."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def run_apart(serve: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Start ``serve(pipe, *arguments)``; give the near end, and tell it `None` at the end.

    It is a spawned process, so that it shares no memory, descriptor or lock with this one.
    """
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=serve, args=(far_end, *arguments), daemon=True)
    process.start()
    far_end.close()
    try:
        yield pipe
    finally:
        if process.is_alive():
            pipe.send(None)
        process.join()
        pipe.close()


def judge(text: str, *, holds: bool) -> bool:
    """Print a verdict, and give it back."""
    print(f"{'holds' if holds else 'BROKEN'}: {text}", flush=True)
    return holds
