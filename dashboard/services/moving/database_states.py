"""How each database is now: its size, how fast it answers, and whether it is sound."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboard.services.database import Database
from dashboard.services.engines import is_postgresql

_SIZE = (
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
    "WHERE relnamespace = to_regnamespace(current_schema()) AND relkind = 'r'"
)
_INVALID = (
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "WHERE c.relnamespace = to_regnamespace(current_schema()) AND NOT i.indisvalid LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """One of the databases as it is now. Sizes in bytes; ``log``: of what SQLite keeps beside the file;
    ``milliseconds``: of an answer, negative without one; ``version``: of the program that keeps it."""

    name: str
    size: int
    log: int
    milliseconds: float
    version: str


def states(database: Database) -> tuple[DatabaseState, ...]:
    """Of both. Never raises for one that cannot be read."""
    return tuple(state(engine) for engine in (database.main, database.work))


def damage(engine: Engine) -> str:
    """The first problem that the database finds in itself, or nothing. Reads all of a file; of a server, only
    whether its indexes are valid, because it checks what it reads by itself."""
    if not is_postgresql(engine):
        return _damage(Path(engine.url.database or ""))
    try:
        with engine.connect() as connection:
            index = connection.exec_driver_sql(_INVALID).scalar()
    except SQLAlchemyError:
        return "no answer"
    return f"the index {index} is not valid" if index else ""


def state(engine: Engine) -> DatabaseState:
    """One database as it is now. Never raises for one that cannot be read."""
    if not is_postgresql(engine):
        path = Path(engine.url.database or "")
        version = f"SQLite {sqlite3.sqlite_version}"
        return DatabaseState(path.name, _size(path), _size(Path(f"{path}-wal")), _response(path), version)
    began = time.monotonic()
    try:
        with engine.connect() as connection:
            name = connection.exec_driver_sql("SELECT current_schema()").scalar()
            milliseconds = (time.monotonic() - began) * 1000
            version = connection.exec_driver_sql("SHOW server_version").scalar_one().split()[0]
            size = connection.exec_driver_sql(_SIZE).scalar_one()
    except SQLAlchemyError:
        return DatabaseState(engine.url.database or "", 0, 0, -1.0, "PostgreSQL")
    return DatabaseState(f"{engine.url.database}.{name}", int(size), 0, milliseconds, f"PostgreSQL {version}")


def _damage(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            found: Sequence[str] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)[:200]
    return "" if found and found[0] == "ok" else str(found[0] if found else "no answer")[:200]


def _response(path: Path) -> float:
    began = time.monotonic()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return -1.0
    return (time.monotonic() - began) * 1000


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
