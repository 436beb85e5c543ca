"""Chunks: every row is in one, one carrier at a time has it, and who lost one changes nothing more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dashboard.migration.carrying.carriers import CarrierReport
from dashboard.migration.ledger import Claimed, Done, FencedOut, Planned, Reason, Settled
from dashboard.migration.types import Action, InFlight, ObjectState
from dashboard.models.work import carriers, chunks
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.chunks import CHUNK_BYTES, MAX_ROWS
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from tests.migration.ledgers import SqlLedgers, assert_exact


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[SqlLedgers]:
    opened = SqlLedgers(tmp_path)
    yield opened
    opened.close()


def begun(ledgers: SqlLedgers, *sizes: int, parts: int = 2, ahead: bool = True) -> RunLedger:
    run = ledgers.open()
    run.begin()
    run.parts = parts
    run.record([Planned(f"k{n:05d}", size, Action.COPY) for n, size in enumerate(sizes)])
    run.listing_done()
    if ahead:
        run.cut_ahead()
    return run


def carrier(run: RunLedger, number: int, *, lease: float = 60.0) -> CarrierLedger:
    joined = CarrierLedger(run.engine, 1, carrier=number, fence=run.fence, lease=lease)
    joined.join(run.fence)
    run.add_carrier(number, 0.0)
    return joined


def copied(*rows: Claimed) -> list[Settled]:
    return [Settled(row, Done(ObjectState.VERIFIED, row.size), 1, 9.0) for row in rows]


def left(ledgers: SqlLedgers) -> tuple[int, int]:
    """How many chunks and carriers are recorded."""
    with ledgers.database.work_read() as connection:
        counts = [connection.scalar(select(func.count()).select_from(table)) for table in (chunks, carriers)]
    return counts[0] or 0, counts[1] or 0


def test_every_row_is_claimed_once_whoever_asks(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 2500, parts=3)
    others = [carrier(run, number) for number in (1, 2, 3)]
    seen: list[str] = []
    lock = threading.Lock()

    def work(ledger: CarrierLedger) -> None:
        empty = 0
        while empty < 3:
            rows = ledger.claim(70, 5.0)
            empty = 0 if rows else empty + 1
            ledger.settle(copied(*rows))
            with lock:
                seen.extend(row.key for row in rows)

    threads = [threading.Thread(target=work, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    work(run)
    for thread in threads:
        thread.join()
    assert sorted(seen) == [f"k{n:05d}" for n in range(2500)]
    assert ledgers.counters().verified == 2500
    assert_exact(ledgers)
    assert run.is_settled()
    assert left(ledgers) == (0, 3)


def test_large_objects_are_spread_over_chunks(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[CHUNK_BYTES] * 3, *[1] * 10)
    assert left(ledgers)[0] == 4
    other = carrier(run, 1)
    assert [row.key for row in other.claim(1, 5.0)] == ["k00000"]
    assert [row.key for row in run.claim(1, 5.0)] == ["k00001"]


def test_more_than_fits_into_memory_is_left_to_others(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[CHUNK_BYTES] * 20)
    run.memory = CHUNK_BYTES
    mine = run.claim(20, 5.0)
    assert 0 < len(mine) < 20
    assert run.claim(20, 5.0) == []
    assert run.overview().is_left_to_others
    run.settle(copied(*mine))
    assert run.claim(20, 5.0)


def test_chunks_are_small_when_little_is_known_and_never_too_large(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[1] * 200)
    assert left(ledgers)[0] == 2
    run.record([Planned(f"later{n:05d}", 1, Action.COPY) for n in range(3 * MAX_ROWS)])
    run.cut_ahead()
    with ledgers.database.work_read() as connection:
        spans = connection.execute(select(chunks.c.first_id, chunks.c.last_id)).all()
    assert [last - first + 1 for first, last in spans] == [100, 100, MAX_ROWS, MAX_ROWS]


def test_who_lost_a_chunk_changes_nothing_more(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 100)
    late = carrier(run, 1)
    rows = late.claim(30, 5.0)
    late.settle(copied(*rows[:5]))
    assert run.take_back(1)[0] == 1
    states = [row.state for row in ledgers.rows()]
    assert states.count(ObjectState.PENDING) == 95
    for attempt in (
        lambda: late.settle(copied(*rows[5:])),
        lambda: late.claim(5, 6.0),
        lambda: late.report(CarrierReport()),
    ):
        with pytest.raises(FencedOut):
            attempt()
    assert [row.state for row in ledgers.rows()] == states
    # Not even if another carrier has the same rows in flight.
    run.swept([row.id for row in run.unswept(100)])
    run.release(run.overview().unswept)
    again = {row.key: row for row in run.claim(200, 7.0)}
    assert {row.key for row in rows[5:]} <= set(again)
    assert all(again[row.key].interrupted for row in rows[5:])
    with pytest.raises(FencedOut):
        late.settle(copied(*rows[5:]))
    run.settle(copied(*again.values()))
    assert ledgers.counters().verified == 100
    assert_exact(ledgers)


def test_rows_of_a_dead_carrier_wait_until_its_leftovers_are_removed(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 8, parts=1)
    carrier(run, 1)
    dead = carrier(run, 2)
    dead.claim(3, 5.0)
    run.take_back(2)
    assert run.claim(100, 6.0) == []
    assert run.overview().is_left_to_others
    assert len(run.unswept(100)) == 3
    run.release(run.overview().unswept)
    assert len(run.claim(100, 6.0)) == 8


def test_a_new_run_fences_out_every_carrier_of_the_last_one(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 100)
    other = carrier(run, 1)
    mine, theirs = run.claim(20, 5.0), other.claim(20, 5.0)
    new = ledgers.open()
    new.begin()
    assert left(ledgers) == (0, 0)
    for attempt in (
        lambda: other.settle(copied(*theirs)),
        lambda: other.report(CarrierReport()),
        lambda: run.settle(copied(*mine)),
        lambda: run.take_back(1),
        lambda: run.end_carriers(),
    ):
        with pytest.raises(FencedOut):
            attempt()
    assert len(new.claim(200, 6.0)) == 100
    assert_exact(ledgers)


def test_a_chunk_whose_rows_are_not_settled_after_all_may_be_claimed_again(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 4, parts=1)
    rows = run.claim(10, 5.0)
    back = Settled(rows[0], Done(ObjectState.PENDING, 10), 0, 9.0)
    run.settle([back, *copied(*rows[1:])])
    assert not run.is_settled()
    assert [row.key for row in run.claim(10, 6.0)] == [rows[0].key]


def test_the_end_leaves_no_chunk_and_nothing_in_flight(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 100)
    other = carrier(run, 1)
    other.claim(20, 5.0)
    other.report(CarrierReport(pid=7, failed_keys=("k00001",)))
    last = run.end_carriers()
    assert last[1].failed_keys == ("k00001",)
    assert left(ledgers) == (0, 0)
    assert {row.state for row in ledgers.rows()} == {ObjectState.PENDING}
    with pytest.raises(FencedOut):
        other.claim(5, 6.0)
    assert len(run.claim(200, 7.0)) == 100


def test_reports_and_orders_arrive(ledgers: SqlLedgers) -> None:
    run = begun(ledgers, *[10] * 100)
    other = carrier(run, 1)
    run.assign({1: 7})
    said = CarrierReport(
        pid=7,
        in_flight=(InFlight("snow \udcff", 10, 3),),
        at_once=1,
        spent={"reading": 0.5},
        outage=True,
        abort=Reason("full", "The disk is full.", "Free some space."),
    )
    orders = other.report(said)
    assert (orders.workers, orders.others, orders.nothing_waits) == (7, 0, False)
    assert run.overview().reports[1][1] == said
    theirs = other.claim(50, 5.0)
    mine = run.claim(100, 5.0)
    run.settle(copied(*mine))
    orders = other.report(said)
    assert (orders.others, orders.nothing_waits) == (len(mine), False)
    other.settle(copied(*theirs, *other.claim(100, 5.0)))
    orders = other.report(said)
    assert (orders.others, orders.nothing_waits) == (len(mine), True)


def test_two_claims_that_fail_cut_nothing(ledgers: SqlLedgers, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(ledgers, *[10] * 100, ahead=False)
    monkeypatch.setattr(run, "_claim_from", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run.claim(10, 5.0)
    monkeypatch.undo()
    assert left(ledgers)[0] == 0
    assert len(run.claim(200, 5.0)) == 100
