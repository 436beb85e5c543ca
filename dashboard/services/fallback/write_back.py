"""Writing back what waits elsewhere, once its backend answers again: nothing lost, nothing newer overwritten.

An object is written back when its home has nothing under its key, or something that is older beyond doubt.
Anything else at home is left alone, and what waits is kept where it is and shown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Protocol

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from dashboard.errors import StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.backends import Backend
from dashboard.models.waiting import WaitingObject
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.fallback.waiting_rows import (
    READABLE,
    attempts_from,
    attempts_text,
    is_alive,
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

LABEL = "write-back-"
"""How the labels of those drivers begin that take objects out of the folder in which they wait."""
ABANDONED_AFTER_SECONDS = 3600.0
"""Seconds after which a write is taken to have ended, where nobody can tell whether its process is alive."""
CONFIRM_AFTER_SECONDS = 30.0
"""Seconds after which a server that works again has carried out what reached it while it hung."""
WORKERS = 8
BATCH = 64
_BEFORE = MappingProxyType({"sending": "waiting", "settling": "settling", "sent": "sent"})
"""The state of a row that was claimed and not worked on."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be written back to one backend. ``overtaken`` and ``lost`` need somebody to look."""

    home: str
    stand_in: str
    waiting: int
    overtaken: int
    lost: int


class HasId(Protocol):
    """A backend, as little of it as is needed here."""

    @property
    def id(self) -> int:
        """Of its row."""
        ...


class OpensBackends(Protocol):
    """See ``services.backends.backends.Backends``, which is built on this package."""

    def get(self, name: str) -> HasId:
        """One backend."""
        ...

    def name_of(self, backend_id: int) -> str | None:
        """None when it was removed."""
        ...

    def driver(self, name: str, *, label: str = "") -> Driver:
        """Its driver."""
        ...

    def release(self, label: str) -> None:
        """Close the drivers opened under a label."""
        ...


