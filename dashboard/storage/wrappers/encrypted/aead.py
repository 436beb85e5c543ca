"""AES-256-GCM for the pieces of one object; the only file here that knows the library.

The construction is STREAM (https://eprint.iacr.org/2015/189) with a key derived for each object, as in
Tink's AES-GCM-HKDF: the nonce counts the pieces and says which is the last, so that a piece that is
missing, moved or added does not open, and no nonce is ever used twice under one key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TAG = 16
PREFIX = 7
SALT = 32
FINGERPRINT = 8
MOST_PIECES = 2**32


class DoesNotOpen(Exception):
    """A piece is not what was sealed, not in its place, or sealed with another key."""


class ObjectCipher:
    """Seals and opens the pieces of one object. ``header`` is bound to every piece. Thread-safe."""

    def __init__(self, key: bytes, salt: bytes, prefix: bytes, header: bytes) -> None:
        self._aead = AESGCM(HKDF(SHA256(), 32, salt, b"stowage object key v1").derive(key))
        self._prefix = prefix
        self._header = header

    def seal(self, number: int, data: bytes | memoryview, *, last: bool) -> bytes:
        """The sealed piece, ``TAG`` bytes longer."""
        return self._aead.encrypt(self._nonce(number, last), data, self._header)

    def open(self, number: int, data: bytes | memoryview, *, last: bool) -> bytes:
        """What was sealed as this piece. Raises ``DoesNotOpen``."""
        try:
            return self._aead.decrypt(self._nonce(number, last), data, self._header)
        except InvalidTag as error:
            raise DoesNotOpen from error

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + (b"\1" if last else b"\0")


def fingerprint(key: bytes) -> bytes:
    """Tells keys apart without saying anything of them."""
    return HKDF(SHA256(), FINGERPRINT, None, b"stowage key fingerprint v1").derive(key)
