"""How many reads another backend answered than the one that was asked for: a sign that files are missing
there, or that it is unavailable."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert

from dashboard.errors import StowageError
from dashboard.models.backends import Backend
from dashboard.models.catalogue import fallback_reads
from dashboard.services.database import Database

_DAY = 86_400
_KEPT_DAYS = 30
_STORE_SECONDS = 5.0
"""Pause between two writes to the database, however many reads there are."""


@dataclass(frozen=True, slots=True)
class FallbackReadCount:
    """Reads of ``home`` that ``served_by`` answered; names. ``last_at`` in epoch seconds."""

    home: str
    served_by: str
    reads: int
    last_at: float


class FallbackReads:
    """Thread-safe. Of a killed process the last seconds are not counted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._new: Counter[tuple[int, int]] = Counter()
        self._stored_at = 0.0

    def note(self, home_id: int, served_by_id: int) -> None:
        """Count a read. Never raises."""
        with self._lock:
            self._new[home_id, served_by_id] += 1
            due = time.monotonic() - self._stored_at >= _STORE_SECONDS
            if due:
                self._stored_at = time.monotonic()
        if due:
            self._store()

    def recent(self) -> Sequence[FallbackReadCount]:
        """Return the counts of today and yesterday (UTC), most reads first."""
        self._store()
        since = int(time.time() // _DAY) - 1
        return self._database.kept(("fallback_reads", since), lambda: self._since(since))

    def _since(self, since: int) -> Sequence[FallbackReadCount]:
        table = fallback_reads.c
        total = func.sum(table.reads)
        query = select(table.backend_id, table.served_by_id, total, func.max(table.last_at))
        query = query.where(table.day >= since).group_by(table.backend_id, table.served_by_id)
        with self._database.work_read() as connection:
            rows = connection.execute(query.order_by(total.desc()).limit(20)).all()
        if not rows:
            return ()
        with self._database.read() as session:
            ids = {id for row in rows for id in row[:2]}
            query_names = select(Backend.id, Backend.name).where(Backend.id.in_(ids))
            names = {row.id: row.name for row in session.execute(query_names)}
        return [
            FallbackReadCount(names[home], names[other], reads, at)
            for home, other, reads, at in rows
            if home in names and other in names
        ]

    def _store(self) -> None:
        with self._lock:
            new, self._new = self._new, Counter()
        if not new:
            return
        now = time.time()
        today = int(now // _DAY)
        # What was read was read, whether or not it can be counted.
        with suppress(StowageError), self._database.work_write() as connection:
            for (home, other), reads in new.items():
                statement = insert(fallback_reads).values(
                    backend_id=home, served_by_id=other, day=today, reads=reads, last_at=now
                )
                added = {"reads": fallback_reads.c.reads + statement.excluded.reads, "last_at": now}
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["backend_id", "served_by_id", "day"], set_=added
                    )
                )
            connection.execute(delete(fallback_reads).where(fallback_reads.c.day < today - _KEPT_DAYS))
