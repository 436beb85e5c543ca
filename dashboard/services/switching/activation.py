"""Choosing the active backend, so that no file stops being found.

The backend that is to become active is tested at the moment of the switch: it stores, reads and removes a
test object. The one that was active becomes the first of the fallback order in the same transaction, unless
the person says, with their number, that files may go missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import Job, JobKind
from dashboard.models.backends import Backend
from dashboard.services.audit import AuditLog, shorten
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.probe_objects import ProbeObjects
from dashboard.services.backends.queries import MAX_FALLBACK, get_row
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission
from dashboard.services.switching.comparisons import Comparison, Comparisons, finished_comparison
from dashboard.storage.checks.wrappers import is_read_only
from dashboard.storage.probe import check_writing

__all__ = ["Activation", "Comparison", "Switch", "Switched"]

TEST = "test backend"
"""The operation of the error with which a backend that does not take files is refused."""
AGREED_SECONDS = 600.0
"""Seconds for which the number of missing files that a comparison found can be agreed to."""


@dataclass(frozen=True, slots=True)
class Switch:
    """What the person decided. ``keep_former``: the backend that was active becomes the first fallback.
    ``missing``: the number of files that will not be found, needed without it if there are any. ``override``:
    the backend's name, to switch to it without a test. ``seen_active``: the active backend that the person
    saw; None if they saw none."""

    keep_former: bool = True
    missing: int | None = None
    override: str = ""
    seen_active: str | None = None


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch did. ``former`` is empty if no other backend was active. ``reads``: where reads look, in
    this order. ``note``: what else to know, or nothing."""

    former: str
    reads: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Before:
    """The two backends as they were when the switch began."""

    target_id: int
    version: int
    former_id: int | None
    former: str


