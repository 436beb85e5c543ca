"""How often each part of a file was sent: what decides when a use of a link is complete.

A use is a complete copy: with the first N uses every byte has been sent N times, in whatever parts and to
whatever clients. A download that broke and was started again, or was finished from another network, is one
use; a program that only reads the beginning is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

MAX_PARTS = 64
"""Parts that are told apart. Beyond that the shortest are merged with a neighbour, as sent more often: a
client that reads crumbs comes to its limit earlier, never later."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Parts of a file, as ``(start, end, times)``: sorted, without overlaps, every ``times`` at least 1."""

    parts: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def from_stored(cls, stored: Iterable[Iterable[int]]) -> Self:
        """From what :meth:`stored` returned."""
        return cls(tuple((start, end, times) for start, end, times in stored))

    def stored(self) -> list[list[int]]:
        """As lists, for a database."""
        return [list(part) for part in self.parts]

    def add(self, start: int, end: int) -> Coverage:
        """With the bytes from ``start`` up to, not including, ``end`` sent once more."""
        return Coverage(_bounded(_merged(_sums([*self.parts, (start, end, 1)])))) if start < end else self

    def copies(self, size: int) -> int:
        """How many complete copies of ``size`` bytes were sent. ``size`` is at least 1."""
        least, reached = 0, 0
        for start, end, times in self.parts:
            if start > reached:
                return 0
            least, reached = min(least, times) if reached else times, end
        return least if reached >= size else 0

    def without(self, copies: int) -> Coverage:
        """Without so many complete copies."""
        return Coverage(_merged((s, e, times - copies) for s, e, times in self.parts))

    def total(self) -> int:
        """All bytes that were sent, each as often as it was."""
        return sum((end - start) * times for start, end, times in self.parts)


def _sums(parts: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    changes: dict[int, int] = {}
    for start, end, times in parts:
        changes[start] = changes.get(start, 0) + times
        changes[end] = changes.get(end, 0) - times
    edges = sorted(changes)
    times = 0
    for start, end in pairwise(edges):
        times += changes[start]
        yield start, end, times


def _merged(parts: Iterable[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    merged: list[tuple[int, int, int]] = []
    for start, end, times in parts:
        if times < 1 or start >= end:
            continue
        if merged and merged[-1][1] == start and merged[-1][2] == times:
            merged[-1] = (merged[-1][0], end, times)
        else:
            merged.append((start, end, times))
    return tuple(merged)


def _bounded(parts: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    found = list(parts)
    while len(found) > MAX_PARTS:
        # The pair whose union claims the fewest bytes that were not sent.
        first = min(range(len(found) - 1), key=lambda i: _claimed(found[i], found[i + 1]))
        (start, _, times), (_, end, more) = found[first : first + 2]
        found[first : first + 2] = [(start, end, max(times, more))]
    return tuple(found)


def _claimed(one: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    times = max(one[2], other[2])
    kept = (one[1] - one[0]) * one[2] + (other[1] - other[0]) * other[2]
    return (other[1] - one[0]) * times - kept
