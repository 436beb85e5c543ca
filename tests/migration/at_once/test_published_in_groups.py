"""Objects that are published in groups: each as if it had been stored alone."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.migration.grouping import publishing
from dashboard.migration.grouping.publishing import Publisher, Unpublished
from dashboard.migration.ledger import Claimed
from dashboard.migration.pool import Failed, Result, Stopped, Task, WorkerPool
from dashboard.migration.provenance import Provenance
from dashboard.migration.reasons import UNEXPECTED
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import Action, ObjectState, Spec, State, Verify
from dashboard.storage.drivers.local import grouping, syncing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Written
from tests.migration.scenario import Scenario, contents, leftovers, some_objects
from tests.servers.processes import wait_until

needs_groups = pytest.mark.skipif(syncing._LIBC is None, reason="files are flushed together on Linux only")


class Syncs:
    """What is done instead of flushing the file system; ``failing`` times it fails with this code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0, failing: int = 0) -> None:
        self.count, self.failing, self._code = 0, failing, code
        self.before = lambda: None
        monkeypatch.setattr(syncing.FileSystem, "flushes", True)
        # However slow the machine is: all objects are in groups, and a group is complete.
        monkeypatch.setattr(grouping, "FEW", 0)
        monkeypatch.setattr(grouping, "SLOW_SECONDS", 3600.0)
        monkeypatch.setattr(syncing, "sync_file_system", self)

    def __call__(self, fd: int) -> None:
        self.count += 1
        self.before()
        if self.failing:
            self.failing -= 1
            raise OSError(self._code, os.strerror(self._code))


@needs_groups
def test_new_objects_are_flushed_by_the_group(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch)
    scenario.fill(some_objects(300))
    scenario.assert_clean(scenario.run())
    assert 0 < syncs.count <= 2 * 300
    assert len(scenario.destination.keys_of("put")) == 300


