"""Uploads directly to a bucket through kill -9 at random moments: nothing that was finished is lost, nothing
is half visible, and after the sweep the bucket holds nothing that belongs to no file, hidden or billed."""

from __future__ import annotations

import multiprocessing
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboard.media.policy import DEFAULT
from dashboard.models.catalogue import uploads as table
from dashboard.services.services import Services
from dashboard.storage.driver import Driver
from tests.kill.direct_uploader import content_of, upload_directly_until_killed
from tests.kill.test_uploads import catalogued, waiting
from tests.kill.uploader import kill_and_collect
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_s3, composed, running
from tests.services.console import ADMIN, OPERATOR, PASSWORD


@pytest.fixture
def instance(tmp_path: Path, seaweedfs: SeaweedFS) -> Path:
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        services.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True, thumbnails=()))
        add_s3(services, "cloud", seaweedfs.endpoint, seaweedfs.new_bucket("killed"), seaweedfs.admin)
    return tmp_path / "instance"


def kill_one(instance: Path, first: int, noise: random.Random) -> set[str]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill.direct_uploader"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=upload_directly_until_killed, args=(str(instance), first, there))
    process.start()
    there.close()
    assert here.recv() == ""
    if noise.random() < 0.3:
        # However busy the machine is, some get as far as this.
        assert here.poll(60), "nothing was finished"
    process.join(noise.choice((0.1, 0.5, 1.5)) * noise.random())
    assert process.exitcode is None, "it has ended by itself"
    return kill_and_collect(process, here)


def keys(driver: Driver) -> set[str]:
    """All but what killed checks of the backend have left."""
    return {entry.key for entry in driver.list() if not entry.key.startswith("stowage-probe-")}


def check_visible(services: Services) -> set[str]:
    driver = services.backends.driver("cloud")
    seen = keys(driver)
    for key in seen:
        assert driver.read(key).read_all() == content_of(key), f"{key} is half visible"
    return seen


def survive(instance: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill that often and check everything; return how many files were finished, and stored."""
    noise = random.Random(seed)
    finished: set[str] = set()
    for number in range(kills):
        finished |= kill_one(instance, number * 100_000, noise)
        if number % 20 == 19:
            with composed(instance) as services:
                check_visible(services)
    with composed(instance) as services:
        with running(services):
            wait_until(lambda: not waiting(services), seconds=120, what="all uploads have ended")
        seen = check_visible(services)
        rows = [row for row in services.uploads.list(OPERATOR) if row.name in finished - seen]
        assert finished <= seen, f"nothing finished is lost: {rows}"
        assert {key for key in catalogued(services) if key.startswith("direct-")} == seen
        with services.database.work_write() as connection:
            connection.execute(update(table).values(expires_at=0.0))
        for path in (instance / "uploads").iterdir():
            os.utime(path, (0, 0))
        while services.uploads.sweep():
            pass
        assert services.uploads.list(OPERATOR) == ()
        raw = services.backends.driver("cloud", label="direct uploads")
        assert keys(raw) == seen, "nothing is left in the hidden folder"
        assert list(raw.unfinished()) == [], "nothing is billed"  # type: ignore[attr-defined]
        assert list((instance / "uploads").iterdir()) == []
    return len(finished), len(seen)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 5])
def test_a_hundred_kills(instance: Path, seed: int) -> None:
    finished, stored = survive(instance, 100, seed)
    assert finished > 10
    print(f"{finished} direct uploads finished and {stored} stored through 100 kills")
