"""Keys as bytes: one exact form in which they are compared and turned into paths."""

from __future__ import annotations

from dashboard.storage.errors import InvalidKey


def key_bytes(key: str) -> bytes:
    """The key in UTF-8; names that are not UTF-8 come back as the bytes they were (surrogateescape).

    Sorting by this is UTF-8 byte order. Raises ``InvalidKey`` for text that stands for no bytes, or for
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
    """The key of these bytes; the exact inverse of :func:`key_bytes`."""
    return raw.decode("utf-8", "surrogateescape")
