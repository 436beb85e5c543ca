"""How many files each backend has of each day, and their bytes: kept in step with the catalogue by triggers.

So the number of old files is read from a row for each day instead of from a million, and is exact at any
moment. ``changes`` only grows, with every change of a row: who has looked at a backend knows whether anything
is different. Only in SQLite; elsewhere the files themselves are counted.
"""

from __future__ import annotations

from sqlalchemy import Connection, event

from dashboard.models.catalogue import files

TABLE = "files_by_day"
UNKNOWN_DAY = 2**40
"""Stands for the day of files whose time is not known: later than any."""
# Rounded down, twice: a division of integers rounds towards zero, and there are times before 1970.
_SECONDS = "(CAST({0}.modified AS INTEGER) - ({0}.modified < CAST({0}.modified AS INTEGER)))"
_DAY = (
    f"CASE WHEN {{0}}.modified IS NULL THEN {UNKNOWN_DAY} "
    f"ELSE ({_SECONDS} - (({_SECONDS} % 86400) + 86400) % 86400) / 86400 END"
)
_ADD = (
    f"INSERT INTO {TABLE}(backend_id, day, files, bytes, changes) "
    f"VALUES (new.backend_id, {_DAY.format('new')}, 1, new.size, 1) "
    "ON CONFLICT (backend_id, day) DO UPDATE SET "
    "files = files + 1, bytes = bytes + excluded.bytes, changes = changes + 1"
)
_TAKE = (
    f"UPDATE {TABLE} SET files = files - 1, bytes = bytes - old.size, changes = changes + 1 "
    f"WHERE backend_id = old.backend_id AND day = {_DAY.format('old')}"
)
_STATEMENTS = (
    f"CREATE TABLE {TABLE} (backend_id INTEGER NOT NULL, day INTEGER NOT NULL, files INTEGER NOT NULL, "
    "bytes INTEGER NOT NULL, changes INTEGER NOT NULL, PRIMARY KEY (backend_id, day)) WITHOUT ROWID",
    f"CREATE TRIGGER {TABLE}_insert AFTER INSERT ON files BEGIN {_ADD}; END",
    f"CREATE TRIGGER {TABLE}_delete AFTER DELETE ON files BEGIN {_TAKE}; END",
    f"CREATE TRIGGER {TABLE}_update AFTER UPDATE ON files BEGIN {_TAKE}; {_ADD}; END",
)
_FILL = (
    f"INSERT INTO {TABLE}(backend_id, day, files, bytes, changes) "
    f"SELECT f.backend_id, {_DAY.format('f')}, count(*), sum(f.size), count(*) "
    "FROM files AS f GROUP BY 1, 2"
)
FILES_BEFORE = f"SELECT backend_id, sum(files), sum(bytes) FROM {TABLE} WHERE day < :day GROUP BY backend_id"
"""Of each backend, the files that were last modified before a day, and their bytes."""
CHANGES = f"SELECT coalesce(sum(changes), 0) FROM {TABLE} WHERE backend_id = :backend"
"""A number that is another one once any row of a backend has changed."""


def create(connection: Connection) -> None:
    """Create the table and its triggers, and count the files that are there already."""
    for statement in (*_STATEMENTS, _FILL):
        connection.exec_driver_sql(statement)


def is_kept(connection: Connection) -> bool:
    """Whether this database keeps the table."""
    return connection.dialect.name == "sqlite"


@event.listens_for(files, "after_create")
def _with_table(target: object, connection: Connection, **_: object) -> None:
    if is_kept(connection):
        create(connection)
