"""Test objects that a killed connection test left behind: recorded before they are written, removed later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import delete, select

from dashboard.errors import Kind, StowageError
from dashboard.models.schedules import ProbeObject
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.probe_steps import CANARY, TEST_OBJECT

log = logging.getLogger(__name__)

AFTER_SECONDS = 86_400.0
"""The age at which a test object is treated as a leftover."""


class ProbeObjects:
    """Thread-safe. Only keys that this console recorded, and that look like those of test objects, are
    deleted later: what another console or a person wrote is left alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, backend_id: int | None) -> Callable[[str, bool], None]:
        """What a probe of a backend calls with its test object; see ``storage.probe.probe``. Nothing is
        recorded of a backend that is not saved."""
        return partial(self._note, backend_id) if backend_id is not None else lambda key, there: None

    def is_own(self, backend_id: int, driver: Driver, key: str) -> bool:
        """Whether a listed key is a test object of a check that is under way, or was when it was listed. Asks
        the server only for names that look like those of test objects. Raises ``StorageError``."""
        if not key.startswith(CANARY) or not TEST_OBJECT.match(key):
            return False
        with self._database.read() as session:
            row = session.get(ProbeObject, key)
        if row is not None:
            return row.backend_id == backend_id
        try:
            driver.stat(key)
        except StorageError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return True
        return False

    def clean(self, backends: Backends, stop: Callable[[], bool] = lambda: False) -> int:
        """Delete test objects that are still recorded after a day; return how many. Those of a backend that
        does not answer are left for the next time."""
        before = ProbeObject.at < time.time() - AFTER_SECONDS
        with self._database.read() as session:
            rows = session.scalars(select(ProbeObject).where(before).order_by(ProbeObject.at)).all()
        removed = 0
        for row in rows:
            if stop():
                break
            name = backends.name_of(row.backend_id)
            if name is not None and TEST_OBJECT.match(row.key):
                try:
                    backends.driver(name, label="check").delete(row.key)
                except StowageError as error:
                    log.warning("The test object %s in “%s” could not be removed: %s", row.key, name, error)
                    continue
                removed += 1
            self._forget(row.key)
        return removed

    def _note(self, backend_id: int, key: str, there: bool) -> None:
        try:
            if not there:
                self._forget(key)
                return
            with self._database.write() as session:
                session.merge(ProbeObject(key=key, backend_id=backend_id, at=time.time()))
        except StowageError as error:
            # A busy database is no reason to call a backend broken.
            log.warning("The test object %s could not be recorded: %s", key, error)

    def _forget(self, key: str) -> None:
        with self._database.write() as session:
            session.execute(delete(ProbeObject).where(ProbeObject.key == key))
