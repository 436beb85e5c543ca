"""What a worker's process does with a message, without a broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import DONE, Handler, JobContext, JobKind, JobResult, JobState
from dashboard.models.backends import Backend
from dashboard.models.workers import WorkerTask
from dashboard.services.cluster import joining
from dashboard.services.cluster.job_routes import Routes, folder_id, keep_folder, queue_names, shares_files
from dashboard.services.cluster.staying_alive import SignsOfLife
from dashboard.services.cluster.worker_process import Carry, Carrying, Work
from dashboard.services.jobs import enqueue
from dashboard.services.workers.worker_values import Queue
from dashboard.settings import Settings, SettingsError
from tests.services.console import ServiceConsole

DATABASE = "postgresql://stowage@db.example.com/stowage"
REDIS = "redis://:s3cr3t@redis.example.com:6379/0"


class WorkRig:
    """A worker's process over a console, with handlers that a test chooses."""

    def __init__(self, console: ServiceConsole) -> None:
        self.services = console.services
        self.database = console.database
        self.worker = self.services.workers.register(tuple(Queue), 1, has_files=True)
        self.handlers: dict[JobKind, Handler] = {}
        self.seen: list[object] = []
        self.stop = threading.Event()
        self.fails: Callable[[Carry, Carrying], bool] | None = None

    def work(self, *, has_files: bool = True) -> Work:
        services = self.services
        return Work(
            self.worker,
            has_files=has_files,
            jobs=services.jobs,
            workers=services.workers,
            routes=Routes(self.database),
            keys=services.keys,
            handlers=self.handlers,
            carry=self._carry,
        )

    def _carry(self, request: Carry, carrying: Carrying) -> bool:
        if self.fails:
            return self.fails(request, carrying)
        carrying.watch(lambda: 3)
        assert carrying.may_write()
        self.seen.append((request, self.services.workers.list()[0].tasks[0].kind))
        return False

    def handle(self, kind: JobKind, run: Callable[[JobContext], JobResult]) -> None:
        self.handlers[kind] = Handler(run, lambda job, error: self.seen.append(error.reason))

    def enqueue(self, kind: JobKind, subject: int = 0) -> int:
        with self.database.write() as session:
            return enqueue(session, kind, subject)

    def state(self, number: int) -> tuple[JobState, int]:
        [job] = [job for job in self.services.jobs.list() if job.id == number]
        return job.state, job.attempts


@pytest.fixture
def bench(console: ServiceConsole) -> WorkRig:
    return WorkRig(console)


def test_a_job_is_done_once_however_often_it_is_sent(bench: WorkRig) -> None:
    def run(context: JobContext) -> JobResult:
        [worker] = bench.services.workers.list()
        bench.seen.append((context.job.id, [task.kind for task in worker.tasks]))
        return DONE

    bench.handle(JobKind.USAGE, run)
    number = bench.enqueue(JobKind.USAGE)
    work = bench.work()
    for _ in range(3):
        assert not work.look_at_job(number, bench.stop)
    assert bench.seen == [(number, ["usage"])]
    assert bench.state(number) == (JobState.DONE, 1)
    assert bench.services.workers.list()[0].tasks == ()


def test_a_message_about_nothing_does_nothing(bench: WorkRig) -> None:
    for number in (0, 987, 2**63 - 1):
        assert not bench.work().look_at_job(number, bench.stop)
    assert bench.seen == []


def test_what_fails_is_recorded(bench: WorkRig) -> None:
    def run(context: JobContext) -> JobResult:
        raise ValueError("secret details")

    bench.handle(JobKind.USAGE, run)
    number = bench.enqueue(JobKind.USAGE)
    bench.work().look_at_job(number, bench.stop)
    assert bench.seen == ["Something went wrong inside Stowage while this was running."]
    assert bench.state(number) == (JobState.FAILED, 1)


def test_what_is_stopped_goes_on_elsewhere(bench: WorkRig) -> None:
    def run(context: JobContext) -> JobResult:
        bench.stop.set()
        return JobResult(requeue=context.should_stop())

    bench.handle(JobKind.USAGE, run)
    number = bench.enqueue(JobKind.USAGE)
    bench.work().look_at_job(number, bench.stop)
    assert bench.state(number) == (JobState.QUEUED, 1)


def test_a_process_with_threads_that_hang_is_replaced(bench: WorkRig) -> None:
    bench.handle(JobKind.USAGE, lambda context: JobResult(requeue=True, restart=True))
    number = bench.enqueue(JobKind.USAGE)
    assert bench.work().look_at_job(number, bench.stop)
    assert bench.state(number) == (JobState.QUEUED, 1)


