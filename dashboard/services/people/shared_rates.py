"""Rates that hold for all consoles together, however many there are: token buckets in the database.

A console takes several at a time from the bucket, so that not every request waits for the database. What it
has taken and not used is gone: a rate is never exceeded, and reached but for that.
"""

from __future__ import annotations

import threading

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from dashboard.models.consoles import RateBucket
from dashboard.services.consoles.console_processes import clock
from dashboard.services.database import Database
from dashboard.services.people.token_buckets import MAX_NAMES, TokenBuckets

SHARE = 20
"""A console takes this part of a full bucket at a time."""
FORGET_SECONDS = 3600.0
"""After which a full bucket is removed."""


def rates(database: Database, prefix: str, *, per_second: float, burst: float) -> TokenBuckets | SharedRates:
    """The buckets of a kind of names: in memory for a console alone, else in the database."""
    if database.on_server:
        return SharedRates(database, prefix, per_second=per_second, burst=burst)
    return TokenBuckets(per_second=per_second, burst=burst)


class SharedRates:
    """As :class:`TokenBuckets`, for all consoles on a database. Raises what the database raises."""

    def __init__(self, database: Database, prefix: str, *, per_second: float, burst: float) -> None:
        self._database = database
        self._prefix = prefix
        self._per_second = per_second
        self._burst = burst
        self._batch = max(1, int(burst / SHARE))
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}

    def take(self, name: str) -> float:
        """Take one. Returns 0, or if there is none the seconds until there is."""
        with self._lock:
            if self._taken.get(name, 0):
                self._taken[name] -= 1
                return 0.0
        with self._database.write_one_row() as connection:
            wait, taken = self._take(connection, f"{self._prefix}/{name}")
        if taken > 1:
            with self._lock:
                if len(self._taken) >= MAX_NAMES:
                    self._taken.clear()
                self._taken[name] = self._taken.get(name, 0) + taken - 1
        return wait

    def wait(self, name: str) -> float:
        """As :meth:`take`, but takes none."""
        with self._lock:
            if self._taken.get(name, 0):
                return 0.0
        query = select(RateBucket.level, RateBucket.at, clock(self._database).label("now"))
        with self._database.read() as session:
            row = session.execute(query.where(RateBucket.name == f"{self._prefix}/{name}")).one_or_none()
        return self._seconds(self._filled(row.level, row.now - row.at)) if row is not None else 0.0

    def _take(self, connection: Connection, name: str) -> tuple[float, int]:
        now = clock(self._database)
        full = insert(RateBucket).values(name=name, level=self._burst, at=now)
        if connection.execute(full.on_conflict_do_nothing(index_elements=["name"])).rowcount:
            idle = self._burst / self._per_second + FORGET_SECONDS
            old = RateBucket.at < now - idle
            mine = RateBucket.name.startswith(f"{self._prefix}/")
            connection.execute(delete(RateBucket).where(old, mine, RateBucket.name != name))
        query = select(RateBucket.level, RateBucket.at, now.label("now")).where(RateBucket.name == name)
        row = connection.execute(query.with_for_update()).one()
        level = self._filled(row.level, row.now - row.at)
        taken = min(self._batch, int(level))
        if not taken:
            return self._seconds(level), 0
        left = update(RateBucket).where(RateBucket.name == name)
        connection.execute(left.values(level=level - taken, at=row.now))
        return 0.0, taken

    def _filled(self, level: float, seconds: float) -> float:
        return min(self._burst, level + max(seconds, 0.0) * self._per_second)

    def _seconds(self, level: float) -> float:
        return max(0.0, 1 - level) / self._per_second
