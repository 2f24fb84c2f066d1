"""Run something in a process forked off this one: for scripts, never inside the test run."""

import os
import traceback
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> str:
    """Give what the work returns in the child, or the error that it raises, as a text."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        with os.fdopen(read) as answers:
            answer = answers.read()
        os.waitpid(child, 0)
        return answer
    try:
        answer = str(work())
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent shows it
        answer = f"{type(error).__name__}: {error}"
        if "WrongProcess" not in answer:
            traceback.print_exc()
    os.write(write, answer.encode())
    os._exit(0)
