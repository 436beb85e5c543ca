"""The runner: the one process of an instance that runs jobs, and commands that wait for a job."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard.errors import StowageError
from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.jobs.loop import RunnerLoop
from dashboard.jobs.types import DONE, Handler, Job, JobContext, JobKind, JobResult
from dashboard.migration.types import Progress, State
from dashboard.services.audit import AuditLog
from dashboard.services.backends.checks import Checks
from dashboard.services.database import Database
from dashboard.services.environment.live_settings import LiveSettings
from dashboard.services.fallback.write_back import WriteBack
from dashboard.services.files.changing.files_job import FilesJob
from dashboard.services.files.receiving.processing import Processing
from dashboard.services.jobs import Jobs
from dashboard.services.keys import Keys
from dashboard.services.migrations.job_handler import MigrationHandler
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.migrations.unfinished_uploads import UnfinishedUploads
from dashboard.services.notifications.notifications import Notifications
from dashboard.services.schedules.schedule_services import Schedules
from dashboard.services.switching.activation import Activation
from dashboard.services.upkeep.upkeep import Upkeep
from dashboard.services.usage.usage_services import UsageServices

RETRY_SECONDS = 0.2
"""Seconds between two attempts to become the runner."""
BEAT_SECONDS = 5.0
"""Seconds between two signs of life."""
POLL_SECONDS = 0.25
"""Seconds between two checks of what a command waits for."""


@dataclass(frozen=True, slots=True)
class MigrationWork:
    """What the runner needs for migrations."""

    migrations: Migrations
    handler: MigrationHandler
    unfinished_uploads: UnfinishedUploads


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What the console does for itself."""

    upkeep: Upkeep
    audit: AuditLog
    usage: UsageServices
    schedules: Schedules
    notifications: Notifications


