"""Planning: whatever the listings look like, every source object becomes one right row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.migration.decide import decide, fingerprint, matches_fingerprint
from dashboard.migration.pairing import OutOfOrder, pair_sorted
from dashboard.migration.plan import plan
from dashboard.migration.types import Action, LedgerRow, ObjectState, OnConflict, Spec, Verify
from dashboard.storage.errors import InvalidKey
from dashboard.storage.types import Entry, ObjectInfo
from tests.migration.memory_ledger import MemoryLedger, MemoryStore

MD5 = "0123456789abcdef0123456789abcdef"
MD5_B = "fedcba9876543210fedcba9876543210"
OVERWRITE = Spec(on_conflict=OnConflict.OVERWRITE)
NEWER = Spec(on_conflict=OnConflict.NEWER)
KEEP_BOTH = Spec(on_conflict=OnConflict.KEEP_BOTH)


class Listed:
    """Only what planning asks of a driver: a listing and which keys are valid."""

    name = "listed"

    def __init__(self, entries: Iterable[Entry], *, ordered: bool = True) -> None:
        self.entries = list(entries)
        self.ordered = ordered
        self.lists = 0

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        assert start_after == ""
        self.lists += 1
        return iter([entry for entry in self.entries if entry.key.startswith(prefix)])

    def check_key(self, key: str) -> None:
        if "!" in key:
            raise InvalidKey(key, f"“{key}” has an exclamation mark.")


def planned(source: Listed, destination: Listed, spec: Spec = Spec()) -> dict[str, LedgerRow]:  # noqa: B008
    ledger = MemoryLedger(MemoryStore())
    ledger.begin()
    assert plan(source, destination, spec, ledger, lambda: False, pause=0)  # type: ignore[arg-type]
    assert ledger.counters().listing_final
    return {row.key: row for row in ledger.rows()}


def action_of(entry: Entry, found: Entry | None, spec: Spec) -> Action:
    return decide(entry, found, spec, lambda key: None).action


@pytest.mark.parametrize("on_conflict", list(OnConflict))
def test_what_is_not_there_is_copied(on_conflict: OnConflict) -> None:
    assert action_of(Entry("a", 1), None, Spec(on_conflict=on_conflict)) is Action.COPY


@pytest.mark.parametrize(
    ("source", "destination", "spec", "action"),
    [
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 1.0, MD5.upper()), Spec(), Action.SKIP),
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 9.0, MD5_B), Spec(), Action.REPLACE),
        (Entry("a", 1, 5.0), Entry("a", 1, 9.0, MD5), Spec(), Action.COMPARE),
        (Entry("a", 1, 5.0, MD5 + "-2"), Entry("a", 1, 9.0, MD5 + "-2"), Spec(), Action.COMPARE),
        (Entry("a", 1, 5.0, MD5), Entry("a", 2, 9.0, MD5), Spec(), Action.REPLACE),
        (Entry("a", 1, 5.0), Entry("a", 1, 5.0), Spec(verify=Verify.SIZE), Action.SKIP),
        (Entry("a", 1, 5.0), Entry("a", 1, 4.0), Spec(verify=Verify.SIZE), Action.COMPARE),
        (Entry("a", 1), Entry("a", 1, 4.0), Spec(verify=Verify.SIZE), Action.COMPARE),
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 9.0, MD5_B), Spec(verify=Verify.SIZE), Action.REPLACE),
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 9.0, MD5), OVERWRITE, Action.REPLACE),
        (Entry("a", 1, 5.0), Entry("a", 2, 4.9), NEWER, Action.REPLACE),
        (Entry("a", 1, 5.0), Entry("a", 2, 5.0), NEWER, Action.SKIP),
        (Entry("a", 1), Entry("a", 2, 5.0), NEWER, Action.FAIL),
        (Entry("a", 1, 5.0), Entry("a", 1, 5.0), KEEP_BOTH, Action.KEEP_BOTH),
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 5.0, MD5), KEEP_BOTH, Action.SKIP),
        (Entry("a", 1, 5.0, MD5), Entry("a", 1, 5.0, MD5), Spec(on_conflict=OnConflict.FAIL), Action.FAIL),
    ],
)  # fmt: skip
def test_what_is_there_is_treated_as_asked(
    source: Entry, destination: Entry, spec: Spec, action: Action
) -> None:
    assert action_of(source, destination, spec) is action


def test_what_was_not_compared_is_not_called_the_same() -> None:
    by_size = planned(Listed([Entry("a", 1, 5.0)]), Listed([Entry("a", 1, 5.0)]), Spec(verify=Verify.SIZE))
    assert "Contents were not compared." in by_size["a"].reason
    by_checksum = planned(Listed([Entry("a", 1, 5.0, MD5)]), Listed([Entry("a", 1, 5.0, MD5)]))
    assert by_checksum["a"].reason == "The destination already has the same content."


def test_a_key_the_destination_cannot_hold_fails_at_once_with_its_reason() -> None:
    rows = planned(Listed([Entry("a!", 1), Entry("b", 1)]), Listed([]))
    assert (rows["a!"].state, rows["a!"].kind) == (ObjectState.FAILED, "invalid_key")
    assert rows["a!"].reason == "The object has an exclamation mark."
    assert rows["b"].state is ObjectState.PENDING


@pytest.mark.parametrize("size", [-1, 2**60 + 1, 2**63, 10**40])
def test_an_object_of_an_impossible_size_fails_by_itself(size: int) -> None:
    rows = planned(Listed([Entry("a", 1), Entry("b", size), Entry("c", 1)]), Listed([]))
    assert (rows["b"].state, rows["b"].kind, rows["b"].size) == (ObjectState.FAILED, "damaged", 0)
    assert [rows[key].action for key in "ac"] == [Action.COPY, Action.COPY]


def test_prefix_and_globs_choose_what_is_planned() -> None:
    source = Listed([Entry(key, 1) for key in ("a/1.jpg", "a/1.tmp", "a/2.jpg", "b/1.jpg")])
    assert set(planned(source, Listed([]), Spec(prefix="a/", exclude=("**/*.tmp",)))) == {
        "a/1.jpg",
        "a/2.jpg",
    }


def test_a_merge_notices_steps_backwards_on_either_side() -> None:
    up, down = [Entry("a", 1), Entry("b", 1)], [Entry("b", 1), Entry("a", 1)]
    with pytest.raises(OutOfOrder):
        list(pair_sorted(down, []))
    with pytest.raises(OutOfOrder):
        list(pair_sorted(up, down))
    with pytest.raises(OutOfOrder):
        # The step comes after the last source key was paired.
        list(pair_sorted([Entry("a", 1)], down))


def test_folder_order_is_planned_as_well_as_key_order() -> None:
    # SeaweedFS lists the folder "a" before the name "a-b".
    keys = ["a/x", "a-b", "b"]
    rows = planned(Listed([Entry(key, 1) for key in keys]), Listed([Entry(key, 2) for key in keys]))
    assert {key: row.action for key, row in rows.items()} == dict.fromkeys(keys, Action.REPLACE)


def test_a_wrong_belief_from_before_the_step_backwards_is_corrected() -> None:
    source = Listed([Entry(f"k{n:04d}", 1) for n in range(3000)])
    tail = [Entry("k0001", 2), Entry("k0002", 1, etag=MD5)]
    destination = Listed([Entry(f"k{n:04d}", 2) for n in range(100, 3000)] + tail)
    rows = planned(source, destination)
    assert rows["k0001"].action is Action.REPLACE
    assert rows["k0002"].action is Action.COMPARE
    assert sum(row.action is Action.COPY for row in rows.values()) == 98


def test_a_backend_known_to_be_unordered_is_listed_once() -> None:
    source, destination = Listed([Entry("b", 1), Entry("a", 1)], ordered=False), Listed([Entry("a", 2)])
    assert {key: row.action for key, row in planned(source, destination).items()} == {
        "a": Action.REPLACE,
        "b": Action.COPY,
    }
    assert (source.lists, destination.lists) == (1, 1)


def test_planning_can_stop_anywhere_and_be_done_again() -> None:
    source = Listed([Entry(f"k{n:05d}", n) for n in range(5000)])
    destination = Listed([Entry(f"k{n:05d}", n) for n in range(0, 5000, 3)])
    store = MemoryStore()
    for patience in (10, 1500, 4000, 6000, 10**9):
        ledger = MemoryLedger(store)
        ledger.begin()
        asked = iter(range(10**9))
        over = plan(source, destination, Spec(), ledger, lambda: next(asked) > patience, pause=0)  # type: ignore[arg-type]  # noqa: B023
        assert over == (patience == 10**9) == ledger.counters().listing_final
    assert len(ledger.rows()) == 5000
    assert ledger.counters().to_compare == len(range(0, 5000, 3))


KEYS = st.text(st.sampled_from("ab/-!.é𐍈\udcff"), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(KEYS, st.integers(0, 2)), max_size=25),
    st.lists(st.tuples(KEYS, st.integers(0, 2)), max_size=25),
    st.sampled_from(["sorted", "source", "destination", "both", "repeated"]),
    st.sampled_from(list(OnConflict)),
    st.randoms(use_true_random=False),
)
def test_streaming_plans_what_a_set_comparison_plans(
    left: list[tuple[str, int]],
    right: list[tuple[str, int]],
    order: str,
    on_conflict: OnConflict,
    dice: object,
) -> None:
    here = {key: Entry(key, size, 1.0) for key, size in left}
    there = {key: Entry(key, size, 1.0) for key, size in right}
    source, destination = (sorted(side.values(), key=lambda e: e.key) for side in (here, there))
    if order in ("source", "both"):
        dice.shuffle(source)  # type: ignore[attr-defined]
    if order in ("destination", "both"):
        dice.shuffle(destination)  # type: ignore[attr-defined]
    if order == "repeated":
        source = [entry for entry in source for _ in range(2)]
    spec = Spec(on_conflict=on_conflict)
    rows = planned(Listed(source), Listed(destination), spec)
    naive = {key: decide(here[key], there.get(key), spec, Listed([]).check_key) for key in here}
    assert {key: (row.action, row.state, row.size) for key, row in rows.items()} == {
        key: (one.action, one.state, one.size) for key, one in naive.items()
    }


@pytest.mark.parametrize(
    ("listed", "reported", "same"),
    [
        (Entry("a", 5, 100.25, "e"), ObjectInfo("a", 5, 100.0, "e"), True),
        (Entry("a", 5, 100.25, "e"), ObjectInfo("a", 5, 100.25, "f"), False),
        (Entry("a", 5, 100.25), ObjectInfo("a", 5, 100.25), True),
        (Entry("a", 5, 100.25), ObjectInfo("a", 5, 100.35), False),
        (Entry("a", 5, 100.25), ObjectInfo("a", 6, 100.25), False),
        (Entry("a", 5, 100.789), ObjectInfo("a", 5, 100.0), True),
        (Entry("a", 5, 100.0), ObjectInfo("a", 5, 101.0), False),
        (Entry("a", 5, 120.0), ObjectInfo("a", 5, 155.0), True),
        (Entry("a", 5, 120.0), ObjectInfo("a", 5, 185.0), False),
        (Entry("a", 5), ObjectInfo("a", 5, 100.0), True),
    ],
)
def test_an_object_is_the_one_that_was_listed_as_far_as_both_tell(
    listed: Entry, reported: ObjectInfo, same: bool
) -> None:
    assert matches_fingerprint(fingerprint(listed), reported) is same
    assert matches_fingerprint("*", reported)
    assert not matches_fingerprint("", reported)
