"""What is known about one file, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import StowageError
from dashboard.models.catalogue import files
from dashboard.storage.errors import ContainerMissing, InvalidKey, NotFound
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, VIEWER, ServiceConsole
from tests.services.files.places import add_local, add_s3


def test_a_file_on_a_disk(console: ServiceConsole, tmp_path: Path) -> None:
    root = add_local(console, tmp_path, "disk")
    (root / "a.jpg").write_bytes(b"12345")
    details = console.services.file_details.of(VIEWER, "disk", "a.jpg")
    assert (details.kind, details.info.size, details.served_by) == ("image", 5, "disk")
    assert details.info.version
    assert (details.tags, details.tier, details.versions, details.visibility) == (None,) * 4
    assert details.actions["move"] == "Your role, viewer, may not change files."
    actions = console.services.file_details.of(ADMIN, "disk", "a.jpg").actions
    assert actions["move"] == actions["delete"] == ""
    assert "tags" in actions["tags"]
    assert details.catalogue is None
    for key, error in (("b.jpg", NotFound), ("../etc", InvalidKey), ("", InvalidKey)):
        with pytest.raises(error):
            console.services.file_details.of(ADMIN, "disk", key)


def test_the_catalogues_row_is_shown(console: ServiceConsole, tmp_path: Path) -> None:
    root = add_local(console, tmp_path, "disk")
    (root / "a.jpg").write_bytes(b"12345")
    backend_id = console.services.backends.get("disk").id
    row = {"backend_id": backend_id, "key": "a.jpg", "size": 5, "width": 3, "created_at": 1, "updated_at": 1}
    with console.database.work_write() as connection:
        connection.execute(files.insert().values(**row))
    details = console.services.file_details.of(VIEWER, "disk", "a.jpg")
    assert details.catalogue is not None
    assert (details.catalogue.width, details.catalogue.size) == (3, 5)
    entry = console.services.browse.folder(VIEWER, "disk").entries[0]
    assert entry.file_id == details.catalogue.id
    assert entry.thumbnail


def test_a_read_only_backend_says_so(console: ServiceConsole, tmp_path: Path) -> None:
    root = add_local(console, tmp_path, "disk", read_only="true")
    (root / "a").write_bytes(b"1")
    actions = console.services.file_details.of(ADMIN, "disk", "a").actions
    assert set(actions.values()) == {"This backend is read-only in Stowage."}


def test_a_backend_that_is_away_is_served_by_the_next(console: ServiceConsole, tmp_path: Path) -> None:
    for name in ("home", "other"):
        (add_local(console, tmp_path, name) / "a").write_bytes(name.encode())
    console.services.backends.fallback_order(ADMIN, ["other"])
    (tmp_path / "home" / "a").unlink()
    details = console.services.file_details.of(ADMIN, "home", "a")
    assert (details.served_by, details.info.size) == ("other", 5)
    (tmp_path / "home").rename(tmp_path / "gone")
    with pytest.raises(ContainerMissing):
        console.services.file_details.of(ADMIN, "home", "a")


def test_versions_tags_and_more_in_a_bucket(console: ServiceConsole, moto_s3: MotoS3) -> None:
    add_s3(console, moto_s3, "bucket", versions=True)
    driver = console.services.backends.driver("bucket", label="test")
    driver.put("a", b"1")
    driver.put("a", b"22")
    driver.put("ab", b"333")
    details = console.services.file_details.of(ADMIN, "bucket", "a")
    assert details.versions is not None
    assert [(v.size, v.current) for v in details.versions] == [(2, True), (1, False)]
    assert (details.tags, details.tier, details.visibility) == ({}, "STANDARD", "private")
    assert details.url.endswith("/a")
    assert not any(details.actions.values())
    assert not details.notes


def test_a_bucket_without_versions_has_none(console: ServiceConsole, moto_s3: MotoS3) -> None:
    add_s3(console, moto_s3, "bucket")
    console.services.backends.driver("bucket", label="test").put("a", b"1")
    details = console.services.file_details.of(ADMIN, "bucket", "a")
    assert details.versions is None
    with pytest.raises(StowageError):
        console.services.file_details.of(ADMIN, "bucket", "missing")
