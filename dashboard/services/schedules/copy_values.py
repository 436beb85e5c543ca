"""Scheduled copies, as pages, the API and commands see them. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dashboard.errors import InvalidInput
from dashboard.jobs.timing import Timing
from dashboard.migration.types import Spec

MAX_KEEP_DAYS = 3650
MIN_INTERVAL = 900
"""Seconds between two runs at least."""


class RunKind(StrEnum):
    """What a run does."""

    COPY = "copy"
    RESTORE = "restore"


class RunState(StrEnum):
    """How a run stands. ``SKIPPED``: the one before was still under way. ``REFUSED``: it could not begin."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    WITH_ERRORS = "with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is copied, when, and for how many days files that a run replaces are kept, 0 for ever."""

    source: str
    destination: str
    timing: Timing
    spec: Spec = field(default_factory=Spec)
    keep_days: int = 30
    enabled: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.keep_days <= MAX_KEEP_DAYS:
            raise InvalidInput(
                "keep_days",
                f"Replaced files are kept for 1 to {MAX_KEEP_DAYS:,} days, or for ever.",
                remedy="Give a number of days, or 0 for ever.",
            )
        if self.timing.seconds and self.timing.seconds < MIN_INTERVAL:
            raise InvalidInput("when", f"Copies are made every {MIN_INTERVAL // 60} minutes at most.")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run. ``replaced``: how many files it replaced, at least. ``restorable``: whether the copy can be
    restored as it was after this run."""

    id: int
    kind: RunKind
    state: RunState
    due_at: float
    at: float
    finished_at: float | None
    migration: int | None
    copied: int
    copied_bytes: int
    replaced: int
    failed: int
    message: str
    remedy: str
    restorable: bool


@dataclass(frozen=True, slots=True)
class CopyInfo:
    """A schedule. ``last``: its newest run or attempt. ``last_good_at``: when a run last ended with nothing
    failed."""

    id: int
    source: str
    destination: str
    spec: Spec
    keep_days: int
    timing: Timing
    enabled: bool
    next_run: float | None
    created_by: str
    created_at: float
    last: RunInfo | None
    last_good_at: float | None

    @property
    def name(self) -> str:
        """What it is called in addresses and commands."""
        return f"copy-{self.id}"

    @property
    def plan(self) -> CopyPlan:
        """What it does, to be changed."""
        return CopyPlan(
            self.source, self.destination, self.timing, self.spec, self.keep_days, enabled=self.enabled
        )

    @property
    def title(self) -> str:
        """Both names, and the prefix if there is one."""
        prefix = f" ({self.spec.prefix})" if self.spec.prefix else ""
        return f"{self.source} → {self.destination}{prefix}"
