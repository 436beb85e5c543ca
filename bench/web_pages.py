"""Which requests :mod:`bench.web` times: every page of the console, found by its routes, and every filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from flask import Flask
from werkzeug.routing import BuildError

from bench.web_seed import ALREADY, FAILURES

SKIPPED = (
    "/static/",
    "/setup",
    "/sign-in",
    "/openapi.json",
    "/report.csv",
    "/browse/<name>/",
    "/zip/",
    "/d/",
    "/files/<",
)
"""Parts of rules that are no pages, or that need more than a backend or a migration."""


def pages(app: Flask, values: Mapping[str, object]) -> Iterator[str]:
    """The address of every GET route whose parts are among ``values``, by endpoint and name."""
    adapter = app.url_map.bind("localhost")
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        if "GET" not in (rule.methods or ()) or any(part in rule.rule for part in SKIPPED):
            continue
        known = {name: values[name] for name in rule.arguments if name in values}
        if "id" in rule.arguments and "/migrations/" not in rule.rule:
            continue
        if len(known) == len(rule.arguments):
            try:
                yield adapter.build(rule.endpoint, known, method="GET")
            except BuildError:
                continue


def filters(migration: int) -> Iterator[str]:
    """Every filter and order that lists have."""
    kind, reason, _ = FAILURES[0]
    objects, browse = f"/migrations/{migration}/objects", "/api/v1/files"
    asked: list[tuple[str, dict[str, object]]] = [
        *((objects, {"state": state}) for state in ("verified", "failed", "skipped", "pending", "in_flight")),
        (objects, {"state": "failed", "kind": kind, "reason": reason}),
        (objects, {"state": "skipped", "reason": ALREADY}),
        (objects, {"kind": kind}),
        (objects, {"after": "i500000"}),
        (objects, {"prefix": "photos/00500/"}),
        (objects, {"prefix": "photos/", "state": "failed"}),
        (objects, {"min_size": 4_000_000}),
        (f"/api/v1{objects}", {"min_size": 4_000_000, "state": "failed"}),
        (f"/api/v1{objects}", {"prefix": "photos/005", "state": "pending"}),
        (f"/api/v1{objects}", {"prefix": "photos/005", "max_size": 10}),
        ("/migrations", {"before": 500}),
        *((f"/browse/{name}", {"sort": sort}) for name in ("local-0", "bucket") for sort in ("size", "time")),
        (browse, {"name": "file-99"}),
        (browse, {"min_size": 4_000_000}),
        (browse, {"kind": "image", "sort": "size"}),
    ]
    for path, query in asked:
        yield f"{path}?{urlencode(query)}"
