"""The audit log as CSV and as JSON Lines, oldest first, a row at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.tell import tell
from dashboard.services.csv_cells import csv_line

COLUMNS = (
    *("entry", "time", "actor", "via", "address", "action", "subject", "outcome", "sentence", "changes"),
    *("detail", "chained", "previous", "code"),
)


def csv_lines(rows: Iterable[AuditRow]) -> Iterator[str]:
    """A header and a line for each row; what a spreadsheet would run as a formula is disarmed."""
    yield csv_line(COLUMNS)
    for row in rows:
        sentence = tell(row)
        changes = "; ".join(f"{each.label}: {each.old} > {each.new}" for each in sentence.changes)
        yield csv_line(
            (
                row.id,
                timestamp(row.at),
                row.actor,
                row.via,
                row.address,
                row.action,
                row.subject,
                row.outcome,
                sentence.text,
                changes,
                json.dumps(dict(row.detail), ensure_ascii=False),
                row.chained,
                row.previous,
                row.mac,
            )
        )


def json_lines(rows: Iterable[AuditRow]) -> Iterator[str]:
    """A JSON document a line for each row, as the API returns it, with its sentence."""
    for row in rows:
        yield json.dumps(as_json(row)) + "\n"


def as_json(row: AuditRow) -> dict[str, object]:
    """A row for programs."""
    names = ("actor", "via", "address", "action", "subject", "outcome", "chained", "previous", "mac")
    return {
        "id": row.id,
        "at": row.at,
        **{name: getattr(row, name) for name in names},
        "detail": dict(row.detail),
        "sentence": tell(row).text,
    }


def timestamp(at: float) -> str:
    """A time in UTC, as in RFC 3339."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
