"""Compare this package with what users would write by hand, or pick instead.

Run it as ``python benchmarks/compare.py``, or with ``--quick``; ``pip install -e .[bench]`` brings
what it is compared with. It prints tables of medians. The yardstick is bare aiohttp with orjson,
and a ratio is that of the processor's time for a page.
"""

import argparse
import asyncio
import importlib.metadata
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from contenders import Contender, Target
from measuring import (
    HEADING,
    Effort,
    format_side,
    is_there,
    read_alone,
    read_peak,
    run_measure,
    weigh,
)
from others import OTHERS
from ours import OURS
from serving import Served, serve

CONCURRENCIES = (64, 500)
WHOLE = Effort(rounds=15, seconds=0.3, most=8.0)
QUICK = Effort(rounds=5, seconds=0.2, most=2.0)
LIBRARIES = ("aiohttp", "orjson", "attrs", "cattrs", "httpx", "httpx2", "openai", "uvloop")
SHORT = ("bare aiohttp + orjson", "following_page", "following_many")
"""What is measured on each axis."""

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def find_contenders() -> list[Contender]:
    """Give those that are installed, and tell which are not."""
    found = [contender for contender in (*OTHERS, *OURS) if is_there(contender)]
    for contender in (*OTHERS, *OURS):
        if contender not in found:
            print(f"left out: {contender.name}, since {contender.needs} is not installed")
    return found


def describe(served: Served) -> str:
    """Say on what this runs."""
    where = "a core each for server and client" if served.is_apart else "both on any core"
    return f"{served.server}, {where}; Python {platform.python_version()}, {find_versions()}"


def find_versions() -> str:
    """List the libraries that are installed."""
    versions: list[str] = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)


def print_comparison(
    contenders: list[Contender], target: Target, effort: Effort, *, has_weights: bool
) -> None:
    """Print the table of one concurrency."""
    sides = run_measure(contenders, target, effort)
    print(f"\n{target.concurrency} pages in flight\n{HEADING}{'peak MB' * has_weights:>9}")
    for side in sides:
        cell = ""
        if has_weights:
            cell = weigh(__file__, side.contender, target.url, target.concurrency, target.folder)
        print(f"{format_side(side, sides[0])}{cell:>9}", flush=True)


def print_short(
    name: str,
    contenders: list[Contender],
    target: Target,
    effort: Effort,
    make_loop: MakeLoop | None = None,
) -> None:
    """Print the yardstick and us, for one axis."""
    sides = run_measure(contenders, target, effort, make_loop)
    print(f"{name}:", *(format_side(side, sides[0]) for side in sides), sep="\n", flush=True)


def print_axes(contenders: list[Contender], target: Target, served: Served, effort: Effort) -> None:
    """Print what one change at a time makes of it, for the yardstick and for us."""
    axes = {"as above": target, "a session of one's own": attrs.evolve(target, has_session=True)}
    if served.gzip_url:
        axes["gzip"] = attrs.evolve(target, url=served.gzip_url)
    if served.tls_url:
        axes["TLS, a session of one's own"] = attrs.evolve(
            target, url=served.tls_url, certificate=served.certificate, has_session=True
        )
    for name, changed in axes.items():
        print_short(name, contenders, changed, effort)
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed")
        return
    print_short("uvloop", contenders, target, effort, uvloop.new_event_loop)


def print_python(python: str, contenders: list[Contender], target: Target, effort: Effort) -> None:
    """Print what another interpreter makes of it, on the same core."""
    words = [target.url, str(target.concurrency), str(target.folder)]
    quick = ["--quick"] if effort is QUICK else []
    names = [contender.name for contender in contenders]
    subprocess.run(
        [python, __file__, *quick, "--short", *words, "--only", *names], check=True, timeout=600
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 in flight alone, and less exact")
    parser.add_argument("--only", nargs="*", help="parts of names; the yardstick always runs")
    parser.add_argument("--concurrency", nargs="*", type=int)
    parser.add_argument("--no-axes", action="store_true", help="leave out gzip, TLS and uvloop")
    parser.add_argument(
        "--python", nargs="*", default=[], help="other interpreters that have the package"
    )
    parser.add_argument("--weigh", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--short", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print all tables."""
    given = parse_arguments()
    if given.weigh:
        name, url, concurrency, folder = given.weigh
        (one,) = [contender for contender in (*OTHERS, *OURS) if contender.name == name]
        asyncio.run(read_alone(one, Target(url, int(concurrency), Path(folder))))
        print(f"{read_peak():.0f}")
        return
    effort = QUICK if given.quick else WHOLE
    if given.short:
        url, concurrency, folder = given.short
        contenders = [one for one in (*OTHERS, *OURS) if one.name in given.only]
        name = f"Python {platform.python_version()}, {find_versions()}"
        print_short(name, contenders, Target(url, int(concurrency), Path(folder)), effort)
        return
    contenders = find_contenders()
    if given.only:
        keep = [one for one in contenders[1:] if any(part in one.name for part in given.only)]
        contenders = [contenders[0], *keep]
    concurrencies = given.concurrency or CONCURRENCIES[: 1 if given.quick else None]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as served:
        print(describe(served))
        for number, concurrency in enumerate(concurrencies):
            target = Target(served.url, concurrency, Path(folder))
            print_comparison(contenders, target, effort, has_weights=number == 0)
        target = Target(served.url, concurrencies[0], Path(folder))
        contenders = [contender for contender in contenders if contender.name in SHORT]
        if given.python or not given.no_axes:
            print(f"\none change at a time, {target.concurrency} pages in flight\n{HEADING}")
        if not given.no_axes:
            print_axes(contenders, target, served, effort)
        for python in given.python:
            print_python(python, contenders, target, effort)
    print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
