"""What can go wrong under way: each has its own state and reason, and nothing is lost or pretended."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.types import ObjectState, OnConflict, Outcome, Spec, State, Verify
from dashboard.storage.errors import ContainerMissing
from tests.migration.rehearsal import LARGE, DriverFault, Rehearsal, contents, leftovers, some_objects


class PanicException(BaseException):
    """What native code written in Rust raises when it panics."""


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        (Kind.UNREACHABLE, "read"),
        (Kind.DAMAGED, "chunk"),
        (Kind.THROTTLED, "put"),
        (Kind.TIMEOUT, "put"),
        (Kind.TIMEOUT, "stored"),
    ],
)
def test_passing_faults_are_retried_until_they_pass(rehearsal: Rehearsal, kind: Kind, verb: str) -> None:
    # "stored": the object is there, but the answer was lost.
    rehearsal.fill(some_objects(30))
    driver = rehearsal.source if verb in ("read", "chunk") else rehearsal.destination
    driver.hook = DriverFault(kind, verb, lambda key: key.endswith("7.bin"), times=2)
    result = rehearsal.run()
    if verb == "stored":
        assert contents(rehearsal.there) == contents(rehearsal.here)
        assert result.outcome is Outcome.CLEAN
    else:
        rehearsal.assert_clean(result)
    attempts = {row.attempts for key, row in rehearsal.rows().items() if key.endswith("7.bin")}
    assert attempts == {3} if verb != "stored" else attempts <= {2, 3}


@pytest.mark.parametrize("kind", [Kind.UNREACHABLE, Kind.DENIED, Kind.INVALID_KEY, Kind.INTERNAL])
def test_a_fault_that_stays_fails_its_object_only(rehearsal: Rehearsal, kind: Kind) -> None:
    rehearsal.fill(some_objects(40))
    bad = "f3/object 0003.bin"
    rehearsal.destination.hook = DriverFault(kind, "put", lambda key: key == bad)
    result = rehearsal.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = rehearsal.ledgers.failures()
    assert (group.kind, group.reason) == (kind.value, "The server said no to the object.")
    assert (group.remedy, group.example, group.objects) == ("Ask it nicely.", bad, 1)
    assert set(contents(rehearsal.here)) - set(contents(rehearsal.there)) == {bad}


def test_equal_faults_of_many_objects_make_one_group(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(60))
    rehearsal.destination.hook = DriverFault(Kind.CONFLICT, "put", lambda key: key.startswith("f2/"))
    rehearsal.run()
    (group,) = rehearsal.ledgers.failures()
    assert group.objects == sum(key.startswith("f2/") for key in some_objects(60))


def test_a_large_folder_that_may_not_be_read_comes_first_and_the_rest_is_copied(
    rehearsal: Rehearsal,
) -> None:
    private = {f"a/{number:03}": b"x" for number in range(120)}
    rehearsal.fill(private | some_objects(40))
    rehearsal.source.hook = DriverFault(Kind.DENIED, "read", lambda key: key.startswith("a/"))
    result = rehearsal.run(Spec(workers=1))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert rehearsal.ledgers.counters().failed == len(private)
    assert contents(rehearsal.there).keys() == contents(rehearsal.here).keys() - private.keys()


def test_a_retried_comparison_is_no_copy(rehearsal: Rehearsal) -> None:
    objects = some_objects(30)
    rehearsal.fill(objects)
    rehearsal.fill(objects, there=True)
    rehearsal.source.hook = DriverFault(Kind.UNREACHABLE, "read", lambda key: True, times=2)
    rehearsal.destination.hook = DriverFault(Kind.TIMEOUT, "stat", lambda key: True, times=1)
    assert rehearsal.run().outcome is Outcome.WITH_SKIPS
    counters = rehearsal.ledgers.counters()
    assert (counters.copied, counters.skipped) == (0, 30)
    assert rehearsal.destination.said("put", "write") == []


def test_one_copy_that_may_not_be_looked_at_is_one_failure(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(20) | {"hidden": b"x"})
    rehearsal.destination.listing = lambda entries: (each for each in entries if each.key != "hidden")
    rehearsal.destination.hook = DriverFault(Kind.DENIED, "stat", lambda key: key == "hidden")
    result = rehearsal.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert (rehearsal.rows()["hidden"].kind, rehearsal.ledgers.counters().failed) == ("denied", 1)


def test_what_failed_writes_may_have_left_is_swept_at_the_end(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(20))
    bad = "f3/object 0003.bin"
    swept: list[str] = []
    sweep = rehearsal.destination.inner.sweep

    def watched(keys: Iterable[str], *, since: float) -> int:
        known = list(keys)
        swept.extend(known)
        return sweep(known, since=since)

    rehearsal.destination.inner.sweep = watched  # type: ignore[method-assign]
    rehearsal.destination.hook = DriverFault(Kind.UNREACHABLE, "put", lambda key: key == bad)
    rehearsal.run()
    assert swept == [bad]


def test_a_vanished_source_object_is_told_from_a_missing_bucket(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(20) | {"gone": b"x"})
    rehearsal.approved = False
    rehearsal.run()
    (rehearsal.here / "gone").unlink()
    rehearsal.approved = True
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    row = rehearsal.rows()["gone"]
    assert (row.state, row.kind) == (ObjectState.FAILED, "not_found")
    assert row.reason == "It vanished from the source after it was listed."


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_missing_place_ends_the_run_and_keeps_the_rows(rehearsal: Rehearsal, side: str) -> None:
    rehearsal.fill(some_objects(200))
    rehearsal.approved = False
    rehearsal.run()
    rehearsal.approved = True
    driver = getattr(rehearsal, side)

    def missing(verb: str, key: str) -> None:
        if verb in ("read", "put"):
            raise ContainerMissing("b", "The bucket “b” is not there.", operation=verb, remedy="Create it.")

    driver.hook = missing
    result = rehearsal.run()
    assert (result.state, result.message) == (State.FAILED, "The bucket “b” is not there.")
    assert result.remedy == "Create it."
    assert rehearsal.ledgers.counters().failed == 0
    driver.hook = lambda verb, key: None
    rehearsal.assert_clean(rehearsal.run())


def test_an_object_that_changes_is_copied_at_the_end_as_it_is_then(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(30) | {"moving": b"before"})
    edited = threading.Event()

    def edit_once(verb: str, key: str) -> None:
        if verb == "read" and key == "moving" and not edited.is_set():
            edited.set()
            (rehearsal.here / "moving").write_bytes(b"after, and longer")

    rehearsal.source.hook = edit_once
    rehearsal.assert_clean(rehearsal.run())
    assert rehearsal.rows()["moving"].size == len(b"after, and longer")
    moved = rehearsal.destination.said("put")
    assert moved[-1] == "moving"


def test_an_object_that_never_holds_still_fails_as_changed(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"restless": b"1", "calm": b"2"})

    def edit(verb: str, key: str) -> None:
        if verb == "read" and key == "restless":
            with (rehearsal.here / key).open("ab") as file:
                file.write(b"+")

    rehearsal.source.hook = edit
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    row = rehearsal.rows()["restless"]
    assert (row.kind, row.reason, row.attempts) == (
        "changed",
        "It kept changing while it was being copied.",
        3,
    )
    assert set(contents(rehearsal.there)) == {"calm"}


def test_a_large_object_that_breaks_off_leaves_nothing_half_written(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"large": b"x" * LARGE})
    rehearsal.source.hook = DriverFault(Kind.DAMAGED, "chunk", lambda key: True)
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    assert contents(rehearsal.there) == {}
    assert leftovers(rehearsal.there) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """This process writes no file of more bytes: what a FAT disk says of 4 GiB, said of less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_too_large_for_the_disk_is_no_full_disk(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(100) | {"huge 1": b"x" * LARGE, "huge 2": b"x" * LARGE})
    with largest_file(LARGE - 1):
        result = rehearsal.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = rehearsal.ledgers.failures()
    assert (group.kind, group.objects) == ("too_large", 2)
    assert group.reason == "The object could not be written: the file system takes no file this large."
    assert set(contents(rehearsal.here)) - set(contents(rehearsal.there)) == {"huge 1", "huge 2"}


