"""The same content at several backends: what is kept there on purpose, and what deleting the rest would save.

A copy at the active backend, in the fallback order or at either end of a scheduled copy is redundancy that
somebody wants. One at any other backend is spare while another backend holds the content. Only SHA-256
counts: checksums of different kinds cannot be compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, literal, or_, select

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.models.catalogue import counts, files
from dashboard.models.schedules import CopySchedule
from dashboard.models.usage import shared_contents, shared_totals
from dashboard.services.database import Database

MAX_CONTENTS = 2000
"""Contents that are listed, those with most spare bytes; the totals are about all."""
_CHUNK = 200
_C = files.c


class Purpose(StrEnum):
    """Why a backend holds a copy. ``SPARE``: for nothing that this console knows."""

    ACTIVE = "active"
    FALLBACK = "fallback"
    SCHEDULED = "scheduled"
    SPARE = "spare"


@dataclass(frozen=True, slots=True)
class Copies:
    """How many files with a content a backend holds, and why."""

    backend: str
    files: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class SharedContent:
    """A content that several backends hold. ``key``: of one of the files. ``spare_bytes``: what deleting it
    where it is spare would free, while one backend always keeps it."""

    id: int
    sha256: str
    size: int
    key: str
    copies: tuple[Copies, ...]
    spare_bytes: int


@dataclass(frozen=True, slots=True)
class SharedTotals:
    """All contents that several backends hold. ``repeated_bytes``: what they take beyond one copy each,
    ``spare_bytes`` of that in places that keep them for nothing. ``without_sha256`` files are not compared.
    ``at``: when it was summed up, in epoch seconds; None if never. ``current``: whether backends hold copies
    for the same purposes as then; if not, what is spare is another number now."""

    at: float | None = None
    contents: int = 0
    spare_files: int = 0
    spare_bytes: int = 0
    repeated_bytes: int = 0
    without_sha256: int = 0
    current: bool = False


class SeveralBackends:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sum_up(self) -> None:
        """Compare every backend with every other. Reads the catalogue once; idempotent."""
        backends = self._backends()
        wanted = _on_purpose(backends)
        valid = self._valid(tuple(backends))
        totals, rows = self._compare(valid, wanted)
        listed = self._listed(valid, backends, rows)
        table = shared_contents.c
        with self._database.work_write() as connection:
            # What is on somebody's screen keeps its address.
            known = {
                (row.sha256, row.size): row.id
                for row in connection.execute(select(table.id, table.sha256, table.size))
            }
            connection.execute(delete(shared_contents))
            connection.execute(delete(shared_totals))
            connection.execute(
                insert(shared_totals).values(id=1, at=time.time(), on_purpose=wanted, **totals)
            )
            for row in listed:
                if number := known.get((row["sha256"], row["size"])):
                    row["id"] = number
            for some in ([row for row in listed if "id" in row], [row for row in listed if "id" not in row]):
                if some:
                    connection.execute(insert(shared_contents), some)

    def totals(self) -> SharedTotals:
        """What was summed up last."""
        with self._database.work_read() as connection:
            row = connection.execute(select(shared_totals)).first()
        if row is None:
            return SharedTotals()
        values = {name: value for name, value in row._mapping.items() if name not in ("id", "on_purpose")}
        return SharedTotals(**values, current=row.on_purpose == _on_purpose(self._backends()))

    def is_current(self) -> bool:
        """Whether what was summed up last is about the backends' purposes of now."""
        return self.totals().current

    def contents(self, *, limit: int = 50, offset: int = 0) -> tuple[SharedContent, ...]:
        """Those with most spare bytes first, then the largest. Why a backend holds a copy is as of now."""
        table = shared_contents.c
        query = select(shared_contents).order_by(table.spare_bytes.desc(), table.size.desc(), table.id.desc())
        with self._database.work_read() as connection:
            rows = connection.execute(query.limit(limit).offset(min(offset, MAX_CONTENTS))).all()
        backends = self._backends()
        found = (_content(row, backends) for row in rows)
        return tuple(each for each in found if len(each.copies) > 1)

    def get(self, content_id: int) -> SharedContent:
        """One of them. Raises ``NOT_FOUND`` if it was summed up again, or is at one backend only by now."""
        with self._database.work_read() as connection:
            row = connection.execute(
                select(shared_contents).where(shared_contents.c.id == content_id)
            ).one_or_none()
        found = _content(row, self._backends()) if row is not None else None
        if found is None or len(found.copies) < 2:
            raise StowageError(
                Kind.NOT_FOUND,
                "Only one backend holds this content now, or it was summed up again.",
                operation="duplicates",
                remedy="Go back to the list.",
            )
        return found

    def file_ids(self, content: SharedContent, *, limit: int = 200) -> list[int]:
        """The files of a content as the catalogue knows them now, by backend and key."""
        backends = self._backends()
        same = (_C.sha256 == content.sha256) & (_C.sha256 != "") & (_C.size == content.size)
        mine = and_(same, self._valid(tuple(backends)))
        with self._database.work_read() as connection:
            query = select(_C.id).where(mine).order_by(_C.backend_id, _C.key).limit(limit)
            return list(connection.scalars(query))

    def _backends(self) -> Mapping[int, _Place]:
        with self._database.read() as session:
            query = select(Backend.id, Backend.name, Backend.active, Backend.fallback_position)
            rows = session.execute(query).all()
            ends = session.execute(
                select(CopySchedule.source_id, CopySchedule.destination_id).where(CopySchedule.enabled)
            ).all()
        scheduled = {number for pair in ends for number in pair}
        found = {}
        for row in rows:
            purpose = Purpose.SCHEDULED if row.id in scheduled else Purpose.SPARE
            purpose = Purpose.FALLBACK if row.fallback_position is not None else purpose
            found[row.id] = _Place(row.name, Purpose.ACTIVE if row.active else purpose)
        return found

    def _valid(self, backends: Sequence[int]) -> Any:
        """Rows of earlier generations are about a place that a backend no longer is."""
        with self._database.work_read() as connection:
            query = select(counts.c.backend_id, counts.c.valid_from).where(counts.c.backend_id.in_(backends))
            since = {row.backend_id: row.valid_from or 0 for row in connection.execute(query)}
        # The unary plus keeps SQLite from looking up each file by its backend, which takes ten times as long
        # as reading them in the order in which they are stored, or by the index of checksums.
        backend, size = _C.backend_id.op("+")(0), _C.size.op("+")(0)
        # One list for nearly all: each condition of its own is asked of every file.
        moved = [number for number in backends if since.get(number)]
        plain = [number for number in backends if number not in moved]
        each = [and_(backend == number, _C.seen >= since[number]) for number in moved]
        return and_(or_(backend.in_(plain), *each), size > 0, _C.state == "stored")

    def _compare(self, valid: Any, wanted: Sequence[int]) -> tuple[dict[str, int], list[tuple[str, int]]]:
        on_purpose = case((_C.backend_id.in_(wanted), _C.backend_id))
        places = func.count(_C.backend_id.distinct())
        inner = (
            select(
                _C.sha256,
                _C.size,
                places.label("places"),
                func.count(on_purpose.distinct()).label("kept"),
            )
            .where(valid, _has_sha256(_C), _C.sha256.in_(_repeated()))
            .group_by(_C.sha256, _C.size)
            .having(places > 1)
            .subquery()
        )
        found = inner.c
        spare = found.places - case((found.kept > 0, found.kept), else_=1)
        sums = {
            "contents": func.count(),
            "spare_files": func.sum(spare),
            "spare_bytes": func.sum(spare * found.size),
            "repeated_bytes": func.sum((found.places - 1) * found.size),
        }
        # The sums of all stand beside each row, so that the files are grouped once.
        most: Select[*tuple[Any, ...]] = select(
            found.sha256, found.size, *(each.over().label(name) for name, each in sums.items())
        ).order_by((spare * found.size).desc(), found.size.desc())
        bare = select(func.count()).select_from(files).where(valid, _C.sha256 == "")
        with self._database.work_read() as connection:
            rows = connection.execute(most.limit(MAX_CONTENTS)).all()
            without = connection.scalar(bare)
        totals = {name: int(rows[0]._mapping[name]) if rows else 0 for name in sums}
        return totals | {"without_sha256": without or 0}, [(row.sha256, row.size) for row in rows]

    def _listed(
        self, valid: Any, backends: Mapping[int, _Place], rows: Sequence[tuple[str, int]]
    ) -> list[dict[str, Any]]:
        query = select(_C.sha256, _C.size, _C.backend_id, func.count(), func.min(_C.key))
        query = query.group_by(_C.sha256, _C.size, _C.backend_id)
        found: dict[tuple[str, int], list[tuple[int, int, str]]] = {row: [] for row in rows}
        with self._database.work_read() as connection:
            for start in range(0, len(rows), _CHUNK):
                some = [sha256 for sha256, _ in rows[start : start + _CHUNK]]
                mine = query.where(_C.sha256.in_(some), _C.sha256 != "", valid)
                for sha256, size, backend_id, number, key in connection.execute(mine):
                    if (sha256, size) in found:
                        found[sha256, size].append((backend_id, number, key))
        return [
            {
                "sha256": sha256,
                "size": size,
                "key": held[0][2],
                "places": [[backend_id, number] for backend_id, number, _ in held],
                "spare_bytes": _spare(size, [backends[backend_id].purpose for backend_id, _, _ in held]),
            }
            for (sha256, size), held in found.items()
            if len(held) > 1
        ]


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    purpose: Purpose


