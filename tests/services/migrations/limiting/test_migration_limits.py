"""Limits of migrations: of their own or the console's, changed while they wait, run or are paused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import Spec, State
from dashboard.models.console import AuditEntry
from dashboard.models.migrations import Migration
from dashboard.services.migrations.limiting.migration_limits import MigrationLimits, in_force, rates_now
from dashboard.services.migrations.spec import command_line
from dashboard.settings import Settings, SettingsError
from dashboard.storage.net.rate_limits import Rates
from tests.services.console import OPERATOR, VIEWER, ServiceConsole
from tests.services.migrations.test_migrations import add_local


@pytest.fixture
def limits(console: ServiceConsole, tmp_path: Path) -> MigrationLimits:
    """The service of a console with a migration, number 1."""
    add_local(console, "one", tmp_path / "one")
    add_local(console, "two", tmp_path / "two")
    console.services.migrations.create(OPERATOR, "one", "two", Spec(bandwidth_limit=" 10MB/s "))
    return console.services.migration_limits


def spec_of(console: ServiceConsole) -> Spec:
    return console.services.migrations.progress(1).spec


def told(console: ServiceConsole) -> list[dict[str, str]]:
    query = select(AuditEntry.detail).where(AuditEntry.action == "migration.limit").order_by(AuditEntry.id)
    with console.database.read() as session:
        return list(session.scalars(query))


def test_a_limit_is_kept_in_its_normal_form(console: ServiceConsole, limits: MigrationLimits) -> None:
    assert spec_of(console).bandwidth_limit == "10M"
    assert limits.of(spec_of(console)).rates == Rates(10_000_000, None)


def test_limits_are_changed_and_that_is_recorded(console: ServiceConsole, limits: MigrationLimits) -> None:
    limits.change(OPERATOR, 1, bandwidth="18:00,10m 8:00,512k", objects="50")
    assert spec_of(console).bandwidth_limit == "08:00,512k 18:00,10M"
    assert spec_of(console).objects_per_second == "50"
    limits.change(OPERATOR, 1, objects="off")
    limits.change(OPERATOR, 1, objects="off")
    limits.change(OPERATOR, 1, bandwidth="default", objects="")
    assert (spec_of(console).bandwidth_limit, spec_of(console).objects_per_second) == ("", "")
    assert told(console) == [
        {"bandwidth": "08:00,512k 18:00,10M", "objects": "50"},
        {"bandwidth": "08:00,512k 18:00,10M", "objects": "off"},
        {"bandwidth": "default", "objects": "default"},
    ]


@pytest.mark.parametrize(
    "values", [{"bandwidth": "fast"}, {"objects": "-1"}, {"objects": "nan"}, {"objects": "0.0001"}]
)
def test_what_cannot_be_a_limit_changes_nothing(
    console: ServiceConsole, limits: MigrationLimits, values: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as raised:
        limits.change(OPERATOR, 1, **values)
    assert raised.value.subject in ("bandwidth_limit", "objects_per_second")
    assert spec_of(console).bandwidth_limit == "10M"
    assert told(console) == []


def test_viewers_change_nothing(limits: MigrationLimits) -> None:
    with pytest.raises(StowageError) as raised:
        limits.change(VIEWER, 1, objects="1")
    assert raised.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize("state", list(State))
def test_limits_change_until_the_end(console: ServiceConsole, limits: MigrationLimits, state: State) -> None:
    with console.database.write() as session:
        session.execute(update(Migration).values(state=state.value))
    if state in (State.FINISHED, State.CANCELLED):
        with pytest.raises(StowageError) as raised:
            limits.change(OPERATOR, 1, objects="5")
        assert raised.value.kind is Kind.CONFLICT
    else:
        limits.change(OPERATOR, 1, objects="5")
        assert spec_of(console).objects_per_second == "5"


def test_what_is_kept_beside_the_spec_stays(console: ServiceConsole, limits: MigrationLimits) -> None:
    with console.database.write() as session:
        row = session.get(Migration, 1)
        assert row is not None
        row.spec = {**row.spec, "replaced_in": "x/"}
    limits.change(OPERATOR, 1, objects="5")
    with console.database.read() as session:
        row = session.get(Migration, 1)
    assert row is not None
    assert row.spec["replaced_in"] == "x/"


def settings(folder: Path, **env: str) -> Settings:
    return Settings.parse({f"STOWAGE_{name}": value for name, value in env.items()}, folder)


def test_the_consoles_limits_hold_unless_a_migration_has_its_own(tmp_path: Path) -> None:
    console = settings(tmp_path, BANDWIDTH_LIMIT="5M", OBJECTS_PER_SECOND="20")
    assert rates_now(Spec(), console) == Rates(5_000_000, 20)
    assert rates_now(Spec(bandwidth_limit="off", objects_per_second="off"), console) == Rates()
    assert rates_now(Spec(bandwidth_limit="1M"), console) == Rates(1_000_000, 20)
    assert rates_now(Spec(), settings(tmp_path)) == Rates()


def test_a_timetable_goes_by_the_clocks_of_the_consoles_time_zone(tmp_path: Path) -> None:
    spec = Spec(bandwidth_limit="08:00,512k 18:00,10M")
    noon = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("UTC")).timestamp()
    berlin = in_force(spec, settings(tmp_path, TIME_ZONE="Europe/Berlin"), noon)
    tokyo = in_force(spec, settings(tmp_path, TIME_ZONE="Asia/Tokyo"), noon)
    assert (berlin.rates.bytes, tokyo.rates.bytes) == (512_000, 10_000_000)
    assert (berlin.until, berlin.then) == (noon + 5 * 3600, 10_000_000)
    assert (tokyo.until, tokyo.then) == (noon + 11 * 3600, 512_000)
    assert (berlin.any, berlin.bandwidth_is_default, berlin.objects_is_default) == (True, False, True)


@pytest.mark.parametrize(("name", "value"), [("BANDWIDTH_LIMIT", "10"), ("OBJECTS_PER_SECOND", "many")])
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"STOWAGE_{name}"):
        settings(tmp_path, **{name: value})


def test_the_command_line_says_them() -> None:
    spec = Spec(bandwidth_limit="08:00,1M 18:00,off", objects_per_second="0.5")
    line = command_line("a", "b", spec)
    assert line == "stowage migrate a b --bandwidth-limit '08:00,1M 18:00,off' --objects-per-second 0.5"
