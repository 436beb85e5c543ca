"""What can go wrong under way: each has its own state and reason, and nothing is lost or pretended."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.reasons import reason_for
from dashboard.migration.types import ObjectState, OnConflict, Outcome, Spec, State, Verify
from dashboard.storage.errors import ContainerMissing, Damaged, Exists, InvalidKey, NotFound, StorageError
from tests.migration.scenario import (
    LARGE,
    PASSING,
    FailingCalls,
    Scenario,
    ServerFault,
    contents,
    leftovers,
    some_objects,
)


class PanicException(BaseException):
    """What native code written in Rust raises when it panics."""


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_passing_faults_are_retried_until_they_pass(scenario: Scenario, fault: ServerFault) -> None:
    scenario.fill(some_objects(30))
    driver = scenario.source if fault.at_source else scenario.destination
    driver.hook = fault.hook()
    result = scenario.run()
    if fault.verb == "stored":
        assert contents(scenario.there) == contents(scenario.here)
        assert result.outcome is Outcome.CLEAN
    else:
        scenario.assert_clean(result)
    attempts = {row.attempts for key, row in scenario.rows().items() if fault.hits(key)}
    assert attempts == {3} if fault.verb != "stored" else attempts <= {2, 3}


@pytest.mark.parametrize("kind", [Kind.UNREACHABLE, Kind.DENIED, Kind.INVALID_KEY, Kind.INTERNAL])
def test_a_fault_that_stays_fails_its_object_only(scenario: Scenario, kind: Kind) -> None:
    scenario.fill(some_objects(40))
    bad = "f3/object 0003.bin"
    scenario.destination.hook = FailingCalls(kind, "put", lambda key: key == bad)
    result = scenario.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = scenario.ledgers.failures()
    assert (group.kind, group.reason) == (kind.value, "The server said no to the object.")
    assert (group.remedy, group.example, group.objects) == ("Ask it nicely.", bad, 1)
    assert set(contents(scenario.here)) - set(contents(scenario.there)) == {bad}


def test_equal_faults_of_many_objects_make_one_group(scenario: Scenario) -> None:
    scenario.fill(some_objects(60))
    scenario.destination.hook = FailingCalls(Kind.CONFLICT, "put", lambda key: key.startswith("f2/"))
    scenario.run()
    (group,) = scenario.ledgers.failures()
    assert group.objects == sum(key.startswith("f2/") for key in some_objects(60))


def test_a_large_folder_that_may_not_be_read_comes_first_and_the_rest_is_copied(
    scenario: Scenario,
) -> None:
    private = {f"a/{number:03}": b"x" for number in range(120)}
    scenario.fill(private | some_objects(40))
    scenario.source.hook = FailingCalls(Kind.DENIED, "read", lambda key: key.startswith("a/"))
    result = scenario.run(Spec(workers=1))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert scenario.ledgers.counters().failed == len(private)
    assert contents(scenario.there).keys() == contents(scenario.here).keys() - private.keys()


def test_a_retried_comparison_is_no_copy(scenario: Scenario) -> None:
    objects = some_objects(30)
    scenario.fill(objects)
    scenario.fill(objects, there=True)
    scenario.source.hook = FailingCalls(Kind.UNREACHABLE, "read", lambda key: True, times=2)
    scenario.destination.hook = FailingCalls(Kind.TIMEOUT, "stat", lambda key: True, times=1)
    assert scenario.run().outcome is Outcome.WITH_SKIPS
    counters = scenario.ledgers.counters()
    assert (counters.copied, counters.skipped) == (0, 30)
    assert scenario.destination.keys_of("put", "write") == []


def test_one_copy_that_may_not_be_looked_at_is_one_failure(scenario: Scenario) -> None:
    scenario.fill(some_objects(20) | {"hidden": b"x"})
    scenario.destination.listing = lambda entries: (each for each in entries if each.key != "hidden")
    scenario.destination.hook = FailingCalls(Kind.DENIED, "stat", lambda key: key == "hidden")
    result = scenario.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert (scenario.rows()["hidden"].kind, scenario.ledgers.counters().failed) == ("denied", 1)


def test_what_failed_writes_may_have_left_is_swept_at_the_end(scenario: Scenario) -> None:
    scenario.fill(some_objects(20))
    bad = "f3/object 0003.bin"
    swept: list[str] = []
    sweep = scenario.destination.inner.sweep

    def watched(keys: Iterable[str], *, since: float) -> int:
        known = list(keys)
        swept.extend(known)
        return sweep(known, since=since)

    scenario.destination.inner.sweep = watched  # type: ignore[method-assign]
    scenario.destination.hook = FailingCalls(Kind.UNREACHABLE, "put", lambda key: key == bad)
    scenario.run()
    assert swept == [bad]


def test_a_vanished_source_object_is_told_from_a_missing_bucket(scenario: Scenario) -> None:
    scenario.fill(some_objects(20) | {"gone": b"x"})
    scenario.approved = False
    scenario.run()
    (scenario.here / "gone").unlink()
    scenario.approved = True
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    row = scenario.rows()["gone"]
    assert (row.state, row.kind) == (ObjectState.FAILED, "not_found")
    assert row.reason == "It vanished from the source after it was listed."


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_missing_place_ends_the_run_and_keeps_the_rows(scenario: Scenario, side: str) -> None:
    scenario.fill(some_objects(200))
    scenario.approved = False
    scenario.run()
    scenario.approved = True
    driver = getattr(scenario, side)

    def missing(verb: str, key: str) -> None:
        if verb in ("read", "put"):
            raise ContainerMissing("b", "The bucket “b” is not there.", operation=verb, remedy="Create it.")

    driver.hook = missing
    result = scenario.run()
    assert (result.state, result.message) == (State.FAILED, "The bucket “b” is not there.")
    assert result.remedy == "Create it."
    assert scenario.ledgers.counters().failed == 0
    driver.hook = lambda verb, key: None
    scenario.assert_clean(scenario.run())


def test_an_object_that_changes_is_copied_at_the_end_as_it_is_then(scenario: Scenario) -> None:
    scenario.fill(some_objects(30) | {"moving": b"before"})
    edited = threading.Event()

    def edit_once(verb: str, key: str) -> None:
        if verb == "read" and key == "moving" and not edited.is_set():
            edited.set()
            (scenario.here / "moving").write_bytes(b"after, and longer")

    scenario.source.hook = edit_once
    scenario.assert_clean(scenario.run())
    assert scenario.rows()["moving"].size == len(b"after, and longer")
    moved = scenario.destination.keys_of("put")
    assert moved[-1] == "moving"


def test_an_object_that_never_holds_still_fails_as_changed(scenario: Scenario) -> None:
    scenario.fill({"restless": b"1", "calm": b"2"})

    def edit(verb: str, key: str) -> None:
        if verb == "read" and key == "restless":
            with (scenario.here / key).open("ab") as file:
                file.write(b"+")

    scenario.source.hook = edit
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    row = scenario.rows()["restless"]
    assert (row.kind, row.reason, row.attempts) == (
        "changed",
        "It kept changing while it was being copied.",
        3,
    )
    assert set(contents(scenario.there)) == {"calm"}


def test_a_large_object_that_breaks_off_leaves_nothing_half_written(scenario: Scenario) -> None:
    scenario.fill({"large": b"x" * LARGE})
    scenario.source.hook = FailingCalls(Kind.DAMAGED, "chunk", lambda key: True)
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    assert contents(scenario.there) == {}
    assert leftovers(scenario.there) == []


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """This process writes no file of more bytes: what a FAT disk says of 4 GiB, said of less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_too_large_for_the_disk_is_no_full_disk(scenario: Scenario) -> None:
    scenario.fill(some_objects(100) | {"huge 1": b"x" * LARGE, "huge 2": b"x" * LARGE})
    with largest_file(LARGE - 1):
        result = scenario.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = scenario.ledgers.failures()
    assert (group.kind, group.objects) == ("too_large", 2)
    assert (
        group.reason == "The object could not be written: the file system does not accept files this large."
    )
    assert set(contents(scenario.here)) - set(contents(scenario.there)) == {"huge 1", "huge 2"}


