"""Uploads through kill -9 at random moments: nothing acknowledged is lost, nothing is half visible, and after
the sweep nothing is left that belongs to no file."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from dashboard.models.catalogue import files
from dashboard.models.catalogue import uploads as table
from dashboard.services.files.receiving.upload_rows import WAITING, UploadState
from dashboard.services.services import Services
from tests.kill.uploader import content_of, upload_until_killed
from tests.servers.processes import wait_until
from tests.services.composed import composed, running
from tests.services.console import ADMIN, OPERATOR, PASSWORD


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
    return tmp_path / "instance"


def visible(services: Services) -> dict[str, bytes]:
    driver = services.backends.driver("local-disk", label="test")
    found = {}
    for entry in driver.list():
        with driver.read(entry.key) as reading:
            found[entry.key] = b"".join(reading.chunks())
    return found


def kill_one(instance: Path, first: int, noise: random.Random) -> set[str]:
    """Upload in a process and kill it at a random moment; the names that it acknowledged."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill.uploader"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=upload_until_killed, args=(str(instance), first, there))
    process.start()
    there.close()
    assert here.recv() == ""
    # Most kills hit the first steps after a restart, some a while later.
    process.join(noise.choice((0.05, 0.3, 1.0)) * noise.random())
    assert process.exitcode is None, "it has ended by itself"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    names = set()
    while here.poll():
        try:
            names.add(here.recv())
        except EOFError:
            break
    return names


def survive(instance: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill that often and check everything; return how many files were acknowledged, and stored."""
    noise = random.Random(seed)
    acknowledged: set[str] = set()
    for number in range(kills):
        acknowledged |= kill_one(instance, number * 100_000, noise)
        if number % 25 == 24:
            with composed(instance) as services:
                for key, data in visible(services).items():
                    assert data == content_of(key), f"{key} is half visible after {number + 1} kills"
    with composed(instance) as services:
        with running(services):
            wait_until(lambda: not waiting(services), seconds=120, what="all uploads have ended")
        seen = visible(services)
        assert all(data == content_of(key) for key, data in seen.items())
        assert acknowledged <= set(seen), "nothing acknowledged is lost"
        assert catalogued(services) == set(seen), "every file is in the catalogue, and nothing else"
        with services.database.work_write() as connection:
            connection.execute(update(table).values(expires_at=0.0))
        for path in (instance / "uploads").glob("*"):
            os.utime(path, (0, 0))
        services.uploads.sweep()
        assert list((instance / "uploads").glob("*")) == []
        root = Path(services.backends.get("local-disk").options["root"])
        left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        assert left == set(seen), "no temporary file is left at the backend"
        assert services.uploads.list(OPERATOR) == ()
    return len(acknowledged), len(seen)


def waiting(services: Services) -> int:
    states = [state.value for state in WAITING]
    with services.database.work_read() as connection:
        failed = connection.scalar(
            select(func.count()).select_from(table).where(table.c.state == UploadState.FAILED.value)
        )
        assert not failed
        query = select(func.count()).select_from(table).where(table.c.state.in_(states))
        return connection.scalar(query) or 0


def catalogued(services: Services) -> set[str]:
    with services.database.work_read() as connection:
        return set(connection.scalars(select(files.c.key)))


def test_a_few_kills(instance: Path) -> None:
    acknowledged, stored = survive(instance, 4, seed=4)
    assert stored >= acknowledged


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_five_hundred_kills(instance: Path) -> None:
    acknowledged, stored = survive(instance, 500, seed=2)
    assert acknowledged > 20
    print(f"{acknowledged} uploads acknowledged and {stored} stored through 500 kills")
