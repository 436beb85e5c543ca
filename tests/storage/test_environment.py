"""Backends out of the variables that other programs use."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.drivers.local import LocalDriver
from dashboard.storage.drivers.s3 import S3Driver
from dashboard.storage.environment import SELECTORS, VARIABLES, Found, described_by

AWS = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "AWS_STORAGE_BUCKET_NAME": "photos",
}
MINIO = {
    "MINIO_ENDPOINT": "minio.example.com:9000",
    "MINIO_ROOT_USER": "root",
    "MINIO_ROOT_PASSWORD": "minio-secret",
    "MINIO_BUCKET": "media",
}


def found(**environ: str) -> Found:
    return described_by(environ)


def test_a_media_folder() -> None:
    seen = found(MEDIA_ROOT="/srv/media", MEDIA_URL="/media/")
    assert (seen.described.kind, dict(seen.described.options)) == (
        "local",
        {"root": "/srv/media", "public_url": "/media/"},
    )
    assert seen.used == {"root": "MEDIA_ROOT", "address": "MEDIA_URL"}


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("kind", ["local", "FileSystem", "django.core.files.storage.FileSystemStorage"])
def test_a_selector_decides(selector: str, kind: str) -> None:
    seen = found(**{selector: kind}, MEDIA_ROOT="/srv/media", **AWS)
    assert seen.described.kind == "local"
    assert set(seen.ignored) == set(AWS)


def test_amazon() -> None:
    seen = found(**AWS, AWS_DEFAULT_REGION="eu-central-1", MEDIA_URL="https://cdn.example.com/")
    assert seen.described.kind == "aws"
    assert dict(seen.described.options) == {
        "access_key_id": "AKIA",
        "bucket": "photos",
        "region": "eu-central-1",
        "cdn_domain": "cdn.example.com",
    }
    assert seen.described.secrets["secret_access_key"].reveal() == "aws-secret"
    assert "aws-secret" not in repr(seen)


def test_another_server_with_amazons_names() -> None:
    seen = found(**AWS, STORAGE_BACKEND="s3", AWS_S3_ENDPOINT_URL="http://10.0.0.5:9000", AWS_LOCATION="m/")
    assert seen.described.kind == "s3"
    assert seen.described.options["endpoint"] == "http://10.0.0.5:9000"
    assert seen.described.options["prefix"] == "m/"
    assert found(**AWS, STORAGE_BACKEND="s3").described.kind == "aws"


def test_minio_in_its_own_words() -> None:
    seen = found(**MINIO)
    assert seen.described.kind == "minio"
    assert seen.described.options["endpoint"] == "https://minio.example.com:9000"
    assert found(**MINIO, MINIO_SECURE="False").described.options["endpoint"].startswith("http://")


def test_a_key_is_never_sent_to_the_server_of_another_family() -> None:
    environ = {**AWS, "S3_ENDPOINT": "https://evil.example.com", "S3_BUCKET": "b"}
    seen = described_by(environ | {"STORAGE_BACKEND": "aws"})
    assert "endpoint" not in seen.described.options
    assert set(seen.ignored) == {"S3_ENDPOINT", "S3_BUCKET"}
    with pytest.raises(InvalidInput) as caught:
        described_by(environ | {"STORAGE_BACKEND": "s3"})
    assert caught.value.subject == "S3_ENDPOINT"


def test_what_is_no_secret_may_come_from_another_family() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "S3_BUCKET_NAME": "b"}
    seen = described_by(environ)
    assert (seen.described.kind, seen.described.options["bucket"]) == ("aws", "b")


def test_of_two_names_the_first_in_the_table_counts() -> None:
    names = [v.name for v in VARIABLES if (v.family, v.option) == ("AWS", "region")]
    assert names == ["AWS_S3_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"]
    seen = found(**AWS, AWS_DEFAULT_REGION="us-west-2", AWS_S3_REGION_NAME="eu-west-1")
    assert seen.described.options["region"] == "eu-west-1"


@pytest.mark.parametrize(
    ("style", "wanted"), [("path", "true"), ("virtual", "false"), ("auto", None), ("true", "true")]
)
def test_address_styles(style: str, wanted: str | None) -> None:
    seen = found(**AWS, AWS_ENDPOINT_URL="https://s3.example.com", AWS_S3_ADDRESSING_STYLE=style)
    assert seen.described.options.get("path_style") == wanted


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({}, "STORAGE_BACKEND"),
        ({"STORAGE_TYPE": "floppy"}, "STORAGE_TYPE"),
        ({**AWS, **MINIO}, "STORAGE_BACKEND"),
        ({"STORAGE_BACKEND": "local"}, "MEDIA_ROOT"),
        ({"STORAGE_BACKEND": "aws"}, "AWS_SECRET_ACCESS_KEY"),
        ({**AWS, "AWS_STORAGE_BUCKET_NAME": ""}, "AWS_STORAGE_BUCKET_NAME"),
        ({**MINIO, "MINIO_ENDPOINT": ""}, "MINIO_ENDPOINT"),
        ({"MINIO_SECRET_KEY": "x", "MINIO_BUCKET": "media"}, "MINIO_ACCESS_KEY"),
    ],
)
def test_what_is_missing_is_named(environ: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        described_by(environ)
    assert caught.value.subject == field
    assert caught.value.remedy


def test_every_name_is_understood_once() -> None:
    names = [variable.name for variable in VARIABLES]
    assert len(names) == len(set(names))
    assert not set(names) & set(SELECTORS)


def test_a_storage_from_the_environment(tmp_path: Path) -> None:
    storage = Storage.from_environment({"MEDIA_ROOT": str(tmp_path), "MEDIA_URL": "https://x.example/m"})
    assert isinstance(storage.backend("media").driver, LocalDriver)
    storage.put("a b", b"x")
    assert storage.url("a b") == "https://x.example/m/a%20b"
    other = Storage.from_environment(AWS | {"AWS_REGION": "us-east-1"}, name="photos")
    assert isinstance(other.backend("photos").driver, S3Driver)
    with pytest.raises(InvalidInput) as caught:
        Storage.from_environment(AWS | {"AWS_REGION": "not a region"})
    assert caught.value.subject == "AWS_REGION"


@pytest.mark.parametrize(
    "address", ["media", "ftp://x.example/", "https://a:b@x.example/", "/m?x", "https://"]
)
def test_a_public_address_is_a_plain_one(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Storage().configure("media", "local", root=str(tmp_path), public_url=address)
    assert caught.value.subject == "public_url"