@pytest.mark.parametrize("kind", [Kind.FULL, Kind.BAD_CREDENTIALS])
def test_a_full_disk_or_bad_credentials_end_the_run_at_once(scenario: Scenario, kind: Kind) -> None:
    scenario.fill(some_objects(400))
    allowed = threading.Semaphore(100)

    def full(verb: str, key: str) -> None:
        if verb == "put" and not allowed.acquire(blocking=False):
            FailingCalls(kind, "put", lambda key: True)(verb, key)

    scenario.destination.hook = full
    result = scenario.run()
    assert (result.state, result.message) == (State.FAILED, "The server said no to the object.")
    counters = scenario.ledgers.counters()
    assert (counters.failed, counters.copied <= 100) == (0, True)
    scenario.destination.hook = lambda verb, key: None
    scenario.assert_clean(scenario.run())


def test_a_destination_that_refuses_everything_stops_the_run_early(scenario: Scenario) -> None:
    scenario.fill(some_objects(300))
    scenario.destination.hook = FailingCalls(Kind.DENIED, "put", lambda key: True)
    result = scenario.run()
    assert result.state is State.FAILED
    assert scenario.ledgers.counters().failed == 0
    assert len(scenario.destination.keys_of("put")) < 120
    scenario.destination.hook = lambda verb, key: None
    scenario.assert_clean(scenario.run())


