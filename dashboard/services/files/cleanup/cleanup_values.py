"""What is planned, requested and done by a deletion of old files. Commands know these without a database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dashboard.services.catalogue.file_values import File

DEFAULT_DAYS = 30


class CleanupState(StrEnum):
    """The state of a deletion of old files."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class OldFilesPlan:
    """What a deletion would delete now. ``backend``: empty means all. ``before`` and ``planned_at`` in
    seconds since the epoch; ``last_id``: rows after it are newer than the plan. ``oldest``: the first of
    the files."""

    backend: str
    days: int
    before: float
    planned_at: float
    last_id: int
    files: int
    bytes: int
    oldest: tuple[File, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, described in docs/cli.md."""
        shown = {name: getattr(self, name) for name in ("backend", "days", "before", "files", "bytes")}
        return {**shown, "oldest": [file.as_dict() for file in self.oldest]}


@dataclass(frozen=True, slots=True)
class Note:
    """A file that was kept or could not be deleted, and why."""

    backend: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cleanup:
    """A deletion of old files that was requested, and how far it is. Times in seconds since the epoch.

    ``kept``: no longer the file that the catalogue describes. ``missing``: gone already. ``notes``: the first
    of those that were kept or failed.
    """

    id: int
    backend: str
    before: float
    files: int
    bytes: int
    state: CleanupState
    deleted: int
    deleted_bytes: int
    kept: int
    missing: int
    failed: int
    notes: tuple[Note, ...]
    message: str
    requested_by: str
    created_at: float
    finished_at: float | None

    @property
    def active(self) -> bool:
        """Whether there is more to do."""
        return self.state in (CleanupState.QUEUED, CleanupState.RUNNING)

    @property
    def done(self) -> int:
        """Files that were looked at."""
        return self.deleted + self.kept + self.missing + self.failed

    @property
    def percent(self) -> float:
        """0 to 100."""
        return 100.0 * min(self.done, self.files) / self.files if self.files else 100.0


def parse_count(text: str) -> int:
    """Return the number that a person has typed; spaces, commas and dots between digits do not matter."""
    digits = re.sub(r"[\s,.’']", "", text)
    return int(digits) if re.fullmatch(r"\d{1,18}", digits, re.ASCII) else -1
