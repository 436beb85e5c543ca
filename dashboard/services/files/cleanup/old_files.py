"""Deleting old files: a dry run, the number typed by a person, a job, which is in ``old_file_deletion``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, text, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models import files_by_day
from dashboard.models.catalogue import cleanups, files
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.catalogue.filters import FileFilters, Sort
from dashboard.services.database import Database, clamp_integer
from dashboard.services.files.cleanup.cleanup_values import Cleanup, CleanupState, Note, OldFilesPlan
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission

MAX_DAYS = 36_500
DAY = 86_400.0
SHOWN = 20
"""Files that a plan shows."""

_F = files.c


class OldFiles:
    """Plans and requests deletions. Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends, catalogue: Catalogue) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self._catalogue = catalogue

    def plan(self, days: int, backend: str = "") -> OldFilesPlan:
        """Return what is older than ``days`` according to the catalogue. Changes nothing. Days are those of
        UTC: what was modified today or on one of the ``days`` before is not old. Reads a row for each day,
        however many files there are. Raises ``InvalidInput`` for ``days``, and ``NOT_FOUND`` for an unknown
        backend."""
        if not 1 <= days <= MAX_DAYS:
            raise InvalidInput(
                "days", "This is not an age in days.", remedy=f"Enter a number from 1 to {MAX_DAYS:,}."
            )
        now = time.time()
        before = (now // DAY - days) * DAY
        backend_id = self._id_of(backend)
        with self._database.read_together():
            with self._database.work_read() as connection:
                last_id = connection.scalar(select(func.max(_F.id))) or 0
            count, size = self._totals_by_day(backend_id, before, now, last_id)
        oldest = self._catalogue.search(
            FileFilters(backend=backend, modified_before=before), sort=Sort.MODIFIED, limit=SHOWN
        )
        return OldFilesPlan(backend, days, before, now, last_id, count, size, oldest.files)

    def request(
        self, actor: Actor, backend: str, *, before: float, planned_at: float, last_id: int, files: int
    ) -> Cleanup:
        """Start deleting what a plan has shown; ``files`` is the number that the person has typed. Raises
        ``InvalidInput`` if it is not that of the plan, and ``CONFLICT`` if files have come or gone since."""
        actor.require(Permission.WRITE_FILES)
        now = time.time()
        # From a form or a program: nothing newer than a day may ever match.
        if not (before <= min(planned_at, now) - DAY and planned_at <= now and last_id >= 0):
            raise InvalidInput("before", "This is not a plan.", remedy="Make a new dry run.")
        backend_id = self._id_of(backend)
        last_id = clamp_integer(last_id)
        count, size = self._totals(backend_id, before, planned_at, last_id)
        if files != count or not count:
            raise _other_count(files, count)
        with self._database.work_write() as connection:
            number = connection.scalar(
                insert(cleanups)
                .values(
                    backend_id=backend_id,
                    backend=backend,
                    before=before,
                    planned_at=planned_at,
                    last_id=last_id,
                    files=count,
                    bytes=size,
                    state=CleanupState.QUEUED.value,
                    notes=[],
                    requested_by=actor.name,
                    created_at=now,
                )
                .returning(cleanups.c.id)
            )
        try:
            with self._database.write() as session:
                self._audit.record(
                    session,
                    actor,
                    "files.delete_old",
                    backend or "all backends",
                    older_than_days=int(planned_at // DAY - before // DAY),
                    files=count,
                    bytes=size,
                )
                enqueue(session, JobKind.FILES, 0)
        except StowageError:
            # Without its audit row it must not run.
            with self._database.work_write() as connection:
                connection.execute(
                    update(cleanups)
                    .where(cleanups.c.id == number)
                    .values(state=CleanupState.FAILED.value, message="It could not be started.")
                )
            raise
        return self.get(int(number or 0))

    def get(self, cleanup_id: int) -> Cleanup:
        """Return a deletion. Raises ``NOT_FOUND``."""
        query = select(cleanups).where(cleanups.c.id == clamp_integer(cleanup_id))
        with self._database.work_read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise StowageError(
                Kind.NOT_FOUND,
                f"There is no deletion {cleanup_id}.",
                operation="old files",
                subject=str(cleanup_id),
            )
        return _value(row)

    def list(self, *, limit: int = 10) -> tuple[Cleanup, ...]:
        """Return the latest deletions, the newest first."""
        query = select(cleanups).order_by(cleanups.c.id.desc()).limit(limit)
        with self._database.work_read() as connection:
            return tuple(_value(row) for row in connection.execute(query))

    def _id_of(self, backend: str) -> int | None:
        return self._backends.get(backend).id if backend else None

    def _totals_by_day(
        self, backend_id: int | None, before: float, planned_at: float, last_id: int
    ) -> tuple[int, int]:
        """As ``_totals`` for the beginning of a day and all rows that there are now."""
        with self._database.work_read() as connection:
            if not files_by_day.is_kept(connection):
                return self._totals(backend_id, before, planned_at, last_id)
            rows = connection.execute(text(files_by_day.FILES_BEFORE), {"day": int(before // DAY)}).all()
        return self._added_up([row for row in rows if backend_id in (None, row[0])])

    def _totals(
        self, backend_id: int | None, before: float, planned_at: float, last_id: int
    ) -> tuple[int, int]:
        matching = old_rows(backend_id, before, planned_at, last_id)
        with self._database.work_read() as connection:
            query = select(_F.backend_id, func.count(), func.coalesce(func.sum(_F.size), 0))
            found = connection.execute(query.where(*matching).group_by(_F.backend_id)).all()
        return self._added_up(found)

    def _added_up(self, found: Sequence[Any]) -> tuple[int, int]:
        known = self._catalogue.names_of({row[0] for row in found})
        mine = [row for row in found if row[0] in known]
        return sum(row[1] for row in mine), sum(row[2] for row in mine)


def old_rows(
    backend_id: int | None, before: float, planned_at: float, last_id: int
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the rows of a plan: none that is newer, or was changed since."""
    old = (_F.modified < before, _F.id <= last_id, _F.updated_at <= planned_at)
    return old if backend_id is None else (*old, _F.backend_id == backend_id)


def _other_count(typed: int, count: int) -> StowageError:
    if not count:
        return StowageError(
            Kind.CONFLICT,
            "There is nothing to delete any more.",
            operation="delete old files",
            remedy="Make a new dry run.",
        )
    return InvalidInput(
        "files",
        f"{count:,} files would be deleted, not {max(0, typed):,}.",
        remedy="Make a new dry run, and type the number that it shows.",
    )


def _value(row: Row[Any]) -> Cleanup:
    names = [name for name in Cleanup.__dataclass_fields__ if name not in ("state", "notes")]
    return Cleanup(
        state=CleanupState(row.state),
        notes=tuple(Note(**note) for note in row.notes),
        **{name: row._mapping[name] for name in names},
    )
