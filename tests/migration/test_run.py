"""A whole migration between two folders: what is asked is done, and what is done is proven."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.migration.types import Action, ObjectState, OnConflict, Outcome, Spec, State, Verify
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Entry, Written
from tests.migration.across import migrate
from tests.migration.ledgers import assert_exact
from tests.migration.rehearsal import LARGE, Rehearsal, contents, some_objects

OLD, NEW = b"old content", b"new content"


def spec(**more: object) -> Spec:
    return Spec(workers=4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("verify", list(Verify))
def test_everything_arrives_and_is_verified(rehearsal: Rehearsal, verify: Verify) -> None:
    rehearsal.fill(some_objects(300) | {"large.bin": os.urandom(LARGE), "empty": b""})
    rehearsal.assert_clean(rehearsal.run(spec(verify=verify)))
    counters = rehearsal.ledgers.counters()
    assert (counters.found, counters.copied, counters.verified) == (302, 302, 302)
    assert rehearsal.told == [State.RUNNING, State.VERIFYING, State.FINISHED]
    if verify is not Verify.SIZE:
        assert all(row.source_checksum == row.destination_checksum != "" for row in rehearsal.rows().values())


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


def test_nothing_to_do_is_a_clean_finish(rehearsal: Rehearsal) -> None:
    rehearsal.assert_clean(rehearsal.run())
    assert rehearsal.ledgers.counters().listing_final


def test_a_second_migration_skips_what_is_the_same_and_replaces_what_differs(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"same": NEW, "differs": NEW, "longer": NEW + NEW, "fresh": NEW})
    rehearsal.fill({"same": NEW, "differs": OLD, "longer": OLD, "stranger": OLD}, there=True)
    result = rehearsal.run()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_SKIPS)
    rows = rehearsal.rows()
    assert {key: (row.action, row.state) for key, row in rows.items()} == {
        "same": (Action.COMPARE, ObjectState.SKIPPED),
        "differs": (Action.COMPARE, ObjectState.VERIFIED),
        "longer": (Action.REPLACE, ObjectState.VERIFIED),
        "fresh": (Action.COPY, ObjectState.VERIFIED),
    }
    assert rows["same"].reason
    assert contents(rehearsal.there) == contents(rehearsal.here) | {
        "stranger": contents(rehearsal.there)["stranger"]
    }


def test_overwrite_replaces_everything(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": NEW})
    rehearsal.fill({"a": OLD}, there=True)
    rehearsal.assert_clean(rehearsal.run(spec(on_conflict=OnConflict.OVERWRITE)))


def test_only_newer_objects_replace(rehearsal: Rehearsal) -> None:
    for key in ("older", "newer"):
        rehearsal.fill({key: NEW})
        rehearsal.fill({key: OLD}, there=True)
    os.utime(rehearsal.here / "older", (1000, 1000))
    os.utime(rehearsal.there / "newer", (1000, 1000))
    rehearsal.run(spec(on_conflict=OnConflict.NEWER))
    assert (rehearsal.there / "older").read_bytes() == OLD
    assert (rehearsal.there / "newer").read_bytes() == NEW


def test_keep_both_writes_beside_under_a_free_name_and_records_it(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a/photo.jpg": NEW, "a/.profile": NEW, "same": OLD, "free": NEW})
    rehearsal.fill(
        {
            "a/photo.jpg": OLD,
            "a/photo (from old disk).jpg": b"earlier one",
            "a/.profile": OLD,
            "same": OLD,
        },
        there=True,
    )
    result = rehearsal.run(spec(on_conflict=OnConflict.KEEP_BOTH))
    assert result.outcome is Outcome.WITH_SKIPS
    rows = rehearsal.rows()
    assert rows["a/photo.jpg"].destination_key == "a/photo (from old disk 2).jpg"
    assert rows["a/.profile"].destination_key == "a/.profile (from old disk)"
    assert rows["same"].state is ObjectState.SKIPPED
    assert rows["free"].destination_key == ""
    assert (rehearsal.there / "a/photo.jpg").read_bytes() == OLD
    assert (rehearsal.there / "a/photo (from old disk 2).jpg").read_bytes() == NEW


def test_fail_touches_nothing_and_says_why(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": NEW, "b": NEW})
    rehearsal.fill({"a": OLD}, there=True)
    result = rehearsal.run(spec(on_conflict=OnConflict.FAIL))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert (rehearsal.there / "a").read_bytes() == OLD
    (group,) = rehearsal.ledgers.failures()
    assert (group.kind, group.example, group.objects) == ("conflict", "a", 1)
    assert group.remedy


@pytest.mark.parametrize("on_conflict", [c for c in OnConflict if c is not OnConflict.OVERWRITE])
def test_what_appears_between_plan_and_copy_is_not_overwritten_blindly(
    rehearsal: Rehearsal, on_conflict: OnConflict
) -> None:
    rehearsal.fill({"a": NEW, "twin": NEW})
    os.utime(rehearsal.here / "a", (1000, 1000))
    rehearsal.approved = False
    assert rehearsal.run(spec(on_conflict=on_conflict)).state is State.READY
    rehearsal.fill({"a": OLD, "twin": NEW}, there=True)
    rehearsal.approved = True
    rehearsal.run(spec(on_conflict=on_conflict))
    assert (rehearsal.there / "a").read_bytes() == OLD
    assert rehearsal.rows()["twin"].state is ObjectState.SKIPPED


def test_a_dry_run_plans_everything_and_changes_nothing(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"new": NEW, "same size": NEW, "longer": NEW + NEW})
    rehearsal.fill({"same size": OLD, "longer": OLD}, there=True)
    before = contents(rehearsal.there)
    result = rehearsal.run(spec(dry_run=True))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)
    counters = rehearsal.ledgers.counters()
    assert (counters.to_copy, counters.to_compare, counters.to_replace, counters.copied) == (1, 1, 1, 0)
    assert contents(rehearsal.there) == before
    assert rehearsal.destination.said("put", "write", "delete") == []


def test_without_approval_it_is_ready_and_goes_on_when_approved(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(50))
    rehearsal.approved = False
    assert rehearsal.run().state is State.READY
    assert rehearsal.told == [State.PLANNING, State.READY]
    assert contents(rehearsal.there) == {}
    rehearsal.approved = True
    rehearsal.assert_clean(rehearsal.run())
    # Its first objects are looked at by each run, to see whether the two places overlap.
    assert len(rehearsal.source.said("list")) == 3


def test_approval_during_listing_is_heard(rehearsal: Rehearsal) -> None:
    rehearsal.fill(some_objects(50))
    rehearsal.approved = False

    def approve_half_way(entries: object) -> object:
        for n, entry in enumerate(entries):  # type: ignore[arg-type,var-annotated]
            rehearsal.approved |= n == 25
            yield entry

    rehearsal.source.listing = approve_half_way  # type: ignore[assignment]
    rehearsal.assert_clean(rehearsal.run())


def test_sources_are_deleted_only_after_the_final_check(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": NEW, "b": NEW, "kept": NEW, "lost": NEW, "same": NEW})
    rehearsal.fill({"same": NEW}, there=True)

    def interfere(verb: str, key: str) -> None:
        if verb == "list" and rehearsal.told[-1] is State.VERIFYING:
            (rehearsal.there / "lost").unlink()
            (rehearsal.here / "kept").write_bytes(b"edited meanwhile")

    rehearsal.destination.hook = interfere
    result = rehearsal.run(spec(delete_source=True))
    assert result.outcome is Outcome.WITH_ERRORS
    assert set(contents(rehearsal.here)) == {"kept", "lost", "same"}
    rows = rehearsal.rows()
    assert {key for key, row in rows.items() if row.deleted} == {"a", "b"}
    assert (rows["lost"].state, rows["lost"].kind) == (ObjectState.FAILED, "damaged")
    assert (rows["kept"].state, rows["kept"].kind) == (ObjectState.VERIFIED, "changed")
    assert rehearsal.ledgers.counters().deleted == 2


def hidden(rehearsal: Rehearsal, keys: set[str], *, listings: int) -> None:
    """The destination's listings leave these keys out, so many times after the plan."""

    def list_without(entries: Iterator[Entry]) -> Iterator[Entry]:
        lags = State.VERIFYING in rehearsal.told and len(rehearsal.destination.said("list")) <= listings + 2
        return (entry for entry in entries if not (lags and entry.key in keys))

    rehearsal.destination.listing = list_without


