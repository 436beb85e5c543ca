"""Comparing a backend with the active one, in the background: which objects would not be found in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.types import Job, JobKind
from dashboard.migration.pairing import Pair, with_pairs
from dashboard.models.backends import Backend
from dashboard.models.backends import Comparison as ComparisonRow
from dashboard.models.migrations import Migration
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.queries import get_row
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import Driver
from dashboard.storage.inspection.listing import without_markers
from dashboard.storage.types import Entry

FRESH_SECONDS = 60.0
"""Seconds for which a finished comparison is shown: applications write all the time."""
PUBLISH_SECONDS = 1.0
MAX_EXAMPLES = 20
"""Keys that are shown of those that are missing, and of those that differ."""


class _Stopped(Exception):
    """``stop`` ended the comparison."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of the active backend's objects the target has. ``differing``: it has them in another size.

    ``at``: when it finished, in seconds since the epoch; None during the first run and after a failure, which
    ``message`` explains.
    """

    target: str
    active: str
    running: bool
    total: int
    present: int
    missing: int
    differing: int
    at: float | None
    message: str
    first_missing: tuple[str, ...] = ()
    """The first keys that are missing there, in the order they were found, at most ``MAX_EXAMPLES``."""
    first_differing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the target has everything that the active backend has."""
        return self.at is not None and not (self.missing or self.differing)

    @property
    def sentence(self) -> str:
        """What the page says before a person switches."""
        if self.at is None:
            return self.message or f"Compared so far: {self.total:,} objects."
        if not self.total:
            return f"“{self.active}” holds no objects, so nothing can be missing."
        if self.complete:
            return f"All {self.total:,} objects are there."
        missing = f"{self.missing:,} {'is' if self.missing == 1 else 'are'} missing"
        differ = f"{self.differing:,} {'differs' if self.differing == 1 else 'differ'} in size"
        rest = [text for text, count in ((missing, self.missing), (differ, self.differing)) if count]
        return f"{self.present:,} of {self.total:,} objects are there; {' and '.join(rest)}."


@dataclass(slots=True)
class _Counts:
    present: int = 0
    missing: int = 0
    differing: int = 0
    examples: dict[str, list[str]] = field(default_factory=lambda: {"missing": [], "differing": []})
    shown_at: float = field(default_factory=time.monotonic)

    def add(self, entry: Entry, found: Entry | None) -> None:
        if found is None:
            self.missing += 1
            self._keep("missing", entry.key)
        elif found.size != entry.size:
            self.differing += 1
            self._keep("differing", entry.key)
        else:
            self.present += 1

    def _keep(self, kind: str, key: str) -> None:
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(key)

    def values(self) -> dict[str, object]:
        total = self.present + self.missing + self.differing
        return {
            "total": total,
            "present": self.present,
            "missing": self.missing,
            "differing": self.differing,
            "examples": self.examples,
        }


