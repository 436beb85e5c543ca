"""Stowage among Django's storages, through Django itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.utils import override_settings

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.django_files import StowageStorage
from dashboard.storage.errors import Unsupported
from tests.storage.objects import content_of

PATH = "dashboard.storage.django_files.StowageStorage"
shared = Storage()
"""What a project would keep in a module of its own."""


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "media").mkdir()
    shared.configure("media", "local", root=str(tmp_path / "media"))
    chosen = {
        "default": {
            "BACKEND": PATH,
            "OPTIONS": {
                "driver": "local",
                "root": str(tmp_path / "media"),
                "public_url": "https://example.com/media/",
            },
        },
        "staticfiles": {
            "BACKEND": PATH,
            "OPTIONS": {"driver": "memory", "overwrite": True, "cache_control": "max-age=60"},
        },
        "shared": {
            "BACKEND": PATH,
            "OPTIONS": {"storage": "tests.storage.test_django.shared", "backend": "media"},
        },
    }
    with override_settings(STORAGES=chosen):
        yield tmp_path / "media"


def test_django_saves_opens_and_deletes(project: Path) -> None:
    name = default_storage.save("photos/rome.jpg", ContentFile(b"jpeg"))
    assert name == "photos/rome.jpg"
    assert (project / name).read_bytes() == b"jpeg"
    assert default_storage.exists(name)
    assert default_storage.size(name) == 4
    assert default_storage.url(name) == "https://example.com/media/photos/rome.jpg"
    assert abs((default_storage.get_modified_time(name) - datetime.now(UTC)).total_seconds()) < 60
    with default_storage.open(name) as file:
        assert file.read() == b"jpeg"
    default_storage.delete(name)
    default_storage.delete(name)
    assert not default_storage.exists(name)
    for call in (default_storage.open, default_storage.size, default_storage.get_modified_time):
        with pytest.raises(FileNotFoundError):
            call(name)


def test_a_taken_name_is_given_another(project: Path) -> None:
    first = default_storage.save("a.txt", ContentFile("text, not bytes: ü"))
    second = default_storage.save("a.txt", ContentFile(b"other"))
    assert first == "a.txt"
    assert second.startswith("a_")
    assert second.endswith(".txt")
    assert (project / first).read_text(encoding="utf-8") == "text, not bytes: ü"


def test_a_name_taken_at_the_last_moment_is_not_overwritten(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "a.txt").write_bytes(b"theirs")
    real = StowageStorage.exists
    blind = iter([False])
    monkeypatch.setattr(
        StowageStorage,
        "exists",
        lambda self, name: next(blind, True) if name == "a.txt" else real(self, name),
    )
    name = default_storage.save("a.txt", ContentFile(b"mine"))
    assert name != "a.txt"
    assert (project / "a.txt").read_bytes() == b"theirs"
    assert (project / name).read_bytes() == b"mine"


def test_files_can_be_read_from_anywhere(project: Path) -> None:
    data = content_of(3_000_000)
    name = default_storage.save("big.bin", SimpleUploadedFile("big.bin", data))
    with default_storage.open(name) as file:
        file.seek(2_000_000)
        assert file.read(10) == data[2_000_000:2_000_010]
        file.seek(-3, 2)
        assert file.read() == data[-3:]
        file.seek(0)
        assert b"".join(file.chunks()) == data
        assert file.size == len(data)
    with pytest.raises(ValueError, match="save"):
        default_storage.open(name, "wb")


def test_static_files_are_replaced(project: Path) -> None:
    static = storages["staticfiles"]
    for text in (b"a {}", b"b {}"):
        assert static.save("css/site.css", ContentFile(text)) == "css/site.css"
    with static.open("css/site.css") as file:
        assert file.read() == b"b {}"
    held = static.backend.metadata("css/site.css").attributes
    assert (held.content_type, held.cache_control) == ("text/css", "max-age=60")
    with pytest.raises(Unsupported):
        static.url("css/site.css")


def test_directories_are_listed(project: Path) -> None:
    for name in ("top.txt", "a/one.txt", "a/b/two.txt"):
        default_storage.save(name, ContentFile(b"x"))
    assert default_storage.listdir("") == (["a"], ["top.txt"])
    assert default_storage.listdir("a/") == (["b"], ["one.txt"])


def test_a_project_shares_one_storage_and_fakes_it_in_its_tests(project: Path) -> None:
    with shared.fake("media") as fake:
        storages["shared"].save("a.txt", ContentFile(b"x"))
        fake.assert_exists("a.txt", content=b"x")
    assert not (project / "a.txt").exists()
    storages["shared"].save("a.txt", ContentFile(b"x"))
    assert (project / "a.txt").exists()


def test_signed_addresses() -> None:
    private = StowageStorage(
        driver="s3",
        endpoint="https://s3.example.com",
        bucket="my-bucket",
        access_key_id="AK",
        secret_access_key="very-secret-value",
        signed_seconds=120,
    )
    assert "X-Amz-Expires=120" in private.url("a.pdf")
    assert "very-secret-value" not in repr(vars(private))


def test_a_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "storage.toml").write_text('[backends.media]\ndriver = "memory"\n')
    storage = StowageStorage(config=str(tmp_path / "storage.toml"))
    assert storage.save("a", ContentFile(b"x")) == "a"
    assert storage.exists("a")


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    for wrong in ({}, {"driver": "memory", "config": "x"}, {"config": "x", "bucket": "b"}):
        with pytest.raises(ValueError, match="driver"):
            StowageStorage(**wrong)
    with pytest.raises(InvalidInput):
        StowageStorage(driver="local", root="relative")
    storage = StowageStorage(driver="local", root=str(tmp_path))
    with pytest.raises(SuspiciousFileOperation):
        storage.save("../escape", ContentFile(b"x"))
