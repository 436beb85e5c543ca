"""Writers, the sender and the server itself are killed and stopped, and no acknowledged write is lost.

Every writer numbers what it writes. What home holds in the end under a key is the last that was acknowledged
there, or one tried after it, with that one's attributes; and no read on the way gives less than what was
acknowledged before it began.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from dashboard.errors import StowageError
from dashboard.services.services import Services
from dashboard.storage.net.http1 import ConnectionPool
from dashboard.storage.wrappers.fallback import circuit
from tests.servers.processes import free_ports, wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, composed
from tests.services.console import ADMIN

IMPATIENT = """
from dashboard.storage.wrappers.fallback import circuit
from dashboard.storage.net.http1 import ConnectionPool
from dashboard.storage.wrappers.fallback import long_writes

long_writes.LONG_SECONDS = 0.05
ask = ConnectionPool.request
ConnectionPool.request = lambda self, *args, idle, **more: ask(self, *args, idle=min(idle, 1.0), **more)
circuit.SLOW_SECONDS, circuit.PROBE_SECONDS = 0.5, 0.2
"""

WRITER = (
    IMPATIENT
    + """
import itertools, sys, time
from dashboard.app import open_storage
from dashboard.errors import StowageError
from dashboard.storage.types import Attributes

with open_storage(sys.argv[1]) as storage:
    home = storage.backend("home")
    for number in itertools.count(int(sys.argv[3])):
        key = f"{sys.argv[2]}/{number % 7}.html"
        content = f"{number} ".encode() * (1 + number % 300)
        attributes = Attributes("text/html", content_disposition=f'attachment; filename="{number}"')
        print("try", key, number, flush=True)
        try:
            if number % 3:
                home.put(key, content, attributes=attributes)
            else:
                with home.write_stream(key, attributes=attributes) as writing:
                    writing.write(content)
                    writing.commit()
        except StowageError as error:
            print("no", key, number, error.kind, flush=True)
            time.sleep(0.05)
            continue
        print("ack", key, number, flush=True)
        time.sleep(0.005)
"""
)

SENDER = (
    IMPATIENT
    + """
import sys, time
from itertools import islice
from pathlib import Path
from dashboard.app import open_services
from dashboard.errors import StowageError
from dashboard.services.fallback import write_back
from dashboard.settings import Settings

write_back.CONFIRM_AFTER_SECONDS = 3.0
services = open_services(Settings.from_env({}, instance=Path(sys.argv[1])))
home = services.backends.get("home").id
while True:
    try:
        list(islice(services.backends.driver("home", label="check").list(), 1))
        services.write_back.run(home, lambda: False)
    except StowageError:
        pass
    time.sleep(0.2)
