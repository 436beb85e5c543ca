"""Execution: one thread schedules, a pool copies, results are recorded in batches with exact counters.

No object is copied before its row is in flight in the ledger. An object that will be retried waits in a heap,
not in a sleeping worker. The memory that copying may use limits what is in flight.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from random import Random

from dashboard.errors import Kind
from dashboard.migration.ledger import Claimed, Done, Ledger, Reason, Settled
from dashboard.migration.pool import Failed, Result, Stopped, Task, WorkerPool
from dashboard.migration.reasons import CHANGED
from dashboard.migration.retry_policy import (
    ABORT_KINDS,
    FATAL,
    UNREACHABLE,
    ConcurrencyLimit,
    FailureTracker,
    Lookahead,
    RunAborted,
    Tail,
    attempts_for,
    delay,
)
from dashboard.migration.tuning import LimitedBy, Totals, Tuner
from dashboard.migration.types import InFlight, ObjectState
from dashboard.storage.copying import MEMORY_BYTES
from dashboard.storage.net.rate_limits import RateLimits

MAX_CLAIMED = 256
"""Rows claimed at once. A run that has copied little so far claims few: if it is killed, the next run has to
sweep everything in flight before it copies anything."""
SETTLE_BATCH = 500
"""Results recorded in one transaction."""
SETTLE_SECONDS = 0.25
"""How long a result waits for its batch."""
MAX_WAITING_RETRIES = 2000
"""Objects that may wait for a retry before no more are claimed."""
CHANGED_ATTEMPTS, MAX_FAILED_KEYS = 3, 10_000
SAMPLE_SECONDS = 0.1
"""Between two looks at how fast it is, to find out how many objects at once are best."""


class Execution:
    """Moves all pending rows of a ledger. Used by one thread; the pool's threads never touch it."""

    def __init__(
        self,
        pool: WorkerPool[Task, Result],
        ledger: Ledger,
        workers: int,
        tuned: bool = False,
        *,
        limits: RateLimits | None = None,
        clock: Callable[[], float],
        random: Random,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """``workers``: how many objects at once; with ``tuned`` at most that many, see ``Tuner``. ``limits``:
        what the pool's work waits for. ``cpu``: returns the processor time of this process in seconds."""
        self.limits = limits or RateLimits()
        self._pool = pool
        self._ledger = ledger
        self._workers = 0
        self._allowed = workers
        self._memory = MEMORY_BYTES
        self._clock = clock
        self._random = random
        self._tuner = Tuner(workers) if tuned else None
        self._concurrency = self._tuner or ConcurrencyLimit(workers)
        self._cpu = cpu
        self._copied_objects = self._copied_bytes = 0
        self._failures = FailureTracker()
        self._tail = Tail(ledger.counters)
        self._ahead = Lookahead(workers)
        self._change_workers(self._tuner.limit if self._tuner else workers)
        self._small: deque[Task] = deque()
        self._large: deque[Task] = deque()
        self._retries: list[tuple[float, int, Task]] = []
        self._changed: deque[Task] = deque()
        self._order = count()
        self._in_flight: dict[int, Task] = {}
        self._settled: list[Settled] = []
        # Consecutive failures of one kind: failed if another object succeeds, pending if the run ends.
        self._unconfirmed_failures: list[Settled] = []
        self._in_flight_bytes = self._results = 0
        self._settle_due = self._claim_due = self._sample_due = 0.0
        self._drained = self._has_claimed = False
        self._abort_reason: Reason | None = None
        self.failed_keys: set[str] = set()
        """Keys of which an attempt failed; at most ``MAX_FAILED_KEYS``."""

    @property
    def finished(self) -> bool:
        """Whether every row known to the ledger at the last claim is settled."""
        return self._drained and not (
            self._queued() or self._in_flight or self._settled or self._unconfirmed_failures
        )

    @property
    def at_once(self) -> int:
        """How many objects may be copied at once now."""
        return min(self._workers, 1 if self.outage else self._concurrency.limit)

    @property
    def limited_by(self) -> LimitedBy:
        """Why no more are copied at once."""
        if self.outage or self.at_once < self._workers:
            return LimitedBy.THROTTLING
        if self.limits.holds:
            return LimitedBy.LIMIT
        return self._tuner.limited_by if self._tuner else LimitedBy.CHOICE

    @property
    def busy(self) -> int:
        """How many objects are being copied now, at most."""
        return min(len(self._in_flight), self._pool.threads)

    def limit_to(self, workers: int, memory: int) -> None:
        """From now on copy at most this many at once, within this many bytes of memory: others have the rest.
        With 0 nothing more is claimed or begun. What is being copied goes on."""
        self._memory = memory
        if workers == self._allowed:
            return
        self._allowed = workers
        if workers:
            self._concurrency.limit_to(workers)
            self._change_workers(self._tuner.limit if self._tuner else workers)
        else:
            self._withdraw()

    def others_copied(self) -> None:
        """Objects were copied by others, so the backends respond: like a success of this one."""
        self._failures.succeeded()
        self._confirm_failures()

    def in_flight(self) -> Iterator[InFlight]:
        """Yield the objects that are being copied now."""
        for task in list(self._in_flight.values()):
            if task.started:
                yield InFlight(task.row.key, task.row.size, min(task.done, task.row.size))

    def step(self, timeout: float, *, listing_final: bool) -> None:
        """Run one round: handle results, record, claim, dispatch. Raises ``RunAborted`` or ``FencedOut``.

        ``listing_final``: no more rows will be recorded (known before this call).
        """
        if not self._has_claimed:
            timeout = 0.0
        elif self._retries:
            timeout = min(timeout, max(0.001, self._retries[0][0] - time.monotonic()))
        for task, result in self._pool.results(timeout):
            self._release(task)
            self._results += 1
            self._handle_result(task, result)
        if self._abort_reason:
            raise RunAborted(self._abort_reason)
        now = time.monotonic()
        if self._failures.outage:
            self._tail.look(now, len(self._settled) + len(self._unconfirmed_failures))
        self._concurrency.on_tick(now)
        self._ahead.on_tick(now)
        self._enqueue_due(now)
        self._claim(now, listing_final)
        self._dispatch()
        if self._tuner and now >= self._sample_due:
            self._tune(self._tuner, now)
        if self._drained and not (self._queued() or self._in_flight):
            self._confirm_failures()
        idle = listing_final and not (self._small or self._large or self._in_flight)
        if self._settled and (len(self._settled) >= SETTLE_BATCH or now >= self._settle_due or idle):
            self._flush()

    # ---- stopping

    def stop(self, deadline: float) -> int:
        """Let small objects finish, abort the others and return their rows to pending; return how many
        threads still hang in a call at ``deadline`` (monotonic seconds)."""
        self._pool.request_stop()
        while self._in_flight and time.monotonic() < deadline:
            for task, result in self._pool.results(0.05):
                self._release(task)
                if isinstance(result, Failed):
                    # The next run retries it.
                    self._return_row(task, interrupted=True)
                else:
                    self._handle_result(task, result)
        stragglers = len(self._in_flight)
        for task in self._in_flight.values():
            self._return_row(task, interrupted=True)
        for task in [*self._small, *self._large, *self._changed, *(entry[2] for entry in self._retries)]:
            self._return_row(task)
        for unconfirmed in self._unconfirmed_failures:
            self._add(replace(unconfirmed, done=_pending_again(unconfirmed.row)))
        self._unconfirmed_failures.clear()
        self._flush()
        return stragglers

    def _return_row(self, task: Task, *, interrupted: bool = False) -> None:
        # A failed attempt may still have written the object: only the response was lost.
        tried = task.row.interrupted or task.attempts > task.row.attempts
        self._add(self._settle(task, _pending_again(task.row), interrupted=interrupted or tried))

    # ---- results

    def _handle_result(self, task: Task, result: Result) -> None:
        match result:
            case Done():
                self._failures.succeeded()
                self._ahead.on_copied()
                self._copied_objects += 1
                self._copied_bytes += task.row.size
                self._confirm_failures()
                self._add(self._settle(task, result))
            case Stopped():
                self._return_row(task)
            case Failed():
                self._handle_failure(task, result)

    def _handle_failure(self, task: Task, result: Failed) -> None:
        now = time.monotonic()
        if result.kind is Kind.THROTTLED:
            self._concurrency.on_throttled(now)
        elif self._tuner and result.kind in UNREACHABLE:
            self._tuner.on_unreachable(now)
        gave_up = self._failures.attempt_failed(result.kind, now) and self.outage
        if not self.outage:
            task.attempts += 1
        if len(self.failed_keys) < MAX_FAILED_KEYS:
            self.failed_keys.add(task.row.key)
        tries = task.attempts - task.row.attempts
        if result.bad_copy:
            task.bad_copy_key = result.bad_copy.destination_key
        if gave_up or result.fatal or result.kind in FATAL:
            self._return_row(task, interrupted=True)
            self._abort_reason = self._abort_reason or result.reason
        elif result.kind is Kind.CHANGED and tries < CHANGED_ATTEMPTS:
            task.recheck_source = True
            self._changed.append(task)
        elif self._may_retry(result, tries):
            heappush(self._retries, (now + self._pause(task, result), next(self._order), task))
        else:
            self._record_failure(task, result)

    def _pause(self, task: Task, result: Failed) -> float:
        # In an outage, retry soon, to notice when it is over.
        return delay(task.attempts, self._random, None if self.outage else result.kind)

    def _may_retry(self, result: Failed, tries: int) -> bool:
        if not result.retryable or result.kind is Kind.CHANGED:
            return False
        return self.outage or tries < attempts_for(result.kind)

    @property
    def outage(self) -> bool:
        """Whether the backends do not respond at the moment."""
        return self._failures.outage and not (self._failures.any_success and self._tail.reached)

    def _record_failure(self, task: Task, result: Failed) -> None:
        reason = CHANGED if result.kind is Kind.CHANGED else result.reason
        base = result.bad_copy or Done(ObjectState.FAILED, task.row.size)
        done = replace(base, state=ObjectState.FAILED, reason=reason)
        # The write may have succeeded although its response was lost: a retry must know.
        settled = self._settle(task, done, interrupted=bool(task.attempted_keys))
        if result.kind not in ABORT_KINDS:
            self._add(settled)
            return
        if self._failures.streak and self._failures.kind is not result.kind:
            self._confirm_failures()
        self._unconfirmed_failures.append(settled)
        if self._failures.object_failed(result.kind, task.row.key.rpartition("/")[0]):
            self._abort_reason = self._abort_reason or result.reason

    def _confirm_failures(self) -> None:
        """Record the unconfirmed failures: another object succeeded, or nothing remains to be tried."""
        for result in self._unconfirmed_failures:
            self._add(result)
        self._unconfirmed_failures.clear()

    def _settle(self, task: Task, done: Done, *, interrupted: bool = False) -> Settled:
        attempts = task.attempts + (done.state is not ObjectState.FAILED)
        return Settled(task.row, done, attempts, self._clock(), interrupted)

    def _add(self, result: Settled) -> None:
        if not self._settled:
            self._settle_due = time.monotonic() + SETTLE_SECONDS
        self._settled.append(result)

    def _flush(self) -> None:
        while self._settled:
            batch = self._settled[:SETTLE_BATCH]
            self._ledger.settle(batch)
            del self._settled[: len(batch)]

    # ---- work

    def _release(self, task: Task) -> None:
        del self._in_flight[task.row.id]
        self._in_flight_bytes -= task.row.weight

    def _queued(self) -> int:
        return len(self._small) + len(self._large) + len(self._retries) + len(self._changed)

    def _enqueue(self, task: Task) -> None:
        (self._large if task.large else self._small).append(task)

    def _enqueue_due(self, now: float) -> None:
        while self._retries and self._retries[0][0] <= now:
            self._enqueue(heappop(self._retries)[2])
        nothing_else = self._drained and not (self._small or self._large or self._retries or self._in_flight)
        if self._changed and (nothing_else or len(self._changed) > MAX_WAITING_RETRIES // 2):
            while self._changed:
                self._enqueue(self._changed.popleft())

    def _claim(self, now: float, listing_final: bool) -> None:
        ready = len(self._small) + len(self._large)
        if self._drained or not self._allowed or self.outage or (now < self._claim_due and self._in_flight):
            return
        if ready >= MAX_CLAIMED // 2 or self._queued() >= MAX_WAITING_RETRIES:
            return
        most = min(max(MAX_CLAIMED, 4 * self._workers), max(2 * self._workers, 4 * self._results))
        room = most - ready - len(self._in_flight)
        if room < max(1, most // 4):
            return
        rows = self._ledger.claim(room, self._clock())
        self._has_claimed = True
        for row in rows:
            self._enqueue(Task(row, row.attempts))
        # Until everything is settled, the ledger may hold rows back for want of memory.
        self._drained = not rows and listing_final and not (self._in_flight or self._settled)
        if not rows:
            # Planning is slower than copying, or everything is claimed.
            self._claim_due = now + 0.1

    def _dispatch(self) -> None:
        # Without throttling, objects wait for the workers; with it, the limit is exact.
        ahead = self._ahead.objects
        all_busy = self._workers + ahead + self._pool.unpublished
        most = all_busy if self._concurrency.is_unlimited else self._concurrency.limit
        if self.outage:
            most = 1
        self._pool.wake_after = max(1, ahead // 2) if most > self._workers else 1
        if len(self._in_flight) > most:
            self._withdraw()
        while self._allowed and len(self._in_flight) < most:
            task = self._next()
            if task is None:
                return
            self._in_flight[task.row.id] = task
            self._in_flight_bytes += task.row.weight
            task.started = False
            self._pool.put(task)

    def _tune(self, tuner: Tuner, now: float) -> None:
        self._sample_due = now + SAMPLE_SECONDS
        if not self.outage:
            copied = self._copied_bytes + sum(one.done for one in self.in_flight())
            # Beyond the workers' hands: what is queued ahead of them.
            waiting = len(self._in_flight) - self._pool.unpublished > self._workers
            full = bool(self._small or self._large) and not waiting
            held, cpu = self.limits.holds, self._cpu()
            tuner.on_sample(now, Totals(self._copied_objects, copied, cpu, waiting, full, held))
        if tuner.limit != self._workers:
            self._change_workers(tuner.limit)
            self._dispatch()

    def _change_workers(self, workers: int) -> None:
        if workers < self._workers:
            # A worker that is too many ends when it finds nothing queued before its end.
            self._withdraw()
        self._workers = workers
        self._ahead.set_workers(workers)
        self._pool.resize(workers)

    def _withdraw(self) -> None:
        """Take back what no worker has begun: fewer may be busy now."""
        for task in reversed(self._pool.withdraw()):
            self._release(task)
            (self._large if task.large else self._small).appendleft(task)

    def _next(self) -> Task | None:
        # An object that does not fit now would only block a worker.
        for queue in (self._large, self._small):
            if queue and (not self._in_flight or self._in_flight_bytes + queue[0].row.weight <= self._memory):
                return queue.popleft()
        return None


def _pending_again(row: Claimed) -> Done:
    return Done(ObjectState.PENDING, row.size)