def _has_sha256(columns: Any) -> ColumnElement[bool]:
    # The literal lets SQLite use the partial index.
    return cast("ColumnElement[bool]", columns.sha256 != literal("", literal_execute=True))


def _repeated() -> Select[Any]:
    """The checksums of more than one file, from their index alone: most are those of one file only."""
    # Its own name: the same table stands outside.
    table = files.alias().c
    return select(table.sha256).where(_has_sha256(table)).group_by(table.sha256).having(func.count() > 1)


def _on_purpose(backends: Mapping[int, _Place]) -> list[int]:
    return sorted(number for number, each in backends.items() if each.purpose is not Purpose.SPARE)


def _spare(size: int, purposes: Sequence[Purpose]) -> int:
    """One backend always keeps the content, whatever the others hold it for."""
    kept = sum(purpose is not Purpose.SPARE for purpose in purposes)
    return size * (len(purposes) - max(kept, 1))


def _content(row: Any, backends: Mapping[int, _Place]) -> SharedContent:
    copies = tuple(
        Copies(backends[number].name, held, backends[number].purpose)
        for number, held in row.places
        if number in backends
    )
    copies = tuple(sorted(copies, key=lambda each: (list(Purpose).index(each.purpose), each.backend)))
    spare = _spare(row.size, [each.purpose for each in copies]) if len(copies) > 1 else 0
    return SharedContent(row.id, row.sha256, row.size, row.key, copies, spare)
