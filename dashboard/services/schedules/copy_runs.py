"""Runs of scheduled copies: how they went, and cleaning up after them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, or_, select, update

from dashboard.errors import StowageError
from dashboard.migration.types import Counters, Outcome, State
from dashboard.models.migrations import Migration
from dashboard.models.schedules import CopyRun
from dashboard.models.work import objects
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.fallback_drivers import REPLACED_FILES
from dashboard.services.database import Database, clamp_integer
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.services.schedules.copy_values import RunInfo, RunKind, RunState
from dashboard.storage.driver import Driver
from dashboard.storage.wrappers.fallback.hiding_waiting import REPLACED

log = logging.getLogger(__name__)

LEDGER_DAYS, LEDGER_RUNS = 90, 100
"""Lists of objects are kept of runs of so many days, and of so many runs of each schedule."""
MAX_LISTED = 500

_FOLDER = re.compile(rf"{re.escape(REPLACED)}\d{{4}}-\d\d-\d\dT\d{{6}}Z-\d+/\Z")
_STATES = {
    State.PAUSED: RunState.WAITING,
    State.READY: RunState.WAITING,
    State.CANCELLED: RunState.CANCELLED,
    State.FAILED: RunState.FAILED,
}


def folder_name(at: float, run_id: int) -> str:
    """The folder in which a run keeps what it replaces."""
    return f"{REPLACED}{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime(at))}-{run_id}/"


class CopyRuns:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ledgers = LedgerQueries(database)

    def of(self, schedule_id: int, *, limit: int = 50) -> tuple[RunInfo, ...]:
        """The newest runs, attempts and restores of a schedule."""
        query = _query().where(CopyRun.schedule_id == clamp_integer(schedule_id))
        query = query.order_by(CopyRun.id.desc()).limit(max(1, min(limit, MAX_LISTED)))
        with self._database.read() as session:
            rows = session.execute(query).all()
            gone = CopyRun.swept_at.is_not(None) & (CopyRun.kind == RunKind.COPY.value)
            mine = CopyRun.schedule_id == clamp_integer(schedule_id)
            swept = session.scalar(select(func.max(CopyRun.id)).where(mine, gone))
        return self._infos(rows, swept or 0)

    def newest(self, schedule_ids: Sequence[int]) -> Mapping[int, RunInfo]:
        """The newest run or attempt of each schedule; restores do not count."""
        newest = (
            select(func.max(CopyRun.id))
            .where(CopyRun.schedule_id.in_(schedule_ids), CopyRun.kind == RunKind.COPY.value)
            .group_by(CopyRun.schedule_id)
        )
        with self._database.read() as session:
            rows = session.execute(_query().where(CopyRun.id.in_(newest))).all()
        infos = self._infos(rows, 0)
        return {run.schedule_id: info for (run, _), info in zip(rows, infos, strict=True)}

    def last_good(self, schedule_ids: Sequence[int]) -> Mapping[int, float]:
        """When the last run of each schedule ended with nothing failed."""
        good = (Outcome.CLEAN.value, Outcome.WITH_SKIPS.value)
        query = (
            select(CopyRun.schedule_id, func.max(Migration.finished_at))
            .join(Migration, Migration.id == CopyRun.migration_id)
            .where(CopyRun.schedule_id.in_(schedule_ids), CopyRun.kind == RunKind.COPY.value)
            .where(Migration.state == State.FINISHED.value, Migration.outcome.in_(good))
            .group_by(CopyRun.schedule_id)
        )
        with self._database.read() as session:
            return {row[0]: row[1] for row in session.execute(query) if row[1] is not None}

    def has_finished(self, schedule_id: int) -> bool:
        """Whether a run of the schedule has ever come to its end."""
        query = (
            select(CopyRun.id)
            .join(Migration, Migration.id == CopyRun.migration_id)
            .where(CopyRun.schedule_id == schedule_id, CopyRun.kind == RunKind.COPY.value)
            .where(Migration.state == State.FINISHED.value)
        )
        with self._database.read() as session:
            return session.scalar(query.limit(1)) is not None

    def _infos(self, rows: Sequence[Row[*tuple[Any, ...]]], swept: int) -> tuple[RunInfo, ...]:
        found = self._ledgers.counters([row[0].migration_id for row in rows if row[0].migration_id])
        return tuple(_info(run, migration, found.get(run.migration_id), swept) for run, migration in rows)


class CopyCleanup:
    """Removes what was kept long enough. Thread-safe and idempotent; an error leaves it for the next time."""

    def __init__(self, database: Database, backends: Backends, *, clock: Callable[[], float] = time.time):
        self._database = database
        self._backends = backends
        self._ledgers = LedgerQueries(database)
        self._clock = clock

    def run(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Remove replaced files whose time is over, and lists of objects of old runs; return how many files.
        ``stop`` ends it early."""
        self._forget_ledgers(stop)
        removed = 0
        for run in self._expired():
            if stop():
                break
            removed += self._sweep(run, stop)
        if removed:
            log.info("%d replaced files of scheduled copies were removed", removed)
        return removed

    def _expired(self) -> Sequence[CopyRun]:
        over = CopyRun.keep_until <= self._clock()
        ended = or_(Migration.id.is_(None), Migration.state.in_([s.value for s in State if s.final]))
        query = (
            select(CopyRun)
            .outerjoin(Migration, Migration.id == CopyRun.migration_id)
            .where(CopyRun.swept_at.is_(None), CopyRun.kept_in != "", over, ended)
        )
        with self._database.read() as session:
            return list(session.scalars(query.order_by(CopyRun.id)))

    def _sweep(self, run: CopyRun, stop: Callable[[], bool]) -> int:
        name = self._backends.name_of(run.destination_id) if run.destination_id is not None else None
        removed = 0
        if name is not None:
            try:
                driver = self._backends.driver(name, label=REPLACED_FILES)
                removed = _remove_folder(driver, run.kept_in, stop)
            except StowageError as error:
                log.warning("Replaced files in %s of “%s” could not be removed: %s", run.kept_in, name, error)
                return removed
        if not stop():
            with self._database.write() as session:
                session.execute(update(CopyRun).where(CopyRun.id == run.id).values(swept_at=self._clock()))
        return removed

    def _forget_ledgers(self, stop: Callable[[], bool]) -> None:
        newer = func.row_number().over(partition_by=CopyRun.schedule_id, order_by=CopyRun.id.desc())
        ranked = (
            select(CopyRun.migration_id, CopyRun.at, newer.label("rank"))
            .where(CopyRun.migration_id.is_not(None))
            .subquery()
        )
        old = or_(ranked.c.at < self._clock() - LEDGER_DAYS * 86_400, ranked.c.rank > LEDGER_RUNS)
        query = (
            select(Migration.id)
            .join(ranked, ranked.c.migration_id == Migration.id)
            # The last run stays whole, however old; one that can be continued needs its list.
            .where(old, ranked.c.rank > 1, Migration.state == State.FINISHED.value)
            .where(Migration.outcome != Outcome.WITH_ERRORS.value)
        )
        with self._database.read() as session:
            numbers = list(session.scalars(query))
        for number in numbers:
            if stop():
                return
            with self._database.work_read() as connection:
                mine = select(objects.c.id).where(objects.c.migration_id == number).limit(1)
                if connection.scalar(mine) is None:
                    continue
            self._ledgers.forget_objects(number)


