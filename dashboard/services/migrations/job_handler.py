"""The handler of migration jobs: connects the engine (drivers, ledger) to the rows that people see."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, Select, Update, bindparam, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import DONE, Job, JobContext, JobKind, JobResult
from dashboard.migration.ledger import FencedOut
from dashboard.migration.types import AUTOMATIC, Control, Outcome, Spec, State
from dashboard.models.backends import Backend
from dashboard.models.migrations import Migration
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.name_rules_store import NameRulesStore
from dashboard.services.database import Database, is_server_away, translate_error
from dashboard.services.engines import BUSY_SECONDS
from dashboard.services.jobs import CURRENT_CLAIM, enqueue, is_current_claim
from dashboard.services.migrations.carrying import processes
from dashboard.services.migrations.carrying.ends import MigrationEnds, catalogued_files
from dashboard.services.migrations.carrying.processes import CarrierProcess, carrier_command, carriers_for
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.services.migrations.limiting.migration_limits import rates_now
from dashboard.services.migrations.review import Reviews
from dashboard.services.migrations.spec import from_json
from dashboard.services.permissions import Actor, Role
from dashboard.settings import Settings
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.net.rate_limits import RateLimits
from dashboard.storage.registry import free_bytes, location

if TYPE_CHECKING:
    from dashboard.services.migrations.carrying.embedded import EmbeddedCarriers, Process
    from dashboard.services.migrations.carrying.remote import Remote

log = logging.getLogger(__name__)

RUNNER = Actor("runner", Role.OPERATOR, "runner")
CONTROL_SECONDS = 0.2
"""How long the requested control is cached."""
REMOTE_FAILURES = 1000
"""Carriers that may fail in a run whose carriers are workers, which may be killed without end: one whose
carriers all fail at once does not ask for ever."""
ELAPSED_SECONDS = 1.0
"""Between two updates of the elapsed time."""


class MigrationHandler:
    """Runs migrations. Idempotent: an interrupted job resumes."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        backends: Backends,
        settings: Callable[[], Settings],
        remote: Remote | None = None,
    ) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self._settings = settings
        self._remote = remote
        self._names = NameRulesStore(database)
        self._reviews = Reviews(database)

    def run(self, context: JobContext) -> JobResult:
        """Run it until it is final, paused or ready for approval, or until the runner stops."""
        with self._database.read() as session:
            row = session.get(Migration, context.job.subject_id)
        if row is None:
            return DONE
        stragglers = False
        ends = MigrationEnds(self._database, self._backends, row, context.should_stop)
        try:
            result = self._run(context, row, ends)
            stragglers = result.restart
        except FencedOut:
            # If the lease is lost this changes nothing; if not, the next claim has a newer fence.
            return JobResult(requeue=True, aborted=True)
        except (DatabaseError, StowageError) as error:
            if is_server_away(error):
                # Nobody has to resume it by hand: it goes on when the server is back.
                log.warning("Migration %d waits for the database server", row.id)
                return JobResult(requeue=True, aborted=True)
            if isinstance(error, StowageError):
                raise
            log.exception("The ledger of migration %d cannot be used", row.id)
            raise _ledger_error(row.id, translate_error(error)) from error
        finally:
            if not stragglers:
                ends.release()
        return result

    def failed(self, job: Job, error: StowageError) -> None:
        """Record that the migration failed with its job. It can be resumed."""
        with self._database.write() as session:
            row = session.get(Migration, job.subject_id)
            if row is None or not State(row.state).active or not is_current_claim(session, job):
                return
            row.state, row.message, row.remedy = State.FAILED.value, error.reason, error.remedy
            row.control, row.finished_at = Control.RUN.value, time.time()
            self._audit.record(
                session, RUNNER, "migration.fail", str(row.id), outcome="failed", reason=error.reason
            )

    def _run(self, context: JobContext, row: Migration, ends: MigrationEnds) -> JobResult:
        # Pages and short commands start without loading the engine.
        from dashboard.migration.run import MigrationJob, run

        ledger = RunLedger(
            self._database.work, row.id, fence=_fence(context.job), files=catalogued_files(row)
        )
        if self._remote:
            self._remote.await_earlier(ledger, row.id, context.wait)
        if not State(row.state).active:
            if State(row.state) is not State.FINISHED:
                # It was stopped without a runner, or with hanging threads: remove their leftovers.
                ledger.begin()
                source, destination = ends.open()
                self._clean_up(context, row, ledger, source, destination)
            return JobResult(requeue=context.should_stop())
        spec = from_json(row.spec)
        tuned, most = spec.workers == AUTOMATIC, self._settings().max_workers
        spec = replace(spec, workers=min(spec.workers or most, most))
        # Before the driver is built, so that its results are not saved for a backend that was edited since.
        version = self._version(row.destination_id)
        source, destination = ends.open()
        limits = RateLimits()
        limits.change(rates_now(spec, self._settings()))
        monitor = _RunMonitor(
            self._database,
            self._audit,
            context,
            row.elapsed,
            lambda: ledger.copied,
            limit=self._limit(limits),
        )
        paths = (self._path(row.source_id), self._path(row.destination_id))
        rules = partial(
            self._names.get_or_probe, row.destination_id, version, destination, may_write=not spec.dry_run
        )
        job = MigrationJob(
            *(row.id, spec, monitor.approved, row.source, paths, rules, tuned, limits),
            may_write=lambda: not context.lease_lost,
        )

        def on_state(state: State, outcome: Outcome | None, message: str, remedy: str) -> None:
            # Before people see that it is ready: the review says what stands in the way.
            if state is State.READY or (state is State.FINISHED and spec.dry_run):
                self._reviews.make(
                    row.id,
                    spec,
                    (source, destination),
                    self._free_bytes(row.destination_id),
                    stop=context.should_stop,
                )
            monitor.on_state(state, outcome, message, remedy)

        carriers = self._carriers(row, spec, ledger, (source, destination))
        result = run(job, source, destination, ledger, monitor.control, on_state=on_state, carriers=carriers)
        if self._remote and result.state is State.CANCELLED:
            self._remote.await_all(row.id)
        if result.state is State.CANCELLED and not result.stragglers:
            self._clean_up(context, row, ledger, source, destination)
        # With threads still hanging, the job runs once more in a new process, to clean up.
        stragglers = result.stragglers > 0
        return JobResult(requeue=monitor.unfinished or stragglers, restart=stragglers)

    def _limit(self, limits: RateLimits) -> Callable[[Mapping[str, Any]], None]:
        """What brings the limits of a run up to date with its stored spec, the settings and the time of
        day."""
        return lambda spec: limits.change(rates_now(from_json(spec), self._settings()))

    def _clean_up(
        self, context: JobContext, row: Migration, ledger: RunLedger, source: Driver, destination: Driver
    ) -> None:
        from dashboard.migration.leftovers import clean_up

        try:
            clean_up(destination, ledger, row.source, source=source, stop=context.stop)
        except StorageError as error:
            log.warning("Leftovers of migration %d could not be removed: %s", row.id, error)

    def _carriers(
        self, row: Migration, spec: Spec, ledger: RunLedger, ends: tuple[Driver, Driver]
    ) -> EmbeddedCarriers:
        from dashboard.migration.leftovers import sweep_interrupted
        from dashboard.services.migrations.carrying.embedded import MAX_FAILURES, EmbeddedCarriers
        from dashboard.services.migrations.carrying.machine import Headroom

        settings = self._settings()
        chosen = spec.carriers or settings.carriers
        if self._remote:
            wanted = self._remote.most(row.id, spec.carriers)
        else:
            wanted = chosen or processes.default_carriers()
        ledger.parts = carriers_for(wanted, spec, row.spec, ends)

        def start_process(number: int) -> CarrierProcess:
            return CarrierProcess(carrier_command(settings, row.id, ledger.fence, number, ledger.parts))

        start: Callable[[int], Process] = start_process
        if self._remote:
            start = self._remote.starter(ledger, row.id)
        return EmbeddedCarriers(
            ledger,
            most=ledger.parts,
            start=start,
            sweep=lambda stop: sweep_interrupted(ends[1], ledger, row.source, stop=stop),
            max_failures=REMOTE_FAILURES if self._remote else MAX_FAILURES,
            headroom=None if chosen or self._remote else Headroom(),
        )

    def _version(self, backend_id: int | None) -> int:
        with self._database.read() as session:
            backend = session.get(Backend, backend_id) if backend_id is not None else None
            return backend.version if backend else 0

    def _path(self, backend_id: int | None) -> str:
        with self._database.read() as session:
            backend = session.get(Backend, backend_id) if backend_id is not None else None
            return location(backend.driver, backend.options).path if backend else ""

    def _free_bytes(self, backend_id: int | None) -> int | None:
        with self._database.read() as session:
            backend = session.get(Backend, backend_id) if backend_id is not None else None
            return free_bytes(backend.driver, backend.options) if backend else None


