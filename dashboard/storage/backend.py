"""The facade application code works with: a named backend with everything a driver leaves out."""

from __future__ import annotations

from dashboard.storage.driver import Driver
from dashboard.storage.operations import Operations


class Backend(Operations):
    """One backend by name. Thread-safe; see ``Operations`` for what it does."""

    def __init__(self, name: str, driver: Driver) -> None:
        self.name = name
        self._driver = driver

    @property
    def driver(self) -> Driver:
        """The driver that does the work."""
        return self._driver
