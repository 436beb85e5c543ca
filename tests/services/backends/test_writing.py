"""Health never calls a backend healthy whose credentials cannot write to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.services.backends.backends import Draft
from dashboard.services.backends.status import Badge, Writing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from tests.services.console import ADMIN, ServiceConsole


class WriteRefusals:
    """What the next writes meet, and how many there were."""

    kind: Kind | None = None
    writes = 0


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> WriteRefusals:
    state, put = WriteRefusals(), LocalDriver.put

    def refused(self: LocalDriver, key: str, data: Any, **options: Any) -> Any:
        state.writes += 1
        if state.kind is not None:
            raise StorageError(state.kind, "The folder refuses new files.", operation="put")
        return put(self, key, data, **options)

    monkeypatch.setattr(LocalDriver, "put", refused)
    return state


def add(console: ServiceConsole, folder: Path, **options: str) -> int:
    folder.mkdir()
    draft = Draft("media", "local", {"root": str(folder), **options}, {})
    return console.services.backends.add(ADMIN, draft).id


def test_a_place_that_denies_writes_is_read_only_until_it_does_not(
    console: ServiceConsole, tmp_path: Path, refusals: WriteRefusals
) -> None:
    services = console.services
    backend = add(console, tmp_path / "media")
    refusals.kind = Kind.DENIED
    assert not services.checks.check_backend(backend)
    status = services.backends.get("media").status
    assert (status.badge, status.message) == (Badge.READ_ONLY, "The folder refuses new files.")
    assert services.backends.summary().failing == 1
    # The next minute's check lists only, and does not forget it.
    assert not services.checks.check_backend(backend)
    assert refusals.writes == 1
    assert services.backends.get("media").status.badge is Badge.READ_ONLY
    refusals.kind = None
    list(services.probes.run(ADMIN, "media"))
    assert services.backends.get("media").status.badge is Badge.HEALTHY
    assert services.checks.check_backend(backend)
    assert not [path for path in (tmp_path / "media").rglob("*") if path.is_file()]


def test_a_full_place_is_degraded_and_asked_again(
    console: ServiceConsole, tmp_path: Path, refusals: WriteRefusals
) -> None:
    backend = add(console, tmp_path / "media")
    refusals.kind = Kind.FULL
    for _ in range(2):
        assert not console.services.checks.check_backend(backend)
    status = console.services.backends.get("media").status
    assert (status.badge, status.message) == (
        Badge.DEGRADED, "Writing fails: The folder refuses new files.",
    )  # fmt: skip
    assert refusals.writes == 2


def test_a_backend_that_is_meant_to_be_read_only_is_never_written_to(
    console: ServiceConsole, tmp_path: Path, refusals: WriteRefusals
) -> None:
    backend = add(console, tmp_path / "media", read_only="true")
    assert console.services.checks.check_backend(backend)
    assert console.services.backends.get("media").status.badge is Badge.HEALTHY
    assert refusals.writes == 0


def test_writing_is_tried_again_daily_and_hourly_while_it_is_denied() -> None:
    assert Writing(None, "").is_due(0.0)
    assert not Writing(0.0, "").is_due(86_399)
    assert Writing(0.0, "").is_due(86_401)
    assert not Writing(0.0, "No.").is_due(3_599)
    assert Writing(0.0, "No.").is_due(3_601)
