"""A ledger as CSV (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dashboard.migration.types import LedgerRow
from dashboard.services.one_line import without_controls

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


def csv_lines(pages: Iterable[Iterable[LedgerRow]]) -> Iterator[str]:
    """The header and one line per object, each with its line end."""
    yield _line(HEADER)
    for page in pages:
        for row in page:
            yield _line(_cells(row))


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([_safe(cell) for cell in cells])
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
    """Spreadsheets run cells that begin like a formula (OWASP, CSV injection): an apostrophe stops it.

    Line breaks, other control characters and bytes that are no text are escaped: every object is one line.
    The JSON report has such keys exactly.
    """
    text = without_controls(cell)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _time(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") if at else ""
