"""Backups of the console itself: made on a schedule or on request, checked after they were stored, and kept
as long as the schedule says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.types import DONE, JobContext, JobKind, JobResult
from dashboard.models.backends import Backend
from dashboard.models.backups import Backup
from dashboard.models.console import Setting
from dashboard.services.audit import AuditLog
from dashboard.services.backups.backup_values import (
    BackupInfo,
    BackupSchedule,
    BackupState,
    BackupSummary,
)
from dashboard.services.backups.database_copies import record_backup
from dashboard.services.backups.storing_backups import BackupStore
from dashboard.services.database import Database, clamp_integer
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.checks.wrappers import is_encrypted
from dashboard.storage.registry import uses_own_key

SCHEDULE = "backup_schedule"
RETRY_SECONDS = 3600.0
"""After which a backup that failed is tried again."""
OVERDUE_INTERVALS = 2
MAX_LISTED = 500


class Backups:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        store: BackupStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._store = store
        self.copies = store.copies
        self._clock = clock

    def schedule(self) -> BackupSchedule:
        """When backups are made, and where they go."""
        with self._database.read() as session:
            return _schedule(session)

    def change_schedule(self, actor: Actor, schedule: BackupSchedule) -> None:
        """Set the schedule. Raises ``INVALID`` for a backend that is not there, or whose key is in the very
        database that would be backed up to it."""
        actor.require(Permission.KEYS)
        with self._database.write() as session:
            if schedule.backend:
                _require_usable(session, schedule.backend)
            before = _schedule(session)
            session.merge(Setting(key=SCHEDULE, value=json.dumps(asdict(schedule))))
            was, now = asdict(before), asdict(schedule)
            changed = {name: now[name] for name in now if now[name] != was[name]}
            changed |= {f"before.{name}": was[name] for name in changed}
            where = schedule.backend or "this machine"
            self._audit.record(session, actor, "backup.schedule", where, **changed)

    def request(self, actor: Actor) -> int:
        """Have a backup made now, in the background; return its number. If one is queued already, that."""
        actor.require(Permission.KEYS)
        with self._database.write() as session:
            queued = session.scalar(select(Backup.id).where(Backup.state == BackupState.QUEUED))
            if queued is not None:
                return queued
            row = self._new_row(session, _schedule(session), actor.name)
            enqueue(session, JobKind.BACKUP, 0)
            self._audit.record(session, actor, "backup.request", row.key)
            return row.id

    def list(self, *, limit: int = 100, before_id: int | None = None) -> tuple[BackupInfo, ...]:
        """The newest backups and attempts, or those older than ``before_id``; without removed ones."""
        query = select(Backup).where(Backup.state != BackupState.REMOVED).order_by(Backup.id.desc())
        if before_id is not None:
            query = query.where(Backup.id < clamp_integer(before_id))
        with self._database.read() as session:
            return tuple(_info(row) for row in session.scalars(query.limit(max(1, min(limit, MAX_LISTED)))))

    def get(self, number: int) -> BackupInfo | None:
        """One backup, or None."""
        with self._database.read() as session:
            row = session.get(Backup, clamp_integer(number))
            return _info(row) if row is not None else None

    def summary(self) -> BackupSummary:
        """How things stand."""
        schedule, newest, failed = self._database.kept("backups", self._ends, of="main")
        every = schedule.every_hours * 3600.0
        last = newest.finished_at if newest and newest.finished_at else 0.0
        last_failure = failed if failed and (failed.finished_at or 0.0) > last else None
        return BackupSummary(
            schedule=schedule,
            newest=newest,
            overdue=schedule.enabled
            and bool(last_failure or newest)
            and self._clock() - last > OVERDUE_INTERVALS * every,
            next_at=(last + every if last else self._clock()) if schedule.enabled else None,
            last_failure=last_failure,
        )

    def _ends(self) -> tuple[BackupSchedule, BackupInfo | None, BackupInfo | None]:
        with self._database.read() as session:
            done, failed = _newest(session, BackupState.DONE), _newest(session, BackupState.FAILED)
            return _schedule(session), done, failed

    def run(self, context: JobContext) -> JobResult:
        """For the runner: make the backup that is queued or due, if any, then remove what is too old."""
        row = self._take()
        if row is None:
            return DONE
        try:
            size, digest = self._store.make(row, context.should_stop)
        except InterruptedError:
            self._settle(row.id, BackupState.QUEUED)
            return JobResult(requeue=True)
        except StowageError as error:
            self._settle(row.id, BackupState.FAILED, message=error.reason, remedy=error.remedy)
            raise
        self._settle(row.id, BackupState.DONE, size=size, sha256=digest)
        self._remove_old(self.schedule().keep)
        return DONE

    def _take(self) -> BackupInfo | None:
        """The row of the backup to make now. Whatever an earlier run left half made is cleared first."""
        with self._database.write() as session:
            # Only one job of this kind runs at a time, so its runner is gone.
            for left in session.scalars(select(Backup).where(Backup.state == BackupState.RUNNING)):
                left.state = BackupState.QUEUED
            row = session.scalar(select(Backup).where(Backup.state == BackupState.QUEUED).order_by(Backup.id))
            if row is None and self._is_due(session):
                row = self._new_row(session, _schedule(session), "schedule")
            if row is None:
                return None
            row.state, row.started_at = BackupState.RUNNING, self._clock()
            return _info(row)

    def _is_due(self, session: Session) -> bool:
        schedule = _schedule(session)
        if not schedule.enabled:
            return False
        last = session.scalar(select(func.max(Backup.finished_at)).where(Backup.state == BackupState.DONE))
        tried = session.scalar(select(func.max(Backup.finished_at)).where(Backup.state == BackupState.FAILED))
        now = self._clock()
        return now >= (last or 0.0) + schedule.every_hours * 3600.0 and now >= (tried or 0.0) + RETRY_SECONDS

    def _new_row(self, session: Session, schedule: BackupSchedule, requested_by: str) -> Backup:
        now = self._clock()
        row = Backup(
            backend=schedule.backend,
            key=self._store.new_key(now, in_backend=bool(schedule.backend)),
            state=BackupState.QUEUED,
            requested_by=requested_by[:64],
            created_at=now,
            sha256="",
            message="",
            remedy="",
        )
        session.add(row)
        session.flush()
        return row

    def _settle(self, number: int, state: BackupState, **values: object) -> None:
        finished = None if state is BackupState.QUEUED else self._clock()
        with self._database.write() as session:
            session.execute(
                update(Backup).where(Backup.id == number).values(state=state, finished_at=finished, **values)
            )
            if state is BackupState.DONE:
                record_backup(session, self._clock())

    def _remove_old(self, keep: int) -> None:
        with self._database.read() as session:
            done = session.scalars(select(Backup).where(Backup.state == BackupState.DONE))
            rows = sorted((_info(row) for row in done), key=lambda row: row.finished_at or 0.0, reverse=True)
        for row in rows[keep:]:
            if self._store.remove(row):
                self._settle(row.id, BackupState.REMOVED, size=None)


def _schedule(session: Session) -> BackupSchedule:
    row = session.get(Setting, SCHEDULE)
    if row is None or row.value is None:
        return BackupSchedule()
    return replace(BackupSchedule(), **json.loads(row.value))


def _require_usable(session: Session, name: str) -> None:
    backend = session.scalar(select(Backend).where(Backend.name == name))
    if backend is None:
        raise InvalidInput("backend", f"There is no backend “{name}”.", remedy="Choose one of the list.")
    if is_encrypted(backend.options) or uses_own_key(backend.driver, backend.options):
        raise InvalidInput(
            "backend",
            f"“{name}” encrypts its files with a key that is in the database itself: without the database "
            "nobody could read the backup.",
            remedy="Choose a backend without encryption. Secrets in a backup are sealed anyway.",
        )


@cache
def _newest_of() -> Select[Any]:
    wanted = Backup.state == bindparam("state")
    return select(Backup).where(wanted).order_by(Backup.finished_at.desc()).limit(1)


def _newest(session: Session, state: BackupState) -> BackupInfo | None:
    row = session.scalar(_newest_of(), {"state": state.value})
    return _info(row) if row is not None else None


def _info(row: Backup) -> BackupInfo:
    return BackupInfo(
        id=row.id,
        backend=row.backend,
        key=row.key,
        state=BackupState(row.state),
        requested_by=row.requested_by,
        created_at=row.created_at,
        finished_at=row.finished_at,
        size=row.size,
        sha256=row.sha256,
        message=row.message,
        remedy=row.remedy,
    )
