"""Rows of folders that could not be read: they go when the source is listed anew, which finds them again."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select, update

from dashboard.migration.types import Action
from dashboard.models.work import counters, objects
from dashboard.services.migrations.ledger_rows import take_out_failures


def forget_folders(connection: Connection, migration_id: int) -> int:
    """Remove them, with their counters, in the caller's transaction; how many there were."""
    c = objects.c
    folders = (c.migration_id == migration_id) & (c.action == Action.FOLDER.value)
    found = connection.execute(
        select(c.kind, c.reason, func.count()).where(folders).group_by(c.kind, c.reason)
    ).all()
    take_out_failures(connection, migration_id, {(kind, reason): count for kind, reason, count in found})
    total = sum(int(count) for _, _, count in found)
    if total:
        connection.execute(delete(objects).where(folders))
        connection.execute(
            update(counters)
            .where(counters.c.migration_id == migration_id)
            .values(found=counters.c.found - total, failed=counters.c.failed - total)
        )
    return total


def list_again(connection: Connection, migration_id: int) -> None:
    """As :func:`forget_folders`; where there were any the next run lists the source anew."""
    if forget_folders(connection, migration_id):
        connection.execute(
            update(counters).where(counters.c.migration_id == migration_id).values(listing_final=False)
        )
