"""Thumbnails whose files are gone: removed once no row of the catalogue has their checksum any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import select

from dashboard.media.derivatives import DerivativeStore
from dashboard.models.catalogue import files
from dashboard.services.database import Database

log = logging.getLogger(__name__)


class UnusedDerivatives:
    """Thread-safe. A copy of a file anywhere keeps its thumbnails."""

    def __init__(self, database: Database, store: DerivativeStore) -> None:
        self._database = database
        self._store = store

    def sweep(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Remove them; return of how many files. Idempotent; ``stop`` ends it early without harm."""
        removed = self._store.sweep(self._known, stop)
        if removed:
            log.info("The thumbnails of %d files that are gone were removed", removed)
        return removed

    def _known(self, digests: Sequence[str]) -> set[str]:
        query = select(files.c.sha256).where(files.c.sha256.in_(digests), files.c.sha256 != "").distinct()
        with self._database.work_read() as connection:
            return set(connection.scalars(query))
