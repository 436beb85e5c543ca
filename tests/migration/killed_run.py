"""A process that runs a migration between two folders until it is done or killed.

``python -m tests.migration.killed_run FOLDER WORKERS DELETE`` says ``running`` when it begins.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, Spec
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.failing_driver import FailingDriver
from tests.migration.ledgers import SqlLedgers

SOURCE, DESTINATION = 1, 2
"""Ids of the backends in the catalogue."""


def main(folder: Path, workers: int, delete_source: bool) -> None:
    log = os.open(folder / "puts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write_down(verb: str, key: str) -> None:
        if verb in ("put", "commit"):
            os.write(log, key.encode() + b"\n")
            # A network's pace, so that kills meet every phase.
            time.sleep(0.004)

    ledgers = SqlLedgers(folder)
    destination = FailingDriver(LocalDriver(str(folder / "there")), write_down)
    print("running", flush=True)
    result = run(
        MigrationJob(1, Spec(workers=workers, delete_source=delete_source), lambda: True, "here"),
        LocalDriver(str(folder / "here")),
        destination,
        ledgers.open(files=LedgerFiles(1, SOURCE, DESTINATION, deletes=delete_source)),
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    ledgers.close()
    print(result.state, result.outcome, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True")