"""
)


SECONDS = 180.0


class Writers:
    """Processes that write until they are killed; the next one goes on with the same keys.

    ``unknown`` are contents that were being written when their writer was killed: of one killed within the
    first moments of an attempt nobody can know, see decision 030.
    """

    def __init__(self, instance: Path) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._running: list[tuple[str, subprocess.Popen[str], threading.Thread]] = []
        self._under_way: dict[str, tuple[str, int]] = {}
        self.unknown: set[tuple[str, int]] = set()
        self.acknowledged: dict[str, int] = {}
        self.tried: defaultdict[str, list[int]] = defaultdict(list)
        self.said: Counter[str] = Counter()
        self.errors = ""

    def start(self, name: str) -> None:
        begin = 1 + max((number for tried in self.tried.values() for number in tried), default=-1)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self._instance), name, str(begin)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        thread = threading.Thread(target=self._listen, args=(name, process))
        thread.start()
        self._running.append((name, process, thread))

    def kill(self, which: int) -> str:
        name, process, thread = self._running.pop(which)
        process.kill()
        process.wait()
        thread.join()
        if name in self._under_way:
            self.unknown.add(self._under_way.pop(name))
        assert process.stdout
        process.stdout.close()
        return name

    def kill_all(self) -> None:
        while self._running:
            self.kill(0)

    def known(self, noise: random.Random) -> tuple[str, int] | None:
        """A key, and the last that was acknowledged under it."""
        with self._lock:
            return noise.choice(list(self.acknowledged.items())) if self.acknowledged else None

    def _listen(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            if not line.endswith("\n"):
                # It was killed while it wrote the line.
                continue
            what, *rest = line.split()
            with self._lock:
                self.said[what if what != "no" else f"no {rest[-1]}"] += 1
                self._under_way.pop(name, None)
                if what == "try":
                    self.tried[rest[0]].append(int(rest[1]))
                    self._under_way[name] = rest[0], int(rest[1])
                elif what == "ack":
                    self.acknowledged[rest[0]] = int(rest[1])
                elif what != "no":
                    self.errors += line


class Sender:
    """The process that sends home, as the runner would."""

    def __init__(self, instance: Path) -> None:
        self._instance = instance
        self.start()

    def start(self) -> None:
        with (self._instance / "sender.log").open("ab") as log:
            command = [sys.executable, "-c", SENDER, str(self._instance)]
            self._process = subprocess.Popen(command, stderr=log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Chaos:
    """What happens to everybody, and what a reader sees meanwhile."""

    def __init__(self, services: Services, server: SeaweedFS, writers: Writers, sender: Sender) -> None:
        self._services, self._server, self._writers, self._sender = services, server, writers, sender
        self.noise = random.Random(20261121)
        self.happened: Counter[str] = Counter()
        self.stale: list[str] = []

    def make(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            kinds = ("stop", "kill writer", "kill sender", "kill server")
            [kind] = self.noise.choices(kinds, weights=(5, 4, 3, 1))
            self.happened[kind] += 1
            if kind == "stop":
                self._stop(self.noise.uniform(1.5, 4))
            elif kind == "kill writer":
                self._writers.start(self._writers.kill(0))
            elif kind == "kill sender":
                self._sender.kill()
                self._sender.start()
            else:
                self._server.stop()
                self._read(1.5)
                self._server.start()
            self._read(self.noise.uniform(0.5, 2.5))

    def _stop(self, seconds: float) -> None:
        os.kill(self._server.pid, signal.SIGSTOP)
        try:
            self._read(seconds)
        finally:
            os.kill(self._server.pid, signal.SIGCONT)

    def _read(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        driver = self._services.backends.driver("home")
        while time.monotonic() < deadline:
            if (found := self._writers.known(self.noise)) is None:
                time.sleep(0.01)
                continue
            key, least = found
            try:
                with driver.read(key) as reading:
                    number = int(reading.read_all().split()[0])
                    said = reading.info.attributes.content_disposition
            except StowageError:
                self.happened["refused read"] += 1
                continue
            self.happened["read"] += 1
            if (key, number) in self._writers.unknown:
                self.happened["unknown"] += 1
            elif number < least or said != f'attachment; filename="{number}"':
                self.stale.append(f"{key}: {number} with {said} after {least}")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = ConnectionPool.request

    def asked(self, *args, idle, **more):  # type: ignore[no-untyped-def]
        return ask(self, *args, idle=min(idle, 1.0), **more)

    monkeypatch.setattr(ConnectionPool, "request", asked)
    monkeypatch.setattr(circuit, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(circuit, "PROBE_SECONDS", 0.2)


@pytest.mark.torture
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("impatient")
def test_outages_stops_and_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    instance, spare = tmp_path / "instance", tmp_path / "spare"
    with composed(instance) as services, SeaweedFS(folder=tmp_path, port=free_ports(1)[0]) as server:
        bucket = server.new_bucket()
        add_s3(services, "home", server.endpoint, bucket, server.admin, fallback="true")
        add_local(services, "spare", spare)
        services.backends.fallback_order(ADMIN, ["spare"])
        writers, sender = Writers(instance), Sender(instance)
        trouble = Chaos(services, server, writers, sender)
        try:
            for name in ("w1", "w2", "w3"):
                writers.start(name)
            trouble.make(SECONDS)
            writers.kill_all()
            wait_until(
                lambda: not any(each.waiting for each in services.write_back.summary()),
                seconds=120,
                what="everything at home",
            )
        finally:
            writers.kill_all()
            sender.kill()
        client = server.client()
        wrong = []
        for key, least in writers.acknowledged.items():
            answer = client.get_object(Bucket=bucket, Key=key)
            number = int(answer["Body"].read().split()[0])
            allowed = [least, *(each for each in writers.tried[key] if each > least)]
            if (key, number) in writers.unknown:
                trouble.happened["unknown at home"] += 1
            elif number not in allowed or answer["ContentDisposition"] != f'attachment; filename="{number}"':
                wrong.append(f"{key}: {number} with {answer['ContentDisposition']} after {least}")
        left = services.write_back.summary()
        print(
            f"\n{dict(writers.said)} {dict(trouble.happened)} keys: {len(writers.acknowledged)}, left: {left}"
        )
        assert writers.errors == ""
        assert trouble.stale == []
        assert wrong == []
        assert sum(each.lost for each in left) == 0
        assert trouble.happened["stop"] >= 3
        assert trouble.happened["kill writer"] >= 3
