"""Jobs as rows of the main database: enqueued by services, claimed by runners under a lease and a fence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Float,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from dashboard.jobs.timing import Timing
from dashboard.jobs.types import Job, JobKind, JobState
from dashboard.models.backends import Backend
from dashboard.models.migrations import Job as JobRow
from dashboard.models.migrations import Schedule
from dashboard.services.database import Database, clamp_integer

MAX_JOBS = 500

INTERVALS: dict[JobKind, float] = {JobKind.CHECK: 60.0, JobKind.COUNT: 6 * 3600.0}
"""The jobs that are repeated for every backend, and after how many seconds."""
INSTANCE_INTERVALS: dict[JobKind, float] = {
    JobKind.UPLOADS: 60.0,
    JobKind.FILES: 3600.0,
    JobKind.USAGE: 6 * 3600.0,
    JobKind.AUDIT: 86_400.0,
    JobKind.BACKUP: 300.0,
    JobKind.COPIES: 30.0,
    JobKind.NOTIFY: 30.0,
}
"""The jobs that are repeated for the whole instance, with subject 0."""


def enqueue(session: Session, kind: JobKind, subject_id: int) -> int:
    """Queue a job in the caller's transaction and return its id.

    Idempotent: if the same job is already queued, its id is returned. A running job does not count, because
    it may already be past what the caller just changed.
    """
    queued = session.scalar(
        select(JobRow.id).where(
            JobRow.kind == kind, JobRow.subject_id == subject_id, JobRow.state == JobState.QUEUED
        )
    )
    if queued is not None:
        return queued
    row = JobRow(kind=kind.value, subject_id=subject_id, state=JobState.QUEUED.value, created_at=time.time())
    session.add(row)
    session.flush()
    return row.id


def dequeue(session: Session, kind: JobKind, subject_id: int) -> None:
    """Remove a job that is queued and not yet claimed, in the caller's transaction. Idempotent."""
    session.execute(
        delete(JobRow).where(
            JobRow.kind == kind, JobRow.subject_id == subject_id, JobRow.state == JobState.QUEUED
        )
    )


