"""What a name says of its content, for places that keep no content type."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from types import MappingProxyType

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


def guessed_type(key: str) -> str | None:
    """The content type of a key by its ending, or None."""
    ending = os.path.splitext(key.rpartition("/")[2])[1].lower()
    return _TYPES.get(ending)
