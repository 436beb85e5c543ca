"""The job of the catalogue and of changes of files: one for the whole instance, with several tasks."""

from __future__ import annotations

from dashboard.jobs.types import JobContext, JobResult
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.changing.deletions import Deletions
from dashboard.services.files.changing.folder_changes import FolderChanges
from dashboard.services.files.cleanup.old_file_deletion import OldFileDeletion
from dashboard.services.files.cleanup.unused_derivatives import UnusedDerivatives


class FilesJob:
    """For the runner. Each task continues where it stopped, so the job may end at any time."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder_changes: FolderChanges,
        deletions: Deletions,
        old_files: OldFileDeletion,
        unused_derivatives: UnusedDerivatives,
    ) -> None:
        self._catalogue = catalogue
        self._old_files = old_files
        self._folder_changes = folder_changes
        self._deletions = deletions
        self._unused_derivatives = unused_derivatives

    def run(self, context: JobContext) -> JobResult:
        """Change folders, forget removed backends, delete old files, empty the trash of what expired, and
        remove the thumbnails of files that are gone."""
        stop = context.should_stop
        self._folder_changes.run(stop)
        self._catalogue.sweep(stop)
        finished = self._old_files.run(stop)
        if not stop():
            self._deletions.expire()
        self._unused_derivatives.sweep(stop)
        return JobResult(requeue=not finished or stop())
