"""Brings a database to the schema of this version: Alembic's steps in ``models/schema``, all of them or none.

Each of the two databases has steps of its own, numbered without gaps, so that the name of the last file says
what is newest. Loading Alembic would add a fifth to the start of every command, so only taking a step does: a
new database is made from the models, and one that is up to date costs one query.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from dashboard import __version__
from dashboard.errors import Kind, StowageError
from dashboard.services.engines import create_schema, is_postgresql, writer

STEPS = Path(__file__).resolve().parents[1] / "models" / "schema"
"""A folder of steps for each database: ``main`` and ``work``."""
COPY_INFIX = ".before-"
"""In the name of the copy of a database before an upgrade: after it comes the version that upgraded it."""
EMPTY = "0000"

log = logging.getLogger(__name__)
# Alembic's ``op`` is one for the whole process.
_one_at_a_time = threading.Lock()


def bring_up_to_date(engine: Engine, steps: str, *, shared: bool = False) -> None:
    """Create the tables, or upgrade them from an earlier version, in one transaction with the write lock.

    Idempotent; safe from several processes at once and with ``kill -9`` at any moment. Before an upgrade the
    file of a database is copied to one next to it. A database on a server may be in use by programs of the
    earlier version: it is upgraded only if ``shared`` says so. Raises ``StowageError``: ``CONFLICT`` for a
    database of a newer version, or an earlier one on a server, which it does not change, and ``DENIED`` if
    the copy cannot be made.
    """
    newest = newest_revision(steps)
    with engine.connect() as connection:
        if read_revision(connection) == newest:
            return
    copy = None
    with _write_transaction(engine) as connection:
        found = read_revision(connection) or legacy_revision(connection)
        if found > newest:
            raise _too_new_error(engine, found, newest)
        if found == EMPTY:
            if is_postgresql(engine):
                create_schema(connection)
            from dashboard.models import every_table

            every_table.METADATA[steps].create_all(connection)
        elif found < newest:
            if not is_postgresql(engine):
                copy = _keep_copy(Path(engine.url.database or ""))
            elif not shared:
                raise _not_upgraded_error(engine)
            _run_steps(connection, STEPS / steps, found)
        stamp(connection, newest)
    if copy:
        log.info("%s was upgraded; as it was before, it is kept in %s", engine.url.database, copy)


def newest_revision(steps: str) -> str:
    """The number of the last step for "main" or "work", with four digits."""
    return max(path.name[:4] for path in (STEPS / steps).glob("[0-9]*.py"))


def read_revision(connection: Connection) -> str | None:
    """The last step that was run, or None if Alembic has never run here."""
    # On PostgreSQL a statement that fails would end the transaction.
    known = "SELECT to_regclass('alembic_version')"
    if is_postgresql(connection) and connection.exec_driver_sql(known).scalar() is None:
        return None
    try:
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except OperationalError as error:
        if "no such table" not in str(error.orig):
            raise
        return None
    return revision


def legacy_revision(connection: Connection) -> str:
    """The last step of versions that counted their steps themselves, before Alembic."""
    if is_postgresql(connection):
        return EMPTY
    return f"{connection.exec_driver_sql('PRAGMA user_version').scalar_one():04}"


def stamp(connection: Connection, revision: str) -> None:
    """Say that this is the last step that was run."""
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS alembic_version ("
        "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("DELETE FROM alembic_version")
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
    if not is_postgresql(connection):
        # Versions from before Alembic refuse a newer database by this number.
        connection.exec_driver_sql(f"PRAGMA user_version = {int(revision)}")


@contextmanager
def _write_transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction that holds the write lock, and in which tables can be recreated."""
    if is_postgresql(engine):
        with writer(engine, may_idle=True).begin() as connection:
            yield connection
        return
    with writer(engine, may_idle=True).connect() as connection:
        # Dropping a table deletes the rows that refer to it, unless foreign keys are off. They can only be
        # switched off outside a transaction, and no other user of the pool may get this connection.
        connection.detach()
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            yield connection


def _run_steps(connection: Connection, folder: Path, found: str) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(str(folder), version_locations=[str(folder)])
    dangling, numbers = _dangling(connection), _last_numbers(connection)
    with _one_at_a_time, Operations.context(MigrationContext.configure(connection)):
        for step in reversed(list(steps.iterate_revisions("head", found))):
            step.module.upgrade()
    for table, number in numbers.items():
        # A recreated table does not know the numbers of deleted rows, which must not be reused.
        connection.exec_driver_sql(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table)
        )
    if _dangling(connection) > dangling:
        raise StowageError(
            Kind.INTERNAL,
            f"The upgrade of {connection.engine.url.database} was undone: rows would have lost what they "
            "refer to.",
            operation="open database",
            remedy="Start the version before again, and report this.",
        )


def _dangling(connection: Connection) -> int:
    """Rows that refer to none; PostgreSQL never allows one."""
    if is_postgresql(connection):
        return 0
    return len(connection.exec_driver_sql("PRAGMA foreign_key_check").all())


def _last_numbers(connection: Connection) -> dict[str, int]:
    """The largest row number so far, of each table that never reuses one. A recreated table of PostgreSQL
    keeps its own."""
    if is_postgresql(connection):
        return {}
    if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").all():
        return {}
    return {row.name: row.seq for row in connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")}


def _keep_copy(database: Path) -> Path:
    """Copy what is committed, replacing an earlier copy. Atomic. The caller holds the write lock."""
    earlier = list(database.parent.glob(f"{database.name}{COPY_INFIX}*"))
    copy = database.with_name(f"{database.name}{COPY_INFIX}{__version__}")
    partial = copy.with_name(copy.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
        partial.replace(copy)
        for each in earlier:
            if each != copy:
                each.unlink()
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"{database} has to be upgraded, and no copy of it can be kept in {copy}: {error.strerror}.",
            operation="open database",
            remedy="Give this user write access to the instance folder.",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return copy


def _not_upgraded_error(engine: Engine) -> StowageError:
    return StowageError(
        Kind.CONFLICT,
        f"The database {engine.url.database} was written by an earlier Stowage.",
        operation="open database",
        remedy="Stop every console and command of the earlier version, back the database up, and run: "
        "stowage db upgrade",
    )


def _too_new_error(engine: Engine, found: str, newest: str) -> StowageError:
    return StowageError(
        Kind.CONFLICT,
        f"The database {engine.url.database} was written by a newer Stowage "
        f"(schema {found.lstrip('0')}; this one knows {newest.lstrip('0')}).",
        operation="open database",
        remedy="Start the newer version again, or restore the backup made before it.",
    )
