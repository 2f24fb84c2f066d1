"""The client for code without a loop: scripts, notebooks, threads.

The law: nothing is done here that the asyncio client does not do; each method runs the one of the
same name on the client's own thread and waits for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from ._client import FollowingClient as AsyncClient
from ._config import ApiKey
from ._errors import ConfigurationError
from ._handle_relay import HandleRelay
from ._limits import ThrottleState
from ._loop_thread import LoopThread
from ._models import Balance, FollowingPage, Identity, Usage
from ._waiting import FollowingPager, FollowingRun

__all__ = ["FollowingClient", "FollowingPager", "FollowingRun"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")


def _takes_what(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[Concatenate[S, ...], T]], Callable[Concatenate[S, P], T]]:
    """Say that a function takes the parameters of a method of the asyncio client."""

    def describe(function: Callable[Concatenate[S, ...], T]) -> Callable[Concatenate[S, P], T]:
        returned = inspect.signature(function).return_annotation
        signature = inspect.signature(method).replace(return_annotation=returned)
        function.__signature__ = signature  # type: ignore[attr-defined] # read by `inspect`
        return function

    return describe


class FollowingClient:
    """Reads whom TikTok profiles follow, and waits for it.

    Use it as ``with FollowingClient() as client:`` or call `close` when done; one that nobody
    closed is closed at the end of the process. Any number of threads may use one client, also
    where a loop is running, which then stands still meanwhile. Ctrl-C ends what is waited for.

    It takes what `tiktok_following.FollowingClient` takes, but for `session`, which belongs to a
    loop of yours. Callbacks are called on the client's own thread.

    Raises:
        ConfigurationError: No key, or a setting that cannot work.
    """

    @_takes_what(AsyncClient.__init__)
    def __init__(self, api_key: str | None = None, **options: Any) -> None:
        # Rebound at once: no frame of ours holds the key as a text that shows itself.
        api_key = ApiKey(api_key) if isinstance(api_key, str) else api_key
        if options.get("session") is not None:
            raise ConfigurationError("a session belongs to a loop: use the asyncio client with it")
        self._client = AsyncClient(api_key, **options)
        self._thread = LoopThread(self._client.close)
        self._is_root = True

    def __repr__(self) -> str:
        return repr(vars(self).get("_client", f"<{type(self).__name__}>"))

    def __reduce__(self) -> NoReturn:
        self._client.__reduce__()

    def __enter__(self) -> Self:
        self._thread.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client; closing again does nothing.

        What other threads wait for then raises. A client made by `with_options` leaves all that to
        the one it was made from.
        """
        if self._is_root:
            self._thread.close()

    @_takes_what(AsyncClient.following_page)
    def following_page(self, *args: Any, **options: Any) -> FollowingPage:
        """Buy exactly one page of the accounts a profile follows.

        Takes and raises what the method of the asyncio client does, as all below do.
        """
        return self._thread.run(self._client.following_page(*args, **options))

    @_takes_what(AsyncClient.following)
    def following(self, *args: Any, **options: Any) -> FollowingPager:
        """Read the accounts a profile follows, page by page as they are asked for.

        Returns:
            A pager: iterate it for accounts, its `pages()` for pages, or call its `collect()`.
        """
        return FollowingPager(self._client.following(*args, **options), self._thread)

    @_takes_what(AsyncClient.following_many)
    def following_many(self, handles: Any, **options: Any) -> FollowingRun:
        """Look many handles up, as many at once as the API allows.

        Enter what this returns with ``with``, and iterate it for outcomes, or its `pages()` for
        pages. Handles that have no length, such as a generator's, are read on the thread that
        waits for the run.
        """
        relay = HandleRelay.make(handles)
        run = self._client.following_many(handles if relay is None else relay, **options)
        return FollowingRun(run, self._thread, relay)

    @_takes_what(AsyncClient.with_options)
    def with_options(self, **options: Any) -> FollowingClient:
        """Make a client that does some things differently and shares all else with this one."""
        client = object.__new__(type(self))
        vars(client).update(
            vars(self), _client=self._client.with_options(**options), _is_root=False
        )
        return client

    @_takes_what(AsyncClient.balance)
    def balance(self) -> Balance:
        """Ask how many credits the key has. Free; paging goes on after a 402 if there are some."""
        return self._thread.run(self._client.balance())

    @_takes_what(AsyncClient.whoami)
    def whoami(self) -> Identity:
        """Ask who the key belongs to. Free."""
        return self._thread.run(self._client.whoami())

    @_takes_what(AsyncClient.health)
    def health(self) -> bool:
        """Ask whether the API is well; free, waits when told (see `retry`)."""
        return self._thread.run(self._client.health())

    @property
    def usage(self) -> Usage:
        """What was asked for, sent and paid through this client and those made from it."""
        return self._thread.look(lambda: self._client.usage)

    @property
    def throttle(self) -> ThrottleState:
        """How many pages are in flight, may be, and wait, now."""
        return self._thread.look(lambda: self._client.throttle)