class Runner:
    """One process at a time is the runner of an instance: it holds the lock and runs all jobs."""

    def __init__(
        self,
        live: LiveSettings,
        database: Database,
        *,
        jobs: Jobs,
        keys: Keys,
        checks: Checks,
        work: MigrationWork,
        activation: Activation,
        write_back: WriteBack,
        uploads: Processing,
        files: FilesJob,
        housekeeping: Housekeeping,
    ) -> None:
        self._housekeeping = housekeeping
        self._beat_at = -BEAT_SECONDS
        self._live = live
        self._database = database
        self._lock_path = live.started.instance / LOCK_FILE
        self._jobs = jobs
        self._keys = keys
        self._checks = checks
        self._migrations = work.migrations
        self._work = work
        self._activation = activation
        self._write_back = write_back
        self._uploads = uploads
        self._files = files
        self._loop: RunnerLoop | None = None

    def heartbeat(self) -> float | None:
        """When a runner last gave a sign of life, in seconds since the epoch; None if there never was one."""
        try:
            found = self._lock_path.stat()
        except OSError:
            return None
        # Looking whether there is a runner makes the file; only a runner writes its number into it.
        return found.st_mtime if found.st_size else None

    def is_alive(self) -> bool:
        """Whether some process is the runner now."""
        return RunnerLock(self._lock_path).held()

    def run_forever(self, stop: threading.Event, ended: Callable[[Job], None] = lambda job: None) -> int:
        """Become the runner as soon as no other process is; run jobs until ``stop``; return the exit code.

        ``ended`` is called with each finished job, on that job's thread, before the next one starts.
        ``RESTART_CODE`` requests a new process. Threads may still be blocked: exit the process.
        """
        lock = RunnerLock(self._lock_path)
        while not lock.acquire():
            if stop.wait(RETRY_SECONDS):
                return 0
        try:
            return self._run_loop(stop, ended)
        finally:
            lock.release()

    def run_until(
        self, finished: Callable[[], bool], *, last: Callable[[Job], bool] = lambda job: False
    ) -> None:
        """Wait until ``finished`` returns true. It is called about four times a second on this thread; an
        exception in it (``KeyboardInterrupt`` too) ends the wait.

        If no other process is the runner, this one is meanwhile; otherwise it only watches. After a job for
        which ``last`` is true, this process starts no other.
        """
        stop, ended = threading.Event(), threading.Event()
        thread: threading.Thread | None = None

        def note(job: Job) -> None:
            if last(job):
                stop.set()
            ended.set()

        try:
            while not finished():
                # Not while another process is: this one would only wait for the lock.
                if (thread is None or not thread.is_alive()) and not self.is_alive():
                    stop.clear()
                    thread = threading.Thread(
                        target=self.run_forever, args=(stop, note), name="runner", daemon=True
                    )
                    thread.start()
                ended.wait(POLL_SECONDS)
                ended.clear()
        finally:
            stop.set()
            if self._loop is not None:
                self._loop.nudge()
            if thread is not None:
                thread.join()

    def run_job_until_final(self, migration_id: int, on_progress: Callable[[Progress], None]) -> Progress:
        """Wait until a migration is final, paused, or ready and waiting for approval; see :meth:`run_until`.

        ``on_progress`` is called at each check. If it raises, the migration continues as soon as there is a
        runner. Raises ``SEALED`` and ``NOT_FOUND``.
        """
        self._keys.require_unsealed()
        progress = self._migrations.progress(migration_id)

        def finished() -> bool:
            nonlocal progress
            progress = self._migrations.progress(migration_id)
            on_progress(progress)
            return progress.state.final or progress.state in (State.READY, State.PAUSED)

        # Jobs queued behind it would only delay the person who waits; the next runner runs them.
        self.run_until(
            finished, last=lambda job: job.kind is JobKind.MIGRATION and job.subject_id == migration_id
        )
        return progress

    def _run_loop(self, stop: threading.Event, ended: Callable[[Job], None]) -> int:
        # Owners of older leases are dead: this process has the lock.
        self._jobs.expire_all()
        self._live.publish(self._database)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self._loop = RunnerLoop(
            self._jobs, self._handlers(), owner=owner[-64:], ready=self._is_unsealed, ended=ended
        )
        return self._loop.run(stop)

    def _is_unsealed(self) -> bool:
        # The loop asks this several times a second.
        if time.monotonic() - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            os.utime(self._lock_path)
        if self._live.poll():
            self._live.publish(self._database)
        return not self._keys.state().sealed

    def _handlers(self) -> Mapping[JobKind, Handler]:
        return {
            JobKind.MIGRATION: Handler(self._work.handler.run, self._work.handler.failed),
            JobKind.CHECK: Handler(self._check, _ignore),
            JobKind.COUNT: Handler(self._count, _ignore),
            JobKind.COMPARE: Handler(self._compare, self._activation.failed),
            JobKind.WRITE_BACK: Handler(self._run_write_back, _ignore),
            JobKind.UPLOADS: Handler(self._uploads.run, _ignore),
            JobKind.FILES: Handler(self._run_files, _ignore),
            JobKind.USAGE: Handler(self._housekeeping.usage.run, _ignore),
            JobKind.AUDIT: Handler(self._housekeeping.audit.run, _ignore),
            JobKind.BACKUP: Handler(self._housekeeping.schedules.backups.run, _ignore),
            JobKind.COPIES: Handler(self._housekeeping.schedules.starts.run, _ignore),
            JobKind.NOTIFY: Handler(self._housekeeping.notifications.run, _ignore),
        }

    def _check(self, context: JobContext) -> JobResult:
        if self._checks.check_backend(context.job.subject_id):
            self._write_back.begin(context.job.subject_id)
        return DONE

    def _run_write_back(self, context: JobContext) -> JobResult:
        return JobResult(requeue=not self._write_back.run(context.job.subject_id, context.should_stop))

    def _run_files(self, context: JobContext) -> JobResult:
        # Hourly, of which one turn a day looks for damage.
        self._housekeeping.upkeep.check_databases()
        self._housekeeping.schedules.cleanup.run(context.should_stop)
        self._checks.remove_test_objects(context.should_stop)
        return self._files.run(context)

    def _count(self, context: JobContext) -> JobResult:
        finished = self._checks.count_backend(context.job.subject_id, context.should_stop)
        if finished:
            self._work.unfinished_uploads.sweep(context.job.subject_id)
            self._housekeeping.usage.summing_up.backend(context.job.subject_id)
        return JobResult(requeue=not finished)

    def _compare(self, context: JobContext) -> JobResult:
        return JobResult(requeue=not self._activation.run(context.job, context.should_stop))


def _ignore(job: Job, error: StowageError) -> None:
    """Do nothing: the loop has logged it, and the backend's card shows the last health check."""
