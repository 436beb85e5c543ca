"""Names that a destination would take for one, as ``work.db`` holds them while a migration is planned."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from dashboard.models.work import names

_ASKED = 1000


def hold_names(connection: Connection, migration_id: int, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """See ``Ledger.hold_names``. At least one pair."""
    rows = [{"migration_id": migration_id, "folded": folded, "name": name} for folded, name in pairs]
    connection.execute(insert(names).prefix_with("OR IGNORE"), rows)
    held: dict[str, str] = {}
    for start in range(0, len(pairs), _ASKED):
        some = [folded for folded, _ in pairs[start : start + _ASKED]]
        query = select(names.c.folded, names.c.name).where(
            names.c.migration_id == migration_id, names.c.folded.in_(some)
        )
        held |= {row.folded: row.name for row in connection.execute(query)}
    return held
