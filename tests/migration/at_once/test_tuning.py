"""The number of objects at once, against simulated backends: time is simulated, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from dashboard.migration.retry_policy import ConcurrencyLimit
from dashboard.migration.tuning import FEWEST, FIRST, QUIET_SECONDS, LimitedBy, Totals, Tuner

TICK = 0.1


@dataclass
class SimulatedBackend:
    """``latency`` in seconds for each object of ``size`` bytes, ``jitter`` a part of it; ``capacity`` objects
    per second at most; more than ``allowed`` at once are throttled; ``allowance`` objects per second are
    allowed by a limit; ``cpu`` seconds for each object."""

    latency: float
    capacity: float = float("inf")
    allowed: float = float("inf")
    allowance: float = float("inf")
    cpu: float = 0.0
    jitter: float = 0.0
    size: int = 16_000
    random: Random = field(default_factory=lambda: Random(7))
    now: float = 100.0
    objects: float = 0.0
    spent: float = 0.0
    throttled: int = 0
    waiting: bool = True
    limits: list[int] = field(default_factory=list)

    def rate(self, at_once: int) -> float:
        """Objects per second."""
        one_core = 1 / self.cpu if self.cpu else float("inf")
        noise = 1 + self.random.uniform(-self.jitter, self.jitter)
        return min(at_once / self.latency, self.capacity, one_core) * noise

    def run(self, tuner: ConcurrencyLimit, seconds: float) -> None:
        """Copy for this long."""
        for _ in range(round(seconds / TICK)):
            at_once = tuner.limit
            self.limits.append(at_once)
            self.now += TICK
            if at_once > self.allowed:
                self.throttled += 1
                tuner.on_throttled(self.now)
            held = self.rate(at_once) > self.allowance
            done = min(self.rate(at_once), self.allowance) * TICK
            self.objects += done
            self.spent += done * self.cpu
            tuner.on_tick(self.now)
            if isinstance(tuner, Tuner):
                size = int(self.objects * self.size)
                sample = Totals(int(self.objects), size, self.spent, self.waiting, held=held)
                tuner.on_sample(self.now, sample)


def test_it_climbs_to_the_most_where_only_the_way_is_long() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5)
    backend.run(tuner, 12)
    assert tuner.limit == 256
    assert tuner.limited_by is LimitedBy.BACKEND
    assert backend.limits[0] == FIRST


@pytest.mark.parametrize("seed", range(10))
def test_a_short_run_to_a_server_some_way_off_soon_has_enough_at_once(seed: int) -> None:
    # 20 ms away, with a third of a millisecond of processor time for each object.
    tuner = Tuner(256)
    backend = SimulatedBackend(latency=0.02, cpu=0.00033, jitter=0.05, random=Random(seed))
    backend.run(tuner, 1.5)
    assert backend.rate(tuner.limit) >= 2000
    assert backend.objects >= 1400


@pytest.mark.parametrize("slow", range(3, 20))
def test_other_work_that_slows_one_moment_down_does_not_keep_it_low(slow: int) -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.05)
    backend.run(tuner, slow * TICK)
    backend.latency = 0.2
    backend.run(tuner, 3 * TICK)
    backend.latency = 0.05
    backend.run(tuner, 3)
    assert max(backend.limits) == 256


@pytest.mark.parametrize("seed", range(20))
def test_it_stops_where_more_are_no_faster(seed: int) -> None:
    # 20 ms away, 1,000 objects/s at most: 20 at once are enough.
    tuner, backend = (
        Tuner(256),
        SimulatedBackend(latency=0.02, capacity=1000, jitter=0.02, random=Random(seed)),
    )
    backend.run(tuner, 60)
    last = backend.limits[-300:]
    assert max(last) <= 48
    assert sum(backend.rate(limit) for limit in last) / len(last) > 900


@pytest.mark.parametrize("seed", range(10))
def test_jitter_does_not_keep_it_low(seed: int) -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.25, jitter=0.1, random=Random(seed))
    backend.run(tuner, 60)
    assert min(backend.limits[-100:]) >= 100


def test_a_busy_processor_gets_no_more_threads() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.002, cpu=0.001)
    backend.run(tuner, 30)
    assert max(backend.limits) <= FIRST
    assert min(backend.limits) >= FEWEST
    assert tuner.limited_by is LimitedBy.PROCESSOR


def test_it_notices_that_a_backend_has_become_slower_to_reach() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.02, capacity=800)
    backend.run(tuner, 30)
    assert tuner.limit <= 32
    backend.latency = 0.2
    backend.run(tuner, 60)
    assert tuner.limit >= 96


def test_no_objects_are_no_reason_to_change_anything() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5, waiting=False)
    backend.run(tuner, 30)
    assert set(backend.limits) == {FIRST}
    assert tuner.limited_by is LimitedBy.WORK


def test_memory_is_named_when_it_is_what_they_wait_for() -> None:
    tuner = Tuner(256)
    for tick in range(60):
        tuner.on_sample(tick * TICK, Totals(tick * 10, 0, 0.0, waiting=False, full=True))
    assert (tuner.limit, tuner.limited_by) == (FIRST, LimitedBy.MEMORY)


def test_a_throttling_backend_is_asked_for_less_and_never_for_as_much_again_soon() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5, allowed=40)
    backend.run(tuner, 5)
    assert backend.throttled
    assert tuner.limited_by is LimitedBy.THROTTLING
    before = backend.throttled
    backend.run(tuner, QUIET_SECONDS - 5)
    assert backend.throttled == before
    assert 20 <= tuner.limit <= 40


@pytest.mark.parametrize("allowed", [1, 3, 10, 40, 100])
def test_a_throttled_backend_is_not_worse_off_than_with_a_fixed_number(allowed: int) -> None:
    tuned, fixed = (
        SimulatedBackend(latency=0.3, allowed=allowed),
        SimulatedBackend(latency=0.3, allowed=allowed),
    )
    tuned.run(Tuner(256), 300)
    fixed.run(ConcurrencyLimit(256), 300)
    assert tuned.throttled <= fixed.throttled
    if allowed >= FIRST:
        assert tuned.throttled <= 12


def test_throttled_responses_of_one_moment_count_once() -> None:
    tuner = Tuner(256, first=64)
    for tick in range(10):
        tuner.on_throttled(50 + tick * 0.01)
    assert tuner.limit == 32


def test_some_failures_of_the_network_count_like_throttling_a_single_one_does_not() -> None:
    tuner = Tuner(256, first=32)
    for _ in range(5):
        tuner.on_unreachable(50.0)
    assert tuner.limit == 32
    tuner.on_unreachable(50.0)
    assert (tuner.limit, tuner.limited_by) == (16, LimitedBy.THROTTLING)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 9])
def test_it_never_leaves_its_bounds(most: int) -> None:
    random = Random(most)
    changes: list[Callable[[SimulatedBackend], None]] = [
        lambda backend: setattr(backend, "latency", random.uniform(0.001, 2)),
        lambda backend: setattr(backend, "allowed", random.choice([1, 2, 5, 300])),
        lambda backend: setattr(backend, "waiting", random.random() < 0.8),
        lambda backend: setattr(backend, "cpu", random.choice([0.0, 0.001])),
    ]
    tuner, backend = Tuner(most), SimulatedBackend(latency=0.1, jitter=0.5, random=random)
    for _ in range(200):
        random.choice(changes)(backend)
        backend.run(tuner, 2)
    assert {*backend.limits} <= set(range(1, most + 1))
