"""How many requests open files or make thumbnails at once: backends that do not respond must not occupy every
thread, and nobody is refused what she gets a moment later."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dashboard.errors import TooMany

MAX_WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.25
"""How often a request that waits looks whether its client is still there."""
_ALL = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """At once: ``total``, of these for one group ``per_group``, and ``waiting`` beside them. If no turn began
    or ended for ``stuck_seconds``, waiting is useless. ``reason`` and ``retry_after`` are told to whoever is
    refused."""

    total: int
    per_group: int
    waiting: int
    stuck_seconds: float
    reason: str
    operation: str
    retry_after: int


OPENINGS = Limits(
    total=12,
    per_group=8,
    waiting=512,
    stuck_seconds=1.0,
    reason="Too many files are being opened, because a backend responds slowly.",
    operation="read",
    retry_after=5,
)
"""Files that are opened, by backend, of 16 threads that also serve the pages."""
THUMBNAILS = Limits(
    total=6,
    per_group=6,
    waiting=6,
    stuck_seconds=5.0,
    reason="Other thumbnails are being made.",
    operation="thumbnail",
    retry_after=3,
)
"""A browser asks for six at once, and for six more when a person goes on before these are made."""


def _stays() -> bool:
    return False


class Turns:
    """Thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._busy: Counter[int] = Counter()
        self._waiting = 0
        self._progress: dict[int, float] = {}
        """When a turn of a group, or of any, last began or ended."""

    @contextmanager
    def turn(self, group: int = 0, *, gone: Callable[[], bool] = _stays) -> Iterator[None]:
        """Around what is limited. Waits for a place as long as others become free and ``gone``, asked now and
        then, does not say that nobody wants the result any more; raises kind ``throttled`` if it got none."""
        with self._changed:
            self._wait_for_place(group, gone)
            self._busy[group] += 1
            self._note_progress(group)
        try:
            yield
        finally:
            with self._changed:
                self._busy[group] -= 1
                self._note_progress(group)
                self._changed.notify_all()

    def _wait_for_place(self, group: int, gone: Callable[[], bool]) -> None:
        full = self._full(group)
        if full is None:
            return
        if self._waiting >= self._limits.waiting:
            raise self._refusal()
        self._waiting += 1
        try:
            ends = time.monotonic() + MAX_WAIT_SECONDS
            while full is not None:
                left = min(self._progress[full] + self._limits.stuck_seconds, ends) - time.monotonic()
                if left <= 0 or gone():
                    raise self._refusal()
                self._changed.wait(min(left, _LOOK_SECONDS))
                full = self._full(group)
        finally:
            self._waiting -= 1

    def _full(self, group: int) -> int | None:
        """The group without a place, which may be that of all, or None."""
        if self._busy[group] >= self._limits.per_group:
            return group
        return _ALL if self._busy.total() >= self._limits.total else None

    def _refusal(self) -> TooMany:
        return TooMany(
            self._limits.reason,
            operation=self._limits.operation,
            remedy="Try again in a few seconds.",
            retry_after=self._limits.retry_after,
        )

    def _note_progress(self, group: int) -> None:
        self._progress[group] = self._progress[_ALL] = time.monotonic()
