"""How fast to go, when to try again, and when to give the whole run up. Used by one thread."""

from __future__ import annotations

from random import Random

from dashboard.errors import Kind

ATTEMPTS = 5
"""How often one object is tried in a run."""
REQUEST_ATTEMPTS = 2
"""How often a driver may make one request of an attempt."""
REPEATED_ATTEMPTS = 4
"""As ``ATTEMPTS``, for failures that drivers answer with another request themselves: eight in all."""
BASE_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 20.0
RECOVERY_SECONDS = 2.0
"""Seconds without throttling after which one more worker is let in."""
ABORT_AFTER_FIRST_FAILURES = 50
"""Objects that must fail alike, none ever succeeding, before the run is given up."""
ABORT_AFTER_FAILURES = 1000
"""The same when others succeeded before, or when all that failed lie in one folder: the next may be open."""
OUTAGE_FAILURES = 10
"""Failures to connect, and pleas for patience, in a row that make an outage: one worker keeps trying,
attempts are not counted."""
MAX_OUTAGE_SECONDS = 60.0
"""Seconds an outage may last before the run is given up."""

FATAL = frozenset({Kind.BAD_CREDENTIALS, Kind.FULL, Kind.SEALED})
"""No object will do better than the one that met these."""
_NETWORK = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT})
_UNREACHABLE = _NETWORK | {Kind.THROTTLED}
"""A server that answers nobody: not to be reached, or asking everybody for patience."""
# Not "not found": a folder removed at the source while we copy is a fact to record, not a fault to mend.
ABORT_KINDS = _NETWORK | {Kind.DENIED, Kind.UNSUPPORTED, Kind.INTERNAL}


class ConcurrencyLimit:
    """How many workers may be busy: halved when a backend throttles, recovering slowly."""

    def __init__(self, workers: int) -> None:
        self._most = workers
        self._limit = float(workers)
        self._changed_at = 0.0

    @property
    def limit(self) -> int:
        """Workers that may be busy now."""
        return max(1, int(self._limit))

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing holds the workers back."""
        return self._limit >= self._most

    def on_throttled(self, now: float) -> None:
        """A backend asked for patience. Answers that arrive together count once."""
        if now - self._changed_at > 1.0 or self.is_unlimited:
            self._limit = max(1.0, self._limit / 2)
        self._changed_at = now

    def on_tick(self, now: float) -> None:
        """Let one more worker in after a calm while."""
        if not self.is_unlimited and now - self._changed_at >= RECOVERY_SECONDS:
            self._limit = min(float(self._most), self._limit + 1)
            self._changed_at = now


def attempts_for(kind: Kind) -> int:
    """How often an object may fail in this way before it is recorded as failed."""
    return REPEATED_ATTEMPTS if kind in _UNREACHABLE else ATTEMPTS


def delay(attempt: int, random: Random, kind: Kind | None = None) -> float:
    """Seconds before the next attempt: exponential, with full jitter so that workers spread out. A server
    that asks for patience gets more of it."""
    base = BASE_DELAY_SECONDS * (4 if kind is Kind.THROTTLED else 1)
    return random.uniform(0, min(MAX_DELAY_SECONDS, base * 2.0**attempt))


class FailureTracker:
    """Sees failures follow each other and tells when going on is pointless."""

    def __init__(self) -> None:
        self._kind: Kind | None = None
        # Of all that failed; None where they lie in several.
        self._folder: str | None = None
        self._streak = 0
        self._any_success = False
        self._outage_since: float | None = None
        self._network_streak = 0

    @property
    def outage(self) -> bool:
        """Whether nothing can be reached for the moment."""
        return self._outage_since is not None

    @property
    def any_success(self) -> bool:
        """Whether any object was moved in this run."""
        return self._any_success

    @property
    def streak(self) -> int:
        """Objects that failed alike since the last success."""
        return self._streak

    @property
    def kind(self) -> Kind | None:
        """How they failed."""
        return self._kind

    def succeeded(self) -> None:
        """An object was moved."""
        self._any_success = True
        self._kind, self._streak = None, 0
        self._outage_since, self._network_streak = None, 0

    def attempt_failed(self, kind: Kind, now: float) -> bool:
        """An attempt failed; whether the run should be given up because the line is dead for too long."""
        if kind not in _UNREACHABLE:
            return False
        self._network_streak += 1
        if self._network_streak >= OUTAGE_FAILURES and self._outage_since is None:
            self._outage_since = now
        return self._outage_since is not None and now - self._outage_since > MAX_OUTAGE_SECONDS

    def object_failed(self, kind: Kind, folder: str = "") -> bool:
        """An object failed for good, in one of ``ABORT_KINDS``; whether the run should be given up. Not
        for one folder (a path; empty where there is none) of a place in which others can be read."""
        if kind is not self._kind:
            self._kind, self._streak, self._folder = kind, 0, folder
        elif folder != self._folder:
            self._folder = None
        self._streak += 1
        if self._folder:
            return not self._any_success and self._streak >= ABORT_AFTER_FAILURES
        return self._streak >= (ABORT_AFTER_FAILURES if self._any_success else ABORT_AFTER_FIRST_FAILURES)
