"""The store of waiting writes in the database, and the stand-ins of a backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.process_identity import this_process
from dashboard.models.backends import Backend
from dashboard.models.waiting import WaitingHold, WaitingObject, WaitingTry
from dashboard.services.database import Database
from dashboard.services.fallback.waiting_rows import (
    LEASE_SECONDS,
    READABLE,
    WRITTEN_BACK,
    attempts_from,
    attempts_of_dead_processes,
    attempts_text,
    attributes_text,
    has_pending_write,
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
                reason = "The write took too long and was abandoned."
                raise StorageError(Kind.CONFLICT, reason, operation="write", retryable=True)
            row.state, row.since, row.changed_at = "waiting", time.time(), time.time()

    def newest(self, key: str) -> WaitingWrite | None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.read() as session:
            row = session.scalar(self._of(key).order_by(WaitingObject.id.desc()).limit(1))
            return waiting_of(row) if row is not None else None

    def list_under(self, prefix: str) -> Sequence[WaitingWrite]:
        """See ``WaitingStore``."""
        key_prefix = key_bytes(prefix)
        newest = (
            select(func.max(WaitingObject.id))
            .where(WaitingObject.home_id == self._home_id, WaitingObject.state.in_(READABLE))
            .group_by(WaitingObject.key)
        )
        query = (
            select(WaitingObject)
            .where(WaitingObject.id.in_(newest), WaitingObject.key >= key_prefix)
            .order_by(WaitingObject.key)
        )
        with _translate_errors(), self._database.read() as session:
            return [waiting_of(row) for row in session.scalars(query) if row.key.startswith(key_prefix)]

    def hold(self, key: str) -> Hold | None:
        """See ``WaitingStore``."""
        with _translate_errors(), self._database.read() as session:
            # Nearly always nothing waits, and a read does not have to queue for the only writer.
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
        """Yield the attempts that earlier writes of a key made, or that writing them back made."""
        row = WaitingObject
        for attempt in attempts_of_dead_processes(session, self._home_id, key):
            yield WriteAttempt(attempt.md5, attempt.size, attempt.at, late=True)
            session.delete(attempt)
        done = select(WaitingTry).where(WaitingTry.home_id == self._home_id, WaitingTry.key == key)
        for attempt in session.scalars(done.where(WaitingTry.owner == WRITTEN_BACK)):
            yield WriteAttempt(attempt.md5, attempt.size, attempt.at)
        for write in session.scalars(select(row).where(row.home_id == self._home_id, row.key == key)):
            yield from attempts_from(write.attempts)
            if write.md5:
                # Confirming one that settles may write it once more.
                late = write.state in ("sending", "settling")
                yield WriteAttempt(write.md5, write.size, write.changed_at, late=late)


class FallbackOrder:
    """See ``StandIns``: the backends of the fallback order without home itself.

    ``home``: its driver and options. A backend whose provider could read more than home's provider can is
    never written to.
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
        """See ``StandIns``. Skips backends that cannot be used now."""
        query = (
            select(Backend)
            .where(Backend.fallback_position.is_not(None), Backend.id != self._home_id)
            .order_by(Backend.fallback_position)
        )
        with _translate_errors(), self._database.read() as session:
            backends = [(row.id, row.name, self._accepts_writes(row)) for row in session.scalars(query)]
        for backend_id, name, accepts_writes in backends:
            if accepts_writes or not writing:
                try:
                    driver = self._driver_of(name)
                except StowageError:
                    continue
                yield backend_id, driver

    def _accepts_writes(self, row: Backend) -> bool:
        return not is_read_only(row.options) and _secrecy(row.driver, row.options) >= self._secrecy

    def driver(self, stand_in: int) -> Driver:
        """See ``StandIns``."""
        with _translate_errors(), self._database.read() as session:
            name = session.scalar(select(Backend.name).where(Backend.id == stand_in))
        if name is None:
            raise StorageError(
                Kind.UNREACHABLE, "The backend that stores this object was removed.", operation="read"
            )
        with _translate_errors():
            return self._driver_of(name)


def _secrecy(driver: str, options: Mapping[str, str]) -> int:
    """Return how well objects are protected from their provider: 2 encrypted before, 1 with a key it does not
    keep, 0 not at all."""
    return 2 if is_encrypted(options) else int(uses_own_key(driver, options))


def refuse_while_waiting(session: Session, row: Backend, action: str) -> None:
    """Raise ``CONFLICT`` if objects wait in a backend or for it, so that it must not be removed or moved.
    Otherwise delete the rows that no longer matter."""
    concerned = or_(WaitingObject.home_id == row.id, WaitingObject.stand_in_id == row.id)
    count = session.scalar(
        select(func.count(WaitingObject.id)).where(concerned, WaitingObject.state.in_(READABLE))
    )
    if count:
        raise StowageError(
            Kind.CONFLICT,
            f"“{row.name}” cannot be {action} while objects wait in it or for it: {count:,}.",
            operation="change backend",
            subject=row.name,
            remedy="Wait until they are written back; the overview shows how many are left.",
        )
    session.execute(delete(WaitingObject).where(concerned))


def refuse_losing_waiting_writes(
    session: Session, row: Backend, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Raise ``InvalidInput`` for a change of options after which waiting writes could no longer be read or
    written back."""
    field, concerned = "", WaitingObject.home_id == row.id
    if has_fallback(before) and not has_fallback(after):
        field, where = FALLBACK, "for this backend, and could no longer be read"
    elif is_read_only(after) and not is_read_only(before):
        concerned = or_(concerned, WaitingObject.stand_in_id == row.id)
        field, where = READ_ONLY, "in this backend or for it, and could no longer be written back"
    if not field:
        return
    readable = select(func.count(WaitingObject.id)).where(concerned, WaitingObject.state.in_(READABLE))
    if left := session.scalar(readable) or 0:
        objects = "1 object waits" if left == 1 else f"{left:,} objects wait"
        raise InvalidInput(
            field,
            f"{objects} {where}.",
            remedy="Save this once everything is written back; the overview shows how much is left.",
        )


def count_waiting(session: Session, home_id: int) -> int:
    """Return how many waiting writes a backend has."""
    rows = select(func.count(WaitingObject.id)).where(
        WaitingObject.home_id == home_id, WaitingObject.state.in_(READABLE)
    )
    return session.scalar(rows) or 0


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise errors of the console's own database as storage errors."""
    try:
        yield
    except StorageError:
        raise
    except StowageError as error:
        raise StorageError(
            error.kind, error.reason, operation="fallback", remedy=error.remedy, retryable=error.retryable
        ) from error
