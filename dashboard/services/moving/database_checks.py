"""Looking at both databases without changing anything: their schema, whether they are sound, their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, func, inspect, select

from dashboard.errors import Kind, StowageError
from dashboard.models.every_table import METADATA
from dashboard.services.database import open_database, translated_errors
from dashboard.services.engines import is_postgresql, reader
from dashboard.services.moving.database_states import damage, state
from dashboard.services.upgrade import EMPTY, legacy_revision, newest_revision, read_revision
from dashboard.settings import Settings

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in one database. ``schema`` and ``newest``: the number of its last step and of the last
    that this version knows; ``rows``: of each table."""

    name: str
    kept_by: str
    size: int
    schema: int
    newest: int
    problems: tuple[str, ...]
    rows: Mapping[str, int]

    @property
    def current(self) -> bool:
        """Whether it has the schema of this version."""
        return self.schema == self.newest


def check(settings: Settings) -> tuple[Checked, ...]:
    """Read both databases. A file is read whole. Raises ``StowageError``: ``NOT_FOUND`` if there is no
    instance, and what a database says that cannot be read."""
    if not settings.database_url and not settings.database.is_file():
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no Stowage instance in “{settings.instance}”.",
            operation="check",
            remedy="Name the folder that holds stowage.db with --instance.",
        )
    database = open_database(settings)
    try:
        with translated_errors():
            return tuple(
                _check(tree, engine) for tree, engine in (("main", database.main), ("work", database.work))
            )
    finally:
        database.close()


def _check(tree: str, engine: Engine) -> Checked:
    now = state(engine)
    problems = [found] if (found := damage(engine)) else []
    if not is_postgresql(engine):
        problems += _dangling(Path(engine.url.database or ""))
    with reader(engine).connect() as connection:
        schema = read_revision(connection) or legacy_revision(connection)
        known = METADATA[tree].tables
        there = set(inspect(connection).get_table_names())
        if schema == newest_revision(tree):
            problems += [f"the table {name} is missing" for name in sorted(known.keys() - there)]
        tables = [known[name] for name in sorted(known.keys() & there)]
        rows = {} if schema == EMPTY else {table.name: _count(connection, table) for table in tables}
    newest = int(newest_revision(tree))
    return Checked(now.name, now.version, now.size, int(schema), newest, tuple(problems), rows)


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _dangling(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
        rows = connection.execute("PRAGMA foreign_key_check").fetchmany(MAX_PROBLEMS)
    return [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in rows]
