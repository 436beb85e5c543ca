"""Execution: one thread schedules, a pool moves, results settle in batches with exact counters.

Nothing moves before its row is in flight in the ledger. An object that must be tried again waits in a
heap, not in a sleeping worker. What may be in flight is bounded by the memory that copying may hold.
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
from dashboard.migration.ledger import Claimed, Done, Failure, Ledger, Settled
from dashboard.migration.pace import FATAL, HOPELESS_KINDS, Breaker, Pace, attempts_for, delay
from dashboard.migration.pool import Dropped, Failed, Pool, Result, Task
from dashboard.migration.reasons import CHANGED
from dashboard.migration.types import InFlight, ObjectState
from dashboard.storage.copying import MEMORY_BYTES
from dashboard.storage.driver import SMALL

CLAIM = 256
"""Rows claimed at once at most. A run that has moved little yet claims little: what is in flight when it is
killed has to be swept by the next run before that moves anything."""
SETTLE = 500
"""Results recorded at once at most ..."""
SETTLE_AFTER = 0.25
"""... and the seconds they wait at most."""
WAITING = 2000
"""Objects that may wait for another attempt before no more are claimed."""
STREAM = 32 * 1024 * 1024
"""Bytes that a large object holds while it moves, by estimate."""
CHANGED_ATTEMPTS = 3
MOST_TROUBLED = 10_000
LAST_FEW = 20


class HopelessError(Exception):
    """The run cannot go on; ``why`` is for people."""

    def __init__(self, why: Failure) -> None:
        super().__init__(why.reason)
        self.why = why


class Execution:
    """Moves all pending rows of a ledger. Used by one thread; the pool's threads never touch it."""

    def __init__(
        self,
        pool: Pool[Task, Result],
        ledger: Ledger,
        workers: int,
        *,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._random = random
        self._pace = Pace(workers)
        self._breaker = Breaker()
        self._small: deque[Task] = deque()
        self._large: deque[Task] = deque()
        self._again: list[tuple[float, int, Task]] = []
        self._changed: deque[Task] = deque()
        self._order = count()
        self._out: dict[int, Task] = {}
        self._out_bytes = 0
        self._results = 0
        self._settled: list[Settled] = []
        self._settle_due = 0.0
        # Objects that failed alike in an unbroken row: failed if others succeed, pending if the run ends.
        self._doubtful: list[Settled] = []
        self._claim_due = 0.0
        self._drained = False
        self._hopeless: Failure | None = None
        self.troubled: set[str] = set()
        """Keys of which an attempt failed; at most ``MOST_TROUBLED``."""

    @property
    def finished(self) -> bool:
        """Whether every row known to the ledger at the last claim is settled."""
        return self._drained and not (self._held() or self._out or self._settled or self._doubtful)

    def in_flight(self) -> Iterator[InFlight]:
        """What is being moved right now."""
        for task in list(self._out.values()):
            if task.started:
                yield InFlight(task.row.key, task.row.size, min(task.done, task.row.size))

    def step(self, timeout: float, *, listing_final: bool) -> None:
        """One round: take results, settle, claim, hand out. Raises ``HopelessError`` or ``FencedOut``.

        ``listing_final``: no more rows will be recorded (known before this call).
        """
        if self._again:
            timeout = min(timeout, max(0.001, self._again[0][0] - time.monotonic()))
        for task, result in self._pool.results(timeout):
            self._returned(task)
            self._take(task, result)
        if self._hopeless:
            raise HopelessError(self._hopeless)
        now = time.monotonic()
        self._pace.tick(now)
        self._wake(now)
        self._claim(now, listing_final)
        self._hand_out()
        if self._drained and not (self._held() or self._out):
            self._admit_failures()
        idle = self._drained and not self._out
        if self._settled and (len(self._settled) >= SETTLE or now >= self._settle_due or idle):
            self._flush()

    # ---- stopping

    def stop(self, deadline: float) -> int:
        """Let small objects finish, drop the rest, hand rows back; returns the stragglers that still hang
        in a call at ``deadline`` (monotonic seconds)."""
        self._pool.halt()
        while self._out and time.monotonic() < deadline:
            for task, result in self._pool.results(0.05):
                self._returned(task)
                if isinstance(result, Failed):
                    # Whether it would have succeeded at the next attempt is for the next run to find out.
                    self._hand_back(task, interrupted=True)
                else:
                    self._take(task, result)
        stragglers = len(self._out)
        for task in self._out.values():
            self._hand_back(task, interrupted=True)
        for task in [*self._small, *self._large, *self._changed, *(entry[2] for entry in self._again)]:
            self._hand_back(task)
        for doubtful in self._doubtful:
            self._add(replace(doubtful, done=_handed_back(doubtful.row)))
        self._doubtful.clear()
        self._flush()
        return stragglers

    def _hand_back(self, task: Task, *, interrupted: bool = False) -> None:
        # A failed attempt may have reached the destination all the same: its answer was lost, not it.
        tried = task.row.interrupted or task.attempts > task.row.attempts
        self._add(self._settle(task, _handed_back(task.row), interrupted=interrupted or tried))

    # ---- results

    def _take(self, task: Task, result: Result) -> None:
        match result:
            case Done():
                self._breaker.succeeded()
                self._admit_failures()
                self._add(self._settle(task, result))
            case Dropped():
                self._hand_back(task)
            case Failed():
                self._failed(task, result)

    def _failed(self, task: Task, result: Failed) -> None:
        now = time.monotonic()
        if result.kind is Kind.THROTTLED:
            self._pace.throttled(now)
        gave_up = self._breaker.attempt_failed(result.kind, now) and not self._last_few()
        if not self._outage():
            task.attempts += 1
        if len(self.troubled) < MOST_TROUBLED:
            self.troubled.add(task.row.key)
        tries = task.attempts - task.row.attempts
        if result.wrote:
            task.wrote = result.wrote.destination_key
        if gave_up or result.fatal or result.kind in FATAL:
            self._hand_back(task, interrupted=True)
            self._hopeless = self._hopeless or result.why
        elif result.kind is Kind.CHANGED and tries < CHANGED_ATTEMPTS:
            task.fresh = True
            self._changed.append(task)
        elif self._may_retry(result, tries):
            heappush(self._again, (now + self._pause(task, result), next(self._order), task))
        else:
            self._failed_for_good(task, result)

    def _pause(self, task: Task, result: Failed) -> float:
        # In an outage somebody has to find out soon that it is over.
        return delay(task.attempts, self._random, None if self._outage() else result.kind)

    def _may_retry(self, result: Failed, tries: int) -> bool:
        if not result.retryable or result.kind is Kind.CHANGED:
            return False
        return self._outage() or tries < attempts_for(result.kind)

    def _outage(self) -> bool:
        return self._breaker.outage and not self._last_few()

    def _last_few(self) -> bool:
        """Whether only a few are left of many that went well: it is then they, not the line, that fail,
        and a run must not wait for them forever."""
        return self._drained and self._breaker.ever and self._held() + len(self._out) < LAST_FEW

    def _failed_for_good(self, task: Task, result: Failed) -> None:
        why = CHANGED if result.kind is Kind.CHANGED else result.why
        base = result.wrote or Done(ObjectState.FAILED, task.row.size)
        done = replace(base, state=ObjectState.FAILED, why=why)
        # An answer may have been lost and not the write: who tries again must know.
        settled = self._settle(task, done, interrupted=bool(task.sent))
        if result.kind not in HOPELESS_KINDS:
            self._add(settled)
            return
        if self._breaker.streak and self._breaker.kind is not result.kind:
            self._admit_failures()
        self._doubtful.append(settled)
        if self._breaker.object_failed(result.kind, task.row.key.rpartition("/")[0]):
            self._hopeless = self._hopeless or result.why

    def _admit_failures(self) -> None:
        """The failures held back are real: something else succeeded, or nothing is left to try."""
        for result in self._doubtful:
            self._add(result)
        self._doubtful.clear()

    def _settle(self, task: Task, done: Done, *, interrupted: bool = False) -> Settled:
        attempts = task.attempts + (done.state is not ObjectState.FAILED)
        return Settled(task.row, done, attempts, self._clock(), interrupted)

    def _add(self, result: Settled) -> None:
        if not self._settled:
            self._settle_due = time.monotonic() + SETTLE_AFTER
        self._settled.append(result)

    def _flush(self) -> None:
        while self._settled:
            batch = self._settled[:SETTLE]
            self._ledger.settle(batch)
            del self._settled[: len(batch)]

    # ---- work

    def _returned(self, task: Task) -> None:
        del self._out[task.row.id]
        self._results += 1
        self._out_bytes -= _weight(task.row)

    def _held(self) -> int:
        return len(self._small) + len(self._large) + len(self._again) + len(self._changed)

    def _enqueue(self, task: Task) -> None:
        (self._large if task.large else self._small).append(task)

    def _wake(self, now: float) -> None:
        while self._again and self._again[0][0] <= now:
            self._enqueue(heappop(self._again)[2])
        nothing_else = self._drained and not (self._small or self._large or self._again or self._out)
        if self._changed and (nothing_else or len(self._changed) > WAITING // 2):
            while self._changed:
                self._enqueue(self._changed.popleft())

    def _claim(self, now: float, listing_final: bool) -> None:
        ready = len(self._small) + len(self._large)
        if self._drained or self._outage() or now < self._claim_due:
            return
        if ready >= CLAIM // 2 or self._held() >= WAITING:
            return
        most = min(CLAIM, max(2 * self._workers, 4 * self._results))
        room = most - ready - len(self._out)
        if room < max(1, most // 4):
            return
        rows = self._ledger.claim(room, self._clock())
        for row in rows:
            self._enqueue(Task(row, row.attempts))
        self._drained = not rows and listing_final
        if not rows:
            # Nothing now: planning is slower than copying, or everything is claimed.
            self._claim_due = now + 0.1

    def _hand_out(self) -> None:
        # Unhindered, each worker finds its next object waiting; held back, the limit is exact.
        most = self._workers * 2 if self._pace.full else self._pace.limit
        if self._outage():
            most = 1
        while len(self._out) < most:
            task = self._next()
            if task is None:
                return
            self._out[task.row.id] = task
            self._out_bytes += _weight(task.row)
            task.started = False
            self._pool.put(task)

    def _next(self) -> Task | None:
        # What does not fit now would only hold a worker in the queue for memory.
        for queue in (self._large, self._small):
            if queue and (not self._out or self._out_bytes + _weight(queue[0].row) <= MEMORY_BYTES):
                return queue.popleft()
        return None


def _handed_back(row: Claimed) -> Done:
    return Done(ObjectState.PENDING, row.size)


def _weight(row: Claimed) -> int:
    """Bytes of memory an object takes while it moves, roughly."""
    return STREAM if row.size > SMALL else 3 * row.size
