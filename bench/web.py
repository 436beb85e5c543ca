"""``python -m bench.web``: pages and files of one console, alone and beside slow readers, and its memory."""

from __future__ import annotations

import argparse
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
from sqlalchemy import insert

from dashboard.app import open_services
from dashboard.models.catalogue import files
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS

ADMIN, PASSWORD = "bench", "a few unrelated words"
PAGES = (
    "/",
    "/backends",
    "/browse/local-0",
    "/browse/bucket",
    "/migrations",
    "/settings",
    "/api/v1/backends",
)
SMALL, SLOW = 64 * 1024, 64 * 1024 * 1024
SLOW_PAUSE, SLOW_BYTES = 1.0, 8 * 1024
"""How a slow reader reads: so many bytes, then a pause in seconds."""


@dataclass(frozen=True)
class Line:
    """Times of one request in milliseconds."""

    name: str
    p50: float
    p99: float

    def __str__(self) -> str:
        return f"| {self.name} | {self.p50:.1f} | {self.p99:.1f} |"


class Client:
    """One signed-in browser on one connection."""

    def __init__(self, address: str, cookie: str = "") -> None:
        parts = urlsplit(address)
        assert parts.hostname
        assert parts.port
        self.host, self.port = parts.hostname, parts.port
        self.connection = HTTPConnection(self.host, self.port, timeout=60)
        self.cookie = cookie

    def sign_in(self) -> None:
        """Sign in; keeps the cookie."""
        page = self._send("GET", "/sign-in")
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found
        form = urlencode({"csrf_token": found[1], "username": ADMIN, "password": PASSWORD})
        self._send("POST", "/sign-in", form)

    def _send(self, method: str, path: str, body: str = "") -> str:
        headers = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request(method, path, body or None, headers)
        response = self.connection.getresponse()
        for header in response.headers.get_all("Set-Cookie") or ():
            self.cookie = header.partition(";")[0]
        return response.read().decode()

    def get(self, path: str, **headers: str) -> int:
        """Get a page or file completely; returns its bytes."""
        self.connection.request("GET", path, headers={"Cookie": self.cookie, **headers})
        response = self.connection.getresponse()
        size = 0
        while chunk := response.read(1 << 20):
            size += len(chunk)
        if response.status not in (200, 206, 304):
            raise RuntimeError(f"{path}: {response.status}")
        return size

    def slow_reader(self, path: str, source: str) -> socket.socket:
        """A connection from another address on which a file was asked for and is not read."""
        made = socket.create_connection((self.host, self.port), timeout=60, source_address=(source, 0))
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode())
        return made


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind (300)")
    parser.add_argument("--backends", type=int, default=50, help="backends (50)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the catalogue (1,000,000)")
    parser.add_argument("--readers", type=int, default=200, help="slow readers (200)")
    parser.add_argument("--local-mib", type=int, default=10_240, help="MiB of the large local file (10,240)")
    parser.add_argument("--s3-mib", type=int, default=1_024, help="MiB of the large object (1,024)")
    parser.add_argument("--quick", action="store_true", help="a little of everything: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.requests, options.backends, options.rows, options.readers = 5, 4, 500, 20
        options.local_mib, options.s3_mib = 64, 16
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder, SeaweedFS() as server:
        print(measure(options, Path(folder), server))
    return 0


def measure(options: argparse.Namespace, folder: Path, server: SeaweedFS) -> str:
    """Make a console, measure it, and return the report."""
    _say("making the console ...")
    instance = folder / "instance"
    _fill(options, instance, folder, server)
    # Behind a proxy all clients may share one address.
    environ = {"STOWAGE_TRUSTED_PROXIES": "1", "STOWAGE_LOG_LEVEL": "error"}
    with ConsoleProcess(instance, environ=environ) as console:
        client = Client(console.address)
        client.sign_in()
        paths = (*PAGES, "/files/local-0/small.bin", "/files/bucket/small.bin")
        for path in paths:
            client.get(path)
        lines = ["| | p50 ms | p99 ms |", "|---|---|---|"]
        lines += [str(_times(client, path, options.requests)) for path in paths]
        for name in ("local-0", "bucket"):
            _say(f"{options.readers} slow readers of {name} ...")
            with _slow_readers(client, f"/files/{name}/slow.bin", options.readers):
                for path in ("/", "/backends", "/files/local-0/small.bin"):
                    line = _times(client, path, options.requests)
                    lines.append(
                        str(
                            Line(
                                f"{path} beside {options.readers} slow readers of {name}", line.p50, line.p99
                            )
                        )
                    )
        lines.append("")
        for name, size in (("local-0", options.local_mib), ("bucket", options.s3_mib)):
            _say(f"{size:,} MiB from {name} ...")
            lines.append(_memory(console.pid, client, f"/files/{name}/large.bin", size))
    return "\n".join(lines)


def _fill(options: argparse.Namespace, instance: Path, folder: Path, server: SeaweedFS) -> None:
    services = open_services(Settings.from_env({}, instance=instance))
    services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
    actor = Actor(ADMIN, Role.ADMIN, "cli")
    bucket = server.new_bucket()
    access = server.admin
    s3 = {
        "endpoint": server.endpoint,
        "bucket": bucket,
        "access_key_id": access.access_key,
        "region": "us-east-1",
    }
    secrets = {"secret_access_key": Secret(access.secret_key)}
    services.backends.add(actor, Draft("bucket", "s3", s3, secrets))
    for number in range(options.backends - 2):
        root = folder / f"local-{number}"
        root.mkdir()
        services.backends.add(actor, Draft(f"local-{number}", "local", {"root": str(root)}, {}))
    for name, large in (("local-0", options.local_mib), ("bucket", options.s3_mib)):
        driver = services.backends.driver(name)
        driver.put("small.bin", b"s" * SMALL)
        with driver.write("slow.bin", size=SLOW) as writing:
            for _ in range(SLOW >> 20):
                writing.write(b"l" * (1 << 20))
            writing.commit()
        if name == "bucket":
            with driver.write("large.bin", size=large << 20) as writing:
                for _ in range(large):
                    writing.write(b"L" * (1 << 20))
                writing.commit()
    with (folder / "local-0" / "large.bin").open("wb") as sparse:
        sparse.truncate(options.local_mib << 20)
    _catalogue(services, options.rows, options.backends)
    services.close()


def _catalogue(services: Services, rows: int, backends: int) -> None:
    now, step = time.time(), 20_000
    for start in range(0, rows, step):
        with services.database.work_write() as connection:
            connection.execute(
                insert(files),
                [
                    {
                        "backend_id": number % backends + 1,
                        "key": f"folder-{number % 977}/file-{number}.jpg",
                        "size": number % 5_000_000,
                        "modified": now - number,
                        "etag": f"{number:032x}",
                        "md5": f"{number:032x}",
                        "content_type": "image/jpeg",
                        "created_at": now,
                        "updated_at": now,
                    }
                    for number in range(start, min(rows, start + step))
                ],
            )


def _times(client: Client, path: str, count: int) -> Line:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        client.get(path)
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return Line(path, statistics.median(taken), taken[min(len(taken) - 1, int(len(taken) * 0.99))])


@contextmanager
def _slow_readers(client: Client, path: str, count: int) -> Iterator[None]:
    """So many connections that read a large file at a few kB a second."""
    readers = []
    for number in range(count):
        reader = client.slow_reader(path, f"127.0.0.{2 + number % 200}")
        readers.append(reader)
        if not reader.recv(12).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a slow reader was refused")
        reader.setblocking(False)
    ending = threading.Event()

    def read() -> None:
        while not ending.wait(SLOW_PAUSE):
            for reader in readers:
                with suppress(BlockingIOError):
                    reader.recv(SLOW_BYTES)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        for reader in readers:
            reader.close()


def _memory(pid: int, client: Client, path: str, mebibytes: int) -> str:
    """Read a large file, and say how much the web server's memory grew."""
    process = _web_server(pid)
    before = peak = process.memory_info().rss
    ending = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ending.wait(0.05):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    try:
        size = client.get(path)
    finally:
        ending.set()
        thread.join()
    seconds = time.perf_counter() - began
    if size != mebibytes << 20:
        raise RuntimeError(f"{path}: {size:,} bytes")
    return f"{path}: {mebibytes:,} MiB in {seconds:.1f} s, memory grew by {(peak - before) / 2**20:.1f} MiB"


def _web_server(pid: int) -> psutil.Process:
    """The child that has accepted connections."""
    children = psutil.Process(pid).children(recursive=True)
    return max(children, key=lambda child: len(child.net_connections(kind="tcp")))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
