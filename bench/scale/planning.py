"""Planning a migration of a million objects to where there are a million already, into a real ledger.

The listings come from a generator: how fast a server lists is its own matter. Run as a process of its own,
``python -m bench.scale.planning KEYS sorted|folders``, because its memory is part of the result.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import md5
from pathlib import Path

from dashboard.migration.plan import plan
from dashboard.migration.types import Spec
from dashboard.services.database import open_database, prepare_instance
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.settings import Settings
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.types import Entry

PER_FOLDER = 1000
TIME = 1_790_000_000.0


@dataclass(frozen=True)
class Planned:
    """What it took. ``wall`` and ``cpu`` in seconds, ``peak`` in bytes of the whole process."""

    found: int
    wall: float
    cpu: float
    peak: int


class Listed(MemoryDriver):
    """A container with a listing and nothing else."""

    def __init__(self, entries: Callable[[], Iterator[Entry]]) -> None:
        super().__init__()
        self._listing = entries

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""
        return self._listing()


def _entries(keys: int, changed: int) -> Iterator[Entry]:
    """In order. Every so many have another content."""
    for number in range(keys):
        content = b"%d" % (-number if number % changed == 0 else number)
        key = f"photos/{number // PER_FOLDER:05d}/image-{number % PER_FOLDER:04d}.jpeg"
        yield Entry(key, 20_000 + number % 1000, TIME, md5(content, usedforsecurity=False).hexdigest())


def _by_folder(keys: int, changed: int) -> Iterator[Entry]:
    """As SeaweedFS lists: one key is where it does not belong."""
    entries = _entries(keys, changed)
    first = next(entries)
    yield next(entries)
    yield first
    yield from entries


def measure(keys: int, order: str) -> Planned:
    """Plan in this process."""
    entries = _entries if order == "sorted" else _by_folder
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder:
        settings = Settings.from_env({}, instance=Path(folder) / "instance")
        prepare_instance(settings)
        database = open_database(settings)
        database.upgrade()
        ledger = SqlLedger(database.work, 1)
        ledger.begin()
        wall, cpu = time.perf_counter(), time.process_time()
        # A tenth of what is there has another content.
        source, destination = Listed(lambda: entries(keys, keys)), Listed(lambda: entries(keys, 10))
        if not plan(source, destination, Spec(), ledger, lambda: False):
            raise RuntimeError("planning stopped")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found = ledger.counters().found
        database.close()
    return Planned(found, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1]), sys.argv[2]))))
