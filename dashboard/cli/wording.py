"""Numbers, sizes and times in words."""

from __future__ import annotations

import time

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: float | None) -> str:
    """Bytes, such as ``12.3 MiB``; empty for None."""
    if count is None:
        return ""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1024
        if count < 1000 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}"


def many(count: int | None, one: str = "object") -> str:
    """A count with its noun, such as ``1,204 objects``; empty for None."""
    if count is None:
        return ""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def span(seconds: float) -> str:
    """A duration, such as ``45 s``, ``3 min`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def ago(moment: float | None) -> str:
    """How long ago that was; "never" for None."""
    return "never" if moment is None else f"{span(max(0.0, time.time() - moment))} ago"


def date(moment: float | None) -> str:
    """A moment in local time, to the second; empty for None."""
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