def test_few_objects_that_are_all_refused_are_recorded_as_failed(scenario: Scenario) -> None:
    scenario.fill(some_objects(12))
    scenario.destination.hook = FailingCalls(Kind.DENIED, "put", lambda key: True)
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    assert scenario.ledgers.counters().failed == 12


def test_an_outage_costs_no_object_its_attempts(scenario: Scenario) -> None:
    scenario.fill(some_objects(60))
    refusals = threading.Semaphore(400)

    def outage(verb: str, key: str) -> None:
        if verb == "put" and refusals.acquire(blocking=False):
            FailingCalls(Kind.UNREACHABLE, "put", lambda key: True)(verb, key)

    scenario.destination.hook = outage
    scenario.assert_clean(scenario.run())


def test_a_few_objects_that_always_time_out_do_not_keep_a_run_from_finishing(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_OUTAGE_SECONDS", 0.05)
    scenario.fill(some_objects(80))
    scenario.source.hook = FailingCalls(Kind.TIMEOUT, "read", lambda key: key.endswith("3.bin"))
    result = scenario.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    (group,) = scenario.ledgers.failures()
    assert (group.kind, group.objects) == ("timeout", 8)


def test_an_outage_without_end_fails_the_run_and_not_the_objects(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_OUTAGE_SECONDS", 0.2)
    scenario.fill(some_objects(60))
    scenario.destination.hook = FailingCalls(Kind.UNREACHABLE, "put", lambda key: True)
    result = scenario.run()
    assert result.state is State.FAILED
    assert scenario.ledgers.counters().failed == 0
    scenario.destination.hook = lambda verb, key: None
    scenario.assert_clean(scenario.run())


@pytest.mark.parametrize("panic", [PanicException, KeyboardInterrupt, ValueError, RecursionError])
def test_a_panic_of_native_code_fails_one_object_with_a_safe_sentence(
    scenario: Scenario, panic: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    scenario.fill(some_objects(20) | {"poison": b"x"})

    def explode(verb: str, key: str) -> None:
        if verb == "put" and key == "poison":
            raise panic("secret-in-the-message")

    scenario.destination.hook = explode
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    row = scenario.rows()["poison"]
    assert (row.kind, "secret" in row.reason + caplog.text) == ("internal", False)
    assert panic.__name__ in caplog.text
    assert scenario.ledgers.counters().verified == 20


def test_a_listing_that_breaks_off_is_begun_again(scenario: Scenario) -> None:
    scenario.fill(some_objects(50))
    scenario.source.hook = FailingCalls(Kind.UNREACHABLE, "list", lambda key: True, times=3)
    scenario.assert_clean(scenario.run())


def test_a_listing_that_is_refused_fails_the_run_with_its_sentence(scenario: Scenario) -> None:
    scenario.fill(some_objects(5))
    scenario.source.hook = FailingCalls(Kind.DENIED, "list", lambda key: True)
    result = scenario.run()
    assert (result.state, result.remedy) == (State.FAILED, "Ask it nicely.")
    assert not scenario.ledgers.counters().listing_final


def test_a_copy_that_reads_back_differently_is_written_again(scenario: Scenario) -> None:
    scenario.fill({"a": b"right", "b": b"right"})
    flipped = threading.Event()

    def flip_once(verb: str, key: str) -> None:
        if verb == "stored" and key == "a" and not flipped.is_set():
            flipped.set()
            (scenario.there / "a").write_bytes(b"wrong")

    scenario.destination.hook = flip_once
    scenario.assert_clean(scenario.run(Spec(workers=2, verify=Verify.READBACK, on_conflict=OnConflict.FAIL)))
    assert scenario.rows()["a"].attempts == 2


def test_a_place_that_always_reads_back_differently_is_reported(scenario: Scenario) -> None:
    scenario.fill({"a": b"right"})

    def flip(verb: str, key: str) -> None:
        if verb == "stored":
            (scenario.there / "a").write_bytes(b"wrong")

    scenario.destination.hook = flip
    assert scenario.run(Spec(workers=2, verify=Verify.READBACK)).outcome is Outcome.WITH_ERRORS
    row = scenario.rows()["a"]
    assert (row.kind, row.source_checksum != row.destination_checksum) == ("damaged", True)


def test_a_disk_without_hard_links_still_creates_only(scenario: Scenario) -> None:
    scenario.fill({"a": b"new", "b": b"new"})
    put = scenario.destination.inner.put
    from dashboard.storage.errors import Unsupported

    def no_links(key: str, data: bytes, **options: object) -> object:
        if options.get("create_only"):
            raise Unsupported("write", "No hard links here.")
        return put(key, data, **options)  # type: ignore[arg-type]

    scenario.destination.inner.put = no_links  # type: ignore[assignment,method-assign]
    scenario.assert_clean(scenario.run())


def test_a_source_that_refuses_deletion_keeps_its_objects_and_says_so(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.fill(some_objects(10))
    before = contents(scenario.here)
    scenario.source.hook = FailingCalls(Kind.DENIED, "delete", lambda key: True)
    result = scenario.run(Spec(workers=2, delete_source=True))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_SKIPS)
    assert contents(scenario.here) == before
    assert all("not deleted" in row.reason for row in scenario.rows().values())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotFound("a"), "There is no such object."),
        (Exists("a"), "There is already such an object."),
        (InvalidKey("a", "A disk cannot hold “a” exactly."), "A disk cannot hold the object exactly."),
        (Damaged("a", "“a” ended after 5 of 1,000 bytes."), "The object ended after … of … bytes."),
        (StorageError(Kind.DENIED, "This is a refusal of a key."), "This is a refusal of a key."),
        (StorageError(Kind.DENIED, "No: \udcff."), "No: \\udcff."),
    ],
)
def test_a_reason_names_no_key(error: StorageError, sentence: str) -> None:
    assert reason_for(error, "a", "").sentence == sentence
