"""Workers: how they register, what they say that they do, and what becomes of those that are gone."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard import __version__
from dashboard.jobs import process_identity
from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import JobKind
from dashboard.models.workers import WorkerTask
from dashboard.services.database import Database
from dashboard.services.jobs import Jobs, enqueue
from dashboard.services.workers.worker_values import (
    FORGET_SECONDS,
    GRACE_SECONDS,
    LIFE_SECONDS,
    SILENT_SECONDS,
    Queue,
    WorkerState,
)
from dashboard.services.workers.workers import CARRIER, Workers
from tests.services.database_file import opened

ELSEWHERE = "0b7c/pid:[1]/77@123"
ALL = tuple(Queue)
SPAWN = multiprocessing.get_context("spawn")


class StillTime:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> StillTime:
    return StillTime()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def workers(database: Database, clock: StillTime) -> Workers:
    return Workers(database, clock)


def test_a_worker_is_listed_with_what_it_does(workers: Workers, clock: StillTime) -> None:
    worker = workers.register((Queue.MIGRATIONS, Queue.COUNTS), 3, has_files=False)
    [idle] = workers.list()
    assert (idle.id, idle.state, idle.queues) == (worker, WorkerState.IDLE, ("migrations", "counts"))
    assert (idle.version, idle.slots, idle.has_files) == (__version__, 3, False)
    task = workers.begin_task(worker, CARRIER, 7, fence=12, number=2)
    other = workers.begin_task(worker, JobKind.WRITE_BACK, 4, fence=1)
    assert task is not None
    assert other is not None
    clock.now += 5
    assert workers.beat(worker)
    assert workers.renew_task(task, objects=500, rate=100.0)
    [working] = workers.list()
    assert working.state is WorkerState.WORKING
    assert [(each.kind, each.subject_id, each.number) for each in working.tasks] == [
        (CARRIER, 7, 2),
        ("write_back", 4, 0),
    ]
    assert working.rate == 100.0
    workers.end_task(task)
    workers.end_task(other)
    assert workers.list()[0].state is WorkerState.IDLE


def test_what_it_does_is_done_by_no_other(workers: Workers) -> None:
    one, other = (workers.register(ALL, 1, has_files=True) for _ in range(2))
    assert workers.begin_task(one, CARRIER, 7, fence=12, number=2) is not None
    assert workers.begin_task(other, CARRIER, 7, fence=12, number=2) is None
    assert workers.begin_task(other, CARRIER, 7, fence=12, number=3) is not None
    assert workers.begin_task("nobody", CARRIER, 7, fence=12, number=4) is None
    assert set(workers.carrying(7)) == {(12, 2), (12, 3)}


def test_states(workers: Workers, clock: StillTime) -> None:
    refused = workers.register(
        ALL, 2, has_files=False, message="The key is missing.", remedy="Bring it here."
    )
    stopping = workers.register(ALL, 2, has_files=True)
    assert workers.beat(stopping, stopping=True)
    by_id = {each.id: each for each in workers.list()}
    assert by_id[refused].state is WorkerState.REFUSED
    assert (by_id[refused].queues, by_id[refused].message) == ((), "The key is missing.")
    assert by_id[stopping].state is WorkerState.STOPPING
    clock.now += SILENT_SECONDS + 1
    assert {each.state for each in workers.list()} == {WorkerState.SILENT}
    clock.now += FORGET_SECONDS
    assert workers.list() == ()
    # Whoever registers next removes them for good, also from those that still run.
    workers.register(ALL, 1, has_files=True)
    assert not workers.beat(stopping)


def test_slots_of_workers_that_are_there(workers: Workers, clock: StillTime) -> None:
    workers.register((Queue.MIGRATIONS,), 4, has_files=False)
    clock.now += SILENT_SECONDS + 1
    workers.register((Queue.MIGRATIONS, Queue.COUNTS), 3, has_files=False)
    workers.register((Queue.MIGRATIONS,), 2, has_files=True)
    workers.register((Queue.MIGRATIONS,), 8, has_files=True, message="No key.")
    assert workers.slots(Queue.MIGRATIONS) == 5
    assert workers.slots(Queue.MIGRATIONS, with_files=True) == 2
    assert workers.slots(Queue.MEDIA) == 0


def test_a_worker_that_ends_is_gone_with_its_tasks(workers: Workers) -> None:
    worker = workers.register(ALL, 1, has_files=True)
    task = workers.begin_task(worker, CARRIER, 7, fence=1, number=1)
    assert task is not None
    workers.unregister(worker)
    workers.unregister(worker)
    assert workers.list() == ()
    assert workers.carrying(7) == {}
    assert not workers.renew_task(task)


def _begin_and_wait(folder: Path, worker: str, begun: multiprocessing.synchronize.Event) -> None:
    with opened(folder) as database:
        assert Workers(database).begin_task(worker, JobKind.COUNT, 3, fence=1)
        job = Jobs(database).claim(frozenset({JobKind.COUNT}), this_process(), 900)
        assert job is not None
        begun.set()
        SPAWN.Event().wait()


def test_a_killed_process_of_this_machine_is_known_at_once(database: Database, tmp_path: Path) -> None:
    workers, jobs = Workers(database), Jobs(database)
    worker = workers.register(ALL, 1, has_files=True)
    with database.write() as session:
        enqueue(session, JobKind.COUNT, 3)
    begun = SPAWN.Event()
    process = SPAWN.Process(target=_begin_and_wait, args=(tmp_path, worker, begun))
    process.start()
    try:
        assert begun.wait(60)
        assert workers.bury_dead() == 0
        assert jobs.claim(frozenset({JobKind.COUNT}), "next", 30) is None
    finally:
        process.kill()
        process.join()
    assert workers.bury_dead() == 1
    assert workers.list()[0].tasks == ()
    claimed = jobs.claim(frozenset({JobKind.COUNT}), "next", 30)
    assert claimed is not None
    assert claimed.fence == 2


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are known by descriptors on Linux only")
def test_one_of_this_machine_that_slept_past_its_time_is_killed_before_it_counts_as_gone(
    database: Database, workers: Workers, clock: StillTime
) -> None:
    task = workers.begin_task(workers.register(ALL, 1, has_files=True), CARRIER, 7, fence=1, number=1)
    asleep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        os.kill(asleep.pid, signal.SIGSTOP)
        with database.write() as session:
            row = session.get(WorkerTask, task)
            assert row is not None
            row.process = process_identity._identity(asleep.pid)
        assert workers.bury_dead() == 0
        clock.now += LIFE_SECONDS + 1
        assert workers.bury_dead() == 0
        assert asleep.wait(60) == -signal.SIGKILL
    finally:
        asleep.kill()
        asleep.wait()
    assert workers.bury_dead() == 1


def test_a_process_of_another_machine_is_gone_when_its_time_is_over(
    database: Database, workers: Workers, clock: StillTime
) -> None:
    worker = workers.register(ALL, 1, has_files=True)
    task = workers.begin_task(worker, CARRIER, 7, fence=1, number=1)
    assert task is not None
    with database.write() as session:
        row = session.get(WorkerTask, task)
        assert row is not None
        assert row.process == this_process()
        row.process = ELSEWHERE
    clock.now += LIFE_SECONDS + GRACE_SECONDS - 1
    assert workers.bury_dead() == 0
    clock.now += 2
    assert workers.bury_dead() == 1
    assert workers.carrying(7) == {}


def test_when_a_worker_that_takes_work_was_last_there(workers: Workers, clock: StillTime) -> None:
    assert workers.newest_beat() is None
    workers.register(ALL, 1, has_files=True, message="No key.")
    assert workers.newest_beat() is None
    workers.register(ALL, 1, has_files=True)
    assert workers.newest_beat() == clock.now
