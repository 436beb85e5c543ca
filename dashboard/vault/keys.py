"""Keys and keyrings, and the recovery key: a key as text that a person can write down."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field

from dashboard.errors import InvalidInput
from dashboard.vault.cipher import KEY_BYTES

_CHECK_BYTES = 3
_GROUP = 4
# Digits people write for the letters of base32 that they look like.
_MISREAD = str.maketrans("018", "OIB", " -\t\r\n")


@dataclass(frozen=True, slots=True)
class Key:
    """One key. Its ``id`` is derived from the key itself, so a key can never carry another key's id."""

    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def id(self) -> str:
        """Eight letters and digits that identify the key and reveal nothing about it."""
        digest = hashlib.sha256(b"stowage key id\0" + self.material).digest()
        return base64.b32encode(digest[:5]).decode().lower()

    @classmethod
    def new(cls) -> Key:
        """Generate a random key."""
        return cls(os.urandom(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Keyring:
    """The current key, which seals, and during a rotation the older keys, which can still unseal."""

    current: Key
    older: tuple[Key, ...] = ()

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id, or None."""
        return next((key for key in (self.current, *self.older) if key.id == key_id), None)

    def ids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(key.id for key in (self.current, *self.older))


def to_recovery(key: Key) -> str:
    """Format a key as 14 groups of four uppercase letters and digits, a checksum included."""
    text = base64.b32encode(key.material + _checksum(key.material)).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def from_recovery(text: str) -> Key:
    """Parse a recovery key, ignoring case, spaces and hyphens. Raises ``InvalidInput``."""
    try:
        data = base64.b32decode(text.upper().translate(_MISREAD))
    except (binascii.Error, ValueError):
        data = b""
    material, check = data[:KEY_BYTES], data[KEY_BYTES:]
    if len(material) != KEY_BYTES or check != _checksum(material):
        # Not chained: the frames of the cause hold what was typed.
        raise InvalidInput(
            "recovery_key",
            "This is not a recovery key, or one of its characters is wrong.",
            remedy="It has 14 groups of four letters and digits; copy it again from where you keep it.",
        ) from None
    return Key(material)


def _checksum(material: bytes) -> bytes:
    return hashlib.sha256(b"stowage recovery key\0" + material).digest()[:_CHECK_BYTES]
