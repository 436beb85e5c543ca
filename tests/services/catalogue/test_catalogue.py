"""The catalogue's rows: recorded, contradicted, moved, forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.models.catalogue import counts, files
from dashboard.services.catalogue.catalogue import Catalogue, File, FileFacts
from dashboard.services.catalogue.file_kinds import FileKind, kind_of
from dashboard.services.catalogue.file_rows import invalidate_rows
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.services import Services
from dashboard.storage.types import Entry
from tests.services.composed import add_local
from tests.services.console import ServiceConsole

PHOTO = FileFacts(
    1,
    "2024/photo.JPG",
    1000,
    modified=1000.25,
    etag="e1",
    sha256="AB" * 32,
    md5="cd" * 16,
    content_type="image/jpeg",
    width=4000,
    height=3000,
    taken_at=900.0,
    owner="ada",
    details={"camera": "X"},
)


@pytest.fixture
def services(console: ServiceConsole, tmp_path: Path) -> Services:
    """A console with the backends “local-disk” (1) and “second” (2)."""
    add_local(console.services, "second", tmp_path / "second")
    return console.services


@pytest.fixture
def catalogue(services: Services) -> Catalogue:
    return services.catalogue


def the(file: File | None) -> File:
    assert file is not None
    return file


def begin_count(services: Services, backend_id: int) -> None:
    with services.database.work_write() as connection:
        connection.execute(counts.insert().values(backend_id=backend_id, generation=7, running=True))


def test_a_recorded_file_is_found_by_id_and_by_place(catalogue: Catalogue) -> None:
    (number,) = catalogue.record([PHOTO])
    file = catalogue.get(number)
    assert file == catalogue.find("local-disk", "2024/photo.JPG")
    assert catalogue.find_many("local-disk", ["2024/photo.JPG", "none"]) == {file.key: file}
    assert (file.backend, file.name, file.kind) == ("local-disk", "photo.JPG", FileKind.IMAGE)
    assert (file.sha256, file.width, file.owner, file.details) == ("ab" * 32, 4000, "ada", {"camera": "X"})
    assert file.as_dict()["kind"] == "image"
    assert "backend_id" not in file.as_dict()
    assert catalogue.find_content("AB" * 32) == (file,)
    assert catalogue.find("second", file.key) is catalogue.find("gone", file.key) is None


@pytest.mark.parametrize("number", [0, -1, 99, 2**63, 10**30])
def test_an_unknown_id_is_not_found(catalogue: Catalogue, number: int) -> None:
    with pytest.raises(StowageError) as raised:
        catalogue.get(number)
    assert raised.value.kind is Kind.NOT_FOUND


def test_recording_again_keeps_the_id_and_nothing_of_the_old_content(catalogue: Catalogue) -> None:
    (number,) = catalogue.record([PHOTO])
    assert catalogue.record([FileFacts(1, PHOTO.key, 5), FileFacts(2, PHOTO.key, 6)])[0] == number
    file = catalogue.get(number)
    assert (file.size, file.sha256, file.width, file.owner, file.etag) == (5, "", None, "", "")
    assert file.details == {}


@pytest.mark.parametrize(
    "entry",
    [
        Entry(PHOTO.key, 1001, 1000.25, "e1"),
        Entry(PHOTO.key, 1000, 1000.25, "e2"),
        Entry(PHOTO.key, 1000, 1002.0, "e1"),
        Entry(PHOTO.key, 1000, 999.0, None),
        Entry(PHOTO.key, 2**70, 1000.25, "e1"),
    ],
    ids=["size", "etag", "time", "older", "absurd"],
)
def test_a_contradicting_listing_clears_what_was_known_about_the_content(
    catalogue: Catalogue, entry: Entry
) -> None:
    (number,) = catalogue.record([PHOTO])
    catalogue.observe(1, [entry])
    file = catalogue.get(number)
    assert (file.sha256, file.md5, file.content_type, file.width, file.taken_at) == ("", "", "", None, None)
    assert (file.owner, file.details, file.modified, file.etag) == ("", {}, entry.modified, entry.etag or "")
    assert file.kind is FileKind.IMAGE


@pytest.mark.parametrize(
    "entry",
    [
        Entry(PHOTO.key, 1000, 1000.25, "e1"),
        Entry(PHOTO.key, 1000, None, None),
        # In whole seconds, and in minutes, as FTP servers list them.
        Entry(PHOTO.key, 1000, 1000.0, "e1"),
        Entry(PHOTO.key, 1000, 960.0, None),
    ],
    ids=["same", "says less", "seconds", "minutes"],
)
def test_an_agreeing_listing_changes_nothing(catalogue: Catalogue, entry: Entry) -> None:
    (number,) = catalogue.record([PHOTO])
    before = catalogue.get(number)
    catalogue.observe(1, [entry])
    assert catalogue.get(number) == before


def test_a_listing_completes_what_a_receipt_did_not_say(catalogue: Catalogue) -> None:
    (number,) = catalogue.record([replace(PHOTO, modified=None, etag="")])
    catalogue.observe(1, [Entry(PHOTO.key, 1000, 50.0, "e9"), Entry("new.txt", 3)])
    file = catalogue.get(number)
    assert (file.modified, file.etag, file.sha256) == (50.0, "e9", "ab" * 32)
    assert the(catalogue.find("local-disk", "new.txt")).kind is FileKind.TEXT


def test_what_is_found_out_later_is_added_only_to_the_same_object(catalogue: Catalogue) -> None:
    (number,) = catalogue.record([FileFacts(1, "a.bin", 10, 1.0)])
    file = catalogue.get(number)
    assert catalogue.describe(file, FileFacts(1, "a.bin", 10, content_type="video/mp4", duration=3.5))
    assert (catalogue.get(number).kind, catalogue.get(number).duration) == (FileKind.VIDEO, 3.5)
    catalogue.observe(1, [Entry("a.bin", 10, 99.0)])
    assert not catalogue.describe(file, FileFacts(1, "a.bin", 10, sha256="0" * 64))
    assert catalogue.get(number).sha256 == ""


def test_a_moved_file_keeps_its_id_and_all_that_is_known(catalogue: Catalogue) -> None:
    number, replaced = catalogue.record([PHOTO, FileFacts(2, "there.jpg", 1)])
    assert catalogue.move(number, FileFacts(2, "there.jpg", 1000, 7.0, "e7"))
    file = catalogue.get(number)
    assert (file.backend, file.key, file.etag, file.modified) == ("second", "there.jpg", "e7", 7.0)
    assert (file.sha256, file.owner, file.details) == ("ab" * 32, "ada", {"camera": "X"})
    assert catalogue.get_many([number, replaced]).keys() == {number}
    assert catalogue.find("local-disk", PHOTO.key) is None
    assert catalogue.move(number, FileFacts(2, "there.jpg", 1000, 8.0, "e7"))
    assert not catalogue.move(replaced, FileFacts(1, "x", 1))


def test_a_copied_file_has_a_row_of_its_own(catalogue: Catalogue) -> None:
    (number,) = catalogue.record([PHOTO])
    assert catalogue.copy(number, FileFacts(2, "there.jpg", 1000, etag="e7"))
    copied = the(catalogue.find("second", "there.jpg"))
    assert copied.id != number
    assert (copied.sha256, copied.owner, copied.details) == ("ab" * 32, "ada", {"camera": "X"})
    assert not catalogue.copy(99, FileFacts(2, "x", 1))


def test_a_change_is_undone_with_its_transaction(services: Services) -> None:
    def fail() -> None:
        with services.database.work_write() as connection:
            services.catalogue.record([PHOTO], connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert services.catalogue.find("local-disk", PHOTO.key) is None


def test_keys_that_are_no_unicode_are_kept_apart(catalogue: Catalogue) -> None:
    odd = "bad-\udcff.txt"
    numbers = catalogue.record([FileFacts(1, odd, 1), FileFacts(1, "bad-ÿ.txt", 2)])
    assert [catalogue.get(number).key for number in numbers] == [odd, "bad-ÿ.txt"]
    assert catalogue.remove(1, [odd]) == 1
    assert catalogue.remove(1, [odd]) == 0


def test_rows_written_during_a_count_carry_its_number_and_removals_are_remembered(
    services: Services,
) -> None:
    begin_count(services, 1)
    moved, written = services.catalogue.record([PHOTO, FileFacts(1, "a", 1)])
    services.catalogue.remove(1, ["never known"])
    services.catalogue.move(moved, FileFacts(2, "there", 1000))
    with services.database.work_read() as connection:
        rows = dict(connection.execute(files.select().with_only_columns(files.c.id, files.c.seen)).all())
        kept = connection.exec_driver_sql("SELECT backend_id, key FROM file_removals ORDER BY key").all()
    assert rows == {moved: 0, written: 7}
    assert kept == [(1, PHOTO.key), (1, "never known")]


def test_rows_of_a_backend_that_is_elsewhere_now_are_swept_but_not_later_ones(services: Services) -> None:
    begin_count(services, 1)
    catalogue = services.catalogue
    catalogue.record([FileFacts(1, f"{number}", 1) for number in range(4500)])
    with services.database.work_write() as connection:
        invalidate_rows(connection, 1)
        invalidate_rows(connection, 2)
    catalogue.record([FileFacts(1, "later", 1), FileFacts(2, "later", 1), FileFacts(77, "orphan", 1)])
    assert catalogue.sweep(lambda: True) == 0
    assert catalogue.sweep() == 4501
    assert [file.backend for file in catalogue.search_all(FileFilters())] == ["local-disk", "second"]
    assert catalogue.completed_at(1) is None
    assert catalogue.sweep() == 0


def test_a_removed_backend_has_no_name(services: Services) -> None:
    (number,) = services.catalogue.record([FileFacts(77, "a", 1)])
    assert services.catalogue.get(number).backend == ""


@pytest.mark.parametrize(
    ("key", "content_type", "kind"),
    [
        ("a/b.PNG", "", FileKind.IMAGE),
        ("a.png/b", "", FileKind.OTHER),
        ("png", "", FileKind.OTHER),
        ("a.bin", "video/mp4; codecs=x", FileKind.VIDEO),
        ("a.png", "application/octet-stream", FileKind.IMAGE),
        ("a", "application/pdf", FileKind.DOCUMENT),
        ("a", "application/vnd.ms-excel", FileKind.DOCUMENT),
        ("a.tar.gz", "", FileKind.ARCHIVE),
        ("", "", FileKind.OTHER),
    ],
)
def test_kinds(key: str, content_type: str, kind: FileKind) -> None:
    assert kind_of(key, content_type) is kind
