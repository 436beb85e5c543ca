"""The newest migrations and all backends, read once per request however many parts of a page ask."""

from __future__ import annotations

from flask import g

from dashboard.migration.types import Progress
from dashboard.services.backends import BackendInfo
from dashboard.web.context import services

RECENT = 20
"""What is older than this many migrations is neither running nor news."""


def recent_migrations() -> tuple[Progress, ...]:
    """Newest first."""
    if "stowage_migrations" not in g:
        g.stowage_migrations = services().migrations.list(limit=RECENT)
    found: tuple[Progress, ...] = g.stowage_migrations
    return found


def all_backends() -> tuple[BackendInfo, ...]:
    """In the services' order: the active one, the fallback order, the others."""
    if "stowage_backends" not in g:
        g.stowage_backends = services().backends.list()
    found: tuple[BackendInfo, ...] = g.stowage_backends
    return found
