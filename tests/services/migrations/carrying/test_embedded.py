"""The run and its other carriers, which are threads here: who copies what, and what happens when one dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.carrying.carriers import Carriers
from dashboard.migration.ledger import Ledger
from dashboard.migration.leftovers import sweep_interrupted
from dashboard.migration.types import Control, ObjectState, Outcome, Spec, State
from dashboard.services.migrations.carrying import embedded, machine
from dashboard.services.migrations.carrying.embedded import EmbeddedCarriers
from dashboard.services.migrations.carrying.machine import Headroom
from dashboard.services.migrations.carrying.processes import CarrierProcess
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.net.rate_limits import RateLimits, Rates
from tests.migration.failing_driver import FailingDriver
from tests.migration.killed_run import start_carrier
from tests.migration.ledgers import SqlLedgers
from tests.migration.scenario import FailingCalls, Scenario, contents, some_objects
from tests.services.migrations.carrying.carrier_thread import CarrierThread

SPEC = Spec(workers=8)


class Crew:
    """A scenario whose run starts carriers as soon as there is a chunk for them."""

    def __init__(self, folder: Path) -> None:
        self.ledgers = SqlLedgers(folder)
        self.scenario = Scenario(folder, self.ledgers)
        self.scenario.carriers = self._carriers
        self.threads: list[CarrierThread] = []
        self.most = 2
        self.max_failures = embedded.MAX_FAILURES
        self.headroom: Headroom | None = None
        self.lease = 15.0
        self.other = FailingDriver(LocalDriver(str(self.scenario.there)))
        """The destination as the other carriers see it."""
        self.dies: Callable[[], bool] = lambda: False
        self._staying = threading.Semaphore(2)

    def _carriers(self, ledger: Ledger) -> Carriers:
        assert isinstance(ledger, RunLedger)
        ledger.parts = self.most
        there = self.scenario.destination
        sweep = partial(sweep_interrupted, there, ledger, "old disk")
        return EmbeddedCarriers(
            ledger,
            most=self.most,
            start=partial(self._start, ledger),
            sweep=lambda stop: sweep(stop=stop),
            max_failures=self.max_failures,
            headroom=self.headroom,
        )

    def _start(self, ledger: RunLedger, number: int) -> CarrierThread:
        ends = (LocalDriver(str(self.scenario.here)), self.other)
        self.threads.append(CarrierThread(ledger, number, ends, spec=SPEC, lease=self.lease, dies=self.dies))
        return self.threads[-1]

    def wait_for_others(self, puts: int = 1) -> None:
        """Called in a worker of the run: goes on when others have written so many objects. Those workers that
        have to end before others may begin are only slow until they have begun."""
        deadline = time.monotonic() + 120
        stays = self._staying.acquire(blocking=False)
        while (done := len(self.other.keys_of("put"))) < puts and time.monotonic() < deadline:
            if not (stays or done) and any(thread.reported.is_set() for thread in self.threads):
                time.sleep(0.3)
                return
            time.sleep(0.01)
        if stays:
            self._staying.release()


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr("dashboard.migration.retry_policy.BASE_DELAY_SECONDS", 0.002)
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(embedded, "MEASURE_SECONDS", 0.0)
    monkeypatch.setattr(embedded, "WORTHWHILE_SECONDS", 0.0)
    monkeypatch.setattr(embedded, "TEND_SECONDS", 0.02)
    monkeypatch.setattr("dashboard.services.migrations.carrying.carrier.REPORT_SECONDS", 0.03)
    monkeypatch.setattr("dashboard.services.migrations.carrying.chunks.MIN_ROWS", 10)
    made = Crew(tmp_path)
    yield made
    made.ledgers.close()


def hold_until_others_work(crew: Crew, after: int = 10, puts: int = 1) -> None:
    """The run's own workers wait until others have copied too."""

    def hold(verb: str, key: str) -> None:
        if verb == "put" and len(crew.scenario.destination.keys_of("put")) > after:
            crew.wait_for_others(puts)

    crew.scenario.destination.hook = hold


def test_the_work_is_shared_and_every_object_copied_once(crew: Crew) -> None:
    crew.scenario.fill(some_objects(300))
    hold_until_others_work(crew, puts=50)
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    written = Counter(crew.scenario.destination.keys_of("put") + crew.other.keys_of("put"))
    assert set(written.values()) == {1}
    assert len(written) == 300
    assert len(crew.other.keys_of("put")) >= 50
    assert [thread.poll() for thread in crew.threads] == [0]
    assert crew.ledgers.live().spent == {}


