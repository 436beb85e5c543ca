"""Limits of bytes and objects a second, with a simulated clock: nothing here sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest

from dashboard.storage.net.rate_limits import (
    BURST_SECONDS,
    CHECK_SECONDS,
    RateLimits,
    Rates,
    TokenBucket,
    transferring,
)
from tests.servers.processes import wait_until

CHUNK = 256 * 1024
DEADLINE = 60.0


@dataclass
class SimulatedTime:
    """``wait`` lets time pass. ``at(when, do)`` does something once that moment is reached."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)
    plans: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def at(self, when: float, do: Callable[[], None]) -> None:
        self.plans.append((when, do))

    def wait(self, event: threading.Event, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        for plan in [plan for plan in self.plans if plan[0] <= self.now]:
            self.plans.remove(plan)
            plan[1]()

    def bucket(self, rate: float | None) -> TokenBucket:
        bucket = TokenBucket(clock=self.clock, wait=self.wait)
        bucket.change(rate)
        return bucket


def go_on() -> None:
    """Nobody wants to stop."""


class GaveUp(Exception):
    """Somebody does."""


def cancel() -> None:
    raise GaveUp


def test_without_a_limit_nothing_waits() -> None:
    time = SimulatedTime()
    limits = RateLimits(clock=time.clock, wait=time.wait)
    for _ in range(1000):
        limits.begin_object(cancel)
        with limits.applied(cancel):
            transferring(10**12)
    assert (time.waits, limits.holds) == ([], False)


@pytest.mark.parametrize("rate", [1.0, 999.0, 1e5, 1e7, 1e9, 1e12])
def test_in_no_stretch_of_time_more_passes_than_the_limit(rate: float) -> None:
    time, random = SimulatedTime(), Random(1)
    bucket = time.bucket(rate)
    passed = [(time.now, 0.0)]
    for _ in range(300):
        amount = max(1.0, rate * random.choice([0.001, 0.1, 1, 5]))
        if random.random() < 0.05:
            time.now += random.choice([0.01, 1, 3600])
        bucket.take(amount, go_on)
        passed.append((time.now, passed[-1][1] + amount))
    for first in range(0, 300, 7):
        for last in range(first, 300, 7):
            seconds = passed[last][0] - passed[first][0]
            assert passed[last][1] - passed[first][1] <= rate * (seconds + BURST_SECONDS + 5) + 2


def test_demand_gets_all_of_the_limit() -> None:
    time = SimulatedTime()
    bucket = time.bucket(1e6)
    began = time.now
    for _ in range(400):
        bucket.take(CHUNK, go_on)
    assert 400 * CHUNK / (time.now - began) == pytest.approx(1e6, rel=0.01)


def test_after_an_idle_night_only_half_a_second_is_made_up_for() -> None:
    time = SimulatedTime()
    bucket = time.bucket(1000.0)
    bucket.take(1, go_on)
    time.now += 12 * 3600
    for _ in range(500):
        bucket.take(1, go_on)
    assert time.waits == []
    bucket.take(1, go_on)
    assert sum(time.waits) == pytest.approx(0.001)


def test_a_clock_that_goes_back_gives_nothing_and_holds_nothing_up() -> None:
    time = SimulatedTime()
    bucket = time.bucket(100.0)
    bucket.take(51, go_on)
    time.now -= 3600
    time.waits.clear()
    bucket.take(100, go_on)
    assert sum(time.waits) == pytest.approx(1.0)


def test_one_byte_a_second_still_ends_when_somebody_cancels() -> None:
    time = SimulatedTime()
    bucket = time.bucket(1.0)
    asked: list[float] = []

    def check() -> None:
        asked.append(time.now)
        if time.now > 1005:
            raise GaveUp

    with pytest.raises(GaveUp):
        bucket.take(8 * 1024 * 1024, check)
    assert all(later - earlier <= CHECK_SECONDS for earlier, later in pairwise(asked))
    # It is out of the way of the next one.
    assert bucket.waiting == 0
    bucket.take(1, go_on)


def test_an_object_a_minute_begins_at_once_and_then_once_a_minute() -> None:
    time = SimulatedTime()
    bucket = time.bucket(1 / 60)
    began = [0.0] * 4
    for index in range(4):
        bucket.take(1, go_on)
        began[index] = time.now - 1000
    assert began == pytest.approx([0, 60, 120, 180])


def test_a_limit_that_is_lowered_in_the_middle_of_a_large_object_holds_from_there_on() -> None:
    time = SimulatedTime()
    bucket = time.bucket(100e6)
    size, done, at_change = 5 * 1024**3, 0, 0.0
    time.at(1010, lambda: bucket.change(10e6))
    while done < size:
        bucket.take(CHUNK, go_on)
        done += CHUNK
        if bucket.rate == 10e6 and not at_change:
            at_change, before = time.now, done
    assert before == pytest.approx(1e9, rel=0.05)
    assert (size - before) / (time.now - at_change) == pytest.approx(10e6, rel=0.01)


@pytest.mark.parametrize(("new", "until"), [(None, 1000.5), (CHUNK, 1001.5), (2.0 * CHUNK, 1001.0)])
def test_who_waits_notices_a_higher_limit_or_none(new: float | None, until: float) -> None:
    time = SimulatedTime()
    bucket = time.bucket(1.0)
    time.at(1000.5, lambda: bucket.change(new))
    bucket.take(CHUNK, go_on)
    assert time.now == pytest.approx(until, abs=0.01)
    assert bucket.holds
    time.now += 2
    assert not bucket.holds


def test_unused_tokens_of_a_high_limit_are_not_spent_under_a_low_one() -> None:
    time = SimulatedTime()
    bucket = time.bucket(1e9)
    time.now += 60
    bucket.change(1000.0)
    bucket.take(1500, go_on)
    assert time.now == pytest.approx(1061)
    bucket.change(None)
    time.now += 3600
    bucket.change(1000.0)
    bucket.take(1001, go_on)
    assert time.now == pytest.approx(1061 + 3600 + 1)


class Crowd:
    """Threads that want one token each, begun one after the other."""

    def __init__(self, bucket: TokenBucket, count: int) -> None:
        self.cancelled = threading.Event()
        self.served: list[int] = []
        self.gave_up: list[int] = []
        self.threads = [threading.Thread(target=self._run, args=(bucket, n)) for n in range(count)]
        for number, thread in enumerate(self.threads):
            thread.start()
            while bucket.waiting <= number and bucket.rate is not None:
                pass

    def _run(self, bucket: TokenBucket, number: int) -> None:
        try:
            bucket.take(10.0, self._check)
        except GaveUp:
            self.gave_up.append(number)
        else:
            self.served.append(number)

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise GaveUp

    def join(self) -> None:
        for thread in self.threads:
            thread.join(DEADLINE)
        assert not any(thread.is_alive() for thread in self.threads)


def test_256_threads_wait_and_a_cancel_ends_all() -> None:
    bucket = TokenBucket()
    bucket.change(1e-6)
    crowd = Crowd(bucket, 256)
    assert bucket.waiting == 256
    crowd.cancelled.set()
    crowd.join()
    assert (len(crowd.gave_up), crowd.served, bucket.waiting) == (256, [], 0)


def test_threads_are_served_in_the_order_in_which_they_came() -> None:
    now = [1000.0]
    bucket = TokenBucket(clock=lambda: now[0])
    bucket.change(10.5)
    crowd = Crowd(bucket, 32)
    for number in range(32):
        # Enough for one more, and everybody looks; who is served notes it only a moment later.
        now[0] += 1.0
        bucket.change(10.0 + number % 2)
        wait_until(lambda number=number: len(crowd.served) > number, seconds=60, what="one more served")
        assert crowd.served == list(range(number + 1))
    crowd.join()


def test_no_limit_any_more_lets_all_go_at_once() -> None:
    bucket = TokenBucket()
    bucket.change(1e-6)
    crowd = Crowd(bucket, 64)
    bucket.change(None)
    crowd.join()
    assert sorted(crowd.served) == list(range(64))


def test_a_part_of_the_limits_is_used_while_others_have_the_rest() -> None:
    time = SimulatedTime()
    limits = RateLimits(clock=time.clock, wait=time.wait)
    limits.change(Rates(bytes=3000.0))
    limits.share(3)
    with limits.applied(go_on):
        transferring(1001)
        assert time.now == pytest.approx(1001)
        limits.change(Rates(bytes=6000.0, objects=3.0))
        transferring(2000)
    assert time.now == pytest.approx(1002)
    assert limits.whole == Rates(6000.0, 3.0)
    limits.begin_object(go_on)
    limits.begin_object(go_on)
    assert time.now == pytest.approx(1003)
    transferring(10**12)
    assert time.now == pytest.approx(1003)
