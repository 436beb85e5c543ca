"""After an outage: writes that complete late, writers that were killed, and which write wins."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from sqlalchemy import func, select, update

from dashboard.app import open_storage
from dashboard.errors import InvalidInput
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, Outcome, Spec, State
from dashboard.models.waiting import WaitingHold, WaitingObject, WaitingTry
from dashboard.services.backends.fallback_drivers import SERVING
from dashboard.services.backends.values import Draft
from dashboard.services.fallback import write_back
from dashboard.services.fallback.waiting_rows import MAX_ATTEMPTS, WRITTEN_BACK
from dashboard.services.fallback.waiting_store import SqlWaitingStore
from dashboard.services.services import Services
from dashboard.storage import Backend
from dashboard.storage.driver import Driver, KeepsFolders
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import Exists, InvalidKey, StorageError
from dashboard.storage.integrations.django import StowageStorage
from dashboard.storage.integrations.fsspec import StowageFileSystem
from dashboard.storage.library.purposes import PrivateFiles, PublicMedia
from dashboard.storage.net.http1 import ConnectionPool
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.fallback import circuit, long_writes
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER, CircuitOpen, WrittenContent
from tests.migration.memory_ledger import MemoryLedger
from tests.servers.faults import FaultProxy
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, await_state, composed, running
from tests.services.console import ADMIN
from tests.storage.objects import content_of, get, stream
from tests.suites import configure


class Outage:
    """A bucket behind a proxy, and a disk that stands in for it."""

    def __init__(self, services: Services, proxy: FaultProxy, server: SeaweedFS, spare: Path) -> None:
        self.services, self.proxy, self.spare = services, proxy, spare
        self.client = server.client()
        self.bucket = server.new_bucket()
        add_s3(services, "home", proxy.endpoint, self.bucket, server.admin, fallback="true")
        add_local(services, "spare", spare)
        services.backends.fallback_order(ADMIN, ["spare"])

    @property
    def driver(self) -> Driver:
        return self.services.backends.driver("home")

    def at_home(self, key: str) -> bytes | None:
        with contextlib.suppress(self.client.exceptions.NoSuchKey):
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return body
        return None

    def send(self) -> None:
        home = self.services.backends.get("home").id
        assert self.services.write_back.run(home, lambda: False)


EVERY_METHOD = ("DELETE", "GET", "HEAD", "POST", "PUT")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        yield services


@pytest.fixture
def outage(services: Services, fault_proxy: FaultProxy, seaweedfs: SeaweedFS, tmp_path: Path) -> Outage:
    return Outage(services, fault_proxy, seaweedfs, tmp_path / "spare")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Methods of which home does not answer: such a request waits for 0.3 seconds. All others, which it
    answers, have the time that a busy machine needs."""
    ask, unanswered = ConnectionPool.request, set[str]()

    def asked(self, method, *args, idle, **more):  # type: ignore[no-untyped-def]
        return ask(self, method, *args, idle=0.3 if method in unanswered else idle, **more)

    monkeypatch.setattr(ConnectionPool, "request", asked)
    return unanswered


