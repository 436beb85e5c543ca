"""Every job that the runner repeats: what it does, when, how it went, and changing that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.timing import DAY, HOUR, MINUTE, Timing
from dashboard.jobs.types import JobKind, JobState
from dashboard.models.migrations import Job, Schedule
from dashboard.models.schedules import JobTiming
from dashboard.services.audit import AuditLog
from dashboard.services.backends.queries import get_row
from dashboard.services.backups.backup_values import BackupState
from dashboard.services.backups.backups import Backups
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.database import Database
from dashboard.services.jobs import INSTANCE_INTERVALS, INTERVALS, dequeue, enqueue
from dashboard.services.permissions import Actor, Permission


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A kind of recurring job. ``least``, ``most``: the seconds that may be between two runs; both 0 where
    that is fixed. ``may_stop``: whether it can be switched off. ``needs``: what running it now requires."""

    kind: JobKind
    name: str
    title: str
    what: str
    least: int = 0
    most: int = 0
    may_stop: bool = False
    needs: Permission = Permission.CONFIGURE


SPECS = (
    JobSpec(
        JobKind.CHECK,
        "tests",
        "Tests of backends",
        "Sees whether each backend answers, and once a day whether it can be written to.",
        MINUTE,
        DAY,
        may_stop=True,
        needs=Permission.TEST,
    ),
    JobSpec(
        JobKind.COUNT,
        "counts",
        "Counts",
        "Lists each backend: objects, bytes, and the catalogue of files.",
        15 * MINUTE,
        31 * DAY,
        may_stop=True,
        needs=Permission.TEST,
    ),
    JobSpec(
        JobKind.USAGE,
        "totals",
        "Totals for Usage",
        "Adds up the catalogue: kinds, sizes, ages and duplicates.",
        15 * MINUTE,
        31 * DAY,
        may_stop=True,
    ),
    JobSpec(
        JobKind.FILES,
        "clean-up",
        "Clean-up",
        "Removes what can no longer be undone, thumbnails of deleted files, replaced files that were kept "
        "long enough, test objects that were left behind, and lists of old runs. Once a day it looks for "
        "damage in the databases.",
        10 * MINUTE,
        7 * DAY,
    ),
    JobSpec(
        JobKind.AUDIT,
        "audit",
        "Audit log",
        "Checks the chain of the audit log, then removes entries that are too old.",
        HOUR,
        7 * DAY,
    ),
    JobSpec(
        JobKind.UPLOADS,
        "uploads",
        "Uploads",
        "Checks and stores what was received, and removes uploads that were given up.",
    ),
    JobSpec(
        JobKind.BACKUP,
        "backup",
        "Backup of the console",
        "Stores both databases, and reads them back.",
        needs=Permission.KEYS,
    ),
)
BY_NAME: Mapping[str, JobSpec] = MappingProxyType({spec.name: spec for spec in SPECS})


@dataclass(frozen=True, slots=True)
class RecurringJob:
    """How a recurring job stands. Times in seconds since the epoch. ``last_at``: when a run last ended,
    ``seconds``: how long that took; ``failed``: how many of the last runs, one a backend, failed, and
    ``message``: why the newest did. ``subjects``: of how many backends each has its own, 0 for the instance.
    """

    spec: JobSpec
    timing: Timing
    enabled: bool
    changed: bool
    running: int
    last_at: float | None
    seconds: float | None
    subjects: int
    failed: int
    message: str
    next_at: float | None


