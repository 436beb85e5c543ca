"""Changes that were shown and not saved yet, kept in the page itself: sealed, so that no secret goes back to
the browser in a form that it could show."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from dashboard.services.environment.environment_values import Changes
from dashboard.services.permissions import Actor, Permission
from dashboard.vault import cipher
from dashboard.vault.cipher import UnsealError

LIFETIME_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Draft:
    """What was shown: the changes, and the version of the file that they were shown for. Holds secrets."""

    changes: Changes
    version: str

    def __repr__(self) -> str:
        return f"Draft({', '.join(self.changes)})"


class Drafts:
    """Seals drafts for one person and half an hour. Nothing is stored."""

    def __init__(self, session_secret: Callable[[], bytes]) -> None:
        self._session_secret = session_secret

    def to_text(self, actor: Actor, draft: Draft) -> str:
        """The draft as text for a form."""
        actor.require(Permission.ENVIRONMENT)
        text = json.dumps({"changes": dict(draft.changes), "version": draft.version, "at": time.time()})
        nonce, sealed = cipher.seal(self._key(), text.encode(), actor.name.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def from_text(self, actor: Actor, text: str) -> Draft | None:
        """The draft, or None for text that is not one of this person's, or too old."""
        actor.require(Permission.ENVIRONMENT)
        try:
            data = base64.urlsafe_b64decode(text.encode())
            nonce, sealed = data[: cipher.NONCE_BYTES], data[cipher.NONCE_BYTES :]
            found = json.loads(cipher.unseal(self._key(), nonce, sealed, actor.name.encode()))
        except (UnsealError, binascii.Error, ValueError):
            return None
        if found["at"] + LIFETIME_SECONDS < time.time():
            return None
        return Draft(found["changes"], found["version"])

    def _key(self) -> bytes:
        return hmac.digest(self._session_secret(), b"drafts of the settings file", "sha256")
