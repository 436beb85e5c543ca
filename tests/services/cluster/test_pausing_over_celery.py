"""Pause and cancel over Celery while a server keeps its response back: S3 or SFTP at either end, small
objects or a large one. Nobody waits for that response, and nothing is written any more."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from dashboard.migration.types import Outcome, Spec, State
from dashboard.services.backends.values import Draft
from dashboard.storage.driver import Driver
from dashboard.storage.types import Secret
from tests.migration.scenario import contents
from tests.servers.drivers import new_folder, s3_on, sftp_on
from tests.servers.faults import FaultProxy
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import PASSWORD as SFTP_PASSWORD
from tests.servers.sftp import USER, SftpServer
from tests.services.cluster.rig import Cluster, cluster
from tests.services.composed import add_s3, fill
from tests.services.console import ADMIN

SECONDS = 180
WORKERS = 8
SMALL = {f"f{n % 5}/{n:04d}.bin": 500 + n for n in range(200)}
LARGE = {"large.bin": 40 << 20}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), postgresql) as found:
        stop = threading.Event()
        console = threading.Thread(target=found.services.runner.run_forever, args=(stop,), daemon=True)
        console.start()
        found.start("worker", "worker", "--queues", "migrations", "--concurrency", "2")
        yield found
        stop.set()
        console.join(60)


class HeldBackend:
    """A backend whose server keeps responses back from a certain moment until it is let go."""

    name: str
    driver: Driver

    def hold(self, *, large: bool, reading: bool) -> None:
        """Keep back what is about some of the small objects, or the middle of the large one."""

    def await_held(self) -> None:
        """Wait until something is kept back."""

    def let_go(self) -> None:
        """End it."""


class HeldS3(HeldBackend):
    def __init__(self, found: Cluster, server: SeaweedFS, name: str) -> None:
        self.name, bucket = name, server.new_bucket()
        self.driver = s3_on(server, bucket, "")
        self._proxy = FaultProxy(server.endpoint).__enter__()
        add_s3(found.services, name, self._proxy.endpoint, bucket, server.admin)

    def hold(self, *, large: bool, reading: bool) -> None:
        key = "7.bin" if not large else "large.bin" if reading else "partNumber=2"
        self._hole = self._proxy.black_hole(method="GET" if reading else "PUT", key=key)

    def await_held(self) -> None:
        wait_until(lambda: self._hole.hits > 0, seconds=SECONDS, what="a response that is kept back")

    def let_go(self) -> None:
        # What is kept back never reaches the server.
        self._proxy.clear()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)


class HeldSftp(HeldBackend):
    def __init__(self, found: Cluster, server: SftpServer, name: str) -> None:
        self.name, self._server, folder = name, server, new_folder(server.root)
        self.driver = sftp_on(server, folder)
        options = {
            **{"host": "127.0.0.1", "port": str(server.port), "user": USER},
            **{"host_key": server.host_keys[0], "root": folder},
        }
        found.services.backends.add(ADMIN, Draft(name, "sftp", options, {"password": Secret(SFTP_PASSWORD)}))

    def hold(self, *, large: bool, reading: bool) -> None:
        self._enough = 8 << 20 if large else 20_000
        self._server.reset()

    def await_held(self) -> None:
        faults = self._server.faults
        wait_until(lambda: faults.bytes > self._enough, seconds=SECONDS, what="something that is moved")
        faults.stall = True

    def let_go(self) -> None:
        self._server.reset()

    def close(self) -> None:
        self._server.reset()


CASES = list(product(("s3", "sftp"), ("source", "destination"), ("small", "large"), ("pause", "cancel")))
IN_SUITE = {
    ("s3", "destination", "small", "pause"),
    ("s3", "source", "large", "cancel"),
    ("sftp", "destination", "large", "pause"),
}


@pytest.mark.parametrize(
    ("server", "end", "size", "request_"),
    [pytest.param(*each, marks=[] if each in IN_SUITE else pytest.mark.torture) for each in CASES],
)
def test_a_request_ends_without_the_response_that_is_kept_back(
    found: Cluster, request: pytest.FixtureRequest, server: str, end: str, size: str, request_: str
) -> None:
    name = f"{server}-{end}-{size}-{request_}"
    held: HeldS3 | HeldSftp = (
        HeldS3(found, request.getfixturevalue("seaweedfs"), name)
        if server == "s3"
        else HeldSftp(found, request.getfixturevalue("sftp_server"), name)
    )
    reading, objects = end == "source", LARGE if size == "large" else SMALL
    wanted = _fill(found, held, objects, reading=reading)
    held.hold(large=size == "large", reading=reading)
    ends = (name, "there") if reading else ("here", name)
    services = found.services
    try:
        number = services.migrations.create(ADMIN, *ends, Spec(workers=WORKERS), approve=True)
        held.await_held()
        asked = time.monotonic()
        (services.migrations.pause if request_ == "pause" else services.migrations.cancel)(ADMIN, number)
        state = State.PAUSED if request_ == "pause" else State.CANCELLED
        _await(lambda: services.migrations.progress(number).state is state, f"{request_} of {name}")
        print(f"{name}: {time.monotonic() - asked:.1f} s")
        there = _keys(found, held, reading=reading)
        assert len(there) < len(objects)
        # The process whose calls hang is replaced, and what it had begun is cleared away.
        _await(lambda: not _is_busy(found, number), "the end of its job")
        assert _keys(found, held, reading=reading) == there
        held.let_go()
        if request_ == "pause":
            services.migrations.resume(ADMIN, number)
            progress = found.await_final(number, seconds=SECONDS)
            assert (progress.outcome, progress.counters.copied) == (Outcome.CLEAN, len(objects))
            assert _keys(found, held, reading=reading) == set(wanted)
        else:
            assert _keys(found, held, reading=reading) == there
            # What was stored and not yet proven when the request came is there, and not counted.
            copied = services.migrations.progress(number).counters.copied
            assert copied <= len(there) <= copied + WORKERS
    finally:
        held.close()


def _fill(found: Cluster, held: HeldBackend, objects: dict[str, int], *, reading: bool) -> dict[str, str]:
    for folder in (found.here, found.there):
        shutil.rmtree(folder)
        folder.mkdir()
    fill(found.here, objects)
    if reading:
        for key in objects:
            held.driver.put(key, (found.here / key).read_bytes())
    return contents(found.here)


def _keys(found: Cluster, held: HeldBackend, *, reading: bool) -> set[str]:
    """What is at the destination."""
    return set(contents(found.there)) if reading else {entry.key for entry in held.driver.list()}


def _is_busy(found: Cluster, number: int) -> bool:
    jobs = found.services.jobs.list(limit=100)
    return any(job.kind == "migration" and job.subject_id == number and job.state != "done" for job in jobs)


def _await(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, seconds=SECONDS, what=what)
