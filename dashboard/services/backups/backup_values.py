"""Backups of the console, as pages and commands see them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dashboard.errors import InvalidInput

FOLDER = "backups"
"""In the instance folder: where backups go that go to no backend."""
PREFIX = "stowage-backups/"
"""Of the keys of backups in a backend."""
EVERY_HOURS = (1, 6, 12, 24, 168)
MAX_KEPT = 365


class BackupState(StrEnum):
    """``REMOVED``: it was deleted because enough newer ones are there."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class BackupSchedule:
    """When backups are made, where they go, and how many are kept. ``backend``: a name, or empty for the
    folder ``backups`` of the instance."""

    enabled: bool = False
    every_hours: int = 24
    keep: int = 14
    backend: str = ""

    def __post_init__(self) -> None:
        if self.every_hours not in EVERY_HOURS:
            raise InvalidInput("every_hours", "Backups are made every 1, 6, 12, 24 or 168 hours.")
        if not 1 <= self.keep <= MAX_KEPT:
            raise InvalidInput("keep", f"Between 1 and {MAX_KEPT} backups can be kept.")


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One backup, or the attempt. ``size`` in bytes; times in seconds since the epoch."""

    id: int
    backend: str
    key: str
    state: BackupState
    requested_by: str
    created_at: float
    finished_at: float | None
    size: int | None
    sha256: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """``newest``: the newest complete one. ``overdue``: whether there should be a newer one. ``next_at``:
    when the next is due, None if none is planned. ``last_failure``: the last attempt, if it failed."""

    schedule: BackupSchedule
    newest: BackupInfo | None
    overdue: bool
    next_at: float | None
    last_failure: BackupInfo | None
