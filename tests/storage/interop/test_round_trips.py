"""Round trips over servers that nobody here wrote. ``rclone serve`` is always there; the others join under
``make interop``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, ObjectState, Spec, State
from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules
from tests.migration.ledgers import SqlLedgers
from tests.servers.foreign import catalogue
from tests.servers.foreign.packaged_web import ApacheDigest
from tests.servers.foreign.server import ForeignServer
from tests.storage.interop.odd_names import ODD_NAMES, SOME_ODD_NAMES
from tests.storage.interop.round_trip import content_for, round_trip
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import run as probe

ALL = [pytest.param(name, marks=pytest.mark.interop) for name in catalogue.SERVERS]
QUICK = [name for name in catalogue.SERVERS if name.startswith("rclone")]


@pytest.fixture
def server(request: pytest.FixtureRequest, foreign_server: Callable[[str], ForeignServer]) -> ForeignServer:
    """The server that the test is about."""
    return foreign_server(request.param)


@pytest.fixture
def place(server: ForeignServer) -> Iterator[Driver]:
    """An empty folder on it."""
    driver = server.driver()
    yield driver
    driver.close()


def kept_apart(rules: NameRules, names: Sequence[str]) -> list[str]:
    """Without what a place is known not to keep, and without the second of two names that are one there."""
    return list({rules.normalize(name): name for name in names if not rules.refusal(name)}.values())


@pytest.mark.parametrize("server", ALL, indirect=True)
def test_odd_names_come_back_or_are_refused(place: Driver) -> None:
    round_trip(place, kept_apart(probe_name_rules(place), ODD_NAMES))


@pytest.mark.parametrize("server", QUICK, indirect=True)
def test_rclone_is_used_like_any_server(place: Driver) -> None:
    result = probe(place)
    assert result.passed, [step for step in result.steps if step.state != "passed"]
    round_trip(place, kept_apart(probe_name_rules(place), SOME_ODD_NAMES), threads=4)


@pytest.mark.interop
def test_apache_that_takes_digest_only(tmp_path: Path) -> None:
    if reason := ApacheDigest.why_not():
        pytest.skip(reason)
    with ApacheDigest() as server:
        driver = server.driver()
        assert probe(driver).passed
        round_trip(driver, SOME_ODD_NAMES)
        stream(driver, "large", content_of(SMALL + 1))
        assert get(driver, "large") == content_of(SMALL + 1)
        driver.close()


def migrated(folder: Path, source: Driver, destination: Driver) -> tuple[set[str], dict[str, str]]:
    """Which keys arrived and are proven, and why each of the others did not."""
    folder.mkdir()
    ledgers = SqlLedgers(folder)
    result = run(
        MigrationJob(1, Spec(workers=8), lambda: True, name_rules=partial(probe_name_rules, destination)),
        source,
        destination,
        ledgers.open(),
        lambda: Control.RUN,
        on_state=lambda *told: None,
    )
    assert result.state is State.FINISHED, result
    rows = ledgers.rows()
    arrived = {row.key for row in rows if row.state is ObjectState.VERIFIED}
    others = {row.key: row.reason for row in rows if row.key not in arrived}
    assert all(others.values()), others
    ledgers.close()
    return arrived, others


@pytest.mark.parametrize("server", ALL, indirect=True)
def test_a_migration_there_and_back_loses_nothing_in_silence(place: Driver, tmp_path: Path) -> None:
    here, back = MemoryDriver(), MemoryDriver()
    for name in ODD_NAMES:
        here.put(name, content_for(name))
    arrived, _ = migrated(tmp_path / "there", here, place)
    assert len(arrived) > len(ODD_NAMES) // 2
    listed = set(keys_of(place))
    assert arrived <= listed
    for name in arrived:
        assert get(place, name) == content_for(name), name
    returned, _ = migrated(tmp_path / "back", place, back)
    assert arrived <= returned
    for name in arrived:
        assert get(back, name) == content_for(name), name
