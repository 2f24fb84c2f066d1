"""What blocks, in a thread beside the event loop.

The law: it is never left alone: who is cancelled meanwhile waits for its end first.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_to_end(work: Callable[[], T]) -> T:
    """Do something in a thread of the loop's executor; raises what it raises.

    Raises:
        CancelledError: The caller was cancelled; the work is done nevertheless.
    """
    working = asyncio.get_running_loop().run_in_executor(None, work)
    is_cancelled = False
    while not working.done():
        try:
            await asyncio.wait((working,))
        except asyncio.CancelledError:  # some cancel again and again until all is done
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError from working.exception()
    return working.result()
