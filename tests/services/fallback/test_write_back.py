"""Waiting writes are written back: all of them, once, and never over something newer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboard.app import open_storage
from dashboard.errors import Kind, StowageError
from dashboard.models.waiting import WaitingObject
from dashboard.services.backends.values import Draft
from dashboard.services.fallback import write_back
from dashboard.services.fallback.write_back import Backlog
from dashboard.services.fallback.write_back_object import measure_clock
from dashboard.services.services import Services
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.fallback.driver import Fallback
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER
from tests.servers.faults import FaultProxy
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, composed, running
from tests.services.console import ADMIN
from tests.storage.objects import content_of, get, keys_of, stream


class HomeOnDisk:
    """A home on a disk that can be taken away, and two others."""

    def __init__(self, services: Services, base: Path) -> None:
        self.services = services
        self.root, self.spare = base / "home", base / "spare"

    @property
    def driver(self) -> Driver:
        return self.services.backends.driver("home")

    def leave(self) -> None:
        self.root.rename(self.root.with_name("away"))

    def return_(self) -> None:
        self.root.with_name("away").rename(self.root)

    def send(self) -> None:
        home = self.services.backends.get("home").id
        assert self.services.write_back.run(home, lambda: False)

    def summary(self) -> tuple[Backlog, ...]:
        return self.services.write_back.summary()

    def waiting(self) -> list[Path]:
        return sorted(path for path in (self.spare / FOLDER).rglob("*") if path.is_file())


def options(root: Path, **more: str) -> dict[str, str]:
    return {"root": str(root), **more}


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


@pytest.fixture
def place(instance: Path, tmp_path: Path) -> Iterator[HomeOnDisk]:
    with composed(instance) as services:
        (tmp_path / "home").mkdir()
        home = Draft("home", "local", options(tmp_path / "home", fallback="true"), {})
        services.backends.add(ADMIN, home)
        add_local(services, "spare", tmp_path / "spare")
        services.backends.fallback_order(ADMIN, ["spare"])
        yield HomeOnDisk(services, tmp_path)


def test_waiting_writes_are_written_back(place: HomeOnDisk) -> None:
    place.driver.put("before", b"was here")
    place.leave()
    place.driver.put("a/b ü.txt", b"hello")
    stream(place.driver, "big", content_of(9_000_000))
    assert place.summary() == (Backlog("home", "spare", 2, 0, 0),)
    assert get(place.driver, "a/b ü.txt") == b"hello"
    place.send()
    assert place.summary() == (Backlog("home", "spare", 2, 0, 0),)
    place.return_()
    assert keys_of(place.driver) == ["a/b ü.txt", "before", "big"]
    assert not (place.root / "big").exists()
    place.send()
    assert place.summary() == ()
    assert (place.root / "a/b ü.txt").read_bytes() == b"hello"
    assert (place.root / "big").read_bytes() == content_of(9_000_000)
    assert place.waiting() == []
    assert keys_of(place.driver) == ["a/b ü.txt", "before", "big"]


def test_it_survives_a_restart(place: HomeOnDisk, instance: Path) -> None:
    place.leave()
    place.driver.put("a", b"hello")
    place.services.close()
    place.return_()
    with composed(instance) as services:
        assert get(services.backends.driver("home"), "a") == b"hello"
        services.write_back.run(services.backends.get("home").id, lambda: False)
        assert (place.root / "a").read_bytes() == b"hello"


def test_only_applications_are_stood_in_for(place: HomeOnDisk) -> None:
    assert isinstance(place.driver, Fallback)
    for label in ("migration-1", "check", "probe"):
        assert not isinstance(place.services.backends.driver("home", label=label), Fallback)


def test_something_newer_at_home_is_never_overwritten(place: HomeOnDisk) -> None:
    place.leave()
    place.driver.put("a", b"waits")
    place.return_()
    (place.root / "a").write_bytes(b"newer, by another program")
    place.send()
    place.send()
    assert (place.root / "a").read_bytes() == b"newer, by another program"
    assert get(place.driver, "a") == b"newer, by another program"
    assert place.summary() == (Backlog("home", "spare", 0, 1, 0),)
    [kept] = place.waiting()
    assert kept.read_bytes() == b"waits"


def test_an_object_that_may_be_newer_stays(place: HomeOnDisk) -> None:
    (place.root / "a").write_bytes(b"at home, by another program")
    place.leave()
    place.driver.put("a", b"waits")
    place.return_()
    place.send()
    assert (place.root / "a").read_bytes() == b"at home, by another program"
    assert place.summary()[0].overtaken == 1


def test_clocks_are_compared_and_not_trusted() -> None:
    class Ahead(MemoryDriver):
        def stat(self, key: str) -> ObjectInfo:
            info = super().stat(key)
            return replace(info, modified=(info.modified or 0) + 3600.5)

    home = Ahead()
    clock = measure_clock(home)
    assert keys_of(home) == []
    assert 3590 < clock.offset < 3610
    now = time.time()
    for ago, older in ((60, True), (10, True), (-10, False), (-3600, False)):
        assert clock.is_older(ObjectInfo("a", 1, modified=now + 3600.5 - ago), now) is older
    assert not clock.is_older(ObjectInfo("a", 1), now)
    assert not clock.is_older(ObjectInfo("a", 1, modified=now + 3600), now)


def test_something_older_at_home_is_replaced(place: HomeOnDisk) -> None:
    (place.root / "a").write_bytes(b"old")
    os.utime(place.root / "a", (time.time() - 60,) * 2)
    place.leave()
    place.driver.put("a", b"newer")
    place.return_()
    place.send()
    assert (place.root / "a").read_bytes() == b"newer"
    assert place.summary() == ()


def test_only_the_newest_of_several_is_written_back(place: HomeOnDisk) -> None:
    place.leave()
    for content in (b"one", b"two", b"three"):
        place.driver.put("a", content)
    assert place.summary()[0].waiting == 3
    assert get(place.driver, "a") == b"three"
    place.return_()
    place.send()
    assert (place.root / "a").read_bytes() == b"three"
    assert place.waiting() == []


def test_a_write_at_home_ends_the_waiting(place: HomeOnDisk) -> None:
    place.leave()
    place.driver.put("a", b"waits")
    place.driver.put("b", b"waits")
    place.return_()
    place.driver.put("a", b"newer")
    place.driver.delete("b")
    assert place.summary() == ()
    place.send()
    assert (place.root / "a").read_bytes() == b"newer"
    assert not (place.root / "b").exists()
    assert place.waiting() == []


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_lost_object_is_reported(place: HomeOnDisk, harm: str) -> None:
    place.leave()
    place.driver.put("a", b"waits")
    [path] = place.waiting()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"wrong")
    place.return_()
    place.send()
    assert not (place.root / "a").exists()
    assert place.summary() == (Backlog("home", "spare", 0, 0, 1),)


def test_a_write_that_was_cut_short_is_cleared_away(place: HomeOnDisk) -> None:
    place.leave()
    place.driver.put("a", b"half done")
    with place.services.database.write() as session:
        session.execute(update(WaitingObject).values(state="begun", owner="another-start/pid:[1]/7@9"))
    place.return_()
    place.send()
    assert len(place.waiting()) == 1
    with place.services.database.write() as session:
        session.execute(update(WaitingObject).values(changed_at=time.time() - 7200))
    place.send()
    assert place.waiting() == []
    assert not (place.root / "a").exists()


def test_what_a_crash_left_in_the_middle_goes_on(place: HomeOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    place.leave()
    place.driver.put("a", b"hello")
    with place.services.database.write() as session:
        session.execute(update(WaitingObject).values(state="sending"))
    assert get(place.driver, "a") == b"hello"
    place.return_()
    place.send()
    assert (place.root / "a").read_bytes() == b"hello"
    # What was under way may arrive once more.
    assert place.summary()[0].waiting == 1
    monkeypatch.setattr(write_back, "CONFIRM_AFTER_SECONDS", 0.0)
    place.send()
    assert place.summary() == ()


def test_neither_home_nor_stand_in_goes_while_something_waits(place: HomeOnDisk, tmp_path: Path) -> None:
    place.leave()
    place.driver.put("a", b"waits")
    backends = place.services.backends
    for name in ("home", "spare"):
        with pytest.raises(StowageError) as caught:
            backends.remove(ADMIN, name)
        assert caught.value.kind is Kind.CONFLICT
        assert "wait" in caught.value.reason
    with pytest.raises(StowageError):
        backends.edit(ADMIN, Draft("spare", "local", options(tmp_path / "x"), {}, existing="spare"))
    place.return_()
    place.send()
    backends.remove(ADMIN, "home")


def test_kept_objects_are_dismissed_on_request(place: HomeOnDisk) -> None:
    place.leave()
    place.driver.put("a", b"waits")
    place.return_()
    (place.root / "a").write_bytes(b"newer")
    place.send()
    assert place.services.write_back.dismiss(ADMIN, "home") == 1
    assert place.summary() == ()
    assert len(place.waiting()) == 1
    place.services.backends.remove(ADMIN, "home")


def test_the_runner_writes_back_once_the_backend_is_available(
    instance: Path, tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    with composed(instance) as services:
        bucket = seaweedfs.new_bucket()
        add_s3(services, "home", fault_proxy.endpoint, bucket, seaweedfs.admin, fallback="true")
        add_local(services, "spare", tmp_path / "spare")
        services.backends.fallback_order(ADMIN, ["spare"])
        driver = services.backends.driver("home")
        driver.put("before", b"x")
        fault_proxy.reset(times=None)
        driver.put("a", b"hello")
        stream(driver, "b", content_of(100_000))
        assert get(driver, "a") == b"hello"
        with pytest.raises(StorageError):
            driver.delete("before")
        fault_proxy.clear()
        services.backends.refresh(ADMIN, "home")
        with running(services):
            wait_until(lambda: not services.write_back.summary(), seconds=60, what="everything at home")
        client = seaweedfs.client()
        stored = {o["Key"]: o["Size"] for o in client.list_objects_v2(Bucket=bucket)["Contents"]}
        assert stored == {"before": 1, "a": 5, "b": 100_000}
        assert not [path for path in (tmp_path / "spare" / FOLDER).rglob("*") if path.is_file()]


def test_a_program_beside_the_console_writes_on_while_its_storage_is_away(
    place: HomeOnDisk, instance: Path
) -> None:
    with open_storage(instance) as storage:
        media = storage.backend("home")
        media.put("a", "at home")
        place.leave()
        media.put("b", "waits")
        assert media.get("b") == b"waits"
        assert place.summary()[0].waiting == 1
        place.return_()
        place.send()
        assert media.get("b") == b"waits"
    assert (place.root / "b").read_bytes() == b"waits"


WRITER = """
import sys
from dashboard.app import open_storage

