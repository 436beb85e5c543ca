"""Everything that the console and the command line use, composed in one place.

Each service is composed, and its modules are loaded, when it is first used: ``stowage migrate`` copies its
first object without loading what pages need. Processes that serve for long compose all at their start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.services.core_services import lazy
from dashboard.services.database import Database
from dashboard.services.files.files_services import FilesServices
from dashboard.services.logs import set_level
from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.services.attention.gathering import Attention
    from dashboard.services.backends.bucket_settings import BucketSettings
    from dashboard.services.backends.probes import Probes
    from dashboard.services.backups.backups import Backups
    from dashboard.services.consoles.presence import Presence
    from dashboard.services.consoles.working import Working
    from dashboard.services.environment.editor import EnvironmentEditor
    from dashboard.services.fallback.write_back import WriteBack
    from dashboard.services.migrations.carrying.remote import Remote
    from dashboard.services.migrations.job_handler import MigrationHandler
    from dashboard.services.migrations.limiting.migration_limits import MigrationLimits
    from dashboard.services.migrations.unfinished_uploads import UnfinishedUploads
    from dashboard.services.notifications.notifications import Notifications
    from dashboard.services.people.accounts import Accounts
    from dashboard.services.people.passwords import Passwords
    from dashboard.services.people.setup import Setup
    from dashboard.services.people.tokens import Tokens
    from dashboard.services.runner import Runner
    from dashboard.services.schedules.schedule_services import Schedules
    from dashboard.services.switching.activation import Activation
    from dashboard.services.upkeep.readiness import Readiness
    from dashboard.services.upkeep.upkeep import Upkeep
    from dashboard.services.usage.usage_services import UsageServices
    from dashboard.services.workers.workers import Workers


class Services(FilesServices):
    """One of each. Thread-safe; shared by all requests of a process."""

    def __init__(self, settings: Settings, database: Database, *, passwords: Passwords | None = None) -> None:
        super().__init__(settings, database)
        self._passwords = passwords
        self.live.subscribe(self._follow)

    @lazy
    def accounts(self) -> Accounts:
        from dashboard.services.people.accounts import Accounts

        return Accounts(self.database, self.audit, self.keys, self._passwords)

    @lazy
    def tokens(self) -> Tokens:
        from dashboard.services.people.tokens import Tokens

        limit = self.settings.api_requests_per_minute
        return Tokens(self.database, self.audit, requests_per_minute=limit)

    @lazy
    def setup(self) -> Setup:
        from dashboard.services.people.setup import Setup

        return Setup(
            self.live.started,
            self.database,
            self.audit,
            keys=self.keys,
            accounts=self.accounts,
            backends=self.backends,
            checks=self.checks,
        )

    @lazy
    def activation(self) -> Activation:
        from dashboard.services.switching.activation import Activation

        return Activation(self.database, self.audit, self.backends)

    @lazy
    def probes(self) -> Probes:
        from dashboard.services.backends.probes import Probes

        return Probes(self.database, self.audit, self.backends, self.status)

    @lazy
    def bucket_settings(self) -> BucketSettings:
        from dashboard.services.backends.bucket_settings import BucketSettings

        return BucketSettings(self.database, self.audit, self.backends)

    @lazy
    def migration_handler(self) -> MigrationHandler:
        from dashboard.services.migrations.job_handler import MigrationHandler

        return MigrationHandler(
            self.database, self.audit, self.backends, lambda: self.settings, self._remote()
        )

    def _remote(self) -> Remote | None:
        """What asks workers to carry, where there is a broker."""
        if not self.settings.broker_url:
            return None
        from dashboard.services.cluster.messages import JobMessages
        from dashboard.services.migrations.carrying.remote import Remote

        return Remote(self.database, self.workers, JobMessages(self.settings.broker_url))

    @lazy
    def migration_limits(self) -> MigrationLimits:
        from dashboard.services.migrations.limiting.migration_limits import MigrationLimits

        return MigrationLimits(self.database, self.audit, lambda: self.settings)

    @lazy
    def unfinished_uploads(self) -> UnfinishedUploads:
        from dashboard.services.migrations.unfinished_uploads import UnfinishedUploads

        return UnfinishedUploads(self.database, self.backends, self.keys)

    @lazy
    def write_back(self) -> WriteBack:
        from dashboard.services.fallback.write_back import WriteBack

        return WriteBack(self.database, self.audit, self.backends)

    @lazy
    def usage(self) -> UsageServices:
        from dashboard.services.usage.usage_services import FileServices, compose_usage

        files = FileServices(self.file_writes, self.deletions)
        return compose_usage(self.database, self.audit, self.history, self.catalogue, files)

    @lazy
    def upkeep(self) -> Upkeep:
        from dashboard.services.upkeep.upkeep import Upkeep

        return Upkeep(self.live.started, self.database)

    @lazy
    def attention(self) -> Attention:
        from dashboard.services.attention.gathering import Attention

        return Attention(
            self.database,
            self.write_back,
            self.serving.fallback_reads,
            self.history,
            self.upkeep,
            self.schedules,
        )

    @lazy
    def notifications(self) -> Notifications:
        from dashboard.services.notifications.notifications import Notifications, Sources

        sources = Sources(self.attention, self.backends, self.migrations, self.live)
        return Notifications(self.database, self.audit, self.keys, sources)

    @lazy
    def environment(self) -> EnvironmentEditor:
        from dashboard.services.environment.editor import EnvironmentEditor

        return EnvironmentEditor(self.database, self.audit, self.accounts, self.live)

    @lazy
    def schedules(self) -> Schedules:
        from dashboard.services.backups.storing_backups import BackupStore
        from dashboard.services.schedules.schedule_services import compose_schedules

        archives = BackupStore(self.live.started, self.database, self.backends, self.keys)
        return compose_schedules(self.database, self.audit, self.backends, self.migrations, archives)

    @lazy
    def workers(self) -> Workers:
        from dashboard.services.workers.workers import Workers

        return Workers(self.database)

    @lazy
    def working(self) -> Working:
        from dashboard.services.consoles.working import Working

        return Working(self.database, self.jobs, self.runner, self.workers, self.migrations.progress)

    @lazy
    def presence(self) -> Presence:
        from dashboard.services.consoles.presence import Presence

        def each_second() -> None:
            self.live.poll()
            self.uploads.connections.give_way()

        return Presence(
            self.live.started.instance, self.database, settings=self.live.report, each_second=each_second
        )

    @lazy
    def runner(self) -> Runner:
        from dashboard.services.runner import Runner

        return Runner(self.live, self.database, self)

    @property
    def readiness(self) -> Readiness:
        """Whether each part of the console works."""
        from dashboard.services.upkeep.readiness import Readiness

        return Readiness(
            self.database, setup=self.setup, keys=self.keys, runner=self.runner, upkeep=self.upkeep
        )

    @property
    def backups(self) -> Backups:
        """Backups of the console itself."""
        return self.schedules.backups

    def close(self) -> None:
        """Free drivers and connections. Idempotent."""
        if self.is_composed("presence"):
            self.presence.stop()
        if self.is_composed("uploads"):
            self.pipeline.sandbox.close()
        if self.is_composed("probes"):
            self.probes.close()
        if self.is_composed("backends"):
            self.backends.close()
        self.database.close()

    def _follow(self, before: Settings, now: Settings) -> None:
        """Apply settings that changed while this process runs; what is not here asks for ``settings``."""
        # What is composed later begins with the settings of now.
        with self.composing:
            if self.is_composed("uploads"):
                self.uploads.limits.change(max_size=now.max_upload_size, quota=now.upload_quota)
                if now.clamav != before.clamav:
                    self._change_scanner(now.clamav)
            if self.is_composed("tokens") and now.api_requests_per_minute != before.api_requests_per_minute:
                self.tokens.limit_requests(now.api_requests_per_minute)
        if now.log_level != before.log_level:
            set_level(now.log_level)

    def _change_scanner(self, address: str | None) -> None:
        from dashboard.media.scan import ClamdScanner

        self.pipeline.scanner = ClamdScanner(address) if address else None


def compose(settings: Settings, database: Database, *, passwords: Passwords | None = None) -> Services:
    """The services over an upgraded database. The first run creates the key; see ``keys.state``."""
    return Services(settings, database, passwords=passwords)
