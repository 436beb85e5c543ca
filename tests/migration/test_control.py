"""Pause, cancel, go on, and what happens when calls hang or another run takes over."""

from __future__ import annotations

import threading
import time

import pytest

from dashboard.migration.ledger import FencedOut
from dashboard.migration.leftovers import tidy
from dashboard.migration.run import GRACE
from dashboard.migration.types import Control, InFlight, ObjectState, OnConflict, Spec, State
from tests.migration.rehearsal import LARGE, Rehearsal, contents, leftovers, some_objects
from tests.servers.processes import wait_until


def states(rehearsal: Rehearsal) -> set[ObjectState]:
    return {row.state for row in rehearsal.ledgers.rows()}


@pytest.mark.parametrize(
    ("control", "state"), [(Control.PAUSE, State.PAUSED), (Control.CANCEL, State.CANCELLED)]
)
def test_stopping_between_small_objects_loses_and_repeats_nothing(
    rehearsal: Rehearsal, control: Control, state: State
) -> None:
    rehearsal.fill(some_objects(400))

    def stop_half_way(verb: str, key: str) -> None:
        if verb == "put" and len(rehearsal.destination.said("put")) >= 150:
            rehearsal.control = control
            rehearsal.heard.wait(30)

    rehearsal.destination.hook = stop_half_way
    result = rehearsal.run()
    rehearsal.destination.hook = lambda verb, key: None
    assert (result.state, result.stragglers) == (state, 0)
    counters = rehearsal.ledgers.counters()
    assert 0 < counters.copied < 400
    assert states(rehearsal) <= {ObjectState.PENDING, ObjectState.VERIFIED}
    assert len(contents(rehearsal.there)) == counters.copied
    assert leftovers(rehearsal.there) == []
    rehearsal.control = Control.RUN
    rehearsal.assert_clean(rehearsal.run())
    assert len(rehearsal.destination.said("put")) == 400


def test_a_large_object_is_dropped_between_two_pieces(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"large": b"x" * (4 * LARGE)})
    asked = threading.Event()

    def pause_at_first_piece(verb: str, key: str) -> None:
        if verb == "chunk" and not asked.is_set():
            asked.set()
            rehearsal.control = Control.PAUSE
            rehearsal.heard.wait(30)

    rehearsal.destination.hook = pause_at_first_piece
    assert rehearsal.run().state is State.PAUSED
    assert (contents(rehearsal.there), leftovers(rehearsal.there)) == ({}, [])
    assert states(rehearsal) == {ObjectState.PENDING}
    rehearsal.control = Control.RUN
    rehearsal.assert_clean(rehearsal.run())


def test_what_is_moving_is_shown_with_its_bytes(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"large": b"x" * (4 * LARGE)})
    shown: list[InFlight] = []

    def look_when_half_is_there(verb: str, key: str) -> None:
        if verb == "commit" and not shown:
            wait_until(has_moved, seconds=30, what="bytes in flight")
            shown.extend(rehearsal.ledgers.live().in_flight)

    def has_moved() -> bool:
        return any(one.done for one in rehearsal.ledgers.live().in_flight)

    rehearsal.destination.hook = look_when_half_is_there
    rehearsal.assert_clean(rehearsal.run())
    assert [(one.key, one.size) for one in shown] == [("large", 4 * LARGE)]
    assert shown[0].done > 0


def test_pausing_while_listing_keeps_what_was_listed(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(100))
    rehearsal.approved = False

    def pause_at_ten_and_never_end(entries: object) -> object:
        for n, entry in enumerate(entries):  # type: ignore[arg-type,var-annotated]
            yield entry
            while n == 10:
                rehearsal.control = Control.PAUSE
                yield entry

    rehearsal.source.listing = pause_at_ten_and_never_end  # type: ignore[assignment]
    assert rehearsal.run().state is State.PAUSED
    assert not rehearsal.ledgers.counters().listing_final
    rehearsal.control, rehearsal.approved = Control.RUN, True
    rehearsal.source.listing = lambda entries: entries
    rehearsal.assert_clean(rehearsal.run())


@pytest.mark.parametrize("verb", ["put", "list"])
def test_a_call_that_hangs_does_not_hold_up_a_pause(rehearsal: Rehearsal, verb: str) -> None:
    rehearsal.fill(some_objects(20))
    hanging, let_go = threading.Event(), threading.Event()

    def hang(said: str, key: str) -> None:
        if said == verb and (verb == "list" or key.endswith("5.bin")):
            rehearsal.control = Control.PAUSE
            hanging.set()
            let_go.wait(60)

    rehearsal.destination.hook = hang
    began = time.monotonic()
    result = rehearsal.run()
    assert hanging.is_set()
    assert result.state is State.PAUSED
    assert result.stragglers >= 1
    assert states(rehearsal) <= {ObjectState.PENDING, ObjectState.VERIFIED}
    # Not a measurement: the hanging call would last a minute.
    assert time.monotonic() - began < 30 > GRACE
    let_go.set()
    rehearsal.destination.hook = lambda said, key: None
    rehearsal.control = Control.RUN
    rehearsal.assert_clean(rehearsal.run())


