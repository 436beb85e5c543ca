"""Whether every part of the console works, and how reachable backends were."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from dashboard import __version__
from dashboard.services.consoles.working import WorkingProcess
from dashboard.services.history.history_values import AnswerTimes, KeptTest, StateChange, Uptime
from dashboard.services.permissions import Permission
from dashboard.services.upkeep.readiness import Part
from dashboard.services.upkeep.upkeep import DatabaseFile, DiskSpace
from dashboard.web.api.routes import Resource
from dashboard.web.context import services

resource = Resource("Health", "Whether every part of the console works, and how reachable backends were.")

ROWS = 200


@dataclass(frozen=True, slots=True)
class ConsoleHealth:
    """The parts of the console. Times in seconds since the epoch; `heartbeat`: of the runner; `backup_due`:
    since when a backup should have been made."""

    version: str
    python: str
    parts: tuple[Part, ...]
    databases: tuple[DatabaseFile, ...]
    disks: tuple[DiskSpace, ...]
    runner_alive: bool
    heartbeat: float | None
    backup_at: float | None
    backup_due: float | None
    key_since: float | None


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a process does. `kind`: that of a job, or `carrier` for a part of the migration `subject_id`, of
    which `number` is the carrier's. `objects`: copied so far; `rate`: objects a second lately."""

    kind: str
    subject_id: int
    number: int
    started_at: float
    objects: int
    rate: float


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A console, runner, carrier or worker. `state`: working, idle, waiting (it takes over if the runner
    ends), stopping, refused (it takes no work; `message` says why), silent (no sign of life lately) or
    stopped. Times in seconds since the epoch, null if they are not known."""

    kind: str
    machine: str
    pid: int
    address: str
    version: str
    state: str
    started_at: float | None
    seen_at: float | None
    queues: tuple[str, ...]
    tasks: tuple[WorkerTask, ...]
    rate: float
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Processes:
    """All that work for this console."""

    processes: tuple[WorkerProcess, ...]


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Over which time."""

    window: Literal["24h", "30d", "90d"] = "24h"


@dataclass(frozen=True, slots=True)
class BackendHistory:
    """The past of a backend. `uptime_percent` is null without checks; `states` and `tests` newest first."""

    uptime: Uptime
    uptime_percent: float | None
    answer_times: AnswerTimes
    states: tuple[StateChange, ...]
    tests: tuple[KeptTest, ...]


@resource.route("GET", "/health", Permission.VIEW, returns=ConsoleHealth)
def health() -> ConsoleHealth:
    """Return how the console is.

    For a load balancer there is `/readyz`, for monitoring `/metrics`.
    """
    upkeep, runner = services().upkeep, services().runner
    return ConsoleHealth(
        __version__,
        sys.version.split()[0],
        services().readiness.parts(),
        upkeep.databases(),
        upkeep.disks(services().backends.list(limit=ROWS)),
        runner.is_alive(),
        runner.heartbeat(),
        upkeep.backup_at(),
        upkeep.backup_due_since(),
        upkeep.key_since(),
    )


@resource.route("GET", "/workers", Permission.VIEW, returns=Processes)
def workers() -> Processes:
    """Return who runs jobs and copies objects, on what, and when each gave its last sign of life."""
    return Processes(tuple(map(_process, services().working.list())))


def _process(each: WorkingProcess) -> WorkerProcess:
    tasks = (
        WorkerTask(task.kind, task.subject_id, task.number, task.started_at, task.objects, task.rate)
        for task in each.tasks
    )
    return WorkerProcess(
        each.kind.value,
        each.machine,
        each.pid,
        each.address,
        each.version,
        each.state,
        each.started_at,
        each.seen_at,
        each.queues,
        tuple(tasks),
        each.rate,
        each.message,
        each.remedy,
    )


@resource.route(
    "GET", "/backends/<name>/history", Permission.VIEW, query=HistoryQuery, returns=BackendHistory
)
def history(name: str, query: HistoryQuery) -> BackendHistory:
    """Return how reachable a backend was, how long it took to answer, and its last tests with their steps."""
    backend, past = services().backends.get(name), services().history
    uptime = past.uptime([backend.id], query.window)[backend.id]
    return BackendHistory(
        uptime,
        uptime.percent,
        past.answer_times(backend.id, query.window),
        past.states(backend.id),
        past.tests(backend.id),
    )
