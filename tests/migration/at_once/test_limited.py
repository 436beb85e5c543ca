"""Limits of bytes and objects per second: what they count, what they leave alone, and that they hold up
nobody who wants to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.tuning import FEWEST, FIRST, LimitedBy, Tuner
from dashboard.migration.types import Control, Outcome, Spec, State, Verify
from dashboard.storage.copying import read_back
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.net.rate_limits import BURST_SECONDS, RateLimits, Rates
from tests.migration.at_once.test_tuning import SimulatedBackend
from tests.migration.ledgers import MemoryLedgers, SqlLedgers
from tests.migration.scenario import LARGE, Scenario, leftovers
from tests.servers.drivers import s3_on
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS

ALONE = Spec(workers=1)


class SimulatedLimits:
    """Waits let simulated time pass; for one worker."""

    def __init__(self) -> None:
        self.now = self.began = 1000.0
        self.limits = RateLimits(clock=lambda: self.now, wait=self._wait)

    def _wait(self, event: threading.Event, seconds: float) -> None:
        self.now += seconds

    @property
    def seconds(self) -> float:
        """How long workers waited in all."""
        return self.now - self.began


@pytest.fixture
def folders(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path, MemoryLedgers())


@pytest.mark.parametrize(("verify", "times"), [(Verify.CHECKSUM, 1), (Verify.READBACK, 2)])
def test_bytes_count_once_on_their_way_and_once_more_when_they_are_read_back(
    folders: Scenario, verify: Verify, times: int
) -> None:
    simulated = SimulatedLimits()
    folders.limits = simulated.limits
    folders.fill({"large": b"x" * LARGE, **{f"small/{n}": b"y" * 100_000 for n in range(10)}})
    simulated.limits.change(Rates(bytes=1e6))
    folders.assert_clean(folders.run(Spec(workers=1, verify=verify)))
    assert simulated.seconds == pytest.approx(times * (LARGE + 1_000_000) / 1e6, rel=0.01)


def test_objects_count_when_they_are_begun_whatever_their_size(folders: Scenario) -> None:
    simulated = SimulatedLimits()
    folders.limits = simulated.limits
    folders.fill({"large": b"x" * LARGE, **{f"small/{n}": b"" for n in range(20)}})
    simulated.limits.change(Rates(objects=0.5))
    folders.assert_clean(folders.run(ALONE))
    assert simulated.seconds == pytest.approx(20 / 0.5, rel=0.01)


def test_bytes_that_are_compared_count_too(folders: Scenario) -> None:
    simulated = SimulatedLimits()
    folders.limits = simulated.limits
    folders.fill({"same": b"x" * 1_000_000})
    folders.fill({"same": b"x" * 1_000_000}, there=True)
    simulated.limits.change(Rates(bytes=1e5))
    assert folders.run(ALONE).state is State.FINISHED
    assert simulated.seconds == pytest.approx(20, rel=0.01)


def test_nobody_else_of_the_process_waits_for_a_migrations_limit(folders: Scenario) -> None:
    folders.fill({"one": b"x" * 1_000_000})
    folders.limits.change(Rates(bytes=1e-3))
    assert read_back(LocalDriver(str(folders.here)), "one", stop=lambda: False)


@pytest.mark.parametrize("rates", [Rates(bytes=1), Rates(objects=1e-6)])
@pytest.mark.parametrize("control", [Control.PAUSE, Control.CANCEL])
def test_whoever_waits_stops_at_once(
    folders: Scenario, rates: Rates, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two processors may take a while to let 256 threads run.
    monkeypatch.setattr("dashboard.migration.run.SHUTDOWN_SECONDS", 60.0)
    folders.fill({f"{n:03}": b"x" * 100_000 for n in range(300)} | {"large": b"y" * LARGE})
    folders.limits.change(rates)

    def stop_when_all_wait() -> None:
        wait_until(lambda: folders.limits.holds, seconds=60, what="somebody waits")
        folders.control = control

    person = threading.Thread(target=stop_when_all_wait)
    person.start()
    result = folders.run(Spec(workers=256))
    person.join()
    wanted = State.PAUSED if control is Control.PAUSE else State.CANCELLED
    assert (result.state, result.stragglers) == (wanted, 0)
    assert leftovers(folders.there) == []
    if control is Control.PAUSE:
        folders.control = Control.RUN
        folders.limits.change(Rates())
        folders.assert_clean(folders.run())


def test_a_limit_that_is_lifted_lets_everything_go_on(folders: Scenario) -> None:
    folders.fill({f"{n:03}": b"x" * 100_000 for n in range(50)})
    folders.limits.change(Rates(bytes=1))

    def lift() -> None:
        wait_until(lambda: folders.limits.holds, seconds=60, what="somebody waits")
        folders.limits.change(Rates())

    person = threading.Thread(target=lift)
    person.start()
    folders.assert_clean(folders.run(Spec(workers=32)))
    person.join()


def test_a_copy_within_one_server_counts_as_an_object_but_not_by_its_bytes(
    tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    simulated = SimulatedLimits()
    bucket = seaweedfs.new_bucket()
    here, there = s3_on(seaweedfs, bucket, "here/"), s3_on(seaweedfs, bucket, "there/")
    for number in range(5):
        here.put(f"{number}", b"x" * 100_000)
    ledgers = SqlLedgers(tmp_path)
    simulated.limits.change(Rates(bytes=1, objects=0.1))
    job = MigrationJob(1, ALONE, lambda: True, limits=simulated.limits)
    result = run(job, here, there, ledgers.open(), lambda: Control.RUN, on_state=lambda *state: None)
    for driver in (here, there):
        driver.close()
    assert result.outcome is Outcome.CLEAN, ledgers.failures()
    ledgers.close()
    assert simulated.seconds == pytest.approx(4 / 0.1, rel=0.01)


def _copy_limited(tmp_path: Path, seaweedfs: SeaweedFS, rate: float, objects: int) -> tuple[float, float]:
    """Copy objects of 512 KiB to S3; return the bytes, and the seconds in which they were taken."""
    size = 512 * 1024
    here = tmp_path / "here"
    here.mkdir()
    for number in range(objects):
        (here / f"{number:05}").write_bytes(number.to_bytes(4) * (size // 4))
    times = list[float]()

    class Watched(RateLimits):
        """Notes when objects are begun, before they take anything, and when they have taken everything."""

        def begin_object(self, check: Callable[[], None]) -> None:
            times.append(time.monotonic())
            super().begin_object(check)

        @contextmanager
        def applied(self, check: Callable[[], None]) -> Iterator[None]:
            with super().applied(check):
                yield
            times.append(time.monotonic())

    limits = Watched()
    limits.change(Rates(bytes=rate))
    there, ledgers = s3_on(seaweedfs, seaweedfs.new_bucket(), ""), SqlLedgers(tmp_path)
    job = MigrationJob(1, Spec(), lambda: True, limits=limits)
    result = run(
        job, LocalDriver(str(here)), there, ledgers.open(), lambda: Control.RUN, on_state=lambda *state: None
    )
    there.close()
    assert result.outcome is Outcome.CLEAN, ledgers.failures()
    ledgers.close()
    return objects * size, max(times) - min(times)


def test_a_real_server_gets_no_more_than_the_limit(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    # A slow machine makes it slower still, but never faster.
    copied, seconds = _copy_limited(tmp_path, seaweedfs, 16e6, 24)
    assert copied <= 16e6 * (seconds + BURST_SECONDS)


@pytest.mark.torture
def test_a_real_server_gets_all_of_the_limit(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    copied, seconds = _copy_limited(tmp_path, seaweedfs, 4e6, 160)
    print(f"{copied / seconds:,.0f} bytes a second with a limit of 4,000,000")
    assert copied / seconds == pytest.approx(4e6, rel=0.1)


# ---- the number of objects at once


def test_it_does_not_climb_because_of_a_limit() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5, allowance=10)
    backend.run(tuner, 120)
    assert max(backend.limits) == FIRST
    assert tuner.limit <= 8
    assert tuner.limited_by is LimitedBy.LIMIT


def test_many_at_once_become_few_when_a_limit_sets_in_and_many_again_without_it() -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5)
    backend.run(tuner, 15)
    assert tuner.limit == 256
    backend.allowance = 20
    backend.run(tuner, 60)
    # 10 at once copy 20 a second.
    assert tuner.limit <= 32
    assert tuner.limited_by is LimitedBy.LIMIT
    backend.allowance = float("inf")
    backend.run(tuner, 30)
    assert tuner.limit == 256


@pytest.mark.parametrize("allowance", [20, 100, 300])
def test_it_keeps_enough_to_use_all_of_a_limit(allowance: float) -> None:
    tuner, backend = Tuner(256), SimulatedBackend(latency=0.5, allowance=allowance)
    backend.run(tuner, 60)
    before = backend.objects
    backend.run(tuner, 240)
    assert (backend.objects - before) / 240 > 0.93 * allowance
    assert FEWEST <= tuner.limit <= max(8, 2 * allowance)
