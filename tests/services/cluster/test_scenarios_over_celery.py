"""The scenarios of kills, faults and fences, with workers of Celery as the run and its carriers."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from dashboard.errors import Kind, StowageError
from dashboard.migration.types import Counters, LedgerRow, Outcome, Progress, Spec, State
from dashboard.services.cluster import dispatcher
from dashboard.services.workers import workers
from dashboard.services.workers.worker_values import BEAT_SECONDS, Queue
from tests.migration.ledgers import all_rows, assert_exact_rows
from tests.migration.scenario import PASSING, ServerFault, contents, leftovers, some_objects
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import ServerProcess, wait_until
from tests.services.cluster.faulty_node import (
    CARRIER,
    HOLD,
    KILL,
    LIFE_SECONDS,
    RUN,
    SUSPEND,
    Blow,
    struck,
)
from tests.services.cluster.rig import Cluster, cluster

COUNT = 120
SPEC = Spec(workers=8)
SECONDS = 120


class Workshop:
    """A cluster with one Celery worker of two processes, which fail as a test says."""

    def __init__(self, found: Cluster) -> None:
        self.cluster = found
        self.folder = found.folder
        self._stop = threading.Event()
        self._ended_before = 0
        services = found.services
        self._worker = services.workers.register(tuple(Queue), 2, has_files=True)
        words = ["--instance", str(found.settings.instance), "--key-file", str(found.settings.key_file)]
        words += ["--worker", self._worker, "--queues", "migrations", "--slots", "2", "--has-files"]
        environment = [f"{name}={value}" for name, value in found.environment().items()]
        program = ["env", "-i", *environment, sys.executable, "-m", "tests.services.cluster.faulty_node"]
        self._node = ServerProcess(
            [*program, str(self.folder), *words], cwd=Path.cwd(), log=self.folder / "node.log"
        )
        self._threads = [
            threading.Thread(target=services.runner.run_forever, args=(self._stop,), daemon=True),
            threading.Thread(target=self._beat, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS / 5):
            try:
                self.cluster.services.workers.beat(self._worker)
            except StowageError:
                continue

    def stop(self) -> None:
        self._stop.set()
        self._node.stop()
        for thread in self._threads:
            thread.join(30)

    # ---- one scenario

    def clear(self) -> None:
        """Before a test."""
        self._ended_before = self._ended()
        for folder in (self.cluster.here, self.cluster.there):
            shutil.rmtree(folder)
            folder.mkdir()
        for name in ("blow", "fault", "apart", "go", "puts.log"):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob("struck.*"):
            path.unlink()
        for key, content in some_objects(COUNT).items():
            path = self.cluster.here / key
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)

    def await_blow(self) -> int:
        """Wait until it has fallen; return the process it fell on."""
        wait_until(lambda: struck(self.folder) is not None, seconds=SECONDS, what="the blow")
        found = struck(self.folder)
        assert found is not None
        return found

    def puts(self) -> Counter[str]:
        """How often each object was sent to the destination."""
        return Counter((self.folder / "puts.log").read_text().splitlines())

    def lost_processes(self) -> int:
        """How many ended since the test began, killed or by themselves."""
        return self._ended() - self._ended_before

    def _ended(self) -> int:
        return (self.folder / "node.log").read_text(errors="replace").count(" exited with ")

    def rows(self, number: int) -> tuple[LedgerRow, ...]:
        return all_rows(self.cluster.database, number)

    def counters(self, number: int) -> Counters:
        return self.cluster.services.migrations.progress(number).counters

    def await_clean(self, number: int) -> Progress:
        """Wait for its end: everything is there once, and the counters say so."""
        progress = self.cluster.await_final(number, seconds=SECONDS)
        assert progress.outcome is Outcome.CLEAN
        assert contents(self.cluster.there) == contents(self.cluster.here)
        assert leftovers(self.cluster.there) == []
        self.assert_exact(number)
        return progress

    def assert_exact(self, number: int) -> None:
        """Its counters are those of its rows, of which there is one for each object."""
        rows = self.rows(number)
        assert sorted(row.key for row in rows) == sorted(some_objects(COUNT))
        assert_exact_rows(rows, self.counters(number))

    def await_death(self, pid: int) -> None:
        """Wait until a process has ended, and its parent knows."""

        def gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        wait_until(gone, seconds=SECONDS, what="the end of the process")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Iterator[Workshop]:
    with pytest.MonkeyPatch.context() as patch, cluster(tmp_path_factory.mktemp("w"), postgresql) as found:
        # As in the workers: who is gone, and when that is looked at.
        patch.setattr(workers, "GRACE_SECONDS", LIFE_SECONDS / 6)
        patch.setattr(dispatcher, "POLL_SECONDS", 0.05)
        patch.setattr(dispatcher, "BURY_SECONDS", 0.2)
        made = Workshop(found)
        yield made
        made.stop()


@pytest.fixture
def shop(opened: Workshop) -> Workshop:
    opened.clear()
    return opened


def _chosen(all_of: Iterable[tuple[str, ...]], in_suite: set[tuple[str, ...]]) -> list[ParameterSet]:
    """All, of which the others are for ``make torture``."""
    return [pytest.param(*each, marks=[] if each in in_suite else pytest.mark.torture) for each in all_of]


@pytest.mark.parametrize(
    ("who", "where"),
    _chosen(
        product((RUN, CARRIER), ("put", "stored", "settling", "settled")),
        {(CARRIER, "stored")},
    ),
)
def test_a_process_that_is_killed_loses_and_repeats_nothing(shop: Workshop, who: str, where: str) -> None:
    Blow(who, KILL, where).ask_for(shop.folder)
    number = shop.cluster.migrate(SPEC)
    shop.await_clean(number)
    assert struck(shop.folder)
    # What was in flight, in no more than the rows of one chunk.
    wait_until(lambda: shop.lost_processes() > 0, seconds=SECONDS, what="the end of the process")
    assert shop.puts().total() - COUNT <= shop.lost_processes() * COUNT // 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(each, marks=[] if each.kind is Kind.THROTTLED else pytest.mark.torture, id=str(each))
        for each in PASSING
    ],
)
def test_passing_faults_are_retried_until_they_pass(shop: Workshop, fault: ServerFault) -> None:
    fault.to_file(shop.folder / "fault")
    number = shop.cluster.migrate(SPEC)
    shop.await_clean(number)
    assert min(row.attempts for row in shop.rows(number) if fault.hits(row.key)) > 1


@pytest.mark.torture
def test_a_fault_that_stays_fails_its_objects_only(shop: Workshop) -> None:
    fault = ServerFault(Kind.DENIED, "put")
    fault.to_file(shop.folder / "fault")
    number = shop.cluster.migrate(SPEC)
    progress = shop.cluster.await_final(number, seconds=SECONDS)
    assert progress.outcome is Outcome.WITH_ERRORS
    missing = set(contents(shop.cluster.here)) - set(contents(shop.cluster.there))
    assert missing == {key for key in some_objects(COUNT) if fault.hits(key)}
    shop.assert_exact(number)


@pytest.mark.torture
@pytest.mark.parametrize(("who", "where"), [(CARRIER, "read"), (RUN, "read"), (RUN, "list")])
def test_one_that_slept_past_its_time_writes_and_settles_nothing(
    shop: Workshop, who: str, where: str
) -> None:
    # On another machine: on this one it would have been killed.
    (shop.folder / "apart").touch()
    Blow(who, SUSPEND, where).ask_for(shop.folder)
    number = shop.cluster.migrate(SPEC)
    pid = shop.await_blow()
    shop.await_clean(number)
    before = shop.puts(), shop.rows(number), shop.counters(number)
    os.kill(pid, signal.SIGCONT)
    shop.await_death(pid)
    assert (shop.puts(), shop.rows(number), shop.counters(number)) == before
    shop.await_clean(number)


def test_one_that_slept_before_it_deletes_sources_deletes_nothing(shop: Workshop) -> None:
    (shop.folder / "apart").touch()
    before, places = contents(shop.cluster.here), (shop.cluster.here, shop.cluster.there)
    Blow(RUN, SUSPEND, "deleting").ask_for(shop.folder)
    # One deletes: another might fall asleep in the middle of its deletion.
    number = shop.cluster.migrate(Spec(workers=1, delete_source=True))
    pid = shop.await_blow()
    progress = shop.cluster.await_final(number, seconds=SECONDS)
    assert (progress.outcome, progress.counters.deleted) == (Outcome.CLEAN, COUNT)
    assert [contents(place) for place in places] == [{}, before]
    # Somebody puts the same objects there again, and this time they are to stay.
    shutil.copytree(shop.cluster.there, shop.cluster.here, dirs_exist_ok=True)
    rows, counters = shop.rows(number), shop.counters(number)
    os.kill(pid, signal.SIGCONT)
    shop.await_death(pid)
    assert [contents(place) for place in places] == [before, before]
    assert (shop.rows(number), shop.counters(number)) == (rows, counters)


@pytest.mark.torture
def test_one_that_is_suspended_on_this_machine_is_killed(shop: Workshop) -> None:
    Blow(CARRIER, SUSPEND, "stored").ask_for(shop.folder)
    number = shop.cluster.migrate(SPEC)
    shop.await_death(shop.await_blow())
    shop.await_clean(number)


@pytest.mark.torture
def test_without_the_broker_a_migration_goes_on(shop: Workshop) -> None:
    Blow(RUN, HOLD, "put").ask_for(shop.folder)
    number = shop.cluster.migrate(SPEC)
    shop.await_blow()
    shop.cluster.redis.stop()
    try:
        (shop.folder / "go").touch()
        shop.await_clean(number)
    finally:
        shop.cluster.redis.start()
    # And afterwards others begin.
    assert shop.cluster.await_final(shop.cluster.migrate(SPEC), seconds=SECONDS).state is State.FINISHED


@pytest.mark.torture
def test_without_the_database_processes_end_and_others_go_on(shop: Workshop) -> None:
    Blow(RUN, HOLD, "put").ask_for(shop.folder)
    number = shop.cluster.migrate(SPEC)
    pid = shop.await_blow()
    shop.cluster.postgresql.stop()
    try:
        shop.await_death(pid)
    finally:
        shop.cluster.postgresql.start()
    (shop.folder / "go").touch()
    shop.await_clean(number)
