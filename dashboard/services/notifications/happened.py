"""What happened once, from the audit log: it was written in the transaction in which it happened, and its
numbers grow, so that nothing is told twice or left out."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dashboard.errors import StowageError
from dashboard.migration.types import Outcome, Progress, State
from dashboard.models.console import AuditEntry
from dashboard.services.database import Database
from dashboard.services.notifications.notification_values import Event, EventKind, Phase, clean
from dashboard.services.text import size, span

MAX_ROWS = 200
"""Entries that are read at a time."""
GAP_SECONDS = 600.0
"""Seconds without a look at anything after which that is told."""
_ENDS = ("migration.finish", "migration.fail")


class Happened:
    """Thread-safe."""

    def __init__(self, database: Database, progress: Callable[[int], Progress]) -> None:
        self._database = database
        self._progress = progress

    def newest(self) -> int:
        """The number of the newest entry."""
        with self._database.read() as session:
            return _newest(session)

    def since(self, number: int) -> tuple[list[Event], int]:
        """What happened after this entry, and the number to go on from. After an older copy of the database
        was restored, that is its newest."""
        query = select(AuditEntry).where(AuditEntry.id > number, AuditEntry.action.in_(_ENDS))
        with self._database.read() as session:
            newest = _newest(session)
            rows = session.scalars(query.order_by(AuditEntry.id).limit(MAX_ROWS)).all()
        if len(rows) == MAX_ROWS:
            newest = rows[-1].id
        return [event for row in rows if (event := self._of(row)) is not None], newest

    def _of(self, row: AuditEntry) -> Event | None:
        if not row.subject.isdecimal():
            return None
        try:
            found = self._progress(int(row.subject))
        except StowageError:
            return None
        failed = row.action == "migration.fail"
        # It may run again by now: what it says then is not about this end.
        ended = found.state is (State.FAILED if failed else State.FINISHED)
        return _of_migration(found, row, failed=failed, ended=ended)


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(AuditEntry.id))) or 0


def _of_migration(found: Progress, row: AuditEntry, *, failed: bool, ended: bool) -> Event:
    pair = clean(f"{found.source} → {found.destination}", 150)
    if found.spec.dry_run:
        pair = f"The dry run {pair}"
    counters, count = found.counters, found.counters.failed
    if failed:
        kind, tone, title = EventKind.MIGRATION_FAILED, "bad", f"{pair} stopped"
        text = f"{found.message} {found.remedy}" if ended else row.detail.get("reason", "")
    elif ended and found.outcome is Outcome.WITH_ERRORS:
        objects = "1 object" if count == 1 else f"{count:,} objects"
        kind, tone, title = EventKind.OBJECTS_FAILED, "warn", f"{pair} finished, but {objects} failed"
        text = "Its page has the reasons, and can retry them."
    else:
        kind, tone, title = EventKind.MIGRATION_FINISHED, "ok", f"{pair} finished"
        copied = f"{counters.copied:,} copied ({size(counters.copied_bytes)})"
        text = f"{copied}, {counters.skipped:,} already there, in {span(found.elapsed)}." if ended else ""
    return Event(
        kind=kind,
        phase=Phase.HAPPENED,
        key=f"migration:{found.id}",
        tone=tone,
        title=title,
        text=clean(text),
        at=row.at,
        path=f"/migrations/{found.id}",
        subject=str(found.id),
    )


def gap(last: float, now: float) -> Event | None:
    """That nothing was looked at for a while: whoever should have told it was not running."""
    if now - last < GAP_SECONDS:
        return None
    began, ended = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) for at in (last, now))
    return Event(
        kind=EventKind.RUNNER,
        phase=Phase.HAPPENED,
        key="runner",
        tone="warn",
        title=f"Stowage did not run for {span(now - last)}",
        text=f"From {began} to {ended} nothing was checked, copied or told: it was stopped, or had no key.",
        at=now,
        path="/health",
    )
