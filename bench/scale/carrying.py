"""The rate of one migration with several carriers, to a server that only waits.

Each write takes 20 ms and no processor time worth mentioning, and each carrier writes a few objects at once:
what is measured is whether carriers add up, on a machine with two cores already. Run as a process of its own,
``python -m bench.scale.carrying run CARRIERS SECONDS``, with a real ledger and carriers in processes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dashboard.jobs.child import end_with_parent, when_parent_dies
from dashboard.migration.carrying.carriers import memory_share
from dashboard.migration.live import Spent
from dashboard.migration.provenance import Provenance
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import Control, Spec
from dashboard.services.database import Database, open_database, prepare_instance
from dashboard.services.migrations.carrying import embedded
from dashboard.services.migrations.carrying.carrier import Carrier
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.processes import CarrierProcess
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.settings import Settings
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.types import Attributes, Written

WAIT_SECONDS = 0.02
"""What one write takes."""
AT_ONCE = 4
"""Objects that each carrier writes at once."""
START_SECONDS = 5
"""For how long there is work beside the seconds that are measured: carriers have to start."""
SIZE = 1000


@dataclass(frozen=True)
class Carried:
    """``rate``: objects a second while all carriers copied. ``whole``: the same from the first object to the
    end of that time. ``cpu`` in seconds of all processes, ``peak`` in bytes: the sum of their peaks."""

    rate: float
    whole: float
    cpu: float
    peak: int


class Waiting(MemoryDriver):
    """A server that only waits."""

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        time.sleep(WAIT_SECONDS)
        return super().put(key, data, attributes=attributes, create_only=create_only)


def _source(objects: int) -> MemoryDriver:
    """The same in every process."""
    filled = MemoryDriver()
    for number in range(objects):
        filled.put(
            f"photos/{number // 1000:05d}/{number % 1000:04d}", number.to_bytes(8, "big") * (SIZE // 8)
        )
    return filled


class _Watch:
    """Looks at the totals, and ends the run once nearly everything is copied: the rest is not shared."""

    def __init__(self, ledger: RunLedger, carriers: int, objects: int) -> None:
        self._ledger = ledger
        self._carriers = carriers
        self._enough = objects * 95 // 100
        self._begun: float | None = None
        self._together: tuple[float, int] | None = None
        self._last = (0.0, 0)
        self._peaks: dict[int, int] = {}

    def control(self) -> Control:
        """Called four times a second by the run."""
        now, copied = time.perf_counter(), self._ledger.counters().copied
        if copied and self._begun is None:
            self._begun = now
        others = [report for _, report in self._ledger.overview().reports.values() if report.copied]
        for report in others:
            self._peaks[report.pid] = max(_peak(report.pid), self._peaks.get(report.pid, 0))
        if len(others) == self._carriers - 1 and copied and self._together is None:
            self._together = now, copied
        self._last = now, copied
        return Control.PAUSE if copied >= self._enough else Control.RUN

    def result(self) -> Carried:
        """After the run."""
        if self._together is None or self._begun is None or self._last[1] <= self._together[1]:
            raise RuntimeError("the carriers did not all copy before the end: use more seconds")
        (began, before), (ended, after) = self._together, self._last
        own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
        peak = own.ru_maxrss * 1024 + sum(self._peaks.values())
        return Carried((after - before) / (ended - began), after / (ended - self._begun), cpu, peak)


def _peak(pid: int) -> int:
    """The most memory that a process has had, in bytes; 0 if that is not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def measure(carriers: int, seconds: int) -> Carried:
    """Run a migration in this process, which starts the other carriers."""
    objects = int(carriers * AT_ONCE / WAIT_SECONDS * (seconds + START_SECONDS))
    embedded.MEASURE_SECONDS = embedded.WORTHWHILE_SECONDS = 0.0
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder:
        database = _database(Path(folder))
        ledger = RunLedger(database.work, 1)
        ledger.parts = carriers
        watch = _Watch(ledger, carriers, objects)
        run(
            MigrationJob(1, Spec(workers=carriers * AT_ONCE), lambda: True),
            _source(objects),
            Waiting(),
            ledger,
            watch.control,
            on_state=lambda *state: None,
            carriers=embedded.EmbeddedCarriers(
                ledger,
                most=carriers,
                start=_start(folder, ledger, carriers, objects),
                sweep=lambda stop: None,
            ),
        )
        database.close()
    return watch.result()


def _start(folder: str, ledger: RunLedger, carriers: int, objects: int) -> Callable[[int], CarrierProcess]:
    def start(number: int) -> CarrierProcess:
        words = (folder, *map(str, (os.getpid(), number, ledger.fence, carriers, objects)))
        return CarrierProcess((sys.executable, "-m", "bench.scale.carrying", "carry", *words))

    return start


def carry(folder: Path, parent: int, number: int, fence: int, carriers: int, objects: int) -> None:
    """Be a carrier of the process ``parent``. Ends the process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    end_with_parent(parent)
    when_parent_dies(lambda: os._exit(1))
    ledger = CarrierLedger(_database(folder).work, 1, carrier=number, fence=fence)
    ledger.join(fence)
    spent = Spent()
    provenance = Provenance(_source(objects), Waiting(), Spec(), ledger.token())
    transfer = Transfer(provenance, "source", spent)
    Carrier(ledger, transfer, spent, memory=memory_share(carriers), stop=stop.is_set).run()
    os._exit(0)


def _database(folder: Path) -> Database:
    settings = Settings.from_env({}, instance=folder / "instance")
    prepare_instance(settings)
    database = open_database(settings)
    database.upgrade()
    return database


if __name__ == "__main__":
    if sys.argv[1] == "carry":
        carry(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    print(json.dumps(asdict(measure(int(sys.argv[2]), int(sys.argv[3])))))
