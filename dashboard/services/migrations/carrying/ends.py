"""The drivers of a migration's two ends, as the run and its carriers open them."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.errors import Kind, StowageError
from dashboard.models.migrations import Migration
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.fallback_drivers import REPLACED_FILES
from dashboard.services.database import Database
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.spec import AS_OF, REPLACED_IN, from_json
from dashboard.storage.driver import Driver


class MigrationEnds:
    """Opens and closes the drivers of one migration. ``should_stop`` ends waiting."""

    def __init__(
        self, database: Database, backends: Backends, row: Migration, should_stop: Callable[[], bool]
    ) -> None:
        self._database = database
        self._backends = backends
        self._row = row
        self._should_stop = should_stop
        self._label = f"migration-{row.id}"
        self._hidden = f"{REPLACED_FILES} {self._label}"

    def open(self) -> tuple[Driver, Driver]:
        """Return both; those of a scheduled copy or a restore keep what they replace, or read what was."""
        row = self._row
        source = self._driver(row.source_id, row.source)
        destination = self._driver(row.destination_id, row.destination)
        earlier, folder = row.spec.get(AS_OF), row.spec.get(REPLACED_IN)
        if earlier:
            from dashboard.services.migrations.as_of import AsOf, folders_since

            raw = self._raw(row.source_id, row.source)
            source = AsOf(source, raw, folders_since(self._database, earlier))
        if folder:
            from dashboard.services.migrations.keeping_replaced import KeepsReplaced

            raw = self._raw(row.destination_id, row.destination)
            destination = KeepsReplaced(destination, raw, folder, self._should_stop)
        return source, destination

    def release(self) -> None:
        """Close them. Idempotent."""
        self._backends.release(self._label)
        self._backends.release(self._hidden)

    def _driver(self, backend_id: int | None, name: str) -> Driver:
        return self._backends.driver_with_waiting(self._current_name(backend_id, name), label=self._label)

    def _raw(self, backend_id: int | None, name: str) -> Driver:
        return self._backends.driver(self._current_name(backend_id, name), label=self._hidden)

    def _current_name(self, backend_id: int | None, name: str) -> str:
        current = self._backends.name_of(backend_id) if backend_id is not None else None
        if current is None:
            raise StowageError(
                Kind.NOT_FOUND,
                f"The backend “{name}” was removed.",
                operation="migration",
                subject=name,
                remedy="Add it again and start a new migration; objects that already exist will be skipped.",
            )
        return current


def catalogued_files(row: Migration) -> LedgerFiles | None:
    """What of the catalogue changes with this migration's ledger."""
    if row.source_id is None or row.destination_id is None:
        return None
    deletes = from_json(row.spec).delete_source
    return LedgerFiles(row.id, row.source_id, row.destination_id, deletes=deletes)
