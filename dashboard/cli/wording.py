"""Numbers, sizes and times in words, as the pages say them too."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size(count: float | None) -> str:
    """Bytes in decimal units, such as ``4.1 MB`` or ``412 GB``; empty for None."""
    if count is None:
        return ""
    unit = 0
    # 999.5 would print as “1000”: it belongs to the next unit.
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    digits = 1 if unit and count < 9.95 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def many(count: int | None, one: str = "object") -> str:
    """A count with its noun, such as ``1,204 objects``; empty for None."""
    if count is None:
        return ""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def span(seconds: float) -> str:
    """A duration in its two largest units: ``41 s``, ``12 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = max(0, round(seconds))
    for large, name, small, below in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {name} {rest} {below}" if rest else f"{whole // large} {name}"
    return f"{whole} s"


def between(low: float, high: float) -> str:
    """A range of durations without false precision: ``20 to 26 min``, ``50 s to 2 min``."""
    (least, unit), (most, other) = _coarse(low), _coarse(high)
    if (least, unit) == (most, other):
        return f"{least} {unit}"
    return f"{least} to {most} {unit}" if unit == other else f"{least} {unit} to {most} {other}"


def ago(moment: float | None) -> str:
    """How long ago that was; "never" for None."""
    if moment is None:
        return "never"
    seconds = max(0.0, time.time() - moment)
    if seconds < 10:
        return "just now"
    count, unit = _coarse(seconds)
    return f"{count} {unit} ago"


def date(moment: float | None) -> str:
    """A moment in UTC, to the second; empty for None."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _coarse(seconds: float) -> tuple[int, str]:
    for limit, step, name in ((90, 1, "s"), (5_400, 60, "min"), (129_600, 3_600, "h")):
        if seconds < limit:
            return max(1, round(seconds / step)), name
    return round(seconds / 86_400), "days"
