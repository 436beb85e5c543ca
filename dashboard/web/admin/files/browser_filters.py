"""The filters of the Files page as chips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.services.text import size, span
from dashboard.web.admin.files.browser_view import FilesView
from dashboard.web.language import localized

KINDS: Mapping[str, str] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "document": "documents",
    "text": "text",
    "archive": "archives",
    "other": "anything else",
}
SIZES: Mapping[str, tuple[int | None, int | None]] = {
    "under 100 kB": (None, 100_000),
    "over 1 MB": (1_000_000, None),
    "over 10 MB": (10_000_000, None),
    "over 100 MB": (100_000_000, None),
    "over 1 GB": (1_000_000_000, None),
}
"""The smallest and the largest number of bytes."""
_DAY = 86_400.0
AGES: Mapping[str, tuple[float | None, float | None]] = {
    "last 24 hours": (_DAY, None),
    "last 7 days": (7 * _DAY, None),
    "last 30 days": (30 * _DAY, None),
    "older than 30 days": (None, 30 * _DAY),
    "older than a year": (None, 365 * _DAY),
}
"""How many seconds ago it changed, at most and at least."""
DETAILS = ("make", "model", "lens", "software", "artist", "copyright", "description")
"""Suggested: what images say about themselves, as uploads record it."""
_SHOWN_DIGITS = 8


@dataclass(frozen=True, slots=True)
class FilterChoice:
    """A filter as the page shows it. ``label``: what it is set to, empty if it is not set. ``links``: its
    choices with their addresses."""

    title: str
    label: str
    clear_url: str
    links: tuple[tuple[str, str], ...] = ()


def filters_of(view: FilesView) -> list[FilterChoice]:
    """The filters with choices, and the others that are set."""
    wanted = view.filters
    sizes = tuple((label, view.url(min_size=low, max_size=high)) for label, (low, high) in SIZES.items())
    ages = tuple((label, view.url(max_age=most, min_age=least)) for label, (most, least) in AGES.items())
    kinds = tuple((label, view.url(kind=name)) for name, label in KINDS.items())
    chosen = [
        FilterChoice("Type", KINDS.get(wanted.kind, wanted.kind), view.url(kind=""), kinds),
        FilterChoice("Size", _size_label(view), view.url(min_size=None, max_size=None), sizes),
        FilterChoice("Changed", _age_label(view), view.url(max_age=None, min_age=None), ages),
    ]
    if wanted.modified_after is not None or wanted.modified_before is not None:
        cleared = view.url(modified_after=None, modified_before=None)
        chosen.append(FilterChoice("Changed", _dates_label(view), cleared))
    if wanted.content_type:
        chosen.append(FilterChoice("Content type", wanted.content_type, view.url(content_type="")))
    if wanted.checksum:
        chosen.append(FilterChoice("Checksum", f"{wanted.checksum[:_SHOWN_DIGITS]}…", view.url(checksum="")))
    if wanted.owner:
        chosen.append(FilterChoice("Owner", wanted.owner, view.url(owner="")))
    for name, value in wanted.metadata.items():
        rest = {other: wanted.metadata[other] for other in wanted.metadata if other != name}
        chosen.append(FilterChoice(name, value, view.url(metadata=rest)))
    return chosen


def _size_label(view: FilesView) -> str:
    low, high = view.filters.min_size, view.filters.max_size
    if low is None and high is None:
        return ""
    named = next((label for label, bounds in SIZES.items() if bounds == (low, high)), "")
    return named or _between(None if low is None else size(low), None if high is None else size(high))


def _age_label(view: FilesView) -> str:
    most, least = view.filters.max_age, view.filters.min_age
    if most is None and least is None:
        return ""
    named = next((label for label, bounds in AGES.items() if bounds == (most, least)), "")
    between = _between(None if least is None else span(least), None if most is None else span(most))
    return named or f"{between} ago"


def _dates_label(view: FilesView) -> str:
    after, before = view.filters.modified_after, view.filters.modified_before
    words = [] if after is None else [f"since {_day(after)}"]
    words += [] if before is None else [f"before {_day(before)}"]
    return " and ".join(words)


def _day(at: float) -> str:
    # Filters by day begin at midnight in UTC.
    return localized.date(datetime.fromtimestamp(at, UTC))


def _between(low: str | None, high: str | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"{low} to {high}" if low else f"at most {high}"