with open_storage(sys.argv[1]) as storage:
    home = storage.backend("home")
    for number in range(100_000):
        key, content = f"{number % 7}/{number}", f"content of {number}" * (number % 50)
        if number % 3:
            home.put(key, content)
        else:
            with home.write_stream(key) as writing:
                writing.write(content.encode())
                writing.commit()
        print(number, flush=True)
"""


def test_every_acknowledged_write_of_a_killed_program_is_written_back(
    place: HomeOnDisk, instance: Path
) -> None:
    place.leave()
    command = [sys.executable, "-c", WRITER, str(instance)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        acknowledged = [int(process.stdout.readline()) for _ in range(60)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    place.return_()
    place.send()
    for number in acknowledged:
        content = f"content of {number}" * (number % 50)
        assert (place.root / f"{number % 7}/{number}").read_bytes() == content.encode()
    with place.services.database.write() as session:
        session.execute(update(WaitingObject).values(changed_at=time.time() - 7200))
    place.send()
    assert place.summary() == ()
    # At most the write that was under way is left, and may have been kept without being acknowledged.
    assert place.waiting() == []
    assert len([path for path in place.root.rglob("*") if path.is_file()]) - len(acknowledged) in (0, 1)


def test_nothing_encrypted_waits_unencrypted_and_nothing_where_nothing_is_written(
    place: HomeOnDisk, tmp_path: Path
) -> None:
    backends = place.services.backends
    for name, more in (("closed", {"read_only": "true"}), ("vault", {"encrypt": "true"})):
        (tmp_path / name).mkdir()
        secrets = {"encryption_key": new_encryption_key()} if name == "vault" else {}
        backends.add(ADMIN, Draft(name, "local", options(tmp_path / name, **more), secrets))
    (tmp_path / "closed" / "old").write_bytes(b"from the archive")
    (tmp_path / "deep").mkdir()
    deep = options(tmp_path / "deep", fallback="true", encrypt="true")
    key = {"encryption_key": new_encryption_key()}
    backends.add(ADMIN, Draft("deep", "local", deep, key))
    backends.fallback_order(ADMIN, ["closed", "spare"])
    (tmp_path / "deep").rename(tmp_path / "gone")
    driver = backends.driver("deep")
    assert get(driver, "old") == b"from the archive"
    with pytest.raises(StorageError):
        driver.put("a", b"not for others")
    backends.fallback_order(ADMIN, ["closed", "spare", "vault"])
    driver.put("a", b"not for others")
    assert get(driver, "a") == b"not for others"
    (tmp_path / "gone").rename(tmp_path / "deep")
    for name in ("closed", "spare", "vault", "deep"):
        for path in (tmp_path / name).rglob("*"):
            assert not path.is_file() or b"not for others" not in path.read_bytes()
    assert place.services.write_back.run(backends.get("deep").id, lambda: False)
    assert get(driver, "a") == b"not for others"
    assert place.summary() == ()
