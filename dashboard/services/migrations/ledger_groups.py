"""Failed objects grouped by their reasons, counted as they fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.ledger import Failure
from dashboard.models.work import failure_groups


def count_failures(connection: Connection, migration_id: int, failed: Sequence[tuple[str, Failure]]) -> None:
    """Add failed keys and their reasons to the groups of a migration."""
    if not failed:
        return
    examples = {(why.kind, why.reason): (key, why.remedy) for key, why in reversed(failed)}
    sizes = Counter((why.kind, why.reason) for _, why in failed)
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
