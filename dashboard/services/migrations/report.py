"""A ledger as CSV (RFC 4180), safe to open in a spreadsheet: every cell is quoted, formulas are disarmed. And
as JSON, with the exact keys.

Made for a million objects: rows are read along an index, page by page, and stay tuples until they are text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, select

from dashboard.migration.types import LedgerRow
from dashboard.models.work import objects
from dashboard.services.csv_cells import safe_cell
from dashboard.services.database import Database

PAGE = 2000
"""Rows that are read in one transaction."""

HEADER = (
    "key",
    "size",
    "state",
    "action",
    "attempts",
    "kind",
    "reason",
    "remedy",
    "destination_key",
    "source_checksum",
    "destination_checksum",
    "started_at",
    "finished_at",
    "deleted_from_source",
)


COLUMNS = tuple(LedgerRow.__dataclass_fields__)
"""The columns of a row, in this order."""
_COLUMNS = tuple(objects.c[name] for name in COLUMNS)


def report_rows(database: Database, migration_id: int) -> Iterator[Sequence[Row[Any]]]:
    """Yield the objects of a ledger in key order, page by page, as tuples of ``COLUMNS``. No transaction
    stays open between two pages, so an object that changes meanwhile is reported once, as it was or as it is.
    """
    c = objects.c
    query = select(*_COLUMNS).where(c.migration_id == migration_id).order_by(c.key).limit(PAGE)
    page: Sequence[Row[Any]] = ()
    while True:
        with database.work_read() as connection:
            page = connection.execute(query.where(c.key > page[-1].key) if page else query).all()
        if not page:
            return
        yield page


def csv_lines(pages: Iterable[Iterable[Sequence[Any]]]) -> Iterator[str]:
    """Yield the header, then a line for each object, one page of lines at a time."""
    yield _lines([HEADER])
    for page in pages:
        yield _lines([_cells(row) for row in page])


def json_lines(migration_id: int, pages: Iterable[Iterable[Sequence[Any]]]) -> Iterator[str]:
    """Yield one JSON document in pieces, a line for each object."""
    yield f'{{"id": {migration_id}, "objects": ['
    separator, encode = "\n", json.JSONEncoder().encode
    for page in pages:
        yield separator + ",\n".join([encode(dict(zip(COLUMNS, row, strict=True))) for row in page])
        separator = ",\n"
    yield "\n]}\n"


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return buffer.getvalue()


def _cells(row: Sequence[Any]) -> tuple[str | int, ...]:
    _, key, size, state, action, attempts, kind, reason, remedy, destination_key, *rest = row
    source_checksum, destination_checksum, started_at, finished_at, deleted = rest
    return (
        safe_cell(key),
        size,
        state,
        action,
        attempts,
        kind,
        _sentence(reason),
        _sentence(remedy),
        safe_cell(destination_key) if destination_key else "",
        source_checksum if source_checksum.isalnum() else safe_cell(source_checksum),
        destination_checksum if destination_checksum.isalnum() else safe_cell(destination_checksum),
        _time(started_at),
        _time(finished_at),
        "yes" if deleted else "no",
    )


# The same for thousands of objects.
_sentence = lru_cache(maxsize=256)(safe_cell)


def _time(at: float | None) -> str:
    if at is None:
        return ""
    seconds = int(at // 1)
    return f"{_second(seconds)}.{int((at - seconds) * 1000):03}+00:00"


@lru_cache(maxsize=1024)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:19]
