"""Carriers on other machines, as the run sees them: it can neither start nor kill them for certain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.migration.carrying.carriers import STOP
from dashboard.migration.ledger import FencedOut
from dashboard.models.migrations import Migration
from dashboard.models.work import carriers
from dashboard.models.workers import WorkerTask
from dashboard.services.cluster.messages import JobMessages
from dashboard.services.database import Database
from dashboard.services.migrations.carrying import remote
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.remote import GONE, Remote, RemoteCarrier
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.services.workers.worker_values import GRACE_SECONDS, Queue
from dashboard.services.workers.workers import CARRIER, Workers
from tests.services.database_file import add_backend, opened

FENCE, NUMBER = 12, 1


class SentMessages(JobMessages):
    """Keeps what is sent; there is no broker."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1/0")
        self.sent: list[tuple[int, int, int, int, str]] = []
        self.away = False

    def send_carry(self, migration_id: int, fence: int, number: int, carriers: int, queue: str) -> bool:
        self.sent.append((migration_id, fence, number, carriers, queue))
        return not self.away


class RemoteRig:
    """A run of migration 1 and a registered worker."""

    def __init__(self, database: Database, backend: int) -> None:
        self.database = database
        self.workers = Workers(database)
        self.worker = self.workers.register(tuple(Queue), 3, has_files=False)
        self.messages = SentMessages()
        self.remote = Remote(database, self.workers, self.messages)
        with database.write() as session:
            session.add(
                Migration(
                    **{"id": 1, "source": "a", "source_id": backend, "destination": "b", "spec": {}},
                    **{"state": "running", "created_by": "ada", "created_at": 0.0},
                )
            )
        self.ledger = RunLedger(database.work, 1, fence=FENCE)
        self.ledger.begin()
        self.ledger.add_carrier(NUMBER, time.time())

    def start(self) -> RemoteCarrier:
        return self.remote.starter(self.ledger, 1)(NUMBER)

    def take(self) -> int:
        """What a worker does with the message."""
        task = self.workers.begin_task(self.worker, CARRIER, 1, fence=FENCE, number=NUMBER)
        assert task is not None
        return task


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteRig]:
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.0)
    with opened(tmp_path) as database:
        yield RemoteRig(database, add_backend(database, "disk"))


def test_a_carrier_runs_until_its_worker_says_that_it_ended(rig: RemoteRig) -> None:
    carrier = rig.start()
    assert rig.messages.sent == [(1, FENCE, NUMBER, 1, "migrations.local")]
    assert carrier.poll() is None
    task = rig.take()
    assert carrier.poll() is None
    rig.workers.end_task(task)
    assert carrier.poll() == 0


def test_a_message_that_nobody_takes_is_given_up(rig: RemoteRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "UNTAKEN_SECONDS", 0.0)
    assert rig.start().poll() == 0
    # The worker that takes it later finds that nobody waits for it.
    rig.ledger.take_back(NUMBER)
    late = CarrierLedger(rig.database.work, 1, carrier=NUMBER, fence=FENCE)
    late.join(FENCE)
    assert not late.enter()


def test_while_the_broker_is_away_no_carrier_is_waited_for(rig: RemoteRig) -> None:
    rig.messages.away = True
    assert rig.start().poll() == 0


def test_a_number_is_entered_once(rig: RemoteRig) -> None:
    ledgers = [CarrierLedger(rig.database.work, 1, carrier=NUMBER, fence=FENCE) for _ in range(2)]
    for each in ledgers:
        each.join(FENCE)
    assert [each.enter() for each in ledgers] == [True, False]
    later = CarrierLedger(rig.database.work, 1, carrier=NUMBER, fence=FENCE - 1)
    later.join(FENCE - 1)
    assert not later.enter()


def test_it_is_dead_only_when_its_time_is_over(rig: RemoteRig) -> None:
    carrier = rig.start()
    task = rig.take()
    assert not carrier.kill()
    with rig.database.work_read() as connection:
        assert connection.scalar(carriers.select().with_only_columns(carriers.c.workers)) == STOP
    for late, code in ((GRACE_SECONDS / 2, None), (GRACE_SECONDS + 1, GONE)):
        with rig.database.write() as session:
            row = session.get(WorkerTask, task)
            assert row is not None
            row.alive_until = time.time() - late
        assert carrier.poll() == code
    assert carrier.kill()


def test_a_run_waits_for_the_carriers_of_the_one_before(rig: RemoteRig) -> None:
    task = rig.take()
    next_run = RunLedger(rig.database.work, 1, fence=FENCE + 1)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        # The carrier cannot write to the ledger any more, notices, and ends.
        with pytest.raises(FencedOut):
            rig.ledger.cut_ahead()
        rig.workers.end_task(task)
        return False

    rig.remote.await_earlier(next_run, 1, wait)
    assert len(waited) == 1
    rig.remote.await_earlier(next_run, 1, wait)
    assert len(waited) == 1
    rig.remote.await_all(1)


def test_a_run_that_is_to_stop_waits_no_longer(rig: RemoteRig) -> None:
    rig.take()
    with pytest.raises(FencedOut):
        rig.remote.await_earlier(RunLedger(rig.database.work, 1, fence=FENCE + 1), 1, lambda seconds: True)


def test_as_many_carriers_as_there_are_processes_that_may(rig: RemoteRig) -> None:
    # One end is a folder, which only workers with the console's folder may touch.
    assert rig.remote.most(1, 0) == 0
    rig.workers.register(tuple(Queue), 4, has_files=True)
    assert rig.remote.most(1, 0) == 4
    assert rig.remote.most(1, 2) == 2
    assert rig.remote.most(1, 1000) == 64
