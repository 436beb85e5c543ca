"""Gathers what may need attention, for the Overview and for notifications alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Float, Select, bindparam, func, or_, select

from dashboard.jobs.types import JobKind, JobState
from dashboard.migration.types import Progress
from dashboard.models.console import SignInAttempts
from dashboard.models.migrations import Job
from dashboard.services.attention.causes import Facts
from dashboard.services.backends.values import BackendInfo, Summary
from dashboard.services.database import Database
from dashboard.services.fallback.write_back import WriteBack
from dashboard.services.files.fallback_reads import FallbackReads
from dashboard.services.history.history import History
from dashboard.services.people.throttle import FORGET, LIMITS
from dashboard.services.schedules.schedule_services import Schedules
from dashboard.services.upkeep.upkeep import Upkeep

LATE_SECONDS = 1800.0
"""Seconds after which a job that waits for a free thread is late."""
_MOMENT_SECONDS = 10
_SHORT = (JobKind.CHECK, JobKind.UPLOADS, JobKind.BACKUP)
"""Jobs that never wait for long behind others of their kind."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Thread-safe; short transactions, and the folders of this machine are looked at, no server."""

    database: Database
    write_back: WriteBack
    fallback_reads: FallbackReads
    history: History
    upkeep: Upkeep
    schedules: Schedules

    def facts(
        self,
        summary: Summary,
        backends: Sequence[BackendInfo],
        migrations: Sequence[Progress],
        *,
        runner_alive: bool,
        per_day: Mapping[str, float] | None = None,
    ) -> Facts:
        """Everything that may need attention, of these backends and migrations. ``per_day``: bytes by which
        backends grow, by name."""
        return Facts(
            summary,
            migrations,
            runner_alive=runner_alive,
            backlogs=self.write_back.summary(),
            fallback_reads=self.fallback_reads.recent(),
            since=self.history.since([backend.id for backend in summary.worst]),
            disks=self.upkeep.disks(backends),
            per_day={} if per_day is None else per_day,
            key_since=self.upkeep.key_since(),
            backup_at=self.upkeep.backup_at(),
            backup_due_since=self.upkeep.backup_due_since(),
            backup_failure=self.schedules.backups.summary().last_failure,
            locked=self._locked(),
            jobs_late_since=self._late_since(),
            copies=self.schedules.copies.list(),
        )

    def _locked(self) -> int:
        """Names and addresses that had to wait; one attacker counts for each name that he tries."""
        # It counts for an hour, and may count for some seconds more.
        since = (time.time() - FORGET) // _MOMENT_SECONDS * _MOMENT_SECONDS

        def read() -> int:
            with self.database.read() as session:
                return session.scalar(_locked_out(), {"since": since}) or 0

        return self.database.kept(("locked_out", since), read, of="main")

    def _late_since(self) -> float | None:
        def read() -> float | None:
            with self.database.read() as session:
                return session.scalar(_first_waiting())

        since = self.database.kept("first_waiting", read, of="main")
        return since if since is not None and since < time.time() - LATE_SECONDS else None


# Putting a statement together takes longer than running it, and the Overview is asked for again and again.


@cache
def _locked_out() -> Select[int]:
    """How many names and addresses failed too often after the parameter ``since``."""
    over = [
        (SignInAttempts.scope == scope) & (SignInAttempts.failures >= LIMITS[scope].free_attempts)
        for scope in ("pair", "address", "user", "own", "code")
    ]
    recent = SignInAttempts.last_at > bindparam("since", type_=Float)
    return select(func.count()).where(or_(*over), recent)


@cache
def _first_waiting() -> Select[float]:
    """When the first of the short jobs that wait was due."""
    due = func.max(Job.created_at, func.coalesce(Job.not_before, 0.0))
    return select(func.min(due)).where(Job.kind.in_(_SHORT), Job.state == JobState.QUEUED)
