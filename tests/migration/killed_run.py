"""A process that runs a migration between two folders until it is done or killed.

``python -m tests.migration.killed_run FOLDER WORKERS DELETE CARRIERS LISTING`` says ``running`` when it
begins. With more than one carrier it starts the others at once, by ``FOLDER carrier NUMBER FENCE DELETE``.
With ``LISTING`` the folders count as certainly apart, and no more of the source is listed than the file
``listed`` allows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dashboard.jobs.child import end_with_parent, when_parent_dies
from dashboard.migration import plan
from dashboard.migration.leftovers import sweep_interrupted
from dashboard.migration.live import Spent
from dashboard.migration.provenance import Provenance
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import Control, Spec
from dashboard.services.migrations.carrying import embedded
from dashboard.services.migrations.carrying.carrier import Carrier
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.processes import CarrierProcess
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Entry, Secret
from tests.migration.failing_driver import PublicBucket
from tests.migration.ledgers import SqlLedgers

SOURCE, DESTINATION = 1, 2
"""Ids of the backends in the catalogue."""
LISTED = "listed"
"""The file that says how many entries of the source may be listed."""
ROWS = 20
"""Recorded at once with it."""


def held_listing(folder: Path) -> PublicBucket:
    """The source; its listing waits where it is told to."""

    def held(entries: Iterator[Entry]) -> Iterator[Entry]:
        for number, entry in enumerate(entries):
            while number >= int((folder / LISTED).read_text() or 0):
                time.sleep(0.01)
            yield entry

    driver = PublicBucket(LocalDriver(str(folder / "here")), "here")
    driver.listing = held
    return driver


def slow_folder(folder: Path) -> PublicBucket:
    """The destination; every write is noted in ``puts.log``."""
    log = os.open(folder / "puts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write_down(verb: str, key: str) -> None:
        if verb in ("put", "commit"):
            os.write(log, key.encode() + b"\n")
            # A network's pace, so that kills meet every phase.
            time.sleep(0.004)

    return PublicBucket(LocalDriver(str(folder / "there")), "there", write_down)


def source_of(folder: Path) -> Driver:
    """The folder, or the bucket that ``bucket.json`` describes."""
    described = folder / "bucket.json"
    if not described.exists():
        return LocalDriver(str(folder / "here"))
    options = json.loads(described.read_text())
    secrets = {"secret_access_key": Secret(options.pop("secret"))}
    return build("s3", check_options("s3", options, secrets), secrets)


def main(folder: Path, workers: int, delete_source: bool, carriers: int, listing: bool) -> None:
    ledgers = SqlLedgers(folder)
    ledger = ledgers.open(files=LedgerFiles(1, SOURCE, DESTINATION, deletes=delete_source))
    ledger.parts = carriers
    source, destination = held_listing(folder) if listing else source_of(folder), slow_folder(folder)
    if listing:
        plan.BATCH = ROWS
    sweep = partial(sweep_interrupted, destination, ledger, "here")
    embedded.MEASURE_SECONDS = embedded.WORTHWHILE_SECONDS = 0.0
    print("running", flush=True)
    result = run(
        MigrationJob(1, Spec(workers=workers, delete_source=delete_source), lambda: True, "here"),
        source,
        destination,
        ledger,
        lambda: Control.RUN,
        on_state=lambda *state: None,
        carriers=embedded.EmbeddedCarriers(
            ledger,
            most=carriers,
            start=lambda number: start_carrier(folder, number, ledger.fence, delete_source),
            sweep=lambda stop: sweep(stop=stop),
            # Kills are no failures of ours here.
            max_failures=1000,
        ),
    )
    ledgers.close()
    print(result.state, result.outcome, flush=True)


def start_carrier(folder: Path, number: int, fence: int, delete_source: bool) -> CarrierProcess:
    """Start a carrier's process for a run."""
    words = (str(folder), "carrier", str(number), str(fence), str(delete_source), str(os.getpid()))
    return CarrierProcess((sys.executable, "-m", "tests.migration.killed_run", *words))


def carry(folder: Path, number: int, fence: int, delete_source: bool, parent: int) -> None:
    """What a carrier's process does."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    end_with_parent(parent)
    when_parent_dies(lambda: os._exit(1))
    ledgers = SqlLedgers(folder)
    files = LedgerFiles(1, SOURCE, DESTINATION, deletes=delete_source)
    ledger = CarrierLedger(ledgers.database.work, 1, carrier=number, fence=fence, files=files)
    ledger.join(fence)
    spent, spec = Spent(), Spec(delete_source=delete_source)
    ends = source_of(folder), slow_folder(folder)
    transfer = Transfer(Provenance(*ends, spec, ledger.token()), "here", spent)
    Carrier(ledger, transfer, spent, memory=1 << 26, stop=stop.is_set).run()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[2] == "carrier":
        carry(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "True", int(sys.argv[6]))
    else:
        delete, carriers, listing = sys.argv[3] == "True", int(sys.argv[4]), sys.argv[5] == "True"
        main(Path(sys.argv[1]), int(sys.argv[2]), delete, carriers, listing)
