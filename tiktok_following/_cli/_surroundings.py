"""Look at where a client would run: key, address, proxy, versions, descriptors, store.

The law: nothing is sent, nothing is changed, and of the key no more shows than its first
characters.
"""

import os
import platform
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from tiktok_following._config import (
    API_KEY_VARIABLE,
    BASE_URL_VARIABLE,
    DEFAULT_BASE_URL,
    ApiKey,
    parse_api_key,
    parse_base_url,
)
from tiktok_following._errors import ConfigurationError
from tiktok_following._opening import resolve_path
from tiktok_following._pool import find_proxy, read_proxy
from tiktok_following._store import FollowingStore
from tiktok_following._store_errors import StoreError
from tiktok_following._version import __version__

from ._exit import USAGE
from ._findings import Finding, approve, object_for, object_to, warn
from ._words import count

RECOMMENDED = 500
"""Pages at once under which the provider recommends to stay."""
_OTHER_FILES = 50
"""Descriptors beside the connections: the store's, the loop's own, some to spare."""
_LITTLE_ROOM = 2**30
"""Bytes free on the disk of a store."""


def examine_versions() -> Finding:
    """Look at what is installed."""
    libraries = [f"{name} {version(name)}" for name in ("aiohttp", "orjson")]
    with suppress(PackageNotFoundError):  # it is not needed
        libraries.append(f"uvloop {version('uvloop')}")
    parts = [
        f"tiktok-following {__version__}",
        f"{platform.python_implementation()} {platform.python_version()}",
        *libraries,
        " ".join(ssl.OPENSSL_VERSION.split()[:2]),
        f"{platform.system()} {platform.release()} {platform.machine()}",
    ]
    return approve("versions", ", ".join(parts))


def examine_key() -> Finding:
    """Look whether there is a key that looks like one."""
    key = ApiKey(os.environ.get(API_KEY_VARIABLE, "").strip())
    advice = f"put your key into the environment variable {API_KEY_VARIABLE}, or try --sandbox"
    if not key:
        return object_to("key", "there is none", advice, code=USAGE)
    try:
        parse_api_key(key, key)
    except ConfigurationError as error:
        return object_for("key", error, advice)
    shown = f"{key.redacted} from {API_KEY_VARIABLE}"
    if not key.startswith("sfk_"):
        return warn("key", f"{shown} does not begin with sfk_", "see that it is the whole key")
    return approve("key", shown)


def examine_address() -> Finding:
    """Look where requests would go."""
    given = os.environ.get(BASE_URL_VARIABLE)
    try:
        url = parse_base_url(given or DEFAULT_BASE_URL, BASE_URL_VARIABLE)
    except ConfigurationError as error:
        return object_for("address", error, f"mend or unset {BASE_URL_VARIABLE}")
    return approve("address", f"{url} from {BASE_URL_VARIABLE}" if given else url)


def examine_proxy() -> Finding:
    """Look which proxy the environment names, and whether it would be used."""
    try:
        url = parse_base_url(os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL)
    except ConfigurationError:
        return approve("proxy", "not looked for without an address")
    scheme, proxies = urlsplit(url).scheme, getproxies()
    try:
        used = find_proxy(url)
    except ConfigurationError as error:
        return object_for("proxy", error, "name an http proxy, or unset the variable")
    if used is not None:
        how = "in Python it is with trust_env=True only"
        return approve("proxy", f"{used.origin()} is used by this command; {how}")
    if scheme in proxies:
        why = "the address is this machine, or in NO_PROXY"
        return approve("proxy", f"{_name_proxy(scheme)} is not used: {why}")
    if "all" in proxies:
        text = f"{_name_proxy('all')} is not used: nothing reads ALL_PROXY"
        return warn("proxy", text, f"if it is needed, name it in {scheme.upper()}_PROXY")
    return approve("proxy", "none is named by the environment")


def _name_proxy(scheme: str) -> str:
    """Show a proxy without its user and password, and one that cannot be used not at all."""
    proxy = read_proxy(scheme)
    return f"what {scheme.upper()}_PROXY names" if proxy is None else str(proxy.origin())


def examine_descriptors(concurrency: int) -> Finding:
    """Look whether so many connections may be open."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return approve("descriptors", "this system sets no limit that could be looked at")
    allowed, most = (
        sys.maxsize if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return judge_descriptors(concurrency, allowed, most)


def judge_descriptors(concurrency: int, allowed: int, most: int) -> Finding:
    """Tell whether a limit is enough, and if not, whether the user can raise it."""
    needed = concurrency + _OTHER_FILES
    text = f"{allowed:,} may be open, {count(concurrency, 'page')} at once need {needed:,}"
    if allowed >= needed:
        return approve("descriptors", text)
    if most >= needed:
        return warn("descriptors", text, f"run `ulimit -n {needed}` before, in the same shell")
    fewer = f"use --concurrency {max(allowed - _OTHER_FILES, 1)}"
    return warn("descriptors", text, f"{fewer}, or have the hard limit of {most:,} raised")


def examine_concurrency(concurrency: int) -> Iterator[Finding]:
    """Look whether it is more than the provider recommends."""
    if concurrency >= RECOMMENDED:
        text = f"{count(concurrency, 'page')} at once; the API recommends fewer than {RECOMMENDED}"
        yield warn("concurrency", text, f"use --concurrency {RECOMMENDED - 100}")


def examine_store(path: str) -> Iterator[Finding]:
    """Look whether a run can go on with a store, or make it, and whether there is room."""
    try:
        file = resolve_path(path)
        is_there = file.exists() and not (file.is_file() and not file.stat().st_size)
        Path(f"{file}-journal").exists()  # the longest name of what is made beside it
    except StoreError as error:
        yield object_for("store", error, "choose another file")
        return
    except OSError as error:
        text = f"{path} cannot be used: {error.strerror}"
        yield object_to("store", text, "choose another file", code=USAGE)
        return
    folder = file.parent
    if not is_there:
        if not os.access(folder, os.W_OK | os.X_OK):
            text = f"it cannot be made in {folder}"
            yield object_to("store", text, "choose a folder that can be written", code=USAGE)
            return
        yield approve("store", f"{path} has nothing in it yet: the first run makes it")
    else:
        yield _examine_file(path)
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_ROOM:
        text = f"{free // 2**20:,} MiB are free, a page takes about 30 KiB"
        yield warn("disk", text, "make room, or put the store elsewhere")


def _examine_file(path: str) -> Finding:
    try:
        with FollowingStore(path) as store:
            summary = store.summary()
    except StoreError as error:
        return object_for("store", error, "choose another file")
    if not (os.access(path, os.W_OK) and os.access(Path(path).absolute().parent, os.W_OK)):
        return warn("store", f"{path} cannot be written", "let yourself write to it and its folder")
    handles = ", ".join(f"{number:,} {state}" for state, number in summary.handles.items())
    return approve("store", f"{path}: {handles}; {count(summary.pages, 'page')}")
