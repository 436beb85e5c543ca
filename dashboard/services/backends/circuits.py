"""Which backends do not answer this process, and telling the console so."""

from __future__ import annotations

import threading
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import StowageError
from dashboard.jobs.types import JobKind
from dashboard.services.backends.status import Badge, StatusBoard
from dashboard.services.backends.values import Stored
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.wrappers.fallback.circuit import CircuitBreaker
from dashboard.storage.wrappers.fallback.standing_in import FOLDER


class Circuits:
    """One breaker for each backend, shared by all its drivers in this process. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._breakers: dict[int, tuple[int, CircuitBreaker]] = {}

    def of(self, stored: Stored, place: Driver) -> CircuitBreaker:
        """The breaker of a backend; a new one once it was edited. ``place`` is what its probe asks."""
        with self._lock:
            version, breaker = self._breakers.get(stored.id, (-1, None))
            if breaker is None or version != stored.version:
                breaker = CircuitBreaker(
                    lambda: place.stat(f"{FOLDER}probe"), lambda trouble: self._tell(stored.id, trouble)
                )
                self._breakers[stored.id] = stored.version, breaker
            return breaker

    def _tell(self, backend_id: int, trouble: StorageError | None) -> None:
        """Show it, and have the runner look for itself: it sends home what waits once all is well."""
        # What was to be read or written goes on either way.
        with suppress(StowageError, SQLAlchemyError):
            if trouble is not None:
                said = f"A program got no answer, so others stand in: {trouble.reason}"
                StatusBoard(self._database).record_check(backend_id, Badge.DOWN, None, said, trouble.remedy)
            with self._database.write() as session:
                enqueue(session, JobKind.CHECK, backend_id)
