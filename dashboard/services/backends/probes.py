"""Connection tests: started and polled by a page, or run by a command.

They exist in this process's memory, and what was found so far for other consoles on the same server in its
database: a draft's secret is never stored before it is saved.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from dashboard.errors import Kind, StowageError
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends, Draft
from dashboard.services.backends.name_rules_store import NameRulesStore
from dashboard.services.backends.probe_objects import ProbeObjects
from dashboard.services.backends.status import Badge, StatusBoard
from dashboard.services.consoles.followed_tests import FollowedTests
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import CreatesBuckets, Driver, RefusesWrites
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.probe import ProbeRun, Step, probe

__all__ = ["ProbeRun", "Probes", "Step"]

log = logging.getLogger(__name__)

MAX_SECONDS = 45.0
"""Seconds a whole probe may take."""
KEEP_SECONDS = 600.0
"""Seconds for which a run is kept."""
MAX_KEPT = 200
MAX_PARALLEL_PROBES = 6

_REQUIRED_STEPS = ("write", "read", "list", "delete")
_TOO_LONG = f"The whole test took longer than {MAX_SECONDS:.0f} seconds and was ended here."
_TOO_LONG_REMEDY = "Every step works slowly: check the network between this machine and the server."


@dataclass(slots=True)
class _RunningProbe:
    actor: str
    begun: float
    run: ProbeRun


@dataclass(frozen=True, slots=True)
class _ProbeTarget:
    """What is probed. ``backend_id`` is None for a draft, whose driver is closed afterwards."""

    driver: Driver
    name: str
    backend_id: int | None
    version: int = 0
    actor: str = ""

    def close(self) -> None:
        if self.backend_id is None:
            self.driver.close()


class Probes:
    """Thread-safe. A run belongs to the actor who started it and expires after ten minutes."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends, status: StatusBoard) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends
        self._status = status
        self._names = NameRulesStore(database)
        self._test_objects = ProbeObjects(database)
        self._lock = threading.Lock()
        self._runs: dict[str, _RunningProbe] = {}
        self._followed = FollowedTests(database, "probe", KEEP_SECONDS)
        self._closing = threading.Event()

    def start(self, actor: Actor, target: Draft | str) -> str:
        """Start a probe in the background and return its id for :meth:`get`. Raises what building the driver
        raises, and ``THROTTLED`` if too many are running."""
        resolved = self._resolve_target(actor, target)
        probe_id = secrets.token_urlsafe(12)
        running = _RunningProbe(actor.name, time.monotonic(), ProbeRun.of(resolved.driver))
        try:
            self._register(probe_id, running)
        except StowageError:
            resolved.close()
            raise
        self._followed.keep(probe_id, actor.name, asdict(running.run))
        # A daemon, so that stopping the console never waits for a server that does not respond.
        arguments = (probe_id, resolved, running)
        threading.Thread(target=self._work, args=arguments, name="probe-run", daemon=True).start()
        return probe_id

    def get(self, actor: Actor, probe_id: str) -> ProbeRun:
        """The present state of a probe of this actor. Raises ``NOT_FOUND``."""
        with self._lock:
            self._expire()
            running = self._runs.get(probe_id)
            if running is not None and running.actor == actor.name:
                return running.run
        if (kept := self._followed.find(probe_id, actor.name)) is not None:
            return _run_of(kept.state)
        raise StowageError(
            Kind.NOT_FOUND,
            "This connection test has expired.",
            operation="probe",
            remedy="Test the connection again.",
        )

    def run(self, actor: Actor, target: Draft | str) -> Iterator[Step]:
        """Probe now, yielding each step when it starts and when it ends."""
        return self._steps(self._resolve_target(actor, target))

    def create_bucket(self, actor: Actor, target: Draft | str) -> None:
        """Create the bucket or folder of a backend. Succeeds if it exists and is ours."""
        actor.require(Permission.CONFIGURE)
        resolved = self._resolve_target(actor, target, audited=False)
        try:
            if not isinstance(resolved.driver, CreatesBuckets):
                raise StowageError(
                    Kind.UNSUPPORTED,
                    "This kind of storage cannot be created from here.",
                    operation="create bucket",
                    subject=resolved.name,
                    remedy="Create it with the provider's own tools.",
                )
            resolved.driver.create_bucket()
        finally:
            resolved.close()
        with self._database.write() as session:
            self._audit.record(session, actor, "backend.create_bucket", resolved.name)

    def close(self) -> None:
        """End every running probe at its next step. Idempotent."""
        self._closing.set()

    def _resolve_target(self, actor: Actor, target: Draft | str, *, audited: bool = True) -> _ProbeTarget:
        saved = isinstance(target, str)
        actor.require(Permission.TEST if saved else Permission.CONFIGURE)
        if isinstance(target, str):
            # Read before the driver is built: name rules must not outlive an edit.
            info = self._backends.get(target)
            resolved = _ProbeTarget(
                self._backends.driver(target, label="probe"), target, info.id, info.version, actor.name
            )
        else:
            resolved = _ProbeTarget(self._backends.draft_driver(target), target.name, None)
        if audited:
            with self._database.write() as session:
                self._audit.record(
                    session, actor, "backend.test", resolved.name, saved="yes" if saved else "no"
                )
        return resolved

    def _register(self, probe_id: str, running: _RunningProbe) -> None:
        with self._lock:
            self._expire()
            under_way = sum(not w.run.finished for w in self._runs.values())
            if under_way >= MAX_PARALLEL_PROBES:
                raise StowageError(
                    Kind.THROTTLED,
                    f"{under_way} connection tests are under way already.",
                    operation="probe",
                    remedy="Wait until one of them ends, at most a minute.",
                )
            while len(self._runs) >= MAX_KEPT:
                del self._runs[next(key for key, w in self._runs.items() if w.run.finished)]
            self._runs[probe_id] = running

    def _expire(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for key in [key for key, running in self._runs.items() if running.begun < oldest]:
            del self._runs[key]

    def _work(self, probe_id: str, resolved: _ProbeTarget, running: _RunningProbe) -> None:
        try:
            for step in self._steps(resolved):
                with self._lock:
                    running.run = running.run.with_step(step)
                self._followed.keep(probe_id, running.actor, asdict(running.run))
        except Exception as error:  # noqa: BLE001  # the boundary of a background job
            # Without the message: a vendor's text may hold what was sent.
            frames = [f"{each.filename}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)]
            log.error("A connection test broke off with %s at %s", type(error).__name__, ", ".join(frames))
            with self._lock:
                running.run = _mark_aborted(running.run)
            self._followed.keep(probe_id, running.actor, asdict(running.run))

    def _steps(self, resolved: _ProbeTarget) -> Iterator[Step]:
        run = ProbeRun.of(resolved.driver)
        write_errors: list[StorageError] = []
        deadline = time.monotonic() + MAX_SECONDS
        try:
            for seen in probe(
                resolved.driver,
                stop=self._stop_check(deadline),
                on_name_rules=partial(self._save_name_rules, resolved),
                on_write_error=write_errors.append,
                on_test_object=self._test_objects.of(resolved.backend_id),
            ):
                step = seen
                # A test that was cut short is not a test that passed.
                if step.state == "skipped" and not _failed(run):
                    if time.monotonic() > deadline:
                        step = replace(step, state="failed", message=_TOO_LONG, remedy=_TOO_LONG_REMEDY)
                    elif self._closing.is_set():
                        step = replace(step, state="failed", message="Stowage was stopped meanwhile.")
                run = run.with_step(step)
                if run.finished and resolved.backend_id is not None:
                    self._record(resolved.backend_id, run, _required_steps(resolved.driver), write_errors)
                    self._status.history.record_test(resolved.backend_id, resolved.actor, run)
                yield step
        finally:
            resolved.close()

    def _save_name_rules(self, resolved: _ProbeTarget, rules: NameRules) -> None:
        if resolved.backend_id is not None:
            self._names.save(resolved.backend_id, resolved.version, rules)

    def _stop_check(self, deadline: float) -> Callable[[], bool]:
        return lambda: self._closing.is_set() or time.monotonic() > deadline

    def _record(
        self, backend_id: int, run: ProbeRun, proof: tuple[str, ...], write_errors: Sequence[StorageError]
    ) -> None:
        states = {step.name: step.state for step in run.steps}
        first = _failed(run)
        denied = next((error.reason for error in write_errors if error.kind is Kind.DENIED), "")
        if denied or states.get("write") == "passed":
            self._status.record_writing(backend_id, denied)
        if run.passed and all(states[name] == "passed" for name in proof):
            self._status.record_test(backend_id, Badge.HEALTHY)
        elif first is not None:
            # A backend that still lists can at least be copied from.
            listed = states.get("list") == "passed"
            badge = Badge.DOWN if not listed else Badge.READ_ONLY if denied else Badge.DEGRADED
            self._status.record_test(backend_id, badge, first.message, first.remedy)


def _run_of(state: Mapping[str, Any]) -> ProbeRun:
    return ProbeRun(**{**state, "steps": tuple(Step(**step) for step in state["steps"])})


def _required_steps(driver: Driver) -> tuple[str, ...]:
    """The steps that have to pass for a backend to be called healthy."""
    return ("list",) if isinstance(driver, RefusesWrites) else _REQUIRED_STEPS


def _failed(run: ProbeRun) -> Step | None:
    return next((step for step in run.steps if step.state == "failed"), None)


def _mark_aborted(run: ProbeRun) -> ProbeRun:
    for step in run.steps:
        if step.state in ("waiting", "running"):
            first = step.state == "running"
            ended = replace(
                step,
                state="failed" if first else "skipped",
                message="Something unexpected went wrong here; the log has the details."
                if first
                else "Not tried.",
            )
            run = run.with_step(ended)
    return replace(run, finished=True, passed=False)
