"""The chain of the audit log: each row's code covers the row before it, so nobody without the key can change,
remove, insert or reorder rows without it being found.

The key is random and sealed like every other secret, so a rotation of the console's key reseals it and the
chain stays verifiable. Rows are chained in the transaction that writes them, under SQLite's write lock, so
that two processes cannot follow the same row. A console without its key writes rows without a code; they are
chained as soon as the key is there, and marked as chained later: nothing vouches for the time between.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, event, exists, select, update
from sqlalchemy.orm import Session

from dashboard.errors import StowageError
from dashboard.models.console import AuditEntry, AuditHead, Setting
from dashboard.services.auditing.canonical import ROWS, Head, parse_detail, row_mac, same_code
from dashboard.services.auditing.newest_seen import NewestSeen, Seen
from dashboard.services.sealed_rows import CHAIN_KEY, binding_of_setting
from dashboard.vault import tokens
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keyring import KeyFile

MAX_ADOPTED = 200
"""Rows without a code that a change chains on its way. More of them are chained in batches of their own."""
_NOTE = "audit_newest"
_COPIED = ("id", "at", "actor", "via", "address", "action", "subject", "outcome")
_ADOPT = (
    update(AuditEntry.__table__)  # type: ignore[arg-type]
    .where(AuditEntry.id == bindparam("b_id"), AuditEntry.mac == "")
    .values(chained=bindparam("b_chained"), previous=bindparam("b_previous"), mac=bindparam("b_mac"))
)


class Chained(StrEnum):
    """How a row came into the chain."""

    NOT_YET = ""
    LIVE = "live"
    """In the transaction that wrote it."""
    LATER = "later"
    """Written by an earlier version, or while the console had no key."""
    RESTARTED = "restarted"
    """The head that it should have followed was missing or altered."""


class AuditChain:
    """Chains rows inside other services' transactions. Thread-safe."""

    def __init__(self, key_file: KeyFile, instance: Path) -> None:
        self._file = key_file
        self.newest = NewestSeen(instance)

    def key(self, session: Session) -> bytes | None:
        """The key of the chain, or None while the console is sealed."""
        row = session.get(Setting, CHAIN_KEY)
        if row is None or not row.sealed:
            return None
        try:
            ring = self._file.read()
            key = ring.find(tokens.key_id_of(row.sealed)) if ring else None
            return (
                bytes.fromhex(tokens.unseal(key, row.sealed, binding_of_setting(CHAIN_KEY))) if key else None
            )
        except (UnsealError, StowageError, ValueError):
            return None

    def append(self, session: Session, entry: AuditEntry) -> None:
        """Store a row, chained to the newest one, in the caller's writing transaction. Without the key it is
        stored without a code."""
        session.add(entry)
        session.flush()
        key = self.key(session)
        if key is None:
            return
        head, whole = load_head(session, key)
        if entry.id > head.last_id + 1:
            pending = _pending(session, head.last_id, entry.id, MAX_ADOPTED + 1)
            if len(pending) > MAX_ADOPTED:
                return
            if pending and whole:
                head, _ = _adopt(session.connection(), key, head, pending)
        follows = self._follows(session, key, head)
        entry.chained = Chained.LIVE if whole else Chained.RESTARTED
        entry.previous = head.last_mac
        entry.mac = row_mac(key, entry, entry.detail)
        store_head(session, key, head.after(entry.id, entry.mac))
        if follows:
            self._note_after_commit(session, key, Seen(entry.id, entry.mac))

    def adopt(self, session: Session, limit: int) -> int:
        """Chain up to ``limit`` of the oldest rows that have no code yet; return how many."""
        key = self.key(session)
        if key is None:
            return 0
        head, whole = load_head(session, key)
        if not whole:
            return 0
        follows = self._follows(session, key, head)
        pending = _pending(session, head.last_id, None, limit)
        head, count = _adopt(session.connection(), key, head, pending)
        if count:
            store_head(session, key, head)
            if follows:
                self._note_after_commit(session, key, Seen(head.last_id, head.last_mac))
        return count

    def has_pending(self, session: Session) -> bool:
        """Whether there are rows that have no code yet."""
        head = session.get(AuditHead, 1)
        last = head.last_id if head else 0
        return bool(session.scalar(select(exists().where(AuditEntry.id > last, AuditEntry.mac == ""))))

    def forget_newest(self, session: Session) -> None:
        """Let the note of the newest row follow this chain from now on, whatever it says; in the caller's
        transaction."""
        key = self.key(session)
        head = session.get(AuditHead, 1)
        if key is not None and head is not None:
            self._note_after_commit(session, key, Seen(head.last_id, head.last_mac))

    def _follows(self, session: Session, key: bytes, head: Head) -> bool:
        """Whether the note of the newest row is about this chain. One that is not is kept: it is what shows
        that the end was cut off or an older database put back."""
        seen = self.newest.read(key)
        if seen is None or seen == Seen(head.last_id, head.last_mac) or seen.entry_id <= head.start_id:
            return True
        found = session.scalar(select(AuditEntry.mac).where(AuditEntry.id == seen.entry_id))
        return seen.entry_id <= head.last_id and found == seen.mac

    def _note_after_commit(self, session: Session, key: bytes, seen: Seen) -> None:
        if _NOTE not in session.info:
            event.listen(session, "after_commit", lambda ended: self.newest.write(key, ended.info[_NOTE]))
        session.info[_NOTE] = seen


def load_head(session: Session, key: bytes) -> tuple[Head, bool]:
    """The head of the chain, and whether it is the one that this console wrote."""
    row = session.get(AuditHead, 1)
    if row is None:
        return Head(), not session.scalar(select(exists().where(AuditEntry.mac != "")))
    head = Head(row.last_id, row.last_mac, row.start_id, row.start_mac, row.removed)
    return head, same_code(row.signature, head.signature(key))


def store_head(session: Session, key: bytes, head: Head) -> None:
    """Write the head in the caller's transaction."""
    row = session.get(AuditHead, 1)
    if row is None:
        row = AuditHead(id=1)
        session.add(row)
    row.last_id, row.last_mac = head.last_id, head.last_mac
    row.start_id, row.start_mac, row.removed = head.start_id, head.start_mac, head.removed
    row.signature = head.signature(key)


def _pending(session: Session, after: int, before: int | None, limit: int) -> Sequence[Row[Any]]:
    query = ROWS.where(AuditEntry.id > after, AuditEntry.mac == "").order_by(AuditEntry.id).limit(limit)
    return session.execute(query if before is None else query.where(AuditEntry.id < before)).all()


def _adopt(connection: Connection, key: bytes, head: Head, rows: Sequence[Row[Any]]) -> tuple[Head, int]:
    values: list[dict[str, Any]] = []
    for row in rows:
        entry = AuditEntry(
            **{name: getattr(row, name) for name in _COPIED}, chained=Chained.LATER, previous=head.last_mac
        )
        try:
            mac = row_mac(key, entry, parse_detail(row.detail))
        except (TypeError, ValueError):
            # Nothing that a console wrote. Verifying reports it.
            continue
        values.append(
            {"b_id": row.id, "b_chained": entry.chained, "b_previous": entry.previous, "b_mac": mac}
        )
        head = head.after(row.id, mac)
    if values:
        connection.execute(_ADOPT, values)
    return head, len(values)
