"""What the ledger needs of the engine of ``work.db``, which ``services.database`` sets up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from dashboard.models import work

BUSY_SECONDS = 60.0
"""For which a run waits while another program, such as a backup, has a database locked."""


def writer(engine: Engine) -> Engine:
    """The same engine, whose transactions take the write lock when they begin."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def create_work_tables(engine: Engine) -> None:
    """Make the ledger's tables in ``work.db``. Idempotent."""
    with writer(engine).begin() as connection:
        work.metadata.create_all(connection)


@contextmanager
def patient_transaction(engine: Engine) -> Iterator[Connection]:
    """A writing transaction that waits for its turn for ``BUSY_SECONDS``. Nothing of it has happened when it
    raises ``OperationalError`` on entering."""
    deadline = time.monotonic() + BUSY_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                connection = stack.enter_context(engine.begin())
                break
            except OperationalError as error:
                if "locked" not in str(error.orig).lower() or time.monotonic() >= deadline:
                    raise
        yield connection
