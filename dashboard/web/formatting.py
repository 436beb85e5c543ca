"""Template filters for numbers, times and untrusted text. Times are seconds since the epoch, and shown in the
time zone of the request.

The functions write numbers in English, because sentences that Python makes are translated as a whole; as
filters of templates they write them in the language of the request."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

from flask import Flask
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from dashboard.services import text
from dashboard.web.language import choice, localized
from dashboard.web.language.localized import numerals
from dashboard.web.language.translating import gettext

_KEY_WIDTH = 56


def install(app: Flask) -> None:
    """Register the filters."""
    app.jinja_env.filters.update(
        {write.__name__: _localized(write) for write in (number, size, rate, percent, milliseconds, plural)}
    )
    app.jinja_env.filters.update(
        span=span, eta=eta, ago=ago, moment=moment, key=key, visible=visible, date_time=date_time,
        numerals=numerals,
    )  # fmt: skip


def _localized(write: Callable[..., str]) -> Callable[..., str]:
    @pass_context
    def filtered(context: Context, *values: Any) -> str:
        # With the context, so that Jinja never writes a constant once and for all.
        return numerals(write(*values))

    return filtered


def number(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{int(value):,}"


def size(value: float | None) -> str:
    """Bytes: ``4.1 MB``, ``412 GB``; a dash for None."""
    return "–" if value is None else text.size(value)


def rate(value: float) -> str:
    """Bytes per second; a dash when nothing moves."""
    return f"{size(value)}/s" if value >= 1 else "–"


def percent(value: float) -> str:
    """One decimal, never rounded up to 100 before everything is done."""
    return f"{min(int(value * 10) / 10, 100.0):.1f} %"


def milliseconds(value: float | None) -> str:
    """A duration of a network call."""
    if value is None:
        return "–"
    if value < 1:
        return "<1 ms"
    return f"{value:.0f} ms" if value < 9_950 else f"{value / 1000:.1f} s"


def span(seconds: float | None) -> str:
    """A duration: ``<1 s``, ``41 s``, ``12 min 5 s``; a dash for None."""
    if seconds is None:
        return "–"
    return "<1 s" if seconds < 1 else text.span(seconds)


def eta(value: tuple[float, float] | None) -> str:
    """A range of durations: ``20–26 min``, ``50 s – 2 min``; a dash for None."""
    return "–" if value is None else text.between(*value, to="–", dash=" – ")


def ago(at: float | None, now: float | None = None) -> Markup:
    """A past time as a ``<time>`` element: ``2 min ago``, with the exact time as its title."""
    if at is None:
        return escape(gettext("never"))
    seconds = max(0.0, (time.time() if now is None else now) - at)
    if seconds < 10:
        text = gettext("just now")
    elif seconds < 60:
        text = gettext("%(seconds)s s ago", seconds=int(seconds // 10 * 10))
    elif seconds < 3_600:
        text = gettext("%(minutes)s min ago", minutes=int(seconds // 60))
    elif seconds < 86_400:
        text = gettext("%(hours)s h ago", hours=int(seconds // 3_600))
    elif seconds < 172_800:
        text = gettext("yesterday")
    else:
        text = gettext("%(days)s days ago", days=numerals(number(seconds // 86_400)))
    return _time(at, text)


def date_time(at: float | None) -> Markup:
    """A time to the minute. Where the person has chosen no time zone, scripts show it in the browser's."""
    if at is None:
        return Markup("–")
    mark = Markup(" data-local") if choice.shows_browser_time() else Markup("")
    return _date_time(at, choice.zone(), time.tzname, choice.language(), mark)


@lru_cache(4_096)
def _date_time(
    at: float, zone: tzinfo | None, _machine: tuple[str, str], language: str, mark: Markup
) -> Markup:
    # The times of a chart are those of the page before. ``_machine``: what a zone of None stands for.
    when = choice.in_zone(at, zone)
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(
        when.isoformat(timespec="seconds"),
        _stamp(when),
        mark,
        localized.date_and_time(when, language),
    )


def moment(at: float | None) -> Markup:
    """A time to the second."""
    return Markup("–") if at is None else _time(at, _stamp(choice.local(at)))


def _stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S %Z}"


def _time(at: float, text: str) -> Markup:
    return _exact_time(at, choice.zone(), time.tzname).format(text)


@lru_cache(4_096)
def _exact_time(at: float, zone: tzinfo | None, _machine: tuple[str, str]) -> Markup:
    when = choice.in_zone(at, zone)
    exact = Markup('<time datetime="{}" title="{}">').format(when.isoformat(timespec="seconds"), _stamp(when))
    # A brace in the name of a zone is none of the place for the text.
    return exact.replace("{", "{{").replace("}", "}}") + Markup("{}</time>")


def plural(count: int, one: str, many: str = "") -> str:
    """``1 object``, ``1,204 objects``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def visible(text: str) -> str:
    """Escape every character that a screen would hide, reorder or break a line at.

    Control, format (bidi overrides, zero-width), surrogate, private-use and separator characters become
    ``\\x0a`` or ``\\u202e``; so do spaces at either end.
    """
    first, last = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    return "".join(_escaped(c) if _unseen(c) or not first <= i < last else c for i, c in enumerate(text))


def _unseen(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"


def key(text: str, width: int = _KEY_WIDTH) -> Markup:
    """An object's key: isolated from the surrounding text, shortened in the middle, in full in the title."""
    escaped = visible(text)
    shown = escaped
    if len(escaped) > width:
        tail = width * 3 // 5
        shown = f"{escaped[: width - tail - 1]}…{escaped[-tail:]}"
    title = Markup(' title="{}"').format(escaped) if shown != escaped else Markup("")
    return Markup('<bdi class="key"{}>{}</bdi>').format(title, escape(shown))
