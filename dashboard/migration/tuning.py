"""How many objects a run copies at once, found out while it runs. Pure; used by one thread.

It begins with few and doubles as long as that makes it faster, then tries a little more and a little less
now and then, and keeps what is better; where nothing changes it keeps less. While a backend throttles or
cannot be reached, or the processor is busy, it never tries more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dashboard.migration.retry_policy import ConcurrencyLimit
from dashboard.migration.types import MAX_WORKERS
from dashboard.storage.driver import Driver, LimitsConnections

FIRST = 16
"""Objects at once at the beginning."""
FEWEST = 4
"""So few are kept at least, unless a backend throttles."""
WINDOW_SECONDS = 0.5
"""A rate is measured over this time at least, and until each worker may have copied an object."""
DOUBLING_SECONDS = 0.15
"""The same at the beginning, if each worker has copied two: where a server is far away, half a second for
each number would be most of a short run."""
MAX_WINDOW_SECONDS = 4.0
OBJECT_BYTES = 256 * 1024
"""What an object costs beside its bytes, in bytes: so one number says how fast objects of all sizes go."""
DOUBLING_GAIN = 1.15
"""How much faster twice as many have to be."""
DOUBLING_TRIALS = 2
"""How often in a row they may fail to be before it stops doubling: other work on the machine can slow one
window down."""
GAIN = 1.06
"""How much faster a quarter more have to be."""
LOSS = 0.97
"""How slow a quarter less may be to be kept."""
STEADY_WINDOWS = 6
"""Windows between two trials."""
BUSY_CORES = 0.85
"""Processor time per second from which on more threads would only wait for the interpreter's lock."""
QUIET_SECONDS = 60.0
"""After throttling, how long no more than before it are tried."""


def most_at_once(workers: int, *ends: Driver) -> int:
    """How many objects may be copied at once: ``workers``, or ``MAX_WORKERS`` if that is ``AUTOMATIC``, but
    no more than any of the drivers accepts connections. No network call."""
    limits = [end.max_connections() for end in ends if isinstance(end, LimitsConnections)]
    return min(workers or MAX_WORKERS, MAX_WORKERS, *limits)


class LimitedBy(StrEnum):
    """Why no more objects are copied at once."""

    CHOICE = "choice"
    """A person chose the number."""
    BACKEND = "backend"
    """A backend, or the console, accepts no more."""
    THROTTLING = "throttling"
    """A backend asked for fewer requests, or could not be reached."""
    PROCESSOR = "processor"
    """This machine's processor is busy."""
    SPEED = "speed"
    """More at once were no faster."""
    MEMORY = "memory_limit"
    """What is in flight takes the memory that copying may use."""
    LIMIT = "limit"
    """A limit of bytes or objects per second, which a person set."""
    WORK = "work"
    """No more objects were waiting."""
    TRYING = "trying"
    """It is still finding out."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of a run at a moment: ``objects`` and ``bytes`` copied, also of those in flight, and ``cpu``
    seconds of the process. ``waiting``: objects wait for a worker; ``full``: for memory;
    ``held``: workers wait for a limit of bytes or objects per second."""

    objects: int
    bytes: int
    cpu: float
    waiting: bool
    full: bool = False
    held: bool = False


