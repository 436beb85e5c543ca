"""The text form of a sealed value, ``version.key_id.nonce.ciphertext``, bound to the row it belongs to.

Version ``v2`` is for values that are sent to a server; it is bound to that recipient as well.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from dashboard.vault import cipher
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keys import Key

VERSION = "v1"
WITH_RECIPIENT = "v2"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed value is bound to: copied to any other row, column or recipient it cannot be unsealed.

    ``recipient``: where the value may be sent, as any stable text; None if it never leaves the console.
    """

    table: str
    column: str
    row: str
    recipient: str | None = None

    @property
    def version(self) -> str:
        """The token version that this binding uses."""
        return VERSION if self.recipient is None else WITH_RECIPIENT

    def associated_data(self, key_id: str) -> bytes:
        """The AEAD's associated data. Each part carries its length, so no two bindings encode alike."""
        recipient = () if self.recipient is None else (self.recipient,)
        parts = (self.version, self.table, self.column, self.row, key_id, *recipient)
        return b"".join(len(part).to_bytes(4, "big") + part for part in (p.encode() for p in parts))


def seal(key: Key, plain: str, binding: Binding) -> str:
    """Seal a value. Two calls never return the same text."""
    nonce, ciphertext = cipher.seal(key.material, plain.encode(), binding.associated_data(key.id))
    return ".".join((binding.version, key.id, _encode(nonce), _encode(ciphertext)))


def unseal(key: Key, token: str, binding: Binding) -> str:
    """Unseal a value. Raises :class:`UnsealError` if it was altered, moved or sealed with another key."""
    version, key_id, nonce, ciphertext = _split(token)
    if version != binding.version or key_id != key.id:
        raise UnsealError
    plain = cipher.unseal(key.material, _decode(nonce), _decode(ciphertext), binding.associated_data(key.id))
    return plain.decode()


def key_id_of(token: str) -> str:
    """Return the id of the key that sealed it. Raises :class:`UnsealError` if it is not a sealed value."""
    return _split(token)[1]


def _split(token: str) -> tuple[str, str, str, str]:
    parts = token.split(".")
    if len(parts) != 4:
        raise UnsealError
    return parts[0], parts[1], parts[2], parts[3]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnsealError from error