def test_a_home_that_hung_does_not_bring_back_older_content(
    outage: Outage, impatient: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = outage.proxy.delay(60.0, method="PUT")
    impatient.add("PUT")
    outage.driver.put("a", b"the first")
    assert late.hits == 1
    outage.driver.put("a", b"the second")
    late.over.set()
    wait_until(lambda: outage.at_home("a") == b"the first", seconds=60, what="the first at home")
    outage.proxy.clear()
    monkeypatch.undo()
    assert get(outage.driver, "a") == b"the second"
    outage.send()
    assert get(outage.driver, "a") == b"the second"
    assert outage.at_home("a") == b"the second"
    assert [each.overtaken for each in outage.services.write_back.summary()] in ([], [0])


def test_a_late_write_is_known_after_any_number_of_newer_ones(
    outage: Outage, impatient: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = outage.proxy.black_hole(method="PUT", times=1)
    impatient.add("PUT")
    outage.driver.put("a", b"the first")
    assert hole.hits == 1
    for number in range(MAX_ATTEMPTS + 5):
        outage.driver.put("a", f"newer {number}".encode())
    monkeypatch.undo()
    # It arrives only now, so home's clock says that it is newer than what waits.
    outage.client.put_object(Bucket=outage.bucket, Key="a", Body=b"the first")
    newest = f"newer {MAX_ATTEMPTS + 4}".encode()
    assert get(outage.driver, "a") == newest
    outage.send()
    assert get(outage.driver, "a") == newest == outage.at_home("a")


def test_a_late_write_after_everything_was_written_back_is_overwritten(
    outage: Outage, impatient: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = outage.proxy.black_hole(method="PUT", times=1)
    impatient.add("PUT")
    outage.driver.put("a", b"the first")
    assert hole.hits == 1
    outage.driver.put("a", b"the second")
    monkeypatch.undo()
    outage.send()
    assert outage.at_home("a") == b"the second"
    outage.send()
    # The first arrives now, and then somebody writes a third.
    outage.client.put_object(Bucket=outage.bucket, Key="a", Body=b"the first")
    assert get(outage.driver, "a") == b"the second"
    outage.driver.put("a", b"the third")
    with pytest.raises(StorageError) as caught:
        outage.driver.delete("a")
    assert caught.value.retryable
    assert get(outage.driver, "a") == b"the third"
    monkeypatch.setattr(write_back, "CONFIRM_AFTER_SECONDS", 0.0)
    outage.send()
    assert outage.at_home("a") == b"the third"
    outage.client.put_object(Bucket=outage.bucket, Key="a", Body=b"the second")
    outage.send()
    outage.send()
    assert outage.at_home("a") == b"the third"
    assert outage.services.write_back.summary() == ()
    assert [path for path in outage.spare.rglob("*") if path.is_file()] == []
    outage.driver.delete("a")


class Disk:
    """A disk that can be taken away, and another that stands in for it."""

    def __init__(self, services: Services, base: Path) -> None:
        self.services, self.root, self.spare = services, base / "home", base / "spare"
        self.root.mkdir()
        home = Draft("home", "local", {"root": str(self.root), "fallback": "true"}, {})
        self.id = services.backends.add(ADMIN, home).id
        add_local(services, "spare", self.spare)
        services.backends.fallback_order(ADMIN, ["spare"])
        self.store = SqlWaitingStore(services.database, self.id)

    @property
    def driver(self) -> Driver:
        return self.services.backends.driver("home")

    def away(self, *calls: tuple[str, bytes]) -> None:
        """Write while home is away."""
        self.root.rename(self.root.with_name("away"))
        for key, content in calls:
            self.driver.put(key, content)
        self.root.with_name("away").rename(self.root)

    def send(self) -> None:
        assert self.services.write_back.run(self.id, lambda: False)

    def states(self) -> list[str]:
        with self.services.database.read() as session:
            return list(session.scalars(select(WaitingObject.state).order_by(WaitingObject.id)))


@pytest.fixture
def disk(services: Services, tmp_path: Path) -> Disk:
    return Disk(services, tmp_path)


def test_nothing_is_written_back_while_any_writer_replaces_it(disk: Disk) -> None:
    disk.away(("a", b"waits"))
    first, second = disk.store.hold("a"), disk.store.hold("a")
    disk.store.release(second)  # refused at home
    disk.send()
    assert not (disk.root / "a").exists()
    (disk.root / "a").write_bytes(b"of the first writer")
    disk.store.discard(first)
    disk.send()
    assert (disk.root / "a").read_bytes() == b"of the first writer"
    assert disk.states() == []


HOLDER = """
import sys
from dashboard.app import open_services
from dashboard.services.fallback.waiting_store import SqlWaitingStore
from dashboard.settings import Settings
from pathlib import Path

services = open_services(Settings.from_env({}, instance=Path(sys.argv[1])))
assert SqlWaitingStore(services.database, int(sys.argv[2])).hold("a")
print("holds", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_writer_held_is_written_back_at_once(disk: Disk, tmp_path: Path) -> None:
    disk.away(("a", b"waits"))
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "instance"), str(disk.id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "holds\n"
        disk.send()
        assert not (disk.root / "a").exists()
        process.kill()
    disk.send()
    assert (disk.root / "a").read_bytes() == b"waits"
    with disk.services.database.read() as session:
        assert session.scalars(select(WaitingHold)).all() == []


def test_the_hold_of_a_writer_that_cannot_be_checked_expires(disk: Disk) -> None:
    disk.away(("a", b"waits"))
    assert disk.store.hold("a")
    with disk.services.database.write() as session:
        session.execute(update(WaitingHold).values(owner="another-start/pid:[1]/7@9"))
    disk.send()
    assert not (disk.root / "a").exists()
    with disk.services.database.write() as session:
        session.execute(update(WaitingHold).values(until=time.time() - 1))
    disk.send()
    assert (disk.root / "a").read_bytes() == b"waits"


def test_writes_just_before_an_outage_are_not_taken_for_newer(disk: Disk) -> None:
    disk.driver.put("a", b"before")
    stream(disk.driver, "b", content_of(9_000_000))
    disk.away(("a", b"after"), ("b", b"after"))
    disk.send()
    assert (disk.root / "a").read_bytes() == (disk.root / "b").read_bytes() == b"after"
    assert disk.services.write_back.summary() == ()


def test_the_same_content_written_by_another_program_later_is_newer(disk: Disk) -> None:
    disk.driver.put("a", b"on")
    disk.away(("a", b"off"))
    (disk.root / "a").write_bytes(b"on")
    os.utime(disk.root / "a", (time.time() + 60,) * 2)
    disk.send()
    assert (disk.root / "a").read_bytes() == b"on"
    assert disk.services.write_back.summary()[0].overtaken == 1


def test_a_write_while_older_content_is_written_back_waits(disk: Disk) -> None:
    disk.away(("a", b"older"))
    with disk.services.database.write() as session:
        session.execute(update(WaitingObject).values(state="sending"))
    disk.driver.put("a", b"newer")
    stream(disk.driver, "b", b"another")
    assert get(disk.driver, "a") == b"newer"
    assert (disk.root / "b").exists()
    assert not (disk.root / "a").exists()
    # The older one arrives after all.
    (disk.root / "a").write_bytes(b"older")
    disk.send()
    assert (disk.root / "a").read_bytes() == b"newer"


def test_content_written_back_while_a_newer_write_started_is_not_newer(disk: Disk) -> None:
    disk.away(("a", b"older"))
    with disk.services.database.write() as session:
        long_ago = {"changed_at": time.time() - 60, "since": time.time() - 60, "attempts": ""}
        session.execute(update(WaitingObject).values(**long_ago))
    spare = disk.services.backends.driver("spare", label="stand-in")
    content = WrittenContent(5, hashlib.md5(b"newer").hexdigest(), Attributes())
    number = disk.store.add("a", disk.services.backends.get("spare").id, f"{FOLDER}b", content)
    disk.send()
    assert (disk.root / "a").read_bytes() == b"older"
    spare.put(f"{FOLDER}b", b"newer")
    disk.store.mark_written(number)
    disk.send()
    assert (disk.root / "a").read_bytes() == b"newer"
    assert disk.states() == []


def test_content_written_back_just_before_a_newer_write_started_is_not_newer(
    disk: Disk, tmp_path: Path
) -> None:
    disk.away(("a", b"older"))
    disk.send()
    assert disk.states() == []
    assert (disk.root / "a").read_bytes() == b"older"
    # Another process, which has never written that content, finds home away at once.
    disk.root.rename(disk.root.with_name("away"))
    with open_storage(tmp_path / "instance") as storage:
        storage.backend("home").put("a", b"newer")
    disk.root.with_name("away").rename(disk.root)
    disk.send()
    assert (disk.root / "a").read_bytes() == b"newer"
    assert disk.services.write_back.summary() == ()


ATTRIBUTES = Attributes(
    content_type="text/html; charset=utf-8",
    cache_control="public, max-age=60",
    content_disposition='attachment; filename="page.html"',
    content_encoding="identity",
    content_language="de",
    metadata={"author": "somebody", "licence": "none"},
)


@pytest.mark.parametrize("how", ["put", "stream"])
def test_attributes_are_written_back_too(outage: Outage, how: str) -> None:
    outage.proxy.answer(403, "InvalidAccessKeyId", times=None)
    if how == "put":
        outage.driver.put("page.html", b"<script>", attributes=ATTRIBUTES)
    else:
        with outage.driver.write("page.html", attributes=ATTRIBUTES) as writing:
            writing.write(b"<script>")
            writing.commit()
    outage.driver.put("plain.html", b"<b>")
    assert outage.driver.stat("page.html").attributes == ATTRIBUTES
    assert outage.driver.stat("plain.html").attributes == Attributes()
    with outage.driver.read("page.html") as reading:
        assert reading.info.attributes == ATTRIBUTES
    outage.proxy.clear()
    outage.send()
    headers = outage.client.head_object(Bucket=outage.bucket, Key="page.html")
    assert headers["ContentDisposition"] == 'attachment; filename="page.html"'
    assert headers["CacheControl"] == "public, max-age=60"
    assert headers["ContentType"] == "text/html; charset=utf-8"
    assert headers["Metadata"] == {"author": "somebody", "licence": "none"}
    assert outage.driver.stat("page.html").attributes == ATTRIBUTES


def test_many_are_written_back_in_parallel(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.away(*((f"{number}", b"%d" % number) for number in range(40)))
    pairs = threading.Barrier(2, timeout=120)
    put = LocalDriver.put

    def together(self, key, *args, **more):  # type: ignore[no-untyped-def]
        if not key.startswith(FOLDER):
            pairs.wait()
        return put(self, key, *args, **more)

    monkeypatch.setattr(LocalDriver, "put", together)
    disk.send()
    assert disk.states() == []
    assert all((disk.root / f"{number}").read_bytes() == b"%d" % number for number in range(40))


def test_what_waits_in_a_backend_is_no_part_of_it(disk: Disk, tmp_path: Path) -> None:
    (disk.spare / "own").write_bytes(b"of the stand-in")
    disk.root.rename(disk.root.with_name("away"))
    disk.driver.put("a/b", b"waits")
    services = disk.services
    spare = services.backends.driver("spare")
    assert [entry.key for entry in spare.list()] == ["own"]
    assert list(spare.list(FOLDER)) == []
    assert isinstance(spare, KeepsFolders)
    assert list(spare.folders("")) == []
    [path] = [path for path in (disk.spare / FOLDER).rglob("*") if path.is_file()]
    key = str(path.relative_to(disk.spare))
    assert get(spare, key) == b"waits"
    for call in (
        lambda: spare.delete(key),
        lambda: spare.put(key, b"x"),
        lambda: stream(spare, key, b"x"),
        lambda: spare.remove_folder(FOLDER.rstrip("/")),
    ):
        with pytest.raises(InvalidKey):
            call()
    add_local(services, "target", tmp_path / "target")
    number = services.migrations.create(ADMIN, "spare", "target", Spec(delete_source=True), approve=True)
    services.backends.refresh(ADMIN, "spare")
    with running(services):
        done = await_state(services, number, State.FINISHED)
        wait_until(lambda: services.backends.get("spare").status.objects == 0, seconds=60, what="a count")
    assert (done.outcome, done.counters.found) == (Outcome.CLEAN, 1)
    assert [path.name for path in (tmp_path / "target").rglob("*") if path.is_file()] == ["own"]
    disk.root.with_name("away").rename(disk.root)
    disk.send()
    assert (disk.root / "a/b").read_bytes() == b"waits"


def test_what_waits_for_a_backend_is_part_of_it(disk: Disk, tmp_path: Path) -> None:
    services = disk.services
    (disk.root / "old").write_bytes(b"at home")
    # Older beyond doubt, for the runner may send home at once.
    os.utime(disk.root / "old", (time.time() - 60,) * 2)
    disk.away(("new", b"waits here"), ("old", b"waits there"))
    add_local(services, "target", tmp_path / "target")
    (tmp_path / "target" / "old").write_bytes(b"waits there")
    services.activation.activate(ADMIN, "home")
    with running(services):
        services.activation.compare(ADMIN, "target")
        wait_until(
            lambda: (found := services.activation.comparison("target")) is not None and not found.running,
            seconds=60,
            what="the comparison",
        )
        compared = services.activation.comparison("target")
        assert compared is not None
        assert (compared.total, compared.present, compared.missing) == (2, 1, 1)
        assert compared.sentence == "1 of 2 objects are there; 1 is missing."


def test_a_migration_copies_waiting_writes_and_does_not_delete_them(disk: Disk, tmp_path: Path) -> None:
    services = disk.services
    (disk.root / "old").write_bytes(b"at home")
    disk.away(("new", b"waits"))
    add_local(services, "target", tmp_path / "target")
    source, target = (
        services.backends.driver_with_waiting("home", label="x"),
        services.backends.driver("target", label="x"),
    )
    ledger = MemoryLedger()
    spec = Spec(delete_source=True)
    result = run(
        MigrationJob(1, spec, lambda: True, "home"),
        source,
        target,
        ledger,
        lambda: Control.RUN,
        on_state=lambda *_: None,
    )
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_SKIPS)
    [kept] = [row for row in ledger.rows() if row.reason]
    assert kept.key == "new"
    assert "is in another backend and has not been written back yet" in kept.reason
    assert (tmp_path / "target" / "new").read_bytes() == b"waits"
    assert not (disk.root / "old").exists()
    assert get(disk.driver, "new") == b"waits"
    disk.send()
    assert (disk.root / "new").read_bytes() == b"waits"
    assert services.backends.driver_with_waiting("home", label="x") is services.backends.driver(
        "home", label="x"
    )


def test_nothing_that_waits_is_left_behind_by_a_setting(disk: Disk) -> None:
    backends = disk.services.backends
    root = {"root": str(disk.root)}
    disk.away(("a", b"waits"))
    for name, options, field in (
        ("home", {**root, "fallback": "false"}, "fallback"),
        ("home", {**root, "fallback": "true", "read_only": "true"}, "read_only"),
        ("spare", {"root": str(disk.spare), "read_only": "true"}, "read_only"),
    ):
        with pytest.raises(InvalidInput) as caught:
            backends.edit(ADMIN, Draft(name, "local", options, {}, existing=name))
        assert caught.value.subject == field
        assert "1 object waits" in caught.value.reason
        assert "overview" in caught.value.remedy
    backends.edit(ADMIN, Draft("house", "local", {**root, "fallback": "true"}, {}, existing="home"))
    assert get(backends.driver("house"), "a") == b"waits"
    disk.send()
    backends.edit(ADMIN, Draft("house", "local", {**root, "fallback": "false"}, {}, existing="house"))
    assert (disk.root / "a").read_bytes() == b"waits"


def test_a_silent_home_is_waited_for_once(
    outage: Outage, impatient: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(circuit, "PROBE_SECONDS", 0.0)
    outage.driver.put("before", b"x")
    hole = outage.proxy.black_hole()
    impatient.update(EVERY_METHOD)
    outage.driver.put("a", b"1")
    asked = [request for request in outage.proxy.seen if "probe" not in request[1]]
    for number in range(20):
        outage.driver.put(f"{number}", b"2")
        assert get(outage.driver, f"{number}") == b"2"
    stream(outage.driver, "b", b"3")
    for call in (
        lambda: list(outage.driver.list()),
        lambda: outage.driver.delete("before"),
        lambda: outage.driver.read("before"),
    ):
        with pytest.raises(CircuitOpen):
            call()
    assert [request for request in outage.proxy.seen if "probe" not in request[1]] == asked
    assert hole.hits
    status = outage.services.backends.get("home").status
    assert status.badge == "down"
    assert "the fallback backends are used" in status.message
    outage.proxy.clear()
    impatient.clear()

    def back() -> bool:
        outage.driver.put("c", b"4")
        return outage.at_home("c") == b"4"

    wait_until(back, seconds=60, what="home asked again")


def test_a_backend_that_has_no_stand_ins_does_not_promise_any(
    outage: Outage, impatient: set[str], seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "SLOW_SECONDS", 0.2)
    add_s3(outage.services, "alone", outage.proxy.endpoint, outage.bucket, seaweedfs.admin)
    served = outage.services.backends.driver("alone", label=SERVING)
    outage.proxy.black_hole()
    impatient.update(EVERY_METHOD)
    with pytest.raises(StorageError):
        served.stat("a")
    status = outage.services.backends.get("alone").status
    assert status.badge == "down"
    assert status.message.startswith("A program got no answer: ")


@pytest.mark.parametrize("purpose", [PublicMedia, PrivateFiles])
def test_new_files_of_unique_names_are_taken_in_an_outage(
    disk: Disk, tmp_path: Path, purpose: type[PublicMedia | PrivateFiles]
) -> None:
    with open_storage(tmp_path / "instance") as storage:
        files = purpose(storage.backend("home"))
        disk.root.rename(disk.root.with_name("away"))
        one, other = files.save("page.html", b"one"), files.save("page.html", b"other")
        assert storage.backend("home").get(one) == b"one"
        with pytest.raises(StorageError):
            storage.backend("home").put("of-a-person.html", b"x", create_only=True)
        with pytest.raises(Exists):
            storage.backend("home").put(one, b"x", create_only=True)
        disk.root.with_name("away").rename(disk.root)
        # Whatever the odds.
        (disk.root / other).parent.mkdir(parents=True)
        (disk.root / other).write_bytes(b"somebody's")
        os.utime(disk.root / other, (time.time() - 60,) * 2)
        disk.send()
        assert (disk.root / one).read_bytes() == b"one"
        assert (disk.root / other).read_bytes() == b"somebody's"
        assert disk.states() == ["overtaken"]


def test_django_saves_in_an_outage(disk: Disk, tmp_path: Path) -> None:
    configure()
    with open_storage(tmp_path / "instance") as storage:
        media = StowageStorage(storage=storage, backend="home")
        assert media.save("photos/rome.jpg", ContentFile(b"before")) == "photos/rome.jpg"
        disk.root.rename(disk.root.with_name("away"))
        names = [media.save("photos/rome.jpg", ContentFile(b"during"), max_length=60) for _ in range(2)]
        assert len({*names, "photos/rome.jpg"}) == 3
        for name in names:
            assert name.startswith("photos/rome-")
            assert name.endswith(".jpg")
            with media.open(name) as file:
                assert file.read() == b"during"
        assert len(media.save("photos/" + "x" * 90 + ".jpg", ContentFile(b"x"), max_length=60)) == 60
        disk.root.with_name("away").rename(disk.root)
        disk.send()
        assert (disk.root / names[0]).read_bytes() == b"during"
        assert (disk.root / "photos/rome.jpg").read_bytes() == b"before"


def test_folders_of_what_waits_are_shown(disk: Disk) -> None:
    (disk.root / "c").mkdir()
    (disk.root / "c" / "at-home").write_bytes(b"x")
    disk.away(("a/b/c.txt", b"1"), ("c/d.txt", b"2"), ("top.txt", b"3"), ("ab/x", b"4"))
    backend = Backend("home", disk.driver)
    assert sorted(backend.directories()) == ["a", "ab", "c"]
    assert sorted(backend.directories(recursive=True)) == ["a", "a/b", "ab", "c"]
    assert [entry.key for entry in backend.files("a/b")] == ["a/b/c.txt"]
    assert backend.delete_directory("a") == 1
    assert sorted(backend.directories()) == ["ab", "c"]


def test_a_pending_write_is_not_reported_as_an_existing_file(disk: Disk, tmp_path: Path) -> None:
    configure()
    disk.away(("a", b"waits"))
    with disk.services.database.write() as session:
        session.execute(update(WaitingObject).values(state="sending"))
    with open_storage(tmp_path / "instance") as storage:
        with pytest.raises(StorageError) as caught:
            StowageStorage(storage=storage, backend="home").delete("a")
        assert caught.value.retryable
        with pytest.raises(OSError, match="has not completed yet") as busy:
            StowageFileSystem(storage).rm_file("home/a")
        assert busy.value.errno == errno.EBUSY


KILLED = """
import sys
from dashboard.app import open_storage
from dashboard.storage.wrappers.fallback import long_writes

long_writes.LONG_SECONDS = 0.05
with open_storage(sys.argv[1]) as storage:
    home = storage.backend("home")
    if sys.argv[2] == "put":
        home.put("a", "of the killed")
    else:
        with home.write_stream("a") as writing:
            writing.write(b"of the killed")
            writing.commit()
"""


@pytest.mark.parametrize("how", ["put", "stream"])
def test_a_write_of_a_killed_program_does_not_replace_a_newer_one(
    outage: Outage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    hole = outage.proxy.black_hole(method="PUT", times=1)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "instance"), how]
    with subprocess.Popen(command) as process:
        wait_until(lambda: hole.hits == 1, seconds=60, what="the attempt")
        wait_until(lambda: _attempts_noted(outage.services) == 1, seconds=60, what="a note of the attempt")
        process.kill()
    # Home works again, and has not carried it out yet.
    outage.driver.put("a", b"acknowledged")
    assert outage.at_home("a") is None
    outage.client.put_object(Bucket=outage.bucket, Key="a", Body=b"of the killed")
    assert get(outage.driver, "a") == b"acknowledged"
    monkeypatch.setattr(write_back, "CONFIRM_AFTER_SECONDS", 0.0)
    outage.send()
    assert outage.at_home("a") == b"acknowledged"
    outage.client.put_object(Bucket=outage.bucket, Key="a", Body=b"of the killed")
    outage.send()
    outage.send()
    assert outage.at_home("a") == b"acknowledged"
    assert outage.services.write_back.summary() == ()
    assert _attempts_noted(outage.services) == 0
    outage.driver.put("a", b"at home at once")
    assert outage.at_home("a") == b"at home at once"


def test_a_long_write_of_a_living_program_leaves_no_record(
    outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_writes, "LONG_SECONDS", 0.05)
    slow = outage.proxy.delay(60.0, method="PUT")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(outage.driver.put, "a", b"slow")
        wait_until(lambda: _attempts_noted(outage.services) == 1, seconds=60, what="a note")
        slow.over.set()
        writing.result()
    assert _attempts_noted(outage.services) == 0
    assert outage.at_home("a") == b"slow"


def _attempts_noted(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count(WaitingTry.id)).where(WaitingTry.owner != WRITTEN_BACK)) or 0
