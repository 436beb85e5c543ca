"""Counts what this console asks of its backends, for each day (UTC). See docs/usage.md for what counts as a
request.

Every process counts in memory and adds to the table now and then, in one statement. A killed process loses
at most the last ``STORE_SECONDS``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import StowageError
from dashboard.models.catalogue import fallback_reads
from dashboard.models.usage import request_counts
from dashboard.services.database import Database, clamp_integer
from dashboard.storage.driver import Driver
from dashboard.storage.wrappers.counted.driver import Counted
from dashboard.storage.wrappers.counted.request_counter import ERROR, Counts, RequestClass, RequestCounter

log = logging.getLogger(__name__)

DAY = 86_400
STORE_SECONDS = 10.0
KEPT_DAYS = 730
MONTH = 30

_C = request_counts.c


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """The requests to one backend in some days. ``bytes_read`` left it, ``bytes_written`` went there.
    ``errors`` by kind, most first. ``fallback_reads``: reads of it that another backend answered."""

    reads: int = 0
    writes: int = 0
    lists: int = 0
    deletes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    fallback_reads: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.reads + self.writes + self.lists + self.deletes

    @property
    def failed(self) -> int:
        """Errors of all kinds."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class RequestDays:
    """Requests and errors of each day, the oldest first, by the id of a backend. ``days`` since the epoch."""

    days: tuple[int, ...]
    requests: Mapping[int, tuple[int, ...]]
    errors: Mapping[int, tuple[int, ...]]


