"""A whole migration between two folders: what is asked is done, and what is done is proven."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.migration.carrying.copy_phase import CopyPhase
from dashboard.migration.execute import Execution
from dashboard.migration.types import Action, ObjectState, OnConflict, Outcome, Spec, State, Verify
from dashboard.services.migrations.carrying import carrier_ledger, chunks
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Entry, Written
from tests.migration.ledgers import assert_exact
from tests.migration.round_trip import migrate
from tests.migration.scenario import LARGE, Scenario, contents, some_objects

OLD, NEW = b"old content", b"new content"


def spec(**more: object) -> Spec:
    return Spec(workers=4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("verify", list(Verify))
def test_everything_arrives_and_is_verified(scenario: Scenario, verify: Verify) -> None:
    scenario.fill(some_objects(300) | {"large.bin": os.urandom(LARGE), "empty": b""})
    scenario.assert_clean(scenario.run(spec(verify=verify)))
    counters = scenario.ledgers.counters()
    assert (counters.found, counters.copied, counters.verified) == (302, 302, 302)
    assert scenario.states == [State.RUNNING, State.VERIFYING, State.FINISHED]
    if verify is not Verify.SIZE:
        assert all(row.source_checksum == row.destination_checksum != "" for row in scenario.rows().values())


def test_no_more_is_moved_at_once_than_an_end_takes_connections(tmp_path: Path) -> None:
    class Narrow(LocalDriver):
        """Takes two at once and counts."""

        busy = most = 0
        counting = threading.Lock()

        def max_connections(self) -> int:
            return 2

        def put(self, key: str, data: bytes, **more: Any) -> Written:
            with self.counting:
                self.busy += 1
                self.most = max(self.most, self.busy)
            try:
                return super().put(key, data, **more)
            finally:
                with self.counting:
                    self.busy -= 1

    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for number in range(200):
        (here / f"{number}").write_bytes(b"x" * number)
    narrow = Narrow(str(there))
    migrate(tmp_path / "ledgers", LocalDriver(str(here)), narrow, Spec(workers=16)).close()
    assert contents(there) == contents(here)
    assert 1 <= narrow.most <= 2


def assert_all_copied(tmp_path: Path, files: int) -> None:
    """Copy so many files of 1,000 bytes, by a run that has no other carriers."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for number in range(files):
        (here / f"{number}").write_bytes(b"x" * 1000)
    migrate(tmp_path / "ledgers", LocalDriver(str(here)), LocalDriver(str(there)), Spec(workers=4)).close()
    assert contents(there) == contents(here)


def test_what_the_ledger_holds_back_for_want_of_memory_is_copied_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(carrier_ledger, "MEMORY_BYTES", 30_000)
    executions, new_execution = [], CopyPhase._new_execution

    def count(phase: CopyPhase) -> Execution:
        executions.append(phase)
        return new_execution(phase)

    monkeypatch.setattr(CopyPhase, "_new_execution", count)
    assert_all_copied(tmp_path, 200)
    assert len(executions) == 1


def test_a_run_ends_only_when_every_row_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, silent = CarrierLedger.claim, iter([True, False, True])
    # It says now and then that there is nothing to claim.
    monkeypatch.setattr(CarrierLedger, "claim", lambda *given: [] if next(silent, False) else claim(*given))
    assert_all_copied(tmp_path, 50)


def test_nothing_to_do_is_a_clean_finish(scenario: Scenario) -> None:
    scenario.assert_clean(scenario.run())
    assert scenario.ledgers.counters().listing_final


def test_a_second_migration_skips_what_is_the_same_and_replaces_what_differs(scenario: Scenario) -> None:
    scenario.fill({"same": NEW, "differs": NEW, "longer": NEW + NEW, "fresh": NEW})
    scenario.fill({"same": NEW, "differs": OLD, "longer": OLD, "stranger": OLD}, there=True)
    result = scenario.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_SKIPS)
    rows = scenario.rows()
    assert {key: (row.action, row.state) for key, row in rows.items()} == {
        "same": (Action.COMPARE, ObjectState.SKIPPED),
        "differs": (Action.COMPARE, ObjectState.VERIFIED),
        "longer": (Action.REPLACE, ObjectState.VERIFIED),
        "fresh": (Action.COPY, ObjectState.VERIFIED),
    }
    assert rows["same"].reason
    assert contents(scenario.there) == contents(scenario.here) | {
        "stranger": contents(scenario.there)["stranger"]
    }


def test_overwrite_replaces_everything(scenario: Scenario) -> None:
    scenario.fill({"a": NEW})
    scenario.fill({"a": OLD}, there=True)
    scenario.assert_clean(scenario.run(spec(on_conflict=OnConflict.OVERWRITE)))