class Recurring:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        backups: Backups,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._backups = backups
        self._catalogue = catalogue
        self._clock = clock

    def list(self) -> tuple[RecurringJob, ...]:
        """All of them."""
        with self._database.read() as session:
            return tuple(
                self._backup(session) if spec.kind is JobKind.BACKUP else _state(session, spec)
                for spec in SPECS
            )

    def get(self, name: str) -> RecurringJob:
        """One of them. Raises ``NOT_FOUND``."""
        spec = _spec(name)
        return next(job for job in self.list() if job.spec is spec)

    def change(
        self, actor: Actor, name: str, *, timing: Timing | None = None, enabled: bool | None = None
    ) -> None:
        """Change when a job runs, or switch it on or off. Raises ``InvalidInput`` naming the field, and
        ``NOT_FOUND``. Backups have settings of their own."""
        actor.require(Permission.CONFIGURE)
        spec = _spec(name)
        if spec.kind is JobKind.BACKUP:
            raise InvalidInput(
                "when",
                "When backups are made is set together with where they go.",
                remedy="Change it under Settings, Backups, or with stowage backup schedule.",
            )
        with self._database.write() as session:
            before = _state(session, spec)
            timing = before.timing if timing is None else timing
            enabled = before.enabled if enabled is None else enabled
            _check(spec, timing, before.timing, enabled=enabled)
            if (timing, enabled) == (before.timing, before.enabled):
                return
            session.merge(JobTiming(kind=spec.kind.value, enabled=enabled, timing=str(timing)))
            next_run = timing.next_after(self._clock())
            rows = update(Schedule).where(Schedule.kind == spec.kind.value)
            session.execute(rows.where(Schedule.next_run > next_run).values(next_run=next_run))
            if not timing.seconds:
                session.execute(rows.values(next_run=next_run))
            was = {"when": before.timing.words, "on": _on(before.enabled)}
            now = {"when": timing.words, "on": _on(enabled)}
            changed = {key: now[key] for key in now if now[key] != was[key]}
            changed |= {f"before.{key}": was[key] for key in changed}
            self._audit.record(session, actor, "job.schedule", spec.name, outcome="done", **changed)

    def run_now(self, actor: Actor, name: str) -> None:
        """Have it run now, in the background. Idempotent while it waits for the runner."""
        spec = _spec(name)
        actor.require(spec.needs)
        if spec.kind is JobKind.BACKUP:
            self._backups.request(actor)
            return
        with self._database.write() as session:
            query = select(Schedule.subject_id).where(Schedule.kind == spec.kind.value)
            subjects = tuple(session.scalars(query)) or ((0,) if spec.kind in INSTANCE_INTERVALS else ())
            for subject in subjects:
                enqueue(session, spec.kind, subject)
            self._audit.record(session, actor, "job.run", spec.name)

    def stop_count(self, actor: Actor, name: str) -> None:
        """Stop the count of a backend that is under way or waits for the runner. The last finished count
        stays. Idempotent. Raises ``NOT_FOUND``."""
        actor.require(Permission.TEST)
        with self._database.write() as session:
            backend = get_row(session, name)
            dequeue(session, JobKind.COUNT, backend.id)
            backend.status.counting_at, backend.status.counting_objects = None, 0
            self._audit.record(session, actor, "backend.stop_count", name)
            number = backend.id
        self._catalogue.stop_count(number)

    def _backup(self, session: Session) -> RecurringJob:
        schedule, summary = self._backups.schedule(), self._backups.summary()
        newest = self._backups.list(limit=3)
        busy = any(each.state in (BackupState.QUEUED, BackupState.RUNNING) for each in newest)
        over = (BackupState.DONE, BackupState.FAILED)
        ended = next((each for each in newest if each.state in over), None)
        failed = ended is not None and ended.state is BackupState.FAILED
        return RecurringJob(
            spec=BY_NAME["backup"],
            timing=Timing.every(schedule.every_hours * HOUR),
            enabled=schedule.enabled,
            changed=False,
            running=int(busy),
            last_at=ended.finished_at if ended else None,
            seconds=ended.finished_at - ended.created_at if ended and ended.finished_at else None,
            subjects=0,
            failed=int(failed),
            message=ended.message if ended and failed else "",
            next_at=summary.next_at,
        )


def default_timing(kind: JobKind) -> Timing:
    """When a kind of job runs unless that was changed."""
    return Timing.every(int((INTERVALS | INSTANCE_INTERVALS)[kind]))


def _spec(name: str) -> JobSpec:
    if name not in BY_NAME:
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no recurring job “{name[:40]}”.",
            operation="find job",
            subject=name[:40],
            remedy=f"There are: {', '.join(BY_NAME)}.",
        )
    return BY_NAME[name]


def _check(spec: JobSpec, timing: Timing, before: Timing, *, enabled: bool) -> None:
    if not enabled and not spec.may_stop:
        raise InvalidInput(
            "enabled",
            f"“{spec.title}” cannot be switched off: the console needs it to stay whole.",
            remedy="Let it run less often." if spec.most else "",
        )
    if timing == before:
        return
    if not spec.most:
        raise InvalidInput("when", f"When “{spec.title}” runs is fixed.")
    if timing.seconds and not spec.least <= timing.seconds <= spec.most:
        least, most = (Timing.every(each).words for each in (spec.least, spec.most))
        raise InvalidInput(
            "when", f"“{spec.title}” can run {least} at most, and {most} at least.", remedy="Choose between."
        )


def _state(session: Session, spec: JobSpec) -> RecurringJob:
    kind = spec.kind.value
    row = session.get(JobTiming, kind)
    enabled = row.enabled if row is not None else True
    next_at = session.scalar(select(func.min(Schedule.next_run)).where(Schedule.kind == kind))
    subjects = session.scalar(select(func.count()).where(Schedule.kind == kind, Schedule.subject_id > 0))
    ended = session.scalars(
        select(Job)
        .where(Job.kind == kind, Job.state.in_((JobState.DONE, JobState.FAILED)))
        .order_by(Job.finished_at.desc())
    ).all()
    running = session.scalar(
        select(func.count()).where(
            Job.kind == kind, Job.state == JobState.RUNNING, Job.lease_until >= time.time()
        )
    )
    failed = [job for job in ended if job.state == JobState.FAILED]
    last = ended[0] if ended else None
    took = last.finished_at - last.started_at if last and last.finished_at and last.started_at else None
    return RecurringJob(
        spec=spec,
        timing=Timing.parse(row.timing) if row is not None else default_timing(spec.kind),
        enabled=enabled,
        changed=row is not None,
        running=running or 0,
        last_at=last.finished_at if last else None,
        seconds=took,
        subjects=subjects or 0,
        failed=len(failed),
        message=failed[0].message if failed else "",
        next_at=next_at if enabled else None,
    )


def _on(enabled: bool) -> str:
    return "yes" if enabled else "no"
