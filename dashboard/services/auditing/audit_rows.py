"""The audit log as it is read: filters, pages by number, people and actions that occur, and streams."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, String, cast, func, or_, select, text, type_coerce
from sqlalchemy.orm import Session

from dashboard.models.console import AuditEntry
from dashboard.models.migrations import Migration
from dashboard.services.auditing.canonical import ROWS, parse_detail
from dashboard.services.auditing.searching import candidates, expression, index_begin
from dashboard.services.database import MAX_INTEGER, Database, clamp_integer

MAX_TEXT = 300
MAX_ROWS = 500
STREAMED_AT_ONCE = 500
MAX_COUNTED = 2_000
"""A page says “more than 2,000” instead of counting on."""
MAX_PEOPLE = 500
DAMAGED = "This entry's details cannot be read."

_E = AuditEntry
# One step of an index for each value, however many rows have it.
_DISTINCT = """
WITH RECURSIVE found(value) AS (
  SELECT min({0}) FROM audit
  UNION ALL
  SELECT (SELECT min({0}) FROM audit WHERE {0} > value) FROM found WHERE value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL LIMIT :most
"""


_AMONG = text("audit.id IN (SELECT value FROM json_each(:among))")
"""One parameter, however many numbers there are."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One action. ``at`` in seconds since the epoch; ``outcome`` is "done", "refused", "failed" or "begun".

    ``mac`` and ``previous``: its code in the chain and that of the row before; ``chained``: "live", "later"
    if it was chained after it was written, "restarted" if the end of the chain was damaged then, or empty.
    ``thing``: what a migration's number stands for.
    """

    id: int
    at: float
    actor: str
    via: str
    address: str
    action: str
    subject: str
    detail: Mapping[str, str]
    outcome: str
    chained: str
    previous: str
    mac: str
    thing: str = ""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows. ``action`` also matches as a prefix ("backend" finds "backend.add"); ``thing`` is what was
    changed, or the backend of changed files; ``text`` occurs anywhere in a row; ``since`` and ``until`` in
    seconds since the epoch, the latter excluded."""

    action: str = ""
    actor: str = ""
    thing: str = ""
    text: str = ""
    since: float | None = None
    until: float | None = None

    def __bool__(self) -> bool:
        return self != AuditFilter()


class AuditRows:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(
        self,
        *,
        before_id: int | None = None,
        limit: int = 50,
        action: str = "",
        actor: str = "",
        matching: AuditFilter | None = None,
    ) -> tuple[AuditRow, ...]:
        """The newest rows, or those older than ``before_id``."""
        wanted, most = matching or AuditFilter(action, actor), max(1, min(limit, MAX_ROWS))
        before = clamp_integer(before_id) if before_id is not None else MAX_INTEGER
        with self._database.read() as session:
            return _rows(session, _newest(session, ROWS, wanted, before, most))

    def count(self, matching: AuditFilter) -> int:
        """How many rows match; never more than ``MAX_COUNTED`` + 1."""
        with self._database.read() as session:
            if matching.text:
                return len(_newest(session, select(_E.id), matching, MAX_INTEGER, MAX_COUNTED + 1))
            query = _matching(select(_E.id), matching).limit(MAX_COUNTED + 1)
            return session.scalar(select(func.count()).select_from(query.subquery())) or 0

    def stream(self, matching: AuditFilter) -> Iterator[AuditRow]:
        """Every row that matches, oldest first, in small transactions. Rows written meanwhile may be left
        out."""
        after, query = -(2**63), _matching(ROWS, matching).order_by(_E.id).limit(STREAMED_AT_ONCE)
        while True:
            with self._database.read() as session:
                rows = session.execute(query.where(_E.id > after)).all()
                found = _rows(session, rows)
            yield from found
            if len(rows) < STREAMED_AT_ONCE:
                return
            after = rows[-1].id

    def people(self) -> tuple[str, ...]:
        """Everybody who did something, by name."""
        return self._distinct("actor")

    def _distinct(self, column: str) -> tuple[str, ...]:
        with self._database.read() as session:
            found: Sequence[Any] = session.scalars(text(_DISTINCT.format(column)), {"most": MAX_PEOPLE}).all()
        return tuple(str(value) for value in found)

    def oldest(self) -> float | None:
        """When the oldest row was written; None without rows."""
        with self._database.read() as session:
            return session.scalar(select(_E.at).order_by(_E.id).limit(1))


def shorten(text: str, most: int = MAX_TEXT) -> str:
    """Return at most ``most`` characters, without the lone surrogates that databases and pages reject."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def newest_id(session: Session) -> int:
    """The number of the newest row; 0 without rows."""
    return session.scalar(select(func.max(_E.id))) or 0


def _newest(
    session: Session, query: Select[*tuple[Any, ...]], wanted: AuditFilter, before: int, most: int
) -> Sequence[Row[Any]]:
    """The newest rows that match, below a number."""
    query = _matching(query, wanted).order_by(_E.id.desc())
    sought = expression(shorten(wanted.text)) if wanted.text else ""
    begin = index_begin(session) if sought else None
    if begin is None:
        return session.execute(query.where(_E.id < before).limit(most)).all()
    found: list[Row[Any]] = []
    for ids in candidates(session, sought, before):
        # What the index finds is looked at, and only that.
        rows = session.execute(query.where(_AMONG).limit(most - len(found)), {"among": json.dumps(ids)})
        found += rows.all()
        if len(found) == most:
            return found
    if begin:
        rows = session.execute(query.where(_E.id < min(begin, before)).limit(most - len(found)))
        found += rows.all()
    return found


def _matching(query: Select[*tuple[Any, ...]], wanted: AuditFilter) -> Select[*tuple[Any, ...]]:
    action, actor, thing = shorten(wanted.action), shorten(wanted.actor), shorten(wanted.thing)
    if action:
        within = _E.action.startswith(f"{action}.", autoescape=True)
        query = query.where((_E.action == action) | within)
    if actor:
        query = query.where(_E.actor == actor)
    if thing:
        detail = type_coerce(_E.detail, String)
        is_named = [detail.contains(f'"{name}": {_json(thing)}', autoescape=True) for name in _NAMES]
        within = _E.subject.startswith(f"{thing}: ", autoescape=True)
        copied = or_(Migration.source == thing, Migration.destination == thing)
        numbers = select(cast(Migration.id, String)).where(copied)
        migrated = _E.action.startswith("migration.") & _E.subject.in_(numbers)
        query = query.where(or_(_E.subject == thing, within, migrated, *is_named))
    if wanted.text:
        query = query.where(_contains(shorten(wanted.text)))
    if wanted.since is not None and math.isfinite(wanted.since):
        query = query.where(_E.at >= wanted.since)
    if wanted.until is not None and math.isfinite(wanted.until):
        query = query.where(_E.at < wanted.until)
    return query


_NAMES = ("backend", "source", "destination")
"""Fields of a row's detail that name a backend."""


def _contains(text: str) -> ColumnElement[bool]:
    plain = (_E.actor, _E.address, _E.action, _E.subject)
    found = [column.contains(text, autoescape=True) for column in plain]
    # In the database the detail is JSON, in which quotes and other letters than ASCII are written otherwise.
    found.append(type_coerce(_E.detail, String).contains(_json(text)[1:-1], autoescape=True))
    return or_(*found)


def _json(text: str) -> str:
    return json.dumps(text)


def _rows(session: Session, rows: Sequence[Row[Any]]) -> tuple[AuditRow, ...]:
    numbers = {
        int(row.subject)
        for row in rows
        if str(row.action).startswith("migration.") and str(row.subject).isdecimal() and len(row.subject) < 19
    }
    things: dict[str, str] = {}
    if numbers:
        query = select(Migration.id, Migration.source, Migration.destination).where(Migration.id.in_(numbers))
        things = {str(number): f"{here} → {there}" for number, here, there in session.execute(query)}
    return tuple(_row(row, things.get(row.subject, "") if numbers else "") for row in rows)


def _row(row: Row[Any], thing: str) -> AuditRow:
    try:
        detail = {str(name): str(value) for name, value in parse_detail(row.detail).items()}
    except (ValueError, TypeError, AttributeError):
        detail = {"damaged": DAMAGED}
    at = float(row.at) if isinstance(row.at, (int, float)) and math.isfinite(row.at) else 0.0
    # Bounded, because a page shows it and somebody else may have written the row.
    at = min(max(at, 0.0), 253_402_300_799.0)
    texts = [_text(value) for value in (row.actor, row.via, row.address, row.action, row.subject)]
    actor, via, address, action, subject = texts
    return AuditRow(
        row.id,
        at,
        actor,
        via,
        address,
        action,
        subject,
        detail,
        _text(row.outcome),
        _text(row.chained),
        _text(row.previous),
        _text(row.mac),
        thing if str(row.action).startswith("migration.") else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)[:MAX_TEXT]
