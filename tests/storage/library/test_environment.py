"""Backends out of the variables that other programs use."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.library.environment import EnvironmentBackend, parse_environment
from dashboard.storage.library.environment_variables import SELECTORS, VARIABLES

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


COMPATIBLE = {
    "S3_COMPATIBLE_ENDPOINT": "s3.example.com",
    "S3_COMPATIBLE_ACCESS_KEY": "CK",
    "S3_COMPATIBLE_SECRET_KEY": "compatible-secret",
    "S3_COMPATIBLE_BUCKET": "other",
}


def found(**environ: str) -> EnvironmentBackend:
    return parse_environment(environ)


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


@pytest.mark.parametrize("selected", [{}, {"STORAGE_BACKEND": "s3"}, {"STORAGE_BACKEND": "aws"}])
def test_a_bucket_at_amazon_without_a_key_is_the_machines(selected: dict[str, str]) -> None:
    bucket = {"AWS_STORAGE_BUCKET_NAME": "photos", "AWS_REGION": "eu-central-1"}
    seen = found(**selected, **bucket, AWS_PROFILE="media", AWS_SESSION_TOKEN="half")
    assert seen.described.kind == "aws"
    assert seen.described.options == {
        "bucket": "photos",
        "region": "eu-central-1",
        "profile": "media",
        "sign_in": "machine",
    }
    assert not seen.described.secrets
    assert seen.ignored == ("AWS_SESSION_TOKEN",)
    driver = Storage.from_environment({**selected, **bucket}).backend("media").driver
    assert isinstance(driver, S3Driver)
    # With a key the profile is another program's.
    assert "AWS_PROFILE" in found(**AWS, AWS_PROFILE="media").ignored


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_ACCESS_KEY_ID": "AKIA"},
        {"AWS_S3_ENDPOINT_URL": "https://s3.example.com"},
        {"S3_ACCESS_KEY": "K"},
    ],
)
def test_half_a_key_and_another_server_are_not_the_machines(more: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        found(AWS_STORAGE_BUCKET_NAME="photos", STORAGE_BACKEND="s3", **more)


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
    seen = parse_environment(environ | {"STORAGE_BACKEND": "aws"})
    assert "endpoint" not in seen.described.options
    assert set(seen.ignored) == {"S3_ENDPOINT", "S3_BUCKET"}
    with pytest.raises(InvalidInput) as caught:
        parse_environment(environ | {"STORAGE_BACKEND": "s3"})
    assert caught.value.subject == "S3_ENDPOINT"


def test_what_is_no_secret_may_come_from_another_family() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "S3_BUCKET_NAME": "b"}
    seen = parse_environment(environ)
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
        parse_environment(environ)
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


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize(
    ("kind", "preset", "key"),
    [("s3", "aws", "AKIA"), ("s3_compatible", "s3", "CK"), ("minio", "minio", "root")],
)
def test_a_file_with_every_block_is_read_by_its_selector(
    selector: str, kind: str, preset: str, key: str
) -> None:
    seen = found(**{selector: kind}, **AWS, **COMPATIBLE, **MINIO)
    assert (seen.described.kind, seen.described.options["access_key_id"]) == (preset, key)
    assert ("endpoint" in seen.described.options) == (kind != "s3")


def test_a_block_for_minio_beside_amazons_is_left_alone() -> None:
    seen = found(MEDIA_STORAGE_BACKEND="s3", **AWS, **MINIO)
    assert seen.described.kind == "aws"
    assert set(seen.ignored) == set(MINIO)
    assert found(MEDIA_STORAGE_BACKEND="s3", **MINIO).described.options["endpoint"].endswith(":9000")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (COMPATIBLE, "S3_COMPATIBLE_USE_SSL"),
        ({**AWS, "AWS_S3_ENDPOINT_URL": "s3.example.com"}, "AWS_S3_USE_SSL"),
        (
            {
                "S3_ENDPOINT": "s3.example.com",
                "S3_ACCESS_KEY": "K",
                "S3_SECRET_KEY": "s",
                "S3_BUCKET": "bucket",
            },
            "S3_USE_SSL",
        ),
        (MINIO, "MINIO_USE_SSL"),
    ],
)
def test_use_ssl_is_heeded_or_named(environ: dict[str, str], name: str) -> None:
    plain = parse_environment({**environ, name: "false"})
    assert plain.described.options["endpoint"].startswith("http://")
    assert plain.used["secure"] == name
    assert parse_environment({**environ, name: "True"}).described.options["endpoint"].startswith("https://")
    endpoint = next(each for each in environ if "ENDPOINT" in each)
    whole = parse_environment({**environ, endpoint: "https://s3.example.com", name: "false"})
    assert whole.described.options["endpoint"] == "https://s3.example.com"
    assert name in whole.ignored


@pytest.mark.parametrize("name", ["S3_COMPATIBLE_ADDRESSING_STYLE", "S3_COMPATIBLE_PATH_STYLE"])
def test_the_addressing_style_of_other_servers(name: str) -> None:
    assert found(**COMPATIBLE, **{name: "path"}).described.options["path_style"] == "true"
    assert found(**COMPATIBLE, **{name: "virtual"}).described.options["path_style"] == "false"


def test_azure() -> None:
    account = {"AZURE_ACCOUNT_NAME": "myaccount", "AZURE_ACCOUNT_KEY": "a2V5", "AZURE_CONTAINER": "files"}
    seen = parse_environment(account)
    assert seen.described.kind == "azure"
    assert dict(seen.described.options) == {"account": "myaccount", "container": "files"}
    assert seen.described.secrets["credential"].reveal() == "a2V5"
    text = (
        "DefaultEndpointsProtocol=https;AccountName=other;AccountKey=a2V5==;EndpointSuffix=core.windows.net"
    )
    by_string = found(AZURE_STORAGE_CONNECTION_STRING=text, AZURE_CONTAINER="files")
    assert by_string.described.options["account"] == "other"
    assert by_string.described.secrets["credential"].reveal() == text
    with pytest.raises(InvalidInput, match="AZURE_ACCOUNT_NAME"):
        found(AZURE_ACCOUNT_KEY="a2V5", AZURE_CONTAINER="files")


def test_google(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"type": "service_account"}\n')
    key = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}
    seen = parse_environment({**key, "GS_BUCKET_NAME": "bucket"})
    assert (seen.described.kind, seen.described.options["bucket"]) == ("gcs", "bucket")
    assert seen.described.secrets["credential"].reveal() == '{"type": "service_account"}'
    assert seen.used["credential"] == "GOOGLE_APPLICATION_CREDENTIALS"
    # A key of Google's is on many machines that keep their files elsewhere.
    assert parse_environment({**key, **AWS}).described.kind == "aws"
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        found(GS_BUCKET_NAME="bucket", GCS_KEY_FILE=str(tmp_path / "nowhere.json"))
    assert caught.value.subject == "GCS_KEY_FILE"


def test_sftp(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n"
    )
    there = {"SFTP_HOST": "files.example.com", "SFTP_USER": "media", "SFTP_PATH": "/srv/media"}
    seen = parse_environment({**there, "SFTP_PASSWORD": "pw", "SFTP_PORT": "2022"})
    assert seen.described.kind == "sftp"
    assert dict(seen.described.options) == {
        "host": "files.example.com",
        "port": "2022",
        "user": "media",
        "root": "/srv/media",
    }
    by_key = parse_environment(
        {**there, "SFTP_KEY_FILE": str(tmp_path / "id"), "MEDIA_URL": "https://x.example/"}
    )
    assert by_key.described.secrets["private_key"].reveal().startswith("-----BEGIN")
    assert by_key.ignored == ("MEDIA_URL",)
    assert found(STORAGE_BACKEND="sftp", **there, SFTP_PASSWORD="pw", **AWS).described.kind == "sftp"
