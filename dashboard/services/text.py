"""Text for people: durations in words, and outside text made safe to print on one line."""

from __future__ import annotations

import re

from dashboard.media.sizes import format_size as size

__all__ = ["approximate", "between", "printable", "size", "span", "without_controls"]

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


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


def approximate(seconds: float) -> tuple[int, str]:
    """A duration as one number and its unit, without false precision; at least 1."""
    for limit, step, name in ((90, 1, "s"), (5_400, 60, "min"), (129_600, 3_600, "h")):
        if seconds < limit:
            return max(1, round(seconds / step)), name
    return round(seconds / 86_400), "d"


def between(low: float, high: float, *, to: str, dash: str) -> str:
    """A range of durations: ``20<to>26 min``, ``50 s<dash>2 min``, or one figure when both are alike."""
    (least, unit), (most, other) = approximate(low), approximate(high)
    if (least, unit) == (most, other):
        return f"{least} {unit}"
    return f"{least}{to}{most} {unit}" if unit == other else f"{least} {unit}{dash}{most} {other}"


def printable(text: str) -> str:
    """Return ``text`` safe for a terminal or a log. Unprintable characters and line breaks are escaped, so a
    key cannot pass for a line of ours."""
    safe = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return safe.encode("utf-8", "backslashreplace").decode()


def without_controls(text: str) -> str:
    """Return ``text`` safe for a file of lines: control characters and line breaks are escaped. Everything
    else, such as joined emoji, stays."""
    safe = _CONTROLS.sub(lambda match: _escaped(match[0]), text)
    return safe.encode("utf-8", "backslashreplace").decode()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
