"""Serve pages to measure clients with, from a process of its own that is not the bottleneck.

The law: only on this machine, on a core of its own where there are two, and ended by who began it.
"""

import gzip
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import orjson
from structuring import ROWS, Row, lengthen

from tiktok_following.sandbox import Sandbox

PAGES_OF_A_LIST = 5
SECONDS_TO_START = 5.0
NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log error.log;
{user}
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    root pages;
{servers}
}}
"""
SERVER = """
    server {{
        listen 127.0.0.1:{listen};
        {extra}
        location /v1/tiktok/profiles/one {{ try_files /one.json =404; }}
        location /v1/tiktok/profiles/ {{ try_files /list$arg_cursor.json =404; }}
    }}
"""
CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
)


@attrs.frozen
class Served:
    """Where the pages are."""

    server: str
    """What serves them, for the heading of a table."""
    url: str
    gzip_url: str | None = None
    """The same compressed; `None` where the server cannot."""
    tls_url: str | None = None
    certificate: Path | None = None
    """Whom to trust at `tls_url`."""
    is_apart: bool = False
    """Whether server and client have a core each."""


def write_pages(folder: Path) -> int:
    """Write the pages of a list, and one that is alone; give the bytes of that one.

    A handle that begins with ``one`` has one page; every other has `PAGES_OF_A_LIST`.
    """
    folder.mkdir()
    accounts = [lengthen(row) for row in Sandbox().profile("nasa").accounts[:ROWS]]
    for number in range(PAGES_OF_A_LIST):
        after = str(number + 1) if number + 1 < PAGES_OF_A_LIST else None
        write_page(folder / f"list{number or ''}.json", accounts, after)
    return write_page(folder / "one.json", accounts, None)


def write_page(path: Path, accounts: list[Row], next_cursor: str | None) -> int:
    """Write one page, plain and compressed; give its bytes."""
    page = {"nextCursor": next_cursor, "hasMore": next_cursor is not None}
    data = {"lookupStatus": "found", "accounts": accounts, "page": page, "totalAccounts": 300}
    meta = {"requestId": "req_01HXYZ7Q3V9K2M", "creditsCharged": 1, "version": "v1"}
    body = orjson.dumps({"data": data, "meta": meta})
    path.write_bytes(body)
    path.with_suffix(".json.gz").write_bytes(gzip.compress(body, 6))
    return len(body)


def find_cores() -> tuple[set[int], set[int]] | None:
    """Give the cores of the server and of the client; `None` where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[-1]}) if len(cores) > 1 else None


@contextmanager
def serve(folder: Path, *, latency: float = 0.0) -> Iterator[Served]:
    """Serve pages as long as the block lasts, and keep this process to a core of its own.

    Args:
        folder: Where to put them; it exists and is empty.
        latency: Seconds that every answer takes; nginx has none.
    """
    write_pages(folder / "pages")
    cores = find_cores()
    before = os.sched_getaffinity(0) if cores else set[int]()
    if cores:
        os.sched_setaffinity(0, cores[0])  # what is started now inherits it
    nginx = None if latency else shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    process, served = start_nginx(nginx, folder) if nginx else start_answering(folder, latency)
    try:
        if cores:
            os.sched_setaffinity(0, cores[1])
        yield attrs.evolve(served, is_apart=cores is not None)
    finally:
        process.terminate()
        process.wait()
        if cores:
            os.sched_setaffinity(0, before)


def start_nginx(nginx: str, folder: Path) -> tuple["subprocess.Popen[str]", Served]:
    """Start nginx with one worker: plain, compressed, and with TLS where there is openssl."""
    ports = find_ports(3)
    has_tls = shutil.which("openssl") is not None
    if has_tls:
        subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
    tls = "ssl_certificate certificate.pem; ssl_certificate_key key.pem;"
    servers = [(f"{ports[0]}", ""), (f"{ports[1]}", "gzip_static on;")]
    servers += [(f"{ports[2]} ssl", tls)] * has_tls
    user = "user root;" if os.geteuid() == 0 else ""
    blocks = "".join(SERVER.format(listen=listen, extra=extra) for listen, extra in servers)
    (folder / "nginx.conf").write_text(NGINX.format(user=user, servers=blocks))
    command = [nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    process = subprocess.Popen(command, text=True)
    wait_for(ports[0], process)
    version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    return process, Served(
        server=version.strip().rpartition(": ")[2].replace("/", " "),
        url=f"http://127.0.0.1:{ports[0]}",
        gzip_url=f"http://127.0.0.1:{ports[1]}",
        tls_url=f"https://127.0.0.1:{ports[2]}" if has_tls else None,
        certificate=folder / "certificate.pem" if has_tls else None,
    )


def start_answering(folder: Path, latency: float) -> tuple["subprocess.Popen[str]", Served]:
    """Start a server of our own, and wait until it tells its port."""
    script = Path(__file__).with_name("answering.py")
    command = [sys.executable, str(script), str(folder / "pages"), str(latency)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    why = f"{latency * 1000:.0f} ms per answer" if latency else "nginx is not installed"
    return process, Served(f"answering.py ({why})", f"http://127.0.0.1:{port}")


def find_ports(count: int) -> list[int]:
    """Find ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


def wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    """Wait until a server listens."""
    until = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.terminate()
    raise RuntimeError("nginx did not start; see error.log in its folder")
