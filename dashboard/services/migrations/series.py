"""The throughput of a migration over time: a few numbers every few seconds, never more than ``MAX_POINTS``.

When there are more, every second one is left out and the next ones come half as often; so a run of seconds
and one of weeks take the same room.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.ledger import Live
from dashboard.models.work import facts
from dashboard.services.bulk import BulkStatement
from dashboard.services.database import Database

MAX_POINTS = 240
FIRST_SECONDS = 2.0
"""Between two points at the beginning."""
MOVING = frozenset({"copying", "verifying"})
"""The phases that are recorded."""
RECENT_SECONDS = 300.0
SHARED_SECONDS = 2.0
"""For which the points that were read are kept for everybody who watches."""
MAX_SHARED = 100
PAUSE_INTERVALS = 4
"""Intervals without a point after which it was paused."""

_SERIES = select(facts.c.series).where(facts.c.migration_id == bindparam("migration"))
_upsert = upsert(facts)
_SAVE = BulkStatement(
    _upsert.on_conflict_do_update(
        index_elements=["migration_id"], set_={"series": _upsert.excluded["series"]}
    ),
    ("migration_id", "series"),
)


@dataclass(frozen=True, slots=True)
class Point:
    """Totals at a moment, in seconds since the epoch. Phases of work in seconds of all workers together,
    since the run began."""

    at: float
    bytes: int
    objects: int
    reading: float = 0.0
    writing: float = 0.0
    verifying: float = 0.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Points in the order of time, about ``every`` seconds apart."""

    every: float = FIRST_SECONDS
    points: tuple[Point, ...] = ()

    def rates(self) -> Iterator[tuple[Point, Point]]:
        """Pairs of neighbours between which it was running."""
        for before, after in zip(self.points, self.points[1:], strict=False):
            if 0 < after.at - before.at <= self.every * PAUSE_INTERVALS:
                yield before, after

    def pauses(self) -> tuple[tuple[float, float], ...]:
        """When it was not running in between."""
        pairs = zip(self.points, self.points[1:], strict=False)
        return tuple((a.at, b.at) for a, b in pairs if b.at - a.at > self.every * PAUSE_INTERVALS)

    def shares(self) -> tuple[float, float, float]:
        """What the workers did in the last five minutes of the run: the parts of reading, writing and
        verifying, together 1, or three times 0 if nothing is known."""
        spent = [0.0, 0.0, 0.0]
        since = self.points[-1].at - RECENT_SECONDS if self.points else 0.0
        for a, b in self.rates():
            if b.at >= since:
                # A new run begins at zero.
                for i, name in enumerate(("reading", "writing", "verifying")):
                    spent[i] += max(0.0, getattr(b, name) - getattr(a, name))
        whole = sum(spent)
        return (spent[0] / whole, spent[1] / whole, spent[2] / whole) if whole else (0.0, 0.0, 0.0)


class SeriesWriter:
    """Adds points while a migration runs. Used by one thread."""

    def __init__(self, migration_id: int) -> None:
        self._id = migration_id
        self._due = 0.0

    def add(self, connection: Connection, live: Live) -> None:
        """Add a point if one is due, in the caller's transaction."""
        if live.phase not in MOVING or live.at < self._due:
            return
        known = _read(connection, self._id)
        spent = live.spent
        point = Point(
            round(live.at, 1),
            live.done_bytes,
            live.done_objects,
            *(round(spent.get(name, 0.0), 1) for name in ("reading", "writing", "verifying")),
        )
        points, every = [*known.points, point], known.every
        if len(points) > MAX_POINTS:
            points, every = points[-1::-2][::-1], every * 2
        self._due = live.at + every
        rows = [[p.at, p.bytes, p.objects, p.reading, p.writing, p.verifying] for p in points]
        series = json.dumps([every, rows], separators=(",", ":"))
        _SAVE.run(connection, [{"migration_id": self._id, "series": series}])


class SeriesReader:
    """Thread-safe. Read once in ``SHARED_SECONDS`` for everybody who watches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[float, Throughput]] = OrderedDict()

    def get(self, migration_id: int) -> Throughput:
        """The throughput so far, at most ``SHARED_SECONDS`` old."""
        with self._lock:
            now = time.monotonic()
            known = self._kept.get(migration_id)
            if known is not None and now - known[0] < SHARED_SECONDS:
                return known[1]
            with self._database.work_read() as connection:
                found = _read(connection, migration_id)
            self._kept[migration_id] = now, found
            self._kept.move_to_end(migration_id)
            while len(self._kept) > MAX_SHARED:
                self._kept.popitem(last=False)
            return found


def _read(connection: Connection, migration_id: int) -> Throughput:
    text = connection.scalar(_SERIES, {"migration": migration_id})
    if not text:
        return Throughput()
    every, rows = json.loads(text)
    return Throughput(every, tuple(Point(*row) for row in rows))
