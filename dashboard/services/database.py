"""The two databases: how they are opened, how transactions begin, and which schema they hold.

Facts this rests on (measured): Python's legacy transaction mode loses concurrent read-modify-writes,
and a deferred BEGIN that later writes fails at once under contention. So the driver's own mode is off,
and every writing transaction takes the write lock when it begins.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateColumn

from dashboard.errors import Kind, StowageError
from dashboard.models import WORK_BIND, main_metadata, work_metadata
from dashboard.models.work import names, own_keys
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

Step = Callable[[Connection], None]


def _note_more_of_what_waits(connection: Connection) -> None:
    """Owner, attributes and earlier attempts of waiting objects, and a row for each writer that holds one."""
    table = main_metadata.tables["waiting_objects"]
    present = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        # The step that made the table may have been of this version.
        if column.name not in present:
            described = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")
    connection.exec_driver_sql("UPDATE waiting_objects SET state = 'waiting' WHERE state = 'held'")
    main_metadata.tables["waiting_holds"].create(connection, checkfirst=True)


def _statement(text: str) -> Step:
    """A step that is one statement."""

    def step(connection: Connection) -> None:
        connection.exec_driver_sql(text)

    return step


def _new_column(table: str, definition: str) -> Step:
    """A step that adds a column where it is not there yet."""

    def step(connection: Connection) -> None:
        there = {row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")}
        if definition.split(maxsplit=1)[0] not in there:
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {definition}")

    return step


MAIN_STEPS: tuple[Step, ...] = (
    main_metadata.tables["waiting_objects"].create,
    _note_more_of_what_waits,
    _new_column("backend_status", "unreadable_folders INTEGER NOT NULL DEFAULT 0"),
    _new_column("backend_secrets", "sent_to VARCHAR NOT NULL DEFAULT ''"),
    # Of what people choose themselves no ending is kept any more.
    _statement(
        "UPDATE backend_secrets SET hint = '' WHERE name IN ('password', 'passphrase', 'cache_redis')"
    ),
    partial(main_metadata.tables["backend_names"].create, checkfirst=True),
    partial(main_metadata.tables["waiting_tries"].create, checkfirst=True),
)
"""Forward steps of the main schema, oldest first; step ``n`` turns version ``n + 1`` into ``n + 2``."""

WORK_STEPS: tuple[Step, ...] = (
    own_keys.create,
    _statement("ALTER TABLE migration_counters ADD COLUMN token VARCHAR(32) NOT NULL DEFAULT ''"),
    _statement("ALTER TABLE migration_objects ADD COLUMN found VARCHAR NOT NULL DEFAULT '*'"),
    _statement("ALTER TABLE migration_counters ADD COLUMN markers VARCHAR NOT NULL DEFAULT ''"),
    names.create,
)
"""The same for ``work.db``."""


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
            _upgrade(self.main, main_metadata, MAIN_STEPS)
            _upgrade(self.work, work_metadata, WORK_STEPS)

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


def _upgrade(engine: Engine, metadata: MetaData, steps: Sequence[Step]) -> None:
    newest = len(steps) + 1
    with engine.connect() as connection:
        if _version(connection, newest) == newest:
            return
    with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection:
        version = _version(connection, newest)
        if version == 0:
            metadata.create_all(connection)
        for step in steps[version - 1 :] if version else ():
            step(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {newest}")


def _version(connection: Connection, newest: int) -> int:
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > newest:
        raise StowageError(
            Kind.CONFLICT,
            f"The database {connection.engine.url.database} was written by a newer Stowage "
            f"(schema {version}; this one knows {newest}).",
            operation="open database",
            remedy="Start the newer version again, or restore the backup made before it.",
        )
    return version


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
    except DatabaseError as error:
        raise translated(error) from error


def translated(error: DatabaseError) -> StowageError:
    """SQLite's refusal as an error a person can act on."""
    text = str(error.orig).lower()
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
