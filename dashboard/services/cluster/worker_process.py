"""What a worker's process does when it gets a message. Knows nothing of Celery."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dashboard.errors import StowageError
from dashboard.jobs.attempting import attempt, record
from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import LEASE, Handler, Job, JobContext, JobKind, JobResult
from dashboard.services.cluster.job_routes import Routes
from dashboard.services.cluster.staying_alive import SignsOfLife
from dashboard.services.database import is_server_away
from dashboard.services.jobs import Jobs
from dashboard.services.keys import Keys
from dashboard.services.workers.worker_values import LIFE_SECONDS
from dashboard.services.workers.workers import CARRIER, Workers

log = logging.getLogger(__name__)

CARRY_SECONDS = 60.0
"""After which a carrier ends, and its run asks for another: what waits in the same queue has its turn."""


@dataclass(frozen=True, slots=True)
class Carry:
    """A request to carry for a run of a migration: see ``carrying.carrier_main.carry``."""

    migration_id: int
    fence: int
    number: int
    carriers: int


@dataclass(frozen=True, slots=True)
class Carrying:
    """What a carrier asks and tells while it carries. ``stop``: whether to end; ``may_write``: whether what
    it has claimed is still its own; ``watch`` gets the function that returns how many objects were copied."""

    stop: Callable[[], bool]
    may_write: Callable[[], bool]
    watch: Callable[[Callable[[], int]], None]


class Work:
    """One for each process. ``worker``: the id it is registered under; ``has_files``: whether it shares the
    console's instance folder; ``carry``: carries, and returns whether this process should be replaced;
    ``before`` and ``after`` are called around each task. Not thread-safe: one task at a time."""

    def __init__(
        self,
        worker: str,
        *,
        has_files: bool,
        jobs: Jobs,
        workers: Workers,
        routes: Routes,
        keys: Keys,
        handlers: Mapping[JobKind, Handler],
        carry: Callable[[Carry, Carrying], bool],
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        self._worker = worker
        self._has_files = has_files
        self._jobs = jobs
        self._workers = workers
        self._routes = routes
        self._keys = keys
        self._handlers = handlers
        self._carry = carry
        self._before = before
        self._after = after

    def look_at_job(self, job_id: int, stop: threading.Event) -> bool:
        """Do a job if it may be claimed, and nothing otherwise; return whether this process should be
        replaced, because threads of it hang. ``stop`` ends it, and it is queued again."""
        try:
            job = self._claim(job_id)
            if job is None:
                return False
            return self._do(job, stop)
        except StowageError as error:
            # The message was as good as lost: the dispatcher sends another.
            log.warning("Job %d could not be looked at: %s", job_id, error)
            return False

    def carry(self, request: Carry, stop: threading.Event) -> bool:
        """Carry for a run, if it still wants this carrier; return whether this process should be replaced."""
        try:
            if self._keys.state().sealed:
                return False
            self._before()
            task = self._workers.begin_task(
                self._worker, CARRIER, request.migration_id, fence=request.fence, number=request.number
            )
            if task is None:
                return False
            return self._carry_with(task, request, stop)
        except StowageError as error:
            # Its run notices that the task is gone, and takes back what it held.
            log.warning("Carrier %d of migration %d ends: %s", request.number, request.migration_id, error)
            return False

    def _carry_with(self, task: int, request: Carry, stop: threading.Event) -> bool:
        watched: list[Callable[[], int]] = []
        until = time.monotonic() + CARRY_SECONDS
        with SignsOfLife(self._workers, task, copied=lambda: sum(each() for each in watched)) as life:
            try:
                carrying = Carrying(
                    stop=lambda: stop.is_set() or time.monotonic() >= until,
                    may_write=lambda: not life.is_over,
                    watch=watched.append,
                )
                replace = self._carry(request, carrying)
            except Exception as error:
                # Its threads may still copy; the run takes back what it held when the process is gone.
                if is_server_away(error):
                    log.warning(
                        "Carrier %d of migration %d ends, and its rows go to others: "
                        "the database server does not answer",
                        *(request.number, request.migration_id),
                    )
                else:
                    log.exception("Carrier %d of migration %d failed", request.number, request.migration_id)
                replace = True
            if replace:
                life.leave_to_others()
            return replace

    def _claim(self, job_id: int) -> Job | None:
        if self._keys.state().sealed:
            return None
        due = self._jobs.get_due(job_id)
        if due is None:
            return None
        # A backend may have been changed since the message was sent.
        if not self._has_files and self._routes.of(due.kind, due.subject_id).local:
            return None
        return self._jobs.claim_one(job_id, this_process(), LEASE)

    def _do(self, job: Job, stop: threading.Event) -> bool:
        self._before()
        task = self._workers.begin_task(self._worker, job.kind, job.subject_id, fence=job.fence)
        if task is None:
            # This worker is taken for dead: it may begin nothing.
            self._jobs.requeue(job)
            return False
        # Its process ends itself before its lease does, and has to write nothing more by then.
        context = JobContext(job, stop, margin=LEASE - LIFE_SECONDS)

        def renew() -> None:
            if not context.lease_lost:
                context.on_renewal(self._jobs.renew(job, LEASE))

        handler = self._handlers[job.kind]
        with SignsOfLife(self._workers, task, copied=lambda: context.copied, renew=renew) as life:
            result = attempt(handler, context)
            if isinstance(result, JobResult) and result.aborted:
                # The claim stays until this process is gone, and with it whatever it was about to write.
                life.leave_to_others()
                return True
            replace = record(self._jobs, handler, job, result)
        self._after()
        return replace
