"""What an encrypted object looks like where it is stored. Sizes in bytes.

::

    "stowage" 01 10 | fingerprint of the key, 8 | salt, 32 | nonce prefix, 7   the header, 56
    piece 0: up to 65,536 of content + 16 of tag
    piece 1 ...

All pieces but the last are full. The last is empty only where the content is. So the size of the content
follows from the stored size, and any piece can be found without reading those before it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Self

from dashboard.storage.wrappers.encrypted.aead import (
    FINGERPRINT,
    MOST_PIECES,
    PREFIX,
    SALT,
    TAG,
    ObjectCipher,
)

PIECE = 64 * 1024
SEALED_PIECE = PIECE + TAG
# The name, the format's version, and the size of a piece as a power of two.
MAGIC = b"stowage\x01\x10"
HEADER = len(MAGIC) + FINGERPRINT + SALT + PREFIX
LARGEST = MOST_PIECES * PIECE


def pieces_of(size: int) -> int:
    """Into how many pieces so much content is cut."""
    return max(1, -(-size // PIECE))


def stored_size(size: int) -> int:
    """How much is stored of a content of this size."""
    return HEADER + size + TAG * pieces_of(size)


def content_size(stored: int) -> int:
    """The inverse of :func:`stored_size`. Of a size that no encrypted object has, what would be left; such
    an object does not open."""
    body = max(0, stored - HEADER)
    return max(0, body - TAG * -(-body // SEALED_PIECE))


def is_possible(stored: int) -> bool:
    """Whether an encrypted object can have this size."""
    return stored >= HEADER + TAG and stored_size(content_size(stored)) == stored


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the pieces."""

    fingerprint: bytes
    salt: bytes
    prefix: bytes

    @classmethod
    def new(cls, fingerprint: bytes) -> Self:
        """For a new object: never the same twice."""
        return cls(fingerprint, secrets.token_bytes(SALT), secrets.token_bytes(PREFIX))

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """None where the bytes are no header."""
        if len(data) != HEADER or not data.startswith(MAGIC):
            return None
        at = len(MAGIC)
        salt_at, prefix_at = at + FINGERPRINT, at + FINGERPRINT + SALT
        return cls(data[at:salt_at], data[salt_at:prefix_at], data[prefix_at:])

    def encode(self) -> bytes:
        """The stored form."""
        return MAGIC + self.fingerprint + self.salt + self.prefix

    def cipher(self, key: bytes) -> ObjectCipher:
        """For the pieces of this object."""
        return ObjectCipher(key, self.salt, self.prefix, self.encode())
