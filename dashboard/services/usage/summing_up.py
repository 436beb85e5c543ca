"""Sums up the catalogue: the job behind the Usage page. Each statement is a transaction of its own that reads
the table once; nothing is held for each file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Select, and_, case, delete, func, insert, null, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.models.backends import Backend
from dashboard.models.catalogue import counts, files
from dashboard.models.usage import duplicates, summaries
from dashboard.services.database import Database

MAX_GROUPS = 2000
"""Groups of duplicates that are kept of each backend, those that waste most."""
MAX_NAMED = 20
DAY = 86_400
SIZES = (
    *(("1k", 10**3), ("10k", 10**4), ("100k", 10**5)),
    *(("1M", 10**6), ("10M", 10**7), ("100M", 10**8)),
)
LARGER = "more"
AGES = (("30 d", 30), ("90 d", 90), ("1 y", 365), ("2 y", 730), ("5 y", 1826))
OLDER, UNKNOWN_AGE = "older", "unknown"

_C = files.c


class SummingUp:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Sum up every backend. Return False if ``stop`` ended it early. Idempotent."""
        with self._database.read() as session:
            wanted = tuple(session.scalars(select(Backend.id)))
        self._forget_others(wanted)
        for backend_id in wanted:
            if stop():
                return False
            self.backend(backend_id)
        return True

    def backend(self, backend_id: int) -> None:
        """Sum up one backend."""
        now = time.time()
        mine = self._mine(backend_id)
        values = {"at": now, **self._slices(mine, now), **self._named(mine)}
        groups, totals = self._duplicates(mine)
        values |= totals
        with self._database.work_write() as connection:
            statement = upsert(summaries).values(backend_id=backend_id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["backend_id"], set_=values))
            connection.execute(delete(duplicates).where(duplicates.c.backend_id == backend_id))
            if groups:
                connection.execute(
                    insert(duplicates), [{"backend_id": backend_id, **each} for each in groups]
                )

    def _forget_others(self, wanted: tuple[int, ...]) -> None:
        with self._database.work_write() as connection:
            for table in (summaries, duplicates):
                connection.execute(delete(table).where(table.c.backend_id.not_in(wanted)))

    def _mine(self, backend_id: int) -> Any:
        # Rows of earlier generations are about a place that the backend no longer is.
        valid = select(counts.c.valid_from).where(counts.c.backend_id == backend_id).scalar_subquery()
        return and_(_C.backend_id == backend_id, _C.seen >= func.coalesce(valid, 0))

    def _slices(self, mine: Any, now: float) -> dict[str, Any]:
        size = case(*((_C.size <= most, name) for name, most in SIZES), else_=LARGER)
        steps = ((_C.modified >= now - days * DAY, name) for name, days in AGES)
        age = case((_C.modified.is_(null()), UNKNOWN_AGE), *steps, else_=OLDER)
        bare = func.sum(case(((_C.sha256 == "") & (_C.md5 == ""), 1), else_=0))
        query = select(_C.kind, size.label("size"), age.label("age"), func.count(), func.sum(_C.size), bare)
        found: dict[str, dict[str, list[int]]] = {"kinds": {}, "sizes": {}, "ages": {}}
        number = total = without = 0
        with self._database.work_read() as connection:
            rows = connection.execute(query.where(mine).group_by(_C.kind, size, age)).all()
        for kind, up_to, since, count, sizes, unknown in rows:
            number, total, without = number + count, total + sizes, without + unknown
            for table, name in (("kinds", kind), ("sizes", up_to), ("ages", since)):
                held = found[table].setdefault(name, [0, 0])
                held[0] += count
                held[1] += sizes
        slices = {table: [[name, *held] for name, held in each.items()] for table, each in found.items()}
        return {"files": number, "bytes": total, "without_checksum": without, **slices}

    def _named(self, mine: Any) -> dict[str, Any]:
        query = select(_C.key, _C.size, _C.modified).where(mine).limit(MAX_NAMED)
        with self._database.work_read() as connection:
            largest = connection.execute(query.order_by(_C.size.desc(), _C.key)).all()
            aged = query.where(_C.modified.is_not(None))
            oldest = connection.execute(aged.order_by(_C.modified, _C.key)).all()
        return {"largest": [list(row) for row in largest], "oldest": [list(row) for row in oldest]}

    def _duplicates(self, mine: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
        checksum = case((_C.sha256 != "", _C.sha256), else_=_C.md5).label("checksum")
        copies, wasted = func.count().label("copies"), ((func.count() - 1) * _C.size).label("wasted")
        groups = (
            select(checksum, _C.size, copies, wasted, func.min(_C.key).label("key"))
            .where(mine, _C.size > 0, or_(_C.sha256 != "", _C.md5 != ""), _C.state == "stored")
            .group_by(checksum, _C.size)
            .having(func.count() > 1)
        )
        inner = groups.subquery()
        sums = (func.sum(inner.c.copies - 1), func.sum(inner.c.wasted))
        total: Select[*tuple[Any, ...]] = select(func.count(), *sums)
        with self._database.work_read() as connection:
            number, spare, saved = connection.execute(total.select_from(inner)).one()
            rows = connection.execute(groups.order_by(wasted.desc(), checksum).limit(MAX_GROUPS)).all()
        found = [
            {name: getattr(row, name) for name in ("checksum", "size", "copies", "wasted", "key")}
            for row in rows
        ]
        totals = {
            "duplicate_groups": number or 0,
            "duplicate_files": spare or 0,
            "duplicate_bytes": saved or 0,
        }
        return found, totals
