"""Whether every part of the console works, and how reachable backends were."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from dashboard import __version__
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
