"""The console's keys: created once, rotated online, restored from a recovery key. A missing key is reported,
never replaced.

Two rules keep a secret from being lost. The key file is only written while the database's write lock is
held. A secret is only sealed inside a writing transaction, after reading the key file again. So no process
can seal with a key that a rotation is about to remove.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import Setting
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission
from dashboard.services.sealed_rows import (
    CHAIN_KEY,
    bind_to_recipients,
    binding_of_setting,
    can_open_any,
    ids_in_use,
    is_bound,
    key_id,
    load,
    reference,
    reseal,
    sealed_rows,
)
from dashboard.storage.types import Secret
from dashboard.vault import keys as vault_keys
from dashboard.vault import tokens
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keyring import KeyFile, KeyFileError, Signature
from dashboard.vault.keys import Key, Keyring
from dashboard.vault.tokens import Binding

log = logging.getLogger(__name__)

SESSION_SECRET = "session_secret"
STATE_CACHE_SECONDS = 2.0


KEY_ROTATED_AT = "key_rotated_at"
"""The setting with the time of the last rotation, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """Whether stored secrets can be opened; if not, why, and what to do."""

    sealed: bool
    reason: str
    remedy: str
    key_id: str


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """The current key, to be written down. Prints without the key."""

    key_id: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A finished rotation: how many values this run resealed, and the new key."""

    rows: int
    key_id: str
    recovery_key: str = field(repr=False)


class Keys:
    """Opens and seals every stored secret. Thread-safe; notices when another process rotates."""

    def __init__(self, database: Database, key_file: KeyFile, audit: AuditLog) -> None:
        self._database = database
        self._file = key_file
        self._audit = audit
        self._lock = threading.Lock()
        self._cached_state: tuple[float, Signature | None, KeyState] | None = None
        # While sealed the stored secret cannot be opened; sign-in forms still need one.
        self._fallback_secret = secrets.token_bytes(32)

    def prepare(self) -> KeyState:
        """Create the key on the very first run, and only then; return the state. Idempotent.

        The first run also seals a value of its own, so that a lost key is noticed from then on.
        """
        with self._database.write() as session:
            if not any(True for _ in sealed_rows(session)):
                self._create_key(session)
            self._bind_recipients(session)
            self._create_chain_key(session)
        return self.state()

    def state(self) -> KeyState:
        """Whether secrets can be opened. Cheap enough for every page."""
        signature = self._file.signature()
        with self._lock:
            if (
                self._cached_state
                and self._cached_state[1] == signature
                and time.monotonic() < self._cached_state[0]
            ):
                return self._cached_state[2]
        with self._database.read() as session:
            state = self._check(session)
        with self._lock:
            self._cached_state = (time.monotonic() + STATE_CACHE_SECONDS, signature, state)
        return state

    def require_unsealed(self) -> None:
        """Raise ``SEALED`` unless secrets can be opened. Called before any network call."""
        state = self.state()
        if state.sealed:
            raise _sealed(state)

    def bind_recipients(self) -> None:
        """Bind the secrets of an earlier version to their present recipients, if the key is available.
        Idempotent."""
        with self._database.write() as session:
            self._bind_recipients(session)

    def seal(self, session: Session, secret: Secret, binding: Binding) -> str:
        """Seal a value, inside the writing transaction that stores it. Raises ``SEALED`` without the key."""
        state = self._check(session)
        ring = self._file.read() if not state.sealed else None
        if ring is None:
            raise _sealed(state)
        return tokens.seal(ring.current, secret.reveal(), binding)

    def open(self, token: str, binding: Binding) -> Secret:
        """Open a stored value. Raises ``SEALED`` without the key, ``DAMAGED`` if it was moved or altered.

        A rotation may have replaced ``token`` since it was read: on ``SEALED``, read the row again and retry.
        """
        ring = self._file.read()
        try:
            key = ring.find(tokens.key_id_of(token)) if ring else None
            if key is None:
                raise _sealed(self.state())
            return Secret(tokens.unseal(key, token, binding))
        except UnsealError:
            raise StowageError(
                Kind.DAMAGED,
                "A stored secret was moved or altered and does not open.",
                operation="open secret",
                subject=binding.row,
                remedy="Edit the backend and enter the secret again.",
                retryable=False,
            ) from None

    def recovery_key(self) -> RecoveryKey:
        """The current key as text. Shown once, by setup and by a rotation."""
        ring = self._file.read()
        if ring is None:
            raise _sealed(self.state())
        return RecoveryKey(ring.current.id, vault_keys.to_recovery(ring.current))

    def session_secret(self) -> bytes:
        """32 bytes that sign cookies and form tokens. A sealed console uses temporary ones."""
        for _ in range(2):
            with self._database.read() as session:
                row = session.get(Setting, SESSION_SECRET)
                token = row.sealed if row else None
            try:
                if token:
                    return bytes.fromhex(self.open(token, binding_of_setting(SESSION_SECRET)).reveal())
            except StowageError as error:
                if error.kind not in (Kind.SEALED, Kind.DAMAGED):
                    raise
        return self._fallback_secret

    def rotate(self, actor: Actor) -> Rotation:
        """Reseal everything with a new key, while the console runs.

        Nothing is lost if it is killed: run it again, and it continues with the key it had created. The older
        key leaves the file only when no value is sealed with it any more.
        """
        actor.require(Permission.KEYS)
        self.bind_recipients()
        self._add_key(actor)
        rows, broken = self._reseal_all()
        if broken:
            raise StowageError(
                Kind.DAMAGED,
                f"{broken} stored secret(s) were moved or altered and do not open; the others are rotated.",
                operation="rotate keys",
                remedy="Enter the secrets of the backends concerned again, then run: stowage keys rotate.",
                retryable=False,
            )
        current = self._drop_old_keys(actor, rows)
        return Rotation(rows, current.id, vault_keys.to_recovery(current))

    def restore(self, actor: Actor, recovery_key: str) -> KeyState:
        """Write a lost key file again from the recovery key, only if that key opens what is stored.

        A key file that opens nothing here is renamed, not lost. Idempotent.
        """
        actor.require(Permission.KEYS)
        key = vault_keys.from_recovery(recovery_key)
        with self._database.write() as session:
            if not can_open_any(session, key):
                raise InvalidInput(
                    "recovery_key",
                    "This recovery key does not open what is stored here.",
                    remedy="It may be older than the last rotation, or belong to another console.",
                )
            self._restore_key(key, ids_in_use(session))
            self._bind_recipients(session)
            self._create_chain_key(session)
            self._audit.record(session, actor, "keys.restore", key.id)
        self._forget_state()
        return self.state()

    def _create_key(self, session: Session) -> None:
        ring = self._read_or_none()
        if ring is None:
            if self._file.signature() is not None:
                return
            ring = Keyring(Key.new())
            self._file.create(ring)
            log.info("A new key file was made: %s", self._file.path)
        session.merge(
            Setting(
                key=SESSION_SECRET,
                sealed=tokens.seal(ring.current, secrets.token_hex(32), binding_of_setting(SESSION_SECRET)),
            )
        )

    def _bind_recipients(self, session: Session) -> None:
        if is_bound(session) or self._check(session).sealed:
            return
        if (ring := self._file.read()) is not None:
            bind_to_recipients(session, ring)

    def _create_chain_key(self, session: Session) -> None:
        if session.get(Setting, CHAIN_KEY) is not None or self._check(session).sealed:
            return
        if (ring := self._file.read()) is not None:
            sealed = tokens.seal(ring.current, secrets.token_hex(32), binding_of_setting(CHAIN_KEY))
            session.add(Setting(key=CHAIN_KEY, sealed=sealed))

    def _check(self, session: Session) -> KeyState:
        path = self._file.path
        try:
            ring = self._file.read()
        except KeyFileError as error:
            return KeyState(True, error.reason, error.remedy, "")
        if ring is None:
            return KeyState(
                True,
                f"The key file {path} is missing, so the stored secrets cannot be opened.",
                "Put a copy of it back, or run: stowage keys restore, with the recovery key.",
                "",
            )
        if ids_in_use(session) - ring.ids():
            return KeyState(
                True,
                f"The key file {path} is not the one the stored secrets were sealed with.",
                "Put the right key file back, or run: stowage keys restore, with the recovery key.",
                ring.current.id,
            )
        return KeyState(False, "", "", ring.current.id)

    def _add_key(self, actor: Actor) -> None:
        with self._database.write() as session:
            state = self._check(session)
            ring = self._read_or_none()
            if state.sealed or ring is None:
                raise _sealed(state)
            # Older keys exist if an earlier rotation was interrupted: continue with its new key.
            if not ring.older:
                fresh = Key.new()
                self._audit.record(
                    session, actor, "keys.rotate", fresh.id, outcome="begun", old=ring.current.id
                )
                self._file.replace(Keyring(fresh, (ring.current,)))

    def _reseal_all(self) -> tuple[int, int]:
        rows = broken = 0
        with self._database.read() as session:
            references = [reference(row) for row in sealed_rows(session)]
        for found in references:
            with self._database.write() as session:
                row = load(session, found)
                ring = self._file.read()
                if row is None or not row.sealed or ring is None:
                    continue
                if key_id(row.sealed) == ring.current.id:
                    continue
                try:
                    row.sealed = reseal(ring, row)
                    rows += 1
                except UnsealError:
                    broken += 1
        return rows, broken

    def _drop_old_keys(self, actor: Actor, rows: int) -> Key:
        with self._database.write() as session:
            ring = self._file.read()
            if ring is None:
                raise _sealed(self._check(session))
            # Values sealed in between were sealed with the new key: see the top of this file.
            needed = ids_in_use(session)
            self._audit.record(session, actor, "keys.rotate", ring.current.id, rows=rows)
            # The audit log may be told to forget.
            session.merge(Setting(key=KEY_ROTATED_AT, value=repr(time.time())))
            self._file.replace(Keyring(ring.current, tuple(k for k in ring.older if k.id in needed)))
        self._forget_state()
        return ring.current

    def _restore_key(self, key: Key, in_use: frozenset[str]) -> None:
        present = self._read_or_none()
        if present is None or not present.ids() & in_use:
            self._file.set_aside()
            self._file.create(Keyring(key))
        elif key.id not in present.ids():
            self._file.replace(Keyring(present.current, (*present.older, key)))

    def _read_or_none(self) -> Keyring | None:
        try:
            return self._file.read()
        except KeyFileError:
            return None

    def _forget_state(self) -> None:
        with self._lock:
            self._cached_state = None


def _sealed(state: KeyState) -> StowageError:
    return StowageError(
        Kind.SEALED,
        state.reason or "The key that this secret was sealed with is not in the key file.",
        operation="open secret",
        remedy=state.remedy or "Try again; if it keeps failing, run: stowage keys restore.",
    )
