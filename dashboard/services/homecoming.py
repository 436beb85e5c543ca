"""Sending home what waits elsewhere, once home is back: nothing lost, and nothing newer overwritten.

An object is sent when home has nothing under its key, or something that is older beyond doubt. Anything
else at home is left alone, and what waits is kept where it is and shown.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import aliased

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.backends import Backend
from dashboard.models.waiting import WaitingObject
from dashboard.services.audit import AuditLog
from dashboard.services.backends import Backends
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission
from dashboard.services.waiting import READABLE, waiting_of
from dashboard.storage.copying import copy_object, read_back
from dashboard.storage.driver import Driver, LooksBeforeCreating
from dashboard.storage.errors import Exists, NotFound, PlaceMissing, StorageError
from dashboard.storage.standing_in import Waiting, is_away
from dashboard.storage.types import Entry, ObjectInfo

log = logging.getLogger(__name__)

LEAST_DOUBT = 2.0
"""Seconds within which two times are never told apart: many backends tell them in whole seconds."""
GIVEN_UP = 3600.0
"""Seconds after which a write, or whoever held an object, is known to have ended without a word."""
LABEL = "homecoming"


@dataclass(frozen=True, slots=True)
class Away:
    """What waits to be sent home to one backend. ``overtaken`` and ``lost`` need somebody to look."""

    home: str
    stand_in: str
    waiting: int
    overtaken: int
    lost: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A backend's clock beside ours. ``ahead`` and ``doubt`` in seconds."""

    ahead: float
    doubt: float

    def is_older(self, there: ObjectInfo, since: float) -> bool:
        """Whether what is there is from before that moment of ours, beyond doubt."""
        return there.modified is not None and there.modified - self.ahead + self.doubt < since


def measured(home: Driver) -> Clock:
    """A backend's clock, from an object that is written and removed again. Raises as its calls do."""
    key = f".stowage-clock-{secrets.token_hex(8)}"
    before = time.time()
    try:
        home.put(key, b"Stowage compares clocks. It may be deleted.\n")
        after = time.time()
        told = home.stat(key).modified
    finally:
        with suppress(StorageError):
            home.delete(key)
    if told is None:
        return Clock(0.0, float("inf"))
    # Some servers tell whole minutes only, in lists if not here.
    grain = 60.0 if told % 60 == 0 else LEAST_DOUBT
    return Clock(told - (before + after) / 2, (after - before) / 2 + grain)


