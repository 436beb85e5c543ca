"""Token buckets in memory: how often something may happen, for each of many names."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_NAMES = 10_000


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class TokenBuckets:
    """``burst`` at once and ``per_second`` in the long run, for each name. Thread-safe, and in this process's
    memory only: a restart fills every bucket.

    At most ``MAX_NAMES`` are kept; the one unused for longest is forgotten first, which fills it.
    """

    def __init__(
        self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str) -> float:
        """Take one. Returns 0, or if the bucket is empty the seconds until it no longer is."""
        with self._lock:
            bucket = self._filled(name)
            if bucket.level < 1:
                return (1 - bucket.level) / self._per_second
            bucket.level -= 1
            return 0.0

    def wait(self, name: str) -> float:
        """As :meth:`take`, but takes none."""
        with self._lock:
            return max(0.0, 1 - self._filled(name).level) / self._per_second

    def _filled(self, name: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now)
        bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[name] = bucket
        while len(self._buckets) > MAX_NAMES:
            self._buckets.popitem(last=False)
        return bucket
