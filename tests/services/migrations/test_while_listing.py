"""Copying while the listing goes on, with a console's backends and on its database."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, ObjectState, Outcome, Spec, State
from dashboard.models.migrations import Migration
from dashboard.services.migrations.carrying.embedded import EmbeddedCarriers, Process
from dashboard.services.migrations.carrying.ends import MigrationEnds
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.services.migrations.migrations import Migrations
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.places import Folder
from dashboard.storage.types import Entry
from dashboard.storage.wrapping import place_of
from tests.migration.failing_driver import PublicBucket
from tests.migration.ledgers import all_rows, recount
from tests.migration.scenario import contents
from tests.servers.processes import wait_until
from tests.services.console import OPERATOR, ServiceConsole
from tests.services.migrations.test_migrations import add_local

COUNT = 300


@pytest.fixture
def folders(console: ServiceConsole, tmp_path: Path) -> tuple[Path, Path]:
    """Those of the backends “here” and “there”."""
    add_local(console, "here", tmp_path / "here")
    add_local(console, "there", tmp_path / "there")
    return tmp_path / "here", tmp_path / "there"


def test_the_backends_of_a_console_tell_where_they_are(
    console: ServiceConsole, folders: tuple[Path, Path]
) -> None:
    number = Migrations(console.database, console.services.audit).create(OPERATOR, "here", "there", Spec())
    with console.database.read() as session:
        row = session.get_one(Migration, number)
    ends = MigrationEnds(console.database, console.services.backends, row, lambda: False)
    found = [place_of(driver) for driver in ends.open()]
    ends.release()
    assert found == [Folder(bytes(folder)) for folder in folders]


def _refuse(number: int) -> Process:
    raise AssertionError("no process was asked for")


def test_a_plan_that_begins_again_and_a_pause_keep_what_was_copied(
    console: ServiceConsole, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.plan.BATCH", 10)
    here, there = folders
    for number in range(COUNT):
        (here / f"{number:04d}").write_bytes(b"%d" % number)
    wanted = {f"{n:04d}": hashlib.sha256(b"%d" % n).hexdigest() for n in range(COUNT)}
    queries, control, seen = LedgerQueries(console.database), [Control.RUN], threading.Event()
    failures = iter([StorageError(Kind.UNREACHABLE, "The server is away.")])

    def done(count: int) -> None:
        what = f"{count} objects copied"
        wait_until(lambda: queries.counters([7])[7].done >= count, seconds=120, what=what)

    def listing(entries: Iterator[Entry]) -> Iterator[Entry]:
        for number, entry in enumerate(entries):
            if number == 100:
                done(90)
                for failure in failures:
                    raise failure
            if number == 200 and not seen.is_set():
                done(190)
                control[0] = Control.PAUSE
                assert seen.wait(120)
            yield entry

    source, destination = (PublicBucket(LocalDriver(str(each)), each.name) for each in folders)
    source.listing = listing
    ledger = RunLedger(console.database.work, 7)

    def poll_control() -> Control:
        if control[0] is Control.PAUSE:
            seen.set()
        return control[0]

    def go_on() -> tuple[State, Outcome | None]:
        result = run(
            MigrationJob(7, Spec(workers=4), lambda: True),
            source,
            destination,
            ledger,
            poll_control,
            on_state=lambda *state: None,
            carriers=EmbeddedCarriers(ledger, most=1, start=_refuse, sweep=lambda stop: None),
        )
        return result.state, result.outcome

    assert go_on()[0] is State.PAUSED
    counters = queries.counters([7])[7]
    assert (counters.copied >= 190, counters.listing_final) == (True, False)
    control[0] = Control.RUN
    assert go_on() == (State.FINISHED, Outcome.CLEAN)
    assert contents(there) == wanted
    rows = all_rows(console.database, 7)
    assert ({row.key for row in rows}, {row.state for row in rows}) == (set(wanted), {ObjectState.VERIFIED})
    counters = queries.counters([7])[7]
    assert {name: getattr(counters, name) for name in recount(rows)} == recount(rows)
    assert sorted(destination.keys_of("put")) == sorted(wanted)
