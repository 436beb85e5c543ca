"""The services that need neither runner nor migrations, put together. ``services.compose`` adds the rest."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.services.audit import AuditLog
from dashboard.services.backends.checks import Checks
from dashboard.services.backends.local_folders import folder_policy
from dashboard.services.backends.place_settings import PlaceSettings
from dashboard.services.backends.probes import Probes
from dashboard.services.backends.service import Backends
from dashboard.services.backends.status import StatusBoard
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.people.accounts import Accounts
from dashboard.services.people.passwords import Passwords
from dashboard.services.people.setup import Setup
from dashboard.settings import Settings
from dashboard.vault.keyring import KeyFile


@dataclass(frozen=True, slots=True)
class Foundation:
    """One of each, sharing one database. Thread-safe."""

    audit: AuditLog
    keys: Keys
    accounts: Accounts
    backends: Backends
    status: StatusBoard
    checks: Checks
    probes: Probes
    place_settings: PlaceSettings
    setup: Setup


def lay(settings: Settings, database: Database, *, passwords: Passwords | None = None) -> Foundation:
    """Put the services together and, on the very first run, make the key.

    The tables must be there. A missing or foreign key is no error here: see ``keys.state``.
    """
    audit = AuditLog(database)
    keys = Keys(database, KeyFile(settings.key_file), audit)
    keys.prepare()
    accounts = Accounts(database, audit, keys, passwords)
    caches = settings.instance / "cache"
    backends = Backends(database, audit, keys, folders=folder_policy(settings), caches=caches)
    status = StatusBoard(database)
    checks = Checks(backends, status, keys)
    probes = Probes(database, audit, backends, status)
    setup = Setup(
        settings,
        database=database,
        audit=audit,
        keys=keys,
        accounts=accounts,
        backends=backends,
        checks=checks,
    )
    places = PlaceSettings(database, audit, backends)
    return Foundation(audit, keys, accounts, backends, status, checks, probes, places, setup)
