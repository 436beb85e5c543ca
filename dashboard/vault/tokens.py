"""A sealed value as text: ``version.key_id.nonce.ciphertext``, tied to the one place it may stand in.

Version ``v2`` is for values that are sent to somebody, and is tied to the recipient as well.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from dashboard.vault import cipher
from dashboard.vault.cipher import DoesNotOpen
from dashboard.vault.keys import Key

VERSION = "v1"
WITH_RECIPIENT = "v2"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value stands. A ciphertext moved to another place does not open.

    ``recipient``: to whom the value may be sent, in any notation; None for a value that stays here.
    """

    table: str
    column: str
    row: str
    recipient: str | None = None

    @property
    def version(self) -> str:
        """Of values that stand here."""
        return VERSION if self.recipient is None else WITH_RECIPIENT

    def associated(self, key_id: str) -> bytes:
        """The associated data. Every part carries its length, so no two places look the same."""
        recipient = () if self.recipient is None else (self.recipient,)
        parts = (self.version, self.table, self.column, self.row, key_id, *recipient)
        return b"".join(len(part).to_bytes(4, "big") + part for part in (p.encode() for p in parts))


def seal(key: Key, plain: str, place: Place) -> str:
    """Seal a value for one place. Two calls never give the same text."""
    nonce, ciphertext = cipher.seal(key.material, plain.encode(), place.associated(key.id))
    return ".".join((place.version, key.id, _text(nonce), _text(ciphertext)))


def unseal(key: Key, token: str, place: Place) -> str:
    """Open a value. Raises :class:`DoesNotOpen` if it was altered, moved or sealed with another key."""
    version, key_id, nonce, ciphertext = _parts(token)
    if version != place.version or key_id != key.id:
        raise DoesNotOpen
    plain = cipher.unseal(key.material, _bytes(nonce), _bytes(ciphertext), place.associated(key.id))
    return plain.decode()


def key_id_of(token: str) -> str:
    """Which key sealed it. Raises :class:`DoesNotOpen` if this is no sealed value."""
    return _parts(token)[1]


def _parts(token: str) -> tuple[str, str, str, str]:
    parts = token.split(".")
    if len(parts) != 4:
        raise DoesNotOpen
    return parts[0], parts[1], parts[2], parts[3]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DoesNotOpen from error
