"""The number of objects at once against a real server: one that is far away, and one that throttles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.network.delay import DelayingProxy
from dashboard.migration.ledger import Live
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.tuning import FIRST, LimitedBy
from dashboard.migration.types import Control, ObjectState, Outcome, Spec
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.ledgers import SqlLedgers, assert_exact
from tests.migration.scenario import leftovers
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS


@pytest.fixture(autouse=True)
def _everything_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts less than half a second may not be left out."""
    monkeypatch.setattr("dashboard.migration.run.PUBLISH_SECONDS", 0.0)


def copy(folder: Path, destination: Driver, objects: int, spec: Spec) -> list[Live]:
    """Copy small files there; return the live progress while it ran."""
    here = folder / "here"
    here.mkdir()
    for number in range(objects):
        (here / f"{number:05}").write_bytes(b"%d" % number)
    ledgers = SqlLedgers(folder)
    ledger = ledgers.open()
    published: list[Live] = []
    publish: Callable[[Live], None] = ledger.publish

    def watch(live: Live) -> None:
        published.append(live)
        publish(live)

    ledger.publish = watch  # type: ignore[method-assign]
    result = run(
        MigrationJob(1, spec, lambda: True, "source"),
        LocalDriver(str(here)),
        destination,
        ledger,
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    assert result.outcome is Outcome.CLEAN, ledgers.failures()
    assert_exact(ledgers)
    assert {row.state for row in ledgers.rows()} == {ObjectState.VERIFIED}
    ledgers.close()
    assert leftovers(here) == []
    return published


def test_more_are_copied_at_once_to_a_server_that_is_far_away(
    tmp_path: Path, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How busy this machine is, is not the question.
    monkeypatch.setattr("dashboard.migration.tuning.BUSY_CORES", float("inf"))
    server = urlsplit(seaweedfs.endpoint)
    with DelayingProxy(server.hostname or "", server.port or 0, 0.2) as far:
        endpoint = f"http://{far.host}:{far.port}"
        place = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=endpoint)
        published = copy(tmp_path, place, 150, Spec())
        place.close()
    assert max(live.at_once for live in published) > FIRST


def test_fewer_are_copied_at_once_while_a_server_throttles(
    tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    place = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=fault_proxy.endpoint)
    # Each of the first objects is tried twice before the run hears of it.
    throttled = fault_proxy.slow_down(key="0000", method="PUT", times=2 * FIRST)
    published = copy(tmp_path, place, 60, Spec())
    place.close()
    assert throttled.hits == 2 * FIRST
    after = [live for live in published if live.limited_by is LimitedBy.THROTTLING]
    assert after
    assert max(live.at_once for live in after) <= FIRST // 2 + 1


def test_a_chosen_number_is_kept_to(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    place = s3_on(seaweedfs, seaweedfs.new_bucket(), "")
    published = copy(tmp_path, place, 60, Spec(workers=3))
    place.close()
    assert {(live.at_once, live.limited_by) for live in published if live.at_once} <= {(3, LimitedBy.CHOICE)}
