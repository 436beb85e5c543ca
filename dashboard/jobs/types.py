"""Job values, and the protocol of a job store. Times are seconds since the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from typing import Protocol

from dashboard.errors import StowageError

LEASE = 30.0
"""Seconds until a claim expires unless it is renewed."""
RENEW_EVERY = 5.0
"""Seconds between renewals: several may fail before the lease is lost."""
RESTART_CODE = 75
"""Exit code of a runner that asks to be restarted (EX_TEMPFAIL of sysexits.h)."""


class JobKind(StrEnum):
    """What a job does. The ``subject_id`` is a migration's for migration jobs, a backend's for all others.
    There is one ``UPLOADS``, ``FILES``, ``USAGE``, ``AUDIT``, ``BACKUP``, ``COPIES`` and ``NOTIFY`` for the
    whole instance, with subject 0."""

    MIGRATION = "migration"
    COUNT = "count"
    CHECK = "check"
    COMPARE = "compare"
    WRITE_BACK = "send_home"
    UPLOADS = "uploads"
    """Check, process and store received uploads; sweep what is left of failed ones."""
    BACKUP = "backup"
    """Back up the console's own databases, if that is due or was requested."""
    FILES = "files"
    """Requested deletions of old files, expired deletions that can no longer be undone, and thumbnails of
    files that are gone."""
    USAGE = "usage"
    """Sum up the catalogue for the Usage page."""
    AUDIT = "audit"
    """Check the chain of the audit log, and remove entries that are too old."""
    COPIES = "copies"
    """Begin the scheduled copies that are due."""
    NOTIFY = "notify"
    """Tell the channels of notifications what begins, ends and happens."""


class JobState(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. ``fence`` increases with every claim; writes with an older fence are refused."""

    id: int
    kind: JobKind
    subject_id: int
    fence: int
    attempts: int
    lease_until: float


class JobStore(Protocol):
    """Durable jobs. Every method is one short transaction. Thread-safe.

    Methods raise a retryable ``StowageError`` while the store cannot be used (database locked, disk full).
    """

    def claim(self, kinds: frozenset[JobKind], owner: str, lease: float) -> Job | None:
        """Claim the oldest job that is due and either queued or under an expired lease.

        Atomic: only one of several callers gets it. Never claims a job while another job of the same kind
        and subject runs under a valid lease.
        """
        ...

    def renew(self, job: Job, lease: float) -> Job | None:
        """Return the job with a new deadline, or None if another runner has claimed it: then stop."""
        ...

    def finish(self, job: Job, error: str = "") -> bool:
        """Mark the job done, or failed with ``error``. Changes nothing and returns False if reclaimed."""
        ...

    def requeue(self, job: Job, delay: float = 0.0) -> bool:
        """Requeue the job, due in ``delay`` seconds. Changes nothing and returns False if reclaimed."""
        ...

    def expire_all(self) -> int:
        """Expire every lease now. Only for a caller that is certainly the only runner."""
        ...

    def tick(self) -> int:
        """Enqueue the scheduled jobs that are due, each exactly once however many runners call this."""
        ...


class JobContext:
    """A running job's view of its runner: whether to stop, whether its lease is valid. Thread-safe.

    ``margin``: seconds before the end of the lease from which on it counts as lost."""

    def __init__(self, job: Job, stop: Event, *, margin: float = 0.0) -> None:
        self._job = job
        self._margin = margin
        self._stop = stop
        self._lease_lost = Event()
        self.copied = 0
        """How many objects this job has copied so far; other threads may read it."""
        self._deadline = self._end_of(job)

    @property
    def job(self) -> Job:
        """The job as claimed."""
        return self._job

    @property
    def stop(self) -> Event:
        """Set when the runner shuts down. Independent of the lease."""
        return self._stop

    @property
    def lease_lost(self) -> bool:
        """Whether the lease has expired, so that another runner may have the job: write nothing more."""
        # The deadline covers a process that was suspended until after its lease had expired.
        return self._lease_lost.is_set() or time.monotonic() >= self._deadline

    def should_stop(self) -> bool:
        """Return whether to stop soon: the runner is shutting down, or the lease is lost."""
        return self._stop.is_set() or self.lease_lost

    def wait(self, seconds: float) -> bool:
        """Sleep, waking up at once when the runner shuts down. Returns whether to stop."""
        self._stop.wait(seconds)
        return self.should_stop()

    def on_renewal(self, job: Job | None) -> None:
        """Record a renewed lease, or with None that it was refused."""
        if job is None:
            self._lease_lost.set()
        else:
            self._deadline = self._end_of(job)

    def _end_of(self, job: Job) -> float:
        return time.monotonic() + max(0.0, job.lease_until - time.time() - self._margin)


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended.

    ``requeue``: it is not finished and must run again (it was stopped). ``restart``: threads are still
    blocked in network calls, so this process should be replaced. ``aborted``: it was cut short, by another
    runner's claim or because the store was away, and threads of it may still end what they are in; where a
    process does one job at a time, others get it when that process is gone.
    """

    requeue: bool = False
    restart: bool = False
    aborted: bool = False


DONE = JobResult()


@dataclass(frozen=True, slots=True)
class Handler:
    """Runs one kind of job. Must be idempotent: after a crash the job runs again.

    ``run`` does the work and calls ``should_stop`` often. ``failed`` is called if ``run`` raised, to record
    the error with the subject: it must check that the claim is still current, and may be called for a
    subject that has been deleted.
    """

    run: Callable[[JobContext], JobResult]
    failed: Callable[[Job, StowageError], None]


@dataclass(frozen=True, slots=True)
class Lane:
    """Kinds of jobs that share a fixed number of threads, so that short jobs never wait for long ones."""

    kinds: frozenset[JobKind]
    threads: int


LANES = (
    Lane(frozenset({JobKind.MIGRATION}), 2),
    Lane(frozenset({JobKind.CHECK}), 2),
    Lane(frozenset({JobKind.COUNT, JobKind.COMPARE}), 2),
    Lane(frozenset({JobKind.WRITE_BACK}), 2),
    Lane(frozenset({JobKind.UPLOADS}), 1),
    Lane(frozenset({JobKind.FILES}), 1),
    Lane(frozenset({JobKind.BACKUP}), 1),
    Lane(frozenset({JobKind.USAGE, JobKind.AUDIT}), 1),
    Lane(frozenset({JobKind.COPIES}), 1),
    Lane(frozenset({JobKind.NOTIFY}), 1),
)