class RequestCounts:
    """Thread-safe. Counting never raises, and never waits for the database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._counters: dict[int, RequestCounter] = {}
        self._timer: threading.Timer | None = None
        self._closed = False
        self._storing = threading.Lock()
        self._cleaned = 0

    def counted(self, backend_id: int) -> Callable[[Driver], Driver]:
        """Return what puts the counter of a backend around its driver."""
        with self._lock:
            counter = self._counters.get(backend_id)
            if counter is None:
                counter = self._counters[backend_id] = RequestCounter(self._schedule)
        return lambda driver: Counted(driver, counter)

    def store(self) -> None:
        """Add what was counted to the table. A failure is logged, and the counts are kept for the next
        time. Called by itself; a process calls it before it ends."""
        with self._storing:
            with self._lock:
                timer, self._timer = self._timer, None
                counters = dict(self._counters)
            if timer is not None:
                timer.cancel()
            taken = {backend_id: counter.take() for backend_id, counter in counters.items()}
            try:
                self._add({number: counts for number, counts in taken.items() if counts})
            except (StowageError, SQLAlchemyError) as error:
                log.warning("Counts of requests could not be stored yet: %s", error)
                for number, counts in taken.items():
                    counters[number].put_back(counts)
                if any(taken.values()):
                    self._schedule()

    def close(self) -> None:
        """Store what was counted, and count no more in the background. Idempotent."""
        with self._lock:
            self._closed = True
        self.store()

    def totals(self, backend_ids: Sequence[int], days: int = MONTH) -> Mapping[int, RequestTotals]:
        """Return the requests to these backends in the last ``days``, today included, as far as they are
        stored."""
        since, ids = self._today() - days + 1, tuple(backend_ids)
        return self._database.kept(("requests", ids, since), lambda: self._read_totals(ids, since), of="work")

    def _read_totals(self, backend_ids: Sequence[int], since: int) -> Mapping[int, RequestTotals]:
        counted, elsewhere = _sums_since()
        values = {"ids": list(backend_ids), "since": since}
        with self._database.work_read() as connection:
            rows = connection.execute(counted, values).all()
            others = {row[0]: row[1] for row in connection.execute(elsewhere, values)}
        found: dict[int, dict[str, tuple[int, int]]] = {number: {} for number in backend_ids}
        for backend_id, what, requests, size in rows:
            found[backend_id][what] = (requests, size)
        return {number: _totals(counts, others.get(number, 0)) for number, counts in found.items()}

    def by_day(self, backend_ids: Sequence[int], days: int = MONTH) -> RequestDays:
        """Return requests and errors of each of the last ``days``, today included, as far as it is stored."""
        today, ids = self._today(), tuple(backend_ids)
        key = ("requests by day", ids, days, today)
        return self._database.kept(key, lambda: self._read_days(ids, today - days + 1, today), of="work")

    def _read_days(self, backend_ids: Sequence[int], first: int, today: int) -> RequestDays:
        days = today - first + 1
        values = {"ids": list(backend_ids), "first": first, "last": today}
        requests = {number: [0] * days for number in backend_ids}
        errors = {number: [0] * days for number in backend_ids}
        with self._database.work_read() as connection:
            for backend_id, day, what, count in connection.execute(_each_between(), values):
                into = errors if what.startswith(ERROR) else requests
                into[backend_id][day - first] += count
        return RequestDays(
            tuple(range(first, today + 1)),
            {number: tuple(row) for number, row in requests.items()},
            {number: tuple(row) for number, row in errors.items()},
        )

    def _today(self) -> int:
        return int(self._clock() // DAY)

    def _schedule(self) -> None:
        """Store a while after the first count, on a thread of its own: no thread waits while nothing is
        traffic."""
        with self._lock:
            if self._closed or self._timer is not None:
                return
            self._timer = threading.Timer(STORE_SECONDS, self.store)
            self._timer.daemon = True
            self._timer.start()

    def _add(self, taken: Mapping[int, Counts]) -> None:
        if not taken:
            return
        today = self._today()
        rows = [
            {"backend_id": number, "day": today, "what": what, "requests": requests, "bytes": size}
            for number, counts in taken.items()
            for what, (requests, size) in counts.items()
        ]
        statement = insert(request_counts)
        added = {name: _C[name] + statement.excluded[name] for name in ("requests", "bytes")}
        statement = statement.on_conflict_do_update(index_elements=["backend_id", "day", "what"], set_=added)
        with self._database.work_write() as connection:
            connection.execute(statement.values(rows))
            if self._cleaned != today:
                connection.execute(delete(request_counts).where(_C.day < today - KEPT_DAYS))
        self._cleaned = today


# Putting these together takes longer than running them.


@cache
def _sums_since() -> tuple[Select[Any], Select[Any]]:
    """The requests to backends since a day, and their reads that others answered."""
    table, ids = fallback_reads.c, bindparam("ids", type_=Integer, expanding=True)
    query = select(_C.backend_id, _C.what, func.sum(_C.requests), func.sum(_C.bytes))
    query = query.where(_C.backend_id.in_(ids), _C.day >= bindparam("since"))
    elsewhere = select(table.backend_id, func.sum(table.reads))
    elsewhere = elsewhere.where(table.backend_id.in_(ids), table.day >= bindparam("since"))
    return query.group_by(_C.backend_id, _C.what), elsewhere.group_by(table.backend_id)


@cache
def _each_between() -> Select[Any]:
    """The requests to backends of each day of a period."""
    query = select(_C.backend_id, _C.day, _C.what, _C.requests)
    between = (_C.day >= bindparam("first"), _C.day <= bindparam("last"))
    return query.where(_C.backend_id.in_(bindparam("ids", expanding=True)), *between)


def _totals(counts: Counts, elsewhere: int) -> RequestTotals:
    def of(what: RequestClass) -> tuple[int, int]:
        requests, size = counts.get(what, (0, 0))
        return clamp_integer(requests), clamp_integer(size)

    errors = {what[len(ERROR) :]: row[0] for what, row in counts.items() if what.startswith(ERROR)}
    return RequestTotals(
        reads=of(RequestClass.READ)[0],
        writes=of(RequestClass.WRITE)[0],
        lists=of(RequestClass.LIST)[0],
        deletes=of(RequestClass.DELETE)[0],
        bytes_read=of(RequestClass.READ)[1],
        bytes_written=of(RequestClass.WRITE)[1],
        errors=dict(sorted(errors.items(), key=lambda each: -each[1])),
        fallback_reads=elsewhere,
    )
