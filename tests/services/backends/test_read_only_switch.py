"""A backend is made read-only while nothing writes to it, and then nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import Spec
from dashboard.storage.errors import StorageError
from tests.services.backends.test_backends import local
from tests.services.console import ADMIN, OPERATOR, ServiceConsole


@pytest.fixture
def two(console: ServiceConsole, tmp_path: Path) -> ServiceConsole:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        console.services.backends.add(ADMIN, local(name, tmp_path / name))
    return console


def test_nothing_is_written_until_it_is_allowed_again(two: ServiceConsole) -> None:
    backends = two.services.backends
    before = backends.driver("one")
    before.put("a", b"1")
    changed = backends.set_read_only(ADMIN, "one", on=True)
    assert changed.options["read_only"] == "true"
    # The same caller as before, and one with a label.
    for driver in (backends.driver("one"), backends.driver("one", label="files")):
        with pytest.raises(StorageError) as refused:
            driver.put("b", b"1")
        assert refused.value.kind is Kind.DENIED
        assert driver.stat("a").size == 1
    row = two.services.audit.rows(limit=1)[0]
    assert (row.action, row.subject, row.detail["option.read_only"]) == ("backend.edit", "one", "true")
    again = backends.set_read_only(ADMIN, "one", on=True)
    assert again.version == changed.version
    backends.set_read_only(ADMIN, "one", on=False)
    backends.driver("one").put("b", b"1")


def test_the_active_backend_and_strangers_are_refused(two: ServiceConsole) -> None:
    with pytest.raises(InvalidInput, match="active backend"):
        two.services.backends.set_read_only(ADMIN, "local-disk", on=True)
    with pytest.raises(StowageError) as refused:
        two.services.backends.set_read_only(OPERATOR, "one", on=True)
    assert refused.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize(
    ("source", "destination", "spec", "refused"),
    [
        ("two", "one", Spec(), True),
        ("one", "two", Spec(delete_source=True), True),
        ("one", "two", Spec(), False),
    ],
)
def test_what_still_writes_there_is_named(
    two: ServiceConsole, source: str, destination: str, spec: Spec, refused: bool
) -> None:
    number = two.services.migrations.create(ADMIN, source, destination, spec)
    if not refused:
        assert two.services.backends.set_read_only(ADMIN, "one", on=True).options["read_only"] == "true"
        return
    with pytest.raises(StowageError, match=f"migration {number} writes to it") as error:
        two.services.backends.set_read_only(ADMIN, "one", on=True)
    assert error.value.kind is Kind.CONFLICT
    two.services.migrations.cancel(ADMIN, number)
    two.services.backends.set_read_only(ADMIN, "one", on=True)
