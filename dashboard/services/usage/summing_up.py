"""Sums up the catalogue: the job behind the Usage page.

The files are read in small transactions, once for everything but the duplicates, and those of a backend not
at all while none of them has changed. Nothing is held for each file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Select,
    Subquery,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.models import files_by_day
from dashboard.models.backends import Backend
from dashboard.models.catalogue import counts, files
from dashboard.models.usage import duplicates, summaries
from dashboard.services.database import Database, clamp_integer
from dashboard.services.usage.file_figures import DAY, FileFigures
from dashboard.services.usage.several_backends import SeveralBackends

MAX_GROUPS = 2000
"""Groups of duplicates that are kept of each backend, those that waste most."""
PAGE = 5_000
"""Files of one transaction."""
MAX_PAUSE_SECONDS = 0.2
_GENERATION = 2**40
_FORGET_DAYS = text(
    f"DELETE FROM {files_by_day.TABLE} WHERE files = 0 AND backend_id NOT IN :wanted"  # noqa: S608
).bindparams(bindparam("wanted", expanding=True))

_C = files.c
_FIGURES = (_C.key, _C.size, _C.modified, _C.kind, (_C.sha256 == "") & (_C.md5 == ""))


class SummingUp:
    """Thread-safe."""

    def __init__(self, database: Database, several: SeveralBackends) -> None:
        self._database = database
        self._several = several

    def run(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Sum up every backend of which a file has changed. Return False if ``stop`` ended it early.
        Idempotent."""
        with self._database.read() as session:
            wanted = tuple(session.scalars(select(Backend.id)))
        self._forget_others(wanted)
        now = time.time()
        changes = {each: self._changes(each) for each in wanted}
        stale = [each for each in wanted if not self._is_current(each, changes[each], now)]
        if stale:
            figures = self._figures_of(stale, now, stop)
            if figures is None:
                return False
            groups = self._groups(_with_known_checksums(stale))
            for backend_id in stale:
                self._store(backend_id, figures[backend_id], groups.get(backend_id, ()), changes[backend_id])
        if stale or not self._several.is_current():
            self._several.sum_up()
        return True

    def backend(self, backend_id: int, stop: Callable[[], bool] = lambda: False) -> bool:
        """Sum up one backend, unless its figures are of today and no file has changed since. Return False if
        ``stop`` ended it early."""
        now = time.time()
        # Before the files: what changes meanwhile is summed up the next time.
        changes = self._changes(backend_id)
        if self._is_current(backend_id, changes, now):
            return True
        figures = self._figures(backend_id, now, stop)
        if figures is None:
            return False
        groups = self._groups(_of_one(backend_id))
        self._store(backend_id, figures, groups.get(backend_id, ()), changes)
        return True

    def _store(
        self, backend_id: int, figures: FileFigures, groups: Sequence[Row[Any]], changes: int | None
    ) -> None:
        first = groups[0] if groups else None
        values = {
            "at": figures.at,
            "changes": changes,
            **figures.values(),
            "duplicate_groups": first.number if first else 0,
            "duplicate_files": first.spare if first else 0,
            "duplicate_bytes": first.saved if first else 0,
        }
        names = ("backend_id", "checksum", "size", "copies", "wasted", "key")
        with self._database.work_write() as connection:
            statement = upsert(summaries).values(backend_id=backend_id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["backend_id"], set_=values))
            connection.execute(delete(duplicates).where(duplicates.c.backend_id == backend_id))
            if groups:
                found = [{name: row._mapping[name] for name in names} for row in groups]
                connection.execute(insert(duplicates), found)

    def _changes(self, backend_id: int) -> int | None:
        """A number that is another one once a file of this backend has changed; None if none is kept."""
        valid = select(counts.c.valid_from).where(counts.c.backend_id == backend_id)
        with self._database.work_read() as connection:
            if not files_by_day.is_kept(connection):
                return None
            changes = connection.scalar(text(files_by_day.CHANGES), {"backend": backend_id}) or 0
            # Where the backend was moved elsewhere, other rows are valid.
            return clamp_integer(int(changes) + (connection.scalar(valid) or 0) * _GENERATION)

    def _is_current(self, backend_id: int, changes: int | None, now: float) -> bool:
        query = select(summaries.c.at, summaries.c.changes).where(summaries.c.backend_id == backend_id)
        with self._database.work_read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or changes is None or row.changes != changes:
            return False
        return bool(row.at <= now < row.at + DAY)

    def _forget_others(self, wanted: tuple[int, ...]) -> None:
        with self._database.work_write() as connection:
            for table in (summaries, duplicates):
                connection.execute(delete(table).where(table.c.backend_id.not_in(wanted)))
            if files_by_day.is_kept(connection):
                connection.execute(_FORGET_DAYS, {"wanted": wanted})

    def _figures(self, backend_id: int, now: float, stop: Callable[[], bool]) -> FileFigures | None:
        """Everything about one backend but its duplicates; None if ``stop`` ended it."""
        figures = FileFigures(now)
        query = select(*_FIGURES).where(_C.backend_id == backend_id, _is_valid())
        for rows in self._pages(query, _C.key, stop):
            if rows is None:
                return None
            figures.add(rows)
        return figures

    def _figures_of(
        self, backend_ids: Sequence[int], now: float, stop: Callable[[], bool]
    ) -> dict[int, FileFigures] | None:
        """The same of many: all files in the order in which they are stored, which is several times faster
        than one backend's after the other's."""
        figures = {each: FileFigures(now) for each in backend_ids}
        for rows in self._pages(select(*_FIGURES, _C.id, _C.backend_id).where(_is_valid()), _C.id, stop):
            if rows is None:
                return None
            mine: dict[int, list[Row[Any]]] = {}
            for row in rows:
                mine.setdefault(row.backend_id, []).append(row)
            for backend_id, some in mine.items():
                if backend_id in figures:
                    figures[backend_id].add(some)
        return figures

    def _pages(
        self, query: Select[*tuple[Any, ...]], order: Column[Any], stop: Callable[[], bool]
    ) -> Iterator[Sequence[Row[Any]] | None]:
        """The files of a query, each page in a transaction of its own; None at last if ``stop`` ended it."""
        query, after = query.order_by(order).limit(PAGE), None
        while not stop():
            began = time.monotonic()
            with self._database.work_read() as connection:
                page = query if after is None else query.where(order > after)
                rows = connection.execute(page).all()
            yield rows
            if len(rows) < PAGE:
                return
            after = rows[-1]._mapping[order]
            # Pages and migrations have half of a core at least.
            time.sleep(min(time.monotonic() - began, MAX_PAUSE_SECONDS))
        yield None

    def _groups(self, rows: Subquery) -> dict[int, list[Row[Any]]]:
        """The groups that waste most of each backend, among files with a backend, checksum, size and key;
        each with the sums of all groups of its backend: their number, spare files and bytes."""
        r = rows.c
        copies, wasted = func.count().label("copies"), ((func.count() - 1) * r.size).label("wasted")
        one = select(r.backend_id, r.checksum, r.size, copies, wasted, func.min(r.key).label("key"))
        g = one.group_by(r.backend_id, r.checksum, r.size).having(func.count() > 1).subquery().c
        rank = func.row_number().over(partition_by=g.backend_id, order_by=(g.wasted.desc(), g.checksum))
        sums = {"number": func.count(), "spare": func.sum(g.copies - 1), "saved": func.sum(g.wasted)}
        over = [each.over(partition_by=g.backend_id).label(name) for name, each in sums.items()]
        ranked = select(*g, rank.label("rank"), *over).subquery()
        query = select(ranked).where(ranked.c.rank <= MAX_GROUPS).order_by(ranked.c.backend_id, ranked.c.rank)
        found: dict[int, list[Row[Any]]] = {}
        with self._database.work_read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.backend_id, []).append(row)
        return found


