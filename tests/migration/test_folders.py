"""Folders of the source that may not be read: each is a failure of its own, and the rest goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.errors import InvalidInput
from dashboard.migration.globs import compile_filter, compile_glob
from dashboard.migration.types import Action, ObjectState, Outcome, Spec, State
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.ledgers import SqlLedgers
from tests.migration.scenario import Scenario, contents, some_objects
from tests.storage.locked import LOCKED, Locked

KEYS = some_objects(30) | {f"{LOCKED}/#1": b"a", f"deep/{LOCKED}/#2": b"b", "deep/beside": b"c"}


@pytest.fixture
def locked(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Locked:
    scenario.fill(KEYS)
    scenario.source = LocalDriver(str(scenario.here))  # type: ignore[assignment]
    return Locked(monkeypatch)


def test_an_unreadable_folder_is_one_failure(scenario: Scenario, locked: Locked) -> None:
    result = scenario.run(Spec(delete_source=True, workers=4))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    row = scenario.rows()[f"{LOCKED}/"]
    assert (row.state, row.action, row.kind) == (ObjectState.FAILED, Action.FOLDER, "denied")
    (group,) = scenario.ledgers.failures()
    assert group.objects == 2
    assert group.reason == (
        "This folder could not be read, so nothing in it was copied. It could not be listed: the user that "
        "runs Stowage may not."
    )
    assert "exclude" in group.remedy
    locked.release()
    # What could not be read is all that was not moved.
    assert set(contents(scenario.here)) == {f"{LOCKED}/#1", f"deep/{LOCKED}/#2"}
    assert set(contents(scenario.there)) == KEYS.keys() - {f"{LOCKED}/#1", f"deep/{LOCKED}/#2"}


def test_an_excluded_folder_is_not_even_opened(scenario: Scenario, locked: Locked) -> None:
    result = scenario.run(Spec(exclude=(f"**/{LOCKED}/**",)))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)
    assert locked.tried == 0
    result = scenario.run(Spec(include=("f*/**", "deep/*")))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)
    assert locked.tried == 0


def test_a_folder_that_became_readable_is_copied_with_the_next_retry(
    scenario: Scenario, locked: Locked
) -> None:
    if not isinstance(scenario.ledgers, SqlLedgers):
        pytest.skip("only a ledger in a file can be told to try again")
    assert scenario.run().outcome is Outcome.WITH_ERRORS
    assert scenario.ledgers.queries.retry_failed(1) == 0
    assert not scenario.ledgers.counters().listing_final
    locked.release()
    assert scenario.run().outcome is Outcome.CLEAN
    assert contents(scenario.there) == contents(scenario.here)


def test_an_interrupted_listing_forgets_folders_that_became_readable(
    scenario: Scenario, locked: Locked
) -> None:
    scenario.approved = False
    scenario.run()
    assert scenario.ledgers.counters().failed == 2
    ledger = scenario.ledgers.open()
    ledger.begin()
    ledger.forget_folders()
    assert (scenario.ledgers.counters().failed, scenario.ledgers.failures()) == (0, ())
    assert scenario.ledgers.counters().found == len(KEYS) - 2


def test_an_unreadable_folder_at_the_destination_fails_what_belongs_there(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.fill(KEYS)
    scenario.fill({f"{LOCKED}/#1": b"older"}, there=True)
    scenario.source = LocalDriver(str(scenario.here))  # type: ignore[assignment]
    scenario.destination = LocalDriver(str(scenario.there))  # type: ignore[assignment]
    lock = Locked(monkeypatch, below=scenario.there)
    result = scenario.run()
    lock.release()
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    failed = {row.key for row in scenario.ledgers.rows() if row.state is ObjectState.FAILED}
    assert failed == {f"{LOCKED}/#1", f"deep/{LOCKED}/#2"}
    assert contents(scenario.there).keys() == KEYS.keys() - {f"deep/{LOCKED}/#2"}


@pytest.mark.parametrize(
    ("exclude", "folder", "enters"),
    [
        ("lost+found/**", "lost+found/", False),
        ("lost+found/**", "lost+found/deep/", False),
        ("**/lost+found/**", "a/lost+found/", False),
        ("lost+found/**/*", "lost+found/", False),
        ("**", "a/", False),
        ("lost+found/*", "lost+found/", True),
        ("lost+found", "lost+found/", True),
        ("lost+found/**.txt", "lost+found/", True),
        ("lost+found/**", "lost+found2/", True),
    ],
)
def test_which_folders_a_pattern_leaves_out(exclude: str, folder: str, enters: bool) -> None:
    assert compile_filter((), (exclude,)).enters(folder) is enters


SEGMENT = st.text("ab*?/[]!-", min_size=1, max_size=8)
KEY = st.text("ab/", max_size=5)


@given(pattern=SEGMENT, folder=KEY, rest=KEY)
def test_what_is_said_of_a_folder_holds_for_every_key_in_it(pattern: str, folder: str, rest: str) -> None:
    try:
        glob = compile_glob(pattern)
    except InvalidInput:
        return
    matches = glob.matches(f"{folder}/{rest}")
    assert matches or not glob.matches_all_below(f"{folder}/")
    assert not matches or glob.may_match_below(f"{folder}/")