def test_what_is_cut_short_goes_on_when_its_process_is_gone(bench: WorkRig) -> None:
    bench.handle(JobKind.USAGE, lambda context: JobResult(requeue=True, aborted=True))
    number = bench.enqueue(JobKind.USAGE)
    assert bench.work().look_at_job(number, bench.stop)
    # A thread of it may still write: until then nobody gets it.
    assert bench.state(number) == (JobState.RUNNING, 1)
    assert bench.services.jobs.get_due(number) is None
    assert [task.kind for task in bench.services.workers.list()[0].tasks] == ["usage"]


def test_a_worker_elsewhere_leaves_the_folders_of_the_console_alone(bench: WorkRig) -> None:
    bench.handle(JobKind.COUNT, lambda context: DONE)
    bench.handle(JobKind.UPLOADS, lambda context: DONE)
    with bench.database.read() as session:
        backend = session.query(Backend.id).filter_by(name="local-disk").scalar()
    count, uploads = bench.enqueue(JobKind.COUNT, backend), bench.enqueue(JobKind.UPLOADS)
    elsewhere = bench.work(has_files=False)
    for number in (count, uploads):
        elsewhere.look_at_job(number, bench.stop)
        assert bench.state(number) == (JobState.QUEUED, 0)
        bench.work().look_at_job(number, bench.stop)
        assert bench.state(number) == (JobState.DONE, 1)


def test_without_the_key_nothing_is_begun(bench: WorkRig) -> None:
    bench.handle(JobKind.USAGE, lambda context: DONE)
    number = bench.enqueue(JobKind.USAGE)
    key = bench.services.settings.key_file
    key.rename(key.with_name("away"))
    bench.work().look_at_job(number, bench.stop)
    bench.work().carry(Carry(1, 1, 1, 2), bench.stop)
    assert bench.state(number) == (JobState.QUEUED, 0)
    assert bench.seen == []


def test_a_worker_that_is_taken_for_dead_begins_nothing(bench: WorkRig) -> None:
    bench.handle(JobKind.USAGE, lambda context: DONE)
    number = bench.enqueue(JobKind.USAGE)
    bench.services.workers.unregister(bench.worker)
    bench.work().look_at_job(number, bench.stop)
    assert bench.state(number)[0] is JobState.QUEUED
    bench.work().carry(Carry(1, 1, 1, 2), bench.stop)
    assert bench.seen == []


def test_a_carrier_is_listed_while_it_carries(bench: WorkRig) -> None:
    assert not bench.work().carry(Carry(7, 12, 2, 3), bench.stop)
    assert bench.seen == [(Carry(7, 12, 2, 3), "carrier")]
    assert bench.services.workers.carrying(7) == {}


# ---- signs of life


@pytest.fixture
def task(bench: WorkRig) -> int:
    number = bench.services.workers.begin_task(bench.worker, JobKind.USAGE, 0, fence=1)
    assert number is not None
    return number


def test_a_process_that_is_taken_for_dead_ends_itself(bench: WorkRig, task: int) -> None:
    ended = threading.Event()
    with SignsOfLife(bench.services.workers, task, every=0.01, end_process=ended.set):
        with bench.database.write() as session:
            row = session.get(WorkerTask, task)
            assert row is not None
            session.delete(row)
        assert ended.wait(60)


def test_a_process_that_is_cut_off_ends_itself(
    bench: WorkRig, task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> bool:
        raise StowageError(Kind.UNREACHABLE, "The database server does not answer.", operation="database")

    ended = threading.Event()
    monkeypatch.setattr(bench.services.workers, "renew_task", away)
    with SignsOfLife(bench.services.workers, task, every=0.01, life=0.3, end_process=ended.set):
        assert ended.wait(60)


def test_signs_of_life_renew_the_claim_and_say_how_fast_it_is(bench: WorkRig, task: int) -> None:
    renewed, copied = threading.Semaphore(0), [0]

    def renew() -> None:
        copied[0] += 50
        renewed.release()

    def end() -> None:
        raise AssertionError("it was alive")

    with SignsOfLife(
        bench.services.workers, task, copied=lambda: copied[0], renew=renew, every=0.01, end_process=end
    ):
        for _ in range(3):
            assert renewed.acquire(timeout=60)
        [shown] = bench.services.workers.list()[0].tasks
        assert shown.objects >= 50
        assert shown.rate > 0
    assert bench.services.workers.list()[0].tasks == ()


# ---- who may join


def test_a_broker_needs_a_database_that_others_can_use() -> None:
    with pytest.raises(SettingsError, match="STOWAGE_BROKER_URL needs STOWAGE_DATABASE_URL"):
        Settings.from_env({"STOWAGE_BROKER_URL": REDIS})
    both = Settings.from_env({"STOWAGE_BROKER_URL": REDIS, "STOWAGE_DATABASE_URL": DATABASE})
    assert joining.require_broker(both) == REDIS
    assert "s3cr3t" not in repr(both)


@pytest.mark.parametrize("address", ["amqp://host", "broker.test:6379", "redis://:s3cr3t@a b"])
def test_other_brokers_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="takes the address of a Redis server") as refusal:
        Settings.from_env({"STOWAGE_BROKER_URL": address, "STOWAGE_DATABASE_URL": DATABASE})
    assert address not in str(refusal.value)


