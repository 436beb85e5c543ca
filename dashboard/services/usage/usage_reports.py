"""Reads what the job has summed up: a few rows for each backend, whatever they hold."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, select

from dashboard.models.backends import Backend, BackendStatus
from dashboard.models.usage import duplicates, summaries
from dashboard.services.csv_cells import csv_line
from dashboard.services.database import Database
from dashboard.services.history.history import History
from dashboard.services.history.history_values import HOUR
from dashboard.services.requests.request_counts import RequestCounts, RequestTotals
from dashboard.services.usage.file_figures import AGE_NAMES, SIZE_NAMES, UNKNOWN_AGE
from dashboard.services.usage.prices import PriceTable, cost_of
from dashboard.services.usage.several_backends import SeveralBackends
from dashboard.services.usage.usage_values import (
    BackendUsage,
    DuplicateGroup,
    NamedFile,
    Usage,
    added,
)

MAX_SHOWN = 20


class UsageReports:
    """Thread-safe."""

    def __init__(
        self, database: Database, history: History, requests: RequestCounts, several: SeveralBackends
    ) -> None:
        self._database = database
        self._several = several
        self._history = history
        self._requests = requests

    def usage(self) -> Usage:
        """Everything that the page shows."""
        # The periods of what it is put together from begin with an hour.
        return self._database.kept(("usage", time.time() // HOUR), self._read)

    def _read(self) -> Usage:
        with self._database.read() as session:
            backends = session.execute(_counted_backends()).all()
        with self._database.work_read() as connection:
            rows = {row.backend_id: row for row in connection.execute(_ALL_SUMMARIES)}
        names = {row.id: row.name for row in backends}
        known = [rows[number] for number in names if number in rows]
        uptime = self._history.uptime(tuple(names), "30d")
        traffic = self._requests.totals(tuple(names))
        ages = added([row.ages for row in known], (*AGE_NAMES, UNKNOWN_AGE))
        return Usage(
            tuple(_backend(row, rows.get(row.id), uptime[row.id], traffic[row.id]) for row in backends),
            added([row.kinds for row in known]),
            added([row.sizes for row in known], SIZE_NAMES),
            tuple(each for each in ages if each.name != UNKNOWN_AGE or each.files),
            _named(known, names, "largest", key=lambda each: -each[2]),
            _named(known, names, "oldest", key=lambda each: each[3] or 0.0),
            self.duplicates(limit=5),
        )

    def duplicates(
        self, *, limit: int = 50, offset: int = 0, backend: str = ""
    ) -> tuple[DuplicateGroup, ...]:
        """The groups that waste most."""
        names = self._names()
        table = duplicates.c
        wanted = [number for number, name in names.items() if not backend or name == backend]
        query = select(duplicates).where(table.backend_id.in_(wanted))
        query = query.order_by(table.wasted.desc(), table.id).limit(limit).offset(min(offset, 10**6))
        with self._database.work_read() as connection:
            return tuple(_group(row, names) for row in connection.execute(query))

    def duplicate(self, group_id: int) -> DuplicateGroup | None:
        """One group, or None if there is none any more."""
        with self._database.work_read() as connection:
            row = connection.execute(select(duplicates).where(duplicates.c.id == group_id)).one_or_none()
        names = self._names()
        return _group(row, names) if row is not None and row.backend_id in names else None

    def csv_lines(self, table: PriceTable) -> Iterator[str]:
        """A line for each figure: what it is about, its name, objects, bytes, and the cost of a month."""
        usage = self.usage()
        yield csv_line(("about", "name", "objects", "bytes", "cost_per_month", "currency"))
        for each in usage.backends:
            total = cost_of(each, table).total
            cost = "" if total is None else f"{total:.2f}"
            yield csv_line(("backend", each.name, each.objects or 0, each.bytes or 0, cost, table.currency))
        for about, slices in (
            ("type", usage.kinds),
            ("size up to", usage.sizes),
            ("changed within", usage.ages),
        ):
            for part in slices:
                yield csv_line((about, part.name, part.files, part.bytes, "", ""))
        for about, files in (("largest", usage.largest), ("oldest", usage.oldest)):
            for file in files:
                yield csv_line((about, f"{file.backend}/{file.key}", 1, file.size, "", ""))
        for each in usage.backends:
            yield from _traffic_lines(each)
        for each in usage.backends:
            yield csv_line(("in duplicates", each.name, each.duplicate_files, each.duplicate_bytes, "", ""))
        shared = self._several.totals()
        yield csv_line(("at several backends", "all", shared.contents, shared.repeated_bytes, "", ""))
        yield csv_line(("at several backends", "spare", shared.spare_files, shared.spare_bytes, "", ""))

    def _names(self) -> Mapping[int, str]:
        with self._database.read() as session:
            return {row.id: row.name for row in session.execute(select(Backend.id, Backend.name))}


_ALL_SUMMARIES = select(summaries)


@cache
def _counted_backends() -> Select[*tuple[Any, ...]]:
    columns = (Backend.id, Backend.name, Backend.preset)
    status = (BackendStatus.objects, BackendStatus.bytes, BackendStatus.counted_at)
    query: Select[*tuple[Any, ...]] = select(*columns, *status)
    return query.outerjoin(BackendStatus, BackendStatus.backend_id == Backend.id).order_by(Backend.name)


def _backend(row: Row[Any], summary: Row[Any] | None, uptime: Any, traffic: RequestTotals) -> BackendUsage:
    values: dict[str, Any] = {}
    if summary is not None:
        fields = ("at", "duplicate_groups", "duplicate_files", "duplicate_bytes", "without_checksum")
        values = {name: getattr(summary, name) for name in fields}
    return BackendUsage(
        row.id,
        row.name,
        row.preset,
        row.objects,
        row.bytes,
        row.counted_at,
        **values,
        checks=uptime.checks,
        failed_checks=uptime.failed,
        traffic=traffic,
    )


def _traffic_lines(backend: BackendUsage) -> Iterator[str]:
    traffic = backend.traffic
    for what, requests, size in (
        ("reads", traffic.reads, traffic.bytes_read),
        ("writes", traffic.writes, traffic.bytes_written),
        ("lists", traffic.lists, 0),
        ("deletes", traffic.deletes, 0),
        ("read elsewhere", traffic.fallback_reads, 0),
        *((f"errors, {kind}", count, 0) for kind, count in traffic.errors.items()),
    ):
        yield csv_line((f"{what} in 30 days", backend.name, requests, size, "", ""))


def _named(rows: Any, names: Mapping[int, str], column: str, key: Any) -> tuple[NamedFile, ...]:
    found = ((names[row.backend_id], *each) for row in rows for each in getattr(row, column))
    return tuple(NamedFile(*each) for each in heapq.nsmallest(MAX_SHOWN, found, key))


def _group(row: Row[Any], names: Mapping[int, str]) -> DuplicateGroup:
    return DuplicateGroup(
        row.id, names[row.backend_id], row.checksum, row.size, row.copies, row.wasted, row.key
    )
