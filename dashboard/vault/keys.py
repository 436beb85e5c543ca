"""Keys and keyrings as values, and a key as text that a person can write down."""

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
# What people write for letters that base32 does not have.
_MISREAD = str.maketrans("018", "OIB", " -\t\r\n")


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``id`` is derived from it, so a key can never stand under another key's name."""

    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    @property
    def id(self) -> str:
        """Eight letters and digits; tells keys apart and says nothing about them."""
        digest = hashlib.sha256(b"stowage key id\0" + self.material).digest()
        return base64.b32encode(digest[:5]).decode().lower()

    @classmethod
    def new(cls) -> Key:
        """A fresh random key."""
        return cls(os.urandom(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that seals, and during a rotation the older ones that still open."""

    current: Key
    older: tuple[Key, ...] = ()

    def find(self, key_id: str) -> Key | None:
        """The key of that id, if it is here."""
        return next((key for key in (self.current, *self.older) if key.id == key_id), None)

    def ids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(key.id for key in (self.current, *self.older))


def to_recovery(key: Key) -> str:
    """The key as 14 groups of four capital letters and digits, with a checksum inside."""
    text = base64.b32encode(key.material + _checksum(key.material)).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def from_recovery(text: str) -> Key:
    """Read a recovery key back, forgiving case, spaces and hyphens. Raises ``InvalidInput``."""
    try:
        data = base64.b32decode(text.upper().translate(_MISREAD))
    except (binascii.Error, ValueError):
        data = b""
    material, check = data[:KEY_BYTES], data[KEY_BYTES:]
    if len(material) != KEY_BYTES or check != _checksum(material):
        # No "from": the cause's frames hold what was typed.
        raise InvalidInput(
            "recovery_key",
            "This is not a recovery key, or a character of it is wrong.",
            remedy="It has 14 groups of four letters and digits; copy it again from where it was kept.",
        ) from None
    return Key(material)


def _checksum(material: bytes) -> bytes:
    return hashlib.sha256(b"stowage recovery key\0" + material).digest()[:_CHECK_BYTES]
