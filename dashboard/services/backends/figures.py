"""Sizes and durations in words: the same in the browser and on the terminal."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size(count: float) -> str:
    """Bytes in decimal units with at least two significant digits: ``4.1 MB``, ``412 GB``."""
    unit = 0
    # 999.5 would print as “1000”: it belongs to the next unit.
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    digits = 1 if unit and count < 9.95 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """A duration in its two largest units: ``41 s``, ``12 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = max(0, int(seconds + 0.5))
    for large, name, small, below in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {name} {rest} {below}" if rest else f"{whole // large} {name}"
    return f"{whole} s"


def coarse(seconds: float) -> tuple[int, str]:
    """A duration as one number and its unit, without false precision; at least 1."""
    for limit, step, name in ((90, 1, "s"), (5_400, 60, "min"), (129_600, 3_600, "h")):
        if seconds < limit:
            return max(1, round(seconds / step)), name
    return round(seconds / 86_400), "d"


def between(low: float, high: float, *, to: str, dash: str) -> str:
    """A range of durations: ``20<to>26 min``, ``50 s<dash>2 min``, or one figure when both are alike."""
    (least, unit), (most, other) = coarse(low), coarse(high)
    if (least, unit) == (most, other):
        return f"{least} {unit}"
    return f"{least}{to}{most} {unit}" if unit == other else f"{least} {unit}{dash}{most} {other}"
