"""Everything that the console and the command line use, composed in one place."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.media.derivatives import DerivativeStore
from dashboard.media.pipeline import Pipeline
from dashboard.media.sandbox import Sandbox
from dashboard.media.scan import ClamdScanner
from dashboard.services.attention.gathering import Attention
from dashboard.services.audit import AuditLog
from dashboard.services.auditing.chain import AuditChain
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.bucket_settings import BucketSettings
from dashboard.services.backends.checks import Checks
from dashboard.services.backends.machine_folders import folder_policy
from dashboard.services.backends.probes import Probes
from dashboard.services.backends.status import StatusBoard
from dashboard.services.backups.backups import Backups
from dashboard.services.backups.storing_backups import BackupStore
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.catalogue.saved_searches import SavedSearches
from dashboard.services.database import Database
from dashboard.services.environment.editor import EnvironmentEditor
from dashboard.services.environment.live_settings import LiveSettings
from dashboard.services.fallback.write_back import WriteBack
from dashboard.services.files.browse import Browse
from dashboard.services.files.bucket_uploads import DirectUploads
from dashboard.services.files.changing.across import AcrossBackends
from dashboard.services.files.changing.deletions import Deletions
from dashboard.services.files.changing.edits import FileEdits
from dashboard.services.files.changing.file_changes import Changes, FileWrites
from dashboard.services.files.changing.files_job import FilesJob
from dashboard.services.files.changing.folder_changes import FolderChanges
from dashboard.services.files.changing.local_transfers import LocalTransfers
from dashboard.services.files.cleanup.old_file_deletion import OldFileDeletion
from dashboard.services.files.cleanup.old_files import OldFiles
from dashboard.services.files.cleanup.unused_derivatives import UnusedDerivatives
from dashboard.services.files.file_details import Details
from dashboard.services.files.policies import UploadPolicies
from dashboard.services.files.receiving.bucket_parts import BucketParts
from dashboard.services.files.receiving.limits import Limits
from dashboard.services.files.receiving.processing import Processing
from dashboard.services.files.receiving.quarantine import Quarantine
from dashboard.services.files.receiving.storing import Storing
from dashboard.services.files.serving import Serving
from dashboard.services.files.sharing.links import Links
from dashboard.services.files.thumbnails import Thumbnails
from dashboard.services.files.uploads import Uploads
from dashboard.services.files.zips.zip_downloads import Zips
from dashboard.services.history.history import History
from dashboard.services.jobs import Jobs
from dashboard.services.keys import Keys
from dashboard.services.logs import set_level
from dashboard.services.migrations.job_handler import MigrationHandler
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.migrations.unfinished_uploads import UnfinishedUploads
from dashboard.services.notifications.notifications import Notifications, Sources
from dashboard.services.people.accounts import Accounts
from dashboard.services.people.passwords import Passwords
from dashboard.services.people.setup import Setup
from dashboard.services.people.tokens import Tokens
from dashboard.services.runner import Housekeeping, MigrationWork, Runner
from dashboard.services.schedules.schedule_services import Schedules, compose_schedules
from dashboard.services.switching.activation import Activation
from dashboard.services.upkeep.readiness import Readiness
from dashboard.services.upkeep.upkeep import Upkeep
from dashboard.services.usage.usage_services import FileServices, UsageServices, compose_usage
from dashboard.settings import Settings
from dashboard.storage.registry import MachinePolicy
from dashboard.vault.keyring import KeyFile


@dataclass(frozen=True, slots=True)
class Services:
    """One of each. Thread-safe; shared by all requests of a process."""

    live: LiveSettings
    database: Database
    setup: Setup
    accounts: Accounts
    tokens: Tokens
    audit: AuditLog
    keys: Keys
    backends: Backends
    status: StatusBoard
    checks: Checks
    activation: Activation
    probes: Probes
    bucket_settings: BucketSettings
    migrations: Migrations
    jobs: Jobs
    write_back: WriteBack
    catalogue: Catalogue
    links: Links
    zips: Zips
    browse: Browse
    file_details: Details
    file_changes: Changes
    deletions: Deletions
    folder_changes: FolderChanges
    across: AcrossBackends
    local_transfers: LocalTransfers
    file_edits: FileEdits
    uploads: Uploads
    direct_uploads: DirectUploads
    saved_searches: SavedSearches
    old_files: OldFiles
    serving: Serving
    thumbnails: Thumbnails
    usage: UsageServices
    runner: Runner
    upkeep: Upkeep
    notifications: Notifications
    environment: EnvironmentEditor
    schedules: Schedules

    @property
    def readiness(self) -> Readiness:
        """Whether each part of the console works."""
        return Readiness(
            self.database, setup=self.setup, keys=self.keys, runner=self.runner, upkeep=self.upkeep
        )

    @property
    def settings(self) -> Settings:
        """The settings that count now."""
        return self.live.current

    @property
    def backups(self) -> Backups:
        """Backups of the console itself."""
        return self.schedules.backups

    @property
    def history(self) -> History:
        """What the checks of backends found, over time."""
        return self.status.history

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

    def close(self) -> None:
        """Free drivers and connections. Idempotent."""
        self.pipeline.sandbox.close()
        self.probes.close()
        self.backends.close()
        self.database.close()


def compose(settings: Settings, database: Database, *, passwords: Passwords | None = None) -> Services:
    """Compose all services over an upgraded database. The first run creates the key; see ``keys.state``."""
    live, upkeep = LiveSettings(settings), Upkeep(settings, database)
    audit, keys = _compose_audit(settings, database)
    accounts = Accounts(database, audit, keys, passwords)
    machine, caches = _machine_policy(settings), settings.instance / "cache"
    backends = Backends(database, audit, keys, machine=machine, caches=caches)
    status, catalogue, jobs = StatusBoard(database), Catalogue(database), Jobs(database)
    checks, activation = Checks(backends, status, keys, catalogue), Activation(database, audit, backends)
    migrations, write_back = Migrations(database, audit), WriteBack(database, audit, backends)
    uploads = _compose_uploads(settings, database, audit, backends, catalogue)
    cleanup = _compose_cleanup(database, audit, backends, uploads.processing.derivatives)
    writes, serving = FileWrites(database, audit, backends), Serving(database, backends)
    deletions, archives = Deletions(writes, catalogue), BackupStore(settings, database, backends, keys)
    folder_changes = FolderChanges(writes, catalogue, deletions)
    usage = compose_usage(database, audit, status.history, catalogue, FileServices(writes, deletions))
    handler = MigrationHandler(database, audit, backends, max_workers=settings.max_workers)
    schedules = compose_schedules(database, audit, backends, migrations, archives)
    attention = Attention(database, write_back, serving.fallback_reads, status.history, upkeep, schedules)
    notifications = Notifications(database, audit, keys, Sources(attention, backends, migrations, live))
    services = Services(
        live=live,
        schedules=schedules,
        notifications=notifications,
        environment=EnvironmentEditor(database, audit, accounts, live),
        database=database,
        setup=Setup(
            settings, database, audit, keys=keys, accounts=accounts, backends=backends, checks=checks
        ),
        accounts=accounts,
        tokens=Tokens(database, audit, requests_per_minute=settings.api_requests_per_minute),
        audit=audit,
        keys=keys,
        backends=backends,
        status=status,
        checks=checks,
        activation=activation,
        upkeep=upkeep,
        probes=Probes(database, audit, backends, status),
        bucket_settings=BucketSettings(database, audit, backends),
        migrations=migrations,
        jobs=jobs,
        write_back=write_back,
        catalogue=catalogue,
        links=Links(database, audit, backends),
        zips=Zips(database, backends),
        browse=Browse(database, backends),
        file_details=Details(database, backends),
        saved_searches=SavedSearches(database),
        old_files=OldFiles(database, audit, backends, catalogue),
        serving=serving,
        thumbnails=Thumbnails(serving, uploads.processing.derivatives, catalogue, backends),
        uploads=uploads,
        direct_uploads=DirectUploads(database, backends, uploads),
        file_changes=Changes(writes, catalogue),
        deletions=deletions,
        folder_changes=folder_changes,
        usage=usage,
        across=AcrossBackends(migrations),
        local_transfers=LocalTransfers(writes, catalogue),
        file_edits=FileEdits(writes, catalogue),
        runner=Runner(
            live,
            database,
            jobs=jobs,
            keys=keys,
            checks=checks,
            work=MigrationWork(migrations, handler, UnfinishedUploads(database, backends, keys)),
            activation=activation,
            write_back=write_back,
            uploads=uploads.processing,
            files=FilesJob(catalogue, folder_changes, deletions, *cleanup),
            housekeeping=Housekeeping(upkeep, audit, usage, schedules, notifications),
        ),
    )
    live.subscribe(lambda before, now: _follow(services, handler, before, now))
    return services


def _follow(services: Services, handler: MigrationHandler, before: Settings, now: Settings) -> None:
    """Apply settings that changed while this process runs; what is not here asks ``Services.settings``."""
    handler.max_workers = now.max_workers
    services.uploads.limits.change(max_size=now.max_upload_size, quota=now.upload_quota)
    if now.api_requests_per_minute != before.api_requests_per_minute:
        services.tokens.limit_requests(now.api_requests_per_minute)
    if now.clamav != before.clamav:
        services.pipeline.scanner = ClamdScanner(now.clamav) if now.clamav else None
    if now.log_level != before.log_level:
        set_level(now.log_level)


def _compose_audit(settings: Settings, database: Database) -> tuple[AuditLog, Keys]:
    key_file = KeyFile(settings.key_file)
    audit = AuditLog(database, AuditChain(key_file, settings.instance))
    keys = Keys(database, key_file, audit)
    keys.prepare()
    audit.chain_earlier_rows()
    audit.prepare_search()
    return audit, keys


def _compose_cleanup(
    database: Database, audit: AuditLog, backends: Backends, store: DerivativeStore
) -> tuple[OldFileDeletion, UnusedDerivatives]:
    return OldFileDeletion(database, audit, backends), UnusedDerivatives(database, store)


def _machine_policy(settings: Settings) -> MachinePolicy:
    # Without the setting an admin of the console does not gain what this machine may do.
    return MachinePolicy(folder_policy(settings), frozenset(settings.machine_credentials))


def _compose_uploads(
    settings: Settings, database: Database, audit: AuditLog, backends: Backends, catalogue: Catalogue
) -> Uploads:
    policies = UploadPolicies(database, audit)
    quarantine = Quarantine(settings.instance / "uploads")
    limits = Limits(quarantine, policies, max_size=settings.max_upload_size, quota=settings.upload_quota)
    scanner = ClamdScanner(settings.clamav) if settings.clamav else None
    pipeline = Pipeline(Sandbox(), scanner)
    derivatives = DerivativeStore(settings.instance / "thumbnails", pipeline)
    storing = Storing(database, audit, backends, catalogue)
    processing = Processing(
        database,
        quarantine,
        limits,
        pipeline=pipeline,
        derivatives=derivatives,
        storing=storing,
        parts=BucketParts(backends),
    )
    return Uploads(database, backends, quarantine, limits, processing)
