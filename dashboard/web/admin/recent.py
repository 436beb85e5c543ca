"""The newest migrations, queried once per request, however many parts of a page need them."""

from __future__ import annotations

from flask import g

from dashboard.migration.types import Progress
from dashboard.web.context import services

MAX_RECENT = 20
"""Migrations older than this many are neither running nor of interest."""


def recent_migrations() -> tuple[Progress, ...]:
    """Return them, newest first."""
    if "stowage_migrations" not in g:
        g.stowage_migrations = services().migrations.list(limit=MAX_RECENT)
    recent: tuple[Progress, ...] = g.stowage_migrations
    return recent
