"""Every scenario runs over both ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.migration.ledgers import Ledgers, MemoryLedgers, SqlLedgers
from tests.migration.scenario import Scenario


@pytest.fixture(params=["memory", "sql"])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    opened: Ledgers = MemoryLedgers() if request.param == "memory" else SqlLedgers(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def scenario(tmp_path: Path, ledgers: Ledgers) -> Scenario:
    return Scenario(tmp_path, ledgers)


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting between attempts is tested by its numbers, not by the clock."""
    monkeypatch.setattr("dashboard.migration.retry_policy.BASE_DELAY_SECONDS", 0.002)
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_DELAY_SECONDS", 0.02)
    monkeypatch.setattr("dashboard.migration.final_phase.LISTING_WAITS", (0.0, 0.01))
