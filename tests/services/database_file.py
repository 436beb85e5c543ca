"""A database of its own for one test."""

from __future__ import annotations

import multiprocessing.synchronize
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.models.backends import Backend
from dashboard.models.console import Setting
from dashboard.services import upgrade
from dashboard.services.database import Database, open_database
from dashboard.settings import Settings


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """Both files in ``folder``, with their tables."""
    database = open_database(Settings(folder, folder / "stowage.key"))
    database.upgrade()
    try:
        yield database
    finally:
        database.close()


def add_backend(database: Database, name: str) -> int:
    """A bare row, for tests that never build its driver."""
    with database.write() as session:
        row = Backend(
            name=name, driver="local", preset="local", options={}, created_at=0.0, updated_at=0.0, version=1
        )
        session.add(row)
        session.flush()
        return row.id


def open_with_steps(folder: Path, steps: Path) -> None:
    """For a process of its own: upgrade with these steps instead of the real ones."""
    upgrade.STEPS = steps
    with opened(folder):
        pass


def open_and_write(folders: list[Path], gate: multiprocessing.synchronize.Event) -> None:
    """For a process of its own: once the gate is open, leave a row in each folder's main database."""
    gate.wait()
    for folder in folders:
        with opened(folder) as database, database.write() as session:
            session.add(Setting(key=str(os.getpid()), value="here"))
