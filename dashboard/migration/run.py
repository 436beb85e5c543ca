"""The entry point: run a migration until it is finished, waits for a person, or cannot continue.

The same call serves the supervised child process and the command line. It can be killed at any moment
and called again: the ledger records what is done, and what was in flight is swept and copied again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random

from dashboard.errors import StowageError
from dashboard.migration.carrying.carriers import Alone, Carried, Carriers
from dashboard.migration.carrying.copy_phase import CopyPhase
from dashboard.migration.carrying.gate import CopyGate, may_copy_while_listing
from dashboard.migration.final_phase import FinalPhase, retry
from dashboard.migration.globs import compile_filter
from dashboard.migration.ledger import FencedOut, Ledger, Live
from dashboard.migration.leftovers import clean_up, remove_leftovers
from dashboard.migration.live import Meter, Spent
from dashboard.migration.overlap import OverlapSearch
from dashboard.migration.plan import plan
from dashboard.migration.pool import PhaseThread
from dashboard.migration.provenance import Provenance
from dashboard.migration.retry_policy import RunAborted
from dashboard.migration.transfer import Transfer
from dashboard.migration.tuning import most_at_once
from dashboard.migration.types import AUTOMATIC, Control, Outcome, Spec, State
from dashboard.storage.driver import Driver
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.net.rate_limits import RateLimits

SHUTDOWN_SECONDS = 1.2
"""How long calls in progress may take to end after a pause or cancel."""
POLL_SECONDS = 0.25
"""Between two polls of the requested control."""
PUBLISH_SECONDS = 0.5
"""Between two updates of the live progress."""
STALE_PLAN_SECONDS = 60.0
"""The age of a plan at which skipped objects are checked again, as they are after any interruption."""
MAX_RECHECKS = 3
"""How often at most, for sources that keep changing."""

OnState = Callable[[State, Outcome | None, str, str], None]


@dataclass(frozen=True, slots=True)
class MigrationJob:
    """What to run. ``approved`` is polled: copying starts when it returns true.

    ``source_name`` appears in the names that "keep both" gives. ``paths``: known paths of both on their
    servers, a hint for ``OverlapSearch``. ``name_rules`` returns the destination's, perhaps after probing, in
    a thread of the run. ``tuned``, ``may_write``: see ``Execution``, ``Transfer``. ``limits`` may change."""

    id: int
    spec: Spec
    approved: Callable[[], bool]
    source_name: str = "source"
    paths: tuple[str, str] = ("", "")
    name_rules: Callable[[], NameRules] = NameRules
    tuned: bool = False
    limits: RateLimits = field(default_factory=RateLimits)
    may_write: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``stragglers``: threads that hang in a call, whose rows are pending again; the process
    should be restarted before it runs another migration."""

    state: State
    outcome: Outcome | None = None
    message: str = ""
    remedy: str = ""
    stragglers: int = 0


def run(
    job: MigrationJob,
    source: Driver,
    destination: Driver,
    ledger: Ledger,
    control: Callable[[], Control],
    *,
    on_state: OnState,
    clock: Callable[[], float] = time.time,
    random: Random | None = None,
    carriers: Carriers | None = None,
) -> RunResult:
    """Run until a final state, READY (listed, waiting for approval), PAUSED or FAILED.

    ``on_state`` is called with every state, including the last one, before this returns. A run that fails as
    a whole (credentials, missing bucket, full disk, server unreachable) leaves its rows pending and can be
    run again once the cause is removed. Raises ``FencedOut`` if another run took over: then ``on_state`` was
    not called. Copies no more objects at once than both accept connections. ``carriers`` share the work.
    """
    spec = replace(job.spec, workers=most_at_once(job.spec.workers, source, destination))
    return _Run(
        replace(job, spec=spec, tuned=job.tuned or job.spec.workers == AUTOMATIC),
        source,
        destination,
        ledger=ledger,
        control=control,
        on_state=on_state,
        clock=clock,
        random=random or Random(),  # noqa: S311  # jitter, no secret
        carriers=carriers or Alone(),
    ).run()


