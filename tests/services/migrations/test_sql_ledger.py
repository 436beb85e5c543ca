"""One suite over both ledgers: what the engine relies on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.migration.ledger import (
    Claimed,
    Done,
    FencedOut,
    FinalCheck,
    Finished,
    Ledger,
    Live,
    Planned,
    Reason,
    Settled,
)
from dashboard.migration.types import Action, CarrierProgress, InFlight, ObjectState
from dashboard.services.migrations.ledger_search import LedgerSearch, ObjectFilter
from dashboard.storage.types import Entry
from tests.migration.ledgers import Ledgers, MemoryLedgers, SqlLedgers, assert_exact

WHY = Reason("denied", "The bucket refuses writes.", "Add s3:PutObject.")


@pytest.fixture(params=["memory", "sql"])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    opened: Ledgers = MemoryLedgers() if request.param == "memory" else SqlLedgers(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def sql(tmp_path: Path) -> Iterator[SqlLedgers]:
    opened = SqlLedgers(tmp_path)
    yield opened
    opened.close()


def begun(ledgers: Ledgers) -> Ledger:
    ledger = ledgers.open()
    ledger.begin()
    return ledger


def copies(*keys: str, size: int = 10) -> list[Planned]:
    return [Planned(key, size, Action.COPY, 1.5, "etag") for key in keys]


def settled(
    row: Claimed, state: ObjectState, *, attempts: int = 1, interrupted: bool = False, **more: object
) -> Settled:
    done = Done(state, row.size, source_version="v1")
    return Settled(row, replace(done, **more), attempts, 100.0, interrupted)  # type: ignore[arg-type]


def verified(ledger: Ledger, *keys: str) -> list[Finished]:
    ledger.record(copies(*keys))
    ledger.settle([settled(row, ObjectState.VERIFIED) for row in ledger.claim(100, 1.0)])
    return list(ledger.finished(ObjectState.VERIFIED, 0, 100))


def test_recording_twice_keeps_one_row_per_key(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    assert ledger.record(copies("a", "b", "a")) == 2
    assert ledger.record(copies("b", "c")) == 1
    assert [row.key for row in ledgers.rows()] == ["a", "b", "c"]
    assert ledgers.counters().to_copy == 3
    assert_exact(ledgers)


def test_sizes_that_no_column_holds_are_kept_as_the_most_there_is(sql: SqlLedgers) -> None:
    ledger = begun(sql)
    ledger.save_listing([Entry("a", 2**63), Entry("b", -(2**70))])
    assert ledger.find_in_listing(["a"])["a"].size == 2**63 - 1
    ledger.mark_listed([Entry("a", 2**64)])
    ledger.record(copies(*"abcdefghijklmnopqrstu", size=2**60))
    ledger.record(copies("v", "w", size=2**60))
    counted = ledger.counters()
    assert (counted.found, counted.found_bytes) == (23, 2**62)


def test_planned_skips_and_failures_are_counted_at_once(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(
        [
            Planned("same", 5, Action.SKIP, reason=Reason("", "The same.")),
            Planned("bad", 7, Action.FAIL, reason=WHY),
            Planned("x", 9, Action.COMPARE),
        ]
    )
    counters = ledgers.counters()
    assert (counters.skipped_bytes, counters.failed_bytes, counters.to_compare_bytes) == (5, 7, 9)
    assert [(g.kind, g.reason, g.example, g.objects) for g in ledgers.failures()] == [
        ("denied", WHY.sentence, "bad", 1)
    ]
    assert_exact(ledgers)


def test_a_second_listing_brings_untried_rows_up_to_date_and_leaves_the_others(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies("a", "b"))
    (first,) = ledger.claim(1, 1.0)
    ledger.record(
        [Planned("a", 99, Action.REPLACE), Planned("b", 99, Action.SKIP, reason=Reason("", "Same."))]
    )
    rows = {row.key: row for row in ledgers.rows()}
    assert (rows["a"].action, rows["a"].size) == (Action.COPY, 10)
    assert (rows["b"].action, rows["b"].size, rows["b"].state) == (Action.SKIP, 99, ObjectState.SKIPPED)
    assert (ledgers.counters().to_copy, ledgers.counters().skipped_bytes) == (1, 99)
    assert first.key == "a"
    assert_exact(ledgers)


def test_claimed_rows_are_in_flight_and_not_claimed_twice(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies(*(f"k{n:03d}" for n in range(10))))
    first, second = ledger.claim(4, 5.0), ledger.claim(100, 6.0)
    assert [row.key for row in first] == ["k000", "k001", "k002", "k003"]
    assert len(second) == 6
    assert ledger.claim(1, 7.0) == []
    assert {row.state for row in ledgers.rows()} == {ObjectState.IN_FLIGHT}
    assert first[0] == Claimed(first[0].id, "k000", 10, Action.COPY, 1.5, "etag", started_at=5.0, found="")


def test_results_and_counters_change_together(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies("a", "b", "c", "d", "e"))
    a, b, c, d, e = ledger.claim(10, 1.0)
    ledger.settle(
        [
            settled(a, ObjectState.VERIFIED, size=12, source_checksum="x", destination_checksum="x"),
            settled(b, ObjectState.COPIED, destination_key="b 2"),
            settled(c, ObjectState.SKIPPED, reason=Reason("", "Same.")),
            settled(d, ObjectState.FAILED, reason=WHY, attempts=3),
            settled(e, ObjectState.PENDING, interrupted=True),
        ]
    )
    assert_exact(ledgers)
    rows = {row.key: row for row in ledgers.rows()}
    assert (rows["a"].size, rows["a"].source_checksum, rows["a"].finished_at) == (12, "x", 100.0)
    assert rows["b"].destination_key == "b 2"
    assert (rows["d"].reason, rows["d"].attempts) == (WHY.sentence, 3)
    assert rows["e"].state is ObjectState.PENDING
    (again,) = ledger.claim(10, 2.0)
    assert again.interrupted


def test_a_new_run_takes_rows_in_flight_back_and_sweeps_them_once(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies("a", "b", "c"))
    ledger.settle([settled(row, ObjectState.VERIFIED) for row in ledger.claim(1, 50.0)])
    ledger.claim(1, 60.0)
    later = begun(ledgers)
    left = later.unswept(10)
    assert [(row.key, row.started_at) for row in left] == [("b", 60.0)]
    later.swept([row.id for row in left])
    assert later.unswept(10) == []
    assert [(row.key, row.interrupted) for row in later.claim(10, 70.0)] == [("b", True), ("c", False)]
    assert_exact(ledgers)


def test_an_older_run_is_fenced_out_of_everything(ledgers: Ledgers) -> None:
    old = begun(ledgers)
    old.record(copies("a", "b"))
    (row,) = old.claim(1, 1.0)
    begun(ledgers)
    finished = Finished(row.id, "a", 10, ObjectState.VERIFIED, None, None, "", "", "")
    before = ledgers.rows()
    for attempt in (
        lambda: old.begin(),
        lambda: old.record(copies("c")),
        lambda: old.claim(1, 1.0),
        lambda: old.settle([settled(row, ObjectState.VERIFIED)]),
        lambda: old.swept([row.id]),
        lambda: old.listing_done(),
        lambda: old.publish(Live()),
        lambda: old.save_listing([Entry("a", 1)]),
        lambda: old.clear_listing(),
        lambda: old.mark_listed([Entry("a", 10)]),
        lambda: old.record_final_checks([FinalCheck(finished, ObjectState.FAILED, WHY)]),
    ):
        with pytest.raises(FencedOut):
            attempt()
    assert ledgers.rows() == before


def test_results_of_rows_that_are_not_in_flight_are_refused(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies("a"))
    (row,) = ledger.claim(1, 1.0)
    ledger.settle([settled(row, ObjectState.VERIFIED)])
    with pytest.raises(FencedOut):
        ledger.settle([settled(row, ObjectState.FAILED, reason=WHY)])
    assert_exact(ledgers)


def test_the_kept_listing_answers_lookups(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.save_listing([Entry("b", 2, 2.5, "e"), Entry("a", 1)])
    ledger.save_listing([Entry("b", 3, 2.5, "f")])
    assert ledger.find_in_listing(["a", "b", "c"]) == {"a": Entry("a", 1), "b": Entry("b", 3, 2.5, "f")}
    ledger.clear_listing()
    assert ledger.find_in_listing(["a", "b"]) == {}


def test_the_final_listing_marks_what_agrees(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record(copies("good", "short", "other", "untagged", "beside", "missing"))
    ledger.settle(
        [
            settled(
                row,
                ObjectState.COPIED,
                destination_etag="" if row.key == "untagged" else "mine",
                destination_key="beside 2" if row.key == "beside" else "",
            )
            for row in ledger.claim(10, 1.0)
        ]
    )
    ledger.mark_listed(
        [
            Entry("good", 10, etag="mine"),
            Entry("short", 9, etag="mine"),
            Entry("other", 10, etag="theirs"),
            Entry("untagged", 10, etag="any"),
            Entry("beside", 10, etag="mine"),
            Entry("stranger", 1),
        ]
    )
    unseen = ledger.finished(ObjectState.COPIED, 0, 10, unseen=True)
    assert [(row.key, row.listed) for row in unseen] == [
        ("short", True),
        ("other", True),
        ("beside", False),
        ("missing", False),
    ]
    ledger.mark_listed([Entry("beside 2", 10, etag="mine"), Entry("short", 10, etag="mine")])
    unseen = ledger.finished(ObjectState.COPIED, 0, 10, unseen=True)
    assert [row.key for row in unseen] == ["other", "missing"]
    later = begun(ledgers)
    unseen = later.finished(ObjectState.COPIED, 0, 10, unseen=True)
    assert [row.listed for row in unseen] == [False] * 6


def test_a_skipped_object_is_seen_whatever_lies_under_its_key(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    ledger.record([Planned(key, 5, Action.SKIP, reason=Reason("", "As new.")) for key in ("there", "gone")])
    ledger.mark_listed([Entry("there", 10, etag="theirs")])
    assert [row.key for row in ledger.finished(ObjectState.SKIPPED, 0, 10, unseen=True)] == ["gone"]


def test_finished_rows_come_in_pages_of_one_state(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    rows = verified(ledger, *(f"k{n}" for n in range(7)))
    page = ledger.finished(ObjectState.VERIFIED, rows[2].id, 3)
    assert [row.key for row in page] == ["k3", "k4", "k5"]
    assert ledger.finished(ObjectState.COPIED, 0, 10) == []


def test_verdicts_change_states_counters_and_groups(ledgers: Ledgers) -> None:
    ledger = begun(ledgers)
    gone, kept, bad = verified(ledger, "gone", "kept", "bad")
    ledger.record_final_checks(
        [
            FinalCheck(gone, ObjectState.VERIFIED, deleted=True),
            FinalCheck(kept, ObjectState.VERIFIED, Reason("changed", "It changed.")),
            FinalCheck(bad, ObjectState.FAILED, WHY),
        ]
    )
    assert_exact(ledgers)
    counters = ledgers.counters()
    assert (counters.deleted, counters.deleted_bytes, counters.verified, counters.failed) == (1, 10, 2, 1)
    assert [row.key for row in ledger.finished(ObjectState.VERIFIED, 0, 10)] == ["kept"]
    with pytest.raises(FencedOut):
        ledger.record_final_checks([FinalCheck(bad, ObjectState.FAILED, WHY)])


def test_a_row_once_written_says_so_when_claimed_again(sql: SqlLedgers) -> None:
    ledger = begun(sql)
    (row,) = verified(ledger, "a")
    ledger.record_final_checks([FinalCheck(row, ObjectState.FAILED, WHY)])
    assert sql.queries.retry_failed(1) == 1
    (again,) = ledger.claim(1, 2.0)
    assert again.written
    ledger.settle([settled(again, ObjectState.PENDING)])
    assert ledger.claim(1, 3.0)[0].written


def test_keys_of_every_kind_come_back_exactly(ledgers: Ledgers) -> None:
    keys = ["ä/ö", "a\nb", "with 'quotes\"", "𐍈", "日本/語", "\udcff\udc80", "a\\xff", "-", " lead", "trail/"]
    ledger = begun(ledgers)
    ledger.record(copies(*keys))
    assert {row.key for row in ledger.claim(100, 1.0)} == set(keys)
    assert ledger.record(copies(*keys)) == 0
    ledger.save_listing([Entry(key, 1) for key in keys])
    assert set(ledger.find_in_listing(keys)) == set(keys)


def test_the_live_status_is_shown_as_published(sql: SqlLedgers) -> None:
    live = Live("copying", (InFlight("a", 10, 5), InFlight("\udcff", 1, 0)), 1.5, 2.5, (3.0, 9.0), True, 7.0)
    carriers = (
        CarrierProgress(0, "host", 7, 1.0, (1, 2), 4, 9, 90, 0.5, 5.0),
        CarrierProgress(1, "", 8, 2.0, (), 1, 0, 0, 0, 0),
    )
    live = replace(live, carriers=carriers)
    ledger = begun(sql)
    assert sql.queries.live(1) == Live()
    ledger.publish(live)
    ledger.publish(live)
    assert sql.queries.live(1) == live


def test_a_handed_out_fence_must_not_go_back(sql: SqlLedgers) -> None:
    sql.open(fence=7).begin()
    with pytest.raises(FencedOut):
        sql.open(fence=6).begin()
    sql.open(fence=8).begin()


def test_failed_rows_are_retried_in_chunks_with_exact_counters(
    sql: SqlLedgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.migrations.ledger_queries.CHUNK", 7)
    ledger = begun(sql)
    other = Reason("full", "The disk is full.")
    rows = [Planned(f"k{n}", n, Action.FAIL, reason=WHY if n % 3 else other) for n in range(40)]
    ledger.record([*rows, *copies("fine")])
    assert [(g.reason, g.objects) for g in sql.failures()] == [(WHY.sentence, 26), (other.sentence, 14)]
    assert sql.queries.retry_failed(1) == 40
    assert_exact(sql)
    assert sql.failures() == ()
    assert len(ledger.claim(100, 1.0)) == 41


def test_rows_are_paged_and_filtered(sql: SqlLedgers) -> None:
    ledger = begun(sql)
    ledger.record(
        [
            Planned(f"k{n}", 1, Action.FAIL, reason=WHY if n % 2 else Reason("full", "Full."))
            for n in range(10)
        ]
    )
    ledger.record(copies("ok"))
    search, failed = LedgerSearch(sql.database), ObjectFilter(ObjectState.FAILED)
    first = search.page(1, failed, limit=4)
    rest = search.page(1, failed, after=first.next_after, limit=100)
    assert [row.key for row in (*first.rows, *rest.rows)] == [f"k{n}" for n in range(10)]
    assert len(search.page(1, ObjectFilter(kind="denied", reason=WHY.sentence), limit=100).rows) == 5
    assert len(sql.rows()) == 11


def test_forgetting_a_migration_leaves_the_others_alone(tmp_path: Path) -> None:
    one, two = SqlLedgers(tmp_path, 1), SqlLedgers(tmp_path, 2)
    for ledgers in (one, two):
        ledger = begun(ledgers)
        ledger.record([*copies("a", "b"), Planned("c", 1, Action.FAIL, reason=WHY)])
        ledger.save_listing([Entry("a", 1)])
        ledger.publish(Live("copying"))
    one.queries.forget(1)
    assert (one.rows(), one.failures(), one.counters().found) == ((), (), 0)
    assert (len(two.rows()), two.counters().found, two.queries.live(2).phase) == (3, 3, "copying")
    for ledgers in (one, two):
        ledgers.close()


def test_planner_and_copiers_write_at_once_without_losing_a_count(sql: SqlLedgers) -> None:
    ledger = begun(sql)
    done = threading.Event()

    def plan() -> None:
        for batch in range(30):
            ledger.record(copies(*(f"{batch:02d}-{n:03d}" for n in range(50))))
        done.set()

    planner = threading.Thread(target=plan)
    planner.start()
    dice = random.Random(5)
    states = [ObjectState.VERIFIED, ObjectState.COPIED, ObjectState.SKIPPED, ObjectState.FAILED]
    while True:
        over = done.is_set()
        rows = ledger.claim(64, 1.0)
        if not rows and over:
            break
        ledger.settle([settled(row, dice.choice(states), reason=WHY) for row in rows])
    planner.join()
    assert sql.counters().found == 1500
    assert sql.counters().done == 1500
    assert_exact(sql)


def test_polls_use_keys_and_indexes_only(sql: SqlLedgers) -> None:
    ledger = begun(sql)
    ledger.record(copies("a"))
    conditions = {
        "claim": "state='pending' ORDER BY id LIMIT 5",
        "unswept": "interrupted=1 ORDER BY id LIMIT 5",
        "failed": "state='failed' AND id>3 ORDER BY id LIMIT 5",
    }
    with sql.database.work.connect() as connection:
        for name, condition in conditions.items():
            query = (
                f"EXPLAIN QUERY PLAN SELECT id FROM migration_objects WHERE migration_id=1 AND {condition}"
            )
            steps = [str(row) for row in connection.exec_driver_sql(query)]
            assert all("SEARCH" in step and "INDEX" in step for step in steps), (name, steps)
