"""Adds up files for the Usage page: by kind, size and age, and the largest and oldest of them. Pure."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

MAX_NAMED = 20
DAY = 86_400
SIZES = (
    *(("1k", 10**3), ("10k", 10**4), ("100k", 10**5)),
    *(("1M", 10**6), ("10M", 10**7), ("100M", 10**8)),
)
LARGER = "more"
AGES = (("30 d", 30), ("90 d", 90), ("1 y", 365), ("2 y", 730), ("5 y", 1826))
OLDER, UNKNOWN_AGE = "older", "unknown"
SIZE_NAMES = (*(name for name, _ in SIZES), LARGER)
AGE_NAMES = (*(name for name, _ in AGES), OLDER)
_SIZE_LIMITS = tuple(most for _, most in SIZES)


class FileFigures:
    """What is added up while the files are read, a page at a time."""

    def __init__(self, now: float) -> None:
        self.at = now
        self._limits = tuple(now - days * DAY for _, days in AGES)
        self._files = self._bytes = self._bare = 0
        # Of each kind, size and age, the files and their bytes.
        self._parts: dict[tuple[str, str, str], list[int]] = {}
        self._largest: list[tuple[int, str, float | None]] = []
        self._oldest: list[tuple[float, str, int]] = []
        # What a file has to reach to be one of those.
        self._least_size, self._newest_time = -1, math.inf

    def add(self, rows: Sequence[Any]) -> None:
        """Add files: key, size, time, kind, whether no checksum is known, and what else a row holds."""
        parts, limits = self._parts, self._limits
        least_size, newest_time = self._least_size, self._newest_time
        large, old = list[tuple[int, str, float | None]](), list[tuple[float, str, int]]()
        for row in rows:
            key, size, modified, kind, bare = row[:5]
            self._bytes += size
            self._bare += bare
            up_to = SIZE_NAMES[bisect_left(_SIZE_LIMITS, size)]
            age = UNKNOWN_AGE if modified is None else OLDER
            if modified is not None:
                for index, since in enumerate(limits):
                    if modified >= since:
                        age = AGE_NAMES[index]
                        break
                if modified <= newest_time:
                    old.append((modified, key, size))
            if size >= least_size:
                large.append((-size, key, modified))
            held = parts.get((kind, up_to, age))
            if held is None:
                parts[kind, up_to, age] = [1, size]
            else:
                held[0] += 1
                held[1] += size
        self._files += len(rows)
        # A backend has each key once, so that nothing after it is compared.
        self._largest = heapq.nsmallest(MAX_NAMED, (*self._largest, *large), key=lambda each: each[:2])
        self._oldest = heapq.nsmallest(MAX_NAMED, (*self._oldest, *old))
        if len(self._largest) == MAX_NAMED:
            self._least_size = -self._largest[-1][0]
        if len(self._oldest) == MAX_NAMED:
            self._newest_time = self._oldest[-1][0]

    def values(self) -> dict[str, Any]:
        """As columns of ``usage_summaries``."""
        found: dict[str, dict[str, list[int]]] = {"kinds": {}, "sizes": {}, "ages": {}}
        for names, (count, size) in sorted(self._parts.items()):
            for table, name in zip(found, names, strict=True):
                held = found[table].setdefault(name, [0, 0])
                held[0] += count
                held[1] += size
        slices = {table: [[name, *held] for name, held in each.items()] for table, each in found.items()}
        return {
            "files": self._files,
            "bytes": self._bytes,
            "without_checksum": self._bare,
            **slices,
            "largest": [[key, -negative, modified] for negative, key, modified in self._largest],
            "oldest": [[key, size, modified] for modified, key, size in self._oldest],
        }
