"""Rows of waiting writes: how they are encoded, who holds them, and whether that process is alive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from dashboard.jobs.process_identity import is_alive
from dashboard.models.waiting import WaitingHold, WaitingObject, WaitingTry
from dashboard.storage.paths import key_text
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.fallback.waiting_writes import (
    WaitingWrite,
    WriteAttempt,
    newest_of_each_kind,
)

READABLE = ("waiting", "sending", "settling")
"""The states in which reads of the key return the waiting write."""
LEASE_SECONDS = 300.0
"""How long a writer is assumed to be alive if that cannot be checked."""
LATE_SECONDS = 86_400.0
"""After how long a write of a killed process cannot complete any more."""
MAX_ATTEMPTS = 64
WRITTEN_BACK = "written back"
"""The owner of a record of what was written back: no process."""
REMEMBERED_SECONDS = 600.0
"""How long such a record is kept. Longer than the clock of a backend can be uncertain: a newer write that
waits must not take that object for one of another program."""


def waiting_of(row: WaitingObject) -> WaitingWrite:
    """Return a row as the wrapper knows it."""
    return WaitingWrite(
        number=row.id,
        key=key_text(row.key),
        stand_in=row.stand_in_id,
        stored_key=key_text(row.stored_key),
        size=row.size,
        md5=row.md5,
        since=row.since,
        attributes=attributes_from(row.attributes),
        attempts=attempts_from(row.attempts),
        create_only=row.create_only,
    )


def attributes_text(attributes: Attributes) -> str:
    """Encode attributes as JSON."""
    values = {field.name: getattr(attributes, field.name) for field in fields(attributes)}
    return json.dumps({**values, "metadata": dict(attributes.metadata)})


def attributes_from(text: str | None) -> Attributes | None:
    """Decode :func:`attributes_text`."""
    return Attributes(**json.loads(text)) if text is not None else None


def attempts_text(attempts: Iterable[WriteAttempt]) -> str:
    """Encode attempts, one a line: MD5, size, time, and ``late`` if it may complete later. Keeps the
    newest of each kind."""
    newest: dict[tuple[str, int, bool], WriteAttempt] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.at):
        newest.pop((attempt.md5, attempt.size, attempt.late), None)
        newest[attempt.md5, attempt.size, attempt.late] = attempt
    kept = newest_of_each_kind(list(newest.values()), MAX_ATTEMPTS)
    return "\n".join(f"{each.md5} {each.size} {each.at:.3f}{' late' if each.late else ''}" for each in kept)


def attempts_from(text: str) -> tuple[WriteAttempt, ...]:
    """Decode :func:`attempts_text`."""
    lines = (line.split() for line in text.splitlines())
    return tuple(WriteAttempt(md5, int(size), float(at), late == ["late"]) for md5, size, at, *late in lines)


def has_pending_write(row: WaitingObject) -> bool:
    """Whether an older write of its key may still complete at home."""
    return row.state in ("sending", "settling") or any(
        attempt.late for attempt in attempts_from(row.attempts)
    )


def is_held(session: Session, home_id: int, key: bytes) -> bool:
    """Whether a writer may be replacing this key at home."""
    query = select(WaitingHold).where(WaitingHold.home_id == home_id, WaitingHold.key == key)
    return any(_is_valid(hold) for hold in session.scalars(query))


def attempts_of_dead_processes(session: Session, home_id: int, key: bytes) -> list[WaitingTry]:
    """Return the writes of this key that were in progress when their process ended. If a process cannot be
    checked, its writes count once the lease is over."""
    query = select(WaitingTry).where(WaitingTry.home_id == home_id, WaitingTry.key == key)
    query = query.where(WaitingTry.owner != WRITTEN_BACK)
    return [attempt for attempt in session.scalars(query) if not _owner_is_alive(attempt)]


def remove_dead_holds(session: Session, home_id: int) -> None:
    """Delete holds of killed writers, attempts that are too old, and old records of write backs."""
    for hold in session.scalars(select(WaitingHold).where(WaitingHold.home_id == home_id)):
        if not _is_valid(hold):
            session.delete(hold)
    now, row = time.time(), WaitingTry
    remembered = and_(row.owner == WRITTEN_BACK, row.at < now - REMEMBERED_SECONDS)
    session.execute(delete(row).where(row.home_id == home_id, or_(row.at < now - LATE_SECONDS, remembered)))


def _owner_is_alive(attempt: WaitingTry) -> bool:
    alive = is_alive(attempt.owner)
    return alive if alive is not None else attempt.at + LEASE_SECONDS > time.time()


def _is_valid(hold: WaitingHold) -> bool:
    alive = is_alive(hold.owner)
    return alive if alive is not None else hold.until > time.time()
