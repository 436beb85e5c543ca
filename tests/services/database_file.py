"""A database of its own for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine

from dashboard.models.backends import Backend
from dashboard.services.database import Database


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """Both files in ``folder``, with their tables."""
    database = Database(
        create_engine(f"sqlite:///{folder / 'stowage.db'}"), create_engine(f"sqlite:///{folder / 'work.db'}")
    )
    database.create_tables()
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