def _remove_folder(driver: Driver, folder: str, stop: Callable[[], bool]) -> int:
    """Delete what a run kept. Touches nothing outside its folder, nor a folder that is not of this kind."""
    if not _FOLDER.match(folder):
        return 0
    removed = 0
    # Later states of a key are in folders with a number after the same name.
    for entry in list(driver.list(folder.removesuffix("/"))):
        if not re.match(rf"{re.escape(folder[:-1])}(?:~\d+)?/", entry.key):
            continue
        if stop():
            break
        driver.delete(entry.key)
        removed += 1
    return removed


def _query() -> Select[CopyRun, Migration]:
    return select(CopyRun, Migration).outerjoin(Migration, Migration.id == CopyRun.migration_id)


def _info(run: CopyRun, migration: Migration | None, counters: Counters | None, swept: int) -> RunInfo:
    totals = counters or Counters()
    state = _state(run, migration)
    ended = state in (RunState.DONE, RunState.WITH_ERRORS)
    message, remedy = run.message, run.remedy
    if migration is not None and not message:
        message, remedy = migration.message, migration.remedy
    return RunInfo(
        id=run.id,
        kind=RunKind(run.kind),
        state=state,
        due_at=run.due_at,
        at=run.at,
        finished_at=migration.finished_at if migration is not None else run.at,
        migration=run.migration_id,
        copied=totals.copied,
        copied_bytes=totals.copied_bytes,
        # The rest of what was copied was there already, with other content.
        replaced=max(0, totals.copied - totals.to_copy - totals.to_keep_both),
        failed=totals.failed,
        message=message,
        remedy=remedy,
        restorable=run.kind == RunKind.COPY.value and ended and run.id >= swept,
    )


def _state(run: CopyRun, migration: Migration | None) -> RunState:
    if migration is None:
        return RunState(run.state)
    state = State(migration.state)
    if state is State.FINISHED:
        failed = migration.outcome == Outcome.WITH_ERRORS.value
        return RunState.WITH_ERRORS if failed else RunState.DONE
    return _STATES.get(state, RunState.RUNNING)
