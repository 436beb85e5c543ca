"""The dispatcher sends a message for what is due, and again for what nobody has claimed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import LEASE, JobKind
from dashboard.services.cluster.dispatcher import AGAIN_SECONDS, MAX_AGAIN_SECONDS, Dispatcher
from dashboard.services.cluster.job_routes import Routes
from dashboard.services.database import Database
from dashboard.services.jobs import Jobs, dequeue, enqueue
from dashboard.services.workers.worker_values import Queue
from dashboard.services.workers.workers import Workers
from tests.services.database_file import add_backend, opened


class MessageBox:
    """Takes messages, unless it is away."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str]] = []
        self.away = False

    def send_job(self, job_id: int, queue: str) -> bool:
        if not self.away:
            self.messages.append((job_id, queue))
        return not self.away

    def taken(self) -> list[tuple[int, str]]:
        found, self.messages = self.messages, []
        return found


class DispatcherRig:
    """A dispatcher whose time a test moves. The schedule is empty unless it says otherwise."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs = Jobs(database)
        self.workers = Workers(database)
        self.outbox = MessageBox()
        self.now = 100.0
        self.ready = True
        self.again()

    def again(self) -> None:
        """As after a restart, or in another process that takes over."""
        self.dispatcher = Dispatcher(
            self.jobs,
            self.workers,
            Routes(self.database),
            self.outbox,
            ready=lambda: self.ready,
            clock=lambda: self.now,
        )

    def enqueue(self, kind: JobKind, subject: int) -> int:
        with self.database.write() as session:
            return enqueue(session, kind, subject)

    def step(self, seconds: float = 0.5) -> list[tuple[int, str]]:
        """What is sent that many seconds later."""
        self.now += seconds
        self.dispatcher.step()
        return self.outbox.taken()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DispatcherRig]:
    monkeypatch.setattr(Jobs, "tick", lambda self: 0)
    with opened(tmp_path) as database:
        yield DispatcherRig(database)


def test_a_job_is_sent_once_and_again_if_nobody_claims_it(rig: DispatcherRig) -> None:
    rig.workers.register(tuple(Queue), 2, has_files=False)
    job = rig.enqueue(JobKind.COUNT, 5)
    assert rig.step() == [(job, "counts")]
    assert rig.step() == []
    assert rig.step(AGAIN_SECONDS) == [(job, "counts")]
    # Not ever more often, where workers are only busy.
    assert rig.step(AGAIN_SECONDS) == []
    assert rig.step(AGAIN_SECONDS) == [(job, "counts")]
    for _ in range(20):
        rig.step(MAX_AGAIN_SECONDS)
    assert rig.step(MAX_AGAIN_SECONDS - 1) == []
    assert rig.step(1) == [(job, "counts")]


def test_what_was_interrupted_is_sent_at_once(rig: DispatcherRig) -> None:
    rig.workers.register(tuple(Queue), 2, has_files=False)
    job = rig.enqueue(JobKind.COUNT, 5)
    assert rig.step() == [(job, "counts")]
    claimed = rig.jobs.claim_one(job, "one", LEASE)
    assert claimed is not None
    assert rig.step() == []
    rig.jobs.requeue(claimed)
    assert rig.step() == [(job, "counts")]
    assert rig.jobs.claim_one(job, "two", -1) is not None
    assert rig.step() == [(job, "counts")]


def test_a_doubled_message_is_claimed_once(rig: DispatcherRig) -> None:
    job = rig.enqueue(JobKind.COUNT, 5)
    assert rig.jobs.get_due(job) is not None
    assert rig.jobs.claim_one(job, "one", LEASE) is not None
    assert rig.jobs.get_due(job) is None
    assert rig.jobs.claim_one(job, "two", LEASE) is None
    assert rig.jobs.claim_one(2**70, "two", LEASE) is None
    assert rig.jobs.claim_one(job + 1, "two", LEASE) is None


def test_another_dispatcher_sends_what_the_first_had_sent(rig: DispatcherRig) -> None:
    rig.workers.register(tuple(Queue), 2, has_files=False)
    job = rig.enqueue(JobKind.COUNT, 5)
    assert rig.step() == [(job, "counts")]
    rig.again()
    assert rig.step() == [(job, "counts")]


def test_nothing_is_sent_to_nobody(rig: DispatcherRig, caplog: pytest.LogCaptureFixture) -> None:
    job = rig.enqueue(JobKind.COUNT, 5)
    rig.workers.register((Queue.MIGRATIONS,), 2, has_files=False)
    assert rig.step() == []
    assert rig.step(61) == []
    assert "No worker takes jobs of the queue “counts”" in caplog.text
    rig.workers.register((Queue.COUNTS,), 2, has_files=False)
    assert rig.step() == [(job, "counts")]


def test_while_the_broker_is_away_jobs_wait(rig: DispatcherRig) -> None:
    rig.workers.register(tuple(Queue), 2, has_files=False)
    job = rig.enqueue(JobKind.COUNT, 5)
    rig.outbox.away = True
    assert rig.step() == []
    rig.outbox.away = False
    assert rig.step() == [(job, "counts")]


def test_jobs_of_a_folder_go_to_workers_that_see_it(rig: DispatcherRig) -> None:
    backend = add_backend(rig.database, "disk")
    rig.workers.register(tuple(Queue), 2, has_files=False)
    jobs = [rig.enqueue(kind, backend) for kind in (JobKind.COUNT, JobKind.CHECK, JobKind.WRITE_BACK)]
    jobs += [rig.enqueue(kind, 0) for kind in (JobKind.UPLOADS, JobKind.AUDIT)]
    elsewhere = rig.enqueue(JobKind.COUNT, backend + 1)
    assert rig.step() == [(elsewhere, "counts")]
    rig.workers.register(tuple(Queue), 2, has_files=True)
    assert [queue for _, queue in rig.step()] == [*["counts.local"] * 3, "media", "maintenance"]


def test_a_sealed_console_sends_nothing_and_what_is_gone_is_forgotten(rig: DispatcherRig) -> None:
    rig.workers.register(tuple(Queue), 2, has_files=False)
    job = rig.enqueue(JobKind.COUNT, 5)
    rig.ready = False
    assert rig.step() == []
    rig.ready = True
    assert rig.step() == [(job, "counts")]
    with rig.database.write() as session:
        dequeue(session, JobKind.COUNT, 5)
    assert rig.step() == []
    assert rig.dispatcher._sent == {}


def test_a_database_that_is_away_ends_nothing(rig: DispatcherRig, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, looks = threading.Event(), [0]

    def due(_limit: int = 1) -> tuple[()]:
        looks[0] += 1
        if looks[0] == 2:
            stop.set()
        raise StowageError(Kind.UNREACHABLE, "The database server does not answer.", operation="database")

    monkeypatch.setattr(rig.jobs, "due", due)
    monkeypatch.setattr("dashboard.services.cluster.dispatcher.POLL_SECONDS", 0.01)
    assert rig.dispatcher.run(stop) == 0
    assert looks[0] == 2
