"""The rows that hold sealed values: where each value stands, to whom it may be sent, sealing it anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.models.backends import Backend, BackendSecret
from dashboard.models.console import Setting
from dashboard.storage.recipients import recipient
from dashboard.vault import tokens
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keys import Key, Keyring
from dashboard.vault.tokens import Binding

SealedRow = BackendSecret | Setting

BOUND = "secrets_bound"
"""The setting that says: every secret of a backend is bound to its recipient, and no other is opened."""


def binding_of_secret(backend_id: int, name: str, sent_to: str) -> Binding:
    """Where a backend's secret stands. The row's key is both parts, so neither can be exchanged, and
    ``sent_to`` is the row's own note of the recipient, which cannot be exchanged either."""
    return Binding("backend_secrets", "sealed", f"{backend_id}/{name}", sent_to)


def binding_of_setting(key: str) -> Binding:
    """Where a setting stands; it is sent to nobody."""
    return Binding("settings", "sealed", key)


def to_text(sent_to: Mapping[str, str]) -> str:
    """A recipient as the row and the seal hold it."""
    return json.dumps(dict(sent_to), sort_keys=True)


def from_text(text: str) -> dict[str, str]:
    """The same as a mapping. The text is only believed once the value opened with it."""
    found = json.loads(text) if text else {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def sealed_rows(session: Session) -> Iterator[SealedRow]:
    """Every row of the database that holds a sealed value."""
    yield from session.scalars(select(BackendSecret))
    yield from session.scalars(select(Setting).where(Setting.sealed.is_not(None)))


def binding_of(row: SealedRow) -> Binding:
    """Where a row's value stands."""
    if isinstance(row, BackendSecret):
        return binding_of_secret(row.backend_id, row.name, row.sent_to)
    return binding_of_setting(row.key)


def reference(row: SealedRow) -> tuple[int, str] | str:
    """What finds a row again in another transaction."""
    return (row.backend_id, row.name) if isinstance(row, BackendSecret) else row.key


def load(session: Session, found: tuple[int, str] | str) -> SealedRow | None:
    """The row of a reference."""
    if isinstance(found, str):
        return session.get(Setting, found)
    return session.get(BackendSecret, found)


def ids_in_use(session: Session) -> frozenset[str]:
    """Ids of the keys that open something. Text that was never sealed counts for none."""
    return frozenset(key_id(row.sealed or "") for row in sealed_rows(session)) - {""}


def key_id(token: str) -> str:
    """Which key sealed it; empty for what was never sealed."""
    try:
        return tokens.key_id_of(token)
    except UnsealError:
        return ""


def reseal(ring: Keyring, row: SealedRow) -> str:
    """A row's value sealed with the current key, for the same place. Raises ``UnsealError``."""
    return tokens.seal(ring.current, _unseal(ring, row.sealed or "", binding_of(row)), binding_of(row))


def can_open_any(session: Session, key: Key) -> bool:
    """Whether any stored value opens with this key."""
    for row in sealed_rows(session):
        for binding in (binding_of(row), replace(binding_of(row), recipient=None)):
            try:
                tokens.unseal(key, row.sealed or "", binding)
            except UnsealError:
                continue
            return True
    return False


def is_bound(session: Session) -> bool:
    """Whether secrets are bound to recipients here already."""
    return session.get(Setting, BOUND) is not None


def bind_to_recipients(session: Session, ring: Keyring) -> None:
    """Seal the secrets of earlier versions again, each for the recipient it has now. Happens once.

    What does not open stays as it is, and is asked for again where it is needed.
    """
    for row in session.scalars(select(BackendSecret).where(BackendSecret.sent_to == "")):
        backend = session.get_one(Backend, row.backend_id)
        try:
            plain = _unseal(ring, row.sealed, replace(binding_of(row), recipient=None))
        except UnsealError:
            continue
        row.sent_to = to_text(recipient(backend.driver, backend.options, row.name))
        row.sealed = tokens.seal(ring.current, plain, binding_of(row))
    session.merge(Setting(key=BOUND, sealed=tokens.seal(ring.current, BOUND, binding_of_setting(BOUND))))


def _unseal(ring: Keyring, token: str, binding: Binding) -> str:
    key = ring.find(key_id(token))
    if key is None:
        raise UnsealError
    return tokens.unseal(key, token, binding)
