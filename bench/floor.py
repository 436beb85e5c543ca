"""What the drivers alone need for the same work, and what the engine adds to that.

Two tools beside the others: a loop that lists the source and calls ``copy_object`` from as many threads as a
migration has workers, and ``migration.run`` with a ledger in memory. What ``stowage migrate`` needs more than
the loop is our own bookkeeping. Run as ``python -m bench.floor loop|engine``, with both ends in the
environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench.locations import Bucket, Location
from bench.measure import Measured
from bench.tools import CHECKOUT, REGION, WORKERS, Run, environment
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import Driver
from dashboard.storage.types import Secret

ENDS = "BENCH_ENDS"


@dataclass(frozen=True)
class Floor:
    """One of the two programs of this module."""

    name: str
    program: str
    note: str

    def version(self) -> str:
        """It is part of this checkout."""
        return "this checkout"

    def can(self, source: Location, destination: Location) -> bool:
        """Both copy anything anywhere."""
        return True

    def prepare(self, source: Location, destination: Location, _: object) -> Run:
        """The ends travel in the environment: they hold keys."""
        ends = json.dumps([_described(source), _described(destination)])
        env = environment(PYTHONPATH=str(CHECKOUT), **{ENDS: ends})
        return Run([sys.executable, "-m", "bench.floor", self.program], env)

    def complaint(self, measured: Measured, objects: int, total: int) -> str:
        """It says how many objects and bytes it has proven."""
        return "" if json.loads(measured.stdout) == [objects, total] else measured.stdout.strip()


LOOP = Floor(
    "loop",
    "loop",
    f"a listing of the source and `copy_object` in {WORKERS} threads, every check on, no ledger: what the "
    "drivers alone need, and what the others of ours are measured by",
)
ENGINE = Floor("engine", "engine", f"`migration.run` with {WORKERS} workers and a ledger in memory")


def _described(place: Location) -> Mapping[str, str]:
    if not isinstance(place, Bucket):
        return {"root": str(place.path)}
    return {
        "endpoint": place.endpoint,
        "bucket": place.name,
        "region": REGION,
        "access_key_id": place.identity.access_key,
        "secret_access_key": place.identity.secret_key,
        "ca_certificate": place.authority.read_text() if place.authority else "",
    }


def _open(given: Mapping[str, str]) -> Driver:
    if "root" in given:
        from dashboard.storage.drivers.local.driver import LocalDriver

        return LocalDriver(given["root"])
    from dashboard.storage.drivers.s3.driver import S3Driver

    options = dict(given)
    secret = Secret(options.pop("secret_access_key"))
    return S3Driver.from_options(options, {"secret_access_key": secret})


def _loop(source: Driver, destination: Driver) -> tuple[int, int]:
    def copy(entry: Any) -> int:
        copied = copy_object(
            source,
            destination,
            entry,
            to=entry.key,
            create_only=True,
            need_md5=False,
            progress=lambda done: None,
            stop=lambda: False,
        )
        if not copied.proven:
            raise RuntimeError(f"{entry.key} is not proven")
        return copied.written.size

    with ThreadPoolExecutor(WORKERS) as pool:
        sizes = list(pool.map(copy, source.list()))
    return len(sizes), sum(sizes)


def _engine(source: Driver, destination: Driver) -> tuple[int, int]:
    from dashboard.migration.run import MigrationJob, run
    from dashboard.migration.types import Control, Spec
    from tests.migration.memory_ledger import MemoryLedger

    ledger = MemoryLedger()
    run(
        MigrationJob(1, Spec(workers=WORKERS), lambda: True),
        source,
        destination,
        ledger,
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    counters = ledger.counters()
    return counters.verified, counters.verified_bytes


if __name__ == "__main__":
    here, there = (_open(each) for each in json.loads(os.environ.pop(ENDS)))
    print(json.dumps((_loop if sys.argv[1] == "loop" else _engine)(here, there)))
