"""The engines of both databases, described once. Flask-SQLAlchemy creates those of a console; commands and
the runner load no web framework and create their own.

Measured: Python's legacy transaction mode loses concurrent read-modify-writes, and a deferred BEGIN that
later writes fails at once under contention. So the legacy mode is off, and every writing transaction takes
the write lock when it begins.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from dashboard.errors import Kind, StowageError
from dashboard.models.base import WORK_BIND
from dashboard.settings import Settings

PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-20000",
    "temp_store=MEMORY",
)

_BUSY_STATES = frozenset({"55P03", "57014", "40001", "40P01"})
"""PostgreSQL's: lock not available, statement cancelled, transaction to be repeated, deadlock."""

BUSY_SECONDS = 60.0
"""For which a run waits while another program, such as a backup, has a database locked."""


def engine_options(settings: Settings) -> dict[str | None, dict[str, Any]]:
    """The keywords of ``create_engine`` for each database, under its bind key: ``SQLALCHEMY_BINDS``."""
    if settings.database_url:
        return {
            key: _connections().options(settings, name) for key, name in ((None, "main"), (WORK_BIND, "work"))
        }
    return {None: _options(settings.database), WORK_BIND: _options(settings.work_database)}


def open_engines(settings: Settings) -> tuple[Engine, Engine]:
    """The engines of ``stowage.db`` and ``work.db`` without a web application."""
    options = engine_options(settings)
    return create_engine(**options[None]), create_engine(**options[WORK_BIND])


def prepare(engine: Engine) -> None:
    """Set up its connections, and how its transactions begin. Idempotent."""
    if is_postgresql(engine):
        _connections().prepare(engine)
    elif not event.contains(engine, "connect", _on_connect):
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)


def is_postgresql(engine: Engine | Connection) -> bool:
    """Whether its database is PostgreSQL, not a file."""
    return engine.dialect.name == "postgresql"


def create_schema(connection: Connection) -> None:
    """Create what holds the tables on PostgreSQL. Idempotent."""
    _connections().create_schema(connection)


def take_write_lock(connection: Connection) -> None:
    """Take the write lock of the connection's schema on PostgreSQL, for as long as its transaction lasts."""
    _connections().take_write_lock(connection)


def reader(engine: Engine) -> Engine:
    """Return the engine with transactions that have one consistent view."""
    found: Engine = _connections().reader(engine) if is_postgresql(engine) else engine
    return found


def writer(engine: Engine, *, may_idle: bool = False) -> Engine:
    """Return the engine with transactions that take the write lock when they begin."""
    if is_postgresql(engine):
        found: Engine = _connections().writer(engine, may_idle=may_idle)
        return found
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


@contextmanager
def transaction_with_retry(engine: Engine) -> Iterator[Connection]:
    """A transaction that waits up to ``BUSY_SECONDS`` for the lock. Raises ``OperationalError`` on entering
    if it does not get it; then nothing was changed."""
    deadline = time.monotonic() + BUSY_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                connection = stack.enter_context(engine.begin())
                break
            except OperationalError as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise
        yield connection


def is_busy(error: DBAPIError) -> bool:
    """Whether somebody else held the write lock for too long."""
    state = getattr(error.orig, "sqlstate", None)
    return state in _BUSY_STATES if state else "locked" in str(error.orig).lower()


def _connections() -> Any:
    """What is loaded for PostgreSQL only."""
    try:
        from dashboard.services.postgresql import connections
    except ImportError as error:
        raise StowageError(
            Kind.UNSUPPORTED,
            "STOWAGE_DATABASE_URL names a PostgreSQL database, and psycopg is not installed.",
            operation="open database",
            remedy="Install it with: pip install 'stowage[postgresql]'",
        ) from error
    return connections


def _options(path: Path) -> dict[str, Any]:
    return {
        "url": URL.create("sqlite", database=str(path)),
        # Parameters of a failed statement can be password hashes and sealed text: never show them.
        "hide_parameters": True,
        "pool_size": 20,
        "max_overflow": 60,
    }


def _on_connect(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
