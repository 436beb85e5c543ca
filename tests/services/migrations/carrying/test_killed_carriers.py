"""kill -9 of runs and of their carriers, which bring small objects of a bucket onto a disk in groups."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from dashboard.storage.driver import Driver
from tests.migration.scenario import contents, leftovers
from tests.migration.test_kill import IN_FLIGHT, _check_ledger, _children, _start
from tests.servers.drivers import s3_on
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="looks for child processes in /proc"
)
CARRIERS = 3


def _fill(folder: Path, server: SeaweedFS, dice: random.Random, objects: int) -> None:
    """Objects in a bucket, of which ``here`` has copies."""
    bucket = server.new_bucket()
    (folder / "there").mkdir()
    described = {
        "endpoint": server.endpoint,
        "bucket": bucket,
        "access_key_id": server.admin.access_key,
        "secret": server.admin.secret_key,
    }
    (folder / "bucket.json").write_text(json.dumps(described))
    driver: Driver = s3_on(server, bucket, "")
    for number in range(objects):
        key, content = f"folder {number % 9}/{number:05d}.bin", dice.randbytes(dice.randrange(4000))
        path = folder / "here" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        driver.put(key, content)
    driver.close()


def _puts(folder: Path) -> int:
    log = folder / "puts.log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _kill_some(folder: Path, dice: random.Random, kills: Counter[str], *, carriers: int) -> None:
    """Start a run; kill that many of its carriers and then the run, each when more has been written."""
    process = _start(folder, delete_source=False, carriers=CARRIERS)
    for last in range(carriers, -1, -1):
        more = _puts(folder) + dice.randrange(1, 60)
        _await(lambda more=more: process.poll() is not None or _puts(folder) >= more)  # type: ignore[misc]
        time.sleep(dice.uniform(0.0, 0.05))
        if process.poll() is not None:
            break
        if last and (children := _children(process)):
            with suppress(ProcessLookupError):
                # One that is suspended dies with its run.
                number = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
                os.kill(dice.choice(children), number)
                kills["carriers suspended" if number is signal.SIGSTOP else "carriers"] += 1
    kills["runs"] += process.poll() is None
    _end(process)


def _await(condition: object) -> None:
    wait_until(condition, seconds=240, what="more that is written")  # type: ignore[arg-type]


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _torture(folder: Path, server: SeaweedFS, *, kills: int, objects: int, seed: int) -> Counter[str]:
    dice = random.Random(seed)
    _fill(folder, server, dice, objects)
    wanted = contents(folder / "here")
    done: Counter[str] = Counter()
    while done.total() < kills:
        _kill_some(folder, dice, done, carriers=dice.randrange(0, 3))
    last = _start(folder, delete_source=False, carriers=CARRIERS)
    said, _ = last.communicate(timeout=600)
    assert said.strip() == "finished clean"
    assert contents(folder / "there") == wanted
    assert leftovers(folder / "there") == []
    _check_ledger(folder, wanted, delete_source=False)
    puts = (folder / "puts.log").read_text().splitlines()
    assert set(puts) == set(wanted)
    assert len(puts) <= len(wanted) + done.total() * IN_FLIGHT * CARRIERS
    done["written again"] = len(puts) - len(wanted)
    return done


def test_kills_of_carriers_lose_and_leave_nothing(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    done = _torture(tmp_path, seaweedfs, kills=3, objects=600, seed=82)
    assert done["runs"] > 0


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_sixty_kills_of_carriers_and_runs_lose_and_leave_nothing(
    tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    done = _torture(tmp_path, seaweedfs, kills=60, objects=12_000, seed=82)
    print(dict(done))
    assert done["runs"] > 10
    assert done["carriers"] > 10
