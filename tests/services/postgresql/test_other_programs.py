"""A program that uses the backends of a console whose databases are on a server, and what uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.app import open_services, open_storage
from dashboard.errors import Kind, StowageError
from dashboard.migration.types import Spec
from dashboard.settings import Settings
from tests.servers.postgresql import PostgreSQL
from tests.services.composed import add_local
from tests.services.console import ADMIN


@pytest.fixture
def settings(postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    name = postgresql.create()
    monkeypatch.setenv("STOWAGE_DATABASE_URL", postgresql.url(name))
    yield Settings.from_env(instance=tmp_path / "instance")
    postgresql.drop(name)


def test_a_program_of_ones_own_uses_the_backends(settings: Settings, tmp_path: Path) -> None:
    services = open_services(settings)
    root = add_local(services, "files", tmp_path / "files")
    with open_storage(settings.instance) as storage:
        storage.backend("files").put("a", b"1")
    services.close()
    assert (root / "a").read_bytes() == b"1"


def test_a_database_that_no_console_has_used_stays_empty(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StowageError, match="No console has used this database yet") as refused:
        open_storage(settings.instance)
    assert refused.value.kind is Kind.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_a_source_is_made_read_only_unless_a_migration_deletes_there(
    settings: Settings, tmp_path: Path
) -> None:
    services = open_services(settings)
    for name in ("one", "two"):
        add_local(services, name, tmp_path / name)
    for deletes in (True, False):
        number = services.migrations.create(ADMIN, "one", "two", Spec(delete_source=deletes))
        if deletes:
            with pytest.raises(StowageError, match=f"migration {number} writes to it"):
                services.backends.set_read_only(ADMIN, "one", on=True)
            services.migrations.cancel(ADMIN, number)
        else:
            assert services.backends.set_read_only(ADMIN, "one", on=True).options["read_only"] == "true"
    services.close()