@pytest.mark.parametrize("verify", [Verify.CHECKSUM, Verify.SIZE])
def test_a_listing_that_lags_is_awaited(rehearsal: Rehearsal, verify: Verify) -> None:
    rehearsal.fill(some_objects(20))
    hidden(rehearsal, {"f3/object 0003.bin", "f3/object 0010.bin"}, listings=2)
    rehearsal.assert_clean(rehearsal.run(spec(verify=verify)))
    # What is looked for again is only where the missing ones would be.
    assert rehearsal.destination.said("list") == ["", "", "", "f3/object 00", "f3/object 00"]


@pytest.mark.parametrize("verify", [Verify.CHECKSUM, Verify.SIZE])
def test_what_is_never_listed_is_no_copy_whatever_a_stat_says(rehearsal: Rehearsal, verify: Verify) -> None:
    rehearsal.fill(some_objects(20) | {"same": NEW})
    rehearsal.fill({"same": NEW}, there=True)
    keys = {"f3/object 0003.bin", "same"}
    hidden(rehearsal, keys, listings=100)
    result = rehearsal.run(spec(verify=verify, delete_source=verify is not Verify.SIZE))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    assert {key for key, row in rehearsal.rows().items() if row.state is ObjectState.FAILED} == keys
    assert all(row.kind == "invalid_key" for row in rehearsal.rows().values() if row.key in keys)
    assert keys <= set(contents(rehearsal.here))
    assert_exact(rehearsal.ledgers)


