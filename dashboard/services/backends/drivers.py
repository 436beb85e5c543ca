"""Drivers kept open between calls, one per backend and label, replaced when the backend is edited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dashboard.storage.driver import Driver

GRACE = 300.0
"""Seconds for which a replaced driver stays usable for reads that are in flight."""


class DriverCache:
    """Thread-safe. A replaced driver is closed after a while, so that a read in flight can end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, str], tuple[int, Driver]] = {}
        self._retired: list[tuple[float, Driver]] = []

    def get(self, backend_id: int, version: int, label: str, build: Callable[[], Driver]) -> Driver:
        """The driver of this version, built if needed. ``label`` separates users: a running migration keeps
        the driver it started with, while pages get that of the edited backend."""
        with self._lock:
            self._close_retired()
            found = self._open.get((backend_id, label))
            if found is not None and found[0] == version:
                return found[1]
            driver = build()
            if found is not None:
                self._retired.append((time.monotonic() + GRACE, found[1]))
            self._open[backend_id, label] = (version, driver)
            return driver

    def retire(self, backend_id: int, label: str) -> None:
        """The backend was edited or removed: forget its driver. Idempotent."""
        with self._lock:
            found = self._open.pop((backend_id, label), None)
            if found is not None:
                self._retired.append((time.monotonic() + GRACE, found[1]))
            self._close_retired()

    def release(self, label: str) -> None:
        """Close what was opened under a label: its user is done. Idempotent."""
        with self._lock:
            keys = [key for key in self._open if key[1] == label]
            drivers = [self._open.pop(key)[1] for key in keys]
        for driver in drivers:
            driver.close()

    def close(self) -> None:
        """Close everything. Idempotent."""
        with self._lock:
            drivers = [driver for _, driver in (*self._open.values(), *self._retired)]
            self._open.clear()
            self._retired.clear()
        for driver in drivers:
            driver.close()

    def _close_retired(self) -> None:
        now = time.monotonic()
        for until, driver in self._retired:
            if until <= now:
                driver.close()
        self._retired = [(until, driver) for until, driver in self._retired if until > now]
