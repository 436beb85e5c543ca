"""The services of files: looking into backends, changing, uploading, sharing, searching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.services.core_services import CoreServices, lazy

if TYPE_CHECKING:
    from dashboard.media.derivatives import DerivativeStore
    from dashboard.media.pipeline import Pipeline
    from dashboard.services.catalogue.saved_searches import SavedSearches
    from dashboard.services.files.browse import Browse
    from dashboard.services.files.bucket_uploads import DirectUploads
    from dashboard.services.files.changing.across import AcrossBackends
    from dashboard.services.files.changing.deletions import Deletions
    from dashboard.services.files.changing.edits import FileEdits
    from dashboard.services.files.changing.file_changes import Changes, FileWrites
    from dashboard.services.files.changing.files_job import FilesJob
    from dashboard.services.files.changing.folder_changes import FolderChanges
    from dashboard.services.files.changing.local_transfers import LocalTransfers
    from dashboard.services.files.cleanup.old_files import OldFiles
    from dashboard.services.files.file_details import Details
    from dashboard.services.files.policies import UploadPolicies
    from dashboard.services.files.serving import Serving
    from dashboard.services.files.sharing.links import Links
    from dashboard.services.files.thumbnails import Thumbnails
    from dashboard.services.files.uploads import Uploads
    from dashboard.services.files.zips.zip_downloads import Zips


class FilesServices(CoreServices):
    """One of each. Thread-safe; shared by all requests of a process."""

    @lazy
    def links(self) -> Links:
        from dashboard.services.files.sharing.links import Links

        return Links(self.database, self.audit, self.backends)

    @lazy
    def zips(self) -> Zips:
        from dashboard.services.files.zips.zip_downloads import Zips

        return Zips(self.database, self.backends)

    @lazy
    def browse(self) -> Browse:
        from dashboard.services.files.browse import Browse

        return Browse(self.database, self.backends)

    @lazy
    def file_details(self) -> Details:
        from dashboard.services.files.file_details import Details

        return Details(self.database, self.backends)

    @lazy
    def file_writes(self) -> FileWrites:
        from dashboard.services.files.changing.file_changes import FileWrites

        return FileWrites(self.database, self.audit, self.backends)

    @lazy
    def file_changes(self) -> Changes:
        from dashboard.services.files.changing.file_changes import Changes

        return Changes(self.file_writes, self.catalogue)

    @lazy
    def deletions(self) -> Deletions:
        from dashboard.services.files.changing.deletions import Deletions

        return Deletions(self.file_writes, self.catalogue)

    @lazy
    def folder_changes(self) -> FolderChanges:
        from dashboard.services.files.changing.folder_changes import FolderChanges

        return FolderChanges(self.file_writes, self.catalogue, self.deletions)

    @lazy
    def across(self) -> AcrossBackends:
        from dashboard.services.files.changing.across import AcrossBackends

        return AcrossBackends(self.migrations)

    @lazy
    def local_transfers(self) -> LocalTransfers:
        from dashboard.services.files.changing.local_transfers import LocalTransfers

        return LocalTransfers(self.file_writes, self.catalogue)

    @lazy
    def file_edits(self) -> FileEdits:
        from dashboard.services.files.changing.edits import FileEdits

        return FileEdits(self.file_writes, self.catalogue)

    @lazy
    def uploads(self) -> Uploads:
        from dashboard.media.derivatives import DerivativeStore
        from dashboard.media.pipeline import Pipeline
        from dashboard.media.sandbox import Sandbox
        from dashboard.media.scan import ClamdScanner
        from dashboard.services.files.policies import UploadPolicies
        from dashboard.services.files.receiving.bucket_parts import BucketParts
        from dashboard.services.files.receiving.limits import Limits
        from dashboard.services.files.receiving.processing import Processing
        from dashboard.services.files.receiving.quarantine import Quarantine
        from dashboard.services.files.receiving.storing import Storing
        from dashboard.services.files.uploads import Uploads

        settings = self.settings
        quarantine = Quarantine(settings.instance / "uploads")
        policies = UploadPolicies(self.database, self.audit)
        limits = Limits(quarantine, policies, max_size=settings.max_upload_size, quota=settings.upload_quota)
        pipeline = Pipeline(Sandbox(), ClamdScanner(settings.clamav) if settings.clamav else None)
        processing = Processing(
            self.database,
            quarantine,
            limits,
            pipeline=pipeline,
            derivatives=DerivativeStore(settings.instance / "thumbnails", pipeline),
            storing=Storing(self.database, self.audit, self.backends, self.catalogue),
            parts=BucketParts(self.backends),
        )
        return Uploads(self.database, self.backends, quarantine, limits, processing)

    @property
    def upload_policies(self) -> UploadPolicies:
        """What may be uploaded, and what is done to it."""
        return self.uploads.policies

    @property
    def pipeline(self) -> Pipeline:
        """Checks what is uploaded."""
        return self.uploads.processing.pipeline

    @property
    def derivatives(self) -> DerivativeStore:
        """Thumbnails and other images made from files."""
        return self.uploads.processing.derivatives

    @lazy
    def direct_uploads(self) -> DirectUploads:
        from dashboard.services.files.bucket_uploads import DirectUploads

        return DirectUploads(self.database, self.backends, self.uploads)

    @lazy
    def saved_searches(self) -> SavedSearches:
        from dashboard.services.catalogue.saved_searches import SavedSearches

        return SavedSearches(self.database)

    @lazy
    def old_files(self) -> OldFiles:
        from dashboard.services.files.cleanup.old_files import OldFiles

        return OldFiles(self.database, self.audit, self.backends, self.catalogue)

    @lazy
    def files_job(self) -> FilesJob:
        from dashboard.services.files.changing.files_job import FilesJob
        from dashboard.services.files.cleanup.old_file_deletion import OldFileDeletion
        from dashboard.services.files.cleanup.unused_derivatives import UnusedDerivatives

        return FilesJob(
            self.catalogue,
            self.folder_changes,
            self.deletions,
            OldFileDeletion(self.database, self.audit, self.backends),
            UnusedDerivatives(self.database, self.derivatives),
        )

    @lazy
    def serving(self) -> Serving:
        from dashboard.services.files.serving import Serving

        return Serving(self.database, self.backends)

    @lazy
    def thumbnails(self) -> Thumbnails:
        from dashboard.services.files.thumbnails import Thumbnails

        return Thumbnails(self.serving, self.derivatives, self.catalogue, self.backends)
