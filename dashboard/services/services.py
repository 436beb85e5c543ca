"""Everything the console and the command line may ask for, put together by ``dashboard.app``."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.services.activation import Activation
from dashboard.services.audit import AuditLog
from dashboard.services.backends.place_settings import PlaceSettings
from dashboard.services.backends.probes import Probes
from dashboard.services.backends.service import Backends
from dashboard.services.backends.status import StatusBoard
from dashboard.services.database import Database
from dashboard.services.foundation import lay
from dashboard.services.homecoming import Homecoming
from dashboard.services.jobs import Jobs
from dashboard.services.keys import Keys
from dashboard.services.migrations.leftovers import Leftovers
from dashboard.services.migrations.service import Migrations
from dashboard.services.migrations.work import MigrationWork
from dashboard.services.people.accounts import Accounts
from dashboard.services.people.setup import Setup
from dashboard.services.runner import Runner
from dashboard.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """One of each. Thread-safe; shared by all requests of a process."""

    settings: Settings
    database: Database
    setup: Setup
    accounts: Accounts
    audit: AuditLog
    keys: Keys
    backends: Backends
    status: StatusBoard
    activation: Activation
    probes: Probes
    place_settings: PlaceSettings
    migrations: Migrations
    homecoming: Homecoming
    runner: Runner

    def close(self) -> None:
        """Free drivers and connections. Idempotent."""
        self.probes.close()
        self.backends.close()
        self.database.close()


def compose(settings: Settings, database: Database) -> Services:
    """Put all services together over an open database; on the very first run this makes the key."""
    base = lay(settings, database)
    activation = Activation(database, base.audit, base.backends)
    migrations = Migrations(database, base.audit)
    work = MigrationWork(database, base.audit, base.backends, most_workers=settings.max_workers)
    homecoming = Homecoming(database, base.audit, base.backends)
    runner = Runner(
        settings.instance,
        jobs=Jobs(database),
        keys=base.keys,
        checks=base.checks,
        migrations=migrations,
        work=work,
        activation=activation,
        homecoming=homecoming,
        leftovers=Leftovers(database, base.backends, base.keys),
    )
    return Services(
        settings=settings,
        database=database,
        setup=base.setup,
        accounts=base.accounts,
        audit=base.audit,
        keys=base.keys,
        backends=base.backends,
        status=base.status,
        activation=activation,
        probes=base.probes,
        place_settings=base.place_settings,
        migrations=migrations,
        homecoming=homecoming,
        runner=runner,
    )
