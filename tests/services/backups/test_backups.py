"""Backups of the console: made when the schedule says, whole or not there, and not kept for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import Job, JobContext, JobKind
from dashboard.services.backends.values import Draft
from dashboard.services.backups import storing_backups
from dashboard.services.backups.archive import verify_archive
from dashboard.services.backups.backup_values import PREFIX, BackupSchedule, BackupState
from dashboard.services.backups.backups import Backups
from dashboard.services.services import Services
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN, OPERATOR

HOUR = 3600.0


class HeldTime:
    """The time, as the test sets it."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        yield services


@pytest.fixture
def clock() -> HeldTime:
    return HeldTime()


@pytest.fixture
def backups(services: Services, clock: HeldTime) -> Backups:
    return Backups(services.database, services.audit, services.backups._store, clock=clock)


def context(stop: threading.Event | None = None) -> JobContext:
    return JobContext(Job(1, JobKind.BACKUP, 0, 1, 1, float("inf")), stop or threading.Event())


def made(backups: Backups) -> Any:
    """Make the backup that is due or queued."""
    backups.run(context())
    return backups.list()[0]


def archives(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.tar.gz"))


def test_nothing_is_made_before_anybody_asks(backups: Backups, tmp_path: Path) -> None:
    backups.run(context())
    assert backups.list() == ()
    assert not (tmp_path / "instance" / "backups").exists()
    summary = backups.summary()
    assert (summary.newest, summary.overdue, summary.next_at) == (None, False, None)


def test_a_requested_backup_is_whole_private_and_made_once(
    backups: Backups, services: Services, tmp_path: Path
) -> None:
    number = backups.request(ADMIN)
    assert backups.request(ADMIN) == number
    row = made(backups)
    path = tmp_path / "instance" / "backups" / row.key
    assert (row.state, row.size, row.requested_by) == (BackupState.DONE, path.stat().st_size, ADMIN.name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in verify_archive(path).files] == ["stowage.db", "work.db"]
    backups.run(context())
    assert len(backups.list()) == 1
    assert os.listdir(path.parent) == [row.key]
    with pytest.raises(StowageError) as refused:
        backups.request(OPERATOR)
    assert refused.value.kind is Kind.FORBIDDEN


def test_they_are_made_when_due_and_the_oldest_go(backups: Backups, clock: HeldTime, tmp_path: Path) -> None:
    backups.change_schedule(ADMIN, BackupSchedule(enabled=True, every_hours=6, keep=2))
    keys = []
    for _ in range(4):
        keys.append(made(backups).key)
        clock.now += 5.9 * HOUR
        backups.run(context())
        assert backups.list()[0].key == keys[-1]
        assert not backups.summary().overdue
        clock.now += 0.2 * HOUR
    assert archives(tmp_path / "instance" / "backups") == sorted(keys[-2:])
    assert [row.key for row in backups.list()] == keys[:-3:-1]
    clock.now += 6 * HOUR
    assert backups.summary().overdue


def test_a_failure_is_said_tried_again_in_an_hour_and_removes_nothing(
    backups: Backups, services: Services, clock: HeldTime, tmp_path: Path
) -> None:
    root = add_local(services, "safe", tmp_path / "safe")
    backups.change_schedule(ADMIN, BackupSchedule(enabled=True, every_hours=1, keep=1, backend="safe"))
    first = made(backups)
    assert [str(path.relative_to(root)) for path in root.rglob("*.gz")] == [first.key]
    assert first.key.startswith(PREFIX)
    clock.now += HOUR
    root.rename(tmp_path / "away")
    with pytest.raises(StowageError):
        backups.run(context())
    failed = backups.summary().last_failure
    assert failed is not None
    assert failed.state is BackupState.FAILED
    assert failed.message
    backups.run(context())
    assert backups.list()[0].id == failed.id
    (tmp_path / "away").rename(root)
    clock.now += HOUR
    row = made(backups)
    assert row.state is BackupState.DONE
    assert backups.summary().last_failure is None
    assert [str(path.relative_to(root)) for path in root.rglob("*.gz")] == [row.key]


def test_a_backend_that_returns_other_bytes_holds_no_backup(
    backups: Backups, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = add_local(services, "liar", tmp_path / "liar")
    backups.change_schedule(ADMIN, BackupSchedule(enabled=True, backend="liar"))
    read = LocalDriver.read

    def other_bytes(self: LocalDriver, key: str, **options: Any) -> Any:
        path = root / key
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        return read(self, key, **options)

    monkeypatch.setattr(LocalDriver, "read", other_bytes)
    with pytest.raises(StowageError) as error:
        backups.run(context())
    assert error.value.kind is Kind.DAMAGED
    assert backups.list()[0].state is BackupState.FAILED


def test_a_runner_that_stops_or_dies_in_the_middle_leaves_the_same_backup_to_the_next(
    backups: Backups, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = add_local(services, "there", tmp_path / "there")
    backups.change_schedule(ADMIN, BackupSchedule(enabled=True, backend="there"))
    stop = threading.Event()
    verify: Callable[[Path], Any] = storing_backups.verify_archive
    monkeypatch.setattr(storing_backups, "verify_archive", lambda path: (stop.set(), verify(path)))
    assert backups.run(context(stop)).requeue
    (row,) = backups.list()
    assert row.state is BackupState.QUEUED

    class Killed(BaseException):
        pass

    def kill(driver: Any, **options: Any) -> None:
        raise Killed

    monkeypatch.setattr(storing_backups, "verify_archive", verify)
    # Between the upload and the record of it.
    monkeypatch.setattr(Backups, "_settle", lambda *args, **values: kill(None))
    with pytest.raises(Killed):
        backups.run(context())
    assert backups.list()[0].state is BackupState.RUNNING
    monkeypatch.undo()
    again = made(backups)
    assert (again.id, again.key, again.state) == (row.id, row.key, BackupState.DONE)
    (stored,) = root.rglob("*.gz")
    verify_archive(stored)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (lambda: BackupSchedule(every_hours=5), "every_hours"),
        (lambda: BackupSchedule(keep=0), "keep"),
        (lambda: BackupSchedule(keep=366), "keep"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(schedule: Callable[[], BackupSchedule], field: str) -> None:
    with pytest.raises(StowageError) as refused:
        schedule()
    assert (refused.value.kind, refused.value.subject) == (Kind.INVALID, field)


def test_a_backend_that_only_the_database_can_decrypt_takes_no_backup_of_it(
    backups: Backups, services: Services, tmp_path: Path
) -> None:
    root = tmp_path / "sealed"
    root.mkdir()
    sealed = Draft(
        "sealed",
        "local",
        {"root": str(root), "encrypt": "true"},
        {"encryption_key": new_encryption_key()},
    )
    services.backends.add(ADMIN, sealed)
    for name, words in (("sealed", "without the database"), ("nowhere", "no backend")):
        with pytest.raises(StowageError) as refused:
            backups.change_schedule(ADMIN, replace(BackupSchedule(), enabled=True, backend=name))
        assert (refused.value.kind, refused.value.subject) == (Kind.INVALID, "backend")
        assert words in refused.value.reason
    assert backups.schedule() == BackupSchedule()
