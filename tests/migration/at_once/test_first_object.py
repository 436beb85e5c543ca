"""Before the first object is copied and after the last: what waits for what, and what goes on at the same
time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.run import MigrationJob, RunResult, run
from dashboard.migration.types import Control, Outcome, Spec, State
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import MARKER_PREFIX
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules
from dashboard.storage.inspection.powers import UnfinishedUpload
from dashboard.storage.types import Entry, ObjectInfo, Written
from tests.migration.ledgers import MemoryLedgers
from tests.migration.scenario import contents, some_objects

WAIT = 60.0
"""Seconds after which a test fails for want of what it waits for."""


def migrate(
    source: Driver, destination: Driver, rules: Callable[[], NameRules], ledgers: MemoryLedgers | None = None
) -> RunResult:
    job = MigrationJob(7, Spec(workers=4), lambda: True, name_rules=rules)
    ledger = (ledgers or MemoryLedgers()).open()
    return run(job, source, destination, ledger, lambda: Control.RUN, on_state=lambda *state: None)


class Meeting(MemoryDriver):
    """Its first look for a marker, and its first listing, wait for those of others."""

    def __init__(self, looking: threading.Barrier, listing: threading.Barrier, log: list[str]) -> None:
        super().__init__()
        self.looking: threading.Barrier | None = looking
        self.listing: threading.Barrier | None = listing
        self.log = log

    def stat(self, key: str) -> ObjectInfo:
        looking, self.looking = self.looking, None
        if looking:
            assert MARKER_PREFIX in key
            looking.wait(WAIT)
        return super().stat(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        self.log.append("list")
        listing, self.listing = self.listing, None
        if listing:
            listing.wait(WAIT)
        return super().list(prefix, start_after=start_after)


def test_both_are_looked_at_while_the_name_rules_are_learnt_and_listed_only_then() -> None:
    looking, listing, log = threading.Barrier(3), threading.Barrier(2), list[str]()
    source, destination = Meeting(looking, listing, log), Meeting(looking, listing, log)
    source.put("a", b"1")

    def learn() -> NameRules:
        log.append("learning")
        looking.wait(WAIT)
        log.append("learnt")
        return NameRules()

    assert migrate(source, destination, learn).outcome is Outcome.CLEAN
    assert log[:3] == ["learning", "learnt", "list"]
    assert destination.stat("a").size == 1


class Keeping(MemoryDriver):
    """Removes no marker before an object was written, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()
        self.removes = True

    def put(self, key: str, data: bytes, *, attributes: object = None, create_only: bool = False) -> Written:
        written = super().put(key, data, create_only=create_only)
        if MARKER_PREFIX not in key:
            self.written.set()
        return written

    def delete(self, key: str) -> None:
        assert self.written.wait(WAIT)
        if not self.removes:
            raise StorageError(Kind.UNREACHABLE, "The server broke off.", retryable=True)
        super().delete(key)


def test_the_first_object_is_copied_before_the_markers_are_removed() -> None:
    source, destination, ledgers = MemoryDriver(), Keeping(), MemoryLedgers()
    source.put("a", b"1")
    assert migrate(source, destination, NameRules, ledgers).outcome is Outcome.CLEAN
    assert [entry.key for entry in destination.list()] == ["a"]
    assert list(ledgers.open().markers()) == []


def test_markers_that_could_not_be_removed_while_copying_are_removed_by_the_next_run() -> None:
    source, destination, ledgers = MemoryDriver(), Keeping(), MemoryLedgers()
    source.put("a", b"1")
    destination.removes = False
    assert migrate(source, destination, NameRules, ledgers).outcome is Outcome.CLEAN
    (left,) = ledgers.open().markers()
    assert {entry.key for entry in destination.list()} == {"a", left}
    destination.removes = True
    assert migrate(source, destination, NameRules, ledgers).state is State.FINISHED
    assert [entry.key for entry in destination.list()] == ["a"]
    assert list(ledgers.open().markers()) == []


@pytest.mark.parametrize(("retryable", "state"), [(True, State.FINISHED), (False, State.FAILED)])
def test_rules_that_cannot_be_learnt_fail_the_run_or_are_asked_for_again(
    retryable: bool, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.final_phase.delay", lambda attempt, random: 0.0)
    source, destination, asked = MemoryDriver(), MemoryDriver(), list[int]()
    source.put("a", b"1")

    def learn() -> NameRules:
        asked.append(1)
        if len(asked) == 1:
            raise StorageError(Kind.UNREACHABLE, "The server broke off.", retryable=retryable)
        return NameRules()

    result = migrate(source, destination, learn)
    assert (result.state, len(asked)) == (state, 1 + retryable)
    assert [entry.key for entry in destination.list()] == (["a"] if retryable else [])
    assert retryable or result.message == "The server broke off."


def test_an_overlap_that_is_found_while_the_rules_are_learnt_leaves_nothing(tmp_path: Path) -> None:
    folder, alias = tmp_path / "files", tmp_path / "alias"
    folder.mkdir()
    alias.symlink_to(folder)
    for name, content in some_objects(5).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    before = contents(folder)
    source, destination = LocalDriver(str(folder)), LocalDriver(str(alias))
    result = migrate(source, destination, partial(probe_name_rules, destination))
    assert "the same place" in result.message
    assert contents(folder) == before


class Unfinished(MemoryDriver):
    """Lists its unfinished uploads only while it is being listed for the last time."""

    def __init__(self, *, connections: int = 8) -> None:
        super().__init__()
        self.together = threading.Barrier(2)
        self.connections = connections
        self.calls: list[str] = []

    def max_connections(self) -> int:
        return self.connections

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        entries = list(super().list(prefix, start_after=start_after))
        if any(MARKER_PREFIX not in entry.key for entry in entries):
            self._note("list")
        return iter(entries)

    def unfinished(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        self._note("unfinished")
        return iter(())

    def abort(self, upload: UnfinishedUpload) -> None:
        raise AssertionError(upload)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.connections > 1:
            self.together.wait(WAIT)


def test_leftovers_are_looked_for_while_the_copies_are_listed() -> None:
    source, destination = MemoryDriver(), Unfinished()
    source.put("a", b"1")
    assert migrate(source, destination, NameRules).outcome is Outcome.CLEAN
    assert sorted(destination.calls) == ["list", "unfinished"]


def test_leftovers_are_looked_for_afterwards_where_there_is_one_connection() -> None:
    source, destination = MemoryDriver(), Unfinished(connections=1)
    source.put("a", b"1")
    assert migrate(source, destination, NameRules).outcome is Outcome.CLEAN
    assert destination.calls == ["list", "unfinished"]


def test_leftovers_stay_where_another_runner_may_be_writing() -> None:
    source, destination = MemoryDriver(), Unfinished(connections=1)
    source.put("a", b"1")
    job = MigrationJob(7, Spec(workers=4), lambda: True, may_write=lambda: destination.calls == [])
    ledger = MemoryLedgers().open()
    run(job, source, destination, ledger, lambda: Control.RUN, on_state=lambda *state: None)
    assert destination.calls == ["list"]
