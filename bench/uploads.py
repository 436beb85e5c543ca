"""``python -m bench.uploads``: one file over tus to Stowage, and to tus's own server for Node beside it."""

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from dashboard.app import open_services
from dashboard.services.permissions import Actor, Role
from dashboard.settings import Settings
from tests.servers.console import ConsoleProcess
from tests.servers.processes import ServerProcess, free_ports, wait_until

MIB = 1024 * 1024
PIECE = 8 * MIB
"""What the Files page sends in one request."""
ADMIN, PASSWORD = "bench", "a few unrelated words"
PACKAGES = ("@tus/server@2.4.5", "@tus/file-store@2.1.1")
SERVER = """
import { Server } from "@tus/server";
import { FileStore } from "@tus/file-store";
const [port, directory] = process.argv.slice(2);
const server = new Server({ path: "/files", datastore: new FileStore({ directory }) });
server.listen({ host: "127.0.0.1", port: Number(port) });
"""


@dataclass(frozen=True)
class Line:
    """Medians of some rounds, in seconds. ``cpu``: of the process that receives."""

    name: str
    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"| {self.name} | {self.seconds:.2f} | {self.cpu:.2f} |"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.uploads", description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="MiB of the file (256)")
    parser.add_argument("--rounds", type=int, default=3, help="uploads to each server (3)")
    parser.add_argument("--quick", action="store_true", help="a little of everything: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.mib, options.rounds = 16, 1
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder:
        print(measure(options, Path(folder)))
    return 0


def measure(options: argparse.Namespace, folder: Path) -> str:
    """Send the file to both servers, in turn, and return the report."""
    size = options.mib * MIB
    with _stowage(folder) as (address, headers, process):
        ours = [_send(f"{address}/api/v1/uploads", size, headers, process) for _ in range(options.rounds)]
    lines = [f"{options.mib} MiB over tus in pieces of 8 MiB, medians of {options.rounds}:", ""]
    lines += ["| server | s | CPU s |", "|---|---|---|", str(_median("Stowage", ours))]
    if not _install(folder):
        lines += ["", "tus's server for Node could not be installed (npm), so there is nothing beside it."]
        return "\n".join(lines)
    with _node(folder) as (address, process):
        theirs = [_send(f"{address}/files", size, {}, process) for _ in range(options.rounds)]
    first, second = _median("Stowage", ours), _median("tus-node-server", theirs)
    lines += [
        str(second),
        "",
        f"Time: {first.seconds / second.seconds:.2f}, CPU time: {first.cpu / second.cpu:.2f}.",
    ]
    return "\n".join(lines)


@contextmanager
def _stowage(folder: Path) -> Iterator[tuple[str, dict[str, str], psutil.Process]]:
    """A console: its address, what signs a request in, and the process that receives."""
    instance = folder / "instance"
    services = open_services(Settings.from_env({}, instance=instance))
    services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
    made = services.tokens.create(Actor(ADMIN, Role.ADMIN, "cli"), "bench", ["write_files"])
    services.close()
    environ = {"STOWAGE_API_REQUESTS_PER_MINUTE": "1000000", "STOWAGE_LOG_LEVEL": "error"}
    with ConsoleProcess(instance, environ=environ) as console:
        headers = {"Authorization": f"Bearer {made.secret.reveal()}"}
        children = psutil.Process(console.pid).children()
        web = next(child for child in children if "web" in child.cmdline())
        yield console.address, headers, web


def _install(folder: Path) -> bool:
    """Install tus's server for Node into a folder; False if that is not possible here."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return False
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode == 0


@contextmanager
def _node(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """tus's server for Node: its address and its process."""
    (folder / "server.mjs").write_text(SERVER)
    (folder / "received").mkdir()
    (port,) = free_ports(1)
    node = shutil.which("node")
    assert node
    command = [node, "server.mjs", str(port), str(folder / "received")]
    server = ServerProcess(command, cwd=folder, log=folder / "node.log")
    try:
        wait_until(lambda: _responds(port), seconds=30, what="tus's server for Node")
        yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
    finally:
        server.stop()


def _responds(port: int) -> bool:
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("OPTIONS", "/files", headers={"Tus-Resumable": "1.0.0"})
            return connection.getresponse().status < 500
    except OSError:
        return False


def _send(url: str, size: int, headers: dict[str, str], process: psutil.Process) -> tuple[float, float]:
    """Upload a file; return the seconds from the first byte until the last was acknowledged, and the CPU
    seconds that the server took for it."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=120)) as connection:
        return _send_over(connection, parts.path, size, headers, process)


def _send_over(
    connection: HTTPConnection, path: str, size: int, headers: dict[str, str], process: psutil.Process
) -> tuple[float, float]:
    headers = {**headers, "Tus-Resumable": "1.0.0"}
    piece = b"\x00" + bytes(range(1, 256)) * (PIECE // 255)

    def request(method: str, to: str, body: bytes = b"", **more: str) -> dict[str, str]:
        sent = {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, to, body, {**headers, **sent})
        response = connection.getresponse()
        response.read()
        if response.status not in (201, 204):
            raise RuntimeError(f"{method} {to}: {response.status}")
        return {name.lower(): value for name, value in response.getheaders()}

    name = base64.b64encode(f"{secrets.token_hex(8)}.dat".encode()).decode()
    created = request("POST", path, Upload_Length=str(size), Upload_Metadata=f"filename {name}")
    where = re.sub(r"^https?://[^/]+", "", created["location"])
    before, began, offset = _cpu(process), time.perf_counter(), 0
    while offset < size:
        done = request(
            "PATCH",
            where,
            piece[: min(PIECE, size - offset)],
            Upload_Offset=str(offset),
            Content_Type="application/offset+octet-stream",
        )
        offset = int(done["upload-offset"])
    taken = time.perf_counter() - began, _cpu(process) - before
    if "Authorization" in headers:
        # The runner checks and stores it: the next round does not share the processor with that.
        wait_until(lambda: _is_done(connection, where, headers), seconds=120, what="the upload is stored")
    return taken


def _is_done(connection: HTTPConnection, path: str, headers: dict[str, str]) -> bool:
    connection.request("GET", path, headers=headers)
    return bool(json.loads(connection.getresponse().read())["state"] == "done")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _median(name: str, rounds: Sequence[tuple[float, float]]) -> Line:
    seconds, cpu = zip(*rounds, strict=True)
    return Line(name, statistics.median(seconds), statistics.median(cpu))


if __name__ == "__main__":
    sys.exit(main())
