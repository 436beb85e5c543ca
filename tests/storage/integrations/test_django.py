"""Stowage among Django's storages, through Django itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test.utils import override_settings

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.errors import Unsupported
from dashboard.storage.integrations.django import (
    S3MediaStorage,
    S3PrivateStorage,
    S3StaticStorage,
    StowageStorage,
)
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of
from tests.suites import configure

configure()
PATH = "dashboard.storage.integrations.django.StowageStorage"
shared = Storage()
"""What a project would keep in a module of its own."""


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
            "OPTIONS": {"storage": "tests.storage.integrations.test_django.shared", "backend": "media"},
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
    real = StowageStorage.is_name_available
    blind = iter([True])
    monkeypatch.setattr(
        StowageStorage,
        "is_name_available",
        lambda self, name, max_length=None: next(blind, False) if name == "a.txt" else real(self, name),
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
    for mode in ("ab", "r+b"):
        with pytest.raises(ValueError, match="objects are written whole"):
            default_storage.open(name, mode)


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
        StowageStorage(driver="local", root="")
    storage = StowageStorage(driver="local", root=str(tmp_path))
    with pytest.raises(SuspiciousFileOperation):
        storage.save("../escape", ContentFile(b"x"))


def break_off(name: str) -> None:
    with default_storage.open(name, "w") as file:
        file.write("half")
        raise ZeroDivisionError


def test_files_are_opened_for_writing_and_as_text(project: Path) -> None:
    with default_storage.open("notes/a.txt", "w") as file:
        file.write("ü" * 3_000_000)
        assert not default_storage.exists("notes/a.txt")
    with default_storage.open("notes/a.txt", "r") as file:
        assert file.read(3) == "üüü"
    with default_storage.open("notes/a.txt", "wb") as file, pytest.raises(TypeError, match="takes bytes"):
        file.write("text")
    assert (project / "notes" / "a.txt").read_bytes() == b""
    with pytest.raises(FileExistsError), default_storage.open("notes/a.txt", "xb") as file:
        file.write(b"x")
    with pytest.raises(ZeroDivisionError):
        break_off("notes/b.txt")
    forgotten = default_storage.open("notes/b.txt", "w")
    forgotten.write("half")
    del forgotten
    gc.collect()
    assert [path.name for path in project.rglob("*") if path.is_file()] == ["a.txt"]


@pytest.mark.parametrize("driver", ["local", "memory"])
def test_collectstatic_clears_what_was_there(driver: str, tmp_path: Path) -> None:
    (tmp_path / "app" / "css").mkdir(parents=True)
    (tmp_path / "app" / "css" / "site.css").write_text("a {}")
    options = {"root": tmp_path / "static"} if driver == "local" else {}
    (tmp_path / "static").mkdir()
    chosen = {"staticfiles": {"BACKEND": PATH, "OPTIONS": {"driver": driver, "overwrite": True, **options}}}
    with override_settings(STORAGES=chosen, STATICFILES_DIRS=[tmp_path / "app"], STATIC_URL="/static/"):
        static = storages["staticfiles"]
        static.save("old/deep/er.css", ContentFile(b"old"))
        call_command("collectstatic", "--clear", "--noinput", verbosity=0)
        assert static.exists("")
        assert not static.exists("old/deep/er.css")
        assert static.open("css/site.css").read() == b"a {}"


def test_three_kinds_of_files_in_the_bucket_of_the_settings(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket("django")
    with override_settings(
        AWS_ACCESS_KEY_ID=seaweedfs.admin.access_key,
        AWS_SECRET_ACCESS_KEY=seaweedfs.admin.secret_key,
        AWS_STORAGE_BUCKET_NAME=bucket,
        AWS_S3_ENDPOINT_URL=seaweedfs.endpoint,
        AWS_LOCATION="site",
        AWS_QUERYSTRING_EXPIRE=60,
    ):
        media, static, private = S3MediaStorage(), S3StaticStorage(), S3PrivateStorage()
        assert media.save("a.txt", ContentFile(b"one")) == "a.txt"
        assert media.save("a.txt", ContentFile(b"two")) != "a.txt"
        assert [static.save("a.css", ContentFile(body)) for body in (b"one", b"two")] == ["a.css", "a.css"]
        assert static.open("a.css").read() == b"two"
        private.save("a.pdf", ContentFile(b"pdf"))
        assert "X-Amz-Expires=60" in private.url("a.pdf")
        assert media.url("a.txt").endswith("/site/media/a.txt")
        assert static.backend.stat("a.css").attributes.cache_control == "public, max-age=31536000"
    listed = seaweedfs.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {"site/media/a.txt", "site/static/a.css", "site/private/a.pdf"} < {each["Key"] for each in listed}
    with override_settings(AWS_STORAGE_BUCKET_NAME="b"), pytest.raises(InvalidInput):
        S3MediaStorage()
