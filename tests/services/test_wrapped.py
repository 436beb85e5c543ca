"""Backends with wrappers, as the services see them: refused, tested, migrated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import Spec
from dashboard.services.backends import Badge
from dashboard.services.backends_values import Draft
from dashboard.services.services import Services
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console with the backends “one” and “two”, and “closed”, which is read-only."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "one", tmp_path / "one")
        add_local(services, "two", tmp_path / "two")
        (tmp_path / "closed").mkdir()
        options = {"root": str(tmp_path / "closed"), "read_only": "true"}
        services.backends.add(ADMIN, Draft("closed", "local", options, {}))
        yield services


def test_nothing_migrates_to_a_read_only_backend(services: Services) -> None:
    with pytest.raises(InvalidInput) as caught:
        services.migrations.create(ADMIN, "one", "closed", Spec())
    assert caught.value.subject == "destination"
    assert "read-only" in caught.value.reason
    assert caught.value.remedy
    with pytest.raises(InvalidInput) as caught:
        services.migrations.create(ADMIN, "closed", "one", Spec(delete_source=True))
    assert caught.value.subject == "source"
    assert "read-only" in caught.value.reason
    assert services.migrations.create(ADMIN, "closed", "one", Spec())


def test_a_read_only_backend_does_not_become_the_active_one(services: Services, tmp_path: Path) -> None:
    with pytest.raises(StowageError) as caught:
        services.activation.activate(ADMIN, "closed")
    assert caught.value.kind is Kind.CONFLICT
    assert "read-only" in caught.value.reason
    services.activation.activate(ADMIN, "one")
    options = {"root": str(tmp_path / "one"), "read_only": "true"}
    with pytest.raises(InvalidInput) as refused:
        services.backends.edit(ADMIN, Draft("one", "local", options, {}, existing="one"))
    assert refused.value.subject == "read_only"


def test_a_read_only_backend_that_can_be_read_is_healthy(services: Services) -> None:
    steps = {step.name: step for step in services.probes.run(ADMIN, "closed")}
    assert steps["write"].state == "skipped"
    assert steps["list"].state == "passed"
    assert services.backends.get("closed").status.badge is Badge.HEALTHY