def test_without_a_broker_there_is_nothing_to_join(console: ServiceConsole) -> None:
    with pytest.raises(StowageError, match="STOWAGE_BROKER_URL is not set"):
        joining.require_broker(console.settings)


def test_a_worker_makes_no_console(console: ServiceConsole) -> None:
    joining.require_console(console.database)
    with console.database.main.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE settings RENAME TO gone")
    with pytest.raises(StowageError, match="No console has used this database yet") as refusal:
        joining.require_console(console.database)
    assert "Start the console first" in refusal.value.remedy


def test_a_worker_needs_the_key_and_every_driver(console: ServiceConsole) -> None:
    keys, database = console.services.keys, console.database
    joining.require_fit(keys, database)
    with database.write() as session:
        session.query(Backend).filter_by(name="local-disk").update({"driver": "tape"})
    with pytest.raises(StowageError, match="The backend “local-disk” cannot be used on this machine"):
        joining.require_fit(keys, database)
    key = console.settings.key_file
    key.rename(key.with_name("away"))
    with pytest.raises(StowageError, match="is missing") as refusal:
        joining.require_fit(keys, database)
    assert refusal.value.kind is Kind.SEALED


def test_a_folder_is_known_wherever_it_is_mounted(console: ServiceConsole, tmp_path: Path) -> None:
    instance, other = console.settings.instance, tmp_path / "other"
    other.mkdir()
    assert not shares_files(console.database, instance)
    keep_folder(console.database, instance)
    assert shares_files(console.database, instance)
    assert not shares_files(console.database, other)
    assert folder_id(other) == folder_id(other) != folder_id(instance)
    # A new folder, from a backup perhaps, is the console's as soon as the console uses it.
    keep_folder(console.database, other)
    assert shares_files(console.database, other)
    assert not shares_files(console.database, instance)
    (other / "folder.id").write_text("")
    with pytest.raises(StowageError, match="is empty"):
        folder_id(other)


def test_what_workers_listen_to() -> None:
    assert queue_names(tuple(Queue), has_files=False) == ("migrations", "counts")
    assert queue_names(tuple(Queue), has_files=True) == (
        *("migrations", "migrations.local", "counts", "counts.local"),
        *("media", "maintenance"),
    )


# ---- what is said of it


def test_a_process_that_is_lost_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    from celery.exceptions import WorkerLostError

    from dashboard.services.cluster.node import LostProcesses

    speaks = logging.getLogger("tests.celery")
    speaks.addFilter(LostProcesses())
    for error in (WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0."), ValueError("x")):
        try:
            raise error
        except Exception:
            speaks.exception("Task handler raised error: %r", error)
    lost, unexpected = caplog.records
    assert (lost.levelname, lost.exc_info) == ("WARNING", None)
    assert lost.getMessage() == (
        "A process of this worker ended in the middle of a task, and another goes on with it: "
        "Worker exited prematurely: signal 9 (SIGKILL)"
    )
    assert unexpected.levelname == "ERROR"
    assert unexpected.exc_info is not None


@pytest.mark.parametrize("expected", [True, False])
def test_a_carrier_without_its_database_ends_with_a_sentence(
    bench: WorkRig, caplog: pytest.LogCaptureFixture, expected: bool
) -> None:
    def fail(request: Carry, carrying: Carrying) -> bool:
        raise StowageError(Kind.UNREACHABLE, "It is away.", operation="database") if expected else ValueError

    bench.fails = fail
    # Its threads may hang: the process is replaced.
    assert bench.work().carry(Carry(7, 12, 2, 3), bench.stop)
    [record] = [each for each in caplog.records if "Carrier 2 of migration 7" in each.getMessage()]
    assert (record.exc_info is None) is expected
    assert (record.levelname, "go to others" in record.getMessage()) == (
        ("WARNING", True) if expected else ("ERROR", False)
    )
