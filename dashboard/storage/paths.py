"""Keys as bytes, the form in which they are compared and become paths, and the content types of their
extensions."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from types import MappingProxyType

from dashboard.storage.errors import InvalidKey

# The module's own table and not the machine's: the same name is the same type everywhere.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **mimetypes.MimeTypes().types_map[False],
        **mimetypes.MimeTypes().types_map[True],
        ".avif": "image/avif",
        ".bz2": "application/x-bzip2",
        ".gz": "application/gzip",
        ".md": "text/markdown",
        ".svgz": "image/svg+xml",
        ".webp": "image/webp",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
        ".xz": "application/x-xz",
        ".zst": "application/zstd",
    }
)


def key_bytes(key: str) -> bytes:
    """Return the key in UTF-8; names that are not UTF-8 become the bytes they were (surrogateescape).

    Sorting by this is UTF-8 byte order. Raises ``InvalidKey`` for text that cannot be bytes, or that would be
    the same bytes as another key.
    """
    try:
        raw = key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidKey(key, "The key holds half of a surrogate pair, which is not text.") from None
    if not key.isascii() and raw.decode("utf-8", "surrogateescape") != key:
        raise InvalidKey(key, "The key spells valid UTF-8 in escaped bytes.")
    return raw


def key_text(raw: bytes) -> str:
    """Return the key of these bytes; the exact inverse of :func:`key_bytes`."""
    return raw.decode("utf-8", "surrogateescape")


def guess_content_type(key: str) -> str | None:
    """Return the content type of a key by its extension, or None."""
    ending = os.path.splitext(key.rpartition("/")[2])[1].lower()
    return _TYPES.get(ending)
