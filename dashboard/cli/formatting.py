"""Numbers, sizes and times as text, the same as on the pages."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from dashboard.services import text

duration = text.span


def size(count: float | None) -> str:
    """Bytes, such as ``4.1 MB`` or ``412 GB``; empty for None."""
    return "" if count is None else text.size(count)


def rate(per_second: float | None) -> str:
    """Bytes per second, such as ``4.1 MB/s``; for None that there is no limit."""
    return "no limit" if per_second is None else f"{size(per_second)}/s"


def count_of(count: int | None, one: str = "object") -> str:
    """A number and its noun, such as ``1,204 objects``; empty for None."""
    if count is None:
        return ""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def between(low: float, high: float) -> str:
    """A range of durations without false precision: ``20 to 26 min``, ``50 s to 2 min``."""
    return text.between(low, high, to=" to ", dash=" to ")


def ago(moment: float | None) -> str:
    """How long ago a time was; "never" for None."""
    if moment is None:
        return "never"
    seconds = max(0.0, time.time() - moment)
    if seconds < 10:
        return "just now"
    count, unit = text.approximate(seconds)
    return f"{count} {'days' if unit == 'd' else unit} ago"


def date(moment: float | None) -> str:
    """A time in UTC, to the second; empty for None."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
