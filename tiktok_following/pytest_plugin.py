"""Give every test the sandbox and a client for it; nothing is imported before a test asks.

pytest loads this file in every run of every project that has the package installed, so it may
import only the standard library and pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiktok_following import FollowingClient
    from tiktok_following.sandbox import Sandbox


@pytest.fixture
def following_sandbox() -> Iterator[Sandbox]:
    """Run a fresh `Sandbox` on a thread of its own, for sync and async tests alike.

    Its attributes may be read, changed and scripted from the test:
    ``following_sandbox.script(faults.status(503, retry_after=0.02))``.
    """
    from tiktok_following.sandbox import Sandbox  # noqa: PLC0415 - nothing before a test asks

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def following_client(following_sandbox: Sandbox) -> Callable[..., FollowingClient]:
    """Make clients of the sandbox.

    ``async with following_client(max_credits=5) as client``: it takes every option of
    `FollowingClient`. A client belongs to the loop that uses it, so the test closes it.
    """
    from tiktok_following import FollowingClient  # noqa: PLC0415 - nothing before a test asks

    def make(**options: Any) -> FollowingClient:
        options.setdefault("api_key", following_sandbox.api_key)
        options.setdefault("base_url", following_sandbox.base_url)
        return FollowingClient(**options)

    return make
