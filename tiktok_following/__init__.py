"""Read whom TikTok profiles follow, through the Social Fetch API, and pay for each page once.

The names below are all there is to import. Each is loaded when it is first used, because pytest
imports this package for its plugin in every run of every project that has it installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._bulk import FollowingRun
    from ._client import FollowingClient
    from ._config import RetryPolicy, Timeout
    from ._errors import (
        APIError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ClientClosedError,
        ConfigurationError,
        ConnectError,
        DeadlineExceededError,
        FollowingError,
        InsufficientCreditsError,
        InvalidHandleError,
        LookupFailedError,
        NotFoundError,
        PaginationError,
        PermissionDeniedError,
        ProfileUnavailableError,
        RateLimitError,
        RequestError,
        RequestTimeoutError,
        ResponseDecodeError,
        RunStoppedError,
        ServerError,
        ServiceUnavailableError,
        TransportError,
        WrongLoopError,
        WrongProcessError,
    )
    from ._events import (
        AttemptFinished,
        Event,
        LimitChanged,
        PageFetched,
        Paused,
        RetryScheduled,
        RunEnded,
    )
    from ._export import export
    from ._limits import ThrottleState
    from ._lookups import Lookup, StoreRun, StoreSummary
    from ._models import (
        Account,
        AccountMetrics,
        Balance,
        Following,
        FollowingPage,
        Identity,
        Subscription,
        Usage,
    )
    from ._outcomes import Outcome, RunProgress, RunSummary
    from ._pagination import FollowingPager
    from ._status import LookupState, LookupStatus, RunEnd, Status, StoppedBy, WaitsFor
    from ._store import FollowingStore
    from ._store_errors import (
        ExportError,
        StoreError,
        StoreLockedError,
        StoreMismatchError,
        StoreVersionError,
        StoreWriteError,
    )
    from ._version import __version__

__all__ = [
    "APIError",
    "Account",
    "AccountMetrics",
    "AttemptFinished",
    "AuthenticationError",
    "BadRequestError",
    "Balance",
    "BudgetExceededError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectError",
    "DeadlineExceededError",
    "Event",
    "ExportError",
    "Following",
    "FollowingClient",
    "FollowingError",
    "FollowingPage",
    "FollowingPager",
    "FollowingRun",
    "FollowingStore",
    "Identity",
    "InsufficientCreditsError",
    "InvalidHandleError",
    "LimitChanged",
    "Lookup",
    "LookupFailedError",
    "LookupState",
    "LookupStatus",
    "NotFoundError",
    "Outcome",
    "PageFetched",
    "PaginationError",
    "Paused",
    "PermissionDeniedError",
    "ProfileUnavailableError",
    "RateLimitError",
    "RequestError",
    "RequestTimeoutError",
    "ResponseDecodeError",
    "RetryPolicy",
    "RetryScheduled",
    "RunEnd",
    "RunEnded",
    "RunProgress",
    "RunStoppedError",
    "RunSummary",
    "ServerError",
    "ServiceUnavailableError",
    "Status",
    "StoppedBy",
    "StoreError",
    "StoreLockedError",
    "StoreMismatchError",
    "StoreRun",
    "StoreSummary",
    "StoreVersionError",
    "StoreWriteError",
    "Subscription",
    "ThrottleState",
    "Timeout",
    "TransportError",
    "Usage",
    "WaitsFor",
    "WrongLoopError",
    "WrongProcessError",
    "__version__",
    "export",
]

# Where the names live, the quickest to import first.
_HOMES = (
    "_version",
    "_errors",
    "_config",
    "_status",
    "_events",
    "_models",
    "_lookups",
    "_limits",
    "_outcomes",
    "_pagination",
    "_bulk",
    "_client",
    "_store_errors",
    "_store",
    "_export",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (import_module(f".{home}", __name__) for home in _HOMES)
    value = globals()[name] = next(vars(module)[name] for module in modules if name in vars(module))
    return value


def __dir__() -> list[str]:
    return __all__
