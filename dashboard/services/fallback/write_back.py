"""Writing waiting writes back once home is available again, without overwriting anything newer.

An object is written back if home has no object with its key, or one that is certainly older. Any other object
at home is left alone, and the waiting write is kept on its stand-in and shown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session, aliased

from dashboard.errors import StowageError
from dashboard.jobs.process_identity import is_alive
from dashboard.jobs.types import JobKind
from dashboard.models.backends import Backend
from dashboard.models.waiting import WaitingObject, WaitingTry
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.fallback.labels import WRITE_BACK
from dashboard.services.fallback.waiting_rows import (
    READABLE,
    WRITTEN_BACK,
    attempts_from,
    attempts_text,
    is_held,
    remove_dead_holds,
    waiting_of,
)
from dashboard.services.fallback.write_back_object import ObjectWriteBack, WriteBackResult, measure_clock
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.wrappers.fallback.waiting_writes import WaitingWrite, WriteAttempt, may_complete_late

log = logging.getLogger(__name__)

ABANDONED_AFTER_SECONDS = 3600.0
"""After how long a write counts as abandoned if its process cannot be checked."""
CONFIRM_AFTER_SECONDS = 30.0
"""After how long a server that works again has carried out what it received while it hung."""
MAX_PARALLEL_OBJECTS = 8
BATCH = 64
_BEFORE = MappingProxyType({"sending": "waiting", "settling": "settling", "sent": "sent"})
"""The state to which a claimed row returns if it was not processed."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Waiting writes of one backend on one stand-in. ``overtaken`` and ``lost`` ones need attention."""

    home: str
    stand_in: str
    waiting: int
    overtaken: int
    lost: int


class HasId(Protocol):
    """What is needed of a backend here."""

    @property
    def id(self) -> int:
        """The id of its row."""
        ...


class OpensBackends(Protocol):
    """See ``services.backends.backends.Backends``, which is built on this package."""

    def get(self, name: str) -> HasId:
        """Return a backend."""
        ...

    def name_of(self, backend_id: int) -> str | None:
        """Return its name, or None if it was removed."""
        ...

    def driver(self, name: str, *, label: str = "") -> Driver:
        """Return its driver."""
        ...

    def release(self, label: str) -> None:
        """Close the drivers that were opened under a label."""
        ...


