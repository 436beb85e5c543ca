"""Rows of waiting objects: what is written in them, who holds them, and is that process alive?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dashboard.models.waiting import WaitingHold, WaitingObject, WaitingTry
from dashboard.storage.paths import key_text
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.fallback.waiting_writes import WaitingWrite, WriteAttempt

READABLE = ("waiting", "sending", "settling")
"""The states in which it is what readers of its key get."""
LEASE_SECONDS = 300.0
"""Seconds for which a writer is believed to be at work when its process cannot be asked after."""
LATE_SECONDS = 86_400.0
"""Seconds after which nothing arrives any more of what a process tried that was killed."""
MAX_ATTEMPTS = 64
_PROC = Path("/proc")


def waiting_of(row: WaitingObject) -> WaitingWrite:
    """A row as the wrapper knows it."""
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
    """Attributes as JSON."""
    found = {each.name: getattr(attributes, each.name) for each in fields(attributes)}
    return json.dumps({**found, "metadata": dict(attributes.metadata)})


def attributes_from(text: str | None) -> Attributes | None:
    """The way back."""
    return Attributes(**json.loads(text)) if text is not None else None


def attempts_text(attempts: Iterable[WriteAttempt]) -> str:
    """One line each: MD5, size, time, and ``late`` where it may have arrived later. The newest win."""
    newest: dict[tuple[str, int, bool], WriteAttempt] = {}
    for each in sorted(attempts, key=lambda each: each.at):
        newest.pop((each.md5, each.size, each.late), None)
        newest[each.md5, each.size, each.late] = each
    kept = list(newest.values())[-MAX_ATTEMPTS:]
    return "\n".join(f"{each.md5} {each.size} {each.at:.3f}{' late' if each.late else ''}" for each in kept)


def attempts_from(text: str) -> tuple[WriteAttempt, ...]:
    """The way back."""
    found = (line.split() for line in text.splitlines())
    return tuple(WriteAttempt(md5, int(size), float(at), late == ["late"]) for md5, size, at, *late in found)


def has_pending_write(row: WaitingObject) -> bool:
    """Whether something older may still arrive at home under its key."""
    return row.state in ("sending", "settling") or any(each.late for each in attempts_from(row.attempts))


def is_held(session: Session, home_id: int, key: bytes) -> bool:
    """Whether some writer may be replacing this key at home."""
    query = select(WaitingHold).where(WaitingHold.home_id == home_id, WaitingHold.key == key)
    return any(_is_valid(hold) for hold in session.scalars(query))


def attempts_of_dead_processes(session: Session, home_id: int, key: bytes) -> list[WaitingTry]:
    """Contents of this key that were on their way home when their process ended; of one that cannot be
    asked after, once the lease is over."""
    query = select(WaitingTry).where(WaitingTry.home_id == home_id, WaitingTry.key == key)
    return [each for each in session.scalars(query) if not _owner_is_alive(each)]


def remove_dead_holds(session: Session, home_id: int) -> None:
    """Remove the holds of writers that were killed, and what they tried too long ago to arrive any more."""
    for hold in session.scalars(select(WaitingHold).where(WaitingHold.home_id == home_id)):
        if not _is_valid(hold):
            session.delete(hold)
    long_ago = time.time() - LATE_SECONDS
    session.execute(delete(WaitingTry).where(WaitingTry.home_id == home_id, WaitingTry.at < long_ago))


def _owner_is_alive(attempt: WaitingTry) -> bool:
    alive = is_alive(attempt.owner)
    return alive if alive is not None else attempt.at + LEASE_SECONDS > time.time()


def _is_valid(hold: WaitingHold) -> bool:
    alive = is_alive(hold.owner)
    return alive if alive is not None else hold.until > time.time()


def this_process() -> str:
    """The machine's start, the namespace of process ids, the id, and when the process began."""
    return _described(os.getpid())


def is_alive(process: str) -> bool | None:
    """Whether the process that called itself so is alive. None where that cannot be known from here: it
    runs, or ran, on another machine or in another container, or this system does not say."""
    machine, _, rest = process.rpartition("/")
    number, _, began = rest.partition("@")
    if not machine or machine != _machine():
        return None
    return bool(number.isdecimal() and began and _began(int(number)) == began)


@cache
def _described(number: int) -> str:
    # By process id, because a fork inherits what was cached.
    return f"{_machine()}/{number}@{_began(number)}"


@cache
def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _began(number: int) -> str:
    """A process's start in ticks since the machine's, which tells two of the same number apart."""
    try:
        text = (_PROC / str(number) / "stat").read_text()
    except OSError:
        return ""
    # The name, in brackets, may hold anything.
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
