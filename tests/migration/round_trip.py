"""A migration from one driver to another, run to its end in this thread."""

from __future__ import annotations

import os
from pathlib import Path

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Action, Control, ObjectState, Outcome, Spec, State, Verify
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.ledgers import SqlLedgers, assert_exact
from tests.migration.scenario import LARGE, contents, some_objects


def migrate(
    folder: Path, source: Driver, destination: Driver, spec: Spec, *, failing: bool = False
) -> SqlLedgers:
    """To its end; ``failing``: objects of it must fail."""
    folder.mkdir()
    ledgers = SqlLedgers(folder)
    result = run(
        MigrationJob(1, spec, lambda: True, "source"),
        source,
        destination,
        ledgers.open(),
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    assert result.state is State.FINISHED, result
    assert (result.outcome is Outcome.WITH_ERRORS) == failing, ledgers.failures()
    assert_exact(ledgers)
    counters = ledgers.counters()
    assert counters.done == counters.found
    return ledgers


def round_trip(tmp_path: Path, place: Driver, verify: Verify) -> None:
    """From a folder to this empty place and from there to another folder, which then holds the same;
    and once more to the place, where nothing is left to do."""
    here, back = tmp_path / "here", tmp_path / "back"
    back.mkdir()
    objects = some_objects(60) | {
        "large.bin": os.urandom(LARGE * 2),
        "empty": b"",
        "a/x": b"1",
        "a-b": b"2",
        "ä ö/ü+%20&.txt": b"3",
    }
    for key, content in objects.items():
        path = here / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    spec = Spec(workers=8, verify=verify)
    local, other = LocalDriver(str(here)), LocalDriver(str(back))
    for step, (source, destination) in enumerate([(local, place), (place, other)]):
        ledgers = migrate(tmp_path / f"step {step}", source, destination, spec)
        assert {row.state for row in ledgers.rows()} == {ObjectState.VERIFIED}
        assert {row.action for row in ledgers.rows()} == {Action.COPY}
        ledgers.close()
    assert contents(back) == contents(here)
    again = migrate(tmp_path / "again", local, place, spec)
    assert {row.state for row in again.rows()} == {ObjectState.SKIPPED}
    again.close()
    place.close()
