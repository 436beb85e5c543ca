"""Moving both databases between files and PostgreSQL: everything or nothing, compared before it counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData

from dashboard.errors import Kind, StowageError
from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.models.every_table import METADATA
from dashboard.services.database import Database, open_database, translated_errors
from dashboard.services.engines import create_schema, reader, take_write_lock, writer
from dashboard.services.moving.tables import (
    TableSum,
    continue_numbers,
    copy_rows,
    last_numbers,
    ordered_tables,
    sum_up,
)
from dashboard.services.upgrade import newest_revision, read_revision, stamp
from dashboard.settings import Settings

OnTable = Callable[[TableSum], None]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: each table with its rows."""

    tables: tuple[TableSum, ...]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(each.rows for each in self.tables)


def move(settings: Settings, target: Settings, *, on_table: OnTable = lambda _: None) -> Moved:
    """Copy the databases of an instance folder to the empty PostgreSQL database that ``target`` names.

    Everything is copied in one transaction there, read back and compared, table by table. Until it is
    committed nothing is there, so a move that was killed is simply run again. The files stay as they are.
    ``on_table`` is called with each table that is done. Memory does not grow with the number of rows.

    Raises ``StowageError``: ``CONFLICT`` if a console or a command works on the folder, or if the target
    holds a console already; ``NOT_FOUND`` if the folder holds none; ``DAMAGED`` for a row that cannot be
    moved as it is.
    """
    if not settings.database.is_file():
        raise _refusal(
            Kind.NOT_FOUND,
            f"There is no Stowage instance in “{settings.instance}”.",
            "Name the folder that holds stowage.db with --instance.",
        )
    with alone(settings.instance, "move"), ExitStack() as stack:
        source, there = open_database(settings), open_database(target)
        stack.callback(source.close)
        stack.callback(there.close)
        source.upgrade()
        return Moved(copy_all(source, there, "move", on_table))


def copy_all(
    source: Database, target: Database, operation: str, on_table: OnTable = lambda _: None
) -> tuple[TableSum, ...]:
    """Copy both databases into empty ones on PostgreSQL, in one transaction there, during which nobody else
    writes to the source. Raises as :func:`move`."""
    with translated_errors(), ExitStack() as stack:
        # Nobody else writes meanwhile: what came later would be left behind.
        sources = {
            "main": stack.enter_context(writer(source.main, may_idle=True).begin()),
            "work": stack.enter_context(writer(source.work, may_idle=True).begin()),
        }
        connection = stack.enter_context(writer(target.main, may_idle=True).begin())
        done: list[TableSum] = []
        for tree, engine in (("work", target.work), ("main", target.main)):
            with _in_schema_of(connection, engine):
                _require_empty(connection, engine, operation)
                create_schema(connection)
                METADATA[tree].create_all(connection)
                done += _copy_tree(sources[tree], connection, METADATA[tree], on_table)
                stamp(connection, newest_revision(tree))
        return tuple(done)


def export(source: Database, folder: Path, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Write both databases of a server into new files of ``folder``, ``stowage.db`` and ``work.db``, each as
    it was at one moment, readable by their owner only. Asks ``stop`` after each table; if it is true, raises
    ``InterruptedError``."""

    def on_table(_: TableSum) -> None:
        if stop():
            raise InterruptedError

    files = Settings(folder, folder / "none.key")
    for path in (files.database, files.work_database):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    copy = open_database(files)
    try:
        copy.upgrade()
        with translated_errors():
            for tree, here, there in (("main", source.main, copy.main), ("work", source.work, copy.work)):
                with reader(here).begin() as reading, writer(there, may_idle=True).begin() as writing:
                    _copy_tree(reading, writing, METADATA[tree], on_table)
    finally:
        copy.close()


def _copy_tree(
    source: Connection, target: Connection, metadata: MetaData, on_table: OnTable
) -> Sequence[TableSum]:
    done = []
    for table in ordered_tables(metadata):
        read = copy_rows(source, target, table)
        stored = sum_up(target, table)
        if read != stored:
            raise _refusal(
                Kind.DAMAGED,
                f"The table {table.name} did not arrive as it was sent: {read.rows} rows were read and "
                f"{stored.rows} stored, or a value changed.",
                "Nothing was kept. Run it again, and report this if it happens twice.",
            )
        done.append(stored)
        on_table(stored)
    continue_numbers(target, metadata, last_numbers(source, metadata))
    return done


@contextmanager
def _in_schema_of(connection: Connection, engine: Engine) -> Iterator[None]:
    """Both schemas are in one database, so that one transaction fills both."""
    with engine.connect() as other:
        name = other.exec_driver_sql("SHOW search_path").scalar_one()
    connection.exec_driver_sql(f'SET LOCAL search_path TO "{name}"')
    take_write_lock(connection)
    yield


def _require_empty(connection: Connection, engine: Engine, operation: str) -> None:
    if read_revision(connection) is not None:
        raise _refusal(
            Kind.CONFLICT,
            f"The database {engine.url.database} holds a console already.",
            "Name an empty database. If an earlier move was finished, set STOWAGE_DATABASE_URL and start the "
            "console.",
            operation,
        )


@contextmanager
def alone(instance: Path, operation: str) -> Iterator[None]:
    """While it is entered no console and no command works on the folder. Raises ``CONFLICT`` if one does."""
    lock = RunnerLock(instance / LOCK_FILE)
    if not lock.acquire():
        raise _refusal(Kind.CONFLICT, f"A console is running on “{instance}”.", "Stop it first.", operation)
    try:
        yield
    finally:
        lock.release()


def _refusal(kind: Kind, reason: str, remedy: str, operation: str = "move") -> StowageError:
    return StowageError(kind, reason, operation=operation, remedy=remedy)
