"""Counts of failed objects by reason, and the rows of source folders that could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.ledger import Reason
from dashboard.migration.types import Action
from dashboard.models.work import counters, failure_groups, objects


def count_failures(connection: Connection, migration_id: int, failed: Sequence[tuple[str, Reason]]) -> None:
    """Add failed keys and their reasons to the groups of a migration."""
    if not failed:
        return
    examples = {(reason.kind, reason.sentence): (key, reason.remedy) for key, reason in reversed(failed)}
    sizes = Counter((reason.kind, reason.sentence) for _, reason in failed)
    add = upsert(failure_groups)
    connection.execute(
        add.on_conflict_do_update(
            index_elements=["migration_id", "kind", "reason"],
            set_={"objects": failure_groups.c.objects + add.excluded.objects},
        ),
        [
            {
                "migration_id": migration_id,
                "kind": kind,
                "reason": reason,
                "remedy": remedy,
                "example": key,
                "objects": sizes[kind, reason],
            }
            for (kind, reason), (key, remedy) in examples.items()
        ],
    )


def subtract_failures(
    connection: Connection, migration_id: int, failures: Mapping[tuple[str, str], int]
) -> None:
    """Subtract a number of objects from the group of each kind and reason."""
    c = failure_groups.c
    for (kind, reason), count in failures.items():
        mine = (c.migration_id == migration_id) & (c.kind == kind) & (c.reason == reason)
        connection.execute(update(failure_groups).where(mine).values(objects=c.objects - count))
    if failures:
        connection.execute(delete(failure_groups).where(c.migration_id == migration_id, c.objects <= 0))


def forget_folders(connection: Connection, migration_id: int) -> int:
    """Remove the rows of folders that could not be read, with their counters, in the caller's transaction;
    return how many. Listing the source again finds them again."""
    c = objects.c
    folders = (c.migration_id == migration_id) & (c.action == Action.FOLDER.value)
    found = connection.execute(
        select(c.kind, c.reason, func.count()).where(folders).group_by(c.kind, c.reason)
    ).all()
    subtract_failures(connection, migration_id, {(kind, reason): count for kind, reason, count in found})
    total = sum(int(count) for _, _, count in found)
    if total:
        connection.execute(delete(objects).where(folders))
        connection.execute(
            update(counters)
            .where(counters.c.migration_id == migration_id)
            .values(found=counters.c.found - total, failed=counters.c.failed - total)
        )
    return total


def relist_if_incomplete(connection: Connection, migration_id: int) -> None:
    """Like :func:`forget_folders`, and if there were any, the next run lists the source again."""
    if forget_folders(connection, migration_id):
        connection.execute(
            update(counters).where(counters.c.migration_id == migration_id).values(listing_final=False)
        )
