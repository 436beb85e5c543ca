"""How many workers a run uses, when it retries, and when it gives up. Used by one thread."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dashboard.errors import Kind
from dashboard.migration.ledger import Reason
from dashboard.migration.types import Counters

ATTEMPTS = 5
"""How often one object is tried in a run."""
REQUEST_ATTEMPTS = 2
"""How often a driver may make one request of an attempt."""
REPEATED_ATTEMPTS = 4
"""Like ``ATTEMPTS``, for failures after which drivers already retry their request: eight requests in all."""
BASE_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 20.0
RECOVERY_SECONDS = 2.0
"""How long without throttling until one more worker is allowed."""
AHEAD_SECONDS = 0.1
MAX_AHEAD = 128
ABORT_AFTER_FIRST_FAILURES = 50
"""Consecutive failures of one kind after which a run without any success is aborted."""
ABORT_AFTER_FAILURES = 1000
"""The same if an object succeeded before, or if all failures are in one folder: the next may be readable."""
OUTAGE_FAILURES = 10
"""Consecutive network failures or throttled requests that make an outage: one worker keeps trying, and its
attempts are not counted."""
MAX_OUTAGE_SECONDS = 60.0
"""How long an outage may last before the run is aborted."""
TAIL_OBJECTS = 20
"""If fewer are left, and others were copied, these objects fail and not the network."""
LOOK_SECONDS = 0.1
"""Between two looks at how many are left."""

FATAL = frozenset({Kind.BAD_CREDENTIALS, Kind.FULL, Kind.SEALED})
"""Errors that every other object would meet too."""
_NETWORK = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT})
UNREACHABLE = _NETWORK | {Kind.THROTTLED}
"""The server serves no client: it cannot be reached, or throttles all of them."""
# Not "not found": a folder that was removed at the source meanwhile is recorded, and the run continues.
ABORT_KINDS = _NETWORK | {Kind.DENIED, Kind.UNSUPPORTED, Kind.INTERNAL}


class RunAborted(Exception):
    """The run cannot continue; ``reason`` is for people."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


class ConcurrencyLimit:
    """How many workers may be busy: halved when a backend throttles, then raised one by one."""

    def __init__(self, workers: int) -> None:
        self._most = workers
        self._limit = float(workers)
        self._changed_at = 0.0

    def limit_to(self, most: int) -> None:
        """At most this many from now on."""
        self._limit = float(most) if self.is_unlimited else min(self._limit, float(most))
        self._most = most

    @property
    def limit(self) -> int:
        """Workers that may be busy now."""
        return max(1, int(self._limit))

    @property
    def is_unlimited(self) -> bool:
        """Whether all workers may be busy."""
        return self._limit >= self._most

    def on_throttled(self, now: float) -> None:
        """Halve the limit. Throttled responses within a second of each other count once."""
        if now - self._changed_at > 1.0 or self.is_unlimited:
            self._limit = max(1.0, self._limit / 2)
        self._changed_at = now

    def on_tick(self, now: float) -> None:
        """Allow one more worker after ``RECOVERY_SECONDS`` without throttling."""
        if not self.is_unlimited and now - self._changed_at >= RECOVERY_SECONDS:
            self._limit = min(float(self._most), self._limit + 1)
            self._changed_at = now


class Lookahead:
    """How many objects wait for workers: what they copy in ``AHEAD_SECONDS``. Then the scheduler has to act
    a few times a second only, and no worker waits for it. Failed attempts do not count."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._since = 0.0
        self._copied = 0
        self._objects = workers

    def set_workers(self, workers: int) -> None:
        """There is another number of workers."""
        self._workers = workers
        self._objects = workers

    @property
    def objects(self) -> int:
        """How many, from as many as there are workers to ``MAX_AHEAD``."""
        return self._objects

    def on_copied(self) -> None:
        """Another object was copied."""
        self._copied += 1

    def on_tick(self, now: float) -> None:
        """Adapt the number. ``now`` in monotonic seconds."""
        passed = now - self._since
        if passed >= AHEAD_SECONDS:
            expected = int(self._copied / passed * AHEAD_SECONDS)
            self._objects = max(self._workers, min(expected, MAX_AHEAD))
            self._since, self._copied = now, 0


def attempts_for(kind: Kind) -> int:
    """Return how often an object may fail in this way before it is recorded as failed."""
    return REPEATED_ATTEMPTS if kind in UNREACHABLE else ATTEMPTS


def delay(attempt: int, random: Random, kind: Kind | None = None) -> float:
    """Return the seconds before the next attempt: exponential, with full jitter so that workers spread out,
    and longer after throttling."""
    base = BASE_DELAY_SECONDS * (4 if kind is Kind.THROTTLED else 1)
    return random.uniform(0, min(MAX_DELAY_SECONDS, base * 2.0**attempt))


class FailureTracker:
    """Counts consecutive failures and decides when to abort the run."""

    def __init__(self) -> None:
        self._kind: Kind | None = None
        # The folder of all consecutive failures; None if there are several.
        self._folder: str | None = None
        self._streak = 0
        self._any_success = False
        self._outage_since: float | None = None
        self._network_streak = 0

    @property
    def outage(self) -> bool:
        """Whether the server cannot be reached at the moment."""
        return self._outage_since is not None

    @property
    def any_success(self) -> bool:
        """Whether any object was copied in this run."""
        return self._any_success

    @property
    def streak(self) -> int:
        """How many objects failed with the same kind since the last success."""
        return self._streak

    @property
    def kind(self) -> Kind | None:
        """The kind of these failures."""
        return self._kind

    def succeeded(self) -> None:
        """An object was copied."""
        self._any_success = True
        self._kind, self._streak = None, 0
        self._outage_since, self._network_streak = None, 0

    def attempt_failed(self, kind: Kind, now: float) -> bool:
        """Count a failed attempt; return whether to abort the run because the outage has lasted too long."""
        if kind not in UNREACHABLE:
            return False
        self._network_streak += 1
        if self._network_streak >= OUTAGE_FAILURES and self._outage_since is None:
            self._outage_since = now
        return self._outage_since is not None and now - self._outage_since > MAX_OUTAGE_SECONDS

    def object_failed(self, kind: Kind, folder: str = "") -> bool:
        """Count an object that failed for good with one of ``ABORT_KINDS``; return whether to abort the run.
        Failures in only one folder (a path; empty for none) do not abort a run in which others succeeded."""
        if kind is not self._kind:
            self._kind, self._streak, self._folder = kind, 0, folder
        elif folder != self._folder:
            self._folder = None
        self._streak += 1
        if self._folder:
            return not self._any_success and self._streak >= ABORT_AFTER_FAILURES
        return self._streak >= (ABORT_AFTER_FAILURES if self._any_success else ABORT_AFTER_FIRST_FAILURES)


class Tail:
    """Finds out whether only a few objects of the whole migration are left, in all carriers. It must not
    wait forever for those: see ``TAIL_OBJECTS``. ``counters`` returns the ledger's totals."""

    def __init__(self, counters: Callable[[], Counters]) -> None:
        self._counters = counters
        self._due = 0.0
        self._reached = False

    @property
    def reached(self) -> bool:
        """Whether the last look found few."""
        return self._reached

    def look(self, now: float, uncounted: int) -> None:
        """Look, if the last time was long ago. ``uncounted``: results that the ledger does not have yet."""
        if now >= self._due and not self._reached:
            self._due = now + LOOK_SECONDS
            found = self._counters()
            self._reached = found.listing_final and found.found - found.done - uncounted < TAIL_OBJECTS
