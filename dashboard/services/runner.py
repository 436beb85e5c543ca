"""The runner: the one process of an instance that runs jobs, and commands that wait for a job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from dashboard.errors import StowageError
from dashboard.jobs.loop import RunnerLoop
from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import DONE, Handler, Job, JobContext, JobKind, JobResult
from dashboard.migration.types import Progress, State
from dashboard.services.consoles.runner_locks import HoldsRunnerLock, runner_lock
from dashboard.services.database import Database
from dashboard.services.environment.live_settings import LiveSettings

if TYPE_CHECKING:
    from dashboard.services.audit import AuditLog
    from dashboard.services.backends.checks import Checks
    from dashboard.services.fallback.write_back import WriteBack
    from dashboard.services.files.changing.files_job import FilesJob
    from dashboard.services.files.uploads import Uploads
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
    from dashboard.services.workers.workers import Workers

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BEAT_SECONDS = 5.0
"""Seconds between two signs of life."""
POLL_SECONDS = 0.25
"""Seconds between two checks of what a command waits for."""


class Work(Protocol):
    """What does the jobs. Each is composed when the first of its jobs begins."""

    @property
    def jobs(self) -> Jobs: ...

    @property
    def keys(self) -> Keys: ...

    @property
    def checks(self) -> Checks: ...

    @property
    def migrations(self) -> Migrations: ...

    @property
    def migration_handler(self) -> MigrationHandler: ...

    @property
    def unfinished_uploads(self) -> UnfinishedUploads: ...

    @property
    def activation(self) -> Activation: ...

    @property
    def write_back(self) -> WriteBack: ...

    @property
    def uploads(self) -> Uploads: ...

    @property
    def files_job(self) -> FilesJob: ...

    @property
    def upkeep(self) -> Upkeep: ...

    @property
    def audit(self) -> AuditLog: ...

    @property
    def usage(self) -> UsageServices: ...

    @property
    def schedules(self) -> Schedules: ...

    @property
    def notifications(self) -> Notifications: ...

    @property
    def workers(self) -> Workers: ...


class Runner:
    """One process at a time is the runner of an instance: it holds the lock and runs all jobs."""

    def __init__(self, live: LiveSettings, database: Database, work: Work) -> None:
        self._live = live
        self._database = database
        self._work = work
        self._beat_at = -BEAT_SECONDS
        self._watched = self._new_lock()
        self._loop: RunnerLoop | None = None

    def heartbeat(self) -> float | None:
        """When a runner last gave a sign of life, in seconds since the epoch; None if there never was one."""
        return self._watched.heartbeat()

    def pid(self) -> int | None:
        """The runner's process id, if this is its machine and that is known."""
        return self._watched.pid()

    def is_alive(self) -> bool:
        """Whether some process is the runner now."""
        return self._watched.held()

    def _new_lock(self) -> HoldsRunnerLock:
        return runner_lock(self._live.started.instance, self._database)

    def run_forever(
        self,
        stop: threading.Event,
        ended: Callable[[Job], None] = lambda job: None,
        urgent: frozenset[JobKind] = frozenset(),
    ) -> int:
        """Become the runner as soon as no other process is; run jobs until ``stop``; return the exit code.

        ``ended`` is called with each finished job, on that job's thread, before the next one starts. For
        a few seconds only ``urgent`` jobs are started, if any kind is.
        ``RESTART_CODE`` requests a new process. Threads may still be blocked: exit the process.
        """
        lock = self._new_lock()
        while not lock.acquire():
            if stop.wait(lock.retry_seconds):
                lock.release()
                return 0
        try:
            return self._run_loop(lock, stop, ended, urgent)
        finally:
            lock.release()

    def run_until(
        self,
        finished: Callable[[], bool],
        *,
        last: Callable[[Job], bool] = lambda job: False,
        urgent: frozenset[JobKind] = frozenset(),
    ) -> None:
        """Wait until ``finished`` returns true. It is called about four times a second on this thread; an
        exception in it (``KeyboardInterrupt`` too) ends the wait.

        If no other process is the runner, this one is meanwhile; otherwise it only watches. After a job for
        which ``last`` is true, this process starts no other. ``urgent``: see :meth:`run_forever`.
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
                        target=self.run_forever, args=(stop, note, urgent), name="runner", daemon=True
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
        self._work.keys.require_unsealed()
        progress = self._work.migrations.progress(migration_id)

        def finished() -> bool:
            nonlocal progress
            progress = self._work.migrations.progress(migration_id)
            on_progress(progress)
            return progress.state.final or progress.state in (State.READY, State.PAUSED)

        # Jobs queued behind it would only delay the person who waits; the next runner runs them.
        self.run_until(
            finished,
            last=lambda job: job.kind is JobKind.MIGRATION and job.subject_id == migration_id,
            urgent=frozenset({JobKind.MIGRATION}),
        )
        return progress

    def _run_loop(
        self,
        lock: HoldsRunnerLock,
        stop: threading.Event,
        ended: Callable[[Job], None],
        urgent: frozenset[JobKind],
    ) -> int:
        if self._live.started.broker_url:
            return self._dispatch(lock, self._live.started.broker_url, stop)
        lock.expire(self._work.jobs)
        self._live.publish(self._database)
        self._loop = RunnerLoop(
            self._work.jobs,
            self.handlers(),
            owner=this_process(),
            ready=lambda: self._is_ready(lock),
            ended=ended,
            urgent=urgent,
        )
        return self._loop.run(stop)

    def _dispatch(self, lock: HoldsRunnerLock, broker_url: str, stop: threading.Event) -> int:
        # Only where there is a broker.
        from dashboard.services.cluster.dispatcher import Dispatcher
        from dashboard.services.cluster.job_routes import Routes
        from dashboard.services.cluster.messages import JobMessages

        self._live.publish(self._database)
        sender = JobMessages(broker_url)
        try:
            return Dispatcher(
                self._work.jobs,
                self._work.workers,
                Routes(self._database),
                sender,
                ready=lambda: self._is_ready(lock),
            ).run(stop)
        finally:
            sender.close()

    def _is_ready(self, lock: HoldsRunnerLock) -> bool:
        # The loop asks this several times a second.
        if not lock.keep():
            if lock.taken and self._loop is not None:
                log.warning("Another process has become the runner; this one ends its jobs.")
                self._loop.restart()
            return False
        if time.monotonic() - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            lock.beat()
            lock.expire(self._work.jobs)
        if self._live.poll():
            self._live.publish(self._database)
        return not self._work.keys.state().sealed

    def handlers(self) -> Mapping[JobKind, Handler]:
        """What does the jobs of each kind."""
        work = self._work
        return {
            JobKind.MIGRATION: Handler(
                _composed(lambda: work.migration_handler.run),
                _composed(lambda: work.migration_handler.failed),
            ),
            JobKind.CHECK: Handler(self._check, _ignore),
            JobKind.COUNT: Handler(self._count, _ignore),
            JobKind.COMPARE: Handler(self._compare, _composed(lambda: work.activation.failed)),
            JobKind.WRITE_BACK: Handler(self._run_write_back, _ignore),
            JobKind.UPLOADS: Handler(_composed(lambda: work.uploads.processing.run), _ignore),
            JobKind.FILES: Handler(self._run_files, _ignore),
            JobKind.USAGE: Handler(_composed(lambda: work.usage.run), _ignore),
            JobKind.AUDIT: Handler(_composed(lambda: work.audit.run), _ignore),
            JobKind.BACKUP: Handler(_composed(lambda: work.schedules.backups.run), _ignore),
            JobKind.COPIES: Handler(_composed(lambda: work.schedules.starts.run), _ignore),
            JobKind.NOTIFY: Handler(_composed(lambda: work.notifications.run), _ignore),
        }

    def _check(self, context: JobContext) -> JobResult:
        if self._work.checks.check_backend(context.job.subject_id):
            self._work.write_back.begin(context.job.subject_id)
        return DONE

    def _run_write_back(self, context: JobContext) -> JobResult:
        return JobResult(requeue=not self._work.write_back.run(context.job.subject_id, context.should_stop))

    def _run_files(self, context: JobContext) -> JobResult:
        # Hourly, of which one turn a day looks for damage.
        self._work.upkeep.check_databases()
        self._work.schedules.cleanup.run(context.should_stop)
        self._work.checks.remove_test_objects(context.should_stop)
        return self._work.files_job.run(context)

    def _count(self, context: JobContext) -> JobResult:
        finished = self._work.checks.count_backend(context.job.subject_id, context.should_stop)
        if finished:
            self._work.unfinished_uploads.sweep(context.job.subject_id)
            self._work.usage.summing_up.backend(context.job.subject_id)
        return JobResult(requeue=not finished)

    def _compare(self, context: JobContext) -> JobResult:
        return JobResult(requeue=not self._work.activation.run(context.job, context.should_stop))


def _ignore(job: Job, error: StowageError) -> None:
    """Do nothing: the loop has logged it, and the backend's card shows the last health check."""


def _composed(find: Callable[[], Callable[P, R]]) -> Callable[P, R]:
    """The method of a service that is composed when it is called."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return find()(*args, **kwargs)

    return call
