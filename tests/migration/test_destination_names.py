"""Destinations that take several names for one, change names or hide them: nothing is lost, and each object
that could not be kept under its own name has failed by it."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dashboard.migration.destination_names import CollisionCheck
from dashboard.migration.plan import plan
from dashboard.migration.run import MigrationJob, RunResult, run
from dashboard.migration.types import Control, LedgerRow, ObjectState, OnConflict, Outcome, Spec, State
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules
from dashboard.storage.types import Entry, ObjectInfo, Written
from dashboard.storage.whole import WholeReading
from tests.migration.ledgers import Ledgers, SqlLedgers
from tests.migration.memory_ledger import MemoryLedger, MemoryStore
from tests.servers.foreign import rclone

FOLDED = NameRules(ignores_case=True, ignores_normalization=True)
E_COMPOSED, E_DECOMPOSED = "\u00e9", "e\u0301"


def moved(
    source: Driver, destination: Driver, ledgers: Ledgers, rules: NameRules, **more: object
) -> tuple[RunResult, dict[str, LedgerRow]]:
    spec = Spec(workers=4, delete_source=True, **more)  # type: ignore[arg-type]
    job = MigrationJob(1, spec, lambda: True, "source", name_rules=lambda: rules)
    result = run(job, source, destination, ledgers.open(), lambda: Control.RUN, on_state=lambda *state: None)
    return result, {row.key: row for row in ledgers.rows()}


def placed(*keys: str) -> MemoryDriver:
    place = MemoryDriver()
    for key in keys:
        place.put(key, key.encode())
    return place


def on_disk(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def by_state(rows: dict[str, LedgerRow], state: ObjectState) -> set[str]:
    return {key for key, row in rows.items() if row.state is state}


@pytest.mark.parametrize("on_conflict", [OnConflict.SKIP_SAME, OnConflict.OVERWRITE, OnConflict.KEEP_BOTH])
def test_the_first_of_two_names_is_copied_and_the_later_refused(
    ledgers: Ledgers, on_conflict: OnConflict
) -> None:
    source = placed("A", "a", "b", E_COMPOSED, E_DECOMPOSED, "Dir/x", "dir/y", "Dir/z")
    result, rows = moved(source, MemoryDriver(), ledgers, FOLDED, on_conflict=on_conflict)
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    # In the order of the listing, in which capital letters and single signs come first or last.
    lost = {"a", E_COMPOSED, "dir/y"}
    assert by_state(rows, ObjectState.FAILED) == lost
    assert {entry.key for entry in source.list()} == lost
    assert all("as the same" in rows[key].reason and rows[key].remedy for key in lost)


def test_what_the_destination_holds_has_the_first_right(ledgers: Ledgers) -> None:
    source, destination = placed("A", "b", "Dir/x", "dir/x"), placed("a", "dir/old")
    _, rows = moved(source, destination, ledgers, FOLDED)
    assert by_state(rows, ObjectState.FAILED) == {"A", "Dir/x"}
    assert {entry.key for entry in destination.list()} == {"a", "b", "dir/old", "dir/x"}
    assert destination.read("a").read_all() == b"a"


def test_names_that_would_be_changed_or_hidden_are_refused_one_by_one(ledgers: Ledgers) -> None:
    source = placed("a\x01", "a\\b", ".hidden", "good")
    rules = NameRules(altered=("control", "backslash", "first-dot"))
    _, rows = moved(source, MemoryDriver(), ledgers, rules)
    assert by_state(rows, ObjectState.FAILED) == {"a\x01", "a\\b", ".hidden"}
    assert len({rows[key].reason for key in rows if key != "good"}) == 3


def test_planning_twice_decides_the_same(ledgers: Ledgers) -> None:
    source = placed(*(f"{'N' if n % 2 else 'n'}{n // 2}" for n in range(60)))
    for patience in (3, 50, 10**9):
        ledger = ledgers.open()
        ledger.begin()
        asked = iter(range(10**9))
        plan(
            source,
            MemoryDriver(),
            Spec(),
            ledger,
            lambda: next(asked) > patience,  # noqa: B023
            rules=FOLDED,
            pause=0,
        )
    assert sum(row.state is ObjectState.FAILED for row in ledgers.rows()) == 30
    assert {row.key[0] for row in ledgers.rows() if row.state is ObjectState.FAILED} == {"n"}


def test_many_names_are_told_apart_in_the_ledger_and_not_in_memory(tmp_path: Path) -> None:
    ledgers = SqlLedgers(tmp_path)
    ledger = ledgers.open()
    ledger.begin()
    names = CollisionCheck(FOLDED, ledger)
    keys = [f"folder {n % 50}/File {n}" for n in range(5000)]
    for start in range(0, len(keys), 1000):
        assert names.reserve(keys[start : start + 1000]) == set()
    assert names.reserve(keys) == set()
    assert names.reserve([keys[0].lower(), "new", keys[4999].upper()]) == {
        keys[0].lower(),
        keys[4999].upper(),
    }
    assert len(names._folders) <= 51
    ledgers.close()


def test_memory_and_work_db_hold_names_alike(ledgers: Ledgers) -> None:
    ledger = ledgers.open()
    ledger.begin()
    assert ledger.reserve_names([]) == {}
    assert ledger.reserve_names([("a", "A"), ("b", "b"), ("a", "a")]) == {"a": "A", "b": "b"}
    assert ledger.reserve_names([("a", "a"), ("\udcff", "\udcff")]) == {"a": "A", "\udcff": "\udcff"}
    ledger.clear_names()
    assert ledger.reserve_names([("a", "a")]) == {"a": "a"}


def test_an_unfolded_destination_is_merged_as_before() -> None:
    class Ordered(MemoryLedger):
        def save_listing(self, entries: object) -> None:
            raise AssertionError("the listing needs no index")

    ledger = Ordered(MemoryStore())
    ledger.begin()
    assert plan(placed("A", "a"), placed("A"), Spec(), ledger, lambda: False, pause=0)
    assert len(ledger.rows()) == 2


class Preserving(MemoryDriver):
    """Takes capital and small letters for one and keeps the name that was there first. No ETags."""

    def __init__(self) -> None:
        super().__init__()
        self._one_at_a_time = threading.Lock()

    def _held(self, key: str) -> str:
        return next((e.key for e in super().list() if e.key.lower() == key.lower()), key)

    def put(self, key: str, data: bytes, **more: Any) -> Written:
        with self._one_at_a_time:
            return replace(super().put(self._held(key), data, **more), etag=None)

    def stat(self, key: str) -> ObjectInfo:
        return replace(super().stat(self._held(key)), key=key, etag=None, version=None)

    def read(self, key: str, **more: Any) -> WholeReading:
        return super().read(self._held(key), **more)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        wanted = prefix.lower()
        every = super().list(start_after=start_after)
        return (entry._replace(etag=None) for entry in every if entry.key.lower().startswith(wanted))


@pytest.mark.parametrize("on_conflict", list(OnConflict))
def test_what_this_migration_wrote_is_not_replaced_under_another_name(
    ledgers: Ledgers, on_conflict: OnConflict
) -> None:
    # The rules are not known, as where they could not be learnt.
    source, destination = placed("A", "a", "b"), Preserving()
    _, rows = moved(source, destination, ledgers, NameRules(), on_conflict=on_conflict)
    kept = {entry.key: destination.read(entry.key).read_all() for entry in destination.list()}
    left = {entry.key: source.read(entry.key).read_all() for entry in source.list()}
    # Workers copy side by side: either name may arrive first.
    first, second = ("A", "a") if "A" in kept else ("a", "A")
    assert kept[first] == first.encode()
    assert {b"A", b"a", b"b"} == {*kept.values(), *left.values()}
    assert second in left or kept[f"{second} (from source)"] == second.encode()
    assert (second in by_state(rows, ObjectState.FAILED)) == (second in left)


@pytest.fixture(scope="module", params=[rclone.OverWebDAV, rclone.OverSFTP, rclone.OverFTP])
def folding(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """``rclone serve``, told to take capital and small letters for one."""
    if why_not := request.param.why_not():
        pytest.skip(why_not)
    with request.param("--vfs-case-insensitive") as server:
        driver = server.driver()
        yield driver
        driver.close()


def test_a_real_server_that_folds_names_loses_nothing(folding: Driver, tmp_path: Path) -> None:
    here = tmp_path / "here"
    meeting = ["photo.jpg", "Photo.JPG", "PHOTO.jpg", E_COMPOSED, E_DECOMPOSED, "Dir/a", "dir/b"]
    for key in (*meeting, "plain", "deep/er/x"):
        (here / key).parent.mkdir(parents=True, exist_ok=True)
        # All of one size: only the names tell them apart.
        (here / key).write_bytes(key.encode().ljust(20, b"."))
    wanted = on_disk(here)
    ledgers = SqlLedgers(tmp_path)
    _, rows = moved(LocalDriver(str(here)), folding, ledgers, probe_name_rules(folding))
    kept = {entry.key: folding.read(entry.key).read_all() for entry in folding.list()}
    left = on_disk(here)
    assert kept | left == wanted
    assert not kept.keys() & left.keys()
    assert by_state(rows, ObjectState.FAILED) == left.keys()
    assert len({unicodedata.normalize("NFC", key).lower() for key in kept}) == len(kept) == 5
    ledgers.close()
