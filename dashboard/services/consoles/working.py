"""Who works: consoles, runners, carriers and workers, on what, since when and how fast, in one list."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from dashboard.jobs.types import JobState
from dashboard.migration.types import CarrierProgress, Progress
from dashboard.services.consoles.console_processes import RUNNER, WEB, Processes, ProcessInfo
from dashboard.services.database import Database
from dashboard.services.jobs import JobInfo, Jobs
from dashboard.services.workers.worker_values import TaskInfo, WorkerInfo
from dashboard.services.workers.workers import CARRIER, Workers

MAX_JOBS = 100
SILENT_SECONDS = 30.0
"""Seconds without a sign of life after which a runner that holds its lock counts as silent."""


class ProcessKind(StrEnum):
    """A ``CONSOLE`` answers people and programs; a ``RUNNER`` runs jobs; a ``CARRIER`` copies for a migration
    of the runner's; a ``WORKER`` takes tasks from the queues."""

    CONSOLE = "console"
    RUNNER = "runner"
    CARRIER = "carrier"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class WorkingProcess:
    """A process and what it works on. ``state``: working, idle, waiting (it takes over if the runner ends),
    stopping, refused (it takes no work; ``message`` and ``remedy`` say why), silent (no sign of life lately)
    or stopped. Times in seconds since the epoch, None if they are not known. ``rate``: objects a second."""

    kind: ProcessKind
    machine: str
    pid: int
    state: str
    started_at: float | None
    seen_at: float | None
    tasks: tuple[TaskInfo, ...] = ()
    queues: tuple[str, ...] = ()
    version: str = ""
    address: str = ""
    message: str = ""
    remedy: str = ""

    @property
    def rate(self) -> float:
        """Objects a second, of all its tasks."""
        return sum(task.rate for task in self.tasks)

    @property
    def is_available(self) -> bool:
        """Whether it can be relied on."""
        return self.state in ("working", "idle", "waiting", "stopping")


class HasRunnerLock(Protocol):
    """See ``services.runner.Runner``, which is built on this package."""

    def is_alive(self) -> bool:
        """Whether some process is the runner now."""
        ...

    def heartbeat(self) -> float | None:
        """When it last gave a sign of life."""
        ...

    def pid(self) -> int | None:
        """Its process id, if it is on this machine and that is known."""
        ...


class Working:
    """Thread-safe. Only reads, and asks no network but the database."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        runner: HasRunnerLock,
        workers: Workers,
        progress: Callable[[int], Progress],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._runner = runner
        self._workers = workers
        self._processes = Processes(database)
        self._progress = progress

    def list(self) -> tuple[WorkingProcess, ...]:
        """All: runners, carriers, workers, consoles. Those that went silent are listed for a while."""
        workers = self._workers.list()
        elsewhere = {(task.kind, task.subject_id) for each in workers for task in each.tasks}
        running = [job for job in self._jobs.list(limit=MAX_JOBS) if job.state is JobState.RUNNING]
        own = [job for job in running if (job.kind, job.subject_id) not in elsewhere]
        progress = {job.subject_id: self._progress(job.subject_id) for job in own if job.kind == "migration"}
        tasks = tuple(_task(job, progress.get(job.subject_id)) for job in own)
        processes = self._processes.list()
        return (
            *self._runners(processes, tasks),
            *(_carrier(id, each) for id, one in progress.items() for each in one.carriers if each.number),
            *map(_worker, workers),
            *(_console(each) for each in processes if each.role == WEB),
        )

    def _runners(
        self, processes: tuple[ProcessInfo, ...], tasks: tuple[TaskInfo, ...]
    ) -> tuple[WorkingProcess, ...]:
        if self._database.on_server:
            found = [each for each in processes if each.role == RUNNER]
            return tuple(_runner(each, tasks if each.active and not each.late else ()) for each in found)
        alive, seen = self._runner.is_alive(), self._runner.heartbeat()
        if seen is None and not alive:
            return ()
        silent = seen is not None and time.time() - seen > SILENT_SECONDS
        state = "stopped" if not alive else "silent" if silent else "working" if tasks else "idle"
        return (
            WorkingProcess(
                ProcessKind.RUNNER,
                platform.node(),
                self._runner.pid() or 0,
                state,
                None,
                seen,
                tasks if alive else (),
            ),
        )


def _task(job: JobInfo, progress: Progress | None) -> TaskInfo:
    task = TaskInfo(job.kind, job.subject_id, 0, 0, job.started_at or job.created_at, 0, 0.0)
    if progress is None:
        return task
    own = next((each for each in progress.carriers if not each.number), None)
    rate = own.rate_objects if own else progress.rate_objects
    copied = own.copied if own else progress.counters.copied
    return replace(task, objects=copied, rate=rate)


def _runner(found: ProcessInfo, tasks: tuple[TaskInfo, ...]) -> WorkingProcess:
    state = "working" if tasks else "idle" if found.active else "waiting"
    return _process(ProcessKind.RUNNER, found, "silent" if found.late else state, tasks)


def _console(found: ProcessInfo) -> WorkingProcess:
    return _process(ProcessKind.CONSOLE, found, "silent" if found.late else "working", ())


def _process(
    kind: ProcessKind, found: ProcessInfo, state: str, tasks: tuple[TaskInfo, ...]
) -> WorkingProcess:
    # By this machine's clock, with which pages compare it.
    seen = time.time() - found.age
    return WorkingProcess(
        kind,
        found.host,
        found.pid,
        state,
        found.started_at + seen - found.seen_at,
        seen,
        tasks,
        version=found.version,
        address=found.address,
    )


def _carrier(migration_id: int, found: CarrierProgress) -> WorkingProcess:
    task = TaskInfo(
        CARRIER,
        migration_id,
        found.number,
        found.pid,
        found.since,
        found.copied,
        found.rate_objects,
    )
    return WorkingProcess(
        ProcessKind.CARRIER, found.machine, found.pid, "working", found.since, None, (task,)
    )


def _worker(found: WorkerInfo) -> WorkingProcess:
    return WorkingProcess(
        ProcessKind.WORKER,
        found.machine,
        found.pid,
        found.state.value,
        found.started_at,
        found.beat_at,
        found.tasks,
        found.queues,
        found.version,
        message=found.message,
        remedy=found.remedy,
    )