class WriteBack:
    """Thread-safe and idempotent: what is cut short is done again."""

    def __init__(self, database: Database, audit: AuditLog, backends: OpensBackends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends

    def summary(self) -> tuple[Backlog, ...]:
        """What waits, per home and stand-in, by name."""
        home, stand_in, row = aliased(Backend), aliased(Backend), WaitingObject
        query = (
            select(home.name, stand_in.name, row.state, func.count(row.id))
            .join(home, home.id == row.home_id)
            .join(stand_in, stand_in.id == row.stand_in_id)
            .group_by(home.name, stand_in.name, row.state)
        )
        with self._database.read() as session:
            counts = {(h, s, state): count for h, s, state, count in session.execute(query)}
        pairs = sorted({(h, s) for h, s, _ in counts})
        found = (
            Backlog(
                h,
                s,
                sum(counts.get((h, s, state), 0) for state in READABLE),
                counts.get((h, s, "overtaken"), 0),
                counts.get((h, s, "lost"), 0),
            )
            for h, s in pairs
        )
        return tuple(each for each in found if each.waiting or each.overtaken or each.lost)

    def dismiss(self, actor: Actor, name: str) -> int:
        """Show what was overtaken or lost on its way to a backend no longer; how many. What was kept stays
        where it is. Raises ``NOT_FOUND``."""
        actor.require(Permission.CONFIGURE)
        home = self._backends.get(name).id
        with self._database.write() as session:
            gone = session.execute(
                delete(WaitingObject)
                .where(WaitingObject.home_id == home, WaitingObject.state.in_(("overtaken", "lost")))
                .returning(WaitingObject.id)
            ).all()
            self._audit.record(session, actor, "backend.dismiss_waiting", name, objects=len(gone))
        return len(gone)

    def begin(self, backend_id: int) -> None:
        """Have a backend's backlog written back in the background, where there is any."""
        with self._database.read() as session:
            some = session.scalar(
                select(WaitingObject.id)
                .where(WaitingObject.home_id == backend_id, WaitingObject.state.not_in(("overtaken", "lost")))
                .limit(1)
            )
        if some is not None:
            with self._database.write() as session:
                enqueue(session, JobKind.WRITE_BACK, backend_id)

    def run(self, backend_id: int, should_stop: Callable[[], bool]) -> bool:
        """Write back everything that waits for a backend, several at a time; False when told to stop before
        the end.

        Trouble with one object leaves it waiting for the next time. Raises nothing a backend caused.
        """
        name = self._backends.name_of(backend_id)
        if name is None:
            return True
        self._recover(backend_id)
        work = _Pass(backend_id, f"{LABEL}{backend_id}")
        try:
            return self._run(name, work, should_stop)
        finally:
            self._backends.release(work.label)

    def _run(self, name: str, work: _Pass, should_stop: Callable[[], bool]) -> bool:
        stand_in = partial(self._stand_in, work)
        writer: ObjectWriteBack | None = None
        with ThreadPoolExecutor(WORKERS, "write-back") as pool:
            while not should_stop() and (batch := self._claim(work)):
                try:
                    if writer is None and any(row.state != "sent" for row in batch):
                        home = self._backends.driver(name, label=work.label)
                        writer = ObjectWriteBack(home, stand_in, measure_clock(home), should_stop)
                except StowageError as error:
                    _log_deferred(name, error)
                    self._record(batch, [WriteBackResult(_BEFORE[row.state]) for row in batch])
                    # The next health check that finds home well begins anew.
                    return True
                results = list(pool.map(partial(_process, writer), batch))
                self._record(batch, results)
                done = [row for row, result in zip(batch, results, strict=True) if result.state == "sent"]
                removed = list(pool.map(partial(_remove_stored, stand_in), done))
                self._forget([row for row, gone in zip(done, removed, strict=True) if gone])
                if not self._can_continue(name, work, batch, results):
                    return True
        return not should_stop()

    def _can_continue(
        self, name: str, work: _Pass, batch: Sequence[_Row], results: Sequence[WriteBackResult]
    ) -> bool:
        """Whether another batch may fare better; backends that are away are passed over."""
        for row, result in zip(batch, results, strict=True):
            if result.trouble is None:
                continue
            _log_deferred(name, result.trouble)
            if result.away and result.home:
                return False
            if result.away:
                work.away.add(row.waiting.stand_in)
        return True

    # ---- rows

    def _recover(self, backend_id: int) -> None:
        """Rows that a crash left in the middle. Jobs for one backend never run side by side."""
        long_ago = time.time() - ABANDONED_AFTER_SECONDS
        row = WaitingObject
        with self._database.write() as session:
            remove_dead_holds(session, backend_id)
            mine = select(row).where(row.home_id == backend_id)
            for each in session.scalars(mine.where(row.state == "sending")):
                # What was under way may still be carried out there.
                _note_attempt(session, each, late=True)
                each.state = "waiting"
            for each in session.scalars(mine.where(row.state == "begun")):
                if is_alive(each.owner) is False or each.changed_at < long_ago:
                    each.state = "sent"

    def _claim(self, work: _Pass) -> list[_Row]:
        """The next rows that can be worked on, their states set; empty when there are none left."""
        row = WaitingObject
        while True:
            with self._database.write() as session:
                found = list(
                    session.scalars(
                        select(row)
                        .where(row.home_id == work.home, row.id > work.after)
                        .where(row.state.in_(("waiting", "settling", "sent")))
                        .where(row.stand_in_id.not_in(work.away))
                        .order_by(row.id)
                        .limit(BATCH)
                    )
                )
                if not found:
                    return []
                work.after = found[-1].id
                batch = [
                    _Row(each.id, each.state, waiting_of(each)) for each in found if _claim_row(session, each)
                ]
            if batch:
                return batch

    def _record(self, batch: Sequence[_Row], results: Sequence[WriteBackResult]) -> None:
        """How each row was left, in one transaction."""
        now = time.time()
        with self._database.write() as session:
            for each, result in zip(batch, results, strict=True):
                row = session.get(WaitingObject, each.number)
                if row is None or row.state != each.state or result.state == each.state:
                    continue
                if (
                    isinstance(result.trouble, StorageError)
                    and result.home
                    and may_complete_late(result.trouble)
                ):
                    _note_attempt(session, row, late=True)
                elif each.state == "sending" and result.state in ("sent", "settling"):
                    # A newer write may have begun before it was sent, and must not take it for newer.
                    _note_attempt(session, row, late=False)
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
    """How far the rows of a home are gone through. ``label``: of the drivers that are opened for it.
    ``away``: stand-ins that cannot be used now."""

    home: int
    label: str
    after: int = 0
    away: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    state: str
    waiting: WaitingWrite


def _claim_row(session: Session, row: WaitingObject) -> bool:
    """Whether there is something to do for a row now; one that is to be sent is marked so. Of several for a
    key only the newest goes home."""
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
    """Its content is at home now, or may arrive there at any time: all that waits for its key knows."""
    attempt = WriteAttempt(row.md5, row.size, time.time(), late)
    same_key = select(WaitingObject).where(WaitingObject.home_id == row.home_id, WaitingObject.key == row.key)
    for each in session.scalars(same_key):
        each.attempts = attempts_text([*attempts_from(each.attempts), attempt])


def _process(writer: ObjectWriteBack | None, row: _Row) -> WriteBackResult:
    if row.state == "sent":
        return WriteBackResult("sent")
    assert writer is not None
    if writer.stop():
        return WriteBackResult(_BEFORE[row.state])
    return writer.confirm(row.waiting) if row.state == "settling" else writer.write_back(row.waiting)


def _log_deferred(name: str, error: StowageError) -> None:
    log.warning("An object still waits to be written back to %s: %s", name, error.reason)


def _remove_stored(stand_in: Callable[[WaitingWrite], Driver], row: _Row) -> bool:
    """Remove what is not needed any more where it waited; whether it is gone."""
    try:
        stand_in(row.waiting).delete(row.waiting.stored_key)
    except StowageError as error:
        log.warning("What waited in another backend is removed there later: %s", error.reason)
        return False
    return True
