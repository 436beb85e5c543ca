"""Uploads through kill -9 at random moments, with a scanner and thumbnails: nothing acknowledged is lost,
nothing is half visible, nothing infected is ever visible, and after the sweep nothing is left that belongs to
no file."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from dashboard.media.policy import DEFAULT, Scan
from dashboard.models.catalogue import files
from dashboard.models.catalogue import uploads as table
from dashboard.services.files.receiving.upload_rows import WAITING, UploadState
from dashboard.services.services import Services
from tests.kill.uploader import content_of, is_infected, kill_and_collect, upload_until_killed
from tests.servers.clamd import scan_stream, scripted_clamd
from tests.servers.processes import wait_until
from tests.services.composed import composed, running
from tests.services.console import ADMIN, OPERATOR, PASSWORD


@dataclass(frozen=True)
class Attacked:
    """An instance whose default policy demands scans and makes thumbnails, and its scanner's address."""

    folder: Path
    clamav: str


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Attacked]:
    policy = replace(DEFAULT, scan=Scan.REQUIRED, thumbnails=("small", "medium"))
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        services.upload_policies.save(ADMIN, "default", policy)
    with scripted_clamd(scan_stream) as clamav:
        yield Attacked(tmp_path / "instance", clamav)


def visible(services: Services) -> dict[str, bytes]:
    driver = services.backends.driver("local-disk", label="test")
    found = {}
    for entry in driver.list():
        with driver.read(entry.key) as reading:
            found[entry.key] = b"".join(reading.chunks())
    return found


def kill_one(instance: Attacked, first: int, noise: random.Random) -> tuple[set[str], set[int]]:
    """Upload in a process and kill it at a random moment; the names that it acknowledged, and the processes
    that it had started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill.uploader"])
    here, there = context.Pipe(duplex=False)
    arguments = (str(instance.folder), instance.clamav, first, there)
    process = context.Process(target=upload_until_killed, args=arguments)
    process.start()
    there.close()
    assert here.recv() == ""
    # Most kills hit the first steps after a restart, some a while later, when thumbnails are made.
    process.join(noise.choice((0.05, 0.3, 1.0, 2.0)) * noise.random())
    assert process.exitcode is None, "it has ended by itself"
    assert process.pid is not None
    started = descendants(process.pid)
    return kill_and_collect(process, here), started


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that these have."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


def survive(instance: Attacked, kills: int, seed: int) -> tuple[int, int]:
    """Kill that often and check everything; return how many files were acknowledged, and stored."""
    noise = random.Random(seed)
    acknowledged: set[str] = set()
    started: set[int] = set()
    for number in range(kills):
        names, children = kill_one(instance, number * 100_000, noise)
        acknowledged |= {name for name in names if not is_infected(name)}
        started |= children
        if number % 25 == 24:
            with composed(instance.folder) as services:
                check_visible(visible(services), f"after {number + 1} kills")
    with composed(instance.folder, clamav=instance.clamav) as services:
        with running(services):
            wait_until(lambda: not waiting(services), seconds=120, what="all uploads have ended")
        seen = visible(services)
        check_visible(seen, "in the end")
        assert acknowledged <= set(seen), "nothing acknowledged is lost"
        assert set(catalogued(services)) == set(seen), "every file is in the catalogue, and nothing else"
        check_nothing_is_left(instance.folder, services, set(seen))
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in started),
        seconds=60,
        what="the processes that decode files have ended with their console",
    )
    return len(acknowledged), len(seen)


def check_visible(seen: dict[str, bytes], when: str) -> None:
    """Every file that can be read is whole, and none is infected."""
    for key, data in seen.items():
        assert data == content_of(key), f"{key} is half visible {when}"
        assert not is_infected(key), f"{key} was stored although it is infected {when}"


def check_nothing_is_left(instance: Path, services: Services, seen: set[str]) -> None:
    """Nothing in the quarantine, at the backend or among the thumbnails, a day later."""
    with services.database.work_write() as connection:
        connection.execute(update(table).values(expires_at=0.0))
    for path in [*(instance / "uploads").glob("*"), *(instance / "thumbnails").rglob("*")]:
        os.utime(path, (0, 0))
    while services.uploads.sweep():
        pass
    assert list((instance / "uploads").glob("*")) == []
    root = Path(services.backends.get("local-disk").options["root"])
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert left == seen, "no temporary file is left at the backend"
    assert services.uploads.list(OPERATOR) == ()
    digests = catalogued(services)
    services.derivatives.sweep(lambda found: set(found) & set(digests.values()))
    made = {path.name for path in (instance / "thumbnails").glob("??/*")}
    assert made <= set(digests.values())
    pictures = {digest for key, digest in digests.items() if key.endswith(".jpg")}
    assert made >= pictures, "every picture has its thumbnails"
    assert not list((instance / "thumbnails").rglob(".new-*"))


def waiting(services: Services) -> int:
    states = [state.value for state in WAITING]
    with services.database.work_read() as connection:
        failed = connection.scalar(
            select(func.count()).select_from(table).where(table.c.state == UploadState.FAILED.value)
        )
        assert not failed
        query = select(func.count()).select_from(table).where(table.c.state.in_(states))
        return connection.scalar(query) or 0


def catalogued(services: Services) -> dict[str, str]:
    """Key to SHA-256 of every file."""
    with services.database.work_read() as connection:
        return {row.key: row.sha256 for row in connection.execute(select(files.c.key, files.c.sha256))}


def test_a_few_kills(instance: Attacked) -> None:
    acknowledged, stored = survive(instance, 4, seed=4)
    assert stored >= acknowledged


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_five_hundred_kills(instance: Attacked) -> None:
    acknowledged, stored = survive(instance, 500, seed=2)
    assert acknowledged > 20
    print(f"{acknowledged} uploads acknowledged and {stored} stored through 500 kills")
