"""The environment variables that other programs use, and the option that each one sets.

One table; docs/library.md shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SELECTORS = ("STORAGE_BACKEND", "STORAGE_TYPE", "MEDIA_STORAGE_BACKEND")
"""Variables that select the kind of backend; the first that is set decides."""


@dataclass(frozen=True, slots=True)
class BackendKind:
    """A kind of backend, as other programs distinguish them.

    ``words``: what a selector may contain for it besides its name; case does not matter. ``family``: the
    variables that describe it without a selector. ``families``: where its key is looked for, best first.
    ``required``: what else must be set. It becomes a backend of ``preset``, or of ``elsewhere`` if an
    endpoint is set. ``address``: the option that the media URL sets, if any.
    """

    name: str
    preset: str
    family: str = ""
    families: tuple[str, ...] = ("S3_COMPATIBLE", "S3", "AWS")
    words: tuple[str, ...] = ()
    required: tuple[str, ...] = ("access_key_id", "bucket")
    elsewhere: str = ""
    any_server: bool = False
    """Whether it may be the server of another family, so that an endpoint without its key is a mistake."""
    keyless: str = ""
    """The family whose bucket, without any key, is accessed with this machine's credentials."""
    signs_in: bool = True
    address: str = "cdn_domain"


_S3_AT_ENDPOINT = ("access_key_id", "bucket", "endpoint")
KINDS: tuple[BackendKind, ...] = (
    BackendKind(
        "local",
        "local",
        "MEDIA",
        ("MEDIA",),
        ("file", "filesystem", "disk", "django.core.files.storage.filesystemstorage"),
        ("root",),
        signs_in=False,
        address="public_url",
    ),
    BackendKind("aws", "aws", "AWS", ("AWS", "S3"), ("aws_s3", "amazon"), elsewhere="s3", keyless="AWS"),
    BackendKind(
        "s3",
        "aws",
        "S3",
        ("AWS", "S3", "S3_COMPATIBLE", "MINIO"),
        ("storages.backends.s3.s3storage", "storages.backends.s3boto3.s3boto3storage"),
        elsewhere="s3",
        any_server=True,
        keyless="AWS",
    ),
    BackendKind(
        "s3_compatible",
        "s3",
        "S3_COMPATIBLE",
        ("S3_COMPATIBLE", "S3", "MINIO", "AWS"),
        ("s3-compatible",),
        _S3_AT_ENDPOINT,
        any_server=True,
    ),
    BackendKind("minio", "minio", "MINIO", ("MINIO", "S3_COMPATIBLE", "S3", "AWS"), required=_S3_AT_ENDPOINT),
    BackendKind(
        "azure",
        "azure",
        "AZURE",
        ("AZURE",),
        ("azure_blob", "storages.backends.azure_storage.azurestorage"),
        ("account", "container"),
    ),
    BackendKind(
        "gcs",
        "gcs",
        "GCS",
        ("GCS",),
        ("gs", "google", "google_cloud", "storages.backends.gcloud.googlecloudstorage"),
        ("bucket",),
    ),
    BackendKind(
        "sftp",
        "sftp",
        "SFTP",
        ("SFTP",),
        ("storages.backends.sftpstorage.sftpstorage",),
        ("host", "user"),
        address="",
    ),
)
"""Other presets may be selected by their names; their keys are looked for in the S3 families."""

SECRETS = (
    "secret_access_key",
    "credential",
    "credential_file",
    "password",
    "private_key",
    "private_key_file",
)
"""The options of which one must be set, best first. Those ending in ``_file`` are paths of files with the
secret."""

SAME_FAMILY = (*SECRETS, "access_key_id", "session_token", "passphrase", "endpoint", "path_style", "secure")
"""Options that must come from one family; the others may come from different ones."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A known variable: its family, and the option that it sets."""

    name: str
    family: str
    option: str


def _family(family: str, **options: str) -> tuple[Variable, ...]:
    return tuple(
        Variable(name, family, option) for option, names in options.items() for name in names.split()
    )


