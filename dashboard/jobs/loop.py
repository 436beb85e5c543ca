"""The runner's loop: claims jobs, runs each in a thread, renews their leases, and stops in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread

from dashboard.errors import StowageError
from dashboard.jobs.attempting import attempt, record
from dashboard.jobs.types import (
    LANES,
    LEASE,
    RENEW_EVERY,
    RESTART_CODE,
    Handler,
    Job,
    JobContext,
    JobKind,
    JobResult,
    JobStore,
    Lane,
)

log = logging.getLogger(__name__)

POLL = 0.5
GRACE = 5.0
SCHEDULE_EVERY = 5.0
URGENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Running:
    lane: Lane
    context: JobContext
    thread: Thread


class RunnerLoop:
    """Runs jobs until it is stopped.

    While ``ready()`` is false no job is claimed (a sealed console makes no network calls). Jobs still
    running ``grace`` seconds after the stop are abandoned in their threads: the caller is expected to end
    the process, and the next runner claims those jobs again. ``ended`` is called with each finished job, on
    the job's own thread, before the next job starts. For the first ``URGENT_SECONDS`` only jobs of the
    ``urgent`` kinds are started, if there are any: somebody waits for them.
    """

    def __init__(
        self,
        store: JobStore,
        handlers: Mapping[JobKind, Handler],
        *,
        owner: str,
        ready: Callable[[], bool] = lambda: True,
        lanes: tuple[Lane, ...] = LANES,
        poll: float = POLL,
        lease: float = LEASE,
        renew_every: float = RENEW_EVERY,
        grace: float = GRACE,
        ended: Callable[[Job], None] = lambda job: None,
        urgent: frozenset[JobKind] = frozenset(),
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._owner = owner
        self._ready = ready
        self._lanes = lanes
        self._poll = poll
        self._lease = lease
        self._renew_every = renew_every
        self._grace = grace
        self._ended = ended
        self._urgent = urgent
        self._stop_jobs = Event()
        self._restart = Event()
        self._wake = Event()
        self._running: dict[int, _Running] = {}
        self._lock = Lock()

    def run(self, stop: Event) -> int:
        """Run jobs until ``stop`` is set. Returns the exit code: 0, or ``RESTART_CODE`` to be restarted."""
        renew_at = tick_at = 0.0
        others_at = time.monotonic() + (URGENT_SECONDS if self._urgent else 0.0)
        while not (stop.is_set() or self._restart.is_set()):
            now = time.monotonic()
            try:
                if now >= renew_at:
                    renew_at = now + self._renew_every
                    self._renew()
                if self._ready():
                    if now >= max(tick_at, others_at):
                        tick_at = now + SCHEDULE_EVERY
                        self._store.tick()
                    self._claim(only_urgent=now < others_at)
            except StowageError as error:
                log.warning("The job table cannot be used just now: %s", error)
            self._wake.wait(self._poll)
            self._wake.clear()
        return self._shut_down()

    def nudge(self) -> None:
        """Check for jobs, and for ``stop``, now instead of at the next poll."""
        self._wake.set()

    def restart(self) -> None:
        """End as after ``stop``, and ask for a new process."""
        self._restart.set()
        self._wake.set()

    def idle(self) -> bool:
        """Return whether no job is running."""
        with self._lock:
            return not self._running

    def _claim(self, *, only_urgent: bool) -> None:
        for lane in self._lanes:
            if only_urgent and not lane.kinds & self._urgent:
                continue
            while self._has_free_thread(lane):
                job = self._store.claim(lane.kinds, self._owner, self._lease)
                if job is None:
                    break
                self._start(lane, job)

    def _has_free_thread(self, lane: Lane) -> bool:
        with self._lock:
            return sum(r.lane is lane for r in self._running.values()) < lane.threads

    def _start(self, lane: Lane, job: Job) -> None:
        context = JobContext(job, self._stop_jobs)
        # A daemon thread: one blocked in a network call must not keep a stopping process alive.
        thread = Thread(target=self._work, args=(context,), name=f"{job.kind}-{job.id}", daemon=True)
        with self._lock:
            self._running[job.id] = _Running(lane, context, thread)
        thread.start()

    def _renew(self) -> None:
        with self._lock:
            running = [r for r in self._running.values() if r.thread.is_alive()]
        for one in running:
            if not one.context.lease_lost:
                one.context.on_renewal(self._store.renew(one.context.job, self._lease))

    def _work(self, context: JobContext) -> None:
        job = context.job
        handler = self._handlers[job.kind]
        try:
            if self._record(context, handler, attempt(handler, context)):
                self._restart.set()
        except StowageError as error:
            # The lease expires and the job runs again, which every handler allows for.
            log.warning("The result of job %d (%s) could not be recorded: %s", job.id, job.kind, error)
        finally:
            with self._lock:
                self._running.pop(job.id, None)
            self._ended(job)
            self._wake.set()

    def _record(self, context: JobContext, handler: Handler, result: JobResult | StowageError) -> bool:
        """Record how a job ended; again while the store is away, for as long as a lease, so that the next
        attempt need not wait for the end of one that nobody renews."""
        give_up = time.monotonic() + self._lease
        while True:
            try:
                return record(self._store, handler, context.job, result)
            except StowageError as error:
                if not error.retryable or time.monotonic() >= give_up or context.wait(self._poll):
                    raise

    def _shut_down(self) -> int:
        self._stop_jobs.set()
        deadline = time.monotonic() + self._grace
        with self._lock:
            threads = [r.thread for r in self._running.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return RESTART_CODE if self._restart.is_set() else 0
