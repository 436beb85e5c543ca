"""The drill: a scheduled copy is made, its source is destroyed, and everything comes back."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from dashboard.jobs.timing import Timing
from dashboard.migration.types import Spec
from dashboard.models.catalogue import files
from dashboard.services.schedules.copy_values import CopyPlan
from dashboard.storage.errors import StorageError
from dashboard.storage.wrappers.fallback.hiding_waiting import REPLACED
from tests.services.composed import fill
from tests.services.console import ADMIN
from tests.services.schedules.conftest import Bench

DAY = 86_400.0
SIZES = {
    "a/one": 10,
    "a/two words.txt": 70_000,
    "b/ünï/deep/file": 3,
    "empty": 0,
    "large": 3_000_000,
    "top": 1,
}


def contents(root: Path) -> dict[str, str]:
    """Every visible file below a folder, and what it holds."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".stowage-")
    }


def kept(root: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (root / REPLACED).rglob("*") if path.is_file())


@pytest.fixture
def number(bench: Bench) -> int:
    """A daily copy of everything, made once."""
    fill(bench.work, SIZES)
    number = bench.copies.add(ADMIN, CopyPlan("work", "vault", Timing.parse("every 1 d")))
    bench.copy(number, DAY)
    return number


def assert_catalogue_is_right(bench: Bench, backend: str, root: Path) -> None:
    """It has every file of the folder and no other, and no wrong checksum."""
    mine = files.c.backend_id == bench.services.backends.get(backend).id
    with bench.services.database.work_read() as connection:
        rows = connection.execute(select(files.c.key, files.c.size, files.c.md5, files.c.sha256).where(mine))
        found = {row.key: row for row in rows}
    assert sorted(found) == sorted(contents(root))
    for name, row in found.items():
        data = (root / name).read_bytes()
        assert row.size == len(data)
        assert row.md5 in ("", hashlib.md5(data, usedforsecurity=False).hexdigest())
        assert row.sha256 in ("", hashlib.sha256(data).hexdigest())


def test_a_lost_source_comes_back_byte_by_byte(bench: Bench, number: int) -> None:
    before = contents(bench.work)
    assert contents(bench.vault) == before
    shutil.rmtree(bench.work)
    bench.work.mkdir()
    bench.copy(number, DAY)
    assert contents(bench.vault) == before, "what is lost at the source stays in the copy"
    progress = bench.restore(bench.starts.restore(ADMIN, number))
    assert contents(bench.work) == before
    assert progress.counters.copied == len(SIZES)
    assert_catalogue_is_right(bench, "work", bench.work)


def test_a_damaged_source_comes_back_as_it_was(bench: Bench, number: int) -> None:
    """Damage is copied by the next run. What it replaced is kept, and restored."""
    before, first = contents(bench.work), bench.copies.runs(number)[0].id
    for name in ("a/one", "large"):
        path = bench.work / name
        path.write_bytes(b"\0" * path.stat().st_size)
    (bench.work / "top").unlink()
    second = bench.copy(number, DAY)
    (bench.work / "a/one").write_bytes(b"ransom")
    (bench.work / "new").write_bytes(b"came later")
    bench.copy(number, DAY)
    assert contents(bench.vault) != before
    assert len(kept(bench.vault)) == 3
    # As after every migration: the catalogue knows the damaged files when the restore begins.
    bench.services.checks.count_backend(bench.services.backends.get("work").id, lambda: False)

    bench.restore(bench.starts.restore(ADMIN, number, after_run=first))
    found = contents(bench.work)
    assert found.pop("new")
    assert found == before
    assert_catalogue_is_right(bench, "work", bench.work)
    assert b"ransom" in kept(bench.work), "what a restore replaces is kept, too"

    bench.restore(bench.starts.restore(ADMIN, number, after_run=second))
    assert (bench.work / "a/one").read_bytes() == b"\0" * SIZES["a/one"], "as it was a day later"


def test_a_restore_of_a_part_to_another_backend(bench: Bench, number: int, tmp_path: Path) -> None:
    from tests.services.composed import add_local

    other = add_local(bench.services, "other", tmp_path / "other")
    bench.restore(bench.starts.restore(ADMIN, number, to="other", prefix="a/"))
    assert sorted(contents(other)) == ["a/one", "a/two words.txt"]
    assert contents(other).items() <= contents(bench.work).items()