class Tuner(ConcurrencyLimit):
    """Between 1 and ``most`` objects at once: :attr:`limit` is how many, :attr:`limited_by` why no more."""

    def __init__(self, most: int, *, first: int = FIRST) -> None:
        super().__init__(most)
        self._limit = float(min(first, most))
        self._began = 0.0
        self._sample: Totals | None = None
        self._starved = self._held = False
        # The number before it was halved because of a limit; what was too few under one, and until when.
        self._before_halving: float | None = None
        self._enough, self._enough_until = float(FEWEST), 0.0
        # The number before a trial and its rate; None while nothing is tried.
        self._before: tuple[float, float] | None = None
        self._doubling = True
        self._failed_doublings = 0
        self._rate, self._is_rate_known = 0.0, False
        self._steady = 0
        self._next_is_up = True
        self._throttled_at = float("-inf")
        self._cap = float(most)
        self._limited_by = LimitedBy.TRYING
        self._failures = 0

    def limit_to(self, most: int) -> None:
        """At most this many from now on. What was found out about fewer stays."""
        if self._doubling and most > self._most:
            # It has hardly begun.
            self._limit = max(self._limit, float(min(FIRST, most)))
        self._cap = float(most) if self.is_unlimited else min(self._cap, most)
        self._most, self._limit = most, min(self._limit, float(most))
        self._before = None
        self._restart()

    @property
    def is_unlimited(self) -> bool:
        """Whether objects may wait for workers: not while it recovers from throttling, when it is exact."""
        return self._throttled_at == float("-inf")

    @property
    def limited_by(self) -> LimitedBy:
        """Why no more are copied at once."""
        at_most = self.limit >= self._most and self._limited_by in (LimitedBy.SPEED, LimitedBy.TRYING)
        return LimitedBy.BACKEND if at_most else self._limited_by

    def on_throttled(self, now: float) -> None:
        """Halve the number. Responses within a second of each other count once."""
        if now - self._throttled_at > 1.0:
            # What was just tried may be what was too much.
            reached = min(self._limit, self._before[0] if self._before else self._limit)
            self._cap = max(1.0, min(self._cap, reached * 0.8))
            self._limit = max(1.0, reached / 2)
        self._throttled_at = self._changed_at = now
        self._limited_by = LimitedBy.THROTTLING
        self._doubling, self._before = False, None
        self._restart()

    def on_unreachable(self, now: float) -> None:
        """An attempt failed in the network. A few at a time count like throttling."""
        self._failures += 1
        if self._failures > 1 + self.limit // 8:
            self.on_throttled(now)

    def on_sample(self, now: float, sample: Totals) -> None:
        """Look at what was copied, and change the number. ``now`` in monotonic seconds."""
        if self._throttled_at > float("-inf"):
            self._recover(now)
            return
        if self._sample is None:
            self._began, self._sample, self._starved, self._held = now, sample, False, False
            return
        self._starved = self._starved or not sample.waiting
        self._held = self._held or sample.held
        if not self._is_complete(now, sample):
            return
        seconds, earlier, starved, held = now - self._began, self._sample, self._starved, self._held
        self._began, self._sample, self._failures = now, sample, 0
        self._starved = self._held = False
        if held:
            self._on_held(now)
            return
        if self._before_halving is not None:
            # Half as many do not reach the limit, or there is none any more.
            self._enough, self._enough_until = self._before_halving, now + QUIET_SECONDS
            self._limit, self._before_halving = min(self._before_halving, self._cap), None
            return
        if starved:
            # The rate says nothing about the number.
            self._limited_by = LimitedBy.MEMORY if sample.full else LimitedBy.WORK
            self._undo()
            return
        work = sample.bytes - earlier.bytes + (sample.objects - earlier.objects) * OBJECT_BYTES
        busy = (sample.cpu - earlier.cpu) / seconds >= BUSY_CORES
        self._judge(max(0.0, work / seconds), busy)

    def _on_held(self, now: float) -> None:
        """More would only wait longer, each with a connection that is open: halve the number as long as the
        rest are enough for the limit. Once there is none, it doubles again as at the beginning."""
        self._limited_by = LimitedBy.LIMIT
        self._before, self._doubling = None, True
        fewest = max(FEWEST, self._enough if now < self._enough_until else 0.0)
        half = float(int(max(fewest, self._limit / 2)))
        self._before_halving, self._limit = (
            (self._limit if half < self._limit else None),
            min(self._limit, half),
        )

    def _is_complete(self, now: float, sample: Totals) -> bool:
        assert self._sample is not None
        passed = now - self._began
        done = sample.objects - self._sample.objects
        if self._doubling and done >= 2 * self.limit:
            return passed >= DOUBLING_SECONDS
        return passed >= (WINDOW_SECONDS if done >= self.limit else MAX_WINDOW_SECONDS)

    def _judge(self, rate: float, busy: bool) -> None:
        if self._before is not None:
            self._end_trial(rate)
        else:
            self._rate, self._is_rate_known = rate, True
            self._steady += 1
        self._doubling = self._doubling and not busy
        if self._doubling:
            # After one that failed, what it is compared with is measured again first.
            if self._is_rate_known:
                self._try(self._limit * 2)
        elif self._steady >= STEADY_WINDOWS:
            self._steady = 0
            more = self._next_is_up and not busy
            self._next_is_up = not self._next_is_up
            self._try(self._limit + max(1.0, self._limit // 4) if more else self._limit * 0.8)
        trying = LimitedBy.TRYING if self._doubling else LimitedBy.SPEED
        self._limited_by = LimitedBy.PROCESSOR if busy else trying

    def _end_trial(self, rate: float) -> None:
        assert self._before is not None
        (earlier, known), self._before = self._before, None
        more = self._limit > earlier
        needed = (DOUBLING_GAIN if self._doubling else GAIN) if more else LOSS
        if rate >= known * needed:
            # What made it faster is tried again soon.
            self._rate, self._next_is_up = rate, more
            self._steady = STEADY_WINDOWS - 1 if more else 0
            self._failed_doublings = 0
            return
        self._limit, self._steady, self._is_rate_known = earlier, 0, False
        self._failed_doublings += self._doubling
        self._doubling = self._doubling and self._failed_doublings < DOUBLING_TRIALS

    def _try(self, number: float) -> None:
        wanted = float(int(max(min(FEWEST, self._cap), min(number, self._cap))))
        if wanted == self._limit:
            self._doubling = False
            return
        self._before, self._limit = (self._limit, self._rate), wanted

    def _undo(self) -> None:
        if self._before is not None:
            self._limit, self._before = self._before[0], None

    def _recover(self, now: float) -> None:
        """One more after ``RECOVERY_SECONDS`` without throttling, up to a fifth below what was too much."""
        super().on_tick(now)
        self._limit = min(self._limit, self._cap)
        if now - self._throttled_at >= QUIET_SECONDS and self._limit >= int(self._cap):
            self._throttled_at, self._cap = float("-inf"), float(self._most)
            self._steady, self._next_is_up = 0, True
            self._restart()

    def on_tick(self, now: float) -> None:
        """Everything happens in :meth:`on_sample`."""

    def _restart(self) -> None:
        self._sample, self._failures = None, 0
