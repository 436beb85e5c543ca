"""AES-256-GCM; the only file that imports the cryptography package.

Nonces are random and 96 bits long (NIST SP 800-38D, 8.2.2): safe for far more than the few thousand
values one key will ever seal.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class UnsealError(Exception):
    """Wrong key, altered bytes, or a value copied from elsewhere. AES-GCM does not tell which."""


def seal(key: bytes, plain: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
    """Encrypt. Returns a fresh random nonce, and the ciphertext with its tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce, AESGCM(key).encrypt(nonce, plain, associated_data)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Decrypt. Raises :class:`UnsealError` unless key, bytes and ``associated_data`` all match."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated_data)
    except (InvalidTag, ValueError) as error:
        raise UnsealError from error