VARIABLES: tuple[Variable, ...] = (
    *_family(
        "MINIO",
        endpoint="MINIO_ENDPOINT MINIO_ENDPOINT_URL MINIO_URL",
        access_key_id="MINIO_ACCESS_KEY MINIO_ACCESS_KEY_ID MINIO_ROOT_USER",
        secret_access_key="MINIO_SECRET_KEY MINIO_SECRET_ACCESS_KEY MINIO_ROOT_PASSWORD",
        bucket="MINIO_BUCKET MINIO_BUCKET_NAME",
        region="MINIO_REGION",
        secure="MINIO_SECURE MINIO_USE_SSL MINIO_USE_HTTPS",
    ),
    *_family(
        "S3_COMPATIBLE",
        endpoint="S3_COMPATIBLE_ENDPOINT S3_COMPATIBLE_ENDPOINT_URL",
        access_key_id="S3_COMPATIBLE_ACCESS_KEY S3_COMPATIBLE_ACCESS_KEY_ID",
        secret_access_key="S3_COMPATIBLE_SECRET_KEY S3_COMPATIBLE_SECRET_ACCESS_KEY",
        bucket="S3_COMPATIBLE_BUCKET S3_COMPATIBLE_BUCKET_NAME",
        region="S3_COMPATIBLE_REGION",
        prefix="S3_COMPATIBLE_PREFIX",
        path_style="S3_COMPATIBLE_ADDRESSING_STYLE S3_COMPATIBLE_PATH_STYLE",
        secure="S3_COMPATIBLE_USE_SSL S3_COMPATIBLE_SECURE S3_COMPATIBLE_USE_HTTPS",
    ),
    *_family(
        "S3",
        endpoint="S3_ENDPOINT S3_ENDPOINT_URL",
        access_key_id="S3_ACCESS_KEY S3_ACCESS_KEY_ID",
        secret_access_key="S3_SECRET_KEY S3_SECRET_ACCESS_KEY",
        session_token="S3_SESSION_TOKEN",
        bucket="S3_BUCKET S3_BUCKET_NAME",
        region="S3_REGION S3_REGION_NAME",
        prefix="S3_PREFIX",
        path_style="S3_ADDRESSING_STYLE S3_PATH_STYLE S3_FORCE_PATH_STYLE",
        secure="S3_USE_SSL S3_SECURE S3_USE_HTTPS",
        cdn_domain="S3_CUSTOM_DOMAIN",
    ),
    *_family(
        "AWS",
        endpoint="AWS_S3_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL AWS_ENDPOINT",
        access_key_id="AWS_S3_ACCESS_KEY_ID AWS_ACCESS_KEY_ID",
        secret_access_key="AWS_S3_SECRET_ACCESS_KEY AWS_SECRET_ACCESS_KEY",
        session_token="AWS_SESSION_TOKEN",
        bucket="AWS_STORAGE_BUCKET_NAME AWS_S3_BUCKET AWS_S3_BUCKET_NAME AWS_BUCKET AWS_BUCKET_NAME",
        region="AWS_S3_REGION_NAME AWS_REGION AWS_DEFAULT_REGION",
        profile="AWS_S3_SESSION_PROFILE AWS_PROFILE",
        prefix="AWS_LOCATION",
        path_style="AWS_USE_PATH_STYLE_ENDPOINT AWS_S3_ADDRESSING_STYLE",
        secure="AWS_S3_USE_SSL AWS_USE_SSL",
        cdn_domain="AWS_S3_CUSTOM_DOMAIN",
    ),
    *_family(
        "AZURE",
        account="AZURE_ACCOUNT_NAME AZURE_STORAGE_ACCOUNT AZURE_STORAGE_ACCOUNT_NAME",
        credential="AZURE_ACCOUNT_KEY AZURE_STORAGE_KEY AZURE_STORAGE_ACCOUNT_KEY AZURE_CONNECTION_STRING "
        "AZURE_STORAGE_CONNECTION_STRING AZURE_SAS_TOKEN AZURE_STORAGE_SAS_TOKEN",
        container="AZURE_CONTAINER AZURE_CONTAINER_NAME AZURE_STORAGE_CONTAINER AZURE_STORAGE_CONTAINER_NAME",
        prefix="AZURE_LOCATION",
        endpoint="AZURE_ENDPOINT AZURE_STORAGE_ENDPOINT",
        cdn_domain="AZURE_CUSTOM_DOMAIN",
    ),
    *_family(
        "GCS",
        bucket="GS_BUCKET_NAME GCS_BUCKET_NAME GCS_BUCKET GOOGLE_CLOUD_BUCKET",
        credential="GCS_CREDENTIALS_JSON GOOGLE_APPLICATION_CREDENTIALS_JSON",
        credential_file="GCS_KEY_FILE GCS_CREDENTIALS_PATH GOOGLE_APPLICATION_CREDENTIALS",
        project="GS_PROJECT_ID GCS_PROJECT_ID GOOGLE_CLOUD_PROJECT",
        prefix="GS_LOCATION",
        cdn_domain="GS_CUSTOM_DOMAIN",
    ),
    *_family(
        "SFTP",
        host="SFTP_HOST SFTP_STORAGE_HOST",
        port="SFTP_PORT",
        user="SFTP_USER SFTP_USERNAME",
        password="SFTP_PASSWORD",
        private_key="SFTP_PRIVATE_KEY",
        private_key_file="SFTP_PRIVATE_KEY_FILE SFTP_KEY_FILE SFTP_PRIVATE_KEY_PATH",
        passphrase="SFTP_PASSPHRASE SFTP_PRIVATE_KEY_PASSPHRASE",
        host_key="SFTP_HOST_KEY SFTP_HOST_FINGERPRINT",
        root="SFTP_ROOT SFTP_PATH SFTP_STORAGE_ROOT",
    ),
    *_family("MEDIA", root="MEDIA_ROOT", address="MEDIA_URL"),
)
"""Every known variable. Within a family and option the first that is set counts."""


def table() -> Iterator[tuple[str, str, str]]:
    """Yield rows for people: family, option, names in order of precedence."""
    for family in dict.fromkeys(variable.family for variable in VARIABLES):
        options = dict.fromkeys(v.option for v in VARIABLES if v.family == family)
        for option in options:
            names = [v.name for v in VARIABLES if (v.family, v.option) == (family, option)]
            yield family, option, ", ".join(f"`{name}`" for name in names)
