"""Connections to PostgreSQL: one database, a schema for each of ours, and how their transactions begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.dialects import registry
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from dashboard.errors import Kind, StowageError
from dashboard.services.postgresql.texts import register
from dashboard.settings import Settings

LOCK = 0x53746F77
"""“Stow”: the first half of the numbers of our advisory locks."""
SCHEMAS = {"main": "stowage", "work": "stowage_work"}

POOL_SIZE, MAX_OVERFLOW = 4, 16
"""Connections that a process keeps for each database, and opens beyond them while it needs more: of
PostgreSQL's usual 100, a console and its runner take 80 at the very most."""
CONNECT_SECONDS = 5
WRITER_IDLE_SECONDS = 10.0
"""For so long a process that is suspended in a writing transaction keeps all others from writing."""
_OPTIONS = (
    "-c lock_timeout=5000",
    # What a program holds that was stopped or cut off must not stop all others for good.
    "-c idle_in_transaction_session_timeout=300000",
    "-c timezone=UTC",
    "-c client_min_messages=warning",
)

registry.register("postgresql.stowage", "dashboard.services.postgresql.dialect", "StowageDialect")


def options(settings: Settings, which: str) -> dict[str, Any]:
    """The keywords of ``create_engine`` for a database, "main" or "work". Raises ``StowageError`` if the
    settings are no address."""
    url = _url(settings.database_url or "", settings.database_password_file)
    search_path = f"-c search_path={SCHEMAS[which]}"
    return {
        "url": url,
        "hide_parameters": True,
        "pool_size": POOL_SIZE,
        "max_overflow": MAX_OVERFLOW,
        # A server that was restarted is found again, without an error on a page.
        "pool_pre_ping": True,
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": f"stowage {which}",
            "options": " ".join((search_path, *_OPTIONS)),
        },
    }


def _url(address: str, password_file: Path | None) -> URL:
    try:
        url = make_url(address).set(drivername="postgresql+stowage")
        if password_file is not None:
            url = url.set(password=password_file.read_text(encoding="utf-8").rstrip("\r\n"))
    except (ArgumentError, ValueError):
        # Its own text has the address in it, and so a password.
        raise _unusable("STOWAGE_DATABASE_URL cannot be read as an address.") from None
    except OSError as error:
        raise _unusable(f"“{password_file}” cannot be read: {error.strerror}.") from error
    if not url.database:
        raise _unusable("STOWAGE_DATABASE_URL names no database.")
    return url


def _unusable(reason: str) -> StowageError:
    return StowageError(
        Kind.INVALID,
        reason,
        operation="open database",
        remedy="Set it as in: postgresql://stowage@db.example.com/stowage",
    )


def prepare(engine: Engine) -> None:
    """Set how its connections store texts, and how its transactions begin. Idempotent."""
    if not event.contains(engine, "connect", _on_connect):
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)


def reader(engine: Engine) -> Engine:
    """Return the engine with transactions that see one moment and change nothing."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writer(engine: Engine, *, may_idle: bool = False) -> Engine:
    """Return the engine with transactions that wait for the database's one write lock when they begin. They
    see what was committed until then. Without ``may_idle`` the server ends one that asks nothing of it for
    ``WRITER_IDLE_SECONDS``."""
    return engine.execution_options(
        isolation_level="READ COMMITTED", takes_write_lock=True, may_idle=may_idle
    )


def create_schema(connection: Connection) -> None:
    """Create the schema of the connection's database. Idempotent."""
    name = connection.exec_driver_sql("SHOW search_path").scalar_one()
    if connection.exec_driver_sql("SELECT to_regnamespace(%s)", (name,)).scalar() is None:
        connection.exec_driver_sql(f'CREATE SCHEMA "{name}"')


def take_write_lock(connection: Connection, *, idle_seconds: float | None = None) -> None:
    """Wait until no other transaction writes to the connection's schema, and none can until it ends. Raises
    ``OperationalError`` after the lock timeout. The server ends a transaction that asks nothing of it for
    ``idle_seconds``."""
    idle = "idle_in_transaction_session_timeout"
    limit = f", set_config('{idle}', '{idle_seconds * 1000:.0f}', true)" if idle_seconds else ""
    # By the name of the schema: before the first start there is none.
    connection.exec_driver_sql(
        f"SELECT pg_advisory_xact_lock({LOCK}, hashtext(current_setting('search_path'))){limit}"
    )


def _on_connect(connection: Any, _entry: ConnectionPoolEntry) -> None:
    register(connection)


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("takes_write_lock"):
        take_write_lock(connection, idle_seconds=None if options.get("may_idle") else WRITER_IDLE_SECONDS)
