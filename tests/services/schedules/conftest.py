"""A console with the backends “work” and “vault”, and a clock that the test sets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboard.jobs.types import Job, JobContext, JobKind
from dashboard.migration.types import Outcome, Progress, State
from dashboard.services.schedules.copy_runs import CopyCleanup
from dashboard.services.schedules.copy_starts import CopyStarts
from dashboard.services.schedules.scheduled_copies import ScheduledCopies
from dashboard.services.services import Services
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN

START = 1_800_000_000.0


CONTEXT = JobContext(Job(1, JobKind.COPIES, 0, 1, 1, float("inf")), threading.Event())


def due_now(services: Services) -> None:
    """Begin what is due, as the runner does."""
    services.schedules.starts.run(CONTEXT)


@dataclass
class Bench:
    """What a test works with."""

    services: Services
    work: Path
    vault: Path
    now: float = START

    def __post_init__(self) -> None:
        database, audit = self.services.database, self.services.audit
        self.copies = ScheduledCopies(database, audit, clock=self.clock)
        self.starts = CopyStarts(database, audit, self.services.migrations, clock=self.clock)
        self.cleanup = CopyCleanup(database, self.services.backends, clock=self.clock)

    def clock(self) -> float:
        return self.now

    def tick(self, seconds: float = 0.0) -> None:
        """Time passes, and the runner's job begins what is due."""
        self.now += seconds
        self.starts.run(CONTEXT)

    def finish(self, migration: int | None) -> Progress:
        """Run a migration to its end."""
        assert migration is not None
        progress = self.services.runner.run_job_until_final(migration, lambda progress: None)
        assert progress.state is State.FINISHED, (progress.state, progress.message)
        assert progress.outcome is not Outcome.WITH_ERRORS
        return progress

    def copy(self, number: int, seconds: float = 0.0) -> int:
        """Let a run become due and finish; return its number."""
        self.tick(seconds)
        run = self.copies.runs(number)[0]
        self.finish(run.migration)
        return run.id

    def restore(self, migration: int) -> Progress:
        """See the plan, start it and let it finish."""
        progress = self.services.runner.run_job_until_final(migration, lambda progress: None)
        assert progress.state is State.READY
        self.services.migrations.approve(ADMIN, migration)
        return self.finish(migration)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with composed(tmp_path / "instance") as services:
        work = add_local(services, "work", tmp_path / "work")
        vault = add_local(services, "vault", tmp_path / "vault")
        yield Bench(services, work, vault)
