"""The pool: nothing wakes the scheduler for each object, and nothing waits behind an object that hangs."""

from __future__ import annotations

import threading
import time
from random import Random

from dashboard.errors import Kind
from dashboard.migration.execute import Execution
from dashboard.migration.ledger import Done, Planned, Reason
from dashboard.migration.pool import Failed, Stopped, Task, WorkerPool
from dashboard.migration.types import Action, ObjectState, Spec
from tests.migration.memory_ledger import MemoryLedger
from tests.migration.scenario import Scenario, some_objects
from tests.servers.processes import wait_until


def test_results_are_taken_by_the_batch() -> None:
    begin = threading.Event()

    def work(number: int, stop: object) -> int:
        begin.wait(120)
        return number

    pool = WorkerPool(work, 4)
    pool.wake_after = 250
    for number in range(1000):
        pool.put(number)
    begin.set()
    batches, left = 0, 1000
    while left:
        found = pool.results(120)
        left -= len(found)
        batches += bool(found)
    # A batch each, and at the end, when nothing is queued, at most one for each worker.
    assert batches <= 4 + 4
    assert pool.close(time.monotonic() + 30) == 0


def test_a_result_is_not_held_back_by_the_next_object_of_its_worker() -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def work(number: int, stop: object) -> int:
        if number < 3:
            return number
        hangs.set()
        return let_go.wait(60)

    pool = WorkerPool(work, 1)
    pool.wake_after = 100
    for number in range(10):
        pool.put(number)
    seen: list[int] = []
    wait_until(
        lambda: seen.extend(n for n, _ in pool.results(0.01)) or len(seen) == 3,
        seconds=60,
        what="three results",
    )
    assert hangs.wait(120)
    # What no worker has begun can be taken back, in its order.
    assert pool.withdraw() == [4, 5, 6, 7, 8, 9]
    let_go.set()
    assert pool.results(120) == [(3, True)]
    assert pool.close(time.monotonic() + 30) == 0


def test_a_stop_ends_what_is_queued() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def work(number: int, stop: object) -> int:
        begun.set()
        let_go.wait(120)
        return number

    pool = WorkerPool(work, 1)
    pool.wake_after = 100
    for number in range(5):
        pool.put(number)
    assert begun.wait(120)
    pool.request_stop()
    let_go.set()
    found: list[object] = []
    wait_until(lambda: found.extend(pool.results(0.01)) or len(found) == 5, seconds=60, what="five results")
    assert found == [(0, 0), *((number, Stopped()) for number in range(1, 5))]


def test_copies_are_recorded_while_another_object_hangs(scenario: Scenario) -> None:
    scenario.fill(some_objects(60))
    let_go, looked = threading.Event(), []

    def hang(verb: str, key: str) -> None:
        if verb == "put" and key.endswith("0030.bin"):
            wait_until(lambda: scenario.ledgers.counters().verified == 59, seconds=60, what="all the others")
            looked.append(key)
            let_go.set()

    scenario.destination.hook = hang
    scenario.assert_clean(scenario.run(Spec(workers=2)))
    assert let_go.is_set()
    assert len(looked) == 1


def test_a_server_that_throttles_is_not_sent_all_that_was_waiting() -> None:
    begun: list[str] = []
    busy, most, lock, let_go = 0, 0, threading.Lock(), threading.Event()

    def work(task: Task, stop: object) -> Done | Failed:
        nonlocal busy, most
        with lock:
            begun.append(task.row.key)
            throttled = len(begun) <= 4
        if throttled:
            return Failed(Kind.THROTTLED, Reason("throttled", "Slow down."), retryable=True)
        if len(begun) <= 8:
            let_go.wait(120)
        else:
            with lock:
                busy += 1
                most = max(most, busy)
            threading.Event().wait(0.001)
            with lock:
                busy -= 1
        return Done(ObjectState.VERIFIED, 1)

    ledger = MemoryLedger()
    ledger.begin()
    ledger.record([Planned(f"{number:03}", 1, Action.COPY) for number in range(200)])
    pool = WorkerPool(work, 4)
    execution = Execution(pool, ledger, 4, clock=time.time, random=Random(1))
    execution.step(0.0, listing_final=True)
    wait_until(lambda: len(begun) == 8, seconds=60, what="four that are throttled and four that follow")
    execution.step(0.0, listing_final=True)
    let_go.set()
    while not execution.finished:
        execution.step(0.05, listing_final=True)
    assert most <= 2
    # Those that were taken back kept their order, and none was lost or copied twice.
    assert sorted(begun) == sorted([*begun[:4], *(f"{number:03}" for number in range(200))])
    assert ledger.counters().verified == 200
    pool.close(time.monotonic() + 30)