def test_an_object_that_a_straggler_finished_is_not_copied_again(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"slow": b"content"})
    let_go, finished = threading.Event(), threading.Event()

    def hang(verb: str, key: str) -> None:
        if verb == "put":
            rehearsal.control = Control.PAUSE
            let_go.wait(60)
        if verb == "stored":
            finished.set()

    rehearsal.destination.hook = hang
    assert rehearsal.run().stragglers == 1
    let_go.set()
    assert finished.wait(30)
    rehearsal.control = Control.RUN
    rehearsal.assert_clean(rehearsal.run())
    assert rehearsal.destination.said("put") == ["slow"]


def test_what_a_cancelled_straggler_left_can_be_tidied_afterwards(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"large": b"x" * LARGE})
    let_go = threading.Event()

    def hang(verb: str, key: str) -> None:
        if verb == "chunk":
            rehearsal.control = Control.CANCEL
            let_go.wait(60)

    rehearsal.destination.hook = hang
    result = rehearsal.run()
    assert (result.state, result.stragglers) == (State.CANCELLED, 1)
    assert len(leftovers(rehearsal.there)) == 1
    ledger = rehearsal.ledgers.open()
    ledger.begin()
    tidy(rehearsal.destination, ledger, "old disk")
    assert leftovers(rehearsal.there) == []
    let_go.set()


def test_a_run_that_lost_its_fence_ends_and_changes_nothing(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(300))
    taken = threading.Event()

    def take_over(verb: str, key: str) -> None:
        if verb == "put" and len(rehearsal.destination.said("put")) == 50:
            rehearsal.ledgers.open().begin()
            taken.set()

    rehearsal.destination.hook = take_over
    with pytest.raises(FencedOut):
        rehearsal.run()
    assert taken.is_set()
    rehearsal.destination.hook = lambda verb, key: None
    rehearsal.assert_clean(rehearsal.run())


def test_what_was_in_flight_is_swept_and_recognised_after_a_kill(rehearsal: Rehearsal) -> None:
    objects = some_objects(40)
    rehearsal.fill(objects)
    rehearsal.approved = False
    rehearsal.run()
    # A run that claimed, wrote some of it, and was killed before it could say so.
    killed = rehearsal.ledgers.open()
    killed.begin()
    rows = killed.claim(20, time.time())
    for row in rows[:8]:
        rehearsal.destination.inner.put(row.key, objects[row.key])
    half = rehearsal.destination.inner.write(rows[9].key)
    half.write(b"half")
    assert len(leftovers(rehearsal.there)) == 1
    rehearsal.approved = True
    rehearsal.assert_clean(rehearsal.run())
    assert len(rehearsal.destination.said("put")) == 32
    del half


def test_a_sweep_that_is_cut_short_leaves_less_to_the_next(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(60))
    rehearsal.approved = False
    rehearsal.run()
    killed = rehearsal.ledgers.open()
    killed.begin()
    killed.claim(60, time.time())

    def cut_short(verb: str, key: str) -> None:
        if verb == "sweep" and len(rehearsal.destination.said("sweep")) == 2:
            raise KeyboardInterrupt

    rehearsal.destination.hook = cut_short
    ledger = rehearsal.ledgers.open()
    ledger.begin()
    assert len(ledger.unswept(100)) == 60
    with pytest.raises(KeyboardInterrupt):
        tidy(rehearsal.destination, ledger, "old disk")
    assert 0 < len(ledger.unswept(100)) < 60


def test_a_run_that_has_moved_nothing_yet_has_little_in_flight(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(40))
    seen: list[int] = []

    def look(verb: str, key: str) -> None:
        if verb == "put" and not seen:
            flying = [row for row in rehearsal.rows().values() if row.state is ObjectState.IN_FLIGHT]
            seen.append(len(flying))

    rehearsal.destination.hook = look
    rehearsal.assert_clean(rehearsal.run(Spec(workers=1)))
    assert seen == [2]


def test_keep_both_after_a_kill_makes_no_third_copy(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a.txt": b"ours"})
    rehearsal.fill({"a.txt": b"theirs"}, there=True)
    spec = Spec(workers=2, on_conflict=OnConflict.KEEP_BOTH)
    rehearsal.approved = False
    rehearsal.run(spec)
    killed = rehearsal.ledgers.open()
    killed.begin()
    killed.claim(1, time.time())
    rehearsal.destination.inner.put("a (from old disk).txt", b"ours")
    rehearsal.approved = True
    assert rehearsal.run(spec).state is State.FINISHED
    assert set(contents(rehearsal.there)) == {"a.txt", "a (from old disk).txt"}
    row = rehearsal.rows()["a.txt"]
    assert (row.state, row.destination_key) == (ObjectState.VERIFIED, "a (from old disk).txt")


def test_deleting_sources_can_be_interrupted_and_goes_on(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(30))
    spec = Spec(workers=2, delete_source=True)

    def pause_at_five(verb: str, key: str) -> None:
        if verb == "delete" and len(rehearsal.source.said("delete")) == 5:
            rehearsal.control = Control.PAUSE
            rehearsal.heard.wait(30)

    rehearsal.source.hook = pause_at_five
    assert rehearsal.run(spec).state is State.PAUSED
    rehearsal.control = Control.RUN
    rehearsal.source.hook = lambda verb, key: None
    assert rehearsal.run(spec).state is State.FINISHED
    assert rehearsal.ledgers.counters().deleted == 30
    assert contents(rehearsal.here) == {}
    assert len(contents(rehearsal.there)) == 30
