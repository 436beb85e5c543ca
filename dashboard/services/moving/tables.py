"""Copying every row of a table to another database, and the proof that all of them are there.

Values are taken as they are stored, so that sealed secrets stay sealed and the codes of the audit log stay
right; only what the two databases store differently is translated: truth values, and names that are no text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Float, Integer, LargeBinary, MetaData, Table, func, select
from sqlalchemy.types import TypeDecorator

from dashboard.errors import Kind, StowageError
from dashboard.services.engines import is_postgresql

ROWS_AT_ONCE = 2_000
"""Rows in memory."""
_MODULUS = 1 << 128

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TableSum:
    """How many rows a table has, and a digest of them that does not depend on their order."""

    table: str
    rows: int
    digest: str


class _Summing:
    """Adds rows to a sum."""

    def __init__(self, table: Table) -> None:
        self._name = table.name
        self._rows = self._sum = 0

    def add(self, row: Row) -> None:
        """A row, with its values as :func:`read_rows` yields them."""
        code = hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self._sum = (self._sum + int.from_bytes(code, "big")) % _MODULUS
        self._rows += 1

    def result(self) -> TableSum:
        """What was added until now."""
        return TableSum(self._name, self._rows, f"{self._sum:032x}")


def ordered_tables(metadata: MetaData) -> Sequence[Table]:
    """All tables, each after those that its rows refer to."""
    return metadata.sorted_tables


def read_rows(connection: Connection, table: Table) -> Iterator[Row]:
    """Yield every row as it is stored, in the same form from each kind of database. Keeps few in memory.

    Raises ``StowageError``: ``DAMAGED`` for a value that its column cannot have.
    """
    checks = [_check_of(column) for column in table.columns]
    query = f"SELECT {_columns(connection, table)} FROM {_quoted(connection, table.name)}"  # noqa: S608  # names of ours
    options = {"stream_results": True, "yield_per": ROWS_AT_ONCE}
    with connection.exec_driver_sql(query, execution_options=options) as found:
        for row in found:
            values = []
            for column, check, value in zip(table.columns, checks, row, strict=True):
                try:
                    values.append(None if value is None else check(value))
                except (TypeError, ValueError) as error:
                    raise _damaged(table, column, row) from error
            yield tuple(values)


def sum_up(connection: Connection, table: Table) -> TableSum:
    """Read the whole table."""
    summing = _Summing(table)
    for row in read_rows(connection, table):
        summing.add(row)
    return summing.result()


def copy_rows(source: Connection, target: Connection, table: Table) -> TableSum:
    """Add every row to the same table of another database, in the target's transaction. Returns the sum of
    what was read, which says nothing about what was stored."""
    summing = _Summing(table)

    def rows() -> Iterator[Row]:
        for row in read_rows(source, table):
            summing.add(row)
            yield row

    write = _copy_in if is_postgresql(target) else _insert
    write(target, table, rows())
    return summing.result()


def _copy_in(target: Connection, table: Table, rows: Iterator[Row]) -> None:
    command = f"COPY {_quoted(target, table.name)} ({_columns(target, table)}) FROM STDIN"
    raw: Any = target.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(command) as copying:
        for row in rows:
            copying.write_row(row)


def _insert(target: Connection, table: Table, rows: Iterator[Row]) -> None:
    names = _columns(target, table)
    marks = ", ".join("?" for _ in table.columns)
    command = f"INSERT INTO {_quoted(target, table.name)} ({names}) VALUES ({marks})"  # noqa: S608
    raw: Any = target.connection.driver_connection
    with closing(raw.cursor()) as cursor:
        cursor.executemany(command, ([_for_sqlite(value) for value in row] for row in rows))


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def last_numbers(connection: Connection, metadata: MetaData) -> dict[str, int]:
    """The largest number that a row of each numbered table has had, whether or not it is still there."""
    found: dict[str, int] = {}
    kept: dict[str, int] = {}
    if not is_postgresql(connection):
        query = "SELECT name, seq FROM sqlite_sequence"
        kept = {row.name: int(row.seq) for row in connection.exec_driver_sql(query)}
    for table, column in _numbered(metadata):
        largest = connection.scalar(select(func.max(column))) or 0
        if is_postgresql(connection):
            sequence = _sequence(connection, table, column)
            query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"  # noqa: S608
            kept[table.name] = connection.exec_driver_sql(query).scalar_one()
        found[table.name] = max(largest, kept.get(table.name, 0))
    return found


def continue_numbers(connection: Connection, metadata: MetaData, last: dict[str, int]) -> None:
    """Go on numbering rows after these."""
    for table, column in _numbered(metadata):
        number = last.get(table.name, 0)
        if is_postgresql(connection):
            statement = "SELECT setval(%s, %s, %s)"
            values: tuple[Any, ...] = (_sequence(connection, table, column), max(number, 1), number > 0)
            connection.exec_driver_sql(statement, values)
        elif table.dialect_options["sqlite"]["autoincrement"]:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
            if number:
                connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table.name, number))


def _numbered(metadata: MetaData) -> Iterator[tuple[Table, Column[Any]]]:
    for table in metadata.sorted_tables:
        column = table._autoincrement_column
        if column is not None and len(table.primary_key.columns) == 1:
            yield table, column


def _sequence(connection: Connection, table: Table, column: Column[Any]) -> str:
    found = connection.exec_driver_sql(
        "SELECT pg_get_serial_sequence(%s, %s)", (_quoted(connection, table.name), column.name)
    ).scalar_one()
    return str(found)


def _check_of(column: Column[Any]) -> Callable[[Any], Any]:
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, LargeBinary):
        return _raw
    if isinstance(kind, Boolean):
        return _truth
    if isinstance(kind, Integer):
        return _integer
    return _number if isinstance(kind, Float) else _text


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _raw(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if not isinstance(value, str):
        raise TypeError
    return value


def _columns(connection: Connection, table: Table) -> str:
    return ", ".join(_quoted(connection, column.name) for column in table.columns)


def _quoted(connection: Connection, name: str) -> str:
    return str(connection.dialect.identifier_preparer.quote(name))


def _damaged(table: Table, column: Column[Any], row: Sequence[Any]) -> StowageError:
    keys = [str(value) for key, value in zip(table.columns, row, strict=True) if key.primary_key]
    return StowageError(
        Kind.DAMAGED,
        f"The row {', '.join(keys)[:200]!r} of the table {table.name} has a value in {column.name} that was "
        "not written by Stowage.",
        operation="database",
        remedy="Correct it in the database, or restore a backup made before.",
    )
