"""The stored format of encrypted objects. Sizes in bytes.

::

    "stowage" 01 10 | fingerprint of the key, 8 | salt, 32 | nonce prefix, 7   the header, 56
    segment 0: up to 65,536 of content + 16 of tag
    segment 1 ...

All segments but the last are full. The last is empty only if the content is. So the size of the content
follows from the stored size, and any segment can be found without reading those before it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Self

from dashboard.storage.wrappers.encrypted.aead import (
    FINGERPRINT_BYTES,
    MAX_SEGMENTS,
    NONCE_PREFIX_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    ObjectCipher,
)

SEGMENT_BYTES = 64 * 1024
ENCRYPTED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES
# The name, the format's version, and the size of a segment as a power of two.
MAGIC = b"stowage\x01\x10"
HEADER_BYTES = len(MAGIC) + FINGERPRINT_BYTES + SALT_BYTES + NONCE_PREFIX_BYTES
MAX_CONTENT_BYTES = MAX_SEGMENTS * SEGMENT_BYTES


def segment_count(size: int) -> int:
    """Return the number of segments of a content of this size."""
    return max(1, -(-size // SEGMENT_BYTES))


def stored_size(size: int) -> int:
    """Return the stored size of a content of this size."""
    return HEADER_BYTES + size + TAG_BYTES * segment_count(size)


def content_size(stored: int) -> int:
    """The inverse of :func:`stored_size`. For a size that no encrypted object has it returns an
    approximation; such an object fails to decrypt."""
    body = max(0, stored - HEADER_BYTES)
    return max(0, body - TAG_BYTES * -(-body // ENCRYPTED_SEGMENT_BYTES))


def is_valid_stored_size(stored: int) -> bool:
    """Whether an encrypted object can have this size."""
    return stored >= HEADER_BYTES + TAG_BYTES and stored_size(content_size(stored)) == stored


@dataclass(frozen=True, slots=True)
class Header:
    """Precedes the segments."""

    fingerprint: bytes
    salt: bytes
    prefix: bytes

    @classmethod
    def new(cls, fingerprint: bytes) -> Self:
        """Return a random header for a new object."""
        return cls(fingerprint, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_PREFIX_BYTES))

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Return None if this is not a header."""
        if len(data) != HEADER_BYTES or not data.startswith(MAGIC):
            return None
        at = len(MAGIC)
        salt_at, prefix_at = at + FINGERPRINT_BYTES, at + FINGERPRINT_BYTES + SALT_BYTES
        return cls(data[at:salt_at], data[salt_at:prefix_at], data[prefix_at:])

    def encode(self) -> bytes:
        """Encode for storage."""
        return MAGIC + self.fingerprint + self.salt + self.prefix

    def cipher(self, key: bytes) -> ObjectCipher:
        """Return the cipher for the segments of this object."""
        return ObjectCipher(key, self.salt, self.prefix, self.encode())
