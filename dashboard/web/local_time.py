"""Times in the console's time zone, for pages without JavaScript; a script shows them in the reader's own."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

from flask import Flask
from markupsafe import Markup


def install(app: Flask) -> None:
    """Register the filter ``clock``."""
    app.jinja_env.filters.update(clock=clock)


def zone_name() -> str:
    """The console's time zone, such as “CET”."""
    return _local(time.time()).tzname() or "UTC"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()


def clock(at: float) -> Markup:
    """The time of day; exact, with date and zone, as its title."""
    when = _local(at)
    return Markup('<time datetime="{}" title="{}" data-clock>{}</time>').format(
        when.isoformat(timespec="seconds"), f"{when:%Y-%m-%d %H:%M:%S %Z}", f"{when:%H:%M}"
    )


def day_title(at: float) -> str:
    """The day: “Today, Saturday 21 November”, “Yesterday”, “19 November 2025”."""
    today, day = _local(time.time()).date(), _local(at).date()
    name = f"{day:%A} {day.day} {day:%B}"
    if day == today:
        return f"Today, {name}"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return name if day.year == today.year else f"{day.day} {day:%B %Y}"


def day_starts_at(text: str, *, days: int = 0) -> float | None:
    """When a day begins (``YYYY-MM-DD``), ``days`` later; None if it is not a day."""
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return time.mktime((day.year, day.month, day.day, 0, 0, 0, 0, 0, -1))
    except (ValueError, OverflowError):
        return None
