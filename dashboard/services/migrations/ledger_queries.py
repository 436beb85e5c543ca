"""Queries of pages, the API and commands on ledgers, and the changes that people make to them.

Everything that is polled reads a few rows by primary key or index.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, delete, func, select, update

from dashboard.migration.ledger import ANYTHING, MULTIPART_BYTES, Live
from dashboard.migration.types import (
    Action,
    CarrierProgress,
    Counters,
    FailureGroup,
    InFlight,
    ObjectState,
)
from dashboard.models.work import (
    carriers,
    chunks,
    counters,
    facts,
    failure_groups,
    listing,
    live,
    names,
    objects,
)
from dashboard.services.database import Database
from dashboard.services.migrations.ledger_failures import relist_if_incomplete, subtract_failures
from dashboard.services.migrations.ledger_search import ObjectFilter, failed_that_match

CHUNK = 2000
"""Rows that one transaction of a long change touches."""
PAUSE = 0.003
"""Seconds between two chunks, so that other writers get their turn."""

_COUNTER_NAMES = tuple(Counters.__dataclass_fields__)


def read_counters(connection: Connection, ids: Sequence[int]) -> Mapping[int, Counters]:
    """Return the exact totals of migrations, in one query; those without a ledger are left out."""
    return {row[0]: Counters(*row[1:]) for row in connection.execute(_counters(), {"ids": list(ids)})}


@cache
def _counters() -> Select[Any]:
    columns = (counters.c.migration_id, *(counters.c[name] for name in _COUNTER_NAMES))
    return select(*columns).where(counters.c.migration_id.in_(bindparam("ids", expanding=True)))


def keys_in_parts(connection: Connection, migration_id: int, keys: Sequence[str]) -> frozenset[str]:
    """See ``Ledger.in_parts``."""
    c = objects.c
    query = select(c.key).where(
        c.migration_id == migration_id,
        c.key.in_(keys),
        c.size >= MULTIPART_BYTES,
        c.state != ObjectState.SKIPPED.value,
    )
    return frozenset(connection.scalars(query))


def forget_some(connection: Connection, table: Table, key: ColumnElement[Any], migration_id: int) -> int:
    """Delete up to ``CHUNK`` rows of a migration from a table that has this key; return how many."""
    some = select(key).where(table.c.migration_id == migration_id).limit(CHUNK)
    return connection.execute(
        delete(table).where(table.c.migration_id == migration_id, key.in_(some.scalar_subquery()))
    ).rowcount


def interrupt(connection: Connection, migration_id: int, rows: ColumnElement[bool] | None = None) -> None:
    """Return rows in flight to pending, marked as interrupted."""
    moving = (objects.c.migration_id == migration_id) & (objects.c.state == ObjectState.IN_FLIGHT.value)
    connection.execute(
        update(objects)
        .where(moving if rows is None else moving & rows)
        .values(state=ObjectState.PENDING.value, interrupted=1)
    )


def forget_chunks(connection: Connection, migration_id: int) -> None:
    """Remove all chunks and carriers of a migration."""
    for table in (chunks, carriers):
        connection.execute(delete(table).where(table.c.migration_id == migration_id))


class LedgerQueries:
    """All ledgers of ``work.db``. Thread-safe; every call is its own short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counters(self, ids: Sequence[int]) -> Mapping[int, Counters]:
        """Return the exact totals of migrations; those without a ledger are left out."""
        with self._database.work_read() as connection:
            return read_counters(connection, ids)

    def in_parts(self, migration_id: int, keys: Sequence[str]) -> frozenset[str]:
        """See ``Ledger.in_parts``."""
        with self._database.work_read() as connection:
            return keys_in_parts(connection, migration_id, keys)

    def live(self, migration_id: int) -> Live:
        """Return the live progress that the run last published, at ``Live.at``."""
        with self._database.work_read() as connection:
            text = connection.scalar(select(live.c.status).where(live.c.migration_id == migration_id))
        if text is None:
            return Live()
        status = json.loads(text)
        in_flight = tuple(InFlight(**one) for one in status.pop("in_flight"))
        carriers = tuple(
            CarrierProgress(chunks=tuple(one.pop("chunks")), **one) for one in status.pop("carriers", ())
        )
        eta = status.pop("eta")
        return Live(in_flight=in_flight, carriers=carriers, eta=tuple(eta) if eta else None, **status)

    def failures(self, migration_id: int, *, limit: int = 100) -> tuple[FailureGroup, ...]:
        """Return failed objects grouped by reason, the largest group first."""
        c = failure_groups.c
        query = (
            select(c.kind, c.reason, c.remedy, c.example, c.objects)
            .where(c.migration_id == migration_id)
            .order_by(c.objects.desc(), c.kind, c.reason)
            .limit(limit)
        )
        with self._database.work_read() as connection:
            return tuple(FailureGroup(*row) for row in connection.execute(query))

    def has_in_flight(self, migration_id: int) -> bool:
        """Return whether objects are recorded as being copied."""
        mine = (objects.c.migration_id == migration_id) & (objects.c.state == ObjectState.IN_FLIGHT.value)
        with self._database.work_read() as connection:
            return connection.scalar(select(objects.c.id).where(mine).limit(1)) is not None

    def retry_some_failed(self, migration_id: int, wanted: ObjectFilter) -> int:
        """Like :meth:`retry_failed`, for the failed rows that match a filter, whatever state it names."""
        mine = (objects.c.migration_id == migration_id) & failed_that_match(wanted)
        with self._database.work_write() as connection:
            folders = select(objects.c.id).where(mine, objects.c.action == Action.FOLDER.value).limit(1)
            if connection.scalar(folders) is not None:
                relist_if_incomplete(connection, migration_id)
        return self._in_chunks(_retry_some, migration_id, mine)

    def retry_failed(self, migration_id: int) -> int:
        """Return all failed rows to pending; return how many. Works in chunks, each with its counters, so it
        can be interrupted and called again. Do not call it while this migration runs. If folders could not
        be read, the next run lists the source again."""
        with self._database.work_write() as connection:
            relist_if_incomplete(connection, migration_id)
        return self._in_chunks(_retry_some, migration_id)

    def forget(self, migration_id: int) -> None:
        """Remove everything about a migration, in chunks. Idempotent."""
        self._in_chunks(forget_some, objects, objects.c.id, migration_id)
        self._in_chunks(forget_some, listing, listing.c.key, migration_id)
        self._in_chunks(forget_some, names, names.c.folded, migration_id)
        with self._database.work_write() as connection:
            for table in (failure_groups, live, facts, counters, chunks, carriers):
                connection.execute(delete(table).where(table.c.migration_id == migration_id))

    def forget_objects(self, migration_id: int) -> None:
        """Remove the list of its objects, in chunks; its totals stay. Idempotent."""
        self._in_chunks(forget_some, objects, objects.c.id, migration_id)

    def _in_chunks(self, change: Callable[..., int], *arguments: Any) -> int:
        """Repeat a change, one transaction each time, until it changes nothing; return the total."""
        total = 0
        while True:
            with self._database.work_write() as connection:
                done = change(connection, *arguments)
            if not done:
                return total
            total += done
            time.sleep(PAUSE)


def _retry_some(connection: Connection, migration_id: int, wanted: ColumnElement[bool] | None = None) -> int:
    c = objects.c
    failed = (c.migration_id == migration_id) & (c.state == ObjectState.FAILED.value)
    page = select(c.id).where(failed if wanted is None else failed & wanted).order_by(c.id).limit(CHUNK)
    ids = connection.scalars(page).all()
    if not ids:
        if wanted is None:
            connection.execute(delete(failure_groups).where(failure_groups.c.migration_id == migration_id))
        return 0
    some = c.id.in_(ids)
    size = connection.scalar(select(func.coalesce(func.sum(c.size), 0)).where(some)) or 0
    groups = connection.execute(select(c.kind, c.reason, func.count()).where(some).group_by(c.kind, c.reason))
    subtract_failures(connection, migration_id, {(kind, reason): n for kind, reason, n in groups})
    connection.execute(
        update(objects)
        .where(some)
        .values(state=ObjectState.PENDING.value, attempts=0, kind="", reason="", remedy="", found=ANYTHING)
    )
    connection.execute(
        update(counters)
        .where(counters.c.migration_id == migration_id)
        .values(failed=counters.c.failed - len(ids), failed_bytes=counters.c.failed_bytes - size)
    )
    return len(ids)
