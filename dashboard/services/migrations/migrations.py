"""The service for migrations: create, approve, pause, resume, cancel, retry and watch them.

It copies nothing itself. A request is stored in the row's ``control``, which the runner reads;
``job_handler.py`` records the resulting state. If no runner is working on the migration, a request takes
effect at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dashboard.jobs.types import JobKind
from dashboard.migration.ledger import Live
from dashboard.migration.types import (
    Control,
    Counters,
    FailureGroup,
    LedgerRow,
    ObjectState,
    Progress,
    Spec,
    State,
)
from dashboard.models.migrations import Migration
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database, clamp_integer
from dashboard.services.jobs import dequeue, enqueue, is_running
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.services.migrations.ledger_search import LedgerSearch, ObjectFilter, ObjectPage
from dashboard.services.migrations.migration_filter import MigrationFilter
from dashboard.services.migrations.progress import build_progress, is_waiting_for_runner
from dashboard.services.migrations.report import csv_lines, json_lines, report_rows
from dashboard.services.migrations.review import Review, Reviews
from dashboard.services.migrations.rows import (
    MigrationName,
    find_backend,
    find_by_name,
    get_row,
    not_possible_error,
    refuse_concurrent,
    send_to_runner,
)
from dashboard.services.migrations.series import SeriesReader, Throughput
from dashboard.services.migrations.spec import (
    check_spec,
    command_line,
    from_json,
    refuse_overlap,
    refuse_read_only,
    to_json,
)
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.services.migrations.watched_progress import WatchedProgress
from dashboard.services.permissions import Actor, Permission

MAX_ROWS = 1000
MAX_MIGRATIONS = 200
MAX_KEPT = 101
"""Migrations of a list that is kept until something changes."""


class Migrations:
    """Thread-safe. Every change is one transaction with its audit row; a repeated one is no error."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit
        self._ledgers = LedgerQueries(database)
        self._search = LedgerSearch(database)
        self._watched = WatchedProgress(database, self._read_progress)
        self._reviews = Reviews(database)
        self._series = SeriesReader(database)

    # ---- requests

    def create(
        self, actor: Actor, source: str, destination: str, spec: Spec, *, approve: bool = False
    ) -> int:
        """Start planning a migration; return its id. With ``approve`` copying starts once everything is
        listed, otherwise the migration then waits for approval. Raises ``InvalidInput`` naming the field."""
        with self._database.write() as session:
            return self.create_in(session, actor, source, destination, spec, approve=approve)

    def create_in(
        self,
        session: Session,
        actor: Actor,
        source: str,
        destination: str,
        spec: Spec,
        *,
        approve: bool = False,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> int:
        """Like :meth:`create`, in the caller's transaction. ``more`` is stored with the spec, for the job's
        handler."""
        actor.require(Permission.MIGRATE)
        check_spec(spec)
        now = time.time()
        here = find_backend(session, source, "source")
        there = find_backend(session, destination, "destination")
        refuse_overlap((here.driver, here.options), (there.driver, there.options), spec.prefix)
        refuse_read_only(here.options, there.options, spec)
        row = Migration(
            source=here.name,
            source_id=here.id,
            destination=there.name,
            destination_id=there.id,
            spec=to_json(spec) | dict(more),
            state=State.PLANNING.value,
            control=Control.RUN.value,
            approved_at=now if approve else None,
            approved_by=actor.name if approve else "",
            created_by=actor.name,
            created_at=now,
        )
        session.add(row)
        session.flush()
        if approve:
            refuse_concurrent(session, row)
        self._audit.record(
            session,
            actor,
            "migration.create",
            str(row.id),
            command=command_line(source, destination, spec),
            approved="yes" if approve else "no",
        )
        enqueue(session, JobKind.MIGRATION, row.id)
        return row.id

    def approve(self, actor: Actor, migration_id: int) -> None:
        """Approve copying, which starts when planning is complete."""
        with self._request(actor, migration_id) as (session, row, state):
            if row.approved_at is not None and not state.final:
                return
            if state.final or row.control == Control.CANCEL:
                raise not_possible_error(row, "can no longer be started")
            row.approved_at, row.approved_by = time.time(), actor.name
            refuse_concurrent(session, row)
            self._audit.record(session, actor, "migration.approve", str(row.id))
            if state is State.READY:
                send_to_runner(session, row)

    def pause(self, actor: Actor, migration_id: int) -> None:
        """Pause soon. Objects in flight are completed or aborted cleanly."""
        with self._request(actor, migration_id) as (session, row, state):
            if state is State.PAUSED:
                return
            if not state.active or row.control == Control.CANCEL:
                raise not_possible_error(row, "cannot be paused")
            if row.control != Control.PAUSE:
                row.control = Control.PAUSE.value
                self._audit.record(session, actor, "migration.pause", str(row.id))
            self._apply_if_idle(session, row, State.PAUSED)

    def resume(self, actor: Actor, migration_id: int) -> None:
        """Resume where it stopped, also after it failed as a whole."""
        with self._request(actor, migration_id) as (session, row, state):
            if state.active and row.control == Control.RUN:
                return
            if row.control == Control.CANCEL or not (state.active or state in (State.PAUSED, State.FAILED)):
                raise not_possible_error(row, "cannot be resumed")
            self._audit.record(session, actor, "migration.resume", str(row.id))
            send_to_runner(session, row)

    def cancel(self, actor: Actor, migration_id: int) -> None:
        """Stop for good. Complete copies stay; unfinished writes are removed."""
        with self._request(actor, migration_id) as (session, row, state):
            if state is State.CANCELLED:
                return
            if state.final:
                raise not_possible_error(row, "can no longer be cancelled")
            if row.control != Control.CANCEL:
                row.control = Control.CANCEL.value
                self._audit.record(session, actor, "migration.cancel", str(row.id))
            self._apply_if_idle(session, row, State.CANCELLED)

    def check_again(self, actor: Actor, migration_id: int) -> None:
        """Make the review of a migration that waits for its start once more."""
        with self._request(actor, migration_id) as (session, row, state):
            if state is State.PLANNING:
                return
            if state is not State.READY:
                raise not_possible_error(row, "is not before its start")
            send_to_runner(session, row)

    def retry_failed(self, actor: Actor, migration_id: int, wanted: ObjectFilter | None = None) -> int:
        """Retry the failed objects, or those that match a filter; return how many. Raises ``CONFLICT`` if
        there are none."""
        actor.require(Permission.MIGRATE)
        with self._database.read() as session:
            left = self._check_retry(session, get_row(session, migration_id))
        # The ledger first: a crash in between leaves rows pending, and a second request continues there.
        if wanted is None or wanted == ObjectFilter(ObjectState.FAILED):
            self._ledgers.retry_failed(migration_id)
        else:
            self._ledgers.retry_some_failed(migration_id, wanted)
            counters = self._counters(migration_id)
            left = max(counters.found - counters.done, int(not counters.listing_final))
            if not left:
                raise not_possible_error(self._get_row(migration_id), "has no failed objects that match")
        with self._request(actor, migration_id) as (session, row, _):
            self._check_retry(session, row, known=left)
            self._audit.record(session, actor, "migration.retry", str(row.id), objects=left)
            send_to_runner(session, row)
            return left

    # ---- watching

    def progress(self, migration_id: int) -> Progress:
        """Return its progress, for polling: figures of a running migration may be a second old. Raises
        ``NOT_FOUND``."""
        return self._watched.get(migration_id)

    def _read_progress(self, migration_id: int) -> Progress:
        with self._database.read() as session:
            row = get_row(session, migration_id)
            waiting = is_waiting_for_runner(session, row)
        return build_progress(row, self._counters(row.id), self._live(row), waiting)

    def throughput(self, migration_id: int) -> Throughput:
        """How fast it was over time; cheap enough for polling."""
        return self._series.get(migration_id)

    def review(self, migration_id: int) -> Review | None:
        """What was found out before the start beside the plan; None while that is under way."""
        return self._reviews.get(migration_id)

    def list(
        self, *, limit: int = 50, before_id: int | None = None, wanted: MigrationFilter | None = None
    ) -> tuple[Progress, ...]:
        """Return the newest migrations that are wanted, or those of them older than ``before_id``."""
        limit = max(1, min(limit, MAX_MIGRATIONS))
        if limit > MAX_KEPT:
            return self._list(limit, before_id, wanted)
        return self._database.kept(
            ("migrations", limit, before_id, wanted),
            lambda: self._list(limit, before_id, wanted),
            # Whether one that runs is still heard of depends on the time.
            keep_if=lambda found: not any(each.state.active for each in found),
        )

    def _list(
        self, limit: int, before_id: int | None, wanted: MigrationFilter | None
    ) -> tuple[Progress, ...]:
        query = select(Migration).order_by(Migration.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(Migration.id < clamp_integer(before_id))
        if wanted is not None:
            query = query.where(*wanted.conditions())
        with self._database.read() as session:
            rows = [(row, is_waiting_for_runner(session, row)) for row in session.scalars(query)]
        totals = self._ledgers.counters([row.id for row, _ in rows])
        return tuple(
            build_progress(row, totals.get(row.id, Counters()), self._live(row), waiting)
            for row, waiting in rows
        )

    def running(self) -> int:
        """Return how many a runner is working on, or should be."""
        return self._database.kept(("running",), self._running, of="main")

    def _running(self) -> int:
        active = [each for each in State if each.active]
        with self._database.read() as session:
            return session.scalar(select(func.count()).where(Migration.state.in_(active))) or 0

    def find(self, text: str, *, limit: int = 20) -> tuple[MigrationName, ...]:
        """Return the newest migrations with this number, or with this text in a backend's name."""
        return find_by_name(self._database, text, limit)

    def failures(self, migration_id: int) -> tuple[FailureGroup, ...]:
        """Return the failed objects grouped by reason, most frequent first. Raises ``NOT_FOUND``."""
        self._get_row(migration_id)
        return self._ledgers.failures(migration_id)

    def objects(
        self, migration_id: int, wanted: ObjectFilter, *, after: str = "", limit: int = 100
    ) -> ObjectPage:
        """Return a page of the objects that match; see ``LedgerSearch.page``. Raises ``NOT_FOUND``."""
        self._get_row(migration_id)
        return self._search.page(migration_id, wanted, after=after, limit=max(1, min(limit, MAX_ROWS)))

    def rows(
        self, migration_id: int, *, state: ObjectState | None = None, after_id: int = 0, limit: int = 100
    ) -> tuple[LedgerRow, ...]:
        """Return objects in the order of the plan, after one of them. Raises ``NOT_FOUND``."""
        after = f"i{max(0, clamp_integer(after_id))}"
        return self.objects(migration_id, ObjectFilter(state), after=after, limit=limit).rows

    def report(self, migration_id: int) -> Iterator[str]:
        """Return the ledger as CSV lines in key order, header first. Raises ``NOT_FOUND`` at once, not when
        consumed."""
        self._get_row(migration_id)
        return csv_lines(report_rows(self._database, migration_id))

    def report_json(self, migration_id: int) -> Iterator[str]:
        """Return the ledger as one JSON document, in pieces. Raises ``NOT_FOUND`` at once."""
        self._get_row(migration_id)
        return json_lines(migration_id, report_rows(self._database, migration_id))

    def command(self, migration_id: int) -> str:
        """Return the command line for the same migration. Raises ``NOT_FOUND``."""
        row = self._get_row(migration_id)
        return command_line(row.source, row.destination, from_json(row.spec))

    # ---- inside

    @contextmanager
    def _request(self, actor: Actor, migration_id: int) -> Iterator[tuple[Session, Migration, State]]:
        actor.require(Permission.MIGRATE)
        with self._database.write() as session:
            row = get_row(session, migration_id)
            yield session, row, State(row.state)

    def _apply_if_idle(self, session: Session, row: Migration, state: State) -> None:
        if is_running(session, JobKind.MIGRATION, row.id):
            return
        row.state = state.value
        if state.final:
            row.finished_at = time.time()
        dequeue(session, JobKind.MIGRATION, row.id)
        if self._has_leftovers(row.id):
            # A runner died during the run: the next one removes its leftovers at the destination.
            enqueue(session, JobKind.MIGRATION, row.id)

    def _has_leftovers(self, migration_id: int) -> bool:
        if self._ledgers.has_in_flight(migration_id):
            return True
        ledger = SqlLedger(self._database.work, migration_id)
        return bool(ledger.unswept(1) or ledger.markers())

    def _check_retry(self, session: Session, row: Migration, known: int = 0) -> int:
        state = State(row.state)
        if row.spec["dry_run"]:
            raise not_possible_error(row, "was a dry run and has nothing to try again")
        if state not in (State.FINISHED, State.FAILED, State.PAUSED):
            again = "Start a new migration; objects that already exist will be skipped."
            wait = "Wait until it has finished, or pause it first."
            raise not_possible_error(
                row, "cannot try its failed objects again", again if state is State.CANCELLED else wait
            )
        counters = self._counters(row.id)
        # The rows of folders that could not be read are deleted before they are listed again.
        objects = max(known, counters.failed + counters.found - counters.done)
        if not objects:
            raise not_possible_error(row, "has no failed objects")
        return objects

    def _get_row(self, migration_id: int) -> Migration:
        with self._database.read() as session:
            return get_row(session, migration_id)

    def _counters(self, migration_id: int) -> Counters:
        return self._ledgers.counters([migration_id]).get(migration_id, Counters())

    def _live(self, row: Migration) -> Live:
        return self._ledgers.live(row.id) if State(row.state).active else Live()
