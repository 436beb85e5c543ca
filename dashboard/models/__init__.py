"""Tables and small invariants; no I/O. Importing this package registers every table."""

from __future__ import annotations

from dashboard.models import accounts, backends, base, journal, migrations, schedule, waiting, work

WORK_BIND = base.WORK_BIND
main_metadata = base.Model.metadata
work_metadata = work.metadata

__all__ = [
    "WORK_BIND",
    "accounts",
    "backends",
    "base",
    "journal",
    "main_metadata",
    "migrations",
    "schedule",
    "waiting",
    "work",
    "work_metadata",
]
