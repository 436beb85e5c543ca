"""The book of objects that wait to be written back to their backend, and which backends stand in for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.models.waiting import WaitingHold, WaitingObject, WaitingTry
from dashboard.services.database import Database
from dashboard.services.fallback.waiting_rows import (
    LEASE_SECONDS,
    READABLE,
    attempts_from,
    attempts_of_dead_processes,
    attempts_text,
    attributes_text,
    has_pending_write,
    this_process,
    waiting_of,
)
from dashboard.storage.checks.wrappers import FALLBACK, READ_ONLY, has_fallback, is_encrypted, is_read_only
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_bytes
from dashboard.storage.registry import uses_own_key
from dashboard.storage.wrappers.fallback.waiting_writes import (
    EarlierWritePending,
    Hold,
    WaitingWrite,
    WriteAttempt,
    WrittenContent,
)


class SqlWaitingStore:
    """See ``WaitingStore``: the rows of one home. Every change is one durable transaction."""

    def __init__(self, database: Database, home_id: int) -> None:
        self._database = database
        self._home_id = home_id

    def note_attempt(self, key: str, md5: str, size: int) -> int:
        """See ``WaitingStore``."""
        row = WaitingTry(
            home_id=self._home_id,
            key=key_bytes(key),
            md5=md5,
            size=size,
            owner=this_process(),
            at=time.time(),
        )
        with _translate_errors(), self._database.write() as session:
            session.add(row)
            session.flush()
            return row.id

    def clear_attempt(self, number: int) -> None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.write() as session:
            session.execute(delete(WaitingTry).where(WaitingTry.id == number))

    def add(self, key: str, stand_in: int, stored_key: str, content: WrittenContent) -> int:
        """See ``WaitingStore``."""
        now = time.time()
        row = WaitingObject(
            home_id=self._home_id,
            stand_in_id=stand_in,
            key=key_bytes(key),
            stored_key=key_bytes(stored_key),
            state="begun",
            size=content.size,
            md5=content.md5,
            since=now,
            changed_at=now,
            owner=this_process(),
            attributes=attributes_text(content.attributes),
            create_only=content.create_only,
        )
        with _translate_errors(), self._database.write() as session:
            row.attempts = attempts_text([*content.attempts, *self._earlier(session, row.key)])
            session.add(row)
            session.flush()
            return row.id

    def mark_written(self, number: int) -> None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.write() as session:
            row = session.get(WaitingObject, number)
            if row is None or row.state != "begun":
                reason = "The write took too long and was given up."
                raise StorageError(Kind.CONFLICT, reason, operation="write", retryable=True)
            row.state, row.since, row.changed_at = "waiting", time.time(), time.time()

    def newest(self, key: str) -> WaitingWrite | None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.read() as session:
            row = session.scalar(self._of(key).order_by(WaitingObject.id.desc()).limit(1))
            return waiting_of(row) if row is not None else None

    def list_under(self, prefix: str) -> Sequence[WaitingWrite]:
        """See ``WaitingStore``."""
        begin = key_bytes(prefix)
        newest = (
            select(func.max(WaitingObject.id))
            .where(WaitingObject.home_id == self._home_id, WaitingObject.state.in_(READABLE))
            .group_by(WaitingObject.key)
        )
        query = (
            select(WaitingObject)
            .where(WaitingObject.id.in_(newest), WaitingObject.key >= begin)
            .order_by(WaitingObject.key)
        )
        with _translate_errors(), self._database.read() as session:
            return [waiting_of(row) for row in session.scalars(query) if row.key.startswith(begin)]

    def hold(self, key: str) -> Hold | None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.read() as session:
            # Nearly always nothing waits, and a look does not have to queue for the one writer.
            nothing = session.scalar(self._of(key).limit(1)) is None
            if attempts_of_dead_processes(session, self._home_id, key_bytes(key)):
                raise EarlierWritePending(key)
            if nothing:
                return None
        with _translate_errors(), self._database.write() as session:
            rows = list(session.scalars(self._of(key)))
            if any(has_pending_write(row) for row in rows):
                raise EarlierWritePending(key)
            hold = WaitingHold(
                home_id=self._home_id,
                key=key_bytes(key),
                owner=this_process(),
                until=time.time() + LEASE_SECONDS,
            )
            session.add(hold)
            session.flush()
            return Hold(hold.id, tuple(row.id for row in rows))

    def release(self, hold: Hold) -> None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.write() as session:
            session.execute(delete(WaitingHold).where(WaitingHold.id == hold.number))

    def discard(self, hold: Hold) -> None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.write() as session:
            session.execute(
                update(WaitingObject)
                .where(WaitingObject.id.in_(hold.rows), WaitingObject.state.in_(READABLE))
                .values(state="sent", changed_at=time.time())
            )
            session.execute(delete(WaitingHold).where(WaitingHold.id == hold.number))

    def _of(self, key: str) -> Select[WaitingObject]:
        return select(WaitingObject).where(
            WaitingObject.home_id == self._home_id,
            WaitingObject.key == key_bytes(key),
            WaitingObject.state.in_(READABLE),
        )

    def _earlier(self, session: Session, key: bytes) -> Iterator[WriteAttempt]:
        """What earlier writes of a key may have put there, or what sending them home may."""
        row = WaitingObject
        for left in attempts_of_dead_processes(session, self._home_id, key):
            yield WriteAttempt(left.md5, left.size, left.at, late=True)
            session.delete(left)
        for each in session.scalars(select(row).where(row.home_id == self._home_id, row.key == key)):
            yield from attempts_from(each.attempts)
            if each.md5:
                yield WriteAttempt(each.md5, each.size, each.changed_at, late=each.state == "sending")


class FallbackOrder:
    """See ``StandIns``: the backends of the fallback order, without the one they stand in for.

    ``home``: its driver and options. Nothing is written to those whose provider could read what its own
    cannot.
    """

    def __init__(
        self,
        database: Database,
        home_id: int,
        driver_of: Callable[[str], Driver],
        home: tuple[str, Mapping[str, str]],
    ) -> None:
        self._database = database
        self._home_id = home_id
        self._driver_of = driver_of
        self._secrecy = _secrecy(*home)

    def in_order(self, *, writing: bool) -> Iterator[tuple[int, Driver]]:
        """See ``StandIns``. Backends that cannot be used now are passed over."""
        query = (
            select(Backend)
            .where(Backend.fallback_position.is_not(None), Backend.id != self._home_id)
            .order_by(Backend.fallback_position)
        )
        with _translate_errors(), self._database.read() as session:
            found = [(row.id, row.name, self._takes(row)) for row in session.scalars(query)]
        for backend_id, name, takes in found:
            if takes or not writing:
                try:
                    driver = self._driver_of(name)
                except StowageError:
                    continue
                yield backend_id, driver

    def _takes(self, row: Backend) -> bool:
        return not is_read_only(row.options) and _secrecy(row.driver, row.options) >= self._secrecy

    def driver(self, stand_in: int) -> Driver:
        """See ``StandIns``."""
        with _translate_errors(), self._database.read() as session:
            name = session.scalar(select(Backend.name).where(Backend.id == stand_in))
        if name is None:
            raise StorageError(
                Kind.UNREACHABLE, "The backend this object waits in was removed.", operation="read"
            )
        with _translate_errors():
            return self._driver_of(name)


def _secrecy(driver: str, options: Mapping[str, str]) -> int:
    """How well a provider is kept from reading: 2 by encryption before, 1 by a key it does not keep."""
    return 2 if is_encrypted(options) else int(uses_own_key(driver, options))


def refuse_while_waiting(session: Session, row: Backend, deed: str) -> None:
    """Raise ``CONFLICT`` when objects wait in a backend or for it, so that it cannot go away. What nobody
    waits for any more is forgotten with it."""
    concerned = or_(WaitingObject.home_id == row.id, WaitingObject.stand_in_id == row.id)
    left = session.scalar(
        select(func.count(WaitingObject.id)).where(concerned, WaitingObject.state.in_(READABLE))
    )
    if left:
        raise StowageError(
            Kind.CONFLICT,
            f"“{row.name}” cannot be {deed}: {left:,} objects wait in it or to be sent home to it.",
            operation="change backend",
            subject=row.name,
            remedy="Wait until they are at home; the overview shows how many are left.",
        )
    session.execute(delete(WaitingObject).where(concerned))


def refuse_losing_waiting_writes(
    session: Session, row: Backend, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Raise ``InvalidInput`` for a change of options after which nobody would read what waits for a backend,
    or take it away from where it waits."""
    field, concerned = "", WaitingObject.home_id == row.id
    if has_fallback(before) and not has_fallback(after):
        field, why = FALLBACK, "to be sent home to this backend, and would not be read any more"
    elif is_read_only(after) and not is_read_only(before):
        concerned = or_(concerned, WaitingObject.stand_in_id == row.id)
        field, why = READ_ONLY, "in this backend or to be sent home to it, for which it is written to"
    if not field:
        return
    readable = select(func.count(WaitingObject.id)).where(concerned, WaitingObject.state.in_(READABLE))
    if left := session.scalar(readable) or 0:
        objects = "1 object waits" if left == 1 else f"{left:,} objects wait"
        raise InvalidInput(
            field,
            f"{objects} {why}.",
            remedy="Save this once everything is at home; the overview shows how much is left.",
        )


def count_waiting(session: Session, home_id: int) -> int:
    """How many writes wait to be sent home to a backend."""
    rows = select(func.count(WaitingObject.id)).where(
        WaitingObject.home_id == home_id, WaitingObject.state.in_(READABLE)
    )
    return session.scalar(rows) or 0


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Trouble with the console's own database, raised as a driver's caller expects it."""
    try:
        yield
    except StorageError:
        raise
    except StowageError as error:
        raise StorageError(
            error.kind, error.reason, operation="fallback", remedy=error.remedy, retryable=error.retryable
        ) from error
