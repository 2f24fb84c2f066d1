"""Answer with prepared pages: the server where nginx is missing, or where answers must take time.

Run as ``python answering.py FOLDER SECONDS``; it prints its port, and ends when its input does.
It speaks just enough HTTP to be several times quicker than any client here.
"""

import asyncio
import sys
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection: a page for each request, after a while.

    Args:
        answers: The whole answers, by the name of the page.
        latency: Seconds before each.
    """

    def __init__(self, answers: dict[bytes, bytes], latency: float) -> None:
        self._answers = answers
        self._latency = latency
        self._read = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete; none of them has a body."""
        *heads, self._read = (self._read + data).split(END)
        for head in heads:
            answer = self._answers.get(find_name(head), MISSING)
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._write, answer)
            else:
                self._transport.write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def find_name(head: bytes) -> bytes:
    """Find which page a request asks for: ``/…/HANDLE/following?cursor=CURSOR``."""
    path, _, query = head.split(b" ", 2)[1].partition(b"?")
    if path.split(b"/")[-2].startswith(b"one"):
        return b"one"
    return b"list" + query.partition(b"cursor=")[2].partition(b"&")[0]


def read_answers(folder: Path) -> dict[bytes, bytes]:
    """Give the whole answers of the pages in a folder, by name."""
    bodies = {path.stem.encode(): path.read_bytes() for path in folder.glob("*.json")}
    return {name: ANSWER % (len(body), body) for name, body in bodies.items()}


async def answer_until_eof(answers: dict[bytes, bytes], latency: float) -> None:
    """Serve until nobody is left to read the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(answers, latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(answer_until_eof(read_answers(Path(sys.argv[1])), float(sys.argv[2])))
