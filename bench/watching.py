"""``python -m bench.watching``: what open progress pages cost the migration that they show."""

from __future__ import annotations

import argparse
import heapq
import html
import multiprocessing
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from http.client import HTTPConnection
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.web import Client
from bench.web_seed import ADMIN, PASSWORD
from dashboard.app import open_services
from dashboard.migration.types import Outcome, Spec
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from dashboard.web.admin.fragments import PAGE_HEADER
from tests.servers.console import ConsoleProcess
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS

ACTOR = Actor(ADMIN, Role.ADMIN, "cli")
LIVE = re.compile(r'hx-get="([^"]+)" hx-trigger="every (\d+)s')
SEED = 11


@dataclass(frozen=True)
class Run:
    """One migration, in seconds. ``web``, ``runner`` and ``browsers``: CPU of these processes.
    ``requests``: those of the open pages."""

    wall: float
    web: float
    runner: float
    browsers: float
    requests: float


class OpenPage:
    """One browser with the page of a migration open: it does what ``stowage.js`` does."""

    def __init__(self, address: str, cookie: str, path: str) -> None:
        parts = urlsplit(address)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._cookie, self._tag, self._part, self._skip = cookie, "", "", 0
        self._page = f"page-{id(self)}"
        self._unchanged = 0
        self.seconds = self._follow(self._get(path, {})[1])

    def poll(self) -> None:
        """Ask for the live part, as after each interval."""
        if self._skip:
            self._skip -= 1
            return
        headers = {"HX-Request": "true", PAGE_HEADER: self._page}
        if self._tag:
            headers["If-None-Match"] = self._tag
        asked = self._part
        status, text, tag = self._get(asked, headers)
        if status == 304:
            self._unchanged += 1
            self._skip = max(0, min(self._unchanged - 5, 3))
            return
        self._unchanged = 0
        self.seconds = self._follow(text)
        self._tag = tag if self._part == asked else ""

    def close(self) -> None:
        """Close the page."""
        self._connection.close()

    def _follow(self, text: str) -> float:
        found = LIVE.search(text)
        self._part = html.unescape(found[1]) if found else ""
        return float(found[2]) if found else 0.0

    def _get(self, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        sent = {"Cookie": self._cookie, "Accept-Encoding": "identity", **headers}
        self._connection.request("GET", path, headers=sent)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        if answer.status not in (200, 304):
            raise RuntimeError(f"{path}: {answer.status}")
        return answer.status, body, answer.headers.get("ETag", "")


def watch(
    address: str, cookie: str, path: str, count: int, begin: Event, ending: Event, asked: Synchronized[int]
) -> None:
    """Keep ``count`` pages open until ``ending``, in a process of its own; ``begin``: they are open.
    Counts the requests in ``asked``."""
    chance = random.Random(SEED)  # when pages were opened
    pages = [OpenPage(address, cookie, path) for _ in range(count)]
    due = [(time.monotonic() + chance.random() * 2, number) for number in range(count)]
    heapq.heapify(due)
    begin.set()
    while due and not ending.is_set():
        at, number = heapq.heappop(due)
        if ending.wait(max(0.0, at - time.monotonic())):
            break
        pages[number].poll()
        asked.value += 1
        if pages[number].seconds:
            heapq.heappush(due, (at + pages[number].seconds, number))
    for page in pages:
        page.close()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.watching", description=__doc__)
    parser.add_argument("--pages", type=int, default=100, help="open pages (100)")
    parser.add_argument("--files", type=int, default=10_000, help="files of the migration (10,000)")
    parser.add_argument("--kib", type=int, default=16, help="KiB of each (16)")
    parser.add_argument("--rounds", type=int, default=5, help="migrations with and without pages (5)")
    parser.add_argument("--to", choices=("s3", "local"), default="s3", help="where they go (s3)")
    parser.add_argument("--quick", action="store_true", help="a little of everything: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.pages, options.files, options.rounds = 3, 200, 1
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder, SeaweedFS() as server:
        print(measure(options, Path(folder), server))
    return 0


def measure(options: argparse.Namespace, folder: Path, server: SeaweedFS) -> str:
    """Run the migrations in turn, with and without pages, and return the report."""
    source = folder / "source"
    content = random.Random(SEED).randbytes(options.kib << 10)  # it only has to be long
    for number in range(options.files):
        file = source / f"{number % 100:02}" / f"file-{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    services = open_services(Settings.from_env({}, instance=folder / "instance"))
    runs: dict[int, list[Run]] = {0: [], options.pages: []}
    try:
        services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
        services.backends.add(ACTOR, Draft("source", "local", {"root": str(source)}, {}))
        # As behind a proxy, where all share one address.
        environ = {"STOWAGE_TRUSTED_PROXIES": "1", "STOWAGE_LOG_LEVEL": "error"}
        with ConsoleProcess(folder / "instance", environ=environ) as console:
            client = Client(console.address)
            client.sign_in()
            for number in range(options.rounds * 2 + 1):
                count = 0 if number % 2 else options.pages
                with _destination(services, folder, server, f"{options.to}-{number}") as name:
                    run = _migrate(services, console, client, name, count)
                # The first one warms everything up.
                if number or options.quick:
                    runs[count].append(run)
                print(f"{name}, {count} pages: {run}", file=sys.stderr, flush=True)
    finally:
        services.close()
    return _report(options, runs)


@contextmanager
def _destination(services: Services, folder: Path, server: SeaweedFS, name: str) -> Iterator[str]:
    """An empty backend of its own for each migration."""
    root = folder / name
    if name.startswith("local"):
        root.mkdir()
        services.backends.add(ACTOR, Draft(name, "local", {"root": str(root)}, {}))
    else:
        access = server.admin
        bucket = {"endpoint": server.endpoint, "bucket": server.new_bucket(), "region": "us-east-1"}
        secrets = {"secret_access_key": Secret(access.secret_key)}
        services.backends.add(
            ACTOR, Draft(name, "s3", {**bucket, "access_key_id": access.access_key}, secrets)
        )
    yield name
    shutil.rmtree(root, ignore_errors=True)


def _migrate(services: Services, console: ConsoleProcess, client: Client, to: str, pages: int) -> Run:
    """Copy everything once, watched by so many pages from before its start."""
    number = services.migrations.create(ACTOR, "source", to, Spec())
    wait_until(lambda: services.migrations.progress(number).counters.listing_final, seconds=120, what="plan")
    begin, ending, asked = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Value("i", 0)
    path = f"/migrations/{number}"
    watching = multiprocessing.Process(
        target=watch, args=(console.address, client.cookie, path, pages, begin, ending, asked)
    )
    watching.start()
    begin.wait()
    runner = psutil.Process(console.await_runner())
    (web,) = (each for each in psutil.Process(console.pid).children() if each.pid != runner.pid)
    processes = web, runner, psutil.Process(watching.pid)
    before, asked.value = [_cpu(each) for each in processes], 0
    services.migrations.approve(ACTOR, number)
    wait_until(lambda: services.migrations.progress(number).state.final, seconds=600, what="the end")
    spent = [_cpu(each) - at for each, at in zip(processes, before, strict=True)]
    ending.set()
    watching.join()
    progress = services.migrations.progress(number)
    if progress.outcome is not Outcome.CLEAN or watching.exitcode:
        raise RuntimeError(f"{to}: {progress.outcome}, pages ended with {watching.exitcode}")
    return Run(progress.elapsed, *spent, asked.value)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _report(options: argparse.Namespace, runs: dict[int, list[Run]]) -> str:
    lines = [
        f"{options.files:,} files of {options.kib} KiB to {options.to}, medians of {options.rounds}:",
        "",
        "| open pages | wall s | CPU of the runner s | of the web server s | of the browsers s | requests |",
        "|---|---|---|---|---|---|",
    ]
    medians = {}
    for count, found in sorted(runs.items()):
        wall, web, runner, browsers, requests = (
            statistics.median(getattr(run, each.name) for run in found) if found else 0.0
            for each in fields(Run)
        )
        medians[count] = wall
        lines.append(f"| {count} | {wall:.2f} | {runner:.2f} | {web:.2f} | {browsers:.2f} | {requests:.0f} |")
    if medians[0] and medians[options.pages]:
        lines.append(
            f"\n{options.pages} pages cost {100 * (medians[options.pages] / medians[0] - 1):+.1f} %."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
