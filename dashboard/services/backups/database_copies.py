"""A consistent copy of both databases while they are in use."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.console import Setting
from dashboard.services.backups.archive import DATABASES
from dashboard.services.database import Database
from dashboard.services.moving.moves import export
from dashboard.services.permissions import Actor, Permission
from dashboard.settings import Settings

LAST_BACKUP = "last_backup_at"
PAGES_PER_STEP = 4096
"""16 MiB; between two steps, writers get their turn."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A copied file, and its size in bytes."""

    path: Path
    size: int


class DatabaseBackup:
    """Thread-safe."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def write(self, actor: Actor, folder: Path) -> tuple[BackedUp, ...]:
        """Copy both databases into a folder, which is created, readable by its owner only. Each copy is one
        consistent state, and appears under its name only when it is complete and on disk. Secrets in it
        stay sealed; the key is not copied.

        Raises ``StowageError``: ``CONFLICT`` if the folder already has such a file, which is never replaced,
        and ``DENIED`` if it cannot be written.
        """
        actor.require(Permission.KEYS)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in DATABASES:
                if (folder / name).exists():
                    reason = f"“{folder}” already holds “{name}”."
                    raise _refusal(Kind.CONFLICT, reason, "Name another folder.")
            copied = self.copy(folder)
        except (OSError, sqlite3.Error) as error:
            cause = getattr(error, "strerror", None) or str(error)
            reason = f"The copy in “{folder}” failed: {cause}."
            raise _refusal(Kind.DENIED, reason, "Check the folder and its free space.") from error
        with self._database.write() as session:
            record_backup(session, time.time())
        return copied

    def copy(self, folder: Path, stop: Callable[[], bool] = lambda: False) -> tuple[BackedUp, ...]:
        """Copy both into a folder that holds neither, as files, wherever they are kept. Asks ``stop`` between
        parts; if it is true, raises ``InterruptedError``. Raises ``OSError``, ``sqlite3.Error`` and
        ``StowageError``."""
        if self._settings.database_url:
            return self._export(folder, stop)
        copied = []
        for source in (self._settings.database, self._settings.work_database):
            copied.append(copy_database(source, folder / source.name))
            if stop():
                raise InterruptedError
        return tuple(copied)

    def _export(self, folder: Path, stop: Callable[[], bool]) -> tuple[BackedUp, ...]:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
            export(self._database, Path(scratch), stop=stop)
            return tuple(copy_database(Path(scratch) / name, folder / name) for name in DATABASES)


def record_backup(session: Session, at: float) -> None:
    """Remember when the databases were backed up, in the caller's transaction."""
    session.merge(Setting(key=LAST_BACKUP, value=f"{at:.0f}"))


def copy_database(source: Path, target: Path) -> BackedUp:
    """Copy a database that is in use, in one consistent state, to a new file that only its owner can read.
    It appears under its name when it is complete and on disk. Raises ``OSError`` and ``sqlite3.Error``."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(source)) as running, closing(sqlite3.connect(partial)) as copy:
            running.backup(copy, pages=PAGES_PER_STEP)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        # Unlike a rename this never replaces the copy that somebody else made meanwhile.
        os.link(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return BackedUp(target, target.stat().st_size)


def _refusal(kind: Kind, reason: str, remedy: str) -> StowageError:
    return StowageError(kind, reason, operation="backup", remedy=remedy)
