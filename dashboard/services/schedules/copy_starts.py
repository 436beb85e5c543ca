"""Runs of scheduled copies: begun when they are due or on request, and restores from them.

A run is an ordinary migration that was approved beforehand. A time that is due, the run and its migration are
one transaction: whenever the runner is killed, each is there or none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.timing import DAY, Timing
from dashboard.jobs.types import DONE, JobContext, JobResult
from dashboard.migration.types import State
from dashboard.models.backends import BackendStatus
from dashboard.models.migrations import Migration
from dashboard.models.schedules import CopyRun, CopySchedule
from dashboard.services.audit import AuditLog
from dashboard.services.backends.status import Badge
from dashboard.services.database import Database
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.migrations.rows import find_backend
from dashboard.services.migrations.spec import AS_OF, REPLACED_IN, from_json
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.services.schedules.copy_runs import CopyRuns, folder_name
from dashboard.services.schedules.copy_values import RunKind, RunState
from dashboard.services.schedules.scheduled_copies import get_schedule

log = logging.getLogger(__name__)

SCHEDULER = Actor("schedule", Role.OPERATOR, "runner")
RETRY_SECONDS = 900.0
"""After which a run that could not begin is tried again, if none is due earlier."""
FINAL = tuple(state.value for state in State if state.final)


class CopyStarts:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        migrations: Migrations,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._migrations = migrations
        self._runs = CopyRuns(database)
        self._clock = clock

    def run_now(self, actor: Actor, number: int) -> int:
        """Begin a run now; return the migration's number. Its next time stays. Raises ``CONFLICT`` while one
        is under way, and what stands in the way of a run."""
        actor.require(Permission.MIGRATE)
        now = self._clock()
        with self._database.write() as session:
            row = get_schedule(session, number)
            under_way = self._under_way(session, row)
            if under_way is not None:
                raise StowageError(
                    Kind.CONFLICT,
                    under_way,
                    operation="run schedule",
                    subject=str(number),
                    remedy="Wait until it has ended, or cancel it.",
                )
            return self._begin(session, actor, row, now, now)

    def restore(
        self,
        actor: Actor,
        number: int,
        *,
        to: str = "",
        prefix: str | None = None,
        after_run: int | None = None,
    ) -> int:
        """Plan a migration of the copy back to its source, or to another backend; return its number. It waits
        for its review like every other. ``prefix``: only what begins with it. ``after_run``: as the copy was
        after that run. What is replaced there is kept as long as the schedule says. Raises ``InvalidInput``
        naming the field."""
        actor.require(Permission.MIGRATE)
        now = self._clock()
        with self._database.write() as session:
            row = get_schedule(session, number)
            spec = from_json(row.spec)
            if prefix is not None:
                if not prefix.startswith(spec.prefix):
                    raise InvalidInput(
                        "prefix",
                        f"This schedule copies what begins with “{spec.prefix}”, which this does not.",
                        remedy="Restore all of it, or a longer prefix.",
                    )
                spec = replace(spec, prefix=prefix)
            more: dict[str, object] = {}
            if after_run is not None:
                if not any(run.id == after_run and run.restorable for run in self._runs.of(row.id)):
                    raise InvalidInput(
                        "after_run",
                        "The copy cannot be restored as it was after this run.",
                        remedy="Choose one of the list, or the copy as it is now.",
                    )
                more[AS_OF] = after_run
            run = self._add_run(session, row, (RunKind.RESTORE, RunState.RUNNING), now)
            target = find_backend(session, to or row.source, "to")
            run.destination_id = target.id
            self._keep_in(run, row, now)
            run.migration_id = self._migrations.create_in(
                session, actor, row.destination, target.name, spec, more={REPLACED_IN: run.kept_in, **more}
            )
            self._audit.record(
                session,
                actor,
                "schedule.restore",
                str(row.id),
                **{"from": row.destination, "to": target.name},
            )
            return run.migration_id

    def run(self, context: JobContext) -> JobResult:
        """For the runner: begin what is due. Idempotent."""
        now = self._clock()
        with self._database.read() as session:
            due = select(CopySchedule.id, CopySchedule.next_run).where(
                CopySchedule.enabled, CopySchedule.next_run <= now
            )
            found = session.execute(due.order_by(CopySchedule.next_run)).all()
        for number, next_run in found:
            if context.should_stop():
                break
            self._run_due(number, next_run)
        return DONE

    def _run_due(self, number: int, due: float) -> None:
        now = self._clock()
        try:
            with self._database.write() as session:
                row = _still_due(session, number, due)
                if row is None:
                    return
                row.next_run = Timing.parse(row.timing).next_after(now, due=due)
                under_way = self._under_way(session, row)
                if under_way is not None:
                    run = self._add_run(session, row, (RunKind.COPY, RunState.SKIPPED), due)
                    run.message = under_way
                else:
                    self._begin(session, SCHEDULER, row, due, now)
        except StowageError as error:
            if error.operation == "database":
                raise
            log.warning("The scheduled copy %d could not begin: %s", number, error)
            self._refuse(number, due, error)

    def _begin(self, session: Session, actor: Actor, row: CopySchedule, due: float, now: float) -> int:
        _require_usable(session, row)
        run = self._add_run(session, row, (RunKind.COPY, RunState.RUNNING), due)
        self._keep_in(run, row, now)
        run.migration_id = self._migrations.create_in(
            session,
            actor,
            row.source,
            row.destination,
            from_json(row.spec),
            approve=True,
            more={REPLACED_IN: run.kept_in},
        )
        return run.migration_id

    def _add_run(
        self, session: Session, row: CopySchedule, what: tuple[RunKind, RunState], due: float
    ) -> CopyRun:
        run = CopyRun(
            schedule_id=row.id,
            kind=what[0].value,
            state=what[1].value,
            due_at=due,
            at=self._clock(),
            destination_id=row.destination_id,
            kept_in="",
            tries=1,
            message="",
            remedy="",
        )
        session.add(run)
        session.flush()
        return run

    def _keep_in(self, run: CopyRun, row: CopySchedule, now: float) -> None:
        run.kept_in = folder_name(now, run.id)
        # The first run may meet files that no run of this schedule wrote: those are kept for ever.
        if row.keep_days and (run.kind == RunKind.RESTORE or self._runs.has_finished(row.id)):
            run.keep_until = now + row.keep_days * DAY

    def _refuse(self, number: int, due: float, error: StowageError) -> None:
        now = self._clock()
        with self._database.write() as session:
            row = _still_due(session, number, due)
            if row is None:
                return
            regular = Timing.parse(row.timing).next_after(now, due=due)
            row.next_run = min(regular, now + RETRY_SECONDS)
            query = select(CopyRun).where(CopyRun.schedule_id == row.id, CopyRun.kind == RunKind.COPY)
            run = session.scalar(query.order_by(CopyRun.id.desc()).limit(1))
            if run is None or run.state != RunState.REFUSED or run.message != error.reason:
                run = self._add_run(session, row, (RunKind.COPY, RunState.REFUSED), due)
            else:
                run.at, run.tries = now, run.tries + 1
            run.message, run.remedy = error.reason, error.remedy

    def _under_way(self, session: Session, row: CopySchedule) -> str | None:
        """Why a run would disturb another one, or None."""
        query = (
            select(CopyRun, Migration)
            .join(Migration, Migration.id == CopyRun.migration_id)
            .where(CopyRun.schedule_id == row.id, Migration.state.not_in(FINAL))
        )
        for run, migration in session.execute(query.order_by(CopyRun.id.desc())):
            if run.kind == RunKind.COPY:
                state = "is paused" if migration.state == State.PAUSED else "is still under way"
                return f"The run before, migration {migration.id}, {state}."
            if migration.approved_at is not None:
                return f"A restore from this copy, migration {migration.id}, is under way."
        return None


def _still_due(session: Session, number: int, due: float) -> CopySchedule | None:
    row = session.get(CopySchedule, number)
    return row if row is not None and row.enabled and row.next_run == due else None


def _require_usable(session: Session, row: CopySchedule) -> None:
    for backend_id, name in ((row.source_id, row.source), (row.destination_id, row.destination)):
        status = session.get(BackendStatus, backend_id) if backend_id is not None else None
        if status is None:
            raise StowageError(
                Kind.NOT_FOUND,
                f"The backend “{name}” was removed.",
                operation="run schedule",
                subject=name,
                remedy="Add it again under another schedule, and remove this one.",
            )
        if status.badge == Badge.DOWN.value:
            raise StowageError(
                Kind.UNREACHABLE,
                f"The backend “{name}” is down: {status.message}".rstrip(": "),
                operation="run schedule",
                subject=name,
                remedy=status.remedy or "Test the backend.",
            )
