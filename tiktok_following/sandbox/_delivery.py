"""Write an answer to the connection, whole or the way a fault says; nothing is decided here."""

import os
import socket
import struct

from aiohttp import web

from tiktok_following.sandbox._answers import Answer
from tiktok_following.sandbox._waiting import Waits
from tiktok_following.sandbox.faults import Fault

_LINGER_NOT = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""``struct linger`` that makes closing a socket send RST."""


def drop(
    request: web.BaseRequest, *, reset: bool = False, last_words: bytes | None = None
) -> web.StreamResponse:
    """Close the connection without an answer; aiohttp finds nothing to write the result to."""
    transport = request.transport
    if transport is not None:
        transport.write(last_words or b"")
        if reset:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort() if reset else transport.close()
    return web.Response()


async def deliver(
    request: web.BaseRequest, answer: Answer, fault: Fault, waits: Waits
) -> web.StreamResponse:
    """Write the answer, or leave it to aiohttp when it goes out in one piece."""
    if fault.pieces == 1 and fault.cut >= 1:
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    end = int(len(answer.body) * fault.cut)
    step = max(1, -(-end // fault.pieces))
    for start in range(0, end, step):
        await waits.sleep(fault.between)
        await response.write(answer.body[start : min(start + step, end)])
    if fault.cut < 1:
        drop(request)
    return response