def test_only_newer_objects_replace(scenario: Scenario) -> None:
    for key in ("older", "newer"):
        scenario.fill({key: NEW})
        scenario.fill({key: OLD}, there=True)
    os.utime(scenario.here / "older", (1000, 1000))
    os.utime(scenario.there / "newer", (1000, 1000))
    scenario.run(spec(on_conflict=OnConflict.NEWER))
    assert (scenario.there / "older").read_bytes() == OLD
    assert (scenario.there / "newer").read_bytes() == NEW


def test_keep_both_writes_beside_under_a_free_name_and_records_it(scenario: Scenario) -> None:
    scenario.fill({"a/photo.jpg": NEW, "a/.profile": NEW, "same": OLD, "free": NEW})
    scenario.fill(
        {
            "a/photo.jpg": OLD,
            "a/photo (from old disk).jpg": b"earlier one",
            "a/.profile": OLD,
            "same": OLD,
        },
        there=True,
    )
    result = scenario.run(spec(on_conflict=OnConflict.KEEP_BOTH))
    assert result.outcome is Outcome.WITH_SKIPS
    rows = scenario.rows()
    assert rows["a/photo.jpg"].destination_key == "a/photo (from old disk 2).jpg"
    assert rows["a/.profile"].destination_key == "a/.profile (from old disk)"
    assert rows["same"].state is ObjectState.SKIPPED
    assert rows["free"].destination_key == ""
    assert (scenario.there / "a/photo.jpg").read_bytes() == OLD
    assert (scenario.there / "a/photo (from old disk 2).jpg").read_bytes() == NEW


def test_fail_touches_nothing_and_says_why(scenario: Scenario) -> None:
    scenario.fill({"a": NEW, "b": NEW})
    scenario.fill({"a": OLD}, there=True)
    result = scenario.run(spec(on_conflict=OnConflict.FAIL))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert (scenario.there / "a").read_bytes() == OLD
    (group,) = scenario.ledgers.failures()
    assert (group.kind, group.example, group.objects) == ("conflict", "a", 1)
    assert group.remedy


@pytest.mark.parametrize("on_conflict", [c for c in OnConflict if c is not OnConflict.OVERWRITE])
def test_what_appears_between_plan_and_copy_is_not_overwritten_blindly(
    scenario: Scenario, on_conflict: OnConflict
) -> None:
    scenario.fill({"a": NEW, "twin": NEW})
    os.utime(scenario.here / "a", (1000, 1000))
    scenario.approved = False
    assert scenario.run(spec(on_conflict=on_conflict)).state is State.READY
    scenario.fill({"a": OLD, "twin": NEW}, there=True)
    scenario.approved = True
    scenario.run(spec(on_conflict=on_conflict))
    assert (scenario.there / "a").read_bytes() == OLD
    assert scenario.rows()["twin"].state is ObjectState.SKIPPED


def test_a_dry_run_plans_everything_and_changes_nothing(scenario: Scenario) -> None:
    scenario.fill({"new": NEW, "same size": NEW, "longer": NEW + NEW})
    scenario.fill({"same size": OLD, "longer": OLD}, there=True)
    before = contents(scenario.there)
    result = scenario.run(spec(dry_run=True))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)
    counters = scenario.ledgers.counters()
    assert (counters.to_copy, counters.to_compare, counters.to_replace, counters.copied) == (1, 1, 1, 0)
    assert contents(scenario.there) == before
    assert scenario.destination.keys_of("put", "write", "delete") == []


def test_without_approval_it_is_ready_and_goes_on_when_approved(scenario: Scenario) -> None:
    scenario.fill(some_objects(50))
    scenario.approved = False
    assert scenario.run().state is State.READY
    assert scenario.states == [State.PLANNING, State.READY]
    assert contents(scenario.there) == {}
    scenario.approved = True
    scenario.assert_clean(scenario.run())
    # Its first objects are looked at by each run, to see whether the two places overlap.
    assert len(scenario.source.keys_of("list")) == 3


def test_approval_during_listing_is_heard(scenario: Scenario) -> None:
    scenario.fill(some_objects(50))
    scenario.approved = False

    def approve_half_way(entries: object) -> object:
        for n, entry in enumerate(entries):  # type: ignore[arg-type,var-annotated]
            scenario.approved |= n == 25
            yield entry

    scenario.source.listing = approve_half_way  # type: ignore[assignment]
    scenario.assert_clean(scenario.run())


