"""Backends: reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.backends.backends import BackendInfo, Status
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.etags import ETAG, etag
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.context import services

resource = Resource("Backends", "Configured places that hold objects.")


@dataclass(frozen=True, slots=True)
class BackendDetails:
    """A backend. Of a secret only whether it is set; `version` counts edits, and is its ETag."""

    name: str
    driver: str
    preset: str
    summary: str
    options: Mapping[str, str]
    secrets_set: tuple[str, ...]
    active: bool
    fallback_position: int | None
    version: int
    status: Status


@dataclass(frozen=True, slots=True)
class BackendList:
    """A page of backends: the active one, then the fallback order, then by name."""

    backends: tuple[BackendDetails, ...]
    next_cursor: str | None


@resource.route("GET", "/backends", Permission.VIEW, query=Page, returns=BackendList)
def index(query: Page) -> BackendList:
    """List the backends."""
    (offset,) = cursors.decode(query.cursor, "backends", int) or (0,)
    found = services().backends.list(offset=offset, limit=query.limit + 1)
    shown, more = cursors.page_of(found, query.limit)
    return BackendList(
        tuple(details(backend) for backend in shown),
        cursors.encode("backends", offset + query.limit) if more else None,
    )


@resource.route("GET", "/backends/<name>", Permission.VIEW, returns=BackendDetails, response_headers=(ETAG,))
def show(name: str) -> Reply:
    """Return one backend."""
    return reply(services().backends.get(name))


def reply(backend: BackendInfo, status: int = 200, **headers: str) -> Reply:
    """A backend with its ETag."""
    return Reply(details(backend), status, {"ETag": etag(backend.version), **headers})


def details(backend: BackendInfo) -> BackendDetails:
    """A backend as the API shows it."""
    return BackendDetails(
        name=backend.name,
        driver=backend.driver,
        preset=backend.preset,
        summary=backend.summary,
        options=backend.options,
        secrets_set=tuple(sorted(backend.secrets)),
        active=backend.active,
        fallback_position=backend.fallback_position,
        version=backend.version,
        status=backend.status,
    )
