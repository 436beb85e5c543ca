"""The configuration of a Google Cloud Storage driver, and the check of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dashboard.storage.drivers.gcs.options import GOOGLE, ServiceAccount, parse_key
from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Secret

_MAX_KEY_BYTES = 1024
_RESERVED = ".well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class GcsConfig:
    """A bucket, or a prefix of it, and its credentials. Without ``account`` the identity of this machine
    signs in. The representation contains no secret."""

    bucket: str
    account: ServiceAccount | None
    endpoint: str = GOOGLE
    prefix: str = ""
    storage_class: str = ""
    location: str = ""
    project: str = ""
    tls_verify: bool = True
    ca_certificate: str = ""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Read checked options."""
        endpoint, kind = options.get("endpoint", ""), options.get("storage_class", "")
        ambient = options.get("sign_in") == "ambient"
        account = None if ambient else parse_key(secrets["credential"], endpoint)
        return cls(
            bucket=options["bucket"],
            account=account,
            endpoint=endpoint or GOOGLE,
            prefix=options.get("prefix", ""),
            storage_class="" if kind == "default" else kind,
            location=options.get("location", ""),
            project=options.get("project", "") or (account.project if account else ""),
            tls_verify=options.get("tls_verify", "true") != "false",
            ca_certificate=options.get("ca_certificate", ""),
        )


def check_key(key: str, full_key: str) -> None:
    """Raise ``InvalidKey`` if Google Cloud Storage cannot store ``full_key``, the key with its prefix.
    https://cloud.google.com/storage/docs/objects#naming"""
    if not key_bytes(key):
        raise InvalidKey(key, "The key is empty.")
    try:
        length = len(full_key.encode())
    except UnicodeEncodeError:
        raise InvalidKey(key, f"Google Cloud Storage cannot store “{key}”: it is not UTF-8.") from None
    if problem := _problem(full_key, length):
        raise InvalidKey(key, f"Google Cloud Storage cannot store “{key}”: {problem}.")


def _problem(full_key: str, length: int) -> str:
    if length > _MAX_KEY_BYTES:
        return f"it is {length:,} bytes long, and the limit is {_MAX_KEY_BYTES:,}"
    if "\n" in full_key or "\r" in full_key:
        return "it contains a line break"
    if "\0" in full_key:
        return "it contains a NUL character, which no URL can"
    if full_key in (".", ".."):
        return "names of one or two dots are not allowed"
    if full_key.startswith(_RESERVED):
        return f"names that begin with “{_RESERVED}” are not allowed"
    return ""