def test_what_was_written_beside_is_looked_for_under_its_own_name(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a.jpg": NEW, "b.jpg": NEW})
    rehearsal.fill({"a.jpg": OLD, "b.jpg": OLD}, there=True)
    hidden(rehearsal, {"b (from old disk).jpg"}, listings=100)
    rehearsal.run(spec(on_conflict=OnConflict.KEEP_BOTH, delete_source=True))
    rows = rehearsal.rows()
    assert rows["a.jpg"].deleted
    assert (rows["b.jpg"].state, rows["b.jpg"].kind) == (ObjectState.FAILED, "invalid_key")


def test_names_beside_that_the_prefix_leaves_out_are_listed_too(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"photo.jpg": NEW})
    rehearsal.fill({"photo.jpg": OLD}, there=True)
    result = rehearsal.run(spec(on_conflict=OnConflict.KEEP_BOTH, prefix="photo."))
    assert result.outcome is Outcome.CLEAN, rehearsal.ledgers.failures()


def test_a_skipped_object_that_is_gone_at_the_end_has_failed(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": NEW, "b": NEW})
    rehearsal.fill({"a": NEW, "b": NEW}, there=True)

    def remove(verb: str, key: str) -> None:
        if verb == "list" and State.VERIFYING in rehearsal.told:
            (rehearsal.there / "b").unlink(missing_ok=True)

    rehearsal.destination.hook = remove
    assert rehearsal.run().outcome is Outcome.WITH_ERRORS
    rows = rehearsal.rows()
    assert (rows["a"].state, rows["b"].state) == (ObjectState.SKIPPED, ObjectState.FAILED)
    assert "skipped" in rows["b"].reason


def test_a_destination_changed_after_the_copy_is_found_by_the_final_listing(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": NEW, "b": NEW})

    def truncate(verb: str, key: str) -> None:
        if verb == "list" and rehearsal.told[-1] is State.VERIFYING:
            (rehearsal.there / "b").write_bytes(b"")

    rehearsal.destination.hook = truncate
    assert rehearsal.run(spec(verify=Verify.SIZE)).outcome is Outcome.WITH_ERRORS
    assert rehearsal.rows()["a"].state is ObjectState.VERIFIED
    assert rehearsal.rows()["b"].kind == "damaged"
