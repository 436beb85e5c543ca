"""The options of the Google Cloud Storage driver, checked without loading a vendor SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import TLS_OPTIONS, certificates, folder, folder_option, server_url
from dashboard.storage.options import Option, OptionType, Preset, SecretForm
from dashboard.storage.types import Secret

GOOGLE = "https://storage.googleapis.com"

GCS_OPTIONS = (
    Option("bucket", "Bucket", required=True, placeholder="my-bucket", place=True),
    Option(
        "credential",
        "Service account key",
        OptionType.SECRET,
        form=SecretForm.TEXT,
        required_with=("sign_in", "key"),
        unused_with=("sign_in", "ambient"),
        shown_with=("sign_in", ("key",)),
        placeholder='{ "type": "service_account", … }',
        hint="The whole JSON file that you downloaded from the Google Cloud console.",
    ),
    folder_option("bucket"),
    Option(
        "sign_in",
        "Sign in with",
        OptionType.CHOICE,
        advanced=True,
        default="key",
        choices=(("key", "The service account key"), ("ambient", "The identity of this machine")),
        guards_secret=True,
        hint="The identity of this machine is that of the VM, pod or service in which Stowage runs, or the "
        "file that GOOGLE_APPLICATION_CREDENTIALS names. It cannot sign links.",
    ),
    Option(
        "storage_class",
        "Storage class",
        OptionType.CHOICE,
        advanced=True,
        default="default",
        choices=(
            ("default", "The bucket's default"),
            ("STANDARD", "Standard"),
            ("NEARLINE", "Nearline"),
            ("COLDLINE", "Coldline"),
            ("ARCHIVE", "Archive"),
        ),
        hint="For every object that Stowage writes. The cold ones cost more to read and to delete early.",
    ),
    Option(
        "location",
        "Location of a new bucket",
        advanced=True,
        placeholder="europe-west3",
        hint="Only used to create a bucket from here. Blank for Google's default, the US.",
    ),
    Option(
        "project",
        "Project of a new bucket",
        advanced=True,
        placeholder="my-project-123456",
        hint="Only used to create a bucket from here. Blank for the service account's own project.",
    ),
    Option(
        "endpoint",
        "Endpoint",
        OptionType.URL,
        advanced=True,
        guards_secret=True,
        placeholder="https://storage-example.p.googleapis.com",
        hint="Blank for public Google Cloud. For Private Service Connect, regional endpoints and emulators.",
    ),
    *TLS_OPTIONS,
)

_BUCKET = re.compile(r"[a-z0-9]([a-z0-9_.-]{1,220}[a-z0-9])\Z")
_PROJECT = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]\Z|\d{6,20}\Z")
_LOCATION = re.compile(r"[A-Za-z0-9-]{2,40}\Z")
_EMAIL = re.compile(r"[A-Za-z0-9._-]{1,128}@[A-Za-z0-9.-]{1,253}\Z")
_TOKEN_URIS = frozenset(
    {
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/token",
        "https://www.googleapis.com/oauth2/v4/token",
    }
)
_REMEDY = "Paste the whole JSON file of a key made under IAM & Admin, Service accounts, Keys."


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The contents of a key file. ``token_uri`` has been checked."""

    email: str
    private_key: Secret
    key_id: str
    project: str
    token_uri: str


def check_gcs(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Check and normalize the options. Raises ``InvalidInput`` that names the option.
    https://cloud.google.com/storage/docs/buckets#naming"""
    checked = dict(values)
    bucket = values["bucket"]
    if not _BUCKET.match(bucket) or any(len(part) > 63 for part in bucket.split(".")) or ".." in bucket:
        raise InvalidInput(
            "bucket",
            f"“{bucket}” is not a bucket name: use 3 to 63 lowercase letters, digits, “-”, “_” and “.”, "
            "beginning and ending with a letter or digit.",
        )
    if values["endpoint"]:
        checked["endpoint"] = server_url(values["endpoint"])
    if values["sign_in"] == "ambient" and not _is_google(checked["endpoint"] or GOOGLE):
        raise InvalidInput(
            "endpoint",
            "The identity of this machine is only sent to Google.",
            remedy="Use a service account key for this endpoint, or an endpoint under googleapis.com.",
        )
    if values["project"] and not _PROJECT.match(values["project"]):
        raise InvalidInput("project", "Enter the project's ID, such as “my-project-123456”.")
    if values["location"] and not _LOCATION.match(values["location"]):
        raise InvalidInput("location", "Locations look like “EU”, “US” or “europe-west3”.")
    checked["prefix"] = folder(values["prefix"])
    checked["ca_certificate"] = certificates(values["ca_certificate"])
    return checked


def machine_credentials_to(options: Mapping[str, str]) -> tuple[str, ...]:
    """See ``DriverType``. The identity of this machine is sent only to Google."""
    return ("google", "Google") if options.get("sign_in") == "ambient" else ()


def check_credential(values: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` if the service account key is missing or invalid."""
    if values["sign_in"] == "ambient":
        return
    secret = secrets.get("credential")
    if not secret:
        raise InvalidInput("credential", "“Service account key” is missing.", remedy=_REMEDY)
    parse_key(secret, values["endpoint"])


def parse_key(secret: Secret, endpoint: str) -> ServiceAccount:
    """Parse a key file. Raises ``InvalidInput`` for the option ``credential`` without repeating its text.

    The file names the server that receives the key's signature. Only Google's own and the configured
    endpoint are allowed.
    """
    try:
        document = json.loads(secret.reveal())
    except (ValueError, RecursionError):
        raise _invalid_key_error("This is not JSON.") from None
    if not isinstance(document, dict):
        raise _invalid_key_error("This is not a service account key.")
    kind = document.get("type")
    if kind != "service_account":
        other_kinds = {
            "authorized_user": "a user's sign-in",
            "external_account": "a federated identity's settings",
        }
        raise _invalid_key_error(
            f"This is {other_kinds.get(str(kind), 'something else')}, not a service account key."
        )
    if document.get("universe_domain", "googleapis.com") != "googleapis.com":
        raise _invalid_key_error("This key is for a sovereign cloud, which Stowage does not support.")
    fields = {name: document.get(name, "") for name in ("client_email", "private_key", "private_key_id")}
    if not all(isinstance(value, str) for value in fields.values()) or not _EMAIL.match(
        fields["client_email"]
    ):
        raise _invalid_key_error("This service account key has no usable “client_email”.")
    if not fields["private_key"].startswith("-----BEGIN "):
        raise _invalid_key_error("This service account key has no usable “private_key”.")
    token_uri = document.get("token_uri", "https://oauth2.googleapis.com/token")
    allowed = {*_TOKEN_URIS, f"{endpoint}/token"} if endpoint else _TOKEN_URIS
    if not isinstance(token_uri, str) or token_uri not in allowed:
        raise _invalid_key_error("The “token_uri” of this key is not one of Google's.")
    project = document.get("project_id", "")
    return ServiceAccount(
        email=fields["client_email"],
        private_key=Secret(fields["private_key"]),
        key_id=fields["private_key_id"],
        project=project if isinstance(project, str) else "",
        token_uri=token_uri,
    )


def _is_google(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return endpoint.startswith("https://") and host.endswith(".googleapis.com")


def _invalid_key_error(reason: str) -> InvalidInput:
    return InvalidInput("credential", reason, remedy=_REMEDY)