class _RunMonitor:
    """Passes requests of people to the engine, and states of the engine to the migration's row."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        context: JobContext,
        elapsed: float,
        copied: Callable[[], int],
        *,
        limit: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._database = database
        self._audit = audit
        self._context = context
        self._limit = limit
        self._id = context.job.subject_id
        self._elapsed = elapsed
        self._copied = copied
        self._began = time.monotonic()
        self._polled_at = self._saved_at = float("-inf")
        self._control = Control.RUN
        self._approved = False
        self.unfinished = False
        """Whether the engine stopped without a person's request, so that the job has to run again."""

    def control(self) -> Control:
        """Return the requested control; ``PAUSE`` if the runner is stopping."""
        self._poll()
        return Control.PAUSE if self._context.should_stop() else self._control

    def approved(self) -> bool:
        """Whether copying may start."""
        self._poll()
        return self._approved

    def on_state(self, state: State, outcome: Outcome | None, message: str, remedy: str) -> None:
        """Record a state, its audit row and follow-up jobs in one fenced transaction. Retries while the
        database is busy."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._record(state, outcome, message, remedy)
                return
            except StowageError as error:
                if error.operation != "database" or not error.retryable or time.monotonic() >= deadline:
                    raise

    def _record(self, state: State, outcome: Outcome | None, message: str, remedy: str) -> None:
        with self._database.write() as session:
            if not is_current_claim(session, self._context.job):
                raise FencedOut
            row = session.get(Migration, self._id)
            if row is None:
                raise FencedOut
            row.elapsed = self._seconds()
            # Resumed or approved while the engine was stopping.
            if (state is State.PAUSED and row.control != Control.PAUSE) or (
                state is State.READY and row.approved_at is not None
            ):
                self.unfinished = True
                return
            if row.started_at is None:
                row.started_at = time.time()
                self._audit.record(session, RUNNER, "migration.start", str(row.id))
            row.state, row.outcome = state.value, outcome.value if outcome else None
            row.message, row.remedy = message, remedy
            if state.final:
                self._finish(session, row, state)

    def _finish(self, session: Session, row: Migration, state: State) -> None:
        row.finished_at = time.time()
        # A pause that came too late must not stop a later retry at its start.
        row.control = (Control.CANCEL if state is State.CANCELLED else Control.RUN).value
        action = {State.FINISHED: "finish", State.CANCELLED: "stop", State.FAILED: "fail"}[state]
        detail = {"outcome": row.outcome} if row.outcome else {"reason": row.message}
        self._audit.record(
            session,
            RUNNER,
            f"migration.{action}",
            str(row.id),
            outcome="failed" if state is State.FAILED else "done",
            result=next(iter(detail.values())),
        )
        enqueue(session, JobKind.NOTIFY, 0)
        for backend_id in (row.source_id, row.destination_id):
            if backend_id is not None:
                enqueue(session, JobKind.CHECK, backend_id)
                enqueue(session, JobKind.COUNT, backend_id)

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled_at < CONTROL_SECONDS:
            return
        self._polled_at = now
        self._context.copied = self._copied()
        try:
            with self._database.read() as session:
                row = session.connection().execute(_requested(), {"id": self._id}).one_or_none()
            if row is not None:
                self._control, self._approved = Control(row.control), row.approved_at is not None
                self._limit(row.spec)
            if now - self._saved_at >= ELAPSED_SECONDS:
                self._saved_at = now
                self._save_elapsed()
        except StowageError as error:
            # The cached values stay valid: a busy database is no reason to stop a migration.
            log.warning("Migration %d could not read its row: %s", self._id, error)

    def _save_elapsed(self) -> None:
        job = self._context.job
        claim = {"b_id": self._id, "b_job": job.id, "b_fence": job.fence, "b_elapsed": self._seconds()}
        with self._database.write() as session:
            session.connection().execute(_saving_elapsed(), claim)

    def _seconds(self) -> float:
        return self._elapsed + time.monotonic() - self._began


# Run several times a second; putting them together takes longer than running them.


@cache
def _requested() -> Select[Any]:
    c = Migration.__table__.c
    return select(c.control, c.approved_at, c.spec).where(c.id == bindparam("id"))


@cache
def _saving_elapsed() -> Update:
    """An update of the elapsed time while a claim of the job is the current one."""
    change = update(Migration).where(Migration.__table__.c.id == bindparam("b_id"), CURRENT_CLAIM)
    return change.values(elapsed=bindparam("b_elapsed", type_=Float))


def _ledger_error(migration_id: int, error: StowageError) -> StowageError:
    busy = error.kind is Kind.TIMEOUT
    return StowageError(
        error.kind,
        "Another program has the ledger of this migration (work.db) locked."
        if busy
        else f"The ledger of this migration could not be written. {error.reason}",
        operation="migration",
        subject=str(migration_id),
        remedy="End that program, such as a backup or a database browser, then resume the migration."
        if busy
        else f"{error.remedy} Then resume the migration.",
    )


def _fence(job: Job) -> int:
    """Return a number that grows with every claim of every job of a migration."""
    return (job.id << 20) + job.fence
