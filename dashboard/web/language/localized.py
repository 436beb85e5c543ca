"""Numbers and dates as the language of this request writes them."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from babel import Locale
from babel.dates import format_datetime

from dashboard.web.language import choice
from dashboard.web.language.catalogs import SOURCE

_DATE_TIME = {"en": "d MMM y, HH:mm", "de": "d. MMM y, HH:mm"}
_DAY = {"en": "EEEE d MMMM", "de": "EEEE, d. MMMM"}
_DATE = {"en": "d MMM y", "de": "d. MMM y"}
_SHORT_DAY = {"en": "d MMM", "de": "d. MMM"}
_MONTH = dict.fromkeys(("en", "de"), "MMMM y")
_DAY_OF_YEAR = {"en": "d MMMM y", "de": "d. MMMM y"}


def numerals(text: str) -> str:
    """Return numbers that were written in English, such as ``1,204`` and ``4.1 MB``, with the separators of
    the language of this request."""
    if "," not in text and "." not in text:
        return text
    language = choice.language()
    return text if language == SOURCE else text.translate(_separators(language))


@cache
def _separators(language: str) -> dict[int, str]:
    symbols = Locale.parse(language).number_symbols["latn"]
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"]})


def language_name(code: str) -> str:
    """What the language of this request calls a language: “German”."""
    return Locale.parse(code).get_display_name(choice.language()) or code


def date_and_time(when: datetime, language: str = "") -> str:
    """A date with the time to the minute: “22 Nov 2026, 06:11”; in this language or the request's."""
    return _format(when, _DATE_TIME, language)


def date(when: datetime) -> str:
    """A date: “22 Nov 2026”."""
    return _format(when, _DATE)


def short_day(when: datetime) -> str:
    """A day in a narrow place: “22 Nov”."""
    return _format(when, _SHORT_DAY)


def month(when: datetime) -> str:
    """A month of any year: “November 2026”."""
    return _format(when, _MONTH)


def day(when: datetime) -> str:
    """A day of this year: “Saturday 21 November”."""
    return _format(when, _DAY)


def day_of_year(when: datetime) -> str:
    """A day of any year: “19 November 2025”."""
    return _format(when, _DAY_OF_YEAR)


def _format(when: datetime, patterns: dict[str, str], language: str = "") -> str:
    language = language or choice.language()
    # Without its zone: the time is that of the zone already.
    return format_datetime(when.replace(tzinfo=None), patterns[language], locale=language)
