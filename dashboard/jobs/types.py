"""What a job is, and what a store of jobs promises. Times are seconds since the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Event
from typing import Protocol

from dashboard.errors import StowageError

LEASE = 30.0
"""Seconds a claim holds without being renewed."""
RENEW_EVERY = 5.0
"""Seconds between renewals: several may fail before a lease is lost."""
RESTART_CODE = 75
"""Exit code of a runner that wants to be started again (EX_TEMPFAIL of sysexits.h)."""


class JobKind(StrEnum):
    """What a job does; ``subject_id`` of a migration job is a migration, of the others a backend."""

    MIGRATION = "migration"
    COUNT = "count"
    CHECK = "check"
    COMPARE = "compare"
    SEND_HOME = "send_home"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. ``fence`` rises with every claim: a write with an older one is refused."""

    id: int
    kind: JobKind
    subject_id: int
    fence: int
    attempts: int
    lease_until: float


class JobStore(Protocol):
    """Jobs as rows. Every method is one short transaction and safe to call from many threads.

    Methods raise a retryable ``StowageError`` while the store cannot be used (locked, disk full).
    """

    def claim(self, kinds: frozenset[JobKind], owner: str, lease: float) -> Job | None:
        """Take the oldest job that is due and either queued or left behind by an expired lease.

        Atomic: of several callers one gets it. Never takes a job while another one of the same kind
        and subject runs under a live lease.
        """
        ...

    def renew(self, job: Job, lease: float) -> Job | None:
        """The job with a new deadline, or None when it was taken over: stop working on it."""
        ...

    def finish(self, job: Job, error: str = "") -> bool:
        """Mark it done, or failed with a sentence. False, and no change, when it was taken over."""
        ...

    def requeue(self, job: Job, delay: float = 0.0) -> bool:
        """Put it back, due in ``delay`` seconds. False, and no change, when it was taken over."""
        ...

    def expire_all(self) -> int:
        """Let every lease run out now. Only for a caller who knows to be the only runner."""
        ...

    def tick(self) -> int:
        """Enqueue what the schedule says is due, each turn once however many callers tick."""
        ...


class JobContext:
    """What a running job knows of its runner. Thread-safe."""

    def __init__(self, job: Job, stop: Event) -> None:
        self._job = job
        self._stop = stop
        self._lost = Event()
        self._deadline = time.monotonic() + max(0.0, job.lease_until - time.time())

    @property
    def job(self) -> Job:
        """The job as claimed."""
        return self._job

    @property
    def stop(self) -> Event:
        """Set when the runner goes down; says nothing of the lease."""
        return self._stop

    @property
    def lost(self) -> bool:
        """Whether the lease is gone, so that someone else may be at work: write nothing more."""
        # The deadline covers a process that was suspended and woke up after its lease had run out.
        return self._lost.is_set() or time.monotonic() >= self._deadline

    def should_stop(self) -> bool:
        """Whether to drop the work soon: the runner is going down, or the lease is lost."""
        return self._stop.is_set() or self.lost

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake up at once when the runner is going down; whether to stop."""
        self._stop.wait(seconds)
        return self.should_stop()

    def renewed(self, job: Job | None) -> None:
        """Take note of a renewal, or of its refusal."""
        if job is None:
            self._lost.set()
        else:
            self._deadline = time.monotonic() + max(0.0, job.lease_until - time.time())


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a handler left its job.

    ``requeue``: not finished, to be taken up again (it was told to stop). ``restart``: threads are
    still blocked in the network, so this process wants to be replaced.
    """

    requeue: bool = False
    restart: bool = False


DONE = Verdict()


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of job is done. Must be idempotent: after a crash the job runs again.

    ``run`` does the work and asks ``should_stop`` often. ``failed`` is told when ``run`` raised, to
    record the sentence with the subject: it checks that the claim is still the current one, and may be
    called for a subject that is gone.
    """

    run: Callable[[JobContext], Verdict]
    failed: Callable[[Job, StowageError], None]


@dataclass(frozen=True, slots=True)
class Lane:
    """Kinds of jobs that share a bounded number of threads, so that short ones never wait for long ones."""

    kinds: frozenset[JobKind]
    threads: int


LANES = (
    Lane(frozenset({JobKind.MIGRATION}), 2),
    Lane(frozenset({JobKind.CHECK}), 2),
    Lane(frozenset({JobKind.COUNT, JobKind.COMPARE}), 2),
    Lane(frozenset({JobKind.SEND_HOME}), 2),
)
