"""The services that all others are composed of, and how services are composed: when they are first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from dashboard.services.audit import AuditLog
from dashboard.services.auditing.chain import AuditChain
from dashboard.services.database import Database
from dashboard.services.environment.live_settings import LiveSettings
from dashboard.services.keys import Keys
from dashboard.settings import Settings
from dashboard.vault.keyring import KeyFile

if TYPE_CHECKING:
    from dashboard.services.backends.backends import Backends
    from dashboard.services.backends.checks import Checks
    from dashboard.services.backends.status import StatusBoard
    from dashboard.services.catalogue.catalogue import Catalogue
    from dashboard.services.history.history import History
    from dashboard.services.jobs import Jobs
    from dashboard.services.migrations.migrations import Migrations

T = TypeVar("T")


class lazy(Generic[T]):  # used like ``property``
    """A service of a ``CoreServices`` that is composed, and whose modules are loaded, when it is first used.

    Thread-safe: there is one of each. The function must not wait for another thread.
    """

    def __init__(self, compose: Callable[[Any], T]) -> None:
        self._compose = compose
        self._name = compose.__name__
        self.__doc__ = compose.__doc__

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> Self: ...

    @overload
    def __get__(self, owner: CoreServices, kind: type[Any]) -> T: ...

    def __get__(self, owner: CoreServices | None, kind: type[Any]) -> Self | T:
        if owner is None:
            return self
        with owner.composing:
            if self._name not in owner.__dict__:
                # From now on the attribute hides this descriptor.
                owner.__dict__[self._name] = self._compose(owner)
            composed: T = owner.__dict__[self._name]
            return composed


class CoreServices:
    """One of each. Thread-safe; shared by all requests of a process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.composing = threading.RLock()
        """Held while a service is composed."""
        self.live = LiveSettings(settings)
        self.database = database
        key_file = KeyFile(settings.key_file)
        self.audit = AuditLog(database, AuditChain(key_file, settings.instance))
        self.keys = Keys(database, key_file, self.audit)
        self.keys.prepare()
        self.audit.chain_earlier_rows()
        self.audit.prepare_search()

    def is_composed(self, name: str) -> bool:
        """Whether the service has been used."""
        return name in self.__dict__

    def compose_all(self) -> Self:
        """Compose everything that is not composed yet, so that no request has to wait for it."""
        for kind in type(self).__mro__:
            for name, each in vars(kind).items():
                if isinstance(each, lazy):
                    getattr(self, name)
        return self

    @property
    def settings(self) -> Settings:
        """The settings that count now."""
        return self.live.current

    @lazy
    def jobs(self) -> Jobs:
        from dashboard.services.jobs import Jobs

        return Jobs(self.database)

    @lazy
    def backends(self) -> Backends:
        from dashboard.services.backends.backends import Backends
        from dashboard.services.backends.machine_folders import folder_policy
        from dashboard.storage.registry import MachinePolicy

        settings = self.live.started
        # Without the setting an admin of the console does not gain what this machine may do.
        machine = MachinePolicy(folder_policy(settings), frozenset(settings.machine_credentials))
        caches = settings.instance / "cache"
        return Backends(self.database, self.audit, self.keys, machine=machine, caches=caches)

    @lazy
    def status(self) -> StatusBoard:
        from dashboard.services.backends.status import StatusBoard

        return StatusBoard(self.database)

    @property
    def history(self) -> History:
        """What the checks of backends found, over time."""
        return self.status.history

    @lazy
    def catalogue(self) -> Catalogue:
        from dashboard.services.catalogue.catalogue import Catalogue

        return Catalogue(self.database)

    @lazy
    def checks(self) -> Checks:
        from dashboard.services.backends.checks import Checks

        return Checks(self.backends, self.status, self.keys, self.catalogue)

    @lazy
    def migrations(self) -> Migrations:
        from dashboard.services.migrations.migrations import Migrations

        return Migrations(self.database, self.audit)
