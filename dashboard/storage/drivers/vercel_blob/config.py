"""The configuration of a Vercel Blob driver, and the check of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from dashboard.storage.drivers.vercel_blob.options import API_PATH, store_of
from dashboard.storage.errors import InvalidKey
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Secret

_MAX_KEY_UNITS = 950
"""In UTF-16 code units, like the SDK. https://vercel.com/docs/vercel-blob"""


@dataclass(frozen=True, slots=True)
class VercelBlobConfig:
    """A store, or a prefix of it, and its token. The representation contains no secret."""

    token: Secret
    store: str
    access: str
    prefix: str
    api: str
    """The origin and path of the API."""
    blobs: str
    """The origin that serves the content of blobs."""

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Read checked options."""
        token, access = secrets["token"], options.get("access", "public")
        store, endpoint = store_of(token), options.get("endpoint", "")
        parts = urlsplit(endpoint)
        return cls(
            token=token,
            store=store,
            access=access,
            prefix=options.get("prefix", ""),
            api=endpoint or f"https://vercel.com{API_PATH}",
            blobs=f"{parts.scheme}://{parts.netloc}"
            if endpoint
            else f"https://{store.lower()}.{access}.blob.vercel-storage.com",
        )


def check_key(key: str, full_key: str) -> None:
    """Raise ``InvalidKey`` if a store cannot keep ``full_key``, the key with its prefix, unchanged.

    Vercel refuses ``//``. Clients normalize dot segments, backslashes and control characters in URLs, so a
    blob with such a key could not be read again. Vercel uses names that end in ``/`` for folders.
    """
    if not key_bytes(key):
        raise InvalidKey(key, "The key is empty.")
    try:
        length = len(full_key.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise InvalidKey(key, f"Vercel Blob cannot store “{key}”: it is not UTF-8.") from None
    if problem := _problem(full_key, length):
        raise InvalidKey(key, f"Vercel Blob cannot store “{key}”: {problem}.")


def _problem(full_key: str, length: int) -> str:
    if length > _MAX_KEY_UNITS:
        return f"it has {length:,} characters, and the limit is {_MAX_KEY_UNITS}"
    if full_key.startswith("/") or full_key.endswith("/") or "//" in full_key:
        return "it begins or ends with “/”, or contains “//”"
    if any(part in (".", "..") for part in full_key.split("/")):
        return "it contains “.” or “..” as a segment"
    if "\\" in full_key:
        return "it contains a backslash"
    if full_key != full_key.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in full_key):
        return "it begins or ends with a space, or contains control characters"
    return ""