@needs_groups
def test_a_move_deletes_nothing_before_it_is_flushed(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, here = Syncs(monkeypatch), []
    scenario.fill(some_objects(100))
    before = contents(scenario.here)
    syncs.before = lambda: here.append(len(list(scenario.here.rglob("*.bin"))))
    result = scenario.run(Spec(workers=4, delete_source=True))
    assert result.state is State.FINISHED
    assert contents(scenario.there) == before
    assert contents(scenario.here) == {}
    assert set(here) == {100}


@needs_groups
def test_what_was_not_flushed_is_copied_again(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch, errno.EIO, failing=1)
    scenario.fill(some_objects(60))
    scenario.assert_clean(scenario.run())
    assert syncs.failing == 0
    assert len(scenario.destination.keys_of("put")) > 60


@needs_groups
def test_a_disk_that_is_full_when_it_is_flushed_ends_the_run(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    Syncs(monkeypatch, errno.ENOSPC, failing=10**6)
    scenario.fill(some_objects(60))
    result = scenario.run()
    assert result.state is State.FAILED
    assert "full" in result.message
    assert contents(scenario.there) == {}
    assert leftovers(scenario.there) == []
    assert scenario.ledgers.counters().done == 0


@needs_groups
@pytest.mark.parametrize("delete_source", [False, True])
def test_what_another_writer_puts_there_meanwhile_stays(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, delete_source: bool
) -> None:
    """Between writing a file and naming it: it is not ours, and its source stays."""
    syncs = Syncs(monkeypatch)
    objects = some_objects(40)
    scenario.fill(objects)
    key = sorted(objects)[20]

    def write() -> None:
        scenario.fill({key: b"another writer's"}, there=True)

    syncs.before = write
    scenario.run(Spec(workers=4, delete_source=delete_source))
    assert (scenario.there / key).read_bytes() == b"another writer's"
    assert (scenario.here / key).read_bytes() == objects[key]
    assert scenario.rows()[key].state in (ObjectState.FAILED, ObjectState.SKIPPED)
    assert scenario.ledgers.counters().verified == 39


@needs_groups
def test_a_lost_receipt_of_one_object_is_no_failure_of_its_group(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    Syncs(monkeypatch)
    objects = some_objects(40)
    scenario.fill(objects)
    key, lost = sorted(objects)[7], []

    def lose(verb: str, at: str) -> None:
        if (verb, at) == ("stored", key) and not lost:
            lost.append(at)
            raise StorageError(Kind.UNREACHABLE, "No answer came.")

    scenario.destination.hook = lose
    scenario.assert_clean(scenario.run())
    assert lost == [key]


@needs_groups
def test_what_is_read_back_waits_for_no_group(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch)
    scenario.fill(some_objects(20))
    scenario.assert_clean(scenario.run(Spec(workers=4, verify=Verify.READBACK)))
    assert syncs.count == 0


# ---- the pool


class Nothing:
    def __init__(self, key: str) -> None:
        self.key, self.discarded = key, False

    def discard(self) -> None:
        self.discarded = True


def prepared(number: int) -> Unpublished[int]:
    return Unpublished(Nothing(str(number)), lambda outcome: number)


Group = Sequence[tuple[int, Unpublished[int]]]


def results_of(pool: WorkerPool[int, int], wanted: int) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    wait_until(
        lambda: found.extend(pool.results(0.01)) or len(found) == wanted, seconds=60, what="the results"
    )
    return found


def test_a_group_does_not_wait_for_an_object_that_hangs() -> None:
    let_go, sizes = threading.Event(), []

    def work(number: int, stop: object) -> Unpublished[int]:
        if number == 5:
            let_go.wait(60)
        return prepared(number)

    def publish(group: Group) -> list[int | None]:
        sizes.append(len(group))
        return [number for number, _ in group]

    pool: WorkerPool[int, int] = WorkerPool(work, 1, publish)
    for number in range(10):
        pool.put(number)
    assert sorted(results_of(pool, 5)) == [(n, n) for n in range(5)]
    wait_until(lambda: pool.unpublished == 0, seconds=60, what="nothing to publish")
    let_go.set()
    assert sorted(results_of(pool, 5)) == [(n, n) for n in range(5, 10)]
    assert sum(sizes) == 10
    assert pool.close(time.monotonic() + 30) == 0


def test_a_failure_is_not_seen_before_the_successes_that_came_first() -> None:
    let_go = threading.Event()

    def work(number: int, stop: object) -> Unpublished[int] | Failed:
        return Failed(Kind.TIMEOUT, UNEXPECTED) if number > 2 else prepared(number)

    def publish(group: Group) -> list[int | None]:
        let_go.wait(60)
        return [number for number, _ in group]

    pool: WorkerPool[int, Any] = WorkerPool(work, 1, publish)
    for number in range(5):
        pool.put(number)
    wait_until(lambda: pool.unpublished == 5, seconds=60, what="everything to be done")
    assert pool.results(0) == []
    let_go.set()
    assert [number for number, _ in results_of(pool, 5)] == list(range(5))
    assert pool.unpublished == 0
    assert pool.close(time.monotonic() + 30) == 0


def test_a_group_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "GROUP_SECONDS", 60.0)
    sizes: list[int] = []
    publisher: Publisher[int] = Publisher(lambda group: sizes.append(len(group)))
    for number in range(2 * publishing.GROUP + 3):
        publisher.add(number, hurry=False)
    wait_until(lambda: len(sizes) == 2, seconds=60, what="two full groups")
    # At its end nothing waits for more.
    assert publisher.close(time.monotonic() + 30) == 0
    assert sizes == [publishing.GROUP, publishing.GROUP, 3]
    publisher.add(1, hurry=False)
    assert sizes[3:] == [1]


def test_what_has_to_begin_again_does() -> None:
    begun: list[int] = []

    def work(number: int, stop: object) -> int | Unpublished[int]:
        begun.append(number)
        return prepared(number) if begun.count(number) == 1 else -number

    pool: WorkerPool[int, int] = WorkerPool(work, 2, lambda group: [None for _ in group])
    for number in range(6):
        pool.put(number)
    assert sorted(results_of(pool, 6)) == [(number, -number) for number in range(6)]
    assert pool.unpublished == 0
    assert pool.close(time.monotonic() + 30) == 0


@pytest.mark.parametrize("fault", ["raises", "too few results"])
def test_a_fault_of_ours_fails_the_group_and_ends_nothing(fault: str) -> None:
    given: list[Unpublished[int]] = []

    def work(number: int, stop: object) -> int | Unpublished[int]:
        if number > 2:
            return number
        given.append(prepared(number))
        return given[-1]

    def publish(group: Group) -> list[int | None]:
        if fault == "raises":
            raise RuntimeError("a fault")
        return []

    pool: WorkerPool[int, int] = WorkerPool(work, 1, publish)
    for number in range(3):
        pool.put(number)
    failed = results_of(pool, 3)
    assert all(isinstance(result, Failed) and result.kind is Kind.INTERNAL for _, result in failed)
    assert all(isinstance(each.prepared, Nothing) and each.prepared.discarded for each in given)
    pool.put(3)
    assert results_of(pool, 1) == [(3, 3)]
    assert pool.close(time.monotonic() + 30) == 0


def test_an_outcome_reaches_the_object_that_it_is_about() -> None:
    receipt = Written("x", 1, "")
    seen: list[Written | StorageError] = []
    Unpublished(Nothing("x"), seen.append).finish(receipt)
    assert seen == [receipt]


def test_who_may_not_write_any_more_publishes_nothing(tmp_path: Path) -> None:
    ends = LocalDriver(str(tmp_path / "here")), LocalDriver(str(tmp_path / "there"))
    transfer = Transfer(Provenance(*ends, Spec(), "token"), "here", may_write=lambda: False)
    task = Task(Claimed(id=1, key="x", size=1, action=Action.COPY), 0)
    failed = Failed(Kind.INTERNAL, UNEXPECTED)
    given: Unpublished[Result] = Unpublished(Nothing("x"), lambda outcome: failed)
    assert transfer.publish([(task, given)]) == [Stopped()]
