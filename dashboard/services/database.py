"""The two databases: how they are opened, how transactions begin, and what their refusals mean.

Facts this rests on (measured): Python's legacy transaction mode loses concurrent read-modify-writes,
and a deferred BEGIN that later writes fails at once under contention. So the driver's own mode is off,
and every writing transaction takes the write lock when it begins.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from dashboard.errors import Kind, StowageError
from dashboard.models import WORK_BIND, main_metadata, work_metadata
from dashboard.services.upgrade import bring_up_to_date
from dashboard.settings import Settings

PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-20000",
    "temp_store=MEMORY",
)

# Parameters of a failed statement can be password hashes and sealed text: never show them.
_OPTIONS: Mapping[str, Any] = MappingProxyType({"hide_parameters": True, "pool_size": 20, "max_overflow": 60})

LARGEST_NUMBER = 2**63 - 1
"""The largest integer of SQLite; one more is an OverflowError of its driver."""


def sqlalchemy_config(settings: Settings) -> dict[str, object]:
    """Flask-SQLAlchemy's configuration keys for both databases."""
    return {
        "SQLALCHEMY_DATABASE_URI": URL.create("sqlite", database=str(settings.database)),
        "SQLALCHEMY_ENGINE_OPTIONS": dict(_OPTIONS),
        "SQLALCHEMY_BINDS": {
            WORK_BIND: {"url": URL.create("sqlite", database=str(settings.work_database)), **_OPTIONS}
        },
    }


def open_database(settings: Settings) -> Database:
    """Both databases without a web application, with the same engines as ``sqlalchemy_config`` describes."""
    return Database(_engine(settings.database), _engine(settings.work_database))


def _engine(path: Path) -> Engine:
    return create_engine(URL.create("sqlite", database=str(path)), **_OPTIONS)


def prepare_instance(settings: Settings) -> None:
    """Make the instance folder and the database files readable by their owner only. Idempotent."""
    try:
        settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(settings.instance)
        for path in (settings.database, settings.work_database):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"The folder {settings.instance} cannot be used: {error.strerror}.",
            operation="open database",
            remedy="Give this user write access to it, or set STOWAGE_INSTANCE to another folder.",
        ) from error


def _close_to_others(folder: Path) -> None:
    """What a checkout or an unpacked archive brings along is open to everybody on the machine."""
    mode = folder.stat().st_mode
    if mode & 0o077:
        # A folder that belongs to somebody else, who lets this user in, stays as it is.
        with suppress(PermissionError):
            folder.chmod(mode & 0o700)


class Database:
    """Both databases. Thread-safe; each context manager is one transaction on one connection.

    Writing transactions take the write lock at once, commit on leaving and roll back on an exception,
    so keep them short and never do network calls inside one.
    """

    def __init__(self, main: Engine, work: Engine) -> None:
        self.main = main
        self.work = work
        for engine in (main, work):
            _prepare_engine(engine)
        self._main_writer = main.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._work_writer = work.execution_options(sqlite_begin="BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view of the main database."""
        with _sentences(), Session(self.main) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction on the main database."""
        with _sentences(), Session(self._main_writer, expire_on_commit=False) as session, session.begin():
            # Sessions begin lazily; files that the lock protects may be read before the first statement.
            session.connection()
            yield session

    @contextmanager
    def work_read(self) -> Iterator[Connection]:
        """One consistent view of ``work.db``. Do not stream an export inside one: it holds up the WAL."""
        with _sentences(), self.work.connect() as connection:
            yield connection

    @contextmanager
    def work_write(self) -> Iterator[Connection]:
        """One transaction on ``work.db``."""
        with _sentences(), self._work_writer.begin() as connection:
            yield connection

    def create_tables(self) -> None:
        """Bring both files to the schema of this version. Idempotent; safe from several processes."""
        with _sentences():
            bring_up_to_date(self.main, "main", main_metadata)
            bring_up_to_date(self.work, "work", work_metadata)

    def close(self) -> None:
        """Free all connections; a later use opens new ones."""
        self.main.dispose()
        self.work.dispose()


def _prepare_engine(engine: Engine) -> None:
    if not event.contains(engine, "connect", _on_connect):
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)


def _on_connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def storable(number: int) -> int:
    """The number, or the nearest that SQLite can hold. For what people and servers send."""
    return max(-LARGEST_NUMBER, min(number, LARGEST_NUMBER))


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn SQLite's refusals into errors a person can act on."""
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise translated(error) from error


def translated(error: DatabaseError | sqlite3.DatabaseError) -> StowageError:
    """SQLite's refusal as an error a person can act on."""
    text = str(error.orig if isinstance(error, DatabaseError) else error).lower()
    if "locked" in text or "busy" in text:
        return StowageError(
            Kind.TIMEOUT,
            "The database is busy with another change.",
            operation="database",
            remedy="Try again in a moment.",
        )
    if "full" in text:
        return StowageError(
            Kind.FULL,
            "The disk with the database is full.",
            operation="database",
            remedy="Free some space in the instance folder and try again.",
        )
    if "readonly" in text or "unable to open" in text or "not a database" in text or "malformed" in text:
        return StowageError(
            Kind.INTERNAL,
            "The database cannot be used: it is read-only, unreadable or damaged.",
            operation="database",
            remedy="Check the owner and the permissions of the files in the instance folder, "
            "or restore them from a backup.",
        )
    return StowageError(
        Kind.INTERNAL,
        "The database did not do what it was asked.",
        operation="database",
        remedy="The log has the details.",
    )
