"""The Social Fetch API on localhost, for tests, demonstrations and load runs.

Nothing here imports the client, so a client in any language can be tried against it.
"""

from tiktok_following.sandbox import faults
from tiktok_following.sandbox._ledger import Charge
from tiktok_following.sandbox._requests import RecordedRequest
from tiktok_following.sandbox._service import Terms
from tiktok_following.sandbox._waiting import Gate
from tiktok_following.sandbox.faults import Fault
from tiktok_following.sandbox.profiles import NAMED_HANDLES, Profile
from tiktok_following.sandbox.server import Sandbox

__all__ = [
    "NAMED_HANDLES",
    "Charge",
    "Fault",
    "Gate",
    "Profile",
    "RecordedRequest",
    "Sandbox",
    "Terms",
    "faults",
]
