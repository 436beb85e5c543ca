"""Both ledgers behind one small face, so that every test of the engine runs over each."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy import create_engine

from dashboard.migration.ledger import Ledger, Live
from dashboard.migration.types import Counters, FailureGroup, LedgerRow, ObjectState
from dashboard.services.database import Database
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.ledger_queries import LedgerQueries
from dashboard.services.migrations.ledger_search import LedgerSearch, ObjectFilter
from dashboard.services.upgrade import bring_up_to_date
from tests.migration.memory_ledger import MemoryLedger, MemoryStore


class Ledgers(Protocol):
    """Opens ledgers of one migration, one per run, and looks into them."""

    def open(self) -> Ledger: ...
    def rows(self) -> tuple[LedgerRow, ...]: ...
    def failures(self) -> tuple[FailureGroup, ...]: ...
    def counters(self) -> Counters: ...
    def live(self) -> Live: ...
    def close(self) -> None: ...


class MemoryLedgers:
    """Ledgers that share a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def open(self) -> MemoryLedger:
        return MemoryLedger(self.store)

    def rows(self) -> tuple[LedgerRow, ...]:
        return self.open().rows()

    def failures(self) -> tuple[FailureGroup, ...]:
        return self.open().failures()

    def counters(self) -> Counters:
        return self.open().counters()

    def live(self) -> Live:
        return self.store.live

    def close(self) -> None:
        pass


class SqlLedgers:
    """Ledgers in a ``work.db``."""

    def __init__(self, folder: Path, migration_id: int = 1) -> None:
        self.database = Database(
            create_engine(f"sqlite:///{folder}/main.db"), create_engine(f"sqlite:///{folder}/work.db")
        )
        bring_up_to_date(self.database.work, "work")
        self.queries = LedgerQueries(self.database)
        self.id = migration_id

    def open(self, *, fence: int | None = None, files: LedgerFiles | None = None) -> RunLedger:
        return RunLedger(self.database.work, self.id, fence=fence, files=files)

    def rows(self) -> tuple[LedgerRow, ...]:
        return all_rows(self.database, self.id)

    def failures(self) -> tuple[FailureGroup, ...]:
        return self.queries.failures(self.id)

    def counters(self) -> Counters:
        return self.queries.counters([self.id]).get(self.id, Counters())

    def live(self) -> Live:
        return self.queries.live(self.id)

    def close(self) -> None:
        self.database.close()


def all_rows(database: Database, migration_id: int) -> tuple[LedgerRow, ...]:
    """The rows of a migration, by their ids."""
    search, found, page = LedgerSearch(database), list[LedgerRow](), None
    while page is None or page.next_after:
        page = search.page(migration_id, ObjectFilter(), after=page.next_after if page else "", limit=1000)
        found += page.rows
    return tuple(sorted(found, key=lambda row: row.id))


def recount(rows: tuple[LedgerRow, ...]) -> dict[str, int]:
    """What the counters must say of these rows."""
    copied = [r for r in rows if r.state in (ObjectState.COPIED, ObjectState.VERIFIED)]
    groups = {
        "found": list(rows),
        "copied": copied,
        "verified": [r for r in rows if r.state is ObjectState.VERIFIED],
        "skipped": [r for r in rows if r.state is ObjectState.SKIPPED],
        "failed": [r for r in rows if r.state is ObjectState.FAILED],
        "deleted": [r for r in rows if r.deleted],
    }
    counted = {name: len(members) for name, members in groups.items()}
    counted |= {f"{name}_bytes": sum(r.size for r in members) for name, members in groups.items()}
    return counted


def assert_exact(ledgers: Ledgers) -> None:
    """The counters and the failure groups say what the rows say."""
    counters = ledgers.counters()
    assert_exact_rows(ledgers.rows(), counters)
    failed = sum(group.objects for group in ledgers.failures())
    assert failed == counters.failed


def assert_exact_rows(rows: tuple[LedgerRow, ...], counters: Counters) -> None:
    """The counters say what the rows say."""
    assert {name: getattr(counters, name) for name in recount(rows)} == recount(rows)