@pytest.mark.parametrize("kind", [Kind.FULL, Kind.BAD_CREDENTIALS])
def test_a_full_disk_or_bad_credentials_end_the_run_at_once(rehearsal: Rehearsal, kind: Kind) -> None:
    rehearsal.fill(some_objects(400))
    allowed = threading.Semaphore(100)

    def full(verb: str, key: str) -> None:
        if verb == "put" and not allowed.acquire(blocking=False):
            DriverFault(kind, "put", lambda key: True)(verb, key)

    rehearsal.destination.hook = full
    result = rehearsal.run()
    assert (result.state, result.message) == (State.FAILED, "The server said no to the object.")
    counters = rehearsal.ledgers.counters()
    assert (counters.failed, counters.copied <= 100) == (0, True)
    rehearsal.destination.hook = lambda verb, key: None
    rehearsal.assert_clean(rehearsal.run())


def test_a_destination_that_refuses_everything_stops_the_run_early(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(300))
    rehearsal.destination.hook = DriverFault(Kind.DENIED, "put", lambda key: True)
    result = rehearsal.run()
    assert result.state is State.FAILED
    assert rehearsal.ledgers.counters().failed == 0
    assert len(rehearsal.destination.said("put")) < 120
    rehearsal.destination.hook = lambda verb, key: None
    rehearsal.assert_clean(rehearsal.run())


def test_few_objects_that_are_all_refused_are_recorded_as_failed(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(12))
    rehearsal.destination.hook = DriverFault(Kind.DENIED, "put", lambda key: True)
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    assert rehearsal.ledgers.counters().failed == 12


