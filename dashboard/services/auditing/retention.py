"""How long entries of the audit log are kept, and removing older ones without breaking the chain.

What is removed is the beginning of the chain. The signed head says up to which entry, and with which code it
ended, so that the first entry that is left still has something to follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput
from dashboard.models.console import AuditEntry, Setting
from dashboard.services.auditing.chain import AuditChain, load_head, store_head
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission, Role

SETTING = "audit_retention_days"
MIN_DAYS = 30
MAX_DAYS = 36_500
CHOICES = {0: "for ever", 90: "90 days", 365: "1 year", 730: "2 years", 1826: "5 years", 3652: "10 years"}
REMOVED_AT_ONCE = 2000
DAY = 86_400
RUNNER = Actor("stowage", Role.OPERATOR, "runner")

_E = AuditEntry


class Records(Protocol):
    """``AuditLog.record``."""

    def __call__(
        self,
        session: Session,
        actor: Actor,
        action: str,
        subject: str,
        *,
        outcome: str = "done",
        **detail: object,
    ) -> None: ...


class Retention:
    """Thread-safe."""

    def __init__(self, database: Database, chain: AuditChain, record: Records) -> None:
        self._database = database
        self._chain = chain
        self._record = record

    def days(self) -> int:
        """For how many days entries are kept; 0: for ever."""
        with self._database.read() as session:
            return _days(session)

    def keep(self, actor: Actor, days: int) -> None:
        """Keep entries for so many days, 0 for ever. Nothing is removed before the next check of the chain.
        Raises ``InvalidInput``."""
        actor.require(Permission.CONFIGURE)
        if days and not MIN_DAYS <= days <= MAX_DAYS:
            raise InvalidInput(
                "days",
                f"Entries are kept for at least {MIN_DAYS} days, or for ever.",
                remedy=f"Give 0, or a number from {MIN_DAYS} to {MAX_DAYS:,}.",
            )
        with self._database.write() as session:
            before = _days(session)
            if before == days:
                return
            session.merge(Setting(key=SETTING, value=str(days)))
            self._record(
                session,
                actor,
                "audit.retention",
                "audit log",
                days=_text(days),
                **{"before.days": _text(before)},
            )

    def expire(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Remove entries that are too old, in small transactions; return how many. Call it only for a chain
        that was just found to be whole: a broken one is evidence. Idempotent."""
        days = self.days()
        if not days:
            return 0
        cutoff, removed = time.time() - days * DAY, 0
        while not stop():
            with self._database.write() as session:
                count = self._expire_some(session, cutoff, announce=removed == 0)
            removed += count
            if count < REMOVED_AT_ONCE:
                break
        return removed

    def _expire_some(self, session: Session, cutoff: float, *, announce: bool) -> int:
        key = self._chain.key(session)
        if key is None:
            return 0
        head, whole = load_head(session, key)
        # The beginning only: an old time in the middle is a clock that was set back.
        kept = session.scalar(select(func.min(_E.id)).where(_E.at >= cutoff))
        last = (kept if kept is not None else head.last_id) - 1
        if not whole or last <= head.start_id:
            return 0
        total = last - head.start_id
        last = min(last, head.start_id + REMOVED_AT_ONCE)
        mac = session.scalar(select(_E.mac).where(_E.id == last))
        if not mac:
            return 0
        if announce:
            day = datetime.fromtimestamp(cutoff, UTC).date().isoformat()
            self._record(session, RUNNER, "audit.expire", day, entries=total, up_to=head.start_id + total)
            head, _ = load_head(session, key)
        session.execute(delete(_E).where(_E.id <= last))
        count = last - head.start_id
        start = replace(head, start_id=last, start_mac=mac, removed=head.removed + count)
        store_head(session, key, start)
        return count


def _text(days: int) -> str:
    return CHOICES.get(days, f"{days:,} days")


def _days(session: Session) -> int:
    row = session.get(Setting, SETTING)
    return int(row.value) if row is not None and row.value and row.value.isdecimal() else 0
