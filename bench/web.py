"""``python -m bench.web``: starts, pages and files of a console, also beside slow readers, and its memory."""

from __future__ import annotations

import argparse
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil

from bench.web_pages import filters, pages
from bench.web_seed import ADMIN, PASSWORD, fill
from dashboard.app import create_app
from dashboard.settings import Settings
from dashboard.web.context import EXTENSION
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS

STARTS = 5
AIM_P50, AIM_P99 = 30.0, 100.0
"""Milliseconds."""
SLOW_PAUSE, SLOW_BYTES = 1.0, 8 * 1024
"""How a slow reader reads: so many bytes, then a pause in seconds."""


@dataclass(frozen=True)
class Line:
    """Times of one request in milliseconds. ``cpu``: of the web server, which other programs change less.
    ``loop``: of a fixed computation right after it, which takes longer where the machine itself is slower."""

    name: str
    p50: float
    p99: float
    cpu: float
    loop: float

    def __str__(self) -> str:
        return f"| {self.name} | {self.p50:.1f} | {self.p99:.1f} | {self.cpu:.1f} | {self.loop:.1f} |"

    @property
    def over(self) -> bool:
        """Whether it is slower than what we aim at."""
        return self.p50 >= AIM_P50 or self.p99 >= AIM_P99


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
        response = self._request(path, headers)
        size = 0
        while chunk := response.read(1 << 20):
            size += len(chunk)
        if response.status not in (200, 206, 304):
            raise RuntimeError(f"{path}: {response.status}")
        return size

    def status(self, path: str) -> int:
        """Get a page; returns its status."""
        response = self._request(path, {})
        response.read()
        return response.status

    def _request(self, path: str, headers: Mapping[str, str]) -> HTTPResponse:
        # Fragments are for the script of a page.
        fragment = {"HX-Request": "true"} if "/live" in path else {}
        self.connection.request("GET", path, headers={"Cookie": self.cookie, **fragment, **headers})
        return self.connection.getresponse()

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
    parser.add_argument("--migrations", type=int, default=1_000, help="migrations (1,000)")
    parser.add_argument("--ledger", type=int, default=1_000_000, help="objects of one of them (1,000,000)")
    parser.add_argument("--readers", type=int, default=200, help="slow readers (200)")
    parser.add_argument("--local-mib", type=int, default=10_240, help="MiB of the large local file (10,240)")
    parser.add_argument("--s3-mib", type=int, default=1_024, help="MiB of the large object (1,024)")
    parser.add_argument("--quick", action="store_true", help="a little of everything: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.requests, options.backends, options.rows, options.readers = 5, 4, 500, 20
        options.migrations, options.ledger = 5, 1_000
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
    migration = fill(
        instance,
        folder,
        server,
        backends=options.backends,
        catalogued=options.rows,
        migrations=options.migrations,
        ledger=options.ledger,
        large_mib=(options.local_mib, options.s3_mib),
    )
    paths = _paths(instance, migration)
    # Behind a proxy all clients may share one address.
    environ = {"STOWAGE_TRUSTED_PROXIES": "1", "STOWAGE_LOG_LEVEL": "error"}
    lines = _starts(instance, environ)
    with ConsoleProcess(instance, environ=environ) as console:
        client = Client(console.address)
        client.sign_in()
        lines += ["", "| | p50 ms | p99 ms | CPU ms | loop ms |", "|---|---|---|---|---|"]
        web = _web_server(console.pid)
        # Once each first: what is only made once, such as templates, is no page's time.
        there = [path for path in paths if client.status(path) == 200]
        alone = [_times(client, path, options.requests, web) for path in there]
        lines += [str(line) for line in alone]
        for name in ("local-0", "bucket"):
            _say(f"{options.readers} slow readers of {name} ...")
            with _slow_readers(client, f"/files/{name}/slow.bin", options.readers):
                for path in ("/", "/backends", "/files/local-0/small.bin"):
                    line = _times(client, path, options.requests, web)
                    beside = f"{path} beside {options.readers} slow readers of {name}"
                    lines.append(str(replace(line, name=beside)))
        lines += ["", _summary(alone)]
        lines += ["", f"No page without more: {', '.join(path for path in paths if path not in there)}"]
        report = f"/migrations/{migration}/report.csv"
        began = time.perf_counter()
        size = client.get(report)
        lines.append(f"{report}: {size / 2**20:,.0f} MiB in {time.perf_counter() - began:.1f} s")
        for name, mebibytes in (("local-0", options.local_mib), ("bucket", options.s3_mib)):
            _say(f"{mebibytes:,} MiB from {name} ...")
            lines.append(_memory(web, client, f"/files/{name}/large.bin", mebibytes))
    return "\n".join(lines)


def _paths(instance: Path, migration: int) -> list[str]:
    app = create_app(Settings.from_env({}, instance=instance))
    values = {"id": migration, "name": "local-0", "backend": "local-0"}
    found = [*pages(app, values), "/browse/bucket", *filters(migration)]
    app.extensions[EXTENSION].close()
    return [*found, "/files/local-0/small.bin", "/files/bucket/small.bin"]


def _starts(instance: Path, environ: dict[str, str]) -> list[str]:
    taken = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with ConsoleProcess(instance, environ=environ):
            taken.append(time.perf_counter() - began)
    return [f"ready after {statistics.median(taken):.2f} s, the median of {STARTS} starts"]


def _times(client: Client, path: str, count: int, web: psutil.Process) -> Line:
    taken, before = [], _cpu_seconds(web)
    for _ in range(count):
        began = time.perf_counter()
        client.get(path)
        taken.append((time.perf_counter() - began) * 1000)
    cpu = (_cpu_seconds(web) - before) * 1000 / count
    taken.sort()
    p99 = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
    return Line(path, statistics.median(taken), p99, cpu, _loop())


def _loop() -> float:
    """Milliseconds of processor time of always the same computation."""
    began = time.process_time()
    sum(range(1_000_000))
    return (time.process_time() - began) * 1000


def _summary(lines: Sequence[Line]) -> str:
    over = [line.name for line in lines if line.over]
    loops = sorted(line.loop for line in lines)
    return (
        f"{len(lines) - len(over)} of {len(lines)} are under {AIM_P50:.0f} ms (p50) and {AIM_P99:.0f} (p99)"
        + (f", not {', '.join(over)}" if over else "")
        + f". The loop took {loops[0]:.1f} to {loops[-1]:.1f} ms: so much did the machine's own speed change."
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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


def _memory(process: psutil.Process, client: Client, path: str, mebibytes: int) -> str:
    """Read a large file, and say how much the web server's memory grew."""
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
