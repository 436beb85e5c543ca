"""A ledger as CSV (RFC 4180), safe to open in a spreadsheet: every cell is quoted, formulas are disarmed. And
as JSON, with the exact keys.

Made for a million objects: rows are read along an index, page by page, and stay tuples until they are text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, select

from dashboard.migration.types import LedgerRow
from dashboard.models.work import objects
from dashboard.services.database import Database
from dashboard.services.text import without_controls

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

_FORMULA = re.compile("(^|[;|])(?=\\s*[-=+@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b])")
"""The start of a formula in a cell, or in a part that a spreadsheet with another separator reads as a cell.
Some spreadsheets also accept full-width signs."""
_PLAIN = re.compile("[A-Za-z0-9_./][A-Za-z0-9_./ :-]*").fullmatch
"""Text that needs no look at its parts: no separators, and no sign of a formula at its start."""


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
        _safe(key),
        size,
        state,
        action,
        attempts,
        kind,
        _sentence(reason),
        _sentence(remedy),
        _safe(destination_key) if destination_key else "",
        source_checksum if source_checksum.isalnum() else _safe(source_checksum),
        destination_checksum if destination_checksum.isalnum() else _safe(destination_checksum),
        _time(started_at),
        _time(finished_at),
        "yes" if deleted else "no",
    )


def _safe(cell: str) -> str:
    """Disarm a cell that spreadsheets would run as a formula with an apostrophe (OWASP, CSV injection).

    Line breaks, other control characters and bytes that are not text are escaped: every object is one line.
    The JSON report has the exact keys.
    """
    if not cell or _PLAIN(cell):
        return cell
    return _FORMULA.sub(r"\1'", without_controls(cell))


# The same for thousands of objects.
_sentence = lru_cache(maxsize=256)(_safe)


def _time(at: float | None) -> str:
    if at is None:
        return ""
    seconds = int(at // 1)
    return f"{_second(seconds)}.{int((at - seconds) * 1000):03}+00:00"


@lru_cache(maxsize=1024)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:19]
