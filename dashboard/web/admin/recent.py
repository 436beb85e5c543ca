"""The newest migrations, read once per request however many parts of a page ask."""

from __future__ import annotations

from flask import g

from dashboard.migration.types import Progress
from dashboard.web.context import services

RECENT = 20
"""What is older than this many migrations is neither running nor news."""


def recent_migrations() -> tuple[Progress, ...]:
    """Newest first."""
    if "stowage_migrations" not in g:
        g.stowage_migrations = services().migrations.list(limit=RECENT)
    found: tuple[Progress, ...] = g.stowage_migrations
    return found
