"""The last known state of each backend: whether it is reachable, how much it stores, and the first steps.

Small rows, written often, with one UPDATE each. A row that was deleted with its backend meanwhile is not an
error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Select, String, exists, func, select, type_coerce, update

from dashboard.migration.types import State
from dashboard.models.backends import Backend, BackendStatus
from dashboard.models.console import User
from dashboard.models.migrations import Migration
from dashboard.services.database import Database, clamp_integer
from dashboard.services.permissions import Role

READ_ONLY_REMEDY = "Give its credentials write access, or turn on “Read-only” if that is how it should be."

MAX_REASON = 1_000
"""Characters of the reason why writing was denied."""
COUNT_IS_STALE = 45.0
"""Seconds without progress after which a count is no longer shown as running."""


class Badge(StrEnum):
    """The one-word state of a backend."""

    HEALTHY = "healthy"
    READ_ONLY = "read_only"
    """It can be read, but its credentials do not allow to write to it."""
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Status:
    """Times in seconds since the epoch, latency in milliseconds, sizes in bytes.

    ``objects`` and ``bytes`` are the last finished count; ``counting_objects`` is how far one under way is.
    """

    badge: Badge
    latency_ms: float | None
    checked_at: float | None
    message: str
    remedy: str
    objects: int | None
    bytes: int | None
    counted_at: float | None
    counting: bool
    counting_objects: int
    unreadable_folders: int = 0
    """Folders whose objects are not in the last finished count because they could not be read."""


@dataclass(frozen=True, slots=True)
class Writing:
    """When writing was last tried (None: never, or not since the backend was changed), and why it was denied;
    empty if it works."""

    checked_at: float | None
    denied: str

    def is_due(self, now: float) -> bool:
        """Whether to try again: daily, and while it is denied every hour, since nothing is left behind."""
        return self.checked_at is None or now - self.checked_at > (3_600 if self.denied else 86_400)


_BACKUP_DONE = "done"
"""A value of ``services.backups.backup_values.BackupState``, which depends on this room."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """The first steps: another backend than the one setup made, a passed test, a complete count, a fallback
    order, a backup of the console; a migration and a second administrator, which not everybody needs."""

    added_backend: bool
    tested: bool
    counted: bool
    fallback: bool
    backed_up: bool
    migrated: bool
    second_admin: bool

    @property
    def done(self) -> bool:
        """Whether nothing that everybody needs is left to do."""
        return self.added_backend and self.tested and self.counted and self.fallback and self.backed_up


class StatusBoard:
    """Records and reads. Thread-safe; every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        # Not loaded for those who only want to know what a badge is.
        from dashboard.services.history.history import History

        self.database = self._database = database
        self.history = History(database)

    def record_check(
        self, backend_id: int, badge: Badge, latency_ms: float | None, message: str = "", remedy: str = ""
    ) -> None:
        """What a health check found."""
        self._set(
            backend_id,
            badge=badge.value,
            latency_ms=latency_ms,
            message=message,
            remedy=remedy,
            checked_at=time.time(),
        )
        self.history.record_check(backend_id, badge.value, latency_ms, message, remedy)

    def record_count(
        self, backend_id: int, objects: int, size: int, *, final: bool, unreadable_folders: int = 0
    ) -> None:
        """How far a count has come; ``final`` makes it the figure that is shown. ``size`` in bytes.
        ``unreadable_folders``: those whose objects are not in it."""
        now, size = time.time(), clamp_integer(size)
        if final:
            self._set(
                backend_id,
                objects=objects,
                bytes=size,
                unreadable_folders=unreadable_folders,
                counted_at=now,
                counting_at=None,
                counting_objects=0,
            )
            self.history.record_totals(backend_id, objects, size)
        else:
            self._set(backend_id, counting_at=now, counting_objects=objects, counting_bytes=size)

    def discard_count(self, backend_id: int) -> None:
        """The count under way ended without a result; the last finished one stays."""
        self._set(backend_id, counting_at=None, counting_objects=0, counting_bytes=0)

    def record_test(self, backend_id: int, badge: Badge, message: str = "", remedy: str = "") -> None:
        """What "Test connection" found; healthy only when every step passed. The last latency stays."""
        now = time.time()
        values: dict[str, object] = {
            "badge": badge.value,
            "message": message,
            "remedy": remedy,
            "checked_at": now,
        }
        if badge is Badge.HEALTHY:
            values["tested_at"] = now
        self._set(backend_id, **values)
        self.history.record_check(backend_id, badge.value, None, message, remedy)

    def record_writing(self, backend_id: int, denied: str = "") -> None:
        """Whether writing works: ``denied`` says why not, and is empty if it does."""
        self._set(backend_id, write_checked_at=time.time(), write_denied=denied[:MAX_REASON])

    def writing(self, backend_id: int) -> Writing:
        """What is known about writing to a backend."""
        columns = (BackendStatus.write_checked_at, BackendStatus.write_denied)
        with self._database.read() as session:
            row = session.execute(
                select(*columns).where(BackendStatus.backend_id == backend_id)
            ).one_or_none()
        return Writing(*row) if row is not None else Writing(None, "")

    def checklist(self) -> Checklist:
        """How far the first steps are."""
        return self._database.kept("checklist", self._checklist, of="main")

    def _checklist(self) -> Checklist:
        with self._database.read() as session:
            row = session.execute(_first_steps()).one()
        return Checklist(*(bool(each) for each in row))

    def _set(self, backend_id: int, **values: object) -> None:
        with self._database.write() as session:
            session.execute(
                update(BackendStatus).where(BackendStatus.backend_id == backend_id).values(**values)
            )


