"""The services behind scheduled jobs, together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dashboard.jobs.timing import Timing
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.backups.backups import Backups
from dashboard.services.backups.storing_backups import BackupStore
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.database import Database
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.permissions import Actor
from dashboard.services.schedules.copy_runs import CopyCleanup
from dashboard.services.schedules.copy_starts import CopyStarts
from dashboard.services.schedules.recurring import Recurring
from dashboard.services.schedules.scheduled_copies import ScheduledCopies

COPY = "copy-"
"""The beginning of a scheduled copy's name; its number follows."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """One of each. Thread-safe. What is named here is a recurring job, such as ``counts``, or a scheduled
    copy, such as ``copy-3``."""

    copies: ScheduledCopies
    starts: CopyStarts
    cleanup: CopyCleanup
    recurring: Recurring
    backups: Backups

    def run_now(self, actor: Actor, name: str) -> int | None:
        """Run one now; return the migration's number if it is a copy. Raises ``NOT_FOUND``."""
        if (number := copy_number(name)) is not None:
            return self.starts.run_now(actor, number)
        self.recurring.run_now(actor, name)
        return None

    def switch(self, actor: Actor, name: str, *, enabled: bool) -> None:
        """Switch one on or off. Raises ``NOT_FOUND``, and ``InvalidInput`` for one that has to run."""
        if (number := copy_number(name)) is not None:
            self.copies.switch(actor, number, enabled=enabled)
        else:
            self.recurring.change(actor, name, enabled=enabled)

    def set_timing(self, actor: Actor, name: str, timing: Timing) -> None:
        """Change when one runs. Raises ``NOT_FOUND``, and ``InvalidInput`` naming the field."""
        number = copy_number(name)
        if number is None:
            self.recurring.change(actor, name, timing=timing)
            return
        self.copies.change(actor, number, replace(self.copies.get(number).plan, timing=timing))


def copy_number(name: str) -> int | None:
    """The number in the name of a scheduled copy; None for another name."""
    digits = name.removeprefix(COPY)
    return int(digits) if digits != name and digits.isascii() and digits.isdecimal() else None


def compose_schedules(
    database: Database, audit: AuditLog, backends: Backends, migrations: Migrations, archives: BackupStore
) -> Schedules:
    """Compose them."""
    backups = Backups(database, audit, archives)
    return Schedules(
        copies=ScheduledCopies(database, audit),
        starts=CopyStarts(database, audit, migrations),
        cleanup=CopyCleanup(database, backends),
        recurring=Recurring(database, audit, backups, Catalogue(database)),
        backups=backups,
    )