def test_an_outage_costs_no_object_its_attempts(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(60))
    refusals = threading.Semaphore(400)

    def outage(verb: str, key: str) -> None:
        if verb == "put" and refusals.acquire(blocking=False):
            DriverFault(Kind.UNREACHABLE, "put", lambda key: True)(verb, key)

    rehearsal.destination.hook = outage
    rehearsal.assert_clean(rehearsal.run())


def test_a_few_objects_that_always_time_out_do_not_keep_a_run_from_finishing(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.pace.PATIENCE", 0.05)
    rehearsal.fill(some_objects(80))
    rehearsal.source.hook = DriverFault(Kind.TIMEOUT, "read", lambda key: key.endswith("3.bin"))
    result = rehearsal.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = rehearsal.ledgers.failures()
    assert (group.kind, group.objects) == ("timeout", 8)


def test_an_outage_without_end_fails_the_run_and_not_the_objects(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.pace.PATIENCE", 0.2)
    rehearsal.fill(some_objects(60))
    rehearsal.destination.hook = DriverFault(Kind.UNREACHABLE, "put", lambda key: True)
    result = rehearsal.run()
    assert result.state is State.FAILED
    assert rehearsal.ledgers.counters().failed == 0
    rehearsal.destination.hook = lambda verb, key: None
    rehearsal.assert_clean(rehearsal.run())


@pytest.mark.parametrize("panic", [PanicException, KeyboardInterrupt, ValueError, RecursionError])
def test_a_panic_of_native_code_fails_one_object_with_a_safe_sentence(
    rehearsal: Rehearsal, panic: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    rehearsal.fill(some_objects(20) | {"poison": b"x"})

    def explode(verb: str, key: str) -> None:
        if verb == "put" and key == "poison":
            raise panic("secret-in-the-message")

    rehearsal.destination.hook = explode
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    row = rehearsal.rows()["poison"]
    assert (row.kind, "secret" in row.reason + caplog.text) == ("internal", False)
    assert panic.__name__ in caplog.text
    assert rehearsal.ledgers.counters().verified == 20


def test_a_listing_that_breaks_off_is_begun_again(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(50))
    rehearsal.source.hook = DriverFault(Kind.UNREACHABLE, "list", lambda key: True, times=3)
    rehearsal.assert_clean(rehearsal.run())


def test_a_listing_that_is_refused_fails_the_run_with_its_sentence(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(5))
    rehearsal.source.hook = DriverFault(Kind.DENIED, "list", lambda key: True)
    result = rehearsal.run()
    assert (result.state, result.remedy) == (State.FAILED, "Ask it nicely.")
    assert not rehearsal.ledgers.counters().listing_final


def test_a_copy_that_reads_back_differently_is_written_again(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": b"right", "b": b"right"})
    flipped = threading.Event()

    def flip_once(verb: str, key: str) -> None:
        if verb == "stored" and key == "a" and not flipped.is_set():
            flipped.set()
            (rehearsal.there / "a").write_bytes(b"wrong")

    rehearsal.destination.hook = flip_once
    rehearsal.assert_clean(
        rehearsal.run(Spec(workers=2, verify=Verify.READBACK, on_conflict=OnConflict.FAIL))
    )
    assert rehearsal.rows()["a"].attempts == 2


def test_a_place_that_always_reads_back_differently_is_reported(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": b"right"})

    def flip(verb: str, key: str) -> None:
        if verb == "stored":
            (rehearsal.there / "a").write_bytes(b"wrong")

    rehearsal.destination.hook = flip
    assert rehearsal.run(Spec(workers=2, verify=Verify.READBACK)).outcome is Outcome.WITH_ERRORS
    row = rehearsal.rows()["a"]
    assert (row.kind, row.source_checksum != row.destination_checksum) == ("damaged", True)


def test_a_disk_without_hard_links_still_creates_only(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": b"new", "b": b"new"})
    put = rehearsal.destination.inner.put
    from dashboard.storage.errors import Unsupported

    def no_links(key: str, data: bytes, **options: object) -> object:
        if options.get("create_only"):
            raise Unsupported("write", "No hard links here.")
        return put(key, data, **options)  # type: ignore[arg-type]

    rehearsal.destination.inner.put = no_links  # type: ignore[assignment,method-assign]
    rehearsal.assert_clean(rehearsal.run())


def test_a_source_that_refuses_deletion_keeps_its_objects_and_says_so(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    rehearsal.fill(some_objects(10))
    before = contents(rehearsal.here)
    rehearsal.source.hook = DriverFault(Kind.DENIED, "delete", lambda key: True)
    result = rehearsal.run(Spec(workers=2, delete_source=True))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_SKIPS)
    assert contents(rehearsal.here) == before
    assert all("not deleted" in row.reason for row in rehearsal.rows().values())
