"""A database of its own for one test."""

from __future__ import annotations

import multiprocessing.synchronize
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Engine, event, inspect

from dashboard.models.backends import Backend
from dashboard.models.console import Setting
from dashboard.services import upgrade
from dashboard.services.database import Database, open_database
from dashboard.services.engines import is_postgresql
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


def change_by_hand(engine: Engine, *statements: str) -> None:
    """What somebody does to a database who uses nothing of Stowage."""
    if is_postgresql(engine):
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        return
    with closing(sqlite3.connect(engine.url.database or "")) as file, file:
        file.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            file.execute(statement)


@contextmanager
def version_of(engine: Engine) -> Iterator[Callable[[], object]]:
    """What returns something else as soon as somebody has written to the database: on a server this process,
    because what it says of changes is about all databases, or late."""
    if is_postgresql(engine):
        changes: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
                changes.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield lambda: tuple(changes)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        return
    with closing(sqlite3.connect(engine.url.database or "")) as file:
        yield lambda: file.execute("PRAGMA data_version").fetchone()


def everything_in(engine: Engine) -> str:
    """All rows of all tables, as text."""
    if not is_postgresql(engine):
        with closing(sqlite3.connect(engine.url.database or "")) as file:
            return "\n".join(file.iterdump())
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        rows = (connection.exec_driver_sql(f'SELECT t::text FROM "{name}" AS t').scalars() for name in tables)
        return "\n".join(row for found in rows for row in found)


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
