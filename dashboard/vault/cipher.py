"""AES-256-GCM, the only place that knows the cryptography package.

Nonces are random and 96 bits long (NIST SP 800-38D, 8.2.2): safe for far more than the few thousand
values one key will ever seal.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class DoesNotOpen(Exception):
    """Wrong key, altered bytes, or a value that belongs to another place. It is not said which."""


def seal(key: bytes, plain: bytes, bound_to: bytes) -> tuple[bytes, bytes]:
    """Encrypt; returns the fresh random nonce and the ciphertext with its tag."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce, AESGCM(key).encrypt(nonce, plain, bound_to)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, bound_to: bytes) -> bytes:
    """Decrypt. Raises :class:`DoesNotOpen` unless key, bytes and ``bound_to`` are all the same."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, bound_to)
    except (InvalidTag, ValueError) as error:
        raise DoesNotOpen from error
