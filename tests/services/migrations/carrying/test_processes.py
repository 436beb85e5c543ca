"""Migrations of a whole console that real processes copy together, from and to real servers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from dashboard.app import open_services
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import Outcome, Progress, Spec, State
from dashboard.models.work import carriers
from dashboard.services.migrations.carrying import embedded, machine, processes
from dashboard.services.migrations.carrying.processes import carriers_for
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.scenario import some_objects
from tests.servers.drivers import sftp_on
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import SftpServer
from tests.services.composed import add_local, add_s3, digests
from tests.services.console import ADMIN, PASSWORD

SPEC = Spec(workers=8, carriers=2)
OBJECTS = some_objects(400)


class _Others:
    """What other processes than this one have copied of a migration. While ``held``, two of this one's
    workers wait, so that the run cannot finish; the others, which have to end something before another
    process may begin, are slow. All are, until it is ``paused``."""

    def __init__(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self._services = services
        self.held = True
        self.paused = False
        self._staying = threading.Semaphore(2)
        move = Transfer.move

        def hold(transfer: Transfer, *arguments: object) -> object:
            if not self.paused:
                self._wait()
            return move(transfer, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(embedded, "MEASURE_SECONDS", 0.0)
        monkeypatch.setattr(embedded, "WORTHWHILE_SECONDS", 0.0)
        monkeypatch.setattr(Transfer, "move", hold)

    def _wait(self) -> None:
        stays = self._staying.acquire(blocking=False)
        deadline = time.monotonic() + 120
        while self.held and time.monotonic() < deadline:
            if not stays and self.reports():
                time.sleep(0.3)
                return
            time.sleep(0.05)
        time.sleep(0.3)
        if stays:
            self._staying.release()

    def reports(self) -> list[str]:
        """The last words of those that have begun."""
        with self._services.database.work_read() as connection:
            query = select(carriers.c.status).where(carriers.c.number > 0, carriers.c.status != "")
            return list(connection.scalars(query))

    def copied(self) -> bool:
        """Whether they have copied anything."""
        return any('"copied": 0,' not in each for each in self.reports())


@contextmanager
def _console(settings: Settings, folder: Path) -> Iterator[Services]:
    """A console with the backend “here”, which holds ``OBJECTS``."""
    services = open_services(settings)
    patch = pytest.MonkeyPatch()
    try:
        if settings.database_url:
            # The other process has to find it, too.
            patch.setenv("STOWAGE_DATABASE_URL", settings.database_url)
        services.database.upgrade()
        services.setup.complete(services.setup.issue_code(), "ada", PASSWORD)
        add_local(services, "here", folder / "here")
        for key, content in OBJECTS.items():
            path = folder / "here" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield services
    finally:
        patch.undo()
        services.close()


def _run(services: Services, number: int, show: Callable[[Progress], None]) -> Progress:
    return services.runner.run_job_until_final(number, show)


def _assert_paused_resumed_and_the_same(services: Services, others: _Others, destination: str) -> None:
    number = services.migrations.create(ADMIN, "here", destination, SPEC, approve=True)
    processes: set[int] = set()

    def pause_once_both_copy(progress: Progress) -> None:
        processes.update(each.pid for each in progress.carriers)
        if progress.stopping:
            others.held = False
        elif progress.state is State.RUNNING and len(processes) == 2 and others.copied():
            services.migrations.pause(ADMIN, number)

    paused = _run(services, number, pause_once_both_copy)
    others.paused = True
    assert paused.state is State.PAUSED
    assert paused.counters.done < len(OBJECTS)
    (carrier,) = processes - {os.getpid()}
    wait_until(lambda: not _is_alive(carrier), seconds=30, what="the end of the other process")
    done = _run_again(services, number)
    assert (done.state, done.outcome) == (State.FINISHED, Outcome.CLEAN)
    assert done.counters.verified == len(OBJECTS)
    assert digests(services, destination) == digests(services, "here")


def _run_again(services: Services, number: int) -> Progress:
    services.migrations.resume(ADMIN, number)
    return _run(services, number, lambda _: None)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_bucket_is_filled_by_two_processes_that_a_pause_stops(
    tmp_path: Path, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_env({}, instance=tmp_path / "instance")
    with _console(settings, tmp_path) as services:
        add_s3(services, "bucket", seaweedfs.endpoint, seaweedfs.new_bucket(), seaweedfs.admin)
        _assert_paused_resumed_and_the_same(services, _Others(services, monkeypatch), "bucket")


def test_nobody_asks_for_two_processes_and_both_cores_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "WINDOW_SECONDS", 0.01)
    monkeypatch.setattr(machine, "OWN_CORES", -1.0)
    monkeypatch.setattr(machine, "IDLE_CORES", -1.0)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    with _console(Settings.from_env({}, instance=tmp_path / "instance"), tmp_path) as services:
        add_local(services, "there", tmp_path / "there")
        others = _Others(services, monkeypatch)
        number = services.migrations.create(ADMIN, "here", "there", Spec(workers=8), approve=True)
        seen: set[int] = set()

        def let_go_once_both_copy(progress: Progress) -> None:
            seen.update(each.pid for each in progress.carriers)
            others.held = others.held and not others.copied()

        done = _run(services, number, let_go_once_both_copy)
        assert (done.state, done.outcome) == (State.FINISHED, Outcome.CLEAN)
        assert len(seen) == 2
        assert digests(services, "there") == digests(services, "here")


@pytest.mark.torture
def test_two_processes_share_a_ledger_on_a_server(
    tmp_path: Path, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgresql.create()
    # The other process reads it there.
    monkeypatch.setenv("STOWAGE_DATABASE_URL", postgresql.url(name))
    settings = Settings.from_env(os.environ, instance=tmp_path / "instance")
    try:
        with _console(settings, tmp_path) as services:
            add_local(services, "there", tmp_path / "there")
            _assert_paused_resumed_and_the_same(services, _Others(services, monkeypatch), "there")
    finally:
        postgresql.drop(name)


def test_a_server_with_a_limit_of_connections_has_one_carrier(
    tmp_path: Path, sftp_server: SftpServer
) -> None:
    here, there = LocalDriver(str(tmp_path)), sftp_on(sftp_server)
    assert carriers_for(4, Spec(workers=64), {}, (here, here)) == 4
    assert carriers_for(4, Spec(workers=64), {}, (here, there)) == 1
    assert carriers_for(4, Spec(workers=64), {}, (there, here)) == 1
