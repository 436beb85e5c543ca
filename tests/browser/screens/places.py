"""Every address of the console that shows a page, found by its routes, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from flask import Flask

from tests.browser.screens.furnished import Furnished

NO_PAGES = {
    "api_v1.": "the API",
    "static": "files of the pages",
    "language_script": "a script of the pages",
    "files.show": "stored files",
    "zips.download": "a download",
    "audit.export_": "a download",
    "usage.export": "a download",
    "ledger.report": "a download",
    "upload_policies.export": "a download",
    "health.": "for monitoring",
    "setup.show": "gone once the console is set up; it has a test of its own",
    "sign_in.": "for those who are not signed in; they have a test of their own",
    "shared.open_link": "for those who are not signed in; it has a test of its own",
    "notifications.show_test": "a fragment of a running test, for a minute",
    "probes.show": "a fragment of a running test, for a minute",
}
"""Endpoints, or how they begin, that answer GET with something else, and what."""

FRAGMENTS = ("live", "live_list", "live_one")
"""Endpoints that answer with a part of a page, which the page itself shows as well."""

VARIANTS = (
    "/?days=365",
    "/audit?open=1",
    "/audit?actor=maria&action=backend",
    "/audit?q=nothing+like+this",
    "/backend/media-s3?window=90d&use=Environment",
    "/backend/old-ftp",
    "/backend/partner-s3",
    "/backend/old-ftp/activate",
    "/backend/partner-s3/edit",
    "/backend/media-s3/remove",
    "/backends/new?preset=b2",
    "/backends/new?preset=local",
    "/backends/new?preset=sftp",
    "/backends/new?preset=webdav",
    "/browse/local-disk?view=grid&in=photos/",
    "/browse/local-disk?in=photos/&file=photos/harbour-01.jpg",
    "/browse/local-disk?q=nothing+like+this",
    "/browse/old-ftp",
    "/files/old?days=1&backend=local-disk",
    "/links/new?backend=local-disk&file=photos/harbour-01.jpg",
    "/migrations?state=failed",
    "/migrations/new?source=local-disk",
    "/search?q=media",
    "/search?q=nothing+like+this",
    "/settings/environment?category=Uploads",
    "/settings/environment?q=nothing+like+this",
    "/usage?days=365&measure=objects",
    "/no/such/page",
)
"""Addresses beside the plain ones: filters, empty results, troubles."""


def values(furnished: Furnished) -> Mapping[str, Mapping[str, tuple[object, ...]]]:
    """What the arguments of rules stand for: by what the rule begins with, and by argument."""
    migrations = (
        furnished.clean,
        furnished.with_failures,
        furnished.ready,
        furnished.blocked,
        furnished.paused,
        furnished.cancelled,
        furnished.running,
    )
    return {
        "/backend/": {"name": ("local-disk",)},
        "/browse/": {"name": ("local-disk",)},
        "/links/": {"id": (furnished.link,)},
        "/migrations/<int:id>/cancel": {"id": (furnished.running,)},
        "/migrations/<int:id>/objects": {"id": (furnished.with_failures,)},
        "/migrations/": {"id": migrations},
        "/settings/uploads/": {"name": ("avatars",)},
        "/settings/notifications/channels/": {"name": ("ops",)},
        "/settings/schedules/jobs/": {"name": ("count",)},
        "/settings/schedules/copies/": {"id": (1,)},
        "/settings/environment/backups/": {"id": (furnished.backup,)},
        "/usage/duplicates/": {"id": (furnished.duplicates,)},
        "/usage/shared/": {"id": (furnished.shared,)},
    }


QUERIES = {
    "/browse/<name>/file": "key=photos/harbour-01.jpg",
    "/browse/<name>/copy": "key=photos/harbour-01.jpg",
    "/browse/<name>/move": "key=photos/harbour-01.jpg",
    "/browse/<name>/delete": "key=photos/harbour-01.jpg",
    "/browse/<name>/rename": "key=photos/harbour-01.jpg",
    "/browse/<name>/edit": "key=photos/harbour-01.jpg",
    "/browse/<name>/new-folder": "in=photos/",
}
"""What pages need to be more than a question."""


def places(app: Flask, furnished: Furnished) -> tuple[str, ...]:
    """The addresses of all pages. Raises ``LookupError`` for a rule whose arguments nobody gave a value."""
    known = values(furnished)
    found: dict[str, None] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        if "GET" not in (rule.methods or ()) or _is_no_page(rule.endpoint):
            continue
        query = f"?{QUERIES[rule.rule]}" if rule.rule in QUERIES else ""
        found.update(
            dict.fromkeys(address + query for address in _addresses(rule.rule, rule.arguments, known))
        )
    return (*found, *VARIANTS)


def _is_no_page(endpoint: str) -> bool:
    return endpoint.startswith(tuple(NO_PAGES)) or endpoint.rpartition(".")[2] in FRAGMENTS


def _addresses(
    rule: str, arguments: set[str], known: Mapping[str, Mapping[str, tuple[object, ...]]]
) -> Iterator[str]:
    if not arguments:
        yield rule
        return
    for begin, table in known.items():
        if rule.startswith(begin) and set(table) == arguments:
            (argument,) = arguments
            for value in table[argument]:
                yield _replaced(rule, argument, str(value))
            return
    raise LookupError(f"{rule} is a page without a place: give its arguments values in {__name__}")


def _replaced(rule: str, argument: str, value: str) -> str:
    begin, _, rest = rule.partition("<")
    inside, _, end = rest.partition(">")
    assert inside.rpartition(":")[2] == argument
    return begin + quote(value) + end