class Homecoming:
    """Thread-safe and idempotent: what is cut short is done again."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends

    def summary(self) -> tuple[Away, ...]:
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
            Away(
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

    def after_check(self, backend_id: int, *, well: bool) -> None:
        """After a health check: have what waits sent home if home is well, and clear up in any case."""
        with self._database.read() as session:
            some = session.scalar(
                select(WaitingObject.id)
                .where(WaitingObject.home_id == backend_id, WaitingObject.state.not_in(("overtaken", "lost")))
                .limit(1)
            )
        if some is not None and well:
            with self._database.write() as session:
                enqueue(session, JobKind.SEND_HOME, backend_id)

    def send(self, backend_id: int, should_stop: Callable[[], bool]) -> bool:
        """Send home everything that waits for a backend; False when told to stop before the end.

        Trouble with one object leaves it waiting for the next time. Raises nothing a backend caused.
        """
        name = self._backends.name_of(backend_id)
        if name is None:
            return True
        self._recover(backend_id)
        clock: Clock | None = None
        after = 0
        while (row := self._next(backend_id, after)) is not None:
            if should_stop():
                return False
            after = row.number
            try:
                if row.state == "sent":
                    self._clear(row)
                    continue
                clock = clock or measured(self._backends.driver(name, label=LABEL))
                self._one(name, backend_id, row.waiting, clock)
            except StowageError as error:
                log.warning("An object waits on to be sent home to %s: %s", name, error.reason)
                self._turn(row.number, "sending", "waiting")
                if is_away(error):
                    # The next health check that finds home well begins anew.
                    return True
        return True

    # ---- one object

    def _one(self, name: str, home_id: int, waiting: Waiting, clock: Clock) -> None:
        if self._has_newer(home_id, waiting):
            if self._turn(waiting.number, "waiting", "sent"):
                self._clear(_Row(waiting.number, "sent", waiting))
            return
        if not self._turn(waiting.number, "waiting", "sending"):
            return
        home = self._backends.driver(name, label=LABEL)
        stand_in = self._stand_in(waiting)
        try:
            info = stand_in.stat(waiting.stored_key)
        except PlaceMissing:
            raise
        except NotFound:
            self._turn(waiting.number, "sending", "lost", "It is not there any more.")
            return
        if info.size != waiting.size or read_back(stand_in, waiting.stored_key, stop=_never) != waiting.md5:
            self._turn(waiting.number, "sending", "lost", "It is not what was written there.")
            return
        there = _found(home, waiting.key)
        if there is None or clock.is_older(there, waiting.since):
            self._copy(home, stand_in, info, waiting, there)
        elif there.size != waiting.size or read_back(home, waiting.key, stop=_never) != waiting.md5:
            self._turn(waiting.number, "sending", "overtaken", "Home has something that may be newer.")
            return
        if self._turn(waiting.number, "sending", "sent"):
            self._clear(_Row(waiting.number, "sent", waiting))

    def _copy(
        self,
        home: Driver,
        stand_in: Driver,
        info: ObjectInfo,
        waiting: Waiting,
        there: ObjectInfo | None,
    ) -> None:
        create_only = there is None
        if create_only and isinstance(home, LooksBeforeCreating) and not home.creates_only():
            create_only = False
        entry = Entry(waiting.stored_key, info.size, info.modified, info.etag)
        try:
            copied = copy_object(
                stand_in,
                home,
                entry,
                to=waiting.key,
                create_only=create_only,
                progress=lambda done: None,
                stop=_never,
            )
        except Exists as error:
            raise StorageError(
                error.kind, "Home got an object under its key at this moment.", operation="send home"
            ) from error
        if not copied.proven and read_back(home, waiting.key, stop=_never) != waiting.md5:
            raise StorageError(
                Kind.DAMAGED, "It did not arrive as it was sent; it is sent again.", operation="send home"
            )

    # ---- rows

    def _recover(self, backend_id: int) -> None:
        """Rows that a crash left in the middle. Jobs for one backend never run side by side."""
        long_ago = time.time() - GIVEN_UP
        row = WaitingObject
        with self._database.write() as session:
            session.execute(
                update(row).where(row.home_id == backend_id, row.state == "sending").values(state="waiting")
            )
            session.execute(
                update(row)
                .where(row.home_id == backend_id, row.state == "held", row.changed_at < long_ago)
                .values(state="waiting")
            )
            session.execute(
                update(row)
                .where(row.home_id == backend_id, row.state == "begun", row.changed_at < long_ago)
                .values(state="sent")
            )

    def _next(self, backend_id: int, after: int) -> _Row | None:
        query = (
            select(WaitingObject)
            .where(
                WaitingObject.home_id == backend_id,
                WaitingObject.id > after,
                WaitingObject.state.in_(("waiting", "sent")),
            )
            .order_by(WaitingObject.id)
            .limit(1)
        )
        with self._database.read() as session:
            row = session.scalar(query)
            return _Row(row.id, row.state, waiting_of(row)) if row is not None else None

    def _has_newer(self, home_id: int, waiting: Waiting) -> bool:
        row = WaitingObject
        with self._database.read() as session:
            mine = session.get(row, waiting.number)
            return mine is not None and bool(
                session.scalar(
                    select(row.id)
                    .where(row.home_id == home_id, row.key == mine.key, row.id > mine.id)
                    .where(row.state.in_(READABLE))
                    .limit(1)
                )
            )

    def _turn(self, number: int, before: str, after: str, message: str = "") -> bool:
        """Whether the row was in the one state and is now in the other."""
        with self._database.write() as session:
            row = session.get(WaitingObject, number)
            if row is None or row.state != before:
                return False
            row.state, row.message, row.changed_at = after, message, time.time()
            return True

    def _clear(self, row: _Row) -> None:
        """Remove what is not needed any more where it waited, then its row."""
        self._stand_in(row.waiting).delete(row.waiting.stored_key)
        with self._database.write() as session:
            session.execute(
                delete(WaitingObject).where(WaitingObject.id == row.number, WaitingObject.state == "sent")
            )

    def _stand_in(self, waiting: Waiting) -> Driver:
        name = self._backends.name_of(waiting.stand_in)
        return self._backends.driver(name if name is not None else "", label=LABEL)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    state: str
    waiting: Waiting


def _found(home: Driver, key: str) -> ObjectInfo | None:
    try:
        return home.stat(key)
    except PlaceMissing:
        raise
    except NotFound:
        return None


def _never() -> bool:
    return False
