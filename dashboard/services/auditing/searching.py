"""Searching the audit log for a text: the index says which entries may contain it; each is then looked at.

Texts of fewer than three characters, and databases of a SQLite without such an index, are searched entry by
entry, as are entries that are not indexed yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from dashboard.models.audit_search import BEGIN, INDEX_EARLIER, TABLE
from dashboard.models.console import Setting
from dashboard.services.database import Database

INDEXED_AT_ONCE = 2_000
"""Earlier entries that one transaction adds to the index."""
FIRST_FOUND, MAX_FOUND = 100, 2_000
"""Entries of the index that are looked at together: more and more, because common texts are found soon."""
MAX_TRIGRAMS = 24
"""Of a text, evenly spread: the entries themselves are compared with all of it."""

_CANDIDATES = (
    "SELECT rowid FROM audit_search WHERE audit_search MATCH :wanted AND rowid < :before "
    "ORDER BY rowid DESC LIMIT :most"
)


def index_begin(session: Session) -> int | None:
    """The number of the first entry that the index has; None if there is no index."""
    if session.get_bind().dialect.name != "sqlite":
        return None
    known = session.scalar(sql("SELECT count(*) FROM sqlite_master WHERE name = :name"), {"name": TABLE})
    if not known:
        return None
    row = session.get(Setting, BEGIN)
    return int(row.value) if row is not None and row.value else 0


def expression(text: str) -> str:
    """The query of the index for entries that may contain a text; empty if it is too short for that."""
    # In an entry's details other letters than ASCII, quotes and backslashes are written otherwise.
    forms = dict.fromkeys((text, json.dumps(text)[1:-1]))
    parts = [_trigrams(form) for form in forms]
    return " OR ".join(f"({each})" for each in parts) if all(parts) else ""


def _trigrams(text: str) -> str:
    found = list(dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2)))
    every = max(1, -(-len(found) // MAX_TRIGRAMS))
    return " AND ".join('"' + each.replace('"', '""') + '"' for each in found[::every])


def candidates(session: Session, wanted: str, before: int) -> Iterator[list[int]]:
    """Yield the numbers of entries that may match an expression, the newest first, in lists."""
    most = FIRST_FOUND
    while True:
        values = {"wanted": wanted, "before": before, "most": most}
        found = list(session.scalars(sql(_CANDIDATES), values))
        if found:
            yield found
        if len(found) < most:
            return
        before, most = found[-1], min(2 * most, MAX_FOUND)


class SearchIndex:
    """Adds the entries of before the index. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_behind(self) -> bool:
        """Whether there are entries that are not indexed yet."""
        with self._database.read() as session:
            return bool(index_begin(session))

    def catch_up(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Index them, the newest first, in small transactions; return how many numbers were gone through.
        Idempotent, and safe from several processes: each transaction goes on where the last one ended."""
        total = 0
        while not stop():
            with self._database.write() as session:
                before = index_begin(session)
                if not before:
                    return total
                first = max(0, before - INDEXED_AT_ONCE)
                session.execute(sql(INDEX_EARLIER), {"first": first, "before": before})
                session.merge(Setting(key=BEGIN, value=str(first)))
                total += before - first
        return total
