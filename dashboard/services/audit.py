"""The audit log: one row for every change of configuration and every migration."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from dashboard.jobs.types import DONE, JobContext, JobKind, JobResult
from dashboard.models.console import AuditEntry
from dashboard.services.auditing.audit_rows import (
    MAX_TEXT,
    AuditFilter,
    AuditRow,
    AuditRows,
    newest_id,
    shorten,
)
from dashboard.services.auditing.chain import AuditChain
from dashboard.services.auditing.retention import Retention
from dashboard.services.auditing.searching import SearchIndex
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.storage.options import Option
from dashboard.storage.types import Secret

if TYPE_CHECKING:
    from dashboard.services.auditing.verifying import Verification

__all__ = ["HIDDEN", "MAX_TEXT", "AuditFilter", "AuditLog", "AuditRow", "redact_options", "shorten"]

log = logging.getLogger(__name__)

HIDDEN = "***"
MAX_AT_ONCE = 50_000
"""Entries that are checked while a person waits; more are checked by the runner."""
CHAINED_AT_ONCE = 2000
"""Earlier rows that one transaction chains."""
STOWAGE = Actor("stowage", Role.OPERATOR, "runner")
"""What the console does by itself."""


class AuditLog(AuditRows):
    """Writes rows inside other services' transactions, and reads and verifies them. Thread-safe."""

    def __init__(self, database: Database, chain: AuditChain) -> None:
        super().__init__(database)
        self.chain = chain
        self.retention = Retention(database, chain, self.record)
        self.search = SearchIndex(database)

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

    def prepare_search(self) -> None:
        """Have the runner index the entries of versions before the index, if there are any."""
        if self.search.is_behind():
            with self._database.write() as session:
                enqueue(session, JobKind.AUDIT, 0)

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
        from dashboard.services.auditing.verifying import verify

        actor.require(Permission.AUDIT)
        result = verify(self._database, self.chain)
        assert result is not None
        self._keep(result)
        return result

    def verify_soon(self, actor: Actor) -> Verification | None:
        """Check the chain now if it is short; otherwise let the runner do it, and return None."""
        actor.require(Permission.AUDIT)
        with self._database.read() as session:
            short = newest_id(session) <= MAX_AT_ONCE
        if short:
            return self.verify(actor)
        with self._database.write() as session:
            enqueue(session, JobKind.AUDIT, 0)
        return None

    def run(self, context: JobContext) -> JobResult:
        """The runner's job: check the chain, and remove entries that are too old if it is whole."""
        from dashboard.services.auditing.verifying import verify

        self.search.catch_up(context.should_stop)
        self.chain_earlier_rows()
        result = verify(self._database, self.chain, stop=context.should_stop)
        if result is None:
            return JobResult(requeue=True)
        self._keep(result)
        if result.problem_count:
            log.error("The audit log is not whole: %s", result.problems[0].sentence)
        elif result.whole:
            self.retention.expire(context.should_stop)
        return DONE

    def last_verification(self) -> Verification | None:
        """What the last check of the chain found; None if there was none."""
        from dashboard.services.auditing.verifying import load_result

        with self._database.read() as session:
            return load_result(session, self.chain.key(session))

    def accept_end(self, actor: Actor) -> Verification:
        """Record that the chain ends earlier than was seen here, because somebody put back an older copy of
        the database, and go on from there. What else is wrong with the chain stays reported."""
        from dashboard.services.auditing.verifying import ProblemKind

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
        from dashboard.services.auditing.verifying import store_result

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
