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
BASE_DELAY = 0.5
LONGEST_DELAY = 20.0
CALM = 2.0
"""Seconds without throttling after which one more worker is let in."""
HOPELESS_FROM_START = 50
"""Objects that must fail alike, none ever succeeding, before the run is given up."""
HOPELESS = 1000
"""The same when others succeeded before, or when all that failed lie in one folder: the next may be open."""
OUTAGE = 10
"""Failures to connect, and pleas for patience, in a row that make an outage: one worker keeps trying,
attempts are not counted."""
PATIENCE = 60.0
"""Seconds an outage may last before the run is given up."""

FATAL = frozenset({Kind.BAD_CREDENTIALS, Kind.FULL, Kind.SEALED})
"""No object will do better than the one that met these."""
_LINE = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT})
_AWAY = _LINE | {Kind.THROTTLED}
"""A server that answers nobody: not to be reached, or asking everybody for patience."""
# Not "not found": a folder removed at the source while we copy is a fact to record, not a fault to mend.
HOPELESS_KINDS = _LINE | {Kind.DENIED, Kind.UNSUPPORTED, Kind.INTERNAL}


class Pace:
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
    def full(self) -> bool:
        """Whether nothing holds the workers back."""
        return self._limit >= self._most

    def throttled(self, now: float) -> None:
        """A backend asked for patience. Answers that arrive together count once."""
        if now - self._changed_at > 1.0 or self.full:
            self._limit = max(1.0, self._limit / 2)
        self._changed_at = now

    def tick(self, now: float) -> None:
        """Let one more worker in after a calm while."""
        if not self.full and now - self._changed_at >= CALM:
            self._limit = min(float(self._most), self._limit + 1)
            self._changed_at = now


def attempts_for(kind: Kind) -> int:
    """How often an object may fail in this way before it is recorded as failed."""
    return REPEATED_ATTEMPTS if kind in _AWAY else ATTEMPTS


def delay(attempt: int, random: Random, kind: Kind | None = None) -> float:
    """Seconds before the next attempt: exponential, with full jitter so that workers spread out. A server
    that asks for patience gets more of it."""
    base = BASE_DELAY * (4 if kind is Kind.THROTTLED else 1)
    return random.uniform(0, min(LONGEST_DELAY, base * 2.0**attempt))


class Breaker:
    """Sees failures follow each other and tells when going on is pointless."""

    def __init__(self) -> None:
        self._kind: Kind | None = None
        # Of all that failed; None where they lie in several.
        self._folder: str | None = None
        self._streak = 0
        self._ever = False
        self._outage_since: float | None = None
        self._line_streak = 0

    @property
    def outage(self) -> bool:
        """Whether nothing can be reached for the moment."""
        return self._outage_since is not None

    @property
    def ever(self) -> bool:
        """Whether any object was moved in this run."""
        return self._ever

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
        self._ever = True
        self._kind, self._streak = None, 0
        self._outage_since, self._line_streak = None, 0

    def attempt_failed(self, kind: Kind, now: float) -> bool:
        """An attempt failed; whether the run should be given up because the line is dead for too long."""
        if kind not in _AWAY:
            return False
        self._line_streak += 1
        if self._line_streak >= OUTAGE and self._outage_since is None:
            self._outage_since = now
        return self._outage_since is not None and now - self._outage_since > PATIENCE

    def object_failed(self, kind: Kind, folder: str = "") -> bool:
        """An object failed for good, in one of ``HOPELESS_KINDS``; whether the run should be given up. Not
        for one folder (a path; empty where there is none) of a place in which others can be read."""
        if kind is not self._kind:
            self._kind, self._streak, self._folder = kind, 0, folder
        elif folder != self._folder:
            self._folder = None
        self._streak += 1
        if self._folder:
            return not self._ever and self._streak >= HOPELESS
        return self._streak >= (HOPELESS if self._ever else HOPELESS_FROM_START)
