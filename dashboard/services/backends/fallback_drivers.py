"""Drivers that fall back: wraps the driver of a saved backend with its stand-ins, its waiting writes and its
circuit breaker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import StowageError
from dashboard.jobs.types import JobKind
from dashboard.services.backends.values import Stored
from dashboard.services.database import Database
from dashboard.services.fallback.labels import WRITE_BACK
from dashboard.services.jobs import enqueue
from dashboard.storage.checks.wrappers import has_fallback
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.wrappers.fallback.circuit import CircuitBreaker
from dashboard.storage.wrappers.fallback.circuit_driver import BehindCircuitBreaker
from dashboard.storage.wrappers.fallback.hiding_waiting import HidingWaiting
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER

STAND_IN = "stand-in"
SERVING = "serving"
DIRECT_UPLOADS = "direct uploads"
REPLACED_FILES = "replaced files"

_ANY_WAITING = text("SELECT 1 FROM waiting_objects WHERE home_id = :home LIMIT 1")
"""In whatever state. Asked first, because nearly always there is none, and the rest need not be loaded."""

DriverOf = Callable[[str], Driver]
"""The driver of a backend that stands in, by name."""


def wrap_driver(
    database: Database,
    breakers: CircuitBreakers,
    stored: Stored,
    driver: Driver,
    *,
    label: str,
    driver_of: DriverOf,
) -> Driver:
    """Return the driver for the user of a label: the backend alone, without the writes that wait there for
    other backends, or with its stand-ins. Applications wait only once for a backend that does not respond."""
    if label == STAND_IN:
        return BehindCircuitBreaker(driver, breakers.get(stored, driver))
    if label == SERVING:
        return BehindCircuitBreaker(HidingWaiting(driver), breakers.get(stored, driver))
    if label.startswith((WRITE_BACK, REPLACED_FILES)) or label == DIRECT_UPLOADS:
        return driver
    if label or not has_fallback(stored.options):
        return HidingWaiting(driver)
    home = BehindCircuitBreaker(HidingWaiting(driver), breakers.get(stored, driver))
    # Only an application that reads and writes needs stand-ins.
    from dashboard.services.fallback.waiting_store import FallbackOrder, SqlWaitingStore
    from dashboard.storage.wrappers.fallback.driver import Fallback

    others = FallbackOrder(database, stored.id, driver_of, (stored.driver, stored.options))
    return Fallback(home, SqlWaitingStore(database, stored.id), others)


def with_waiting_writes(database: Database, stored: Stored, home: Driver, driver_of: DriverOf) -> Driver:
    """Return a driver that also shows the objects waiting to be written back; ``home`` itself if there are
    none."""
    with database.read() as session:
        if not session.execute(_ANY_WAITING, {"home": stored.id}).first():
            return home
        from dashboard.services.fallback.waiting_store import FallbackOrder, SqlWaitingStore, count_waiting

        if not count_waiting(session, stored.id):
            return home
    from dashboard.storage.wrappers.fallback.including_waiting import IncludingWaiting

    others = FallbackOrder(database, stored.id, driver_of, (stored.driver, stored.options))
    return IncludingWaiting(home, SqlWaitingStore(database, stored.id), others)


class CircuitBreakers:
    """One circuit breaker for each backend, shared by all its drivers in this process. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._breakers: dict[int, tuple[int, CircuitBreaker]] = {}

    def get(self, stored: Stored, driver: Driver) -> CircuitBreaker:
        """The breaker of a backend; a new one after an edit. Its probe uses ``driver``."""
        with self._lock:
            version, breaker = self._breakers.get(stored.id, (-1, None))
            if breaker is None or version != stored.version:
                breaker = CircuitBreaker(
                    lambda: driver.stat(f"{FOLDER}probe"), lambda error: self._report(stored, error)
                )
                self._breakers[stored.id] = stored.version, breaker
            return breaker

    def _report(self, stored: Stored, error: StorageError | None) -> None:
        """Record the error and queue a check by the runner, which writes back once the backend is healthy."""
        from dashboard.services.backends.status import Badge, StatusBoard

        # A failure here must not stop the read or write that found the error.
        with suppress(StowageError, SQLAlchemyError):
            if error is not None:
                others = ", so the fallback backends are used" if has_fallback(stored.options) else ""
                message = f"A program got no answer{others}: {error.reason}"
                StatusBoard(self._database).record_check(stored.id, Badge.DOWN, None, message, error.remedy)
            with self._database.write() as session:
                enqueue(session, JobKind.CHECK, stored.id)
