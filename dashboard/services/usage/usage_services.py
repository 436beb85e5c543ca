"""The services behind the Usage page, together."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.jobs.types import DONE, JobContext, JobResult
from dashboard.services.audit import AuditLog
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.database import Database
from dashboard.services.files.changing.deletions import Deletions
from dashboard.services.files.changing.file_changes import FileWrites
from dashboard.services.history.history import History
from dashboard.services.usage.duplicate_files import DuplicateFiles
from dashboard.services.usage.prices import Prices
from dashboard.services.usage.several_backends import SeveralBackends
from dashboard.services.usage.summing_up import SummingUp
from dashboard.services.usage.usage_reports import UsageReports


@dataclass(frozen=True, slots=True)
class UsageServices:
    """One of each. Thread-safe."""

    reports: UsageReports
    prices: Prices
    duplicates: DuplicateFiles
    several: SeveralBackends
    summing_up: SummingUp

    def run(self, context: JobContext) -> JobResult:
        """The runner's job."""
        return DONE if self.summing_up.run(context.should_stop) else JobResult(requeue=True)


@dataclass(frozen=True, slots=True)
class FileServices:
    """What deletes files."""

    writes: FileWrites
    deletions: Deletions


def compose_usage(
    database: Database, audit: AuditLog, history: History, catalogue: Catalogue, files: FileServices
) -> UsageServices:
    """Compose them."""
    several = SeveralBackends(database)
    reports = UsageReports(database, history, files.writes.backends.requests, several)
    duplicates = DuplicateFiles(database, reports, catalogue, files.writes, files.deletions)
    return UsageServices(reports, Prices(database, audit), duplicates, several, SummingUp(database, several))
