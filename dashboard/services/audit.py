"""The audit log: one row for every change of configuration and every migration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from dashboard.models.console import AuditEntry
from dashboard.services.auditing.audit_rows import MAX_TEXT, AuditFilter, AuditRow, AuditRows, shorten
from dashboard.services.auditing.chain import AuditChain
from dashboard.services.auditing.verifying import (
    ProblemKind,
    Verification,
    load_result,
    store_result,
    verify,
)
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.storage.options import Option
from dashboard.storage.types import Secret

__all__ = ["HIDDEN", "MAX_TEXT", "AuditFilter", "AuditLog", "AuditRow", "redact_options", "shorten"]

HIDDEN = "***"
CHAINED_AT_ONCE = 2000
"""Earlier rows that one transaction chains."""
STOWAGE = Actor("stowage", Role.OPERATOR, "runner")
"""What the console does by itself."""


class AuditLog(AuditRows):
    """Writes rows inside other services' transactions, and reads and verifies them. Thread-safe."""

    def __init__(self, database: Database, chain: AuditChain) -> None:
        super().__init__(database)
        self.chain = chain

    def record(
        self,
        session: Session,
        actor: Actor,
        action: str,
        subject: str,
        *,
        outcome: str = "done",
        **detail: object,
    ) -> None:
        """Add one row to the caller's transaction. A ``Secret`` in ``detail`` is written as ``***``; an
        API token that the actor used is added."""
        if actor.token:
            detail["token"] = actor.token
        self.chain.append(
            session,
            AuditEntry(
                at=time.time(),
                actor=shorten(actor.name, 64),
                via=actor.via,
                address=shorten(actor.address, 64),
                action=action,
                subject=shorten(subject, MAX_TEXT),
                detail={name: shorten(_text(value), MAX_TEXT) for name, value in detail.items()},
                outcome=outcome,
            ),
        )

    def chain_earlier_rows(self) -> int:
        """Chain the rows of versions before the chain, and those that were written while the console had no
        key; return how many. Idempotent; does nothing while it has none."""
        with self._database.read() as session:
            if not self.chain.has_pending(session):
                return 0
        total = 0
        while True:
            with self._database.write() as session:
                count = self.chain.adopt(session, CHAINED_AT_ONCE)
                total += count
                if not count:
                    if total:
                        self.record(session, STOWAGE, "audit.chain", f"{total} entries", entries=total)
                    return total

    def verify(self, actor: Actor) -> Verification:
        """Check the whole chain, and keep the result for the page."""
        actor.require(Permission.AUDIT)
        result = verify(self._database, self.chain)
        assert result is not None
        self._keep(result)
        return result

    def last_verification(self) -> Verification | None:
        """What the last check of the chain found; None if there was none."""
        with self._database.read() as session:
            return load_result(session, self.chain.key(session))

    def accept_end(self, actor: Actor) -> Verification:
        """Record that the chain ends earlier than was seen here, because somebody put back an older copy of
        the database, and go on from there. What else is wrong with the chain stays reported."""
        actor.require(Permission.KEYS)
        result = self.verify(actor)
        if ProblemKind.OLDER not in {problem.kind for problem in result.problems}:
            return result
        with self._database.write() as session:
            key = self.chain.key(session)
            seen = self.chain.newest.read(key) if key else None
            if seen is not None:
                self.record(
                    session,
                    actor,
                    "audit.accept_end",
                    f"entry {seen.entry_id}",
                    seen=seen.entry_id,
                    ends=result.head_id,
                )
                self.chain.forget_newest(session)
        return self.verify(actor)

    def _keep(self, result: Verification) -> None:
        with self._database.write() as session:
            key = self.chain.key(session)
            if key is not None:
                store_result(session, key, result)


def redact_options(options: Iterable[Option], values: Mapping[str, object]) -> dict[str, str]:
    """Return ``values`` for the audit log, with ``***`` for options that are secret or unknown."""
    plain = {option.name for option in options if not option.secret}
    return {name: _text(value) if name in plain else HIDDEN for name, value in values.items()}


def _text(value: object) -> str:
    return HIDDEN if isinstance(value, Secret) else str(value)
