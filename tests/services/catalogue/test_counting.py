"""Counts fill the catalogue: completely or not at all, beside others who write, in little memory."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from dashboard.errors import Kind
from dashboard.jobs.types import JobKind
from dashboard.models.catalogue import counts, files
from dashboard.models.migrations import Job
from dashboard.services.backends.values import Draft
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.catalogue.counting import BATCH, CountStopped
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.services import Services
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry
from tests.services.composed import add_local, fill
from tests.services.console import ADMIN, ServiceConsole


@pytest.fixture
def services(console: ServiceConsole, tmp_path: Path) -> Services:
    """A console with the backend “media” (2) of 1,200 files."""
    root = add_local(console.services, "media", tmp_path / "media")
    fill(root, {f"{number % 7}/{number:04d}.txt": number % 5 for number in range(1200)})
    return console.services


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "media"


def count(services: Services, stop: Callable[[], bool] = lambda: False) -> bool:
    return services.checks.count_backend(2, stop)


def keys(services: Services) -> list[str]:
    return [file.key for file in services.catalogue.search_all(FileFilters(backend="media"))]


def on_disk(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def list_as(monkeypatch: pytest.MonkeyPatch, entries: Callable[[], Iterator[Entry]]) -> None:
    monkeypatch.setattr(
        "dashboard.services.backends.checks.list_readable", lambda driver, unreadable: entries()
    )


def test_a_count_records_everything_and_again_only_what_changed(services: Services, root: Path) -> None:
    assert services.catalogue.completed_at(2) is None
    assert count(services)
    assert keys(services) == on_disk(root)
    assert services.catalogue.completed_at(2) is not None
    before = {file.key: file for file in services.catalogue.search_all(FileFilters(backend="media"))}
    (root / "0/0000.txt").unlink()
    (root / "1/0001.txt").write_text("longer than before")
    (root / "new.txt").write_text("new")
    writes: list[str] = []

    def note(_c: object, _cu: object, statement: str, *_: object) -> None:
        if "files" in statement and not statement.startswith("SELECT"):
            writes.append(statement.split()[0])

    event.listen(services.database.work, "before_cursor_execute", note)
    assert count(services)
    event.remove(services.database.work, "before_cursor_execute", note)
    assert keys(services) == on_disk(root)
    after = {file.key: file for file in services.catalogue.search_all(FileFilters(backend="media"))}
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {"1/0001.txt", "new.txt"}
    assert after["1/0001.txt"].id == before["1/0001.txt"].id
    # Three batches with something new at the most, and one deletion.
    assert len(writes) <= 4


def test_a_count_keeps_what_is_known_about_unchanged_content(services: Services, root: Path) -> None:
    services.catalogue.record([FileFacts(2, "0/0000.txt", 0, sha256="ab" * 32, owner="ada")])
    services.catalogue.record([FileFacts(2, "0/0007.txt", 999, sha256="cd" * 32, owner="ada")])
    assert count(services)
    known = services.catalogue.find_many("media", ["0/0000.txt", "0/0007.txt"])
    kept, changed = known["0/0000.txt"], known["0/0007.txt"]
    assert (kept.sha256, kept.owner) == ("ab" * 32, "ada")
    assert kept.modified == (root / "0/0000.txt").stat().st_mtime_ns / 1e9
    assert (changed.sha256, changed.owner, changed.size) == ("", "", 2)


def test_a_listing_that_breaks_off_or_is_stopped_removes_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert count(services)
    everything = keys(services)

    def breaks_off() -> Iterator[Entry]:
        yield Entry("0/0000.txt", 0)
        yield from (Entry(f"new/{number}", 1) for number in range(BATCH))
        raise StorageError(Kind.UNREACHABLE, "The line broke.")

    with monkeypatch.context() as patch:
        list_as(patch, breaks_off)
        with pytest.raises(StorageError):
            count(services)
        patch.setattr("dashboard.services.backends.checks.PROGRESS_SECONDS", 0.0)
        list_as(patch, lambda: (Entry(f"other/{number}", 1) for number in range(600)))
        assert not count(services, lambda: True)
    assert set(everything) < set(keys(services))
    assert count(services)
    assert keys(services) == everything


def test_files_in_folders_that_could_not_be_read_stay(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert count(services)
    everything = keys(services)

    def list_some(driver: object, unreadable: Callable[[str, StorageError], None]) -> Iterator[Entry]:
        unreadable("3/", StorageError(Kind.DENIED, "No."))
        for key in everything:
            if key.startswith("1/"):
                yield Entry(key, 1)

    monkeypatch.setattr("dashboard.services.backends.checks.list_readable", list_some)
    assert count(services)
    assert {key[0] for key in keys(services)} == {"1", "3"}
    monkeypatch.setattr("dashboard.services.backends.checks.MAX_FOLDERS", 0)
    monkeypatch.setattr("dashboard.services.catalogue.counting.MAX_FOLDERS", 0)
    list_as(monkeypatch, lambda: iter([]))
    monkeypatch.setattr("dashboard.services.backends.checks.list_readable", list_some)
    everything = []
    assert count(services)
    assert {key[0] for key in keys(services)} == {"1", "3"}


def test_what_others_do_during_a_count_is_newer_than_its_listing(services: Services) -> None:
    services.catalogue.record(
        [FileFacts(2, key, 1) for key in ("deleted", "moved", "replaced", "unlisted", "stays")]
    )
    moved = services.catalogue.find_many("media", ["moved"])["moved"].id
    recording = services.catalogue.count(2)
    recording.begin()
    # The listing has passed by all of them when they change.
    for key in ("deleted", "moved", "replaced", "new and deleted", "stays"):
        recording.add(Entry(key, 1, 5.0, "old"))
    services.catalogue.remove(2, ["deleted", "new and deleted"])
    services.catalogue.move(moved, FileFacts(1, "there", 1))
    services.catalogue.record([FileFacts(2, "replaced", 2, sha256="ab" * 32), FileFacts(2, "created", 3)])
    assert recording.complete() == 1
    assert keys(services) == ["created", "replaced", "stays"]
    replaced = services.catalogue.find_many("media", ["replaced"])["replaced"]
    assert (replaced.size, replaced.sha256, replaced.etag) == (2, "ab" * 32, "")
    assert services.catalogue.get(moved).backend == "local-disk"
    # The next count believes its own listing again.
    again = services.catalogue.count(2)
    again.begin()
    again.add(Entry("deleted", 1))
    assert again.complete() == 3
    assert keys(services) == ["deleted"]


def test_only_the_latest_count_of_a_backend_records_anything(services: Services) -> None:
    services.catalogue.record([FileFacts(2, "kept", 1)])
    first, second = services.catalogue.count(2), services.catalogue.count(2)
    first.begin()
    first.add(Entry("a", 1))
    second.begin()
    with pytest.raises(CountStopped):
        first.complete()
    first.abandon()
    with services.database.work_read() as connection:
        assert connection.scalar(counts.select().with_only_columns(counts.c.running))
    second.add(Entry("kept", 1))
    second.add(Entry("b", 1))
    assert second.complete() == 0
    assert keys(services) == ["b", "kept"]


def test_a_backend_that_moves_during_a_count_keeps_no_row_of_its_old_place(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, {"only.txt": 3})
    assert count(services)

    def moves() -> Iterator[Entry]:
        yield Entry("0/0000.txt", 7)
        services.backends.edit(ADMIN, Draft("media", "local", {"root": str(elsewhere)}, {}, existing="media"))

    with monkeypatch.context() as patch:
        list_as(patch, moves)
        assert count(services)
    with services.database.read() as session:
        assert session.query(Job).where(Job.kind == JobKind.FILES).count() == 1
    assert services.catalogue.sweep() == 1200
    assert services.backends.get("media").status.objects is None
    assert count(services)
    assert keys(services) == ["only.txt"]


def test_a_removed_backend_takes_its_files_out_of_the_catalogue(services: Services) -> None:
    assert count(services)
    services.backends.remove(ADMIN, "media")
    assert list(services.catalogue.search_all(FileFilters())) == []
    assert services.catalogue.sweep() == 1200
    with services.database.work_read() as connection:
        assert connection.execute(files.select()).all() == connection.execute(counts.select()).all() == []


def test_a_count_never_holds_the_write_lock_while_it_waits_for_its_listing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The listing runs in a thread of its own: it waits for a batch that is being written, but not for longer.
    other = sqlite3.connect(
        services.settings.work_database, timeout=10, isolation_level=None, check_same_thread=False
    )

    def entries() -> Iterator[Entry]:
        for number in range(3 * BATCH):
            if number % 100 == 0:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
            yield Entry(f"{number:05}", 1)

    list_as(monkeypatch, entries)
    with contextlib.closing(other):
        assert count(services)
    assert len(keys(services)) == 3 * BATCH


def test_a_count_waits_for_a_busy_database(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = services.catalogue.count(2)
    recording.begin()
    recording.add(Entry("a", 1))
    with contextlib.closing(
        sqlite3.connect(services.settings.work_database, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.rollback)
        timer.start()
        recording.complete()
        timer.join()
    assert keys(services) == ["a"]


def test_the_memory_of_a_count_does_not_grow_with_its_files(services: Services) -> None:
    entries = [Entry(f"{number:06d}", 1) for number in range(2 * BATCH)]

    def growth(rounds: int) -> int:
        recording = services.catalogue.count(2)
        recording.begin()
        tracemalloc.reset_peak()
        for number in range(rounds):
            for entry in entries:
                recording.add(entry._replace(size=number % 2))
        peak = tracemalloc.get_traced_memory()[1]
        recording.abandon()
        return peak

    tracemalloc.start()
    try:
        growth(2)
        few, many = growth(2), growth(6)
    finally:
        tracemalloc.stop()
    assert many < few * 1.3