class Activation:
    """Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self._comparisons = Comparisons(database, backends)

    # ---- comparing, see Comparisons

    def compare(self, actor: Actor, name: str) -> Comparison:
        """Return the last comparison. Starts one in the background if it is stale or missing."""
        return self._comparisons.compare(actor, name)

    def comparison(self, name: str) -> Comparison | None:
        """The last comparison of a target, or None if there is none with this active backend. Raises
        ``NOT_FOUND``."""
        return self._comparisons.comparison(name)

    def run(self, job: Job, stop: Callable[[], bool]) -> bool:
        """Compare in bounded memory. Return False if ``stop`` ended it early."""
        return self._comparisons.run(job, stop)

    def failed(self, job: Job, error: StowageError) -> None:
        """Record why the comparison failed."""
        self._comparisons.failed(job, error)

    # ---- switching

    def activate(self, actor: Actor, name: str, switch: Switch | None = None) -> Switched:
        """Make this the active backend, in one transaction with the fallback order. Idempotent.

        Takes up to 20 seconds, because the backend is tested first. Raises ``NOT_FOUND``; ``CONFLICT`` for a
        backend that is read-only or does not take files, and if either backend was changed meanwhile; and
        ``InvalidInput`` for a number or a name that does not fit.
        """
        actor.require(Permission.CONFIGURE)
        switch = switch or Switch()
        with self._database.read() as session:
            before = self._before(session, name, switch)
            if before is None:
                return Switched("", _reads(session))
            if not switch.keep_former:
                self._agreed(session, before, name, switch)
        leftover = "" if _overridden(name, switch) else self._test(name)
        with self._database.write() as session:
            now = self._before(session, name, switch)
            if now is None:
                return Switched("", _reads(session))
            if now != before:
                raise _changed_error(name)
            missing = "" if switch.keep_former else self._agreed(session, now, name, switch)
            reads = _switch(session, now, keep_former=switch.keep_former)
            detail = {"from": now.former, "reads": ", ".join(reads)}
            if missing:
                detail["missing"] = missing
            if switch.override:
                detail["tested"] = "no"
            self._audit.record(session, actor, "backend.activate", name, **detail)
            return Switched(now.former, reads, leftover)

    def _before(self, session: Session, name: str, switch: Switch) -> _Before | None:
        target = get_row(session, name)
        if target.active:
            return None
        if is_read_only(target.options):
            raise StowageError(
                Kind.CONFLICT,
                f"“{name}” is a read-only backend, and new files go to the active one.",
                operation="activate backend",
                subject=name,
                remedy="Switch “Read-only” off in its form, or choose another backend.",
            )
        former = _active(session)
        seen = switch.seen_active
        if seen is not None and seen != (former.name if former else ""):
            raise StowageError(
                Kind.CONFLICT,
                f"“{former.name}” was made active meanwhile." if former else "No backend is active any more.",
                operation="activate backend",
                subject=name,
                remedy="Look at the comparison with it, then decide again.",
            )
        return _Before(
            target.id, target.version, former.id if former else None, former.name if former else ""
        )

    def _agreed(self, session: Session, before: _Before, name: str, switch: Switch) -> str:
        """The number of files that may go missing, as text. Raises unless the person gave it."""
        if before.former_id is None:
            return ""
        target, former = (
            session.get_one(Backend, before.target_id),
            session.get_one(Backend, before.former_id),
        )
        known = finished_comparison(session, target, former)
        if known is None or (known.at or 0.0) + AGREED_SECONDS < time.time():
            raise StowageError(
                Kind.CONFLICT,
                f"It is not known how many files of “{before.former}” are missing in “{name}”.",
                operation="activate backend",
                subject=name,
                remedy="Compare the two first, or keep the former backend as a fallback.",
            )
        if known.missing and switch.missing != known.missing:
            number = "is 1 file" if known.missing == 1 else f"are {known.missing:,} files"
            raise InvalidInput(
                "missing",
                f"There {number} that would not be found.",
                remedy=f"Enter {known.missing} to confirm, or keep “{before.former}” as a fallback.",
            )
        return str(known.missing)

    def _test(self, name: str) -> str:
        """What the test left behind, in words. Raises ``CONFLICT`` if the backend does not take files."""
        check = check_writing(
            self._backends.driver(name, label="probe"),
            on_test_object=ProbeObjects(self._database).of(self._backends.get(name).id),
        )
        if check.passed:
            return check.leftover
        raise StowageError(
            Kind.CONFLICT,
            f"“{name}” cannot take files now: {check.reason}",
            operation=TEST,
            subject=name,
            remedy=check.remedy or "Test its connection and try again.",
        )


def _switch(session: Session, now: _Before, *, keep_former: bool) -> tuple[str, ...]:
    """Return where reads look now, in this order."""
    target = session.get_one(Backend, now.target_id)
    former = session.get(Backend, now.former_id) if now.former_id is not None else None
    if former is not None:
        former.active = False
        # At most one row may be active at any moment.
        session.flush()
    target.active = True
    _order(session, target, former if keep_former else None, leaving=former)
    enqueue(session, JobKind.CHECK, target.id)
    return _reads(session)


def _reads(session: Session) -> tuple[str, ...]:
    active = _active(session)
    return (*((active.name,) if active else ()), *(row.name for row in _fallback(session)))


def _order(session: Session, target: Backend, first: Backend | None, *, leaving: Backend | None) -> None:
    """The active backend leaves the fallback order, and the former one becomes its first."""
    out = {target.id, leaving.id if leaving else None}
    rows = [row for row in _fallback(session) if row.id not in out]
    rows = [first, *rows] if first is not None else rows
    if len(rows) > MAX_FALLBACK:
        raise StowageError(
            Kind.CONFLICT,
            f"The fallback order already holds {MAX_FALLBACK} backends; the former one has no place in it.",
            operation="activate backend",
            subject=target.name,
            remedy="Take one out of the fallback order first.",
        )
    session.execute(update(Backend).values(fallback_position=None))
    for position, row in enumerate(rows, start=1):
        row.fallback_position = position
    session.flush()


def _active(session: Session) -> Backend | None:
    return session.scalar(select(Backend).where(Backend.active.is_(True)))


def _fallback(session: Session) -> list[Backend]:
    query = select(Backend).where(Backend.fallback_position.is_not(None), Backend.active.is_(False))
    return list(session.scalars(query.order_by(Backend.fallback_position)))


def _overridden(name: str, switch: Switch) -> bool:
    if not switch.override:
        return False
    if switch.override != name:
        raise InvalidInput(
            "override",
            f"“{shorten(switch.override)}” is not the name of the backend.",
            remedy=f"To switch without a test, enter “{name}”.",
        )
    return True


def _changed_error(name: str) -> StowageError:
    return StowageError(
        Kind.CONFLICT,
        f"“{name}”, or which backend is active, was changed while it was tested.",
        operation="activate backend",
        subject=name,
        remedy="Review the page, then decide.",
    )