class Comparisons:
    """One row for each backend that was compared. Thread-safe."""

    def __init__(self, database: Database, backends: Backends) -> None:
        self._database = database
        self._backends = backends

    def compare(self, actor: Actor, name: str) -> Comparison:
        """Return the last comparison. Starts one in the background if it is stale or missing."""
        actor.require(Permission.TEST)
        with self._database.write() as session:
            target, active = _target_and_active(session, name)
            row = session.get(ComparisonRow, target.id)
            if row is None or _stale(row, target, active) or _migrated_since(session, row, target, active):
                values = {
                    **{"active_id": active.id, "running": True, "message": "", "at": None},
                    **{"target_version": target.version, "active_version": active.version},
                    **{"started_at": time.time(), **_Counts().values()},
                }
                statement = insert(ComparisonRow).values(target_id=target.id, **values)
                session.execute(statement.on_conflict_do_update(index_elements=["target_id"], set_=values))
                session.expire_all()
                row = session.get_one(ComparisonRow, target.id)
            if row.running:
                enqueue(session, JobKind.COMPARE, target.id)
            return comparison_of(row, target.name, active.name)

    def comparison(self, name: str) -> Comparison | None:
        """The last comparison of a target, or None if there is none with this active backend. Raises
        ``NOT_FOUND``."""
        with self._database.read() as session:
            target, active = _target_and_active(session, name)
            row = session.get(ComparisonRow, target.id)
            if row is None or row.active_id != active.id:
                return None
            return comparison_of(row, target.name, active.name)

    # ---- the job

    def run(self, job: Job, stop: Callable[[], bool]) -> bool:
        """Compare in bounded memory. Return False if ``stop`` ended it early."""
        with self._database.read() as session:
            row = session.get(ComparisonRow, job.subject_id)
            target = session.get(Backend, job.subject_id)
            active = session.get(Backend, row.active_id) if row else None
            if row is None or target is None or active is None or not row.running:
                return True
            names = target.name, active.name
        label = f"compare-{job.subject_id}"
        there, here = (self._backends.driver_with_waiting(name, label=label) for name in names)
        try:
            tally = self._compare(job.subject_id, here, there, stop)
        finally:
            self._backends.release(label)
        if tally is None:
            return False
        self._set(job.subject_id, running=False, at=time.time(), **tally.values())
        return True

    def failed(self, job: Job, error: StowageError) -> None:
        """Record why the comparison failed."""
        message = f"Could not check for missing files: {error.reason}"
        self._set(job.subject_id, running=False, at=None, message=message)

    def _compare(
        self, target_id: int, here: Driver, there: Driver, stop: Callable[[], bool]
    ) -> _Counts | None:
        # Real ledgers have positive numbers. Only the index of this one is used.
        number = -target_id
        ledger = SqlLedger(self._database.work, number)
        ledger.begin()
        try:
            return with_pairs(
                partial(self._count_pairs, target_id),
                lambda: _until(stop, without_markers(here.list())),
                lambda: _until(stop, there.list()),
                ledger,
                ordered=here.ordered and there.ordered,
            )
        except _Stopped:
            return None
        finally:
            LedgerQueries(self._database).forget(number)

    def _count_pairs(self, target_id: int, pairs: Iterable[Pair]) -> _Counts:
        tally = _Counts()
        for entry, found in pairs:
            tally.add(entry, found)
            if time.monotonic() - tally.shown_at >= PUBLISH_SECONDS:
                tally.shown_at = time.monotonic()
                self._set(target_id, **tally.values())
        return tally

    def _set(self, target_id: int, **values: object) -> None:
        with self._database.write() as session:
            session.execute(
                update(ComparisonRow).where(ComparisonRow.target_id == target_id).values(**values)
            )


def finished_comparison(session: Session, target: Backend, active: Backend) -> Comparison | None:
    """The last comparison of these two, if it finished and neither was edited or migrated since."""
    row = session.get(ComparisonRow, target.id)
    if row is None or row.running or row.at is None:
        return None
    seen = (row.active_id, row.active_version, row.target_version)
    current = seen == (active.id, active.version, target.version)
    if not current or _migrated_since(session, row, target, active):
        return None
    return comparison_of(row, target.name, active.name)


def _until(stop: Callable[[], bool], entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        if stop():
            raise _Stopped
        yield entry


def _target_and_active(session: Session, name: str) -> tuple[Backend, Backend]:
    target = get_row(session, name)
    active = session.scalar(select(Backend).where(Backend.active.is_(True)))
    if active is None or active.id == target.id:
        raise InvalidInput("name", f"“{name}” is the active backend already; there is nothing to compare.")
    return target, active


def _stale(row: ComparisonRow, target: Backend, active: Backend) -> bool:
    seen = (row.active_id, row.active_version, row.target_version)
    if seen != (active.id, active.version, target.version):
        return True
    if row.running:
        return False
    return row.at is None or row.at + FRESH_SECONDS < time.time()


def _migrated_since(session: Session, row: ComparisonRow, target: Backend, active: Backend) -> bool:
    """Whether a migration may have changed either side after they were compared."""
    if row.running or row.at is None:
        return False
    pair = (target.id, active.id)
    touches = Migration.source_id.in_(pair) | Migration.destination_id.in_(pair)
    later = Migration.finished_at.is_(None) | (Migration.finished_at > row.at)
    found = session.scalar(
        select(Migration.id).where(touches, later, Migration.started_at.is_not(None)).limit(1)
    )
    return found is not None


def comparison_of(row: ComparisonRow, target: str, active: str) -> Comparison:
    return Comparison(
        target=target,
        active=active,
        running=row.running,
        total=row.total,
        present=row.present,
        missing=row.missing,
        differing=row.differing,
        at=row.at,
        message=row.message,
        first_missing=tuple(row.examples.get("missing", ())),
        first_differing=tuple(row.examples.get("differing", ())),
    )