def is_running(session: Session, kind: JobKind, subject_id: int) -> bool:
    """Whether a runner with a valid lease is running this job."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    JobRow.kind == kind,
                    JobRow.subject_id == subject_id,
                    JobRow.state == JobState.RUNNING,
                    JobRow.lease_until >= time.time(),
                )
            )
        )
    )


CURRENT_CLAIM = exists().where(
    JobRow.id == bindparam("b_job"), JobRow.fence == bindparam("b_fence"), JobRow.state == JobState.RUNNING
)
"""The condition of :func:`is_current_claim`, for statements that write for the job."""
_IS_CURRENT = select(CURRENT_CLAIM)


def is_current_claim(session: Session, job: Job) -> bool:
    """Whether this claim is still the current one. Call it in the transaction that writes for the job."""
    return bool(session.scalar(_IS_CURRENT, {"b_job": job.id, "b_fence": job.fence}))


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as shown. ``subject_id`` is a migration's or a backend's number, by its kind. Times in seconds
    since the epoch."""

    id: int
    kind: str
    subject_id: int
    state: JobState
    attempts: int
    message: str
    created_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job that may be claimed. ``fence``: how often it was claimed before."""

    id: int
    kind: JobKind
    subject_id: int
    fence: int


class Jobs:
    """The ``JobStore`` of ``dashboard.jobs`` over the main database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, *, limit: int = 50, before_id: int | None = None) -> tuple[JobInfo, ...]:
        """The newest jobs, or those older than ``before_id``. Of those that ended only the last of each kind
        and subject is kept."""
        query = select(JobRow).order_by(JobRow.id.desc()).limit(max(1, min(limit, MAX_JOBS)))
        if before_id is not None:
            query = query.where(JobRow.id < clamp_integer(before_id))
        with self._database.read() as session:
            return tuple(_info(row) for row in session.scalars(query))

    def claim(self, kinds: frozenset[JobKind], owner: str, lease: float) -> Job | None:
        """See ``JobStore``. One UPDATE decides, so two runners never get the same job."""
        return self._claim(_due(kinds), {}, owner, lease)

    def claim_one(self, job_id: int, owner: str, lease: float) -> Job | None:
        """Claim this job if it may be claimed now, as ``claim`` does."""
        return self._claim(_due(None), {"job_id": clamp_integer(job_id)}, owner, lease)

    def due(self, limit: int = MAX_JOBS) -> tuple[DueJob, ...]:
        """The oldest jobs that may be claimed now."""
        with self._database.read() as session:
            rows = session.execute(_all_due(), {"now": time.time(), "limit": limit}).all()
        return tuple(DueJob(row.id, JobKind(row.kind), row.subject_id, row.fence) for row in rows)

    def get_due(self, job_id: int) -> DueJob | None:
        """The job, if it may be claimed now."""
        parameters = {"job_id": clamp_integer(job_id), "now": time.time()}
        with self._database.read() as session:
            if session.scalar(_due(None), parameters) is None:
                return None
            row = session.get(JobRow, job_id)
        return DueJob(row.id, JobKind(row.kind), row.subject_id, row.fence) if row else None

    def _claim(self, due: Select[int], parameters: dict[str, int], owner: str, lease: float) -> Job | None:
        now = time.time()
        with self._database.read() as session:
            # Most polls find nothing, so they do without the write lock.
            if session.scalar(due, {**parameters, "now": now}) is None:
                return None
        with self._database.write() as session:
            row = session.execute(
                update(JobRow)
                .where(JobRow.id == due.scalar_subquery())
                .values(
                    state=JobState.RUNNING.value,
                    owner=owner,
                    fence=JobRow.fence + 1,
                    attempts=JobRow.attempts + 1,
                    lease_until=now + lease,
                    started_at=now,
                )
                .returning(JobRow.id, JobRow.kind, JobRow.subject_id, JobRow.fence, JobRow.attempts)
                .execution_options(synchronize_session=False),
                {**parameters, "now": now},
            ).one_or_none()
        if row is None:
            return None
        return Job(row.id, JobKind(row.kind), row.subject_id, row.fence, row.attempts, now + lease)

    def renew(self, job: Job, lease: float) -> Job | None:
        """See ``JobStore``."""
        until = time.time() + lease
        if not self._change(job, lease_until=until):
            return None
        return Job(job.id, job.kind, job.subject_id, job.fence, job.attempts, until)

    def finish(self, job: Job, error: str = "") -> bool:
        """See ``JobStore``. Deletes older finished jobs of the same subject."""
        state = JobState.FAILED if error else JobState.DONE
        with self._database.write() as session:
            if not _update_claimed(session, job, state=state, message=error, finished_at=time.time()):
                return False
            session.execute(
                delete(JobRow).where(
                    JobRow.kind == job.kind,
                    JobRow.subject_id == job.subject_id,
                    JobRow.state.in_((JobState.DONE, JobState.FAILED)),
                    JobRow.id < job.id,
                )
            )
        return True

    def requeue(self, job: Job, delay: float = 0.0) -> bool:
        """See ``JobStore``."""
        return self._change(
            job, state=JobState.QUEUED, owner="", lease_until=None, not_before=time.time() + delay
        )

    def expire_all(self) -> int:
        """See ``JobStore``."""
        with self._database.write() as session:
            result = session.execute(
                update(JobRow).where(JobRow.state == JobState.RUNNING).values(lease_until=0.0)
            )
        assert isinstance(result, CursorResult)
        return result.rowcount

    def expire_of(self, is_dead: Callable[[str], bool]) -> int:
        """Expire the leases of owners that are certainly dead; return how many."""
        valid = (JobRow.state == JobState.RUNNING, JobRow.lease_until >= time.time())
        with self._database.read() as session:
            owners = session.scalars(select(JobRow.owner).where(*valid).distinct()).all()
        dead = [owner for owner in owners if is_dead(owner)]
        if not dead:
            return 0
        with self._database.write() as session:
            result = session.execute(
                update(JobRow)
                .where(JobRow.state == JobState.RUNNING, JobRow.owner.in_(dead))
                .values(lease_until=0.0)
            )
        assert isinstance(result, CursorResult)
        return result.rowcount

    def tick(self) -> int:
        """See ``JobStore``. Also keeps one row per backend and kind in the schedule."""
        from dashboard.models.schedules import JobTiming

        self._ensure_schedules()
        now = time.time()
        with self._database.read() as session:
            timings = {row.kind: Timing.parse(row.timing) for row in session.scalars(select(JobTiming))}
            off = select(JobTiming.kind).where(~JobTiming.enabled)
            due = session.execute(
                select(Schedule.id, Schedule.kind, Schedule.subject_id, Schedule.every, Schedule.next_run)
                .where(Schedule.next_run <= now, Schedule.kind.not_in(off))
                .limit(100)
            ).all()
        if not due:
            return 0
        turns = 0
        with self._database.write() as session:
            for row in due:
                taken = session.execute(
                    update(Schedule)
                    .where(Schedule.id == row.id, Schedule.next_run == row.next_run)
                    .values(
                        next_run=timings[row.kind].next_after(now) if row.kind in timings else now + row.every
                    )
                )
                assert isinstance(taken, CursorResult)
                if taken.rowcount:
                    enqueue(session, JobKind(row.kind), row.subject_id)
                    turns += 1
        return turns

    def _ensure_schedules(self) -> None:
        with self._database.read() as session:
            wanted = {(k.value, b) for b in session.scalars(select(Backend.id)) for k in INTERVALS}
            wanted |= {(k.value, 0) for k in INSTANCE_INTERVALS}
            have = {(s.kind, s.subject_id) for s in session.execute(_SCHEDULED)}
        if wanted == have:
            return
        with self._database.write() as session:
            for kind, subject in have - wanted:
                session.execute(delete(Schedule).where(Schedule.kind == kind, Schedule.subject_id == subject))
            have = {(s.kind, s.subject_id) for s in session.execute(_SCHEDULED)}
            for kind, subject in wanted - have:
                every = (INTERVALS | INSTANCE_INTERVALS)[JobKind(kind)]
                session.execute(
                    insert(Schedule).values(kind=kind, subject_id=subject, every=every, next_run=time.time())
                )

    def _change(self, job: Job, **values: object) -> bool:
        with self._database.write() as session:
            return _update_claimed(session, job, **values)


