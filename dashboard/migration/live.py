"""Live progress: rates, a range for the remaining time, and what the workers spend their time on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from heapq import nlargest

from dashboard.migration.ledger import Live
from dashboard.migration.types import Counters, InFlight

WINDOW_SECONDS = 10.0
"""The period over which the rates are measured."""
MAX_SHOWN = 12
"""How many objects in flight are shown, the largest first."""


class Meter:
    """Computes rates and the remaining time from totals. Used by one thread."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()
        self._first: tuple[float, int, int] | None = None

    def measure(
        self, now: float, counters: Counters, in_flight: Iterable[InFlight], *, phase: str, at: float
    ) -> Live:
        """Return the progress now. ``now`` in monotonic seconds, ``at`` in epoch seconds."""
        moving = list(in_flight)
        done_bytes = counters.copied_bytes + sum(one.done for one in moving)
        sample = (now, done_bytes, counters.copied)
        self._first = self._first or sample
        self._samples.append(sample)
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        rate_bytes, rate_objects = rates(self._samples[0], sample)
        return Live(
            phase=phase,
            in_flight=tuple(nlargest(MAX_SHOWN, moving, key=lambda one: one.size)),
            rate_bytes=rate_bytes,
            rate_objects=rate_objects,
            eta=self._eta(counters, sample, done_bytes - counters.copied_bytes),
            at=at,
            done_bytes=done_bytes,
            done_objects=counters.copied,
        )

    def _eta(
        self, counters: Counters, sample: tuple[float, int, int], moving: int
    ) -> tuple[float, float] | None:
        """Estimate the remaining seconds from bytes and objects, over the last seconds and the whole run.
        Nobody knows them while more may be found.

        Many small objects look slow by bytes, large ones by count: the true value lies between the two.
        """
        left_bytes = max(0, counters.found_bytes - counters.done_bytes - moving)
        left = max(0, counters.found - counters.done)
        if not left or not counters.listing_final:
            return None
        guesses: list[float] = []
        for start in (self._samples[0], self._first or sample):
            by_bytes, by_count = rates(start, sample)
            if by_bytes > 0 and left_bytes:
                guesses.append(left_bytes / by_bytes)
            if by_count > 0:
                guesses.append(left / by_count)
        return (min(guesses), max(guesses)) if guesses else None


def rates(start: tuple[float, int, int], end: tuple[float, int, int]) -> tuple[float, float]:
    """Return bytes and objects per second between two samples of (seconds, bytes, objects)."""
    seconds = end[0] - start[0]
    if seconds <= 0:
        return 0.0, 0.0
    # Bytes of an interrupted object are subtracted again; a rate is never negative.
    return max(0.0, (end[1] - start[1]) / seconds), max(0.0, (end[2] - start[2]) / seconds)


class Spent:
    """Seconds of all workers by phase: ``reading``, ``writing``, ``verifying``. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}

    def timed(self, phase: str) -> AbstractContextManager[None]:
        """Add the time inside to a phase, also if it ends with an error."""
        return _Timed(self, phase)

    def add(self, phase: str, seconds: float) -> None:
        """Add this time to a phase."""
        with self._lock:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def seconds(self) -> Mapping[str, float]:
        """What was spent so far."""
        with self._lock:
            return dict(self._seconds)


# Entered several times for each object, where a generator costs four times as much.
class _Timed:
    __slots__ = ("_began", "_phase", "_spent")

    def __init__(self, spent: Spent, phase: str) -> None:
        self._spent = spent
        self._phase = phase

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent.add(self._phase, time.perf_counter() - self._began)
