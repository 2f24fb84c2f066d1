"""Invent accounts: the same seed and number always give the same account.

No random source and no state: every field is cut from one digest, so account 4,000 costs as much
as account 0 and nothing before it has to be made.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

REQUIRED_KEYS: Final = (
    "handle",
    "displayName",
    "bio",
    "avatarUrl",
    "profileUrl",
    "verified",
    "metrics",
)
"""The keys that every account has; ``trim=true`` drops all others."""

_FIRST_CREATED: Final = 1_473_000_000
"""Unix seconds in 2016: no invented account is older."""

_GIVEN: Final = (
    *("mika", "nilu", "oren", "tavi", "sanne", "jorun", "ilka", "dario"),
    *("yuna", "kofi", "lumi", "rafa", "zoya", "emeka", "noor", "pia"),
)
_FAMILY: Final = (
    *("brandholm", "okavari", "tessling", "quillmoor", "varneld", "sundrake", "ibarrel"),
    *("castorly", "feldwyn", "moravick", "draywood", "hanvey", "lindqast", "osterby"),
)
_NATIVE_NAMES: Final = (
    *("青いやかん", "مقهى القمر", "בית הקפה הכחול", "Синий чайник", "नीली केतली"),
    *("ร้านชาสีฟ้า", "파란 주전자", "Μπλε τσαγιέρα", "蓝色茶壶", "Çay Köşesi", "Łąka i chmury"),
)
_EMOJI: Final = ("", "", "", " 🌊", " 🧗🏽", " 🇳🇴", " 👩‍🚀", " ✨")
_BIOS: Final = (
    *(None, "", "", "tea first, then everything else"),
    *(
        "slow travel • fast bikes",
        "line one\nline two\n📩 in the link",
        "سفر وطبخ 🍲",
        "毎日スケッチ ✏️",
    ),
    *('He said "no comment", and that\'s a bio', "Рисую карты городов", "tabs\tand\\slashes </b>"),
)
_DATE_FORMS: Final = ("seconds", "text", "seconds", "text", "missing")
_REGIONS: Final = ("US", "BR", "ID", "MX", "JP", "SA", "DE", "NG", "KR", "TR", "PL", "VN")
_LANGUAGES: Final = ("en", "pt", "id", "es", "ja", "ar", "de", "ko", "tr", "pl", "vi", "zh-Hans")

_DIGEST_BYTES: Final = 128
"""Enough for one account, which uses up about 650 of these 1,024 bits."""

_T = TypeVar("_T")


class Digest:
    """Cut numbers off a digest of some text, the same ones on every machine."""

    __slots__ = ("_bits",)

    def __init__(self, text: str) -> None:
        self._bits = int.from_bytes(hashlib.shake_256(text.encode()).digest(_DIGEST_BYTES), "big")

    def below(self, bound: int) -> int:
        """Cut off the next number, at least 0 and below ``bound``."""
        self._bits, number = divmod(self._bits, bound)
        return number

    def pick(self, choices: Sequence[_T]) -> _T:
        """Cut off the next choice."""
        return choices[self.below(len(choices))]


def make_account(seed: int, number: int) -> dict[str, Any]:
    """Invent the account with this number, as the API would serve it untrimmed."""
    digest = Digest(f"{seed}:account:{number}")
    given, family = digest.pick(_GIVEN), digest.pick(_FAMILY)
    handle = f"{given}{digest.pick(('.', '_', ''))}{family[:9]}{number}"
    required = _make_required(digest, handle, f"{given.title()} {family.title()}")
    created = _FIRST_CREATED + digest.below(290_000_000)
    return required | _make_optional(digest, created)


def _make_required(digest: Digest, handle: str, roman_name: str) -> dict[str, Any]:
    """Invent the keys that every account has."""
    name = roman_name if digest.below(3) else digest.pick(_NATIVE_NAMES)
    return {
        "handle": handle,
        "displayName": name + digest.pick(_EMOJI) if digest.below(40) else None,
        "bio": digest.pick(_BIOS),
        "avatarUrl": _make_avatar_url(digest) if digest.below(50) else None,
        "profileUrl": f"https://www.tiktok.com/@{handle}",
        "verified": digest.below(25) == 0,
        "metrics": {
            "followers": digest.below(10 ** (1 + digest.below(8))),
            "following": digest.below(3_000),
            "posts": digest.below(10 ** (1 + digest.below(3))),
        },
    }


def _make_optional(digest: Digest, created: int) -> dict[str, Any]:
    """Invent the keys that may be missing; a few accounts lack some of them."""
    full = digest.below(12) > 0
    optional: dict[str, Any] = {
        "platformUserId": str(6_500_000_000_000_000_000 + digest.below(10**18)),
        "secUid": f"MS4wLjABAAAA{digest.below(16**48):048x}",
    }
    if full:
        optional["privateAccount"] = digest.below(20) == 0
        optional["region"] = digest.pick(_REGIONS)
        optional["language"] = digest.pick(_LANGUAGES)
        optional["details"] = _make_details(digest, created)
    date_form = digest.pick(_DATE_FORMS)
    if date_form == "seconds":
        optional["accountCreatedAt"] = created
    elif date_form == "text":
        optional["accountCreatedAt"] = _format_date(created, digest.below(1_000))
    return optional


def _format_date(seconds: int, milliseconds: int) -> str:
    """Write Unix seconds as ISO-8601 text in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _make_avatar_url(digest: Digest) -> str:
    """Invent a signed image address that expires; its host does not exist."""
    return (
        f"https://p16-sign.avatars.example/tos-maliva/{digest.below(16**32):032x}~c5_100x100.webp"
        f"?x-expires={1_790_000_000 + digest.below(10**7)}"
        f"&x-signature={digest.below(16**16):016x}%3D"
    )


def _make_details(digest: Digest, created: int) -> dict[str, Any]:
    """Invent the TikTok-native fields, whose shape nobody promises."""
    return {
        "createTime": created,
        "commerceUserInfo": {"commerceUser": digest.below(6) == 0},
        "stats": {"heartCount": digest.below(10**7), "friendCount": digest.below(500)},
        "relation": digest.below(3),
        "signatureLinks": [],
    }
