"""Who works, on what: consoles, runners, carriers and workers in one list."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.jobs.process_identity import this_process
from dashboard.jobs.types import JobKind
from dashboard.migration.types import CarrierProgress
from dashboard.services.consoles import console_processes as processes
from dashboard.services.consoles.console_processes import RUNNER, WEB, Processes
from dashboard.services.consoles.working import ProcessKind, Working, WorkingProcess
from dashboard.services.database import Database, open_database
from dashboard.services.jobs import Jobs, enqueue
from dashboard.services.workers.worker_values import Queue
from dashboard.services.workers.workers import CARRIER, Workers
from dashboard.settings import Settings


class Embedded:
    """The runner of an instance in files, as the lock on a file shows it."""

    def __init__(self) -> None:
        self.beat: float | None = None
        self.alive = False

    def is_alive(self) -> bool:
        return self.alive

    def heartbeat(self) -> float | None:
        return self.beat

    def pid(self) -> int | None:
        return 4711


def carriers(*numbers: int) -> Any:
    return SimpleNamespace(
        carriers=tuple(
            CarrierProgress(
                number=number,
                machine="here",
                pid=100 + number,
                since=1.0,
                chunks=(number,),
                at_once=8,
                copied=10,
                copied_bytes=1000,
                rate_objects=2.5,
                rate_bytes=250.0,
            )
            for number in numbers
        ),
        rate_objects=1.0,
        counters=SimpleNamespace(copied=5),
    )


def claim(database: Database, kind: JobKind, subject: int) -> None:
    with database.write() as session:
        enqueue(session, kind, subject)
    assert Jobs(database).claim(frozenset({kind}), this_process(), 60.0)


def kinds(found: tuple[WorkingProcess, ...]) -> list[tuple[str, str]]:
    return [(each.kind.value, each.state) for each in found]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(Settings.from_env({}, instance=tmp_path))
    opened.upgrade()
    yield opened
    opened.close()


def working(
    database: Database, runner: Any, progress: Callable[[int], Any] = lambda id: carriers()
) -> Working:
    return Working(database, Jobs(database), runner, Workers(database), progress)


def test_the_runner_of_an_instance_in_files(files: Database) -> None:
    runner = Embedded()
    room = working(files, runner)
    assert room.list() == ()
    runner.alive, runner.beat = True, time.time()
    [idle] = room.list()
    assert (idle.kind, idle.state, idle.pid, idle.tasks) == (ProcessKind.RUNNER, "idle", 4711, ())
    claim(files, JobKind.USAGE, 0)
    [busy] = room.list()
    assert (busy.state, [task.kind for task in busy.tasks]) == ("working", ["usage"])
    runner.beat = time.time() - 3600
    assert room.list()[0].state == "silent"
    runner.alive = False
    [gone] = room.list()
    assert (gone.state, gone.tasks, gone.is_available) == ("stopped", (), False)


def test_carriers_of_the_runner_and_tasks_of_workers_are_told_once(files: Database) -> None:
    runner = Embedded()
    runner.alive, runner.beat = True, time.time()
    claim(files, JobKind.MIGRATION, 7)
    claim(files, JobKind.USAGE, 0)
    workers = Workers(files)
    worker = workers.register([Queue.MIGRATIONS, Queue.MAINTENANCE], 4, has_files=True)
    workers.begin_task(worker, JobKind.USAGE.value, 0, fence=1)
    task = workers.begin_task(worker, CARRIER, 9, fence=1, number=3)
    assert task is not None
    workers.renew_task(task, objects=20, rate=4.0)
    workers.register([Queue.COUNTS], 1, has_files=False, message="It has no key.", remedy="Copy it.")
    found = working(files, runner, lambda id: carriers(0, 1, 2)).list()
    assert kinds(found) == [
        ("runner", "working"),
        ("carrier", "working"),
        ("carrier", "working"),
        ("worker", "working"),
        ("worker", "refused"),
    ]
    own, first, second, busy, refused = found
    # The job of the worker is not the runner's, too.
    assert [(each.kind, each.subject_id, each.rate) for each in own.tasks] == [("migration", 7, 2.5)]
    assert (first.pid, second.pid, first.rate, first.tasks[0].number) == (101, 102, 2.5, 1)
    assert {(each.kind, each.subject_id) for each in busy.tasks} == {("usage", 0), ("carrier", 9)}
    assert (busy.rate, busy.queues) == (4.0, ("migrations", "maintenance"))
    assert (refused.message, refused.is_available) == ("It has no key.", False)


def test_consoles_and_runners_on_a_server(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    room = working(server, Embedded())
    assert room.list() == ()
    for name, role, active in (
        ("web-1", WEB, True),
        ("web-2", WEB, True),
        ("jobs-1", RUNNER, True),
        ("jobs-2", RUNNER, False),
    ):
        monkeypatch.setattr(processes, "this_process", lambda name=name: f"boot-of-{name}/pid:[1]/7@9")
        monkeypatch.setattr(processes.socket, "gethostname", lambda name=name: name)
        Processes(server).beat(role, active=active, address="0.0.0.0:80" if role == WEB else "")
    claim(server, JobKind.USAGE, 0)
    found = room.list()
    assert [(each.machine, each.state) for each in found] == [
        ("jobs-1", "working"),
        ("jobs-2", "waiting"),
        ("web-1", "working"),
        ("web-2", "working"),
    ]
    assert [task.kind for task in found[0].tasks] == ["usage"]
    assert found[2].address == "0.0.0.0:80"
    for each in found:
        assert each.started_at is not None
        assert each.seen_at is not None
        assert each.started_at <= each.seen_at <= time.time()
