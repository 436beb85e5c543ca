"""Statements that are run for many rows at once, compiled once.

SQLAlchemy builds a dictionary of parameters for each row of an ``executemany``, which takes longer than
SQLite takes for the row. Here a column of values is made at a time; types are bound as SQLAlchemy does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Insert, Update

_PARAMETERS = {"sqlite": "qmark", "postgresql": "format"}
"""How statements for a driver say where a value belongs, by its position."""


class BulkStatement:
    """An INSERT or UPDATE. ``names``: the parameters that every row has. Thread-safe."""

    def __init__(self, statement: Insert | Update, names: Iterable[str]) -> None:
        self._statement = statement
        self._names = frozenset(names)
        self._compiled: dict[str, tuple[str, Sequence[tuple[str | None, Any, Any]]]] = {}

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
        """Run it for these rows, at least one; ``rowcount`` of the result is that of all together."""
        dialect = connection.dialect
        known = self._compiled.get(dialect.name)
        sql, parts = known or self._compiled.setdefault(dialect.name, self._compile(dialect))
        columns: list[Iterable[Any]] = []
        for name, process, constant in parts:
            if name is None:
                columns.append(repeat(constant, len(rows)))
            elif process is None:
                columns.append([row[name] for row in rows])
            else:
                columns.append([process(row[name]) for row in rows])
        return connection.exec_driver_sql(sql, list(zip(*columns, strict=True)))

    def _compile(self, dialect: Dialect) -> tuple[str, Sequence[tuple[str | None, Any, Any]]]:
        make: Any = type(dialect)
        dialect = make(paramstyle=_PARAMETERS[dialect.name])
        given = self._names if isinstance(self._statement, Insert) else None
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=given and sorted(given))
        binds, constants = compiled.binds, compiled.params
        parts = []
        for name in compiled.positiontup:
            process = binds[name].type.bind_processor(dialect)
            if name in self._names:
                parts.append((name, process, None))
            else:
                constant = constants[name]
                parts.append((None, None, process(constant) if process else constant))
        return str(compiled), parts
