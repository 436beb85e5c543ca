"""The axes of charts: from zero to a round number, and figures as people read them.

Figures are in English: templates write them in the language of the request. Times are in its time zone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dashboard.services import text
from dashboard.web.language import choice, localized
from dashboard.web.language.translating import gettext

LARGEST = 1e300
"""What is larger, infinite or no number at all cannot be drawn to scale."""

_STEPS = (1.0, 2.0, 2.5, 4.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Unit:
    """What the figures of a chart are. ``scales`` are the words of its axis, each for ``base`` times the one
    before; ``write`` is one figure in full, for sentences and tables."""

    scales: tuple[str, ...]
    write: Callable[[float], str]
    base: float = 1000.0
    whole: bool = False
    """Whether there are no fractions of one."""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value < 9_950 else f"{value / 1000:.1f} s"


def _rate(value: float) -> str:
    return f"{text.size(value)}/s"


OBJECTS = Unit(("", "k", "M", "G", "T"), _count, whole=True)
BYTES = Unit(("B", "kB", "MB", "GB", "TB", "PB", "EB"), text.size, whole=True)
RATE = Unit(("B/s", "kB/s", "MB/s", "GB/s", "TB/s"), _rate)
MILLISECONDS = Unit(("ms", "s"), _milliseconds)


@dataclass(frozen=True, slots=True)
class Scale:
    """``top`` is the value at the upper edge; ``marks`` are the words of the lines, from zero upward."""

    top: float
    marks: tuple[str, ...]


def finite(value: float | None) -> float | None:
    """A value as it can be drawn: never below zero, never endless; None for what is no number."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return LARGEST if value > 0 else 0.0
    return None if math.isnan(number) else min(max(number, 0.0), LARGEST)


def scale_of(largest: float, unit: Unit) -> Scale:
    """Three to five lines whose highest lies at or above ``largest``, and as low as round numbers allow."""
    factor, word = 1.0, unit.scales[0]
    for word in unit.scales:
        if largest < factor * unit.base or word == unit.scales[-1]:
            break
        factor *= unit.base
    lines, step = _best(largest / factor, whole=unit.whole and factor == 1.0)
    marks = [f"{step * i:.6g}" for i in range(lines + 1)]
    # Letters such as k stand at every figure, a unit only at the highest.
    if len(word) == 1 and unit is OBJECTS:
        marks[1:] = [mark + word for mark in marks[1:]]
    elif word:
        marks[-1] += f" {word}"
    return Scale(step * lines * factor, tuple(marks))


def _best(largest: float, *, whole: bool) -> tuple[int, float]:
    """How many intervals, and how large one is."""
    if largest < 1e-9:
        return 2, 1.0
    found = []
    for lines in (4, 3, 2):
        raw = largest / lines
        power = 10.0 ** math.floor(math.log10(raw))
        # Division may leave the step a hair too small.
        step = next(s * power for s in _STEPS if s * power * lines >= largest * (1 - 1e-12))
        found.append((max(step, 1.0) if whole and step < 1 else math.ceil(step) if whole else step, lines))
    step, lines = min(found, key=lambda each: (each[0] * each[1], -each[1]))
    return lines, step


@dataclass(frozen=True, slots=True)
class Mark:
    """A word below a chart; ``wide_only`` where a phone has no room for it. ``at`` is the time that it
    stands for, in seconds since the epoch, or None for a name."""

    text: str
    at: float | None = None
    wide_only: bool = False


def time_marks(begin: float, end: float, *, count: int = 5, now: str = "") -> tuple[Mark, ...]:
    """Words at even distances from ``begin`` to ``end``: the hour within two days, else the day. The last is
    ``now``, by default that word. Times in seconds since the epoch, shown in the time zone of the request."""
    now = now or gettext("now")
    if end <= begin:
        return (Mark(now, end),)
    hours = end - begin <= 2 * 86_400
    marks = []
    for i in range(count):
        at = begin + (end - begin) * i / (count - 1)
        last = i == count - 1
        marks.append(Mark(now if last else _moment(at, hours=hours), at, wide_only=i % 2 == 1))
    return tuple(marks)


def _moment(at: float, *, hours: bool) -> str:
    try:
        when = choice.local(at)
    except (OverflowError, OSError, ValueError):
        return ""
    return f"{when:%H:%M}" if hours else localized.short_day(when)


def name_marks(names: Sequence[str]) -> tuple[Mark, ...]:
    """A word for each column."""
    return tuple(Mark(name) for name in names)