def test_sources_are_deleted_only_after_the_final_check(scenario: Scenario) -> None:
    scenario.fill({"a": NEW, "b": NEW, "kept": NEW, "lost": NEW, "same": NEW})
    scenario.fill({"same": NEW}, there=True)

    def interfere(verb: str, key: str) -> None:
        if verb == "list" and scenario.states[-1] is State.VERIFYING:
            (scenario.there / "lost").unlink()
            (scenario.here / "kept").write_bytes(b"edited meanwhile")

    scenario.destination.hook = interfere
    result = scenario.run(spec(delete_source=True))
    assert result.outcome is Outcome.WITH_ERRORS
    assert set(contents(scenario.here)) == {"kept", "lost", "same"}
    rows = scenario.rows()
    assert {key for key, row in rows.items() if row.deleted} == {"a", "b"}
    assert (rows["lost"].state, rows["lost"].kind) == (ObjectState.FAILED, "damaged")
    assert (rows["kept"].state, rows["kept"].kind) == (ObjectState.VERIFIED, "changed")
    assert scenario.ledgers.counters().deleted == 2


def hidden(scenario: Scenario, keys: set[str], *, listings: int) -> None:
    """The destination's listings leave these keys out, for a number of listings after the plan."""

    def list_without(entries: Iterator[Entry]) -> Iterator[Entry]:
        lags = (
            State.VERIFYING in scenario.states and len(scenario.destination.keys_of("list")) <= listings + 2
        )
        return (entry for entry in entries if not (lags and entry.key in keys))

    scenario.destination.listing = list_without


@pytest.mark.parametrize("verify", [Verify.CHECKSUM, Verify.SIZE])
def test_a_listing_that_lags_is_awaited(scenario: Scenario, verify: Verify) -> None:
    scenario.fill(some_objects(20))
    hidden(scenario, {"f3/object 0003.bin", "f3/object 0010.bin"}, listings=2)
    scenario.assert_clean(scenario.run(spec(verify=verify)))
    # What is looked for again is only where the missing ones would be.
    assert scenario.destination.keys_of("list") == ["", "", "", "f3/object 00", "f3/object 00"]


@pytest.mark.parametrize("verify", [Verify.CHECKSUM, Verify.SIZE])
def test_what_is_never_listed_is_no_copy_whatever_a_stat_says(scenario: Scenario, verify: Verify) -> None:
    scenario.fill(some_objects(20) | {"same": NEW})
    scenario.fill({"same": NEW}, there=True)
    keys = {"f3/object 0003.bin", "same"}
    hidden(scenario, keys, listings=100)
    result = scenario.run(spec(verify=verify, delete_source=verify is not Verify.SIZE))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert {key for key, row in scenario.rows().items() if row.state is ObjectState.FAILED} == keys
    assert all(row.kind == "invalid_key" for row in scenario.rows().values() if row.key in keys)
    assert keys <= set(contents(scenario.here))
    assert_exact(scenario.ledgers)


def test_what_was_written_beside_is_looked_for_under_its_own_name(scenario: Scenario) -> None:
    scenario.fill({"a.jpg": NEW, "b.jpg": NEW})
    scenario.fill({"a.jpg": OLD, "b.jpg": OLD}, there=True)
    hidden(scenario, {"b (from old disk).jpg"}, listings=100)
    scenario.run(spec(on_conflict=OnConflict.KEEP_BOTH, delete_source=True))
    rows = scenario.rows()
    assert rows["a.jpg"].deleted
    assert (rows["b.jpg"].state, rows["b.jpg"].kind) == (ObjectState.FAILED, "invalid_key")


def test_names_beside_that_the_prefix_leaves_out_are_listed_too(scenario: Scenario) -> None:
    scenario.fill({"photo.jpg": NEW})
    scenario.fill({"photo.jpg": OLD}, there=True)
    result = scenario.run(spec(on_conflict=OnConflict.KEEP_BOTH, prefix="photo."))
    assert result.outcome is Outcome.CLEAN, scenario.ledgers.failures()


def test_a_skipped_object_that_is_gone_at_the_end_has_failed(scenario: Scenario) -> None:
    scenario.fill({"a": NEW, "b": NEW})
    scenario.fill({"a": NEW, "b": NEW}, there=True)

    def remove(verb: str, key: str) -> None:
        if verb == "list" and State.VERIFYING in scenario.states:
            (scenario.there / "b").unlink(missing_ok=True)

    scenario.destination.hook = remove
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    rows = scenario.rows()
    assert (rows["a"].state, rows["b"].state) == (ObjectState.SKIPPED, ObjectState.FAILED)
    assert "skipped" in rows["b"].reason


def test_a_destination_changed_after_the_copy_is_found_by_the_final_listing(scenario: Scenario) -> None:
    scenario.fill({"a": NEW, "b": NEW})

    def truncate(verb: str, key: str) -> None:
        if verb == "list" and scenario.states[-1] is State.VERIFYING:
            (scenario.there / "b").write_bytes(b"")

    scenario.destination.hook = truncate
    assert scenario.run(spec(verify=Verify.SIZE)).outcome is Outcome.WITH_ERRORS
    assert scenario.rows()["a"].state is ObjectState.VERIFIED
    assert scenario.rows()["b"].kind == "damaged"