class _Run:
    """The thread that polls, schedules and publishes while others list, copy and verify."""

    def __init__(
        self,
        job: MigrationJob,
        source: Driver,
        destination: Driver,
        *,
        ledger: Ledger,
        control: Callable[[], Control],
        on_state: OnState,
        clock: Callable[[], float],
        random: Random,
        carriers: Carriers,
    ) -> None:
        self._job = job
        self._carriers = carriers
        self._source = source
        self._destination = destination
        self._ledger = ledger
        self._control = control
        self._on_state = on_state
        self._clock = clock
        self._random = random
        self._state: State | None = None
        self._meter = Meter()
        self._spent = Spent()
        self._polled_at = self._published_at = 0.0
        self._requested = Control.RUN
        self._phase: PhaseThread | None = None
        self._copy: CopyPhase | None = None
        self._gate = CopyGate()
        self._approved = self._listing_final = False
        self._started_at = clock()
        self._failed_keys: set[str] = set()
        self._was_interrupted = False
        self._planned_at = time.monotonic()
        self._rules = cache(job.name_rules)

    def run(self) -> RunResult:
        """See the module's ``run``."""
        try:
            counters = self._ledger.begin()
            self._listing_final, self._was_interrupted = counters.listing_final, counters.found > 0
            result = self._copy_phase() or self._recheck_skipped() or self._final_phase() or self._finished()
        except RunAborted as aborted:
            result = self._end_early(State.FAILED, aborted.reason.sentence, aborted.reason.remedy)
        except FencedOut:
            self._abort_threads()
            raise
        except StowageError as error:
            result = self._end_early(State.FAILED, error.reason, error.remedy)
        except BaseException:
            self._abort_threads()
            raise
        self._report_state(result.state, result.outcome, result.message, result.remedy)
        return result

    # ---- phases

    def _copy_phase(self) -> RunResult | None:
        """List and copy; return None when every row is settled (or, on a dry run, planned)."""
        self._poll_control(force=True)
        self._report_state(State.RUNNING if self._copying else State.PLANNING)
        self._gate = CopyGate()
        self._phase = PhaseThread(self._prepare, "plan")
        while True:
            if self._poll_control():
                return self._end_as_requested()
            # Checked before the step, because rows recorded during it would be missed.
            planned = self._phase.has_ended()
            if self._copy and not self._gate.is_open:
                self._hold_copying(self._copy)
            elif self._copying and self._gate.is_open:
                self._report_state(State.RUNNING)
                self._copy = self._copy or self._start_copying()
                if self._copy.step(0.05, listing_final=planned):
                    self._copy.close(time.monotonic() + SHUTDOWN_SECONDS)
                    return None
            elif planned:
                if self._job.spec.dry_run:
                    return None
                # Approval may have come while the last page was recorded.
                self._poll_control(force=True)
                if not self._copying:
                    return self._end_early(State.READY)
            else:
                self._gate.idle()
                (self._gate if self._copying else self._phase).wait(0.05)
            self._publish("copying" if self._copy else "listing")

    @property
    def _copying(self) -> bool:
        return self._approved and not self._job.spec.dry_run

    def _hold_copying(self, copy: CopyPhase) -> None:
        """Begin nothing more; end the phase once nothing is being copied."""
        if copy.drain(0.05):
            copy.stop(time.monotonic() + SHUTDOWN_SECONDS)
            self._copy = None

    def _prepare(self, stop: threading.Event) -> None:
        """Sweep what an earlier run left, then list. Copying waits for the sweep, which cannot tell new
        writes from old ones, and perhaps for the listings, which show whether both overlap: see ``gate``."""
        self._started_at = clean_up(
            self._destination,
            self._ledger,
            self._job.source_name,
            source=self._source,
            stop=stop,
            random=self._random,
            began=self._started_at,
        )
        if not stop.is_set():
            retry(partial(self._plan, stop), stop, self._random)

    def _plan(self, stop: threading.Event) -> None:
        """List source and destination unless an earlier run has, and check whether they overlap."""
        source, destination, spec = self._source, self._destination, self._job.spec
        if spec.dry_run:
            # Without writing a marker an overlap cannot be found.
            if not self._listing_final:
                plan(source, destination, spec, self._ledger, stop.is_set, rules=self._rules())
            return
        search = OverlapSearch(
            source,
            destination,
            spec.prefix,
            migration_id=self._job.id,
            save=self._ledger.save_markers,
            paths=self._job.paths,
            enters=compile_filter(spec.include, spec.exclude).enters,
            clock=self._clock,
        )
        try:
            if self._listing_final:
                search.begin()
            else:
                search.begin(meanwhile=self._rules)
                if may_copy_while_listing(source, destination, spec, rules := self._rules()):
                    self._gate.open()
                held = partial(self._gate.hold, stop.is_set)
                ends = source, destination, spec, self._ledger, stop.is_set
                plan(*ends, search=search, rules=rules, on_disorder=held)
            if not stop.is_set():
                self._gate.complete()  # The markers are removed beside it.
        finally:
            search.close()

    def _start_copying(self) -> CopyPhase:
        provenance = Provenance(self._source, self._destination, self._job.spec, self._ledger.token())
        return CopyPhase(
            Transfer(
                *(provenance, self._job.source_name, self._spent, self._job.limits, self._job.may_write),
                await_plan=self._gate.await_plan,
            ),
            self._ledger,
            self._job.spec.workers,
            tuned=self._job.tuned,
            carriers=self._carriers,
            failed_keys=self._failed_keys,
            clock=self._clock,
            random=self._random,
        )

    def _recheck_skipped(self) -> RunResult | None:
        """If the plan is stale, list both sides again and copy skipped or refused objects that have changed,
        which no later phase would notice."""
        for _ in range(MAX_RECHECKS):
            if not self._is_plan_stale():
                return None
            self._was_interrupted, self._planned_at = False, time.monotonic()
            self._phase = PhaseThread(self._replan, "look again")
            if ended := self._wait_for(self._phase, "listing"):
                return ended
            counters = self._ledger.counters()
            if counters.done == counters.found:
                return None
            self._copy, self._listing_final = None, True
            if result := self._copy_phase():
                return result
        return None

    def _is_plan_stale(self) -> bool:
        old = self._was_interrupted or time.monotonic() - self._planned_at > STALE_PLAN_SECONDS
        counters = self._ledger.counters()
        return old and not self._job.spec.dry_run and bool(counters.skipped or counters.failed)

    def _replan(self, stop: threading.Event) -> None:
        retry(partial(self._relist, stop), stop, self._random)

    def _relist(self, stop: threading.Event) -> None:
        ends = self._source, self._destination
        plan(*ends, self._job.spec, self._ledger, stop.is_set, rules=self._rules(), recheck=True)

    def _final_phase(self) -> RunResult | None:
        """Check every copy once more and delete sources if requested; return None when that is done."""
        if self._job.spec.dry_run:
            return None
        self._report_state(State.VERIFYING)
        ends = self._source, self._destination
        final_phase = FinalPhase(*ends, self._job.spec, ledger=self._ledger, random=self._random)
        final_phase.limits, final_phase.may_write = self._job.limits, self._job.may_write
        final_phase.meanwhile = self._remove_leftovers
        self._phase = PhaseThread(final_phase.run, "final")
        return self._wait_for(self._phase, "verifying")

    def _wait_for(self, phase: PhaseThread, shown: str) -> RunResult | None:
        """Publish the progress until the phase has ended; return a result if a person ends the run before."""
        while not phase.has_ended():
            if self._poll_control():
                return self._end_as_requested()
            self._publish(shown)
            phase.wait(0.05)
        return None

    # ---- ends

    def _finished(self) -> RunResult:
        self._ledger.publish(Live(at=self._clock()))
        counters, deletes = self._ledger.counters(), self._job.spec.delete_source
        return RunResult(State.FINISHED, counters.outcome(deletes=deletes))

    def _remove_leftovers(self) -> None:
        if self._job.may_write():
            failed, own_keys = sorted(self._failed_keys), self._ledger.in_parts
            prefix = self._job.spec.prefix
            remove_leftovers(self._destination, prefix, failed, own_keys, since=self._started_at)

    def _end_as_requested(self) -> RunResult:
        return self._end_early(State.PAUSED if self._requested is Control.PAUSE else State.CANCELLED)

    def _end_early(self, state: State, message: str = "", remedy: str = "") -> RunResult:
        """End early: calls in progress get ``SHUTDOWN_SECONDS``, all other rows return to pending."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for working in (self._phase, self._copy):
            if working:
                working.request_stop()
        if state in (State.PAUSED, State.CANCELLED):
            self._ledger.publish(replace(self._measure("stopping"), stopping=True))
        hanging = self._copy.stop(deadline) if self._copy else 0
        if self._phase:
            hanging += self._phase.stop(max(deadline, time.monotonic() + 0.2))
        self._ledger.publish(Live(at=self._clock()))
        return RunResult(state, None, message, remedy, hanging)

    def _abort_threads(self) -> None:
        """Stop the threads without writing to the ledger."""
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        if self._copy:
            self._copy.abort(deadline)
        if self._phase:
            self._phase.stop(deadline)

    # ---- polling and publishing

    def _poll_control(self, *, force: bool = False) -> bool:
        """Whether a pause or cancel is requested."""
        now = time.monotonic()
        if force or now - self._polled_at >= POLL_SECONDS:
            self._polled_at = now
            self._requested = self._control()
            self._approved = self._approved or self._job.approved()
        return self._requested is not Control.RUN

    def _report_state(
        self, state: State, outcome: Outcome | None = None, message: str = "", remedy: str = ""
    ) -> None:
        if state is not self._state:
            self._state = state
            self._on_state(state, outcome, message, remedy)

    def _publish(self, phase: str) -> None:
        if time.monotonic() - self._published_at >= PUBLISH_SECONDS:
            self._ledger.publish(self._measure(phase))
            self._published_at = time.monotonic()

    def _measure(self, phase: str) -> Live:
        copying, counters = self._copy, self._ledger.counters()
        shown = copying.carried(self._spent.seconds()) if copying else Carried()
        live = self._meter.measure(time.monotonic(), counters, shown.in_flight, phase=phase, at=self._clock())
        at_once, reason = (shown.at_once, shown.limited_by) if copying else (0, "")
        return replace(live, spent=shown.spent, at_once=at_once, limited_by=reason, carriers=shown.processes)
