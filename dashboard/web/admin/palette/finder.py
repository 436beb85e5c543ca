"""What the search of the whole console finds: pages, backends, migrations, settings and files.

Each part is bounded, and holds only what the person may open. Files come from the catalogue, in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import current_app, url_for

from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.environment.variables import KNOWN
from dashboard.services.permissions import Permission
from dashboard.web.admin.files.browser_view import to_token
from dashboard.web.context import can, services
from dashboard.web.guards import access_of

MAX_QUERY = 100
MAX_HITS = 6
"""Of each kind."""
MIN_FILE_QUERY = 2

PAGES = (
    ("backend_form.new", "Add a backend", "plus", "new provider bucket connect"),
    ("migration_new.index", "New migration", "plus", "copy move sync start plan"),
    ("links.index", "Share links", "link", "files public address"),
    ("links.new", "New share link", "link", "file address"),
    ("old_files.index", "Old files", "clock", "delete clean age"),
    ("settings.index", "Account and instance", "user", "settings password version"),
    ("preferences.index", "Preferences", "settings", "settings language german deutsch time zone theme dark"),
    ("environment.index", "Environment", "terminal", "settings variables env"),
    ("users.index", "Users", "people", "settings people roles add"),
    ("tokens.index", "API tokens", "key", "settings program"),
    ("workers.index", "Workers", "health", "runner carriers processes machines queues celery"),
    ("keys.index", "Keys", "lock", "settings recovery rotate seal"),
    ("schedules.index", "Scheduled jobs", "settings", "settings copies counts tests clean-up restore cron"),
    ("upload_policies.index", "Uploads", "upload", "settings policies virus limits"),
    ("api_document.index", "API", "globe", "settings openapi document"),
)
"""Pages below those of the menu: endpoint, label, icon, and other words that people search for."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found."""

    label: str
    detail: str
    url: str
    icon: str


@dataclass(frozen=True, slots=True)
class HitGroup:
    """What was found of one kind. ``more_url``: a page with all of it; ``note``: what was not looked at."""

    title: str
    hits: tuple[Hit, ...]
    more_url: str = ""
    note: str = ""


def find(query: str, menu: Iterable[Any]) -> tuple[HitGroup, ...]:
    """Return what fits the query, in groups; without one the pages of the menu. Never raises for a query."""
    text = " ".join(query[:MAX_QUERY].split())
    words = text.lower().split()
    groups = [HitGroup("Pages", tuple(_fitting(words, _pages(menu)))[: MAX_HITS if words else 20])]
    if words:
        groups += [
            HitGroup("Backends", tuple(_fitting(words, _backends()))[:MAX_HITS]),
            HitGroup("Migrations", tuple(_migrations(text))),
            HitGroup("Settings", tuple(_fitting(words, _variables()))[:MAX_HITS]),
        ]
        if len(text) >= MIN_FILE_QUERY and can(Permission.READ_FILES):
            groups.append(_files(text))
    return tuple(group for group in groups if group.hits or group.note)


def _fitting(words: list[str], found: Iterable[tuple[Hit, str]]) -> Iterator[Hit]:
    for hit, more in found:
        if all(word in f"{hit.label} {hit.detail} {more}".lower() for word in words):
            yield hit


def _pages(menu: Iterable[Any]) -> Iterator[tuple[Hit, str]]:
    for item in menu:
        if item.is_visible():
            yield Hit(item.name, "", item.get_url(), item.get_icon_value()), ""
    for endpoint, label, symbol, words in PAGES:
        if endpoint not in current_app.view_functions:
            continue
        rule = access_of(current_app, endpoint)
        if isinstance(rule, Permission) and can(rule):
            yield Hit(label, "", url_for(endpoint), symbol), words


def _backends() -> Iterator[tuple[Hit, str]]:
    for each in services().backends.choices():
        detail = "active backend" if each.active else ""
        yield Hit(each.name, detail, url_for("backends.show", name=each.name), "backends"), ""


def _migrations(text: str) -> Iterator[Hit]:
    for each in services().migrations.find(text, limit=MAX_HITS):
        url = url_for("migrations.show", id=each.id)
        yield Hit(f"{each.source} → {each.destination}", f"migration {each.id}", url, "migrations")


def _variables() -> Iterator[tuple[Hit, str]]:
    endpoint = "environment.index"
    if endpoint in current_app.view_functions and can(Permission.ENVIRONMENT):
        for name, each in KNOWN.items():
            yield Hit(name, each.about, f"{url_for(endpoint)}#{name}", "terminal"), ""


def _files(text: str) -> HitGroup:
    page = services().catalogue.search(FileFilters(name=text), limit=MAX_HITS)
    hits = []
    for file in page.files:
        folder, _, name = file.key.rpartition("/")
        where: dict[str, Any] = {"file": to_token(file.key)}
        if folder:
            where["in"] = to_token(f"{folder}/")
        url = url_for("browse.show", name=file.backend, **where)
        hits.append(Hit(name or file.key, f"{file.backend}/{folder}".rstrip("/"), url, "text"))
    note = ""
    if page.cursor and len(hits) < MAX_HITS:
        note = "Not every file was searched; the Files page can search all of them."
    active = next((each.name for each in services().backends.choices() if each.active), "")
    more = url_for("browse.show", name=active, q=text) if active and page.cursor else ""
    return HitGroup("Files", tuple(hits), more, note)
