"""The same content at several backends: redundancy is not waste, and one copy is always kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from dashboard.errors import Kind, StowageError
from dashboard.jobs.timing import Timing
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.schedules.copy_values import CopyPlan
from dashboard.services.usage.several_backends import Copies, Purpose, SharedContent
from tests.services.backends.test_backends import local
from tests.services.console import ADMIN, ServiceConsole

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def places(console: ServiceConsole, tmp_path: Path) -> ServiceConsole:
    """Beside the active local disk: archive, mirror and old."""
    for name in ("archive", "mirror", "old"):
        (tmp_path / name).mkdir()
        console.services.backends.add(ADMIN, local(name, tmp_path / name))
    return console


def known(console: ServiceConsole, backend: str, key: str, sha256: str, size: int = 100) -> None:
    number = console.services.backends.get(backend).id
    console.services.catalogue.record([FileFacts(number, key, size, 1.0, "", sha256=sha256)])


def summed(console: ServiceConsole) -> tuple[SharedContent, ...]:
    assert console.services.usage.summing_up.run()
    return console.services.usage.several.contents()


def purposes(content: SharedContent) -> dict[str, Purpose]:
    return {each.backend: each.purpose for each in content.copies}


def test_what_no_backend_needs_is_spare_but_for_one_copy(places: ServiceConsole) -> None:
    for backend in ("archive", "old", "mirror"):
        known(places, backend, "film.mp4", A)
    known(places, "archive", "again.mp4", A)
    (found,) = summed(places)
    assert found.spare_bytes == 200, "one of three keeps it"
    assert Copies("archive", 2, Purpose.SPARE) in found.copies
    totals = places.services.usage.several.totals()
    assert (totals.contents, totals.spare_files) == (1, 2)
    assert (totals.spare_bytes, totals.repeated_bytes) == (200, 200)


def test_what_is_kept_on_purpose_is_no_waste(places: ServiceConsole) -> None:
    services = places.services
    active = "local-disk"
    services.backends.fallback_order(ADMIN, ("mirror",))
    for backend in (active, "mirror", "archive", "old"):
        known(places, backend, "film.mp4", A)
    (found,) = summed(places)
    assert purposes(found) == {
        active: Purpose.ACTIVE, "mirror": Purpose.FALLBACK, "archive": Purpose.SPARE, "old": Purpose.SPARE,
    }  # fmt: skip
    assert found.spare_bytes == 200
    services.schedules.copies.add(ADMIN, CopyPlan("local-disk", "archive", Timing.parse("daily 03:00")))
    (found,) = services.usage.several.contents()
    assert purposes(found)["archive"] is Purpose.SCHEDULED
    assert found.spare_bytes == 100, "as of now, not of when it was summed up"
    (found,) = summed(places)
    assert services.usage.several.totals().spare_bytes == 100


def test_only_sha256_of_what_is_stored_now_is_compared(places: ServiceConsole) -> None:
    services = places.services
    known(places, "archive", "a", A)
    known(places, "old", "other size", A, size=99)
    known(places, "archive", "b", "")
    known(places, "old", "b", "")
    known(places, "archive", "empty", B, size=0)
    known(places, "old", "empty", B, size=0)
    known(places, "archive", "c", C)
    known(places, "archive", "c2", C)
    assert summed(places) == ()
    totals = services.usage.several.totals()
    assert (totals.contents, totals.without_sha256) == (0, 2)
    assert totals.at is not None


def test_a_content_keeps_its_address_when_it_is_summed_up_again(places: ServiceConsole) -> None:
    for backend in ("archive", "old"):
        known(places, backend, "a", A)
    (before,) = summed(places)
    for backend in ("archive", "old"):
        known(places, backend, "larger", B, size=500)
    first, second = summed(places)
    assert (first.sha256, second.id) == (B, before.id)
    assert first.id != second.id


def test_a_backend_that_is_removed_takes_its_copies_along(places: ServiceConsole) -> None:
    known(places, "archive", "a", A)
    known(places, "old", "a", A)
    known(places, "mirror", "a", A)
    (found,) = summed(places)
    files = places.services.catalogue.get_many(places.services.usage.several.file_ids(found))
    assert {each.backend for each in files.values()} == {"archive", "old", "mirror"}
    places.services.backends.remove(ADMIN, "old")
    (found,) = places.services.usage.several.contents()
    assert (found.spare_bytes, len(found.copies)) == (100, 2)
    places.services.backends.remove(ADMIN, "mirror")
    assert places.services.usage.several.contents() == ()
    with pytest.raises(StowageError) as refused:
        places.services.usage.several.get(found.id)
    assert refused.value.kind is Kind.NOT_FOUND


def test_reading_the_list_is_bounded_by_an_index(places: ServiceConsole) -> None:
    for number in range(30):
        for backend in ("archive", "old"):
            known(places, backend, f"{number}", f"{number:064x}", size=100 + number)
    assert summed(places)[0].size == 129, "most spare bytes first"
    statements: list[str] = []
    event.listen(places.database.work, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len(places.services.usage.several.contents(limit=10, offset=5)) == 10
    plan = "EXPLAIN QUERY PLAN " + next(each for each in statements if "shared_contents" in each)
    with places.services.database.work_read() as connection:
        steps = str(connection.exec_driver_sql(plan, (10, 5)).all())
    assert "ix_usage_shared_contents_spare" in steps, steps
    assert "TEMP B-TREE" not in steps, steps
