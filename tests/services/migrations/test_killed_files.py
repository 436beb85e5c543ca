"""kill -9 again and again while catalogued files migrate and counts run: at every moment every row of the
catalogue points at a place that has the file."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import select

from dashboard.models.catalogue import files
from dashboard.services.catalogue.catalogue import Catalogue, FileFacts
from dashboard.services.catalogue.counting import CountStopped
from dashboard.services.database import Database
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.inspection.listing import without_markers
from tests.migration.killed_run import DESTINATION, SOURCE
from tests.migration.ledgers import SqlLedgers
from tests.migration.scenario import contents
from tests.migration.test_kill import WORKERS, _start


class Watcher:
    """Looks, again and again, whether every row's file is where the row says; and counts both folders, as a
    console does."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._places = {SOURCE: folder / "here", DESTINATION: folder / "there"}
        self._database = database
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(each,)) for each in (self.look, self._count)
        ]
        self.wrong: list[tuple[int, str]] = []
        self.looked = self.counted = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def look(self) -> None:
        """Check every row once."""
        with self._database.work_read() as connection:
            rows = connection.execute(select(files.c.id, files.c.backend_id, files.c.key)).all()
        for number, backend_id, key in rows:
            if not (self._places[backend_id] / key).exists() and self._is_there(number, backend_id, key):
                self.wrong.append((backend_id, key))
            self.looked += 1

    def _is_there(self, number: int, backend_id: int, key: str) -> bool:
        """Whether the row still says so, now that the file is gone."""
        with self._database.work_read() as connection:
            c = files.c
            query = select(c.backend_id, c.key).where(c.id == number)
            return connection.execute(query).one_or_none() == (backend_id, key)

    def _count(self) -> None:
        for backend_id, folder in self._places.items():
            count = Catalogue(self._database).count(backend_id)
            count.begin()
            with suppress(CountStopped):
                for entry in without_markers(LocalDriver(str(folder)).list()):
                    count.add(entry)
                count.complete()
            self.counted += 1

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stop.wait(0.01):
            work()


def torture(folder: Path, *, kills: int, objects: int, delete_source: bool, seed: int) -> Watcher:
    """Migrate catalogued files under kills."""
    dice = random.Random(seed)
    here = folder / "here"
    (folder / "there").mkdir()
    facts = []
    for number in range(objects):
        path = here / f"folder {number % 9}" / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dice.randbytes(dice.randrange(4000))
        path.write_bytes(content)
        key, digest = str(path.relative_to(here)), hashlib.sha256(content).hexdigest()
        modified = path.stat().st_mtime_ns / 1e9
        facts.append(FileFacts(SOURCE, key, len(content), modified, sha256=digest, owner="ada"))
    ledgers = SqlLedgers(folder)
    ids = dict(zip((each.key for each in facts), Catalogue(ledgers.database).record(facts), strict=True))
    wanted = contents(here)
    span = 0.004 * objects / WORKERS / kills * 2.2
    with Watcher(folder, ledgers.database) as watcher:
        for _ in range(kills):
            process = _start(folder, delete_source)
            time.sleep(dice.uniform(0, span))
            process.kill()
            process.communicate()
        last = _start(folder, delete_source)
        assert last.communicate(timeout=400)[0].strip() == "finished clean"
    watcher.look()
    assert not watcher.wrong, f"{len(watcher.wrong)} rows pointed at nothing, such as {watcher.wrong[:3]}"
    assert contents(folder / "there") == wanted
    with ledgers.database.work_read() as connection:
        rows = {(row.backend_id, row.key): row for row in connection.execute(select(files))}
    places = [DESTINATION] if delete_source else [SOURCE, DESTINATION]
    assert rows.keys() == {(place, key) for place in places for key in wanted}
    # What is known about the content is true, and the file that people have linked is still the same.
    assert {row.sha256 == wanted[key] and row.owner == "ada" for (_, key), row in rows.items()} == {True}
    assert {key: rows[places[0], key].id for key in wanted} == ids
    ledgers.close()
    return watcher


def test_two_kills_leave_every_row_where_its_file_is(tmp_path: Path) -> None:
    watcher = torture(tmp_path, kills=2, objects=90, delete_source=True, seed=7)
    assert min(watcher.looked, watcher.counted) > 0


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("delete_source", [False, True])
def test_twenty_kills_of_ten_thousand_files_leave_every_row_where_its_file_is(
    tmp_path: Path, delete_source: bool
) -> None:
    watcher = torture(tmp_path, kills=20, objects=10_000, delete_source=delete_source, seed=os.getpid())
    print(f"{watcher.looked} looks at rows, {watcher.counted} counts, {len(watcher.wrong)} wrong")
    assert watcher.looked > 10_000
