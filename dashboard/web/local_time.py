"""The time of day, and days as headings and filters, in the time zone of the request."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta

from flask import Flask
from markupsafe import Markup

from dashboard.web.language import choice, localized
from dashboard.web.language.translating import gettext


def install(app: Flask) -> None:
    """Register the filter ``clock``."""
    app.jinja_env.filters.update(clock=clock)


def clock(at: float) -> Markup:
    """The time of day; exact, with date and zone, as its title. Where the person has chosen no time zone,
    scripts show it in the browser's."""
    when = choice.local(at)
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(
        when.isoformat(timespec="seconds"),
        f"{when:%Y-%m-%d %H:%M:%S %Z}",
        Markup(" data-clock") if choice.shows_browser_time() else "",
        f"{when:%H:%M}",
    )


def day_title(at: float) -> str:
    """The day: “Today, Saturday 21 November”, “Yesterday”, “19 November 2025”."""
    when = choice.local(at)
    today, day = choice.local(time.time()).date(), when.date()
    if day == today:
        return gettext("Today, %(day)s", day=localized.day(when))
    if day == today - timedelta(days=1):
        return gettext("Yesterday")
    return localized.day(when) if day.year == today.year else localized.day_of_year(when)


def day_starts_at(text: str, *, days: int = 0) -> float | None:
    """When a day begins (``YYYY-MM-DD``), ``days`` later; None if it is not a day."""
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return datetime(day.year, day.month, day.day, tzinfo=choice.zone()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
