"""Pause, cancel, go on, and what happens when calls hang or another run takes over."""

from __future__ import annotations

import threading
import time

import pytest

from dashboard.migration.ledger import FencedOut
from dashboard.migration.leftovers import clean_up
from dashboard.migration.run import SHUTDOWN_SECONDS
from dashboard.migration.types import Control, InFlight, ObjectState, OnConflict, Spec, State
from tests.migration.scenario import LARGE, Scenario, contents, leftovers, some_objects
from tests.servers.processes import wait_until


def states(scenario: Scenario) -> set[ObjectState]:
    return {row.state for row in scenario.ledgers.rows()}


@pytest.mark.parametrize(
    ("control", "state"), [(Control.PAUSE, State.PAUSED), (Control.CANCEL, State.CANCELLED)]
)
def test_stopping_between_small_objects_loses_and_repeats_nothing(
    scenario: Scenario, control: Control, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing hangs here, but a busy machine may be slow.
    monkeypatch.setattr("dashboard.migration.run.SHUTDOWN_SECONDS", 60.0)
    scenario.fill(some_objects(400))

    def stop_half_way(verb: str, key: str) -> None:
        if verb == "put" and len(scenario.destination.keys_of("put")) >= 150:
            scenario.control = control
            scenario.control_seen.wait(120)

    scenario.destination.hook = stop_half_way
    result = scenario.run()
    scenario.destination.hook = lambda verb, key: None
    assert (result.state, result.stragglers) == (state, 0)
    counters = scenario.ledgers.counters()
    assert 0 < counters.copied < 400
    assert states(scenario) <= {ObjectState.PENDING, ObjectState.VERIFIED}
    assert len(contents(scenario.there)) == counters.copied
    assert leftovers(scenario.there) == []
    scenario.control = Control.RUN
    scenario.assert_clean(scenario.run())
    assert len(scenario.destination.keys_of("put")) == 400


def test_a_large_object_is_dropped_between_two_pieces(scenario: Scenario) -> None:
    scenario.fill({"large": b"x" * (4 * LARGE)})
    asked = threading.Event()

    def pause_at_first_piece(verb: str, key: str) -> None:
        if verb == "chunk" and not asked.is_set():
            asked.set()
            scenario.control = Control.PAUSE
            scenario.control_seen.wait(120)

    scenario.destination.hook = pause_at_first_piece
    assert scenario.run().state is State.PAUSED
    assert (contents(scenario.there), leftovers(scenario.there)) == ({}, [])
    assert states(scenario) == {ObjectState.PENDING}
    scenario.control = Control.RUN
    scenario.assert_clean(scenario.run())


def test_what_is_moving_is_shown_with_its_bytes(scenario: Scenario) -> None:
    scenario.fill({"large": b"x" * (4 * LARGE)})
    shown: list[InFlight] = []

    def look_when_half_is_there(verb: str, key: str) -> None:
        if verb == "commit" and not shown:
            wait_until(has_moved, seconds=60, what="bytes in flight")
            shown.extend(scenario.ledgers.live().in_flight)

    def has_moved() -> bool:
        return any(one.done for one in scenario.ledgers.live().in_flight)

    scenario.destination.hook = look_when_half_is_there
    scenario.assert_clean(scenario.run())
    assert [(one.key, one.size) for one in shown] == [("large", 4 * LARGE)]
    assert shown[0].done > 0


def test_pausing_while_listing_keeps_what_was_listed(scenario: Scenario) -> None:
    scenario.fill(some_objects(100))
    scenario.approved = False

    def pause_at_ten_and_never_end(entries: object) -> object:
        for n, entry in enumerate(entries):  # type: ignore[arg-type,var-annotated]
            yield entry
            while n == 10:
                scenario.control = Control.PAUSE
                yield entry

    scenario.source.listing = pause_at_ten_and_never_end  # type: ignore[assignment]
    assert scenario.run().state is State.PAUSED
    assert not scenario.ledgers.counters().listing_final
    scenario.control, scenario.approved = Control.RUN, True
    scenario.source.listing = lambda entries: entries
    scenario.assert_clean(scenario.run())


@pytest.mark.parametrize("verb", ["put", "list"])
def test_a_call_that_hangs_does_not_hold_up_a_pause(scenario: Scenario, verb: str) -> None:
    scenario.fill(some_objects(20))
    hanging, let_go = threading.Event(), threading.Event()

    def hang(called: str, key: str) -> None:
        if called == verb and (verb == "list" or key.endswith("5.bin")):
            scenario.control = Control.PAUSE
            hanging.set()
            let_go.wait(200)

    scenario.destination.hook = hang
    began = time.monotonic()
    result = scenario.run()
    assert hanging.is_set()
    assert result.state is State.PAUSED
    assert result.stragglers >= 1
    assert states(scenario) <= {ObjectState.PENDING, ObjectState.VERIFIED}
    # Not a measurement: the hanging call would last more than three minutes.
    assert time.monotonic() - began < 150 > SHUTDOWN_SECONDS
    let_go.set()
    scenario.destination.hook = lambda verb, key: None
    scenario.control = Control.RUN
    scenario.assert_clean(scenario.run())


def test_an_object_that_a_straggler_finished_is_not_copied_again(scenario: Scenario) -> None:
    scenario.fill({"slow": b"content"})
    let_go, finished = threading.Event(), threading.Event()

    def hang(verb: str, key: str) -> None:
        if verb == "put":
            scenario.control = Control.PAUSE
            let_go.wait(60)
        if verb == "stored":
            finished.set()

    scenario.destination.hook = hang
    assert scenario.run().stragglers == 1
    let_go.set()
    assert finished.wait(120)
    scenario.control = Control.RUN
    scenario.assert_clean(scenario.run())
    assert scenario.destination.keys_of("put") == ["slow"]


def test_what_a_cancelled_straggler_left_can_be_tidied_afterwards(scenario: Scenario) -> None:
    scenario.fill({"large": b"x" * LARGE})
    let_go = threading.Event()

    def hang(verb: str, key: str) -> None:
        if verb == "chunk":
            scenario.control = Control.CANCEL
            let_go.wait(60)

    scenario.destination.hook = hang
    result = scenario.run()
    assert (result.state, result.stragglers) == (State.CANCELLED, 1)
    assert len(leftovers(scenario.there)) == 1
    ledger = scenario.ledgers.open()
    ledger.begin()
    clean_up(scenario.destination, ledger, "old disk")
    assert leftovers(scenario.there) == []
    let_go.set()


def test_a_run_that_lost_its_fence_ends_and_changes_nothing(scenario: Scenario) -> None:
    scenario.fill(some_objects(300))
    taken = threading.Event()

    def take_over(verb: str, key: str) -> None:
        if verb == "put" and len(scenario.destination.keys_of("put")) == 50:
            scenario.ledgers.open().begin()
            taken.set()

    scenario.destination.hook = take_over
    with pytest.raises(FencedOut):
        scenario.run()
    assert taken.is_set()
    scenario.destination.hook = lambda verb, key: None
    scenario.assert_clean(scenario.run())


def test_what_was_in_flight_is_swept_and_recognised_after_a_kill(scenario: Scenario) -> None:
    objects = some_objects(40)
    scenario.fill(objects)
    scenario.approved = False
    scenario.run()
    # A run that claimed, wrote some of it, and was killed before it could say so.
    killed = scenario.ledgers.open()
    killed.begin()
    rows = killed.claim(20, time.time())
    for row in rows[:8]:
        scenario.destination.inner.put(row.key, objects[row.key])
    half = scenario.destination.inner.write(rows[9].key)
    half.write(b"half")
    assert len(leftovers(scenario.there)) == 1
    scenario.approved = True
    scenario.assert_clean(scenario.run())
    assert len(scenario.destination.keys_of("put")) == 32
    del half


def test_a_sweep_that_is_cut_short_leaves_less_to_the_next(scenario: Scenario) -> None:
    scenario.fill(some_objects(60))
    scenario.approved = False
    scenario.run()
    killed = scenario.ledgers.open()
    killed.begin()
    killed.claim(60, time.time())

    def cut_short(verb: str, key: str) -> None:
        if verb == "sweep" and len(scenario.destination.keys_of("sweep")) == 2:
            raise KeyboardInterrupt

    scenario.destination.hook = cut_short
    ledger = scenario.ledgers.open()
    ledger.begin()
    assert len(ledger.unswept(100)) == 60
    with pytest.raises(KeyboardInterrupt):
        clean_up(scenario.destination, ledger, "old disk")
    assert 0 < len(ledger.unswept(100)) < 60


def test_a_run_that_has_moved_nothing_yet_has_little_in_flight(scenario: Scenario) -> None:
    scenario.fill(some_objects(40))
    seen: list[int] = []

    def look(verb: str, key: str) -> None:
        if verb == "put" and not seen:
            flying = [row for row in scenario.rows().values() if row.state is ObjectState.IN_FLIGHT]
            seen.append(len(flying))

    scenario.destination.hook = look
    scenario.assert_clean(scenario.run(Spec(workers=1)))
    assert seen == [2]


def test_keep_both_after_a_kill_makes_no_third_copy(scenario: Scenario) -> None:
    scenario.fill({"a.txt": b"ours"})
    scenario.fill({"a.txt": b"theirs"}, there=True)
    spec = Spec(workers=2, on_conflict=OnConflict.KEEP_BOTH)
    scenario.approved = False
    scenario.run(spec)
    killed = scenario.ledgers.open()
    killed.begin()
    killed.claim(1, time.time())
    scenario.destination.inner.put("a (from old disk).txt", b"ours")
    scenario.approved = True
    assert scenario.run(spec).state is State.FINISHED
    assert set(contents(scenario.there)) == {"a.txt", "a (from old disk).txt"}
    row = scenario.rows()["a.txt"]
    assert (row.state, row.destination_key) == (ObjectState.VERIFIED, "a (from old disk).txt")


def test_deleting_sources_can_be_interrupted_and_goes_on(scenario: Scenario) -> None:
    scenario.fill(some_objects(30))
    spec = Spec(workers=2, delete_source=True)

    def pause_at_five(verb: str, key: str) -> None:
        if verb == "delete" and len(scenario.source.keys_of("delete")) == 5:
            scenario.control = Control.PAUSE
            scenario.control_seen.wait(120)

    scenario.source.hook = pause_at_five
    assert scenario.run(spec).state is State.PAUSED
    scenario.control = Control.RUN
    scenario.source.hook = lambda verb, key: None
    assert scenario.run(spec).state is State.FINISHED
    assert scenario.ledgers.counters().deleted == 30
    assert contents(scenario.here) == {}
    assert len(contents(scenario.there)) == 30
