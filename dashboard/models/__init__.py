"""Tables and small invariants; no I/O. Importing this package registers every table."""

from __future__ import annotations

from dashboard.models import (
    audit_search,
    backends,
    backups,
    base,
    catalogue,
    console,
    history,
    migrations,
    notifications,
    schedules,
    sharing,
    usage,
    waiting,
    work,
)

WORK_BIND = base.WORK_BIND
main_metadata = base.Model.metadata
work_metadata = work.metadata

__all__ = [
    "WORK_BIND",
    "audit_search",
    "backends",
    "backups",
    "base",
    "catalogue",
    "console",
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
]
