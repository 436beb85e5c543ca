"""Saved backends and their secrets: read together, opened to build a driver, sealed as they are stored."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend, BackendSecret
from dashboard.services.backends.queries import get_row
from dashboard.services.backends.values import Resolved, Stored
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.sealed_rows import binding_of_secret, from_text, to_text
from dashboard.storage import registry
from dashboard.storage.options import SecretForm
from dashboard.storage.recipients import changed_options, is_unused, recipient, required
from dashboard.storage.types import Secret

HINT_LENGTH = 4
MIN_HINTED_LENGTH = 16
"""Shorter secrets get no hint: four characters would reveal too much of them."""


class StoredBackends:
    """Thread-safe."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def sendable_secrets(self, stored: Stored) -> Mapping[str, Secret]:
        """The secrets for a driver, if its options send each only to the recipient it was entered for.

        Raises ``SEALED``, and ``DAMAGED`` if one would be sent elsewhere.
        """
        driver, options = stored.driver, stored.options
        names = frozenset(name for name in stored.tokens if not is_unused(driver, options, name))
        secrets = self.open(stored, names)
        for name in sorted(names):
            if changed_options(from_text(stored.sent_to[name]), driver, options, name):
                raise _recipient_changed_error(stored.name)
        if any(option.name not in secrets for option in required(driver, options)):
            raise _recipient_changed_error(stored.name)
        return secrets

    def open(self, stored: Stored, names: frozenset[str]) -> Mapping[str, Secret]:
        """The named secrets of a backend. Raises ``SEALED``, and ``CONFLICT`` if it was edited meanwhile."""
        try:
            return self._open_all(stored, names)
        except StowageError as error:
            if error.kind is not Kind.SEALED:
                raise
        # A rotation may have resealed them since the row was read: read it again.
        again = self.read(stored.name)
        if again.version != stored.version:
            raise edit_conflict_error(stored.name)
        return self._open_all(again, names)

    def _open_all(self, stored: Stored, names: frozenset[str]) -> Mapping[str, Secret]:
        return {
            name: self._keys.open(token, binding_of_secret(stored.id, name, stored.sent_to[name]))
            for name, token in stored.tokens.items()
            if name in names
        }

    def read(self, name: str) -> Stored:
        """A saved backend with its secrets, still sealed. Raises ``NOT_FOUND``."""
        stored = self._load(name)
        if not all(stored.sent_to.values()):
            # Stored by an earlier version, and the key was missing when this one started.
            self._keys.bind_recipients()
            stored = self._load(name)
        return stored

    def _load(self, name: str) -> Stored:
        with self._database.read() as session:
            row = get_row(session, name)
            return Stored(
                row.id,
                row.name,
                row.driver,
                row.preset,
                dict(row.options),
                row.version,
                tokens={secret.name: secret.sealed for secret in row.secrets},
                sent_to={secret.name: secret.sent_to for secret in row.secrets},
            )

    def store(self, session: Session, row: Backend, resolved: Resolved) -> None:
        """Seal the secrets that were typed, in the caller's writing transaction. The row must have its id."""
        present = {secret.name: secret for secret in row.secrets}
        made = {o.name for o in registry.options_of(resolved.preset) if o.form is SecretForm.KEY}
        for name in resolved.typed:
            secret = resolved.secrets[name]
            sent_to = to_text(recipient(row.driver, resolved.options, name))
            sealed = self._keys.seal(session, secret, binding_of_secret(row.id, name, sent_to))
            # Show no characters of a password that a person chose or of a pasted file.
            hint = _hint(secret) if name in made else ""
            if name in present:
                present[name].sealed, present[name].hint, present[name].sent_to = sealed, hint, sent_to
            else:
                row.secrets.append(BackendSecret(name=name, sealed=sealed, hint=hint, sent_to=sent_to))


def edit_conflict_error(name: str) -> StowageError:
    """The error for a change that was based on an older state of a backend."""
    return StowageError(
        Kind.CONFLICT,
        f"Somebody else changed “{name}” meanwhile.",
        operation="edit backend",
        subject=name,
        remedy="Open the form again and repeat the change.",
    )


def _recipient_changed_error(name: str) -> StowageError:
    return StowageError(
        Kind.DAMAGED,
        f"The address of “{name}”, or a secret of it, was changed outside Stowage: nothing secret is sent.",
        operation="open secret",
        subject=name,
        remedy="Edit the backend, look at its address and enter its secrets again.",
        retryable=False,
    )


def _hint(secret: Secret) -> str:
    plain = secret.reveal()
    return plain[-HINT_LENGTH:] if len(plain) >= MIN_HINTED_LENGTH else ""
