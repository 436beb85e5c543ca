"""Test objects of connection tests that were killed are removed a day later; nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from dashboard.models.schedules import ProbeObject
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.services import Services
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.probe import check_writing
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN

DAY = 86_400


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        add_local(services, "here", tmp_path / "here")
        yield services


def recorded(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(ProbeObject)) or 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def age(services: Services) -> None:
    with services.database.write() as session:
        session.execute(update(ProbeObject).values(at=ProbeObject.at - 2 * DAY))


class _Killed(BaseException):
    pass


def killed_probe(services: Services, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise _Killed

    number = services.backends.get("here").id
    driver = services.backends.driver("here", label="check")
    with monkeypatch.context() as patch:
        patch.setattr(LocalDriver, at, die)
        # What would clean up does not run in a process that was killed.
        patch.setattr("dashboard.storage.probe_steps.Probe.clean_up", lambda probe: None)
        with pytest.raises(_Killed):
            check_writing(driver, on_test_object=services.checks.test_objects.of(number))


def test_a_test_that_ends_leaves_neither_object_nor_record(services: Services, tmp_path: Path) -> None:
    list(services.probes.run(ADMIN, "here"))
    services.checks.check_backend(services.backends.get("here").id)
    assert recorded(services) == 0
    assert names(tmp_path / "here") == []


@pytest.mark.parametrize("at", ["read", "delete", "put"])
def test_what_a_killed_test_left_is_removed_a_day_later(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: str
) -> None:
    here = tmp_path / "here"
    (here / "stowage-probe-0123456789abcdef").write_bytes(b"of another console")
    (here / "stowage-probe-mine").write_bytes(b"of a person")
    killed_probe(services, monkeypatch, at)
    assert recorded(services) == 1
    assert len(names(here)) == (2 if at == "put" else 3)
    services.checks.remove_test_objects(lambda: False)
    assert recorded(services) == 1, "it may still be running"
    age(services)
    services.checks.remove_test_objects(lambda: False)
    assert recorded(services) == 0
    assert names(here) == ["stowage-probe-0123456789abcdef", "stowage-probe-mine"]


def test_a_record_that_was_tampered_with_deletes_nothing(services: Services, tmp_path: Path) -> None:
    number = services.backends.get("here").id
    for key in ("precious", "stowage-probe-0123456789abcdef/../precious", "stowage-probe-0123456789ABCDEF"):
        services.checks.test_objects.of(number)(key, True)
    (tmp_path / "here" / "precious").write_bytes(b"x")
    age(services)
    services.checks.remove_test_objects(lambda: False)
    assert (tmp_path / "here" / "precious").exists()


def test_a_backend_that_does_not_answer_is_tried_again(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed_probe(services, monkeypatch, "read")
    age(services)
    (tmp_path / "here").rename(tmp_path / "away")
    services.checks.remove_test_objects(lambda: False)
    kept = recorded(services)
    (tmp_path / "away").rename(tmp_path / "here")
    services.checks.remove_test_objects(lambda: False)
    assert (kept, recorded(services)) == (1, 0)
    assert names(tmp_path / "here") == []


def test_a_count_beside_a_test_counts_what_is_stored_and_not_the_test_object(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, number = tmp_path / "here", services.backends.get("here").id
    (here / "stowage-probe-0123456789abcdef").write_bytes(b"of another console")
    (here / "stowage-probe-mine").write_bytes(b"of a person")
    killed_probe(services, monkeypatch, "read")
    ended = here / "stowage-probe-fedcba9876543210"
    ended.write_bytes(b"of a test that ends before it is looked at")
    stat = LocalDriver.stat

    def ends(driver: LocalDriver, key: str) -> object:
        ended.unlink(missing_ok=True)
        return stat(driver, key)

    monkeypatch.setattr(LocalDriver, "stat", ends)
    assert len(names(here)) == 4
    assert services.checks.count_backend(number, lambda: False)
    assert services.backends.get("here").status.objects == 2
    assert services.catalogue.totals(FileFilters(backend="here"))[0] == 2
