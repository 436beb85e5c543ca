"""Claims, leases, fences and the schedule, on a real database with real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dashboard.jobs.types import Job, JobKind, JobState
from dashboard.models.migrations import Job as JobRow
from dashboard.models.migrations import Schedule
from dashboard.services.database import Database
from dashboard.services.jobs import INSTANCE_INTERVALS, Jobs, dequeue, enqueue, is_current_claim, is_running
from tests.services.database_file import add_backend, opened

ALL = frozenset(JobKind)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def put(database: Database, kind: JobKind, subject: int) -> int:
    with database.write() as session:
        return enqueue(session, kind, subject)


def row(database: Database, job_id: int) -> JobRow:
    with database.read() as session:
        return session.get_one(JobRow, job_id)


def claim(database: Database, owner: str = "one", lease: float = 30.0) -> Job:
    job = Jobs(database).claim(ALL, owner, lease)
    assert job
    return job


def test_enqueueing_twice_is_one_job_until_it_is_claimed(database: Database) -> None:
    first = put(database, JobKind.CHECK, 1)
    assert put(database, JobKind.CHECK, 1) == first
    assert put(database, JobKind.CHECK, 2) != first
    claim(database)
    assert put(database, JobKind.CHECK, 1) != first


def test_jobs_are_claimed_oldest_first_and_only_the_kinds_asked_for(database: Database) -> None:
    count, check = put(database, JobKind.COUNT, 1), put(database, JobKind.CHECK, 1)
    jobs = Jobs(database)
    assert jobs.claim(frozenset({JobKind.MIGRATION}), "one", 30) is None
    first, second = claim(database), claim(database)
    assert (first.id, second.id) == (count, check)
    assert jobs.claim(ALL, "one", 30) is None


def test_each_job_goes_to_one_of_many_claimers(database: Database) -> None:
    ids = [put(database, JobKind.CHECK, subject) for subject in range(60)]
    jobs = Jobs(database)

    def take(owner: str) -> list[int]:
        mine = []
        while job := jobs.claim(ALL, owner, 30):
            mine.append(job.id)
        return mine

    with ThreadPoolExecutor(8) as pool:
        taken = [job for mine in pool.map(take, [f"owner{n}" for n in range(8)]) for job in mine]
    assert sorted(taken) == sorted(ids)


def test_the_same_subject_is_never_worked_on_twice_at_once(database: Database) -> None:
    put(database, JobKind.COUNT, 1)
    first = claim(database)
    put(database, JobKind.COUNT, 1)
    assert Jobs(database).claim(ALL, "two", 30) is None
    assert Jobs(database).finish(first)
    assert claim(database, "two").id != first.id


def test_a_runner_whose_lease_ran_out_is_fenced_out(database: Database) -> None:
    put(database, JobKind.MIGRATION, 7)
    jobs = Jobs(database)
    stale = claim(database, "stale", lease=-0.001)
    fresh = claim(database, "fresh")
    assert (fresh.id, fresh.fence, fresh.attempts) == (stale.id, stale.fence + 1, 2)
    assert jobs.renew(stale, 30) is None
    assert not jobs.finish(stale, "too late")
    assert not jobs.requeue(stale)
    with database.read() as session:
        assert not is_current_claim(session, stale)
        assert is_current_claim(session, fresh)
        assert is_running(session, JobKind.MIGRATION, 7)
    now = row(database, fresh.id)
    assert (now.owner, now.state, now.message) == ("fresh", "running", "")
    assert jobs.finish(fresh)
    assert row(database, fresh.id).state == "done"


def test_a_renewed_lease_keeps_others_out(database: Database) -> None:
    put(database, JobKind.COUNT, 1)
    jobs = Jobs(database)
    job = claim(database, lease=-0.001)
    renewed = jobs.renew(job, 30)
    assert renewed
    assert renewed.lease_until > time.time() + 25
    assert jobs.claim(ALL, "other", 30) is None


def test_a_single_runner_may_take_over_everything_at_once(database: Database) -> None:
    put(database, JobKind.COUNT, 1)
    claim(database, "killed")
    assert Jobs(database).claim(ALL, "new", 30) is None
    assert Jobs(database).expire_all() == 1
    assert claim(database, "new").fence == 2


def test_a_requeued_job_waits_for_its_time(database: Database) -> None:
    put(database, JobKind.COUNT, 1)
    jobs = Jobs(database)
    assert jobs.requeue(claim(database), delay=60)
    assert jobs.claim(ALL, "one", 30) is None
    with database.write() as session:
        session.execute(update(JobRow).values(not_before=time.time() - 1))
    assert claim(database).attempts == 2


def test_a_failed_job_keeps_its_sentence_and_older_ones_are_forgotten(database: Database) -> None:
    jobs = Jobs(database)
    old = put(database, JobKind.CHECK, 1)
    jobs.finish(claim(database))
    new = put(database, JobKind.CHECK, 1)
    jobs.finish(claim(database), "It did not answer.")
    assert (row(database, new).state, row(database, new).message) == ("failed", "It did not answer.")
    with database.read() as session:
        assert session.get(JobRow, old) is None


def test_a_queued_job_can_be_taken_back_and_a_running_one_cannot(database: Database) -> None:
    put(database, JobKind.MIGRATION, 1)
    running = claim(database)
    put(database, JobKind.MIGRATION, 1)
    with database.write() as session:
        dequeue(session, JobKind.MIGRATION, 1)
    with database.read() as session:
        assert session.scalars(select(JobRow.id)).all() == [running.id]


def test_every_backend_is_checked_and_counted_by_schedule(database: Database) -> None:
    jobs = Jobs(database)
    first = add_backend(database, "first")
    assert jobs.tick() == 2 + len(INSTANCE_INTERVALS)
    assert jobs.tick() == 0
    second = add_backend(database, "second")
    assert jobs.tick() == 2
    with database.write() as session:
        session.execute(update(Schedule).values(next_run=0.0))
        session.execute(update(JobRow).values(state=JobState.DONE.value))
    assert jobs.tick() == 4 + len(INSTANCE_INTERVALS)
    with database.read() as session:
        queued = {
            (r.kind, r.subject_id)
            for r in session.scalars(select(JobRow).where(JobRow.state == JobState.QUEUED))
        }
    everywhere = {(kind, 0) for kind in INSTANCE_INTERVALS}
    assert queued == {(kind, b) for kind in ("check", "count") for b in (first, second)} | everywhere


def test_the_schedule_forgets_a_removed_backend(database: Database) -> None:
    jobs = Jobs(database)
    add_backend(database, "gone")
    jobs.tick()
    with database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM backends")
    jobs.tick()
    with database.read() as session:
        assert {each.subject_id for each in session.scalars(select(Schedule))} == {0}


def test_many_tickers_take_each_turn_once(database: Database) -> None:
    jobs = Jobs(database)
    for number in range(5):
        add_backend(database, f"b{number}")
    jobs.tick()
    turns = 0
    for _ in range(7):
        with database.write() as session:
            session.execute(update(Schedule).values(next_run=0.0))
        together = threading.Barrier(3)

        def tick(together: threading.Barrier = together) -> int:
            together.wait()
            return jobs.tick()

        with ThreadPoolExecutor(3) as pool:
            turns += sum(f.result() for f in [pool.submit(tick) for _ in range(3)])
    assert turns == 7 * (10 + len(INSTANCE_INTERVALS))
