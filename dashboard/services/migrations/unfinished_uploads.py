"""Abort unfinished uploads of migrations that could not be aborted when they failed."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import islice

from sqlalchemy import select

from dashboard.errors import StowageError
from dashboard.migration.types import State
from dashboard.models.migrations import Migration
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.storage.inspection.powers import KeepsUnfinished

log = logging.getLogger(__name__)

LEFTOVER_SECONDS = 86_400.0
"""The age at which an upload of a migration that has ended is treated as a leftover."""
MAX_MIGRATIONS = 100


class UnfinishedUploads:
    """Finds and aborts them. Thread-safe and idempotent."""

    def __init__(self, database: Database, backends: Backends, keys: Keys) -> None:
        self._database = database
        self._ledgers = LedgerQueries(database)
        self._backends = backends
        self._keys = keys

    def sweep(self, backend_id: int) -> int:
        """Abort a backend's unfinished uploads that are older than a day and have keys of migrations to it;
        return how many. Aborts none while such a migration is active, and never uploads of other programs.
        Errors of the backend are logged, not raised."""
        # Pages and short commands start without loading the engine.
        from dashboard.migration.leftovers import MAX_UPLOADS, abort_uploads
        from dashboard.migration.overlap import CLOCK_SKEW_SECONDS

        with self._database.read() as session:
            query = (
                select(Migration).where(Migration.destination_id == backend_id).order_by(Migration.id.desc())
            )
            migrations = [row for row in session.scalars(query.limit(MAX_MIGRATIONS)) if row.started_at]
        if not migrations or any(State(row.state).active for row in migrations):
            return 0
        aborted = 0
        try:
            name = self._backends.name_of(backend_id)
            if name is None or self._keys.state().sealed:
                return 0
            driver = self._backends.driver(name, label="check")
            if not isinstance(driver, KeepsUnfinished):
                return 0
            old = [
                each
                for each in islice(driver.unfinished(), MAX_UPLOADS)
                if each.begun < time.time() - LEFTOVER_SECONDS
            ]
            for row in migrations:
                recent = [each for each in old if each.begun >= (row.started_at or 0.0) - CLOCK_SKEW_SECONDS]
                done = abort_uploads(driver, recent, partial(self._ledgers.in_parts, row.id))
                old = [each for each in old if each not in done]
                aborted += len(done)
        except StowageError as error:
            log.warning("Unfinished uploads of backend %d could not be listed: %s", backend_id, error)
        if aborted:
            log.info("%d unfinished uploads of migrations to backend %d were aborted", aborted, backend_id)
        return aborted