def test_replaced_files_are_kept_as_long_as_the_schedule_says(bench: Bench, number: int) -> None:
    first = bench.copies.runs(number)[0].id
    (bench.work / "top").write_bytes(b"2")
    bench.copy(number, DAY)
    (bench.work / "top").write_bytes(b"3")
    third = bench.copy(number, DAY)
    assert len(kept(bench.vault)) == 2
    bench.now += 29 * DAY
    assert bench.cleanup.run() == 1
    assert kept(bench.vault) == [b"2"]
    runs = {run.id: run for run in bench.copies.runs(number)}
    assert not runs[first].restorable, "part of what replaced it is gone"
    assert runs[third].restorable
    with pytest.raises(Exception, match="cannot be restored as it was"):
        bench.starts.restore(ADMIN, number, after_run=first)
    bench.now += 2 * DAY
    assert bench.cleanup.run() == 1
    assert bench.cleanup.run() == 0
    assert kept(bench.vault) == []
    assert contents(bench.vault) == contents(bench.work)


def test_what_the_first_run_replaces_is_kept_for_ever(bench: Bench) -> None:
    """No run of the schedule wrote it."""
    fill(bench.work, {"same": 5, "mine": 5})
    (bench.vault / "mine").write_bytes(b"somebody else's")
    (bench.vault / "other").write_bytes(b"not of the source")
    number = bench.copies.add(ADMIN, CopyPlan("work", "vault", Timing.parse("every 1 d"), keep_days=1))
    bench.copy(number, DAY)
    bench.now += 5000 * DAY
    bench.cleanup.run()
    assert kept(bench.vault) == [b"somebody else's"]
    assert (bench.vault / "other").read_bytes() == b"not of the source"


def test_what_cannot_be_kept_is_not_replaced(
    bench: Bench, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.errors import Kind
    from dashboard.services.migrations.keeping_replaced import KeepsReplaced

    def full(self: KeepsReplaced, found: object) -> None:
        raise StorageError(Kind.DENIED, "There is no room.", operation="write", subject="x")

    monkeypatch.setattr(KeepsReplaced, "_copy", full)
    old = (bench.vault / "top").read_bytes()
    (bench.work / "top").write_bytes(b"newer content")
    bench.tick(DAY)
    run = bench.copies.runs(number)[0]
    assert run.migration is not None
    progress = bench.services.runner.run_job_until_final(run.migration, lambda progress: None)
    assert progress.counters.failed == 1
    failures = bench.services.migrations.failures(run.migration)
    assert "could not be kept, so it was not replaced: there is no room." in failures[0].reason
    assert (bench.vault / "top").read_bytes() == old


def test_a_run_reads_and_writes_nothing_that_is_reserved(bench: Bench, number: int) -> None:
    """Nor do counts, listings and restores see it."""
    for root in (bench.work, bench.vault):
        for folder in (".stowage-uploads", ".stowage-waiting", ".stowage-replaced/2026-01-01T000000Z-9"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "hidden").write_bytes(b"hidden")
    run = bench.copy(number, DAY)
    progress = next(each for each in bench.copies.runs(number) if each.id == run)
    assert (progress.copied, progress.replaced) == (0, 0)
    assert sorted(e.key for e in bench.services.backends.driver("vault").list()) == sorted(SIZES)
    backend = bench.services.backends.get("work")
    assert bench.services.checks.count_backend(backend.id, lambda: False)
    assert bench.services.backends.get("work").status.objects == len(SIZES)


def test_a_spec_with_filters_copies_and_restores_only_those(bench: Bench) -> None:
    fill(bench.work, SIZES)
    spec = Spec(prefix="a/", exclude=("**/*.txt",))
    number = bench.copies.add(ADMIN, CopyPlan("work", "vault", Timing.parse("every 1 d"), spec))
    bench.copy(number, DAY)
    assert sorted(contents(bench.vault)) == ["a/one"]
    with pytest.raises(Exception, match="copies what begins with"):
        bench.starts.restore(ADMIN, number, prefix="b/")
