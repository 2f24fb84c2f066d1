"""The others: what users would write by hand, or pick instead.

The law: each is written as its own documentation would have it, with no trick that the others lack.
It imports its library when it is opened, so that one that is missing is left out, and so that what
one alone takes of the memory is its own.
"""

import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from contenders import KEY, PAGES_OF_A_LIST, PATH, Contender, Read, Target, make_read

SPECIFICATION = Path(__file__).parents[1] / "tests" / "openapi.json"


@asynccontextmanager
async def open_aiohttp(target: Target, loads: Callable[[bytes], Any]) -> AsyncIterator[Read]:
    """Open the loop that a user would write by hand."""
    from aiohttp import ClientSession

    connector = target.make_connector()
    async with ClientSession(connector=connector, headers={"x-api-key": KEY}) as session:

        async def fetch(handle: str) -> object:
            async with session.get(target.url + PATH.format(handle)) as response:
                response.raise_for_status()
                return loads(await response.read())

        yield make_read(fetch, target.concurrency)


def open_aiohttp_orjson(target: Target) -> AbstractAsyncContextManager[Read]:
    """Open the yardstick: dicts, no retry, no limit but the pool's, nothing checked."""
    import orjson

    return open_aiohttp(target, orjson.loads)


def open_aiohttp_json(target: Target) -> AbstractAsyncContextManager[Read]:
    """Open the same with what Python brings along."""
    import json

    return open_aiohttp(target, json.loads)


@asynccontextmanager
async def open_aiohttp_lists(target: Target) -> AsyncIterator[Read]:
    """Open the loop for whole lists: what it holds until a list is read are dicts."""
    import orjson
    from aiohttp import ClientSession

    connector = target.make_connector()
    async with ClientSession(connector=connector, headers={"x-api-key": KEY}) as session:

        async def fetch(handle: str) -> object:
            accounts: list[object] = []
            query: dict[str, str] = {}
            while True:
                url = target.url + PATH.format(handle)
                async with session.get(url, params=query) as response:
                    response.raise_for_status()
                    data = orjson.loads(await response.read())["data"]
                accounts += data["accounts"]
                if not data["page"]["hasMore"]:
                    return accounts
                query = {"cursor": data["page"]["nextCursor"]}

        yield make_read(fetch, target.concurrency, PAGES_OF_A_LIST)


@asynccontextmanager
async def open_httpx(target: Target, module: str = "httpx") -> AsyncIterator[Read]:
    """Open httpx with room for all connections."""
    httpx = importlib.import_module(module)
    room = {"max_connections": target.concurrency, "max_keepalive_connections": target.concurrency}
    limits = httpx.Limits(**room)
    async with httpx.AsyncClient(limits=limits, headers={"x-api-key": KEY}) as client:

        async def fetch(handle: str) -> object:
            response = await client.get(target.url + PATH.format(handle))
            response.raise_for_status()
            return response.json()

        yield make_read(fetch, target.concurrency)


def open_httpx2(target: Target) -> AbstractAsyncContextManager[Read]:
    """Open its successor, which openai's client brings along."""
    return open_httpx(target, "httpx2")


def generate_client(folder: Path) -> None:
    """Make a client of the API's description, unless made, and let it be found."""
    made = folder / "generated"
    if not made.exists():
        config = folder / "generator.json"
        config.write_text('{"post_hooks": []}')
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
        paths = ["--path", str(SPECIFICATION), "--config", str(config), "--output-path", str(made)]
        subprocess.run([*command, *paths], check=True, capture_output=True)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@asynccontextmanager
async def open_generated(target: Target) -> AsyncIterator[Read]:
    """Generate a client from the API's description and open that."""
    import httpx

    generate_client(target.folder)
    generated = importlib.import_module("generated")
    route = importlib.import_module("generated.api.default.list_following")
    room = {"max_connections": target.concurrency, "max_keepalive_connections": target.concurrency}
    client = generated.Client(
        base_url=target.url,
        headers={"x-api-key": KEY},
        raise_on_unexpected_status=True,
        httpx_args={"limits": httpx.Limits(**room)},
    )
    async with client:

        async def fetch(handle: str) -> object:
            page = await route.asyncio(handle, client=client)
            return page.data.accounts

        yield make_read(fetch, target.concurrency)


@asynccontextmanager
async def open_openai(target: Target) -> AsyncIterator[Read]:
    """Open the client that many a generated one is built on, with a typed page."""
    import openai
    from openai_page import Body

    headers = {"x-api-key": KEY}
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=target.url, default_headers=headers
    ) as client:

        async def fetch(handle: str) -> object:
            return await client.get(PATH.format(handle), cast_to=Body)

        yield make_read(fetch, target.concurrency)


OTHERS = [
    Contender("bare aiohttp + orjson", open_aiohttp_orjson, needs="aiohttp"),
    Contender("bare aiohttp + json", open_aiohttp_json, needs="aiohttp"),
    Contender("bare aiohttp, lists", open_aiohttp_lists, "aiohttp", PAGES_OF_A_LIST),
    Contender("httpx2 + json", open_httpx2, needs="httpx2"),
    Contender("httpx + json", open_httpx, needs="httpx"),
    Contender("openapi-python-client", open_generated, needs="openapi_python_client"),
    Contender("openai's base client", open_openai, needs="openai"),
]
"""The first is the yardstick."""
