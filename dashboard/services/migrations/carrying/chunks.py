"""Chunks of a migration's rows in ``work.db``: cut by the run, claimed by one carrier each.

All functions work in the caller's transaction, which has compared the run's fence. The number of a carrier is
given once in a run, so the pair of both is the fence of a chunk: who does not hold it any more cannot hold it
again under the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from dashboard.migration.types import ObjectState
from dashboard.models.work import carriers, chunks, objects
from dashboard.services.migrations.ledger_queries import interrupt
from dashboard.services.migrations.ledger_rows import MAX_ID

MAX_ROWS = 1000
"""In one chunk."""
MIN_ROWS = 64
"""Smaller chunks are only cut when no more rows are known: small ones keep all carriers busy to the end."""
CHUNK_BYTES = 64 * 1024 * 1024
"""A chunk with that much has no further rows, so that large objects are spread over the carriers."""
READY, CLAIMED, UNSWEPT = "ready", "claimed", "unswept"
"""May be claimed; is claimed; was given back with leftovers that have to be removed first."""


@dataclass(slots=True)
class Held:
    """A chunk that this carrier has claimed. ``open``: its rows in flight. ``taken``: no row is pending."""

    number: int
    first_id: int
    last_id: int
    open: set[int] = field(default_factory=set)
    taken: bool = False


def cut(connection: Connection, migration_id: int, after: int, parts: int) -> int:
    """Cut pending rows with ids beyond ``after`` into about ``parts`` chunks; return the last id in a
    chunk."""
    c = objects.c
    waiting = (c.migration_id == migration_id) & (c.state == ObjectState.PENDING.value) & (c.id > after)
    query = select(c.id, c.size).where(waiting).order_by(c.id).limit(parts * MAX_ROWS)
    rows = connection.execute(query).all()
    if not rows:
        return after
    number = connection.scalar(select(func.max(chunks.c.number)).where(_mine(migration_id))) or 0
    most = max(MIN_ROWS, min(MAX_ROWS, len(rows) // parts))
    # Large objects fill many chunks: those that are not needed yet are cut later.
    found = [ids for ids, _ in zip(_ranges(rows, most), range(2 * parts), strict=False)]
    connection.execute(
        insert(chunks),
        [
            {"migration_id": migration_id, "number": n, "first_id": first, "last_id": last, "state": READY}
            for n, (first, last) in enumerate(found, number + 1)
        ],
    )
    return found[-1][1]


def _ranges(rows: Sequence[Row[int, int]], most: int) -> Iterator[tuple[int, int]]:
    first, count, size = None, 0, 0
    for row in rows:
        first = row.id if first is None else first
        count, size = count + 1, size + row.size
        if count >= most or size >= CHUNK_BYTES:
            yield first, row.id
            first, count, size = None, 0, 0
    if first is not None:
        yield first, rows[-1].id


def claim_chunk(connection: Connection, migration_id: int, carrier: int, lease_until: float) -> Held | None:
    """Claim the oldest chunk that is ready."""
    c = chunks.c
    ready = _mine(migration_id) & (c.state == READY)
    oldest = select(c.number).where(ready).order_by(c.number).limit(1).scalar_subquery()
    row = connection.execute(
        update(chunks)
        .where(ready, c.number == oldest)
        .values(state=CLAIMED, carrier=carrier, lease_until=lease_until)
        .returning(c.number, c.first_id, c.last_id)
    ).one_or_none()
    return Held(*row) if row else None


def renew(connection: Connection, migration_id: int, carrier: int, lease_until: float) -> int:
    """Renew a carrier's leases; return how many chunks it holds."""
    which = {"b_migration": migration_id, "b_carrier": carrier, "b_until": lease_until}
    return connection.execute(_renewing(), which).rowcount


@cache
def _renewing() -> Update:
    c = chunks.c
    held = (c.migration_id == bindparam("b_migration")) & (c.state == CLAIMED)
    until = bindparam("b_until", type_=Float)
    return update(chunks).where(held, c.carrier == bindparam("b_carrier")).values(lease_until=until)


def close(connection: Connection, migration_id: int, held: Held) -> None:
    """Delete a chunk whose rows are settled. If the rows say otherwise it may be claimed again."""
    this = _mine(migration_id) & (chunks.c.number == held.number)
    if is_open(connection, migration_id, held.first_id, held.last_id):
        connection.execute(update(chunks).where(this).values(state=READY, carrier=0))
    else:
        connection.execute(delete(chunks).where(this))


def has_rows(
    connection: Connection,
    migration_id: int,
    state: ObjectState,
    *,
    first_id: int = 0,
    last_id: int = MAX_ID,
) -> bool:
    """Whether any row with an id in this range is in this state."""
    which = {"migration": migration_id, "state": state.value, "first": first_id, "last": last_id}
    return connection.scalar(_any_row(), which) is not None


@cache
def _any_row() -> Select[int]:
    c = objects.c
    mine = (c.migration_id == bindparam("migration")) & (c.state == bindparam("state"))
    return select(c.id).where(mine, c.id.between(bindparam("first"), bindparam("last"))).limit(1)


def has_chunk(connection: Connection, migration_id: int, state: str = "") -> bool:
    """Whether there is a chunk, or one in this state."""
    which = {"migration": migration_id, **({"state": state} if state else {})}
    return connection.scalar(_any_chunk(bool(state)), which) is not None


@cache
def _any_chunk(of_state: bool) -> Select[int]:
    c = chunks.c
    query = select(c.number).where(c.migration_id == bindparam("migration")).limit(1)
    return query.where(c.state == bindparam("state")) if of_state else query


def is_open(connection: Connection, migration_id: int, first_id: int = 0, last_id: int = MAX_ID) -> bool:
    """Whether any row with an id in this range is pending or in flight."""
    within = {"first_id": first_id, "last_id": last_id}
    open_states = (ObjectState.PENDING, ObjectState.IN_FLIGHT)
    return any(has_rows(connection, migration_id, state, **within) for state in open_states)


def revoke(connection: Connection, migration_id: int, carrier: int) -> int:
    """Take a carrier's chunks away and return its rows in flight to pending, as interrupted; return how many
    chunks. They are ready once what it left was removed: see :func:`release`."""
    c = chunks.c
    held = _mine(migration_id) & (c.state == CLAIMED) & (c.carrier == carrier)
    ranges = connection.execute(
        update(chunks).where(held).values(state=UNSWEPT, carrier=0).returning(c.first_id, c.last_id)
    ).all()
    for first, last in ranges:
        interrupt(connection, migration_id, objects.c.id.between(first, last))
    own_row = (carriers.c.migration_id == migration_id) & (carriers.c.number == carrier)
    connection.execute(delete(carriers).where(own_row))
    return len(ranges)


def release(connection: Connection, migration_id: int, numbers: Sequence[int]) -> None:
    """These chunks may be claimed: the leftovers were removed."""
    swept = _mine(migration_id) & (chunks.c.state == UNSWEPT) & chunks.c.number.in_(numbers)
    connection.execute(update(chunks).where(swept).values(state=READY))


def _mine(migration_id: int) -> ColumnElement[bool]:
    return chunks.c.migration_id == migration_id
