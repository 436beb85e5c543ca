"""How fast, how often, how long: decided by numbers, so tested by numbers."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from dashboard.errors import Kind
from dashboard.migration import retry_policy
from dashboard.migration.destination_names import alternative_names
from dashboard.migration.live import Meter
from dashboard.migration.retry_policy import (
    MAX_AHEAD,
    ConcurrencyLimit,
    FailureTracker,
    Lookahead,
    Tail,
    delay,
)
from dashboard.migration.types import Counters, InFlight


@pytest.fixture(autouse=True)
def _short_delays() -> None:
    """These tests want the real numbers."""


def test_throttling_halves_the_workers_once_per_second_and_they_return_slowly() -> None:
    limit = ConcurrencyLimit(32)
    limit.on_throttled(100.0)
    assert limit.limit == 16
    limit.on_throttled(100.5)
    assert limit.limit == 16
    limit.on_throttled(102.0)
    assert limit.limit == 8
    limit.on_tick(103.0)
    assert limit.limit == 8
    for step in range(200):
        limit.on_tick(104.0 + 2 * step)
    assert limit.limit == 32
    assert limit.is_unlimited


def test_throttling_never_stops_the_last_worker() -> None:
    limit = ConcurrencyLimit(4)
    for second in range(0, 100, 2):
        limit.on_throttled(float(second))
    assert limit.limit == 1


def test_delays_grow_are_jittered_and_bounded() -> None:
    dice = Random(1)
    for attempt in range(1, 12):
        found = [delay(attempt, dice) for _ in range(200)]
        ceiling = min(retry_policy.MAX_DELAY_SECONDS, retry_policy.BASE_DELAY_SECONDS * 2**attempt)
        assert min(found) < ceiling * 0.1
        assert ceiling * 0.9 < max(found) <= ceiling


def test_a_run_that_never_succeeded_is_given_up_after_fifty_refusals() -> None:
    tracker = FailureTracker()
    assert not any(tracker.object_failed(Kind.DENIED) for _ in range(49))
    assert tracker.object_failed(Kind.DENIED)


def test_a_refused_folder_among_others_is_no_reason_to_give_up() -> None:
    tracker = FailureTracker()
    tracker.succeeded()
    assert not any(tracker.object_failed(Kind.DENIED) for _ in range(999))
    tracker.succeeded()
    assert not any(tracker.object_failed(Kind.DENIED) for _ in range(999))


def test_one_refused_folder_is_no_reason_to_give_up_however_large() -> None:
    tracker = FailureTracker()
    assert not any(tracker.object_failed(Kind.DENIED, "private") for _ in range(999))
    tracker.succeeded()
    assert not any(tracker.object_failed(Kind.DENIED, "private") for _ in range(5000))
    assert tracker.object_failed(Kind.DENIED, "another")


def test_a_place_of_one_folder_that_refuses_everything_is_given_up_in_the_end() -> None:
    tracker = FailureTracker()
    assert not any(tracker.object_failed(Kind.DENIED, "all") for _ in range(999))
    assert tracker.object_failed(Kind.DENIED, "all")


def test_different_failures_do_not_add_up() -> None:
    tracker = FailureTracker()
    assert not any(tracker.object_failed((Kind.DENIED, Kind.INTERNAL)[n % 2]) for n in range(500))


def test_an_outage_is_seen_waited_for_and_in_the_end_not_waited_for() -> None:
    tracker = FailureTracker()
    assert not any(tracker.attempt_failed(Kind.UNREACHABLE, float(n) / 10) for n in range(10))
    assert tracker.outage
    assert not tracker.attempt_failed(Kind.TIMEOUT, 60.0)
    assert tracker.attempt_failed(Kind.TIMEOUT, 61.0)
    tracker.succeeded()
    assert not tracker.outage
    assert not tracker.attempt_failed(Kind.UNREACHABLE, 100.0)


def test_the_tail_is_what_is_left_of_the_whole_migration() -> None:
    totals = [Counters(found=100, copied=85), Counters(found=100, copied=75, failed=4, listing_final=True)]
    asked: list[Counters] = []

    def counters() -> Counters:
        asked.append(totals[min(len(asked), 1)])
        return asked[-1]

    tail = Tail(counters)
    tail.look(1.0, 0)
    assert not tail.reached, "more may be found"
    tail.look(1.01, 0)
    assert len(asked) == 1, "each look reads the ledger"
    tail.look(1.2, 1)
    assert not tail.reached
    tail.look(1.4, 2)
    assert tail.reached
    tail.look(1.6, 0)
    assert tail.reached


def test_rates_look_back_ten_seconds_and_the_rest_is_a_range() -> None:
    meter = Meter()
    found = {"found": 1000, "found_bytes": 1_000_000}
    for second in range(31):
        copied = 10 * second
        totals = Counters(**found, copied=copied, copied_bytes=500 * copied, listing_final=True)
        live = meter.measure(float(second), totals, (), phase="x", at=7.0)
    assert (live.rate_objects, live.rate_bytes) == (10.0, 5000.0)
    assert live.eta is not None
    low, high = live.eta
    assert low == pytest.approx(700 / 10)
    assert high == pytest.approx(850_000 / 5000)
    still_listing = replace(totals, listing_final=False)
    assert meter.measure(31.0, still_listing, (), phase="x", at=7.0).eta is None


def test_nothing_is_promised_before_anything_moved() -> None:
    live = Meter().measure(0.0, Counters(found=5, found_bytes=50), [InFlight("a", 50, 0)], phase="", at=0.0)
    assert (live.eta, live.rate_bytes) == (None, 0.0)


def test_the_largest_in_flight_are_shown_and_their_bytes_count_as_moved() -> None:
    meter = Meter()
    counters = Counters(found=40, found_bytes=4000)
    meter.measure(0.0, counters, (), phase="", at=0.0)
    moving = [InFlight(f"k{n}", n, n // 2) for n in range(40)]
    live = meter.measure(10.0, counters, moving, phase="copying", at=0.0)
    assert [one.size for one in live.in_flight] == list(range(39, 27, -1))
    assert live.rate_bytes == sum(n // 2 for n in range(40)) / 10


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("a/b.jpg", ["a/b (from x).jpg", "a/b (from x 2).jpg"]),
        ("b", ["b (from x)", "b (from x 2)"]),
        ("a.d/.env", ["a.d/.env (from x)", "a.d/.env (from x 2)"]),
        ("a.tar.gz", ["a.tar (from x).gz", "a.tar (from x 2).gz"]),
    ],
)
def test_names_beside_keep_folder_and_extension(key: str, names: list[str]) -> None:
    found = alternative_names(key, "x")
    assert [next(found), next(found)] == names


def test_as_many_objects_wait_as_are_copied_in_a_tenth_of_a_second() -> None:
    ahead = Lookahead(8)
    ahead.on_tick(100.0)
    assert ahead.objects == 8
    for _ in range(300):
        ahead.on_copied()
    ahead.on_tick(100.05)
    assert ahead.objects == 8, "not before it was measured"
    ahead.on_tick(100.5)
    assert ahead.objects == 60
    for _ in range(10_000):
        ahead.on_copied()
    ahead.on_tick(101.0)
    assert ahead.objects == MAX_AHEAD
    ahead.on_tick(102.0)
    assert ahead.objects == 8, "nothing was copied: a server that refuses is not sent more"
