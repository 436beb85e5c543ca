"""What a console needs from time to time: free disk space, a fresh key, a backup, sound databases."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from dashboard.models.console import Setting, User
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import BackendInfo
from dashboard.services.backups.database_copies import LAST_BACKUP
from dashboard.services.database import Database
from dashboard.services.keys import KEY_ROTATED_AT
from dashboard.services.moving.database_states import damage, states
from dashboard.settings import Settings
from dashboard.storage.errors import StorageError
from dashboard.storage.net.timeouts import call_with_timeout
from dashboard.storage.registry import location

LAST_CHECK = "database_checked"
KEY_DAYS, BACKUP_DAYS = 90, 7
"""After how many days a key should be rotated, and the databases be backed up again."""
NEARLY_FULL, FULL = 0.90, 0.97
"""Used parts of a disk from which on that is said, and said as an error."""
CHECK_SECONDS = 86_400.0
"""Seconds between two integrity checks of the databases."""

_DISK_SECONDS = 1.0
_KEPT_SECONDS = 30.0
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """A file system of this machine, and what is stored there. Sizes in bytes; ``backends`` are names."""

    name: str
    path: str
    total: int
    free: int
    backends: tuple[str, ...] = ()

    @property
    def used(self) -> float:
        """The part that programs without special rights cannot use any more, 0 to 1."""
        return 1 - self.free / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """One of the databases: sizes in bytes, when it was last found sound (None: never checked), and which
    program keeps it."""

    name: str
    size: int
    wal: int
    milliseconds: float
    checked_at: float | None
    problem: str
    version: str


class Upkeep:
    """Thread-safe. Times in seconds since the epoch."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._lock = threading.Lock()
        # One page asks for all folders and for that of the databases alone.
        self._disks: dict[tuple[str, ...], tuple[float, tuple[DiskSpace, ...]]] = {}

    def key_since(self) -> float | None:
        """When the key was last rotated or, before that, made with the first user; None before setup."""
        return self._database.kept("key_since", self._key_since, of="main")

    def _key_since(self) -> float | None:
        with self._database.read() as session:
            rotated = session.scalar(select(Setting.value).where(Setting.key == KEY_ROTATED_AT))
            return float(rotated) if rotated else session.scalar(select(func.min(User.created_at)))

    def backup_at(self) -> float | None:
        """When the last backup was finished, by hand or by schedule."""
        return self._database.kept("backup_at", self._backup_at, of="main")

    def _backup_at(self) -> float | None:
        with self._database.read() as session:
            value = session.scalar(select(Setting.value).where(Setting.key == LAST_BACKUP))
        return float(value) if value else None

    def backup_due_since(self) -> float | None:
        """Since when a backup is overdue, or None. A new console has a week for its first."""
        last = self.backup_at()
        if last is None:
            last = self._database.kept("first_user", self._first_user, of="main")
        due = last + BACKUP_DAYS * _DAY if last is not None else None
        return due if due is not None and due < time.time() else None

    def _first_user(self) -> float | None:
        with self._database.read() as session:
            return session.scalar(select(func.min(User.created_at)))

    def disks(self, backends: Iterable[BackendInfo]) -> tuple[DiskSpace, ...]:
        """The file systems with the databases and with the folders of these backends, each once, the fullest
        first. A folder that does not answer within a second, or is down, is left out. Kept for half a
        minute."""
        folders = {"": str(self._settings.instance)}
        for backend in backends:
            where = location(backend.driver, backend.options)
            if not where.server and where.path and backend.status.badge is not Badge.DOWN:
                folders[backend.name] = f"/{where.path.strip('/')}"
        names = tuple(folders)
        with self._lock:
            now = time.monotonic()
            self._disks = {key: kept for key, kept in self._disks.items() if now - kept[0] < _KEPT_SECONDS}
            if names in self._disks:
                return self._disks[names][1]
        found = _measure(folders)
        with self._lock:
            self._disks[names] = time.monotonic(), found
        return found

    def databases(self) -> tuple[DatabaseFile, ...]:
        """Both databases as they are now."""
        with self._database.read() as session:
            value = session.scalar(select(Setting.value).where(Setting.key == LAST_CHECK)) or ""
        checked_at, _, problem = value.partition(" ")
        at = float(checked_at) if checked_at else None
        return tuple(
            DatabaseFile(each.name, each.size, each.log, each.milliseconds, at, problem, each.version)
            for each in states(self._database)
        )

    def check_databases(self, *, now: float | None = None) -> bool:
        """Look for damage in both databases if the last time is a day ago; return whether it was done. Reads
        all of the main database and the structure of the other."""
        moment = time.time() if now is None else now
        with self._database.read() as session:
            value = session.scalar(select(Setting.value).where(Setting.key == LAST_CHECK)) or "0"
        if moment - float(value.partition(" ")[0]) < CHECK_SECONDS:
            return False
        engines = (self._database.main, self._database.work)
        problems = [
            f"{Path(each.url.database or '').name}: {problem}"
            for each in engines
            if (problem := damage(each))
        ]
        with self._database.write() as session:
            session.merge(Setting(key=LAST_CHECK, value=f"{moment:.0f} {'; '.join(problems)}".strip()))
        return True


def _measure(folders: dict[str, str]) -> tuple[DiskSpace, ...]:
    found: dict[int, DiskSpace] = {}
    for name, path in folders.items():
        measured = _space(path)
        if measured is None:
            continue
        device, total, free = measured
        known = found.get(device)
        if known is None:
            label = name or "Databases and ledgers"
            found[device] = DiskSpace(label, path, total, free, (name,) if name else ())
        elif name:
            found[device] = DiskSpace(known.name, known.path, total, free, (*known.backends, name))
    return tuple(sorted(found.values(), key=lambda disk: -disk.used))


def _space(path: str) -> tuple[int, int, int] | None:
    def look() -> tuple[int, int, int]:
        space = shutil.disk_usage(path)
        return os.stat(path).st_dev, space.used + space.free, space.free

    try:
        # A network share that has gone away would hang.
        return call_with_timeout(look, _DISK_SECONDS, lambda: False)
    except (OSError, StorageError):
        return None