def test_none_is_started_where_it_would_not_help(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ALONE_SECONDS", 0.0)
    looks: list[float] = []
    crew.headroom = Headroom(lambda: 0.0, lambda: looks.append(0.0) or 0.0)  # type: ignore[func-returns-value]
    monkeypatch.setattr(machine, "WINDOW_SECONDS", 0.001)
    crew.scenario.fill(some_objects(300))
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert looks
    assert not crew.threads


def test_one_is_started_where_it_helps(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ALONE_SECONDS", 0.02)
    monkeypatch.setattr(machine, "WINDOW_SECONDS", 0.01)
    # Every look finds a busy process and an idle machine.
    cpu, idle = count(0, 1000), count(0, 1000)
    crew.headroom = Headroom(lambda: next(cpu), lambda: next(idle))
    crew.scenario.fill(some_objects(300))
    hold_until_others_work(crew, puts=50)
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert len(crew.other.keys_of("put")) >= 50


@pytest.mark.parametrize("control", [Control.PAUSE, Control.CANCEL])
def test_stopping_stops_all_carriers_and_repeats_nothing(crew: Crew, control: Control) -> None:
    crew.scenario.fill(some_objects(300))
    hold_until_others_work(crew, puts=20)

    def stop_soon(verb: str, key: str) -> None:
        if verb == "put" and len(crew.other.keys_of("put")) >= 20:
            crew.scenario.control = control
            crew.scenario.control_seen.wait(120)

    crew.other.hook = stop_soon
    result = crew.scenario.run(SPEC)
    assert result.state in (State.PAUSED, State.CANCELLED)
    assert [thread.poll() for thread in crew.threads] == [0]
    states = {row.state for row in crew.ledgers.rows()}
    assert states <= {ObjectState.PENDING, ObjectState.VERIFIED}
    crew.other.hook = crew.scenario.destination.hook = lambda verb, key: None
    crew.scenario.control = Control.RUN
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    written = Counter(crew.scenario.destination.keys_of("put") + crew.other.keys_of("put"))
    assert set(written.values()) == {1}


def test_rows_of_a_dead_carrier_are_copied_by_others(crew: Crew) -> None:
    crew.scenario.fill(some_objects(300))
    hold_until_others_work(crew, puts=10)
    crew.dies = lambda: len(crew.other.keys_of("put")) >= 10 and len(crew.threads) < 3
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert crew.threads[0].poll() == -9
    written = Counter(crew.scenario.destination.keys_of("put") + crew.other.keys_of("put"))
    assert len(written) == 300
    # At most what was in flight when it died.
    assert sum(written.values()) - 300 <= 256


def test_a_carrier_that_is_suspended_is_killed_before_others_get_its_rows(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(embedded, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(embedded, "WATCH_SECONDS", 0.05)
    crew.lease = 0.3
    crew.scenario.fill(some_objects(400))
    hold_until_others_work(crew, puts=5)

    def suspended() -> bool:
        if len(crew.other.keys_of("put")) >= 5 and len(crew.threads) == 1:
            # In a transaction, so that the database is locked; its leases expire meanwhile.
            crew.threads[0].killed.wait(60)
            return True
        return False

    crew.dies = suspended
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert crew.threads[0].poll() == -9


def test_a_process_that_is_killed_loses_and_repeats_nothing(crew: Crew, tmp_path: Path) -> None:
    crew.scenario.fill(some_objects(900))
    log, processes = tmp_path / "puts.log", list[CarrierProcess]()

    def start(ledger: RunLedger, number: int) -> CarrierProcess:
        processes.append(start_carrier(tmp_path, number, ledger.fence, delete_source=False))
        threading.Thread(target=kill_when_it_works, daemon=True).start()
        return processes[-1]

    def kill_when_it_works() -> None:
        while not (log.exists() and log.read_text().count("\n") > 3):
            time.sleep(0.002)
        os.kill(processes[0].pid, signal.SIGKILL)

    def hold(verb: str, key: str) -> None:
        # The run's own workers are slow until the process is dead: what they began, they have to end.
        if verb == "put" and processes and processes[0].poll() is None:
            time.sleep(0.5)

    crew._start = start  # type: ignore[method-assign,assignment]
    crew.scenario.destination.hook = hold
    crew.max_failures = 1
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert [process.poll() for process in processes] == [-9]
    written = Counter(crew.scenario.destination.keys_of("put") + log.read_text().splitlines())
    assert len(written) == 900
    assert sum(written.values()) - 900 <= SPEC.workers


def test_what_no_carrier_gets_past_ends_the_run(crew: Crew) -> None:
    crew.scenario.fill(some_objects(300))
    hold_until_others_work(crew)
    crew.other.hook = FailingCalls(Kind.FULL, "put", lambda key: True)
    result = crew.scenario.run(SPEC)
    assert result.state is State.FAILED
    assert "said no" in result.message
    assert {row.state for row in crew.ledgers.rows()} <= {ObjectState.PENDING, ObjectState.VERIFIED}
    crew.other.hook = lambda verb, key: None
    crew.scenario.assert_clean(crew.scenario.run(SPEC))


def test_carriers_together_never_copy_more_at_once_than_they_may(crew: Crew) -> None:
    crew.scenario.fill(some_objects(400))
    crew.most = 3
    lock, busy, most = threading.Lock(), set[str](), [0]

    def count(verb: str, key: str) -> None:
        with lock:
            if verb == "put":
                busy.add(key)
            elif verb in ("prepared", "stored"):
                # What waits for its group keeps no worker busy.
                busy.discard(key)
            most[0] = max(most[0], len(busy))
        if verb == "put":
            time.sleep(0.01)

    def count_own(verb: str, key: str) -> None:
        count(verb, key)
        if verb == "put" and len(crew.scenario.destination.keys_of("put")) > 20:
            crew.wait_for_others()

    crew.scenario.destination.hook, crew.other.hook = count_own, count
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert crew.other.keys_of("put")
    assert 0 < most[0] <= SPEC.workers


def test_limits_of_bytes_and_objects_are_shared_out(crew: Crew) -> None:
    crew.scenario.fill(some_objects(300))
    limits = crew.scenario.limits
    limits.change(Rates(bytes=1e9, objects=1e5))
    parts: list[tuple[Rates, Rates]] = []

    def look(verb: str, key: str) -> None:
        if verb == "put" and not parts:
            parts.append((limits.own, crew.threads[0].limits.whole))

    crew.other.hook = look
    hold_until_others_work(crew, puts=20)
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert parts == [(Rates(5e8, 5e4), Rates(5e8, 5e4))]
    assert limits.own == limits.whole


def test_no_further_carrier_is_started_to_wait_for_a_limit(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew.scenario.fill(some_objects(60))
    monkeypatch.setattr(RateLimits, "holds", property(lambda limits: True))
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert crew.threads == []


def test_in_an_outage_one_carrier_looks_whether_it_is_over(crew: Crew) -> None:
    crew.scenario.fill(some_objects(400))
    down, seen, lock = threading.Event(), list[str](), threading.Lock()
    working, over = threading.Event(), threading.Event()
    deadline = time.monotonic() + 120

    def server(who: str, verb: str, key: str) -> None:
        if verb != "put" or over.is_set():
            return
        if down.is_set():
            with lock:
                if over.is_set():
                    return
                seen.append(who)
                # Each needs some failures to notice the outage, and those it had begun; then one goes on.
                if (len(seen) > 150 and len(set(seen[-100:])) == 1) or time.monotonic() > deadline:
                    over.set()
            FailingCalls(Kind.UNREACHABLE, "put", lambda key: True)(verb, key)
        if who == "other":
            working.set()
        elif len(crew.scenario.destination.keys_of("put")) > 20:
            crew.wait_for_others()
            if working.is_set():
                down.set()

    crew.scenario.destination.hook = partial(server, "own")
    crew.other.hook = partial(server, "other")
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert len(contents(crew.scenario.there)) == 400
    assert len(set(seen[-100:])) == 1


def test_the_last_objects_may_fail_in_several_carriers_without_being_an_outage(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_OUTAGE_SECONDS", 20.0)
    crew.scenario.fill(some_objects(400))
    never = FailingCalls(Kind.TIMEOUT, "put", lambda key: int(key[-8:-4]) % 25 == 0)

    def own(verb: str, key: str) -> None:
        # First, so that nothing more is claimed meanwhile: the others need the second half.
        if verb == "put" and len(crew.scenario.destination.keys_of("put")) > 10:
            crew.wait_for_others()
        never(verb, key)

    crew.scenario.destination.hook = own
    crew.other.hook = never
    result = crew.scenario.run(SPEC)
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert crew.ledgers.counters().failed == 16


def test_a_carrier_that_cannot_begin_is_not_started_for_ever(crew: Crew) -> None:
    crew.scenario.fill(some_objects(200))
    begun: list[int] = []

    class Broken:
        def poll(self) -> int | None:
            return 1

        def terminate(self) -> None: ...

        def kill(self) -> bool:
            return True

    last = threading.Event()

    def start(ledger: RunLedger, number: int) -> Broken:
        begun.append(number)
        if number == 3:
            last.set()
        return Broken()

    crew._start = start  # type: ignore[method-assign,assignment]

    def take_time(verb: str, key: str) -> None:
        # Another is only started while there is something left to carry.
        last.wait(1.0)

    crew.scenario.destination.hook = take_time
    crew.scenario.assert_clean(crew.scenario.run(SPEC))
    assert begun == [1, 2, 3]