class WriteBack:
    """Writes waiting writes back. Thread-safe and idempotent: an interrupted run can be repeated."""

    def __init__(self, database: Database, audit: AuditLog, backends: OpensBackends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends

    def summary(self) -> tuple[Backlog, ...]:
        """Return the backlogs, ordered by the names of home and stand-in."""
        return self._database.kept("write_back", self._summary, of="main")

    def _summary(self) -> tuple[Backlog, ...]:
        with self._database.read() as session:
            counts = {(h, s, state): count for h, s, state, count in session.execute(_waiting())}
        pairs = sorted({(h, s) for h, s, _ in counts})
        backlogs = (
            Backlog(
                h,
                s,
                sum(counts.get((h, s, state), 0) for state in READABLE),
                counts.get((h, s, "overtaken"), 0),
                counts.get((h, s, "lost"), 0),
            )
            for h, s in pairs
        )
        return tuple(backlog for backlog in backlogs if backlog.waiting or backlog.overtaken or backlog.lost)

    def dismiss(self, actor: Actor, name: str) -> int:
        """Stop showing a backend's overtaken and lost waiting writes; return how many. Objects on stand-ins
        stay there. Raises ``NOT_FOUND``."""
        actor.require(Permission.CONFIGURE)
        home = self._backends.get(name).id
        with self._database.write() as session:
            dismissed = session.execute(
                delete(WaitingObject)
                .where(WaitingObject.home_id == home, WaitingObject.state.in_(("overtaken", "lost")))
                .returning(WaitingObject.id)
            ).all()
            self._audit.record(session, actor, "backend.dismiss_waiting", name, objects=len(dismissed))
        return len(dismissed)

    def begin(self, backend_id: int) -> None:
        """Enqueue writing back for a backend if it has waiting writes."""
        with self._database.read() as session:
            row_id = session.scalar(
                select(WaitingObject.id)
                .where(WaitingObject.home_id == backend_id, WaitingObject.state.not_in(("overtaken", "lost")))
                .limit(1)
            )
        if row_id is not None:
            with self._database.write() as session:
                enqueue(session, JobKind.WRITE_BACK, backend_id)

    def run(self, backend_id: int, should_stop: Callable[[], bool]) -> bool:
        """Write back all waiting writes of a backend, several at a time. Return False if stopped before the
        end.

        An object whose write back fails remains for the next run. Raises no errors of backends.
        """
        name = self._backends.name_of(backend_id)
        if name is None:
            return True
        self._recover(backend_id)
        work = _Pass(backend_id, f"{WRITE_BACK}{backend_id}")
        try:
            return self._run(name, work, should_stop)
        finally:
            self._backends.release(work.label)

    def _run(self, name: str, work: _Pass, should_stop: Callable[[], bool]) -> bool:
        stand_in = partial(self._stand_in, work)
        writer: ObjectWriteBack | None = None
        with ThreadPoolExecutor(MAX_PARALLEL_OBJECTS, "write-back") as pool:
            while not should_stop() and (batch := self._claim(work)):
                try:
                    if writer is None and any(row.state != "sent" for row in batch):
                        home = self._backends.driver(name, label=work.label)
                        writer = ObjectWriteBack(home, stand_in, measure_clock(home), should_stop)
                except StowageError as error:
                    _log_deferred(name, error)
                    self._record(batch, [WriteBackResult(_BEFORE[row.state]) for row in batch])
                    # The next successful health check of home starts again.
                    return True
                results = list(pool.map(partial(_process, writer), batch))
                self._record(batch, results)
                done = [row for row, result in zip(batch, results, strict=True) if result.state == "sent"]
                removed = list(pool.map(partial(_remove_stored, stand_in), done))
                self._forget([row for row, is_removed in zip(done, removed, strict=True) if is_removed])
                if not self._can_continue(name, work, batch, results):
                    return True
        return not should_stop()

    def _can_continue(
        self, name: str, work: _Pass, batch: Sequence[_Row], results: Sequence[WriteBackResult]
    ) -> bool:
        """Whether another batch may succeed. Excludes stand-ins that are unavailable."""
        for row, result in zip(batch, results, strict=True):
            if result.error is None:
                continue
            _log_deferred(name, result.error)
            if result.is_unavailable and result.at_home:
                return False
            if result.is_unavailable:
                work.unavailable.add(row.waiting.stand_in)
        return True

    # ---- rows

    def _recover(self, backend_id: int) -> None:
        """Repair rows after a crash. Jobs for one backend never run concurrently."""
        oldest = time.time() - ABANDONED_AFTER_SECONDS
        row = WaitingObject
        with self._database.write() as session:
            remove_dead_holds(session, backend_id)
            rows = select(row).where(row.home_id == backend_id)
            for sending in session.scalars(rows.where(row.state == "sending")):
                # The interrupted write may still complete at home.
                _note_attempt(session, sending, late=True)
                sending.state = "waiting"
            for begun in session.scalars(rows.where(row.state == "begun")):
                if is_alive(begun.owner) is False or begun.changed_at < oldest:
                    begun.state = "sent"

    def _claim(self, work: _Pass) -> list[_Row]:
        """Claim and return the next batch of rows; empty if there are no more."""
        row = WaitingObject
        while True:
            with self._database.write() as session:
                rows = list(
                    session.scalars(
                        select(row)
                        .where(row.home_id == work.home, row.id > work.after)
                        .where(row.state.in_(("waiting", "settling", "sent")))
                        .where(row.stand_in_id.not_in(work.unavailable))
                        .order_by(row.id)
                        .limit(BATCH)
                    )
                )
                if not rows:
                    return []
                work.after = rows[-1].id
                batch = [
                    _Row(claimed.id, claimed.state, waiting_of(claimed))
                    for claimed in rows
                    if _claim_row(session, claimed)
                ]
            if batch:
                return batch

    def _record(self, batch: Sequence[_Row], results: Sequence[WriteBackResult]) -> None:
        """Record the result of each row, in one transaction."""
        now = time.time()
        with self._database.write() as session:
            for claimed, result in zip(batch, results, strict=True):
                row = session.get(WaitingObject, claimed.number)
                if row is None or row.state != claimed.state or result.state == claimed.state:
                    continue
                if (
                    isinstance(result.error, StorageError)
                    and result.at_home
                    and may_complete_late(result.error)
                ):
                    _note_attempt(session, row, late=True)
                elif claimed.state == "sending" and result.state in ("sent", "settling"):
                    # A newer write may have started before, or start after this row is gone, and must not
                    # mistake this content for newer.
                    _note_attempt(session, row, late=False)
                    session.add(
                        WaitingTry(
                            home_id=row.home_id,
                            key=row.key,
                            md5=row.md5,
                            size=row.size,
                            owner=WRITTEN_BACK,
                            at=now,
                        )
                    )
                row.state, row.message, row.changed_at = result.state, result.message, now

    def _forget(self, rows: Sequence[_Row]) -> None:
        with self._database.write() as session:
            numbers = [row.number for row in rows]
            session.execute(
                delete(WaitingObject).where(WaitingObject.id.in_(numbers), WaitingObject.state == "sent")
            )

    def _stand_in(self, work: _Pass, waiting: WaitingWrite) -> Driver:
        name = self._backends.name_of(waiting.stand_in)
        return self._backends.driver(name if name is not None else "", label=work.label)


@dataclass(slots=True)
class _Pass:
    """The progress of one run. ``label``: of the drivers that are opened for it. ``after``: the last row.
    ``unavailable``: stand-ins that cannot be used now."""

    home: int
    label: str
    after: int = 0
    unavailable: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    state: str
    waiting: WaitingWrite


def _claim_row(session: Session, row: WaitingObject) -> bool:
    """Claim a row if it can be processed now. Only the newest row of a key is written back."""
    later = (
        select(WaitingObject.id)
        .where(WaitingObject.home_id == row.home_id, WaitingObject.key == row.key)
        .where(WaitingObject.id > row.id, WaitingObject.state.in_(READABLE))
        .limit(1)
    )
    if row.state != "sent" and session.scalar(later) is not None:
        row.state, row.changed_at = "sent", time.time()
    if row.state == "settling":
        return row.changed_at + CONFIRM_AFTER_SECONDS < time.time()
    if row.state == "waiting":
        if is_held(session, row.home_id, row.key):
            return False
        row.state, row.changed_at = "sending", time.time()
    return True


def _note_attempt(session: Session, row: WaitingObject, *, late: bool) -> None:
    """Record in all rows of the key that this content is at home, or may arrive there at any time."""
    attempt = WriteAttempt(row.md5, row.size, time.time(), late)
    same_key = select(WaitingObject).where(WaitingObject.home_id == row.home_id, WaitingObject.key == row.key)
    for other in session.scalars(same_key):
        other.attempts = attempts_text([*attempts_from(other.attempts), attempt])


def _process(writer: ObjectWriteBack | None, row: _Row) -> WriteBackResult:
    if row.state == "sent":
        return WriteBackResult("sent")
    assert writer is not None
    if writer.stop():
        return WriteBackResult(_BEFORE[row.state])
    return writer.confirm(row.waiting) if row.state == "settling" else writer.write_back(row.waiting)


def _log_deferred(name: str, error: StowageError) -> None:
    log.warning("An object has not been written back to %s yet: %s", name, error.reason)


def _remove_stored(stand_in: Callable[[WaitingWrite], Driver], row: _Row) -> bool:
    """Delete an object that is no longer needed from its stand-in; return whether it is deleted."""
    try:
        stand_in(row.waiting).delete(row.waiting.stored_key)
    except StowageError as error:
        log.warning("An object that was written back is deleted from its stand-in later: %s", error.reason)
        return False
    return True


@cache
def _waiting() -> Select[*tuple[Any, ...]]:
    """What waits, by home, stand-in and state. Put together once: the Overview asks each time."""
    home, stand_in, row = aliased(Backend), aliased(Backend), WaitingObject
    return (
        select(home.name, stand_in.name, row.state, func.count(row.id))
        .join(home, home.id == row.home_id)
        .join(stand_in, stand_in.id == row.stand_in_id)
        .group_by(home.name, stand_in.name, row.state)
    )