def _info(row: JobRow) -> JobInfo:
    return JobInfo(
        id=row.id,
        # By its name: the value in the database may be one of an earlier version.
        kind=JobKind(row.kind).name.lower(),
        subject_id=row.subject_id,
        state=JobState(row.state),
        attempts=row.attempts,
        message=row.message,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


_SCHEDULED = select(Schedule.kind, Schedule.subject_id)


def _update_claimed(session: Session, job: Job, **values: object) -> bool:
    result = session.execute(
        update(JobRow)
        .where(JobRow.id == job.id, JobRow.fence == job.fence, JobRow.state == JobState.RUNNING)
        .values(**values)
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


@cache
def _due(kinds: frozenset[JobKind] | None) -> Select[int]:
    """Return a query for the oldest job of these kinds that may be claimed at the parameter ``now``; without
    kinds, for the job with the parameter ``id``. A runner asks for it several times a second for each lane,
    and putting it together takes longer than running it."""
    which = JobRow.kind.in_([kind.value for kind in kinds]) if kinds else JobRow.id == bindparam("job_id")
    return select(JobRow.id).where(which, _may_be_claimed()).order_by(JobRow.id).limit(1)


@cache
def _all_due() -> Select[int, str, int, int]:
    columns = (JobRow.id, JobRow.kind, JobRow.subject_id, JobRow.fence)
    return select(*columns).where(_may_be_claimed()).order_by(JobRow.id).limit(bindparam("limit"))


def _may_be_claimed() -> ColumnElement[bool]:
    now = bindparam("now", type_=Float)
    other = aliased(JobRow)
    same_subject_is_running = exists().where(
        other.kind == JobRow.kind,
        other.subject_id == JobRow.subject_id,
        other.id != JobRow.id,
        other.state == JobState.RUNNING,
        other.lease_until >= now,
    )
    return and_(
        or_(
            and_(JobRow.state == JobState.QUEUED, JobRow.not_before <= now),
            and_(JobRow.state == JobState.RUNNING, JobRow.lease_until < now),
        ),
        ~same_subject_is_running,
    )
