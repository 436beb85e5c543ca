"""kill -9 at seeded random moments of the real processes: nothing is lost, doubled or left behind."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboard.errors import StowageError
from dashboard.migration.types import Spec, State
from dashboard.services.services import Services
from tests.kill.ledger_checks import (
    SettledRows,
    assert_ledger,
    digests_of_bucket,
    digests_of_folder,
    unfinished_uploads,
)
from tests.servers.console import ConsoleProcess, alive, kill_9
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, await_state, composed, fill
from tests.services.console import ADMIN

MIB = 1024 * 1024
SLOWLY = Spec(workers=3, objects_per_second="100")
"""Until the last kill, so that no migration is quicker than those who want to interrupt it."""


@dataclass
class Killer:
    """Kills the runner, and now and then the whole console, while migrations go on."""

    services: Services
    console: ConsoleProcess
    noise: random.Random
    kills: int = 0
    parents: int = 0
    in_the_middle: int = 0

    def migrate(self, source: str, destination: str, *, kills: int, spec: Spec) -> int:
        """Run one migration to its end under at most so many kills; its number."""
        number = self.services.migrations.create(ADMIN, source, destination, spec, approve=True)
        settled = SettledRows(self.services, number)
        for _ in range(kills):
            if not self._kill_once(number, share=1 / (kills + 1)):
                break
            if settled.remember():
                self.in_the_middle += 1
        with contextlib.suppress(StowageError):
            # It may have ended.
            self.services.migration_limits.change(ADMIN, number, objects="off")
        await_state(self.services, number, State.FINISHED, State.FAILED, seconds=150)
        settled.check()
        return number

    def _kill_once(self, number: int, *, share: float) -> bool:
        """Kill at some moment; False when the migration was quicker.

        Three of four kills wait until some more is copied, so that they fall into the middle of the work
        however fast the machine is; the others come as they come, also while the runner starts.
        """
        runner = self.console.await_runner()
        before = self.services.migrations.progress(number).counters
        wanted = before.done + max(1, self.noise.random() * share * before.found)
        deadline = time.monotonic() + self.noise.expovariate(3)
        patient = self.kills % 4 != 3
        while True:
            progress = self.services.migrations.progress(number)
            if progress.state.final:
                return False
            enough = patient and progress.counters.done > wanted
            if enough or (not patient and time.monotonic() >= deadline):
                break
            time.sleep(0.005)
        time.sleep(self.noise.random() * 0.1)
        if self.noise.random() < 0.2:
            self._kill_console(runner)
        else:
            kill_9(runner)
        self.kills += 1
        return True

    def _kill_console(self, runner: int) -> None:
        self.console.kill()
        self.parents += 1
        if self.noise.random() < 0.5:
            # The orphan is told to stop by the end of its input; half the time it gets to.
            kill_9(runner)
        self.console.start()
        wait_until(lambda: not alive(runner), seconds=60, what="orphaned runner gone")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        yield services


def sizes(small: int, large: int) -> dict[str, int]:
    """Mostly small objects, some of several parts; the large ones lie between the others."""
    found = {f"small/{n % 9}/{n}.bin": 37 * n % 9000 for n in range(small)}
    found |= {f"small/{n % 9}/big {n}.bin": 17 * MIB + n for n in range(large)}
    return found


def there_and_back(
    services: Services,
    seaweedfs: SeaweedFS,
    tmp_path: Path,
    *,
    rounds: int,
    kills: int,
    small: int,
    large: int,
) -> Killer:
    """Local -> S3 -> local, so many times, with so many kills on each way."""
    expected = sizes(small, large)
    origin = add_local(services, "origin", tmp_path / "origin")
    fill(origin, expected)
    truth = digests_of_folder(origin)
    with ConsoleProcess(tmp_path / "instance") as console:
        killer = Killer(services, console, random.Random(20261121))
        for turn in range(rounds):
            bucket = seaweedfs.new_bucket("kills")
            back = tmp_path / f"back {turn}"
            add_s3(services, f"bucket-{turn}", seaweedfs.endpoint, bucket, seaweedfs.admin)
            add_local(services, f"back-{turn}", back)
            up = killer.migrate("origin", f"bucket-{turn}", kills=kills, spec=SLOWLY)
            assert_ledger(services, up, expected)
            assert digests_of_bucket(seaweedfs, bucket) == truth
            assert unfinished_uploads(seaweedfs, bucket) == []
            down = killer.migrate(f"bucket-{turn}", f"back-{turn}", kills=kills, spec=SLOWLY)
            assert_ledger(services, down, expected)
            assert digests_of_folder(back) == truth
        assert console.stop() == 0
    assert digests_of_folder(origin) == truth
    return killer


def test_four_kills_lose_and_double_nothing(services: Services, seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    killer = there_and_back(services, seaweedfs, tmp_path, rounds=1, kills=2, small=600, large=3)
    assert killer.kills >= 3
    assert killer.in_the_middle >= 2


@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_thirty_kills_lose_and_double_nothing(
    services: Services, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    killer = there_and_back(services, seaweedfs, tmp_path, rounds=3, kills=8, small=3000, large=8)
    print(
        f"{killer.kills} kills, {killer.parents} of them of the console, {killer.in_the_middle} in the middle"
    )
    assert killer.kills >= 30
    assert killer.parents >= 3
    assert killer.in_the_middle >= 15