def _is_valid() -> ColumnElement[bool]:
    """Rows of earlier generations are about a place that the backend no longer is."""
    valid = select(counts.c.valid_from).where(counts.c.backend_id == _C.backend_id).scalar_subquery()
    return _C.seen >= func.coalesce(valid, 0)


def _of_one(backend_id: int) -> Subquery:
    """The files of one backend that have a checksum."""
    checksum = case((_C.sha256 != "", _C.sha256), else_=_C.md5).label("checksum")
    query = select(_C.backend_id, checksum, _C.size, _C.key)
    has_one = or_(_C.sha256 != "", _C.md5 != "")
    return query.where(_C.backend_id == backend_id, has_one, *_is_counted()).subquery()


def _with_known_checksums(backend_ids: Sequence[int]) -> Subquery:
    """Of many backends, the files with a checksum that another file has, too: from its index alone."""

    def repeated(column: Column[str]) -> Select[str]:
        # Its own name: the same table stands outside.
        table = files.alias()
        same = table.c[column.name]
        return (
            select(same)
            .where(same != literal("", literal_execute=True))
            .group_by(same)
            .having(func.count() > 1)
        )

    def found(column: Column[str], *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
        query = select(_C.backend_id, column.label("checksum"), _C.size, _C.key)
        known = column != literal("", literal_execute=True)
        return query.where(column.in_(repeated(column)), known, *where, *_is_counted())

    mine = _C.backend_id.in_(backend_ids)
    return union_all(found(_C.sha256, mine), found(_C.md5, _C.sha256 == "", mine)).subquery()


def _is_counted() -> tuple[ColumnElement[bool], ...]:
    return _C.size > 0, _C.state == "stored", _is_valid()
