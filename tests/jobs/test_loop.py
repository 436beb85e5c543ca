"""The runner's loop on a real job table: bounded, fenced, and gone in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.jobs.loop import RunnerLoop
from dashboard.jobs.types import (
    DONE,
    LEASE,
    RENEW_EVERY,
    RESTART_CODE,
    Handler,
    Job,
    JobContext,
    JobKind,
    JobResult,
    Lane,
)
from dashboard.models.migrations import Job as JobRow
from dashboard.services.database import Database
from dashboard.services.jobs import Jobs, enqueue
from tests.servers.processes import wait_until
from tests.services.database_file import opened

Work = Callable[[JobContext], JobResult]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def put(database: Database, kind: JobKind, subject: int) -> int:
    with database.write() as session:
        return enqueue(session, kind, subject)


def states(database: Database) -> dict[int, tuple[str, str]]:
    with database.read() as session:
        return {r.id: (r.state, r.message) for r in session.scalars(select(JobRow))}


def ignore(job: Job, error: StowageError) -> None:
    pass


@contextmanager
def running(
    database: Database,
    work: Mapping[JobKind, Work],
    *,
    failed: Callable[[Job, StowageError], None] = ignore,
    owner: str = "test",
    ready: Callable[[], bool] = lambda: True,
    lease: float = LEASE,
    renew_every: float = RENEW_EVERY,
    grace: float = 5.0,
    migrations: int = 2,
) -> Iterator[tuple[RunnerLoop, list[int]]]:
    """A loop in a thread; the list holds its exit code once the block is left."""
    loop = RunnerLoop(
        Jobs(database),
        {kind: Handler(run, failed) for kind, run in work.items()},
        owner=owner,
        ready=ready,
        lanes=(
            Lane(frozenset({JobKind.MIGRATION}), migrations),
            Lane(frozenset({JobKind.CHECK, JobKind.COUNT, JobKind.COMPARE}), 4),
        ),
        poll=0.02,
        lease=lease,
        renew_every=renew_every,
        grace=grace,
    )
    stop, code = threading.Event(), list[int]()
    thread = threading.Thread(target=lambda: code.append(loop.run(stop)))
    thread.start()
    try:
        yield loop, code
    finally:
        stop.set()
        loop.nudge()
        thread.join()


def until_stopped(context: JobContext) -> JobResult:
    while not context.wait(0.01):
        pass
    return JobResult(requeue=True)


def test_a_queued_job_is_done_soon(database: Database) -> None:
    seen: list[Job] = []

    def work(context: JobContext) -> JobResult:
        seen.append(context.job)
        return DONE

    with running(database, {JobKind.CHECK: work}) as (loop, _):
        job = put(database, JobKind.CHECK, 41)
        wait_until(lambda: states(database)[job][0] == "done", seconds=60, what="job done")
        wait_until(loop.idle, seconds=60, what="loop idle")
    assert [(j.id, j.subject_id, j.attempts) for j in seen] == [(job, 41, 1)]


@pytest.mark.parametrize("requeue", [False, True])
def test_a_result_is_recorded_when_the_job_table_is_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, requeue: bool
) -> None:
    away, attempts, seen = [3], list[int](), threading.Event()
    name = "requeue" if requeue else "finish"
    record = getattr(Jobs, name)

    def recorded(jobs: Jobs, *words: object) -> bool:
        if away[0]:
            away[0] -= 1
            raise StowageError(Kind.UNREACHABLE, "The database server does not answer.")
        seen.set()
        return bool(record(jobs, *words))

    def work(context: JobContext) -> JobResult:
        attempts.append(context.job.attempts)
        return JobResult(requeue=requeue and len(attempts) == 1)

    monkeypatch.setattr(Jobs, name, recorded)
    with running(database, {JobKind.CHECK: work}):
        job = put(database, JobKind.CHECK, 41)
        assert seen.wait(120)
        wait_until(lambda: states(database)[job][0] == "done", seconds=60, what="job done")
    assert attempts == ([1, 2] if requeue else [1])


def test_a_crash_in_a_job_is_a_safe_sentence_and_harms_no_other(database: Database) -> None:
    told: list[tuple[int, StowageError]] = []

    def work(context: JobContext) -> JobResult:
        if context.job.subject_id == 1:
            raise ZeroDivisionError("secret=hunter2")
        if context.job.subject_id == 2:
            raise StowageError(Kind.UNREACHABLE, "The server did not answer.")
        return DONE

    with running(database, {JobKind.CHECK: work}, failed=lambda j, e: told.append((j.subject_id, e))):
        jobs = [put(database, JobKind.CHECK, subject) for subject in (1, 2, 3)]
        wait_until(lambda: states(database)[jobs[2]][0] == "done", seconds=60, what="last job done")
        wait_until(lambda: len(told) == 2, seconds=60, what="both failures told")
    after = states(database)
    assert after[jobs[0]][0] == after[jobs[1]][0] == "failed"
    assert "hunter2" not in after[jobs[0]][1]
    assert after[jobs[1]][1] == "The server did not answer."
    assert {subject for subject, _ in told} == {1, 2}


def test_lanes_are_bounded_and_short_jobs_do_not_wait_for_long_ones(database: Database) -> None:
    at_work, most, lock, release = 0, 0, threading.Lock(), threading.Event()

    def long(context: JobContext) -> JobResult:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        release.wait(60)
        with lock:
            at_work -= 1
        return DONE

    with running(database, {JobKind.MIGRATION: long, JobKind.CHECK: lambda _: DONE}):
        migrations = [put(database, JobKind.MIGRATION, n) for n in range(5)]
        wait_until(lambda: at_work == 2, seconds=60, what="two migrations at work")
        check = put(database, JobKind.CHECK, 1)
        wait_until(lambda: states(database)[check][0] == "done", seconds=60, what="check done")
        release.set()
        wait_until(
            lambda: all(states(database)[m][0] == "done" for m in migrations if m in states(database)),
            seconds=60,
            what="all migrations done",
        )
    assert most == 2


def test_stopping_puts_unfinished_work_back(database: Database) -> None:
    with running(database, {JobKind.MIGRATION: until_stopped}) as (_, code):
        job = put(database, JobKind.MIGRATION, 1)
        wait_until(lambda: states(database)[job][0] == "running", seconds=60, what="job running")
    assert code == [0]
    assert states(database)[job][0] == "queued"


def test_stopping_does_not_wait_for_a_blocked_thread(database: Database) -> None:
    release = threading.Event()

    def deaf(context: JobContext) -> JobResult:
        # Whoever waits for it waits for ever.
        release.wait()
        return DONE

    with running(database, {JobKind.MIGRATION: deaf}, grace=0.1):
        job = put(database, JobKind.MIGRATION, 1)
        wait_until(lambda: states(database)[job][0] == "running", seconds=60, what="job running")
    assert states(database)[job][0] == "running"
    release.set()
    wait_until(lambda: states(database)[job][0] == "done", seconds=60, what="thread gone")


def test_blocked_threads_ask_for_a_fresh_process(database: Database) -> None:
    work: dict[JobKind, Work] = {
        JobKind.MIGRATION: lambda _: JobResult(requeue=True, restart=True),
        JobKind.COUNT: until_stopped,
    }
    with running(database, work) as (_, code):
        count = put(database, JobKind.COUNT, 1)
        wait_until(lambda: states(database)[count][0] == "running", seconds=60, what="count running")
        put(database, JobKind.MIGRATION, 1)
        wait_until(lambda: bool(code), seconds=60, what="loop ended by itself")
    assert code == [RESTART_CODE]
    assert {state for state, _ in states(database).values()} == {"queued"}


def test_nothing_is_claimed_until_ready(database: Database) -> None:
    ready = threading.Event()
    with running(database, {JobKind.CHECK: lambda _: DONE}, ready=ready.is_set):
        job = put(database, JobKind.CHECK, 1)
        time.sleep(0.2)
        assert states(database)[job][0] == "queued"
        ready.set()
        wait_until(lambda: states(database)[job][0] == "done", seconds=60, what="job done")


def test_leases_are_renewed_while_work_goes_on(database: Database) -> None:
    def ends(job: int) -> float:
        with database.read() as session:
            return session.get_one(JobRow, job).lease_until or 0.0

    with running(database, {JobKind.MIGRATION: until_stopped}, renew_every=0.02):
        job = put(database, JobKind.MIGRATION, 1)
        wait_until(lambda: states(database)[job][0] == "running", seconds=60, what="job running")
        for _ in range(3):
            former = ends(job)
            wait_until(lambda former=former: ends(job) > former, seconds=60, what="lease renewed")
            assert Jobs(database).claim(frozenset({JobKind.MIGRATION}), "thief", LEASE) is None


def test_of_two_runners_the_stale_one_is_told_and_changes_nothing(database: Database) -> None:
    noticed, release = threading.Event(), threading.Event()

    def work(context: JobContext) -> JobResult:
        while not context.lease_lost:
            time.sleep(0.01)
        noticed.set()
        release.wait(60)
        return DONE

    # One lane that is busy: the stale runner cannot take the job up again itself.
    with running(database, {JobKind.MIGRATION: work}, owner="stale", renew_every=0.05, migrations=1):
        job = put(database, JobKind.MIGRATION, 1)
        wait_until(lambda: states(database)[job][0] == "running", seconds=60, what="job running")
        taken: list[Job] = []

        def take() -> bool:
            # The stale one may renew between these two.
            Jobs(database).expire_all()
            claimed = Jobs(database).claim(frozenset({JobKind.MIGRATION}), "fresh", LEASE)
            taken.extend([claimed] if claimed else [])
            return bool(taken)

        wait_until(take, seconds=60, what="the job taken over")
        wait_until(noticed.is_set, seconds=60, what="stale runner noticed")
        release.set()
    with database.read() as session:
        row = session.get_one(JobRow, job)
    assert (row.state, row.owner, row.fence) == ("running", "fresh", taken[0].fence)


def test_a_runner_that_slept_through_its_lease_stops_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = Job(1, JobKind.COUNT, 1, 1, 1, lease_until=time.time() + 60)
    context = JobContext(asleep, threading.Event())
    assert not context.should_stop()
    later = time.monotonic() + 60
    monkeypatch.setattr("dashboard.jobs.types.time", SimpleNamespace(monotonic=lambda: later))
    assert context.should_stop()
    assert context.lease_lost


def test_with_a_margin_a_lease_counts_as_lost_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = Job(1, JobKind.COUNT, 1, 1, 1, lease_until=time.time() + 60)
    context = JobContext(claimed, threading.Event(), margin=40)
    assert not context.lease_lost
    later = time.monotonic() + 20
    monkeypatch.setattr("dashboard.jobs.types.time", SimpleNamespace(monotonic=lambda: later))
    assert context.lease_lost
