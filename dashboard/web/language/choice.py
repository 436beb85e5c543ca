"""In which language, time zone and theme a request is answered.

The language is what the person chose, else the first of the browser's that there is, else the console's. The
time zone is the person's, else the console's; without a choice scripts show times in the browser's. A program
gets English unless its ``Accept-Language`` asks for another; a page's own requests to the API are answered in
the page's language.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from flask import has_request_context, request
from flask_login import current_user

from dashboard.services.people.preferences import NO_PREFERENCES, Preferences, Theme
from dashboard.settings import LANGUAGES
from dashboard.web.context import for_api, once_a_request, services
from dashboard.web.language.catalogs import SOURCE
from dashboard.web.sessions import has_token


def preferences() -> Preferences:
    """Return what the person behind this request has chosen; nothing if nobody is signed in."""
    if not has_request_context():
        return NO_PREFERENCES
    return once_a_request("preferences", _preferences)


def _preferences() -> Preferences:
    if not current_user or not current_user.is_authenticated:
        return NO_PREFERENCES
    return getattr(current_user.info, "preferences", NO_PREFERENCES)


def language() -> str:
    """Return the code of the language of this request, such as ``de``."""
    if not has_request_context():
        return SOURCE
    return once_a_request("language", _choose)


def _choose() -> str:
    by_program = has_token() or (for_api() and not current_user.is_authenticated)
    if not by_program and (chosen := preferences().language):
        return chosen
    return _accepted() or (SOURCE if by_program else services().settings.language)


def _accepted() -> str:
    """The first language of the request's that there is (RFC 4647, 3.4: “de-AT” is answered in “de”)."""
    for tag, quality in request.accept_languages:
        primary = tag.replace("_", "-").partition("-")[0].lower()
        if quality > 0 and primary in LANGUAGES:
            return primary
    return ""


def theme() -> Theme | None:
    """Return the theme that the person has chosen; None leaves it to the browser."""
    return preferences().theme


def shows_browser_time() -> bool:
    """Return whether scripts may show times in the browser's time zone: the person has chosen none."""
    return not preferences().time_zone


def local(at: float) -> datetime:
    """Return a time, in seconds since the epoch, in the time zone of this request."""
    return in_zone(at, zone())


def in_zone(at: float, zone: tzinfo | None) -> datetime:
    """Return a time, in seconds since the epoch, in a time zone; None: that of the machine."""
    return datetime.fromtimestamp(at, UTC).astimezone(zone)


def zone_name() -> str:
    """Return what to call the time zone of this request: “Europe/Berlin”, or “CET” of the machine."""
    found = zone()
    return found.key if isinstance(found, ZoneInfo) else datetime.now(UTC).astimezone().tzname() or "UTC"


def zone() -> tzinfo | None:
    """Return the time zone of this request; None for the machine's own, which changes with the season."""
    if not has_request_context():
        return UTC
    return once_a_request("zone", _zone)


def _zone() -> tzinfo | None:
    name = preferences().time_zone or services().settings.time_zone
    return _named(name) if name else None


@cache
def _named(name: str) -> ZoneInfo:
    return ZoneInfo(name)
