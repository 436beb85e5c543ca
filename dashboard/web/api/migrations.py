"""Migrations: reading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import jsonify
from werkzeug.wrappers import Response

from dashboard.migration.types import CarrierProgress, Counters, InFlight, Outcome, Spec, State
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Resource
from dashboard.web.context import services

resource = Resource("Migrations", "Runs of copying objects from one backend to another.")


@dataclass(frozen=True, slots=True)
class MigrationCounters(Counters):
    """Exact totals. Every found object is in exactly one of pending or in flight (the remainder), copied,
    skipped, failed."""

    done: int = 0
    done_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MigrationDetails:
    """A migration and its progress, as in docs/cli.md. Times in seconds since the epoch, durations in
    seconds, sizes in bytes, rates per second."""

    id: int
    source: str
    destination: str
    spec: Spec
    state: State
    outcome: Outcome | None
    counters: MigrationCounters
    in_flight: tuple[InFlight, ...]
    at_once: int
    limited_by: str
    carriers: tuple[CarrierProgress, ...]
    rate_bytes: float
    rate_objects: float
    elapsed: float
    eta: tuple[float, float] | None
    stopping: bool
    message: str
    remedy: str
    created_by: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    percent: float


@dataclass(frozen=True, slots=True)
class MigrationList:
    """A page of migrations, newest first."""

    migrations: tuple[MigrationDetails, ...]
    next_cursor: str | None


@resource.route("GET", "/migrations", Permission.VIEW, query=Page, returns=MigrationList)
def index(query: Page) -> Response:
    """List the migrations."""
    position = cursors.decode(query.cursor, "migrations", int)
    found = services().migrations.list(limit=query.limit, before_id=position[0] if position else None)
    # A full page may be the last one; then the next is empty.
    last = found[-1].id if len(found) == query.limit else None
    return jsonify(
        migrations=[each.as_dict() for each in found],
        next_cursor=cursors.encode("migrations", last) if last is not None else None,
    )


@resource.route("GET", "/migrations/<int:id>", Permission.VIEW, returns=MigrationDetails)
def show(id: int) -> dict[str, Any]:
    """Return one migration and its progress."""
    return services().migrations.progress(id).as_dict()
