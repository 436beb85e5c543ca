"""Every table of both databases. To work with some of them, import only their modules: that is quicker."""

from __future__ import annotations

from dashboard.models import (
    audit_search,
    backends,
    backups,
    base,
    catalogue,
    console,
    consoles,
    files_by_day,
    history,
    migrations,
    notifications,
    schedules,
    sharing,
    usage,
    waiting,
    work,
    workers,
)

main_metadata = base.Model.metadata
work_metadata = work.metadata
METADATA = {"main": main_metadata, "work": work_metadata}
"""The tables of each database."""

__all__ = [
    "METADATA",
    "audit_search",
    "backends",
    "backups",
    "base",
    "catalogue",
    "console",
    "consoles",
    "files_by_day",
    "history",
    "main_metadata",
    "migrations",
    "notifications",
    "schedules",
    "sharing",
    "usage",
    "waiting",
    "work",
    "work_metadata",
    "workers",
]
