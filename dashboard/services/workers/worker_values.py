"""Workers and their tasks, as shown. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

BEAT_SECONDS = 5.0
"""Between two signs of life of a worker, and of what it works on."""
SILENT_SECONDS = 20.0
"""Without a sign of life after which a worker counts as silent."""
FORGET_SECONDS = 3600.0
"""After which a silent worker is not shown any more."""
LIFE_SECONDS = 20.0
"""For which a task may go without a sign of life: then its process ends itself."""
GRACE_SECONDS = 5.0
"""After which it is certainly gone: clocks differ, and a process takes a moment to end."""


class Queue(StrEnum):
    """The queues of messages, which Flower shows by these names."""

    MIGRATIONS = "migrations"
    COUNTS = "counts"
    MEDIA = "media"
    MAINTENANCE = "maintenance"


class WorkerState(StrEnum):
    """``REFUSED``: it takes no work, and its message says why. ``SILENT``: it gave no sign of life lately."""

    WORKING = "working"
    IDLE = "idle"
    STOPPING = "stopping"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What one process of a worker does. ``kind``: as ``JobInfo.kind``, or "carrier" for a part of the
    migration ``subject_id``, of which ``number`` is the carrier's. ``objects``: copied so far; ``rate``:
    objects a second lately. Both are 0 for jobs that copy nothing."""

    kind: str
    subject_id: int
    number: int
    pid: int
    started_at: float
    objects: int
    rate: float


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker. ``slots``: how many tasks it does at once. ``has_files``: whether it sees the folders of the
    console's machine, without which it takes nothing that needs them. ``message`` and ``remedy``: why it
    takes no work, if it does not."""

    id: str
    machine: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    has_files: bool
    state: WorkerState
    started_at: float
    beat_at: float
    message: str
    remedy: str
    tasks: tuple[TaskInfo, ...]

    @property
    def rate(self) -> float:
        """Objects a second, of all its tasks."""
        return sum(task.rate for task in self.tasks)
