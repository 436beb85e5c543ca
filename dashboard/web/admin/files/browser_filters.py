"""The filters of the Files page: by type, size and age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.web.admin.files.browser_view import FilesView

KINDS: Mapping[str, str] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "document": "documents",
    "text": "text",
    "archive": "archives",
    "other": "anything else",
}
SIZES: Mapping[str, tuple[str, int | None, int | None]] = {
    "-100kB": ("under 100 kB", None, 100_000),
    "1MB": ("over 1 MB", 1_000_000, None),
    "10MB": ("over 10 MB", 10_000_000, None),
    "100MB": ("over 100 MB", 100_000_000, None),
    "1GB": ("over 1 GB", 1_000_000_000, None),
}
"""By the name in the address: what is shown, the smallest and the largest number of bytes."""
_DAY = 86_400
AGES: Mapping[str, tuple[str, float | None, float | None]] = {
    "day": ("last 24 hours", _DAY, None),
    "week": ("last 7 days", 7 * _DAY, None),
    "month": ("last 30 days", 30 * _DAY, None),
    "old": ("older than 30 days", None, 30 * _DAY),
    "older": ("older than a year", None, 365 * _DAY),
}
"""By the name in the address: what is shown, how many seconds ago it changed, at most and at least."""


@dataclass(frozen=True, slots=True)
class FilterChoice:
    """A filter as the page shows it. ``label``: what it is set to, empty if it is not set. ``links``: its
    choices with their addresses."""

    title: str
    label: str
    clear_url: str
    links: tuple[tuple[str, str], ...]


def filters_of(view: FilesView) -> list[FilterChoice]:
    """The filters, with their addresses."""
    sizes = {name: label for name, (label, _, _) in SIZES.items()}
    ages = {name: label for name, (label, _, _) in AGES.items()}
    return [
        _choice(view, "kind", "Type", KINDS, view.kind),
        _choice(view, "size", "Size", sizes, view.size),
        _choice(view, "age", "Changed", ages, view.age),
    ]


def _choice(view: FilesView, field: str, title: str, labels: Mapping[str, str], chosen: str) -> FilterChoice:
    links = tuple((label, view.url(**{field: name})) for name, label in labels.items())
    return FilterChoice(title, labels.get(chosen, ""), view.url(**{field: ""}), links)
