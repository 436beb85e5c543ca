"""What a console needs from time to time is measured, and never in the way."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete

from dashboard.models.console import AuditEntry
from dashboard.services.backends.values import Draft
from dashboard.services.moving.database_states import damage
from dashboard.services.upkeep import upkeep as module
from dashboard.services.upkeep.upkeep import BACKUP_DAYS
from tests.services.console import ADMIN, ServiceConsole


def test_a_backup_is_overdue_after_a_week_and_done_by_the_command(
    console: ServiceConsole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = console.services.upkeep
    assert (upkeep.backup_at(), upkeep.backup_due_since()) == (None, None)
    later = time.time() + (BACKUP_DAYS + 1) * 86_400
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert upkeep.backup_due_since() is not None
    console.services.backups.copies.write(ADMIN, tmp_path / "copy")
    assert upkeep.backup_at() == pytest.approx(later, abs=1)
    assert upkeep.backup_due_since() is None


def test_the_key_is_as_old_as_its_last_rotation(console: ServiceConsole) -> None:
    made = console.services.upkeep.key_since()
    assert made is not None
    console.services.keys.rotate(ADMIN)
    rotated = console.services.upkeep.key_since()
    assert (rotated or 0) > made
    # What the audit log forgets, the key does not.
    with console.database.write() as session:
        session.execute(delete(AuditEntry))
    assert console.services.upkeep.key_since() == rotated


def test_a_disk_is_listed_once_and_a_folder_that_is_gone_not_at_all(
    console: ServiceConsole, tmp_path: Path
) -> None:
    for name in ("one", "two", "gone"):
        (tmp_path / name).mkdir()
        console.services.backends.add(ADMIN, Draft(name, "local", {"root": str(tmp_path / name)}, {}))
    (tmp_path / "gone").rmdir()
    [disk] = console.services.upkeep.disks(console.services.backends.list())
    assert set(disk.backends) >= {"one", "two"}
    assert "gone" not in disk.backends
    assert 0 < disk.free <= disk.total
    assert replace(disk, total=100, free=9).used == pytest.approx(0.91)


def test_databases_are_checked_once_a_day_and_damage_is_told(console: ServiceConsole) -> None:
    upkeep = console.services.upkeep
    assert [file.checked_at for file in upkeep.databases()] == [None, None]
    assert upkeep.check_databases(now=1e9)
    assert not upkeep.check_databases(now=1e9 + 80_000)
    assert upkeep.check_databases(now=1e9 + 90_000)
    main, work = upkeep.databases()
    assert (main.name, work.name) == ("stowage.db", "work.db")
    assert main.size > 0
    assert main.milliseconds >= 0
    assert (main.checked_at, main.problem) == (1e9 + 90_000, "")


def test_a_damaged_database_is_recognized(tmp_path: Path) -> None:
    damaged = tmp_path / "x.db"
    damaged.write_bytes(b"not a database at all" * 100)
    assert "not a database" in damage(create_engine(f"sqlite:///{damaged}"))
    assert damage(create_engine(f"sqlite:///{tmp_path / 'missing.db'}"))


def test_each_choice_of_folders_is_measured_once_in_half_a_minute(
    console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(module, "_measure", lambda folders: measured.append(folders) or ())
    backends = console.services.backends.list()
    # A page asks for both, and must not throw the one away for the other.
    for _ in range(3):
        console.services.upkeep.disks(backends)
        console.services.upkeep.disks(())
    assert len(measured) == 2
