"""A ledger as CSV (RFC 4180), safe to open in a spreadsheet: every cell is quoted, formulas are disarmed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dashboard.migration.types import LedgerRow
from dashboard.services.text import without_controls

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


_FORMULA = re.compile("(^|[;|])(?=\\s*[-=+@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b])")
"""The start of a formula in a cell, or in a part that a spreadsheet with another separator reads as a cell.
Some spreadsheets also accept full-width signs."""


def csv_lines(pages: Iterable[Iterable[LedgerRow]]) -> Iterator[str]:
    """Yield the header, then a line for each object, one page of lines at a time."""
    yield _lines([HEADER])
    for page in pages:
        yield _lines(_cells(row) for row in page)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _cells(row: LedgerRow) -> tuple[str, ...]:
    return (
        row.key,
        str(row.size),
        row.state.value,
        row.action.value,
        str(row.attempts),
        row.kind,
        row.reason,
        row.remedy,
        row.destination_key,
        row.source_checksum,
        row.destination_checksum,
        _time(row.started_at),
        _time(row.finished_at),
        "yes" if row.deleted else "no",
    )


def _safe(cell: str) -> str:
    """Disarm a cell that spreadsheets would run as a formula with an apostrophe (OWASP, CSV injection).

    Line breaks, other control characters and bytes that are not text are escaped: every object is one line.
    The JSON report has the exact keys.
    """
    if not cell or cell.isalnum():
        return cell
    return _FORMULA.sub(r"\1'", without_controls(cell))


def _time(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") if at else ""
