"""The name rules of backends: probed once for each, and stored until its options change."""

from __future__ import annotations

import logging
import time

from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.models.backends import Backend, BackendNames
from dashboard.services.database import Database
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules

log = logging.getLogger(__name__)


class NameRulesStore:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, backend_id: int) -> NameRules | None:
        """The stored rules of the backend as it is configured now, or None."""
        with self._database.read() as session:
            backend, row = session.get(Backend, backend_id), session.get(BackendNames, backend_id)
            if backend is None or row is None or row.version != backend.version:
                return None
            return NameRules.from_json(row.rules)

    def save(self, backend_id: int, version: int, rules: NameRules) -> None:
        """Store what a driver of this version found. Does nothing if the backend was removed."""
        values = {"version": version, "rules": rules.to_json(), "learnt_at": time.time()}
        with self._database.write() as session:
            if session.get(Backend, backend_id) is None:
                return
            session.execute(
                upsert(BackendNames)
                .values(backend_id=backend_id, **values)
                .on_conflict_do_update(index_elements=["backend_id"], set_=values)
            )

    def get_or_probe(
        self, backend_id: int | None, version: int, driver: Driver, *, may_write: bool = True
    ) -> NameRules:
        """The stored rules, or those that a probe finds. Raises retryable errors of the probe. If
        ``may_write`` forbids a probe, the backend counts as one that keeps every name."""
        known = self.get(backend_id) if backend_id is not None else None
        if known is not None or not may_write or backend_id is None:
            return known or NameRules()
        try:
            rules = probe_name_rules(driver)
        except StorageError as error:
            if error.retryable:
                raise
            log.warning("What backend %d does with names could not be learnt: %s", backend_id, error)
            return NameRules()
        self.save(backend_id, version, rules)
        return rules
