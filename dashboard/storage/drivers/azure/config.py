"""The configuration of an Azure driver, the check of its keys, and the encoding of metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from dashboard.storage.drivers.azure.options import Credential, parse_credential
from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Attributes, Secret

_MAX_KEY_CHARACTERS = 1024
_MAX_SEGMENTS = 254
_ESCAPED = "stowage_"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PLAIN_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """A container, or a prefix of it, and its credentials. The representation contains no secret."""

    account: str
    container: str
    credential: Credential
    endpoint: str
    prefix: str = ""
    access_tier: str = ""
    tls_verify: bool = True
    ca_certificate: str = ""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Read checked options."""
        account, tier = options["account"], options.get("access_tier", "")
        return cls(
            account=account,
            container=options["container"],
            credential=parse_credential(account, secrets["credential"]),
            endpoint=options.get("endpoint") or f"https://{account}.blob.core.windows.net",
            prefix=options.get("prefix", ""),
            access_tier="" if tier == "default" else tier,
            tls_verify=options.get("tls_verify", "true") != "false",
            ca_certificate=options.get("ca_certificate", ""),
        )

    @property
    def tls(self) -> bool:
        """Whether the endpoint uses TLS."""
        return self.endpoint.startswith("https:")

    @property
    def server(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or (443 if self.tls else 80)

    @property
    def host(self) -> str:
        """Host, with the port if the endpoint names one."""
        return urlsplit(self.endpoint).netloc


def check_key(key: str, full_key: str) -> None:
    """Raise ``InvalidKey`` if Azure cannot store ``full_key``, the key with its prefix, unchanged.

    https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
    Azure removes dots at the end of a segment, turns backslashes into slashes and refuses control characters.
    """
    raw = key_bytes(key)
    if not raw:
        raise InvalidKey(key, "The key is empty.")
    if problem := _problem(full_key):
        raise InvalidKey(key, f"Azure cannot store “{key}” unchanged: {problem}.")
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise InvalidKey(key, f"Azure cannot store “{key}” unchanged: it is not UTF-8.") from None


def _problem(full_key: str) -> str:
    if len(full_key) > _MAX_KEY_CHARACTERS:
        return f"it has {len(full_key):,} characters, and the limit is {_MAX_KEY_CHARACTERS:,}"
    if full_key.count("/") >= _MAX_SEGMENTS:
        return f"it has more than {_MAX_SEGMENTS} segments"
    if any(part.endswith(".") for part in full_key.split("/")):
        return "a segment of it ends with a dot, which Azure removes"
    if "\\" in full_key:
        return "it contains a backslash, which Azure turns into a slash"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\ufffe\uffff" for c in full_key):
        return "it contains control characters"
    return ""


def encode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Encode user metadata for Azure, which accepts identifiers as names and printable ASCII as values.
    Others are escaped, so that :func:`decode_metadata` can restore them."""
    encoded = {}
    for name, value in metadata.items():
        if _IDENTIFIER.match(name) and _PLAIN_VALUE.match(value) and not name.startswith(_ESCAPED):
            encoded[name] = value
        else:
            # A header cannot hold an empty value.
            encoded[_ESCAPED + name.encode().hex()] = "=" + quote(value, safe=" ")
    return encoded


def decode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The inverse of :func:`encode_metadata`."""
    decoded = {}
    for name, value in metadata.items():
        escaped = name.lower().startswith(_ESCAPED) and value.startswith("=")
        try:
            original = bytes.fromhex(name[len(_ESCAPED) :]).decode() if escaped else name
        except ValueError:
            original, escaped = name, False
        decoded[original] = unquote(value[1:]) if escaped else value
    return decoded


def header_value_or_none(attributes: Attributes | None, name: str) -> str | None:
    """The value of an attribute; None if it is unset or a header cannot hold it."""
    value: str | None = getattr(attributes, name) if attributes else None
    return value if value and _PLAIN_VALUE.match(value) else None
