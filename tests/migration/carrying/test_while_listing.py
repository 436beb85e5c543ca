"""Copying while the listing goes on: what was recorded stays right, whatever the listings say later."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.types import Control, ObjectState, OnConflict, Outcome, Spec, State
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry
from tests.migration.failing_driver import PublicBucket
from tests.migration.ledgers import Ledgers, MemoryLedgers
from tests.migration.scenario import FailingCalls, Scenario, contents, leftovers
from tests.servers.processes import wait_until

COUNT = 120
PATIENCE = 120.0


def public(folder: Path, bucket: str) -> PublicBucket:
    return PublicBucket(LocalDriver(str(folder)), bucket)


@pytest.fixture
def apart(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setattr("dashboard.migration.plan.BATCH", 10)
    scenario.source = public(scenario.here, "one")
    scenario.destination = public(scenario.there, "other")
    scenario.fill({f"{n:04d}": b"%d" % n for n in range(COUNT)})
    return scenario


def held_at(count: int, until: Callable[[], None]) -> Callable[[Iterator[Entry]], Iterator[Entry]]:
    """A listing that calls ``until`` before its entry of this number."""

    def listing(entries: Iterator[Entry]) -> Iterator[Entry]:
        for number, entry in enumerate(entries):
            if number == count:
                until()
            yield entry

    return listing


def copied(scenario: Scenario, count: int) -> Callable[[], None]:
    """Wait until this many objects are settled."""

    def wait() -> None:
        wait_until(
            lambda: scenario.ledgers.counters().done >= count, seconds=PATIENCE, what=f"{count} copied"
        )

    return wait


def put_once(scenario: Scenario) -> bool:
    keys = scenario.destination.keys_of("put")
    return len(keys) == len(set(keys))


def test_what_is_recorded_is_copied_before_the_listing_ends(apart: Scenario) -> None:
    shown: list[tuple[bool, bool]] = []

    def look() -> None:
        copied(apart, 55)()
        wait_until(lambda: apart.ledgers.live().done_objects >= 55, seconds=PATIENCE, what="it is shown")
        counters, live = apart.ledgers.counters(), apart.ledgers.live()
        shown.append((counters.listing_final, live.eta is None and live.phase == "copying"))

    apart.source.listing = held_at(60, look)
    apart.assert_clean(apart.run())
    assert shown == [(False, True)]
    assert put_once(apart)
    assert apart.ledgers.counters().copied == COUNT


@pytest.mark.parametrize(
    "spec",
    [
        Spec(workers=4, delete_source=True),
        Spec(workers=4, on_conflict=OnConflict.KEEP_BOTH),
        Spec(workers=4, dry_run=True),
    ],
)
def test_what_needs_the_complete_plan_waits_for_it(apart: Scenario, spec: Spec) -> None:
    def none_copied(entries: Iterator[Entry]) -> Iterator[Entry]:
        yield from entries
        assert apart.destination.keys_of("put", "write") == []

    apart.source.listing = none_copied
    result = apart.run(spec)
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)


def test_places_that_may_overlap_are_listed_first(apart: Scenario) -> None:
    apart.destination = public(apart.there, "one")
    test_what_needs_the_complete_plan_waits_for_it(apart, Spec(workers=4))


def test_nothing_is_copied_without_approval(apart: Scenario) -> None:
    apart.approved = False
    assert apart.run().state is State.READY
    assert (contents(apart.there), leftovers(apart.there)) == ({}, [])
    apart.approved = True
    apart.assert_clean(apart.run())


@pytest.mark.parametrize("on_conflict", [each for each in OnConflict if each is not OnConflict.KEEP_BOTH])
@pytest.mark.parametrize(("content", "age"), [(b"5", 1000.0), (b"other", -1000.0), (b"!", 1000.0)])
def test_a_listing_that_is_not_in_order_is_decided_as_if_nothing_had_been_copied(
    apart: Scenario, on_conflict: OnConflict, content: bytes, age: float, tmp_path: Path
) -> None:
    """The destination has an object that it lists last: by then it was taken as missing, and was tried."""
    key, spec = "0005", Spec(workers=4, on_conflict=on_conflict)
    apart.fill({key: content, "zzz": b"last"}, there=True)
    at = (apart.here / key).stat().st_mtime + age
    os.utime(apart.there / key, (at, at))
    waits = threading.Event()

    def last(entries: Iterator[Entry]) -> Iterator[Entry]:
        found = {entry.key: entry for entry in entries}
        late = found.pop(key, None)
        yield from found.values()
        if late:
            yield late

    def look(verb: str, name: str) -> None:
        # It was refused, and looked at.
        if verb == "stat" and name == key:
            waits.set()

    def until_tried() -> None:
        copied(apart, 50)()
        assert waits.wait(PATIENCE)

    apart.destination.listing = last
    apart.destination.hook = look
    apart.source.listing = held_at(100, until_tried)
    result = apart.run(spec)
    again = Scenario(_folder(tmp_path / "again"), MemoryLedgers())
    again.fill({f"{n:04d}": b"%d" % n for n in range(COUNT)})
    again.fill({key: content, "zzz": b"last"}, there=True)
    os.utime(again.there / key, (at, at))
    os.utime(again.here / key, ((apart.here / key).stat().st_mtime,) * 2)
    expected = again.run(spec)
    assert (result.state, result.outcome) == (expected.state, expected.outcome)
    assert contents(apart.there) == contents(again.there)
    mine, theirs = apart.rows()[key], again.rows()[key]
    assert (mine.state, mine.action, mine.reason) == (theirs.state, theirs.action, theirs.reason)
    assert [name for name in apart.destination.keys_of("put") if name != key].count(key) == 0
    assert len(set(apart.destination.keys_of("put")) - {key}) == COUNT - 1


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("on_conflict", [OnConflict.NEWER, OnConflict.FAIL, OnConflict.SKIP_SAME])
def test_a_lost_answer_does_not_make_an_object_ours_that_is_listed_late(
    apart: Scenario, on_conflict: OnConflict
) -> None:
    """The first attempt may have stored it, as far as we know; the second finds theirs."""
    key = "0005"
    apart.fill({key: b"theirs", "zzz": b"last"}, there=True)
    os.utime(apart.there / key, (4e9, 4e9))
    compared = threading.Event()
    lost = FailingCalls(Kind.TIMEOUT, "put", lambda name: name == key, times=1)

    def lose(verb: str, name: str) -> None:
        lost(verb, name)
        if verb == "stat" and name == key:
            compared.set()

    def until_tried_twice() -> None:
        copied(apart, 50)()
        assert compared.wait(PATIENCE)

    def last(entries: Iterator[Entry]) -> Iterator[Entry]:
        found = {entry.key: entry for entry in entries}
        late = found.pop(key)
        yield from [*found.values(), late]

    apart.destination.listing, apart.destination.hook = last, lose
    apart.source.listing = held_at(100, until_tried_twice)
    assert apart.run(Spec(workers=4, on_conflict=on_conflict)).state is State.FINISHED
    assert (apart.there / key).read_bytes() == b"theirs"
    assert apart.rows()[key].state in (ObjectState.SKIPPED, ObjectState.FAILED)
    assert apart.ledgers.counters().copied == COUNT - 1


def test_an_object_that_others_create_meanwhile_is_not_replaced(apart: Scenario) -> None:
    def create() -> None:
        copied(apart, 30)()
        # Not passed by the source's listing yet; the destination's may have passed it.
        apart.fill({"0119": b"theirs"}, there=True)

    apart.destination.listing = lambda entries: iter(list(entries))
    apart.source.listing = held_at(60, create)
    result = apart.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert (apart.there / "0119").read_bytes() == b"theirs"
    assert apart.rows()["0119"].state is ObjectState.FAILED
    assert apart.ledgers.counters().copied == COUNT - 1


def test_a_plan_that_begins_again_keeps_what_was_copied(apart: Scenario) -> None:
    failed: list[int] = []

    def fail_once() -> None:
        copied(apart, 50)()
        if len(failed) < 2:
            failed.append(1)
            raise StorageError(Kind.UNREACHABLE, "The server is away.")

    apart.source.listing = held_at(60, fail_once)
    apart.assert_clean(apart.run())
    assert (put_once(apart), len(failed)) == (True, 2)


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.UNREACHABLE])
def test_lost_answers_and_a_plan_that_begins_again_lose_nothing(apart: Scenario, kind: Kind) -> None:
    apart.destination.hook = FailingCalls(kind, "stored", lambda key: key.endswith("7"), times=1)
    failed: list[int] = []

    def fail_once() -> None:
        copied(apart, 50)()
        if not failed:
            failed.append(1)
            raise StorageError(Kind.UNREACHABLE, "The server is away.")

    apart.source.listing = held_at(60, fail_once)
    result = apart.run()
    assert result.state is State.FINISHED
    assert contents(apart.there) == contents(apart.here)
    assert apart.ledgers.counters().copied == COUNT


def test_a_plan_that_fails_ends_the_run_and_the_next_goes_on(apart: Scenario) -> None:
    def fail() -> None:
        copied(apart, 50)()
        raise StorageError(Kind.DENIED, "Listing is not allowed any more.")

    apart.source.listing = held_at(60, fail)
    assert apart.run().state is State.FAILED
    assert 50 <= apart.ledgers.counters().copied <= 60
    assert not apart.ledgers.counters().listing_final
    apart.source.listing = lambda entries: entries
    apart.assert_clean(apart.run())
    assert put_once(apart)


@pytest.mark.parametrize(
    ("control", "state"), [(Control.PAUSE, State.PAUSED), (Control.CANCEL, State.CANCELLED)]
)
def test_it_stops_while_both_go_on(apart: Scenario, control: Control, state: State) -> None:
    let_go = threading.Event()

    def stop() -> None:
        copied(apart, 40)()
        apart.control = control
        # A listing that hangs, for as long as the run does.
        let_go.wait(PATIENCE)

    apart.source.listing = held_at(60, stop)
    began = time.monotonic()
    result = apart.run()
    let_go.set()
    assert result.state is state
    assert time.monotonic() - began < PATIENCE
    assert {row.state for row in apart.rows().values()} <= {ObjectState.PENDING, ObjectState.VERIFIED}
    apart.control = Control.RUN
    apart.source.listing = lambda entries: entries
    apart.assert_clean(apart.run())
    assert put_once(apart)


def test_what_was_skipped_before_a_pause_is_looked_at_again(apart: Scenario) -> None:
    """A day may pass between a run that was stopped while it listed and the next one."""
    apart.fill({"0003": b"3"}, there=True)

    def pause() -> None:
        copied(apart, 40)()
        apart.control = Control.PAUSE
        assert apart.control_seen.wait(PATIENCE)

    apart.source.listing = held_at(60, pause)
    assert apart.run().state is State.PAUSED
    assert apart.rows()["0003"].state is ObjectState.SKIPPED
    apart.fill({"0003": b"newer"})
    apart.control = Control.RUN
    apart.source.listing = lambda entries: entries
    assert apart.run().state is State.FINISHED
    assert contents(apart.there) == contents(apart.here)


def test_an_overlap_that_is_found_after_all_fails_the_run(tmp_path: Path, ledgers: Ledgers) -> None:
    """The judgement is wrong: the destination lies inside the source."""
    scenario = Scenario(tmp_path, ledgers)
    scenario.there = scenario.here / "zzz" / "copies"
    scenario.there.mkdir(parents=True)
    scenario.source = public(scenario.here, "one")
    scenario.destination = public(scenario.there, "other")
    scenario.fill({f"{n:04d}": b"%d" % n for n in range(COUNT)})
    result = scenario.run()
    assert result.state is State.FAILED
    assert "inside the source" in result.message
    assert {key for key in contents(scenario.there) if "zzz" in key} == set()