@cache
def _first_steps() -> Select[*tuple[Any, ...]]:
    """The columns of a :class:`Checklist`. Put together once: the Overview asks each time."""
    from dashboard.models.backups import Backup

    of_another = select(BackendStatus.backend_id).join(Backend, Backend.id == BackendStatus.backend_id)
    dry_run = type_coerce(Migration.spec, String).contains('"dry_run": true')
    admins = (User.role == Role.ADMIN.value) & User.disabled.is_(False)
    return select(
        select(func.count(Backend.id)).scalar_subquery() > 1,
        exists().where(BackendStatus.tested_at.is_not(None)),
        of_another.where(BackendStatus.counted_at.is_not(None), Backend.active.is_(False)).exists(),
        exists().where(Backend.fallback_position.is_not(None)),
        exists().where(Backup.state == _BACKUP_DONE),
        exists().where((Migration.state == State.FINISHED.value) & ~dry_run),
        select(func.count(User.id)).where(admins).scalar_subquery() > 1,
    )


def reset(row: BackendStatus) -> None:
    """Clear everything known about a backend that now has another location."""
    row.badge = Badge.UNKNOWN.value
    row.message = row.remedy = ""
    row.latency_ms = row.checked_at = row.tested_at = None
    row.objects = row.bytes = None
    row.counted_at = row.counting_at = None
    row.counting_objects = row.counting_bytes = row.unreadable_folders = 0
    row.write_checked_at, row.write_denied = None, ""


def status_of(row: BackendStatus | None) -> Status:
    """A row as shown."""
    if row is None:
        return Status(Badge.UNKNOWN, None, None, "", "", None, None, None, False, 0)
    counting = row.counting_at is not None and row.counting_at + COUNT_IS_STALE > time.time()
    return Status(
        badge=Badge(row.badge),
        latency_ms=row.latency_ms,
        checked_at=row.checked_at,
        message=row.message,
        remedy=row.remedy,
        objects=row.objects,
        bytes=row.bytes,
        counted_at=row.counted_at,
        counting=counting,
        counting_objects=row.counting_objects if counting else 0,
        unreadable_folders=row.unreadable_folders,
    )
