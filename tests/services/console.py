"""A console without web and runner, on real files, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from dashboard.services.database import Database, prepare_instance
from dashboard.services.people.passwords import Passwords
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services, compose
from dashboard.settings import Settings
from tests.services.database_file import opened

ADMIN = Actor("ada", Role.ADMIN, "web", "192.0.2.1")
OPERATOR = Actor("olga", Role.OPERATOR, "web", "192.0.2.2")
VIEWER = Actor("vera", Role.VIEWER, "web", "192.0.2.3")
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class ServiceConsole:
    """What a test works with."""

    settings: Settings
    database: Database
    services: Services


@contextmanager
def started(folder: Path, *, hasher: PasswordHasher | None = None) -> Iterator[ServiceConsole]:
    """A console on ``folder``; starting it again on the same folder is a restart."""
    settings = Settings.from_env({}, instance=folder)
    prepare_instance(settings)
    with opened(folder) as database:
        services = compose(settings, database, passwords=Passwords(hasher))
        try:
            yield ServiceConsole(settings, database, services)
        finally:
            services.backends.close()
