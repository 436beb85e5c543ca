"""What a backend does with names is learnt once, kept with it, and forgotten when it points elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.migration.types import ObjectState, Outcome, Spec, State
from dashboard.services.backends.backends import Draft
from dashboard.services.backends.name_rules_store import NameRulesStore
from dashboard.services.services import Services
from dashboard.storage.driver import Driver
from dashboard.storage.inspection.name_rules import NameRules
from tests.services.composed import add_local, await_state, composed, fill, running
from tests.services.console import ADMIN

FOLDED = NameRules(ignores_case=True)


class ProbeCounter:
    """Replaces the probe: answers with the same rules for every backend and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.rules = FOLDED

    def __call__(self, driver: Driver) -> NameRules:
        self.calls += 1
        return self.rules


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> ProbeCounter:
    probes = ProbeCounter()
    monkeypatch.setattr("dashboard.services.backends.name_rules_store.probe_name_rules", probes)
    monkeypatch.setattr("dashboard.storage.probe_steps.probe_name_rules", probes)
    return probes


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console with the local backends “here” (to be filled) and “there” (empty)."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "here", tmp_path / "here")
        add_local(services, "there", tmp_path / "there")
        yield services


def known(services: Services, name: str) -> NameRules | None:
    return NameRulesStore(services.database).get(services.backends.get(name).id)


def test_a_migration_learns_once_and_tells_names_apart(
    services: Services, probes: ProbeCounter, tmp_path: Path
) -> None:
    fill(tmp_path / "here", {"A": 10, "a": 10, "b": 10})
    with running(services):
        for turn in range(2):
            number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
            assert await_state(services, number, State.FINISHED).outcome is Outcome.WITH_ERRORS
            failed = services.migrations.rows(number, state=ObjectState.FAILED)
            assert [row.key for row in failed] == ["a"], turn
    assert probes.calls == 1
    assert known(services, "there") == FOLDED
    assert known(services, "here") is None


def test_a_dry_run_uses_what_is_known_and_looks_at_nothing(
    services: Services, probes: ProbeCounter, tmp_path: Path
) -> None:
    fill(tmp_path / "here", {"A": 10, "a": 10})
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", Spec(dry_run=True))
        assert await_state(services, number, State.FINISHED).counters.failed == 0
        list(services.probes.run(ADMIN, "there"))
        number = services.migrations.create(ADMIN, "here", "there", Spec(dry_run=True))
        assert await_state(services, number, State.FINISHED).counters.failed == 1
    assert probes.calls == 1


def test_a_connection_test_learns_anew_and_an_edit_forgets(
    services: Services, probes: ProbeCounter, tmp_path: Path
) -> None:
    steps = {step.name: step for step in services.probes.run(ADMIN, "there")}
    assert "differ only in case" in steps["names"].message
    assert known(services, "there") == FOLDED
    probes.rules = NameRules(altered=("control",))
    list(services.probes.run(ADMIN, "there"))
    assert known(services, "there") == probes.rules
    (tmp_path / "elsewhere").mkdir()
    moved = Draft("there", "local", {"root": str(tmp_path / "elsewhere")}, {}, existing="there")
    services.backends.edit(ADMIN, moved)
    assert known(services, "there") is None
    services.backends.remove(ADMIN, "there")
