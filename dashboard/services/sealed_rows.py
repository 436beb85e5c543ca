"""The rows that hold sealed values: what each value is bound to, to whom it may be sent, and resealing it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from dashboard.models.backends import Backend, BackendSecret
from dashboard.models.console import Setting, TwoFactor
from dashboard.storage.recipients import recipient
from dashboard.vault import tokens
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keys import Key, Keyring
from dashboard.vault.tokens import Binding

if TYPE_CHECKING:
    from dashboard.models.notifications import NotificationSecret

    SealedRow = BackendSecret | Setting | TwoFactor | NotificationSecret
    Reference = tuple[type[SealedRow], int | str | tuple[int, str]]

CHAIN_KEY = "audit_chain_key"
"""The setting with the key of the audit log's chain."""
_SEALED = text(
    "SELECT sealed FROM settings UNION ALL SELECT sealed FROM backend_secrets "
    "UNION ALL SELECT sealed FROM two_factor UNION ALL SELECT sealed FROM notification_secrets"
)
"""The values of :func:`sealed_rows`, without loading all their tables: asked at every start."""
BOUND = "secrets_bound"
"""The setting that exists once all secrets are bound to their recipients. Others are not opened then."""


def binding_of_secret(backend_id: int, name: str, sent_to: str) -> Binding:
    """What a backend's secret is bound to: its row, whose key has both parts, and the recipient that the row
    names. None of them can be exchanged for another."""
    return Binding("backend_secrets", "sealed", f"{backend_id}/{name}", sent_to)


def binding_of_setting(key: str) -> Binding:
    """What a setting is bound to. It has no recipient."""
    return Binding("settings", "sealed", key)


def binding_of_two_factor(user_id: int) -> Binding:
    """What a person's secret for one-time codes is bound to. It has no recipient."""
    return Binding("two_factor", "sealed", str(user_id))


def binding_of_notification_secret(channel_id: int, name: str, sent_to: str) -> Binding:
    """What a secret of a channel is bound to: its row, and where it may be sent."""
    return Binding("notification_secrets", "sealed", f"{channel_id}/{name}", sent_to)


def to_text(sent_to: Mapping[str, str]) -> str:
    """A recipient as the row and the binding hold it."""
    return json.dumps(dict(sent_to), sort_keys=True)


def from_text(text: str) -> dict[str, str]:
    """The reverse of :func:`to_text`. Trust the result only after the value was opened with this text."""
    found = json.loads(text) if text else {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def sealed_rows(session: Session) -> Iterator[SealedRow]:
    """Every row of the database that holds a sealed value."""
    # First, because a console that has run once has one: whether there is any is asked at every start.
    yield from session.scalars(select(Setting).where(Setting.sealed.is_not(None)))
    yield from session.scalars(select(BackendSecret))
    yield from session.scalars(select(TwoFactor))
    from dashboard.models.notifications import NotificationSecret

    yield from session.scalars(select(NotificationSecret))


def binding_of(row: SealedRow) -> Binding:
    """What a row's value is bound to."""
    if isinstance(row, Setting):
        return binding_of_setting(row.key)
    if isinstance(row, BackendSecret):
        return binding_of_secret(row.backend_id, row.name, row.sent_to)
    if isinstance(row, TwoFactor):
        return binding_of_two_factor(row.user_id)
    return binding_of_notification_secret(row.channel_id, row.name, row.sent_to)


def reference(row: SealedRow) -> Reference:
    """A reference by which :func:`load` gets the row in another transaction."""
    if isinstance(row, Setting):
        return Setting, row.key
    if isinstance(row, TwoFactor):
        return TwoFactor, row.user_id
    if isinstance(row, BackendSecret):
        return BackendSecret, (row.backend_id, row.name)
    return type(row), (row.channel_id, row.name)


def load(session: Session, found: Reference) -> SealedRow | None:
    """The row of a reference."""
    kind, identity = found
    return cast("SealedRow | None", session.get(kind, identity))


def ids_in_use(session: Session) -> frozenset[str]:
    """Ids of the keys that stored values were sealed with."""
    session.flush()
    return frozenset(key_id(sealed or "") for sealed in session.scalars(_SEALED)) - {""}


def key_id(token: str) -> str:
    """The id of the key that sealed a value; empty if the text is not a sealed value."""
    try:
        return tokens.key_id_of(token)
    except UnsealError:
        return ""


def reseal(ring: Keyring, row: SealedRow) -> str:
    """Return a row's value sealed with the current key, bound as before. Raises ``UnsealError``."""
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
    """Whether the secrets of this instance are bound to their recipients."""
    return session.get(Setting, BOUND) is not None


def bind_to_recipients(session: Session, ring: Keyring) -> None:
    """Reseal the secrets of earlier versions, each bound to its present recipient. Happens once.

    A secret that does not open stays as it is; the console asks for it again when it is needed.
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
