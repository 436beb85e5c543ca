"""One runner at a time on a database that machines share, whatever happens to its process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import JobKind
from dashboard.models.consoles import Process
from dashboard.models.migrations import Job
from dashboard.services.consoles.console_processes import Processes
from dashboard.services.consoles.server_lock import LOCK, ServerLock
from dashboard.services.database import Database, open_database
from dashboard.services.jobs import Jobs, enqueue
from dashboard.settings import Settings
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until

HOLD = """
import sys, time
from pathlib import Path
from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import JobKind
from dashboard.services.consoles.server_lock import ServerLock
from dashboard.services.database import open_database
from dashboard.services.jobs import Jobs
from dashboard.settings import Settings
database = open_database(Settings.from_env({}, instance=Path(sys.argv[1]), database_url=sys.argv[2]))
lock = ServerLock(database, Path(sys.argv[1]))
assert lock.acquire()
lock.beat()
assert Jobs(database).claim(frozenset({JobKind.USAGE}), this_process(), 3600.0)
print("held", flush=True)
time.sleep(300)
"""


@pytest.fixture
def settings(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Settings]:
    name = postgresql.create()
    yield Settings.from_env({}, instance=tmp_path / "instance", database_url=postgresql.url(name))
    postgresql.drop(name)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    database.upgrade()
    try:
        yield database
    finally:
        database.close()


def break_connection(database: Database) -> None:
    """What a network does that drops one connection: that of whoever has the lock."""
    with database.main.connect() as connection:
        holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        [pid] = connection.exec_driver_sql(holders, LOCK).scalars()
        connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (pid,))


def keep_until(lock: ServerLock, expected: bool) -> None:
    wait_until(lambda: lock.keep() is expected, seconds=60, what=f"a lock that is kept: {expected}")


def test_one_of_two_is_the_runner_and_the_other_follows(settings: Settings) -> None:
    with opened(settings) as here, opened(settings) as there:
        first, second = ServerLock(here, settings.instance), ServerLock(there, settings.instance)
        assert not second.held()
        assert second.heartbeat() is None
        assert first.acquire()
        assert first.acquire()
        assert not second.acquire()
        assert second.held()
        first.beat()
        beat = second.heartbeat()
        assert beat is not None
        assert abs(time.time() - beat) < 60
        first.release()
        first.release()
        assert not second.held()
        # Who ends as asked is not listed as silent afterwards.
        assert Processes(there).list() == ()
        assert second.acquire()
        second.release()


def test_a_killed_runner_is_followed_at_once_and_its_jobs_are_free(settings: Settings) -> None:
    with opened(settings) as database:
        with database.write() as session:
            enqueue(session, JobKind.USAGE, 0)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(settings.instance), str(settings.database_url)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        with process:
            assert process.stdout.readline() == b"held\n"
            lock, jobs = ServerLock(database, settings.instance), Jobs(database)
            assert not lock.acquire()
            # While its owner is alive a job stays with it, whoever has the lock.
            assert lock.expire(jobs) == 0
            process.send_signal(signal.SIGKILL)
            process.wait()
            wait_until(lock.acquire, seconds=120, what="the lock of a dead process")
            assert lock.expire(jobs) == 1
            assert jobs.claim(frozenset({JobKind.USAGE}), this_process(), 30.0) is not None
            [seen] = [each for each in Processes(database).list() if each.pid == process.pid]
            assert seen.late
            lock.release()


def test_the_job_of_a_runner_on_another_machine_waits_for_its_lease(settings: Settings) -> None:
    with opened(settings) as database:
        jobs, lock = Jobs(database), ServerLock(database, settings.instance)
        with database.write() as session:
            enqueue(session, JobKind.USAGE, 0)
        claimed = jobs.claim(frozenset({JobKind.USAGE}), "another-boot/pid:[1]/77@5", 3600.0)
        assert claimed
        assert lock.acquire()
        assert lock.expire(jobs) == 0
        assert jobs.claim(frozenset({JobKind.USAGE}), this_process(), 30.0) is None
        with database.write() as session:
            session.execute(update(Job).values(lease_until=0.0))
        again = jobs.claim(frozenset({JobKind.USAGE}), this_process(), 30.0)
        assert again
        assert again.fence > claimed.fence
        lock.release()


def test_a_broken_connection_is_noticed_and_the_lock_taken_again(settings: Settings) -> None:
    with opened(settings) as database:
        lock = ServerLock(database, settings.instance)
        assert lock.acquire()
        break_connection(database)
        wait_until(lambda: not lock.held(), seconds=120, what="a free lock")
        wait_until(lambda: lock.keep() and lock.held(), seconds=120, what="the lock once more")
        assert not lock.taken
        lock.release()


def test_who_lost_the_lock_to_another_learns_it(settings: Settings) -> None:
    with opened(settings) as here, opened(settings) as there:
        first, second = ServerLock(here, settings.instance), ServerLock(there, settings.instance)
        assert first.acquire()
        break_connection(there)
        wait_until(second.acquire, seconds=120, what="the lock of a broken connection")
        keep_until(first, False)
        assert first.taken
        second.release()
        keep_until(first, True)
        first.release()


def test_a_server_that_is_away_ends_no_runner(settings: Settings, postgresql: PostgreSQL) -> None:
    away = Settings.from_env(
        {}, instance=settings.instance, database_url="postgresql://nobody@127.0.0.1:1/none"
    )
    database = open_database(away)
    lock = ServerLock(database, settings.instance)
    assert not lock.acquire()
    assert not lock.keep()
    assert not lock.taken
    lock.release()
    database.close()


def test_a_process_is_listed_until_it_leaves(settings: Settings) -> None:
    with opened(settings) as database:
        processes = Processes(database)
        processes.beat("web", address="127.0.0.1:8080", marker="m", settings=lambda: {"version": "v1"})
        processes.beat("web", address="127.0.0.1:8080", marker="m", settings=lambda: {"version": "v2"})
        [seen] = processes.list()
        assert (seen.role, seen.settings, seen.late, seen.active) == ("web", {"version": "v2"}, False, False)
        with database.write() as session:
            session.execute(update(Process).values(seen_at=Process.seen_at - 31))
        assert processes.list()[0].late
        processes.leave()
        assert processes.list() == ()
        with database.read() as session:
            assert session.scalar(select(Process.id)) is None
