"""A migration and the catalogue: whatever happens, every row points at a place that has the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select

from dashboard.migration.ledger import Done, FencedOut, FinalCheck, Finished, Planned, Reason, Settled
from dashboard.migration.types import Action, ObjectState, Spec, State
from dashboard.models.catalogue import files
from dashboard.services.catalogue.catalogue import Catalogue, FileFacts
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.storage.types import Entry
from tests.migration.ledgers import SqlLedgers
from tests.servers.processes import wait_until
from tests.services.composed import add_local, await_state, fill, running
from tests.services.console import ADMIN, ServiceConsole

SOURCE, DESTINATION = 1, 2
KNOWN = FileFacts(SOURCE, "a", 10, 1.5, "e", sha256="ab" * 32, width=7, owner="ada", details={"camera": "X"})
WHY = Reason("missing", "It is gone.")


class Catalogued:
    """A ledger and a catalogue in one ``work.db``."""

    def __init__(self, folder: Path) -> None:
        self.ledgers = SqlLedgers(folder)
        self.catalogue = Catalogue(self.ledgers.database)

    def open(self, *, deletes: bool = True, fence: int | None = None) -> SqlLedger:
        """A run of migration 1 that has begun."""
        files = LedgerFiles(1, SOURCE, DESTINATION, deletes=deletes)
        ledger = self.ledgers.open(files=files, fence=fence)
        ledger.begin()
        return ledger

    def rows(self) -> dict[tuple[int, str], Row[Any]]:
        """All rows of the catalogue by place."""
        with self.ledgers.database.work_read() as connection:
            return {(row.backend_id, row.key): row for row in connection.execute(select(files))}

    def places(self) -> dict[tuple[int, str], int]:
        """The id of the row of each place."""
        return {place: row.id for place, row in self.rows().items()}


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Catalogued]:
    catalogued = Catalogued(tmp_path)
    yield catalogued
    catalogued.ledgers.close()


def copy_all(
    ledger: SqlLedger, *keys: str, state: ObjectState = ObjectState.VERIFIED, **done: Any
) -> list[Finished]:
    ledger.record([Planned(key, 10, Action.COPY, 1.5, "e") for key in keys])
    result = Done(state, 10, source_version="e", destination_etag="d", source_modified=1.5, source_etag="e")
    ledger.settle(
        [
            Settled(row, replace(result, **{"destination_key": row.key, **done}), 1, 100.0)
            for row in ledger.claim(100, 1.0)
        ]
    )
    return list(ledger.finished(state, 0, 100))


def test_a_verified_copy_gets_a_row_of_its_own(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    ledger = it.open(deletes=False)
    copy_all(ledger, "a", "not catalogued")
    rows = it.rows()
    assert rows[SOURCE, "a"].id == number
    copy = rows[DESTINATION, "a"]
    assert (copy.size, copy.etag, copy.modified, copy.sha256, copy.width) == (10, "d", None, "ab" * 32, 7)
    assert (copy.owner, copy.details) == ("ada", {"camera": "X"})
    assert rows[DESTINATION, "not catalogued"].sha256 == ""
    assert (SOURCE, "not catalogued") not in rows
    ledger.mark_listed([Entry("a", 10, 77.0, "d"), Entry("not catalogued", 11, 77.0, "d")])
    assert it.rows()[DESTINATION, "a"].modified == 77.0
    assert it.rows()[DESTINATION, "not catalogued"].modified is None


@pytest.mark.parametrize(
    "state", [ObjectState.COPIED, ObjectState.SKIPPED, ObjectState.FAILED, ObjectState.PENDING]
)
def test_nothing_but_a_proven_copy_has_a_row(it: Catalogued, state: ObjectState) -> None:
    it.catalogue.record([KNOWN])
    copy_all(it.open(), "a", state=state)
    assert it.places().keys() == {(SOURCE, "a")}


def test_a_copy_compared_by_size_has_a_row_when_it_was_listed_and_no_checksum(it: Catalogued) -> None:
    it.catalogue.record([KNOWN])
    ledger = it.open(deletes=False)
    (row,) = copy_all(ledger, "a", state=ObjectState.COPIED)
    ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED)])
    copy = it.rows()[DESTINATION, "a"]
    assert (copy.width, copy.owner, copy.sha256) == (7, "ada", "")


@pytest.mark.parametrize(
    ("source", "done"),
    [
        (replace(KNOWN, etag="other"), {}),
        (replace(KNOWN, modified=99.0), {}),
        (replace(KNOWN, size=9), {}),
        (KNOWN, {"source_etag": "newer", "source_modified": 9.0}),
        # Nothing that could be compared.
        (replace(KNOWN, etag="", modified=None), {}),
    ],
)
def test_what_is_known_of_another_object_is_not_said_of_the_copy(
    it: Catalogued, source: FileFacts, done: dict[str, Any]
) -> None:
    it.catalogue.record([source])
    copy_all(it.open(deletes=False), "a", **done)
    copy = it.rows()[DESTINATION, "a"]
    assert (copy.sha256, copy.width, copy.owner) == ("", None, "")


def test_an_equal_checksum_shows_that_it_is_the_same_object(it: Catalogued) -> None:
    it.catalogue.record([replace(KNOWN, etag="", modified=None, md5="cd" * 16)])
    copy_all(it.open(deletes=False), "a", source_checksum="CD" * 16)
    assert it.rows()[DESTINATION, "a"].sha256 == "ab" * 32


def test_a_moved_file_keeps_its_id_and_moves_before_its_source_is_deleted(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    ledger = it.open()
    (row,) = copy_all(ledger, "a", destination_key="a (copy)")
    assert it.places()[SOURCE, "a"] == number
    ledger.announce_deletions([row])
    ledger.announce_deletions([row])
    (place, moved), *others = it.rows().items()
    assert (place, moved.id, others) == ((DESTINATION, "a (copy)"), number, [])
    assert (moved.sha256, moved.etag, moved.owner, moved.migration_id) == ("ab" * 32, "d", "ada", None)
    ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED, deleted=True)])
    assert it.places() == {(DESTINATION, "a (copy)"): number}


def test_a_kill_before_the_deletion_is_recorded_leaves_the_row_where_the_file_is(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    (row,) = copy_all(it.open(), "a")
    it.open().announce_deletions([row])
    # Killed, counted, and run again.
    count = it.catalogue.count(SOURCE)
    count.begin()
    count.add(Entry("a", 10, 1.5, "e"))
    count.complete()
    assert it.places() == {(DESTINATION, "a"): number}
    ledger = it.open()
    (row,) = ledger.finished(ObjectState.VERIFIED, 0, 10)
    ledger.announce_deletions([row])
    ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED, deleted=True)])
    assert it.places() == {(DESTINATION, "a"): number}


def test_a_source_that_was_counted_again_after_all_does_not_replace_the_moved_row(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    (row,) = copy_all(it.open(), "a")
    ledger = it.open()
    ledger.announce_deletions([row])
    it.catalogue.record([KNOWN])
    ledger.announce_deletions([row])
    assert it.places() == {(DESTINATION, "a"): number}


def test_a_kept_source_is_found_by_the_next_count(it: Catalogued) -> None:
    it.catalogue.record([KNOWN])
    ledger = it.open()
    (row,) = copy_all(ledger, "a")
    ledger.announce_deletions([row])
    ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED, WHY)])
    count = it.catalogue.count(SOURCE)
    count.begin()
    count.add(Entry("a", 11, 2.5, "new"))
    count.complete()
    assert it.places().keys() == {(SOURCE, "a"), (DESTINATION, "a")}


def test_a_source_that_was_replaced_meanwhile_keeps_its_row(it: Catalogued) -> None:
    it.catalogue.record([KNOWN])
    ledger = it.open()
    (row,) = copy_all(ledger, "a")
    (number,) = it.catalogue.record([replace(KNOWN, size=11, etag="new", owner="olga")])
    ledger.announce_deletions([row])
    assert it.places()[SOURCE, "a"] == number
    ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED, WHY)])
    assert it.rows()[SOURCE, "a"].owner == "olga"


def test_a_copy_that_was_replaced_meanwhile_keeps_what_is_known_of_it(it: Catalogued) -> None:
    it.catalogue.record([KNOWN])
    ledger = it.open()
    (row,) = copy_all(ledger, "a")
    (number,) = it.catalogue.record([FileFacts(DESTINATION, "a", 99, sha256="ef" * 32)])
    ledger.announce_deletions([row])
    assert it.places() == {(DESTINATION, "a"): number}
    assert it.rows()[DESTINATION, "a"].sha256 == "ef" * 32


def test_a_copy_that_is_missing_after_all_loses_its_row(it: Catalogued) -> None:
    it.catalogue.record([KNOWN, replace(KNOWN, key="b")])
    ledger = it.open()
    one, two = copy_all(ledger, "a", "b")
    it.catalogue.record([FileFacts(DESTINATION, "b", 99)])
    ledger.record_final_checks([FinalCheck(row, ObjectState.FAILED, WHY) for row in (one, two)])
    # What somebody else has stored there stays.
    assert it.places().keys() == {(SOURCE, "a"), (SOURCE, "b"), (DESTINATION, "b")}


def test_of_two_migrations_from_one_source_the_first_deletion_moves_the_file(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    other = SqlLedger(it.ledgers.database.work, 2, files=LedgerFiles(2, SOURCE, 3, deletes=True))
    other.begin()
    ledger = it.open()
    (row,) = copy_all(ledger, "a")
    (second,) = copy_all(other, "a")
    ledger.announce_deletions([row])
    other.announce_deletions([second])
    places = it.places()
    assert places[DESTINATION, "a"] == number
    assert places.keys() == {(DESTINATION, "a"), (3, "a")}
    assert it.rows()[3, "a"].sha256 == "ab" * 32


def test_a_ledger_that_is_older_than_the_catalogue_moves_the_row_without_checksums(it: Catalogued) -> None:
    (number,) = it.catalogue.record([KNOWN])
    old = it.ledgers.open()
    old.begin()
    (row,) = copy_all(old, "a")
    ledger = it.open()
    ledger.announce_deletions([row])
    moved = it.rows()[DESTINATION, "a"]
    assert (moved.id, moved.etag, moved.width, moved.sha256) == (number, "d", 7, "")


def test_a_run_that_was_replaced_changes_no_row(it: Catalogued) -> None:
    it.catalogue.record([KNOWN])
    late = it.open(fence=1)
    (row,) = copy_all(late, "a")
    before = it.places()
    it.open(fence=2)
    for call in (
        lambda: late.announce_deletions([row]),
        lambda: late.record_final_checks([FinalCheck(row, ObjectState.FAILED, WHY)]),
        lambda: late.mark_listed([Entry("a", 10, 7.0, "d")]),
    ):
        with pytest.raises(FencedOut):
            call()
    assert it.places() == before
    assert it.rows()[DESTINATION, "a"].modified is None


def test_a_consoles_migration_takes_its_files_along(console: ServiceConsole, tmp_path: Path) -> None:
    services = console.services
    for name in ("one", "two"):
        add_local(services, name, tmp_path / name)
    fill(tmp_path / "one", {"photos/a.jpg": 10, "b.txt": 3})
    # The same content is there already: skipped, so its source stays.
    fill(tmp_path / "two", {"same.txt": 0})
    fill(tmp_path / "one", {"same.txt": 0})
    one, two = (services.backends.get(name).id for name in ("one", "two"))
    services.checks.count_backend(one, lambda: False)
    photo = services.catalogue.find("one", "photos/a.jpg")
    assert photo is not None
    assert services.catalogue.describe(photo, replace(KNOWN, backend_id=one, key=photo.key))
    number = services.migrations.create(ADMIN, "one", "two", Spec(delete_source=True), approve=True)
    with running(services):
        await_state(services, number, State.FINISHED)
        wait_until(lambda: services.catalogue.completed_at(two), seconds=60, what="the counts afterwards")
    moved = services.catalogue.get(photo.id)
    assert (moved.backend, moved.key, moved.width, moved.owner) == ("two", "photos/a.jpg", 7, "ada")
    assert moved.sha256 == "ab" * 32
    assert moved.modified == (tmp_path / "two/photos/a.jpg").stat().st_mtime_ns / 1e9
    found = {(file.backend, file.key) for file in services.catalogue.search_all(FileFilters())}
    assert found == {("one", "same.txt"), ("two", "b.txt"), ("two", "photos/a.jpg"), ("two", "same.txt")}
