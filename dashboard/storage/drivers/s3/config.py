"""The configuration of an S3 driver, parsed from its options."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote

from dashboard.storage.checks.options import encryption_key_bytes
from dashboard.storage.drivers.s3.credentials.options import KEY, ROLE, SIGN_IN, is_amazon_s3
from dashboard.storage.drivers.s3.credentials.sign_in import (
    AccessKey,
    AssumedRole,
    MachineCredentials,
    SignIn,
    Sts,
)
from dashboard.storage.drivers.s3.options import SSE, SSE_C, SSE_CUSTOMER_KEY
from dashboard.storage.types import Secret


@dataclass(frozen=True, slots=True)
class S3Config:
    """A bucket, or a prefix of one, with credentials. Its ``repr`` shows no secret."""

    endpoint: str
    bucket: str
    sign_in: SignIn
    region: str = "us-east-1"
    prefix: str = ""
    path_style: bool = True
    tls_verify: bool = True
    ca_certificate: str = ""
    storage_class: str = ""
    sse: str = ""
    sse_kms_key_id: str = ""
    customer_key: Secret = field(default_factory=lambda: Secret(""))
    """The customer-provided key (SSE-C) that encrypts every object, in base64; empty without SSE-C."""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Parse checked options; missing ones take the defaults above."""
        sse, customer_key = options.get(SSE, ""), Secret("")
        if sse == SSE_C:
            customer_key = secrets.get(SSE_CUSTOMER_KEY) or customer_key
            # A missing key must never mean that objects are stored unencrypted.
            encryption_key_bytes(SSE_CUSTOMER_KEY, customer_key)
        return cls(
            endpoint=options["endpoint"].rstrip("/"),
            bucket=options["bucket"],
            sign_in=_sign_in(options, secrets),
            region=options.get("region") or "us-east-1",
            prefix=options.get("prefix", ""),
            path_style=options.get("path_style", "true") != "false",
            tls_verify=options.get("tls_verify", "true") != "false",
            ca_certificate=options.get("ca_certificate", ""),
            storage_class=options.get("storage_class", ""),
            sse="" if sse in ("none", SSE_C) else sse,
            sse_kms_key_id=options.get("sse_kms_key_id", ""),
            customer_key=customer_key,
        )

    @property
    def bucket_url(self) -> str:
        """The URL of the bucket, without a trailing slash."""
        if self.path_style:
            return f"{self.endpoint}/{quote(self.bucket)}"
        scheme, _, rest = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{rest}"

    @property
    def is_aws(self) -> bool:
        """Whether the endpoint is one of Amazon S3's."""
        return is_amazon_s3(self.endpoint)

    @property
    def copy_scope(self) -> tuple[object, ...]:
        """Equal for two backends between which the server itself can copy."""
        return (self.endpoint, self.region, self.sign_in)

    @property
    def etags_are_md5(self) -> bool:
        """Whether an ETag may be the content's MD5. With SSE-KMS and SSE-C it never is.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html"""
        return not self.sse.startswith("aws:kms") and not self.customer_key

    def write_headers(self) -> dict[str, str]:
        """Return the headers of every write: storage class and encryption."""
        headers: dict[str, str] = {}
        if self.storage_class:
            headers["x-amz-storage-class"] = self.storage_class
        if self.sse:
            headers["x-amz-server-side-encryption"] = self.sse
        if self.sse.startswith("aws:kms") and self.sse_kms_key_id:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.sse_kms_key_id
        return headers | self.sse_c_headers()

    def sse_c_headers(self) -> dict[str, str]:
        """Return the headers with the customer's key, if any, for requests that read or write content.
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-s3-c-encryption.html"""
        return self._sse_c_headers("x-amz-server-side-encryption-customer")

    def copy_source_headers(
        self, key: str, *, version: str | None = None, etag: str | None = None
    ) -> dict[str, str]:
        """Return the headers that make this object the source of a copy on the server, which keeps its
        attributes. With ``version`` that version of it, with ``etag`` only if it has that ETag.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
        path = quote(f"{self.bucket}/{self.prefix}{key}", safe="/~")
        headers = {
            "x-amz-copy-source": f"{path}?versionId={quote(version, safe='~')}"
            if version is not None
            else path,
            "x-amz-metadata-directive": "COPY",
        }
        if etag is not None:
            headers["x-amz-copy-source-if-match"] = f'"{etag}"'
        return headers | self._sse_c_headers("x-amz-copy-source-server-side-encryption-customer")

    def _sse_c_headers(self, name: str) -> dict[str, str]:
        if not self.customer_key:
            return {}
        key = encryption_key_bytes(SSE_CUSTOMER_KEY, self.customer_key)
        return {
            f"{name}-algorithm": "AES256",
            f"{name}-key": base64.b64encode(key).decode(),
            f"{name}-key-md5": base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode(),
        }


def _sign_in(options: Mapping[str, str], secrets: Mapping[str, Secret]) -> SignIn:
    """A role is assumed with the access key, or with this machine's credentials if there is none."""
    way = options.get(SIGN_IN) or KEY
    source: AccessKey | MachineCredentials = MachineCredentials(options.get("profile", ""))
    if way == KEY or (way == ROLE and options.get("access_key_id")):
        token = secrets.get("session_token") or Secret("")
        source = AccessKey(options["access_key_id"], secrets["secret_access_key"], token)
    if way != ROLE:
        return source
    endpoint = options["endpoint"].rstrip("/")
    sts = Sts(
        options.get("region") or "us-east-1",
        "" if is_amazon_s3(endpoint) else endpoint,
        options.get("tls_verify", "true") != "false",
        options.get("ca_certificate", ""),
    )
    return AssumedRole(
        sts, source, options["role_arn"], options.get("external_id", ""), options.get("session_name", "")
    )
