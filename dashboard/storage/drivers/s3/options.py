"""The options of the S3 driver and their checks. Loads no vendor SDK.

Booleans are ``true`` and ``false``. Every option that decides where a request goes guards the secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from dashboard.errors import InvalidInput
from dashboard.storage.checks.options import (
    TLS_OPTIONS,
    certificates,
    encryption_key_bytes,
    folder,
    folder_option,
    server_url,
)
from dashboard.storage.checks.wrappers import CDN_DOMAIN
from dashboard.storage.drivers.s3.credentials.options import SIGN_IN_OPTIONS, check_key_pair, check_sign_in
from dashboard.storage.net.addresses import parse_ip
from dashboard.storage.options import Option, OptionType, Preset
from dashboard.storage.types import Secret

_T = OptionType
SSE = "sse"
SSE_C = "SSE-C"
"""The value of ``sse`` for encryption with a customer-provided key, which every request carries."""
SSE_CUSTOMER_KEY = "sse_customer_key"
_SSE_C_LABEL = "Your own key (SSE-C)"

S3_OPTIONS = (
    Option(
        "endpoint",
        "Endpoint",
        _T.URL,
        required=True,
        placeholder="https://s3.example.com",
        guards_secret=True,
        hint="The server's address, without a bucket name.",
    ),
    Option(
        "region",
        "Region",
        required=True,
        default="us-east-1",
        guards_secret=True,
        hint="Signatures are made for it; servers without regions usually accept “us-east-1”.",
    ),
    Option("bucket", "Bucket", required=True, placeholder="my-bucket", place=True),
    *SIGN_IN_OPTIONS,
    folder_option("bucket"),
    Option(
        "path_style",
        "Path-style addresses",
        _T.BOOLEAN,
        advanced=True,
        default="true",
        guards_secret=True,
        hint="The bucket goes into the path (host/bucket) and not into the host name (bucket.host).",
    ),
    *TLS_OPTIONS,
    Option(
        "storage_class",
        "Storage class",
        advanced=True,
        placeholder="STANDARD",
        hint="Given to every object Stowage writes; blank leaves it to the bucket.",
    ),
    Option(
        SSE,
        "Server-side encryption",
        _T.CHOICE,
        advanced=True,
        default="none",
        choices=(
            ("none", "As the bucket says"),
            ("AES256", "AES-256 (SSE-S3)"),
            ("aws:kms", "KMS key (SSE-KMS)"),
            (SSE_C, _SSE_C_LABEL),
        ),
    ),
    Option(
        "sse_kms_key_id",
        "KMS key",
        advanced=True,
        shown_with=(SSE, ("aws:kms",)),
        hint="Key ID or ARN, for SSE-KMS; leave it blank for the account's default key.",
    ),
    Option(
        SSE_CUSTOMER_KEY,
        "Key for SSE-C",
        _T.SECRET,
        advanced=True,
        encrypts_objects=True,
        shown_with=(SSE, (SSE_C,)),
        hint="32 bytes in base64, sent with every request and kept by no provider. Keep a copy outside "
        "Stowage: without this key everything stored with it is lost. It cannot be shown or replaced "
        "later, and cannot read what was stored without it, so start with an empty bucket or folder.",
    ),
)

_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_DNS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_LOOSE_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]\Z")
_STORAGE_CLASS = re.compile(r"[A-Z0-9_-]{1,64}\Z")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_+=,.@-]{1,2048}\Z")


def check_s3(values: Mapping[str, str], preset: Preset, forbidden_roots: Sequence[str]) -> dict[str, str]:
    """Normalise S3 options, without a network call. Raises ``InvalidInput`` naming the option."""
    pattern = preset.defaults.get("endpoint", "")
    checked = dict(values)
    checked["endpoint"] = server_url(values["endpoint"], urlsplit(pattern).path)
    if not _REGION.match(values["region"]):
        raise InvalidInput("region", f"“{values['region']}” is not a region; regions look like “us-east-1”.")
    # Wildcard certificates cover one label, so a bucket with dots cannot be reached as bucket.host.
    dots = "." in values["bucket"] and checked["endpoint"].startswith("https:")
    # IP addresses have no subdomains.
    if dots or parse_ip(urlsplit(checked["endpoint"]).hostname or "") is not None:
        checked["path_style"] = "true"
    _check_bucket(values["bucket"], virtual_host=checked["path_style"] == "false")
    check_sign_in(values)
    checked["prefix"] = folder(values["prefix"])
    checked["ca_certificate"] = certificates(values["ca_certificate"])
    if values["storage_class"] and not _STORAGE_CLASS.match(values["storage_class"]):
        raise InvalidInput(
            "storage_class", "Storage classes are written in uppercase letters, such as “STANDARD_IA”."
        )
    if values["sse_kms_key_id"]:
        _check_kms_key(values["sse_kms_key_id"], values[SSE])
    if uses_customer_key(values):
        _check_sse_c_transport(checked)
    return checked


def check_s3_secrets(values: Mapping[str, str], secrets: Mapping[str, Secret]) -> None:
    """Raise ``InvalidInput`` unless there is a key of 32 bytes with SSE-C, and none without."""
    check_key_pair(values, secrets)
    key = secrets.get(SSE_CUSTOMER_KEY)
    if not uses_customer_key(values):
        if key:
            # Anyone who enters a key expects objects to be encrypted with it.
            raise InvalidInput(
                SSE_CUSTOMER_KEY,
                f"A key for SSE-C is only used with server-side encryption “{_SSE_C_LABEL}”.",
                remedy=f"Choose “{_SSE_C_LABEL}”, or leave the key out.",
            )
    elif key:
        encryption_key_bytes(SSE_CUSTOMER_KEY, key)
    else:
        raise InvalidInput(
            SSE_CUSTOMER_KEY,
            "To encrypt with your own key, that key is needed.",
            remedy="Create one next to the field or with: stowage backend new-key. Keep a copy of it.",
        )


def uses_customer_key(options: Mapping[str, str]) -> bool:
    """Whether a backend with these options uses a customer-provided key (SSE-C)."""
    return options.get(SSE) == SSE_C


def _check_sse_c_transport(values: Mapping[str, str]) -> None:
    """Check that the key, which every request carries, is sent over TLS, or to a private address.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html"""
    parts = urlsplit(values["endpoint"])
    host = parts.hostname or ""
    address = parse_ip(host)
    near = host == "localhost" or (address is not None and address.is_private)
    if not near and parts.scheme != "https":
        raise InvalidInput(
            "endpoint",
            "With SSE-C the key itself is sent, so the endpoint must begin with https://.",
            remedy="Use https://, or the server's private address if the network between is yours.",
        )
    if not near and values["tls_verify"] == "false":
        raise InvalidInput(
            "tls_verify",
            "With SSE-C the key itself is sent, so the server's certificate must be checked.",
            remedy="Paste the authority that signed it under “Certificate authority”.",
        )
    if values.get(CDN_DOMAIN):
        raise InvalidInput(CDN_DOMAIN, "A CDN cannot read what is encrypted with your own key.")


def _check_bucket(bucket: str, *, virtual_host: bool) -> None:
    """Check a bucket's name: by AWS's rules if it becomes part of a host name, else by looser ones.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
    field = "bucket"
    if "/" in bucket or "://" in bucket:
        raise InvalidInput(
            field,
            "A bucket name cannot contain “/”.",
            remedy="Folders go into “Folder inside the bucket” under Advanced.",
        )
    if len(bucket) < 3:
        raise InvalidInput(field, "A bucket name has at least 3 characters.")
    rule = _DNS_BUCKET if virtual_host else _LOOSE_BUCKET
    if not rule.match(bucket) or ".." in bucket:
        letters = (
            "lowercase letters, digits, dots and hyphens"
            if virtual_host
            else "letters, digits, “.”, “-” and “_”"
        )
        raise InvalidInput(
            field,
            f"“{bucket}” is not a bucket name: use {letters}, beginning and ending with a letter or digit.",
        )
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", bucket):
        raise InvalidInput(field, "A bucket name must not look like an IP address.")


def _check_kms_key(key: str, sse: str) -> None:
    field = "sse_kms_key_id"
    if sse != "aws:kms":
        raise InvalidInput(field, "A KMS key is only used with server-side encryption “KMS key (SSE-KMS)”.")
    if not _KMS_KEY.match(key):
        raise InvalidInput(field, "The KMS key is a key ID, an alias or an ARN.")
