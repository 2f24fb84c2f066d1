"""What the tests stand on: a sandbox on this loop, and clients pointed at it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tiktok_following import FollowingClient, RetryPolicy
from tiktok_following.sandbox import Sandbox

pytest_plugins = ["pytester", "tiktok_following.pytest_plugin"]

# The suite looks at the same examples each time; `--hypothesis-profile=long` at many new ones.
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("long", deadline=None, max_examples=20_000, suppress_health_check=_SLOW)
settings.load_profile("suite")

MakeClient = Callable[..., FollowingClient]

QUICK_RETRY = RetryPolicy(initial_backoff=0.001, max_backoff=0.01)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOCIALFETCH_API_KEY", "SOCIALFETCH_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def make_client(sandbox: Sandbox) -> AsyncIterator[MakeClient]:
    """Make clients of the sandbox with quick retries; all are closed at the end."""
    clients: list[FollowingClient] = []

    def make(**options: Any) -> FollowingClient:
        options = {"base_url": sandbox.base_url, "retry": QUICK_RETRY, **options}
        client = FollowingClient(options.pop("api_key", sandbox.api_key), **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def client(make_client: MakeClient) -> FollowingClient:
    return make_client()
