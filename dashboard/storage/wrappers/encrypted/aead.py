"""AES-256-GCM for the segments of one object. The only file here that imports the library.

The construction is STREAM (https://eprint.iacr.org/2015/189) with a key derived for each object, as in
Tink's AES-GCM-HKDF: the nonce contains the number of the segment and whether it is the last. So a missing,
moved or added segment fails to decrypt, and no nonce is ever used twice with one key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TAG_BYTES = 16
NONCE_PREFIX_BYTES = 7
SALT_BYTES = 32
FINGERPRINT_BYTES = 8
MAX_SEGMENTS = 2**32


class DecryptionError(Exception):
    """A segment is damaged, at another position, or encrypted with another key."""


class ObjectCipher:
    """Encrypts and decrypts the segments of one object. Authenticates ``header`` with each. Thread-safe."""

    def __init__(self, key: bytes, salt: bytes, prefix: bytes, header: bytes) -> None:
        self._aead = AESGCM(HKDF(SHA256(), 32, salt, b"stowage object key v1").derive(key))
        self._prefix = prefix
        self._header = header

    def encrypt(self, number: int, data: bytes | memoryview, *, last: bool) -> bytes:
        """Return the encrypted segment, which is ``TAG_BYTES`` longer."""
        return self._aead.encrypt(self._nonce(number, last), data, self._header)

    def decrypt(self, number: int, data: bytes | memoryview, *, last: bool) -> bytes:
        """Return the content of a segment. Raises ``DecryptionError``."""
        try:
            return self._aead.decrypt(self._nonce(number, last), data, self._header)
        except InvalidTag as error:
            raise DecryptionError from error

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + (b"\1" if last else b"\0")


def fingerprint(key: bytes) -> bytes:
    """Return bytes that identify a key without revealing it."""
    return HKDF(SHA256(), FINGERPRINT_BYTES, None, b"stowage key fingerprint v1").derive(key)
