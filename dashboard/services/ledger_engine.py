"""What the ledger needs of the engine of ``work.db``, which ``services.database`` sets up."""

from __future__ import annotations

from sqlalchemy import Engine

from dashboard.models import work


def writer(engine: Engine) -> Engine:
    """The same engine, whose transactions take the write lock when they begin."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def create_work_tables(engine: Engine) -> None:
    """Make the ledger's tables in ``work.db``. Idempotent."""
    with writer(engine).begin() as connection:
        work.metadata.create_all(connection)
