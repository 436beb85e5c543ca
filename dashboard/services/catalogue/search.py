"""Searching the catalogue in steps: each examines a bounded number of rows in the order of the page, so that
it appears at once, however many files there are and however few match. See decision 041.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    cast,
    exists,
    func,
    literal,
    select,
    tuple_,
)

from dashboard.errors import InvalidInput
from dashboard.models.catalogue import files
from dashboard.services.catalogue.file_values import File
from dashboard.services.catalogue.filters import FileFilters, Sort
from dashboard.services.catalogue.key_conditions import begins_with, contains

STEP_ROWS = 5000
"""Rows that one step examines, at most."""
FIRST_ROWS = 1000
"""Rows that the first step examines: where they have to be read from the disk, that takes long enough."""
STEP_SECONDS = 0.015
"""After this time a page is returned although it is not full."""
MAX_PAGE = 1000
MAX_CURSOR = 65_536
"""Characters; the longest key that any backend has, in its longest form, takes fewer."""

_C = files.c
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Files that were found, in order. ``cursor``: where to go on; empty at the end. A page may be short, or
    even empty, before the end: then the search has only examined what it could within its time."""

    files: tuple[File, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of the rows that one index has in order."""

    order: tuple[ColumnElement[Any], ...]
    where: tuple[ColumnElement[bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """The last row that was examined: the number of its stretch, and its values there (none: before it)."""

    stretch: int = 0
    values: tuple[Any, ...] = ()

    def encode(self) -> str:
        """Return it as a cursor."""
        return base64.urlsafe_b64encode(json.dumps([self.stretch, *self.values]).encode()).decode()


def find_rows(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    filters: FileFilters,
    *,
    backend_id: int | None,
    sort: Sort,
    descending: bool,
    cursor: str,
    limit: int,
) -> tuple[list[Row[Any]], str]:
    """Return rows that match, and the next cursor. ``backend_id``: that of ``filters.backend``."""
    stretches = _stretches(filters, backend_id, sort)
    wanted = _conditions(filters, backend_id)
    at = _decode(cursor, stretches) if cursor else Position()
    limit = max(1, min(limit, MAX_PAGE))
    deadline = time.monotonic() + STEP_SECONDS
    found: list[Row[Any]] = []
    step = min(FIRST_ROWS, STEP_ROWS)
    while True:
        began = time.monotonic()
        stretch = stretches[at.stretch]
        # A checksum has its own index, and few rows.
        last = None if filters.checksum else _boundary(connection, stretch, at, descending, step)
        matching = _between(stretch, select(*columns, *_labelled(stretch)), at, descending)
        matching = matching.where(*wanted).limit(limit - len(found))
        if last is not None:
            matching = matching.where(_compare(stretch, last, descending, at_most=True))
        rows = connection.execute(matching).all()
        found += rows
        if len(found) >= limit:
            return found, Position(at.stretch, _values(rows[-1], stretch)).encode()
        if last is None and at.stretch + 1 == len(stretches):
            return found, ""
        at = Position(at.stretch + 1) if last is None else Position(at.stretch, last)
        now = time.monotonic()
        if now >= deadline:
            return found, at.encode()
        # As many as fit in, at the speed of this step.
        step = max(1, min(STEP_ROWS, int(step * (deadline - now) / max(now - began, 1e-6))))


def matching_rows(filters: FileFilters, backend_id: int | None) -> ColumnElement[bool]:
    """Return the condition for all rows that match."""
    ranges = [*_size_ranges(filters, _C.size), *_time_ranges(filters, _C.modified)]
    return and_(literal(value=True), *_conditions(filters, backend_id), *ranges)


def _stretches(filters: FileFilters, backend_id: int | None, sort: Sort) -> tuple[_Stretch, ...]:
    place: tuple[ColumnElement[Any], ...] = (_C.backend_id, _C.key)
    match sort:
        case Sort.NAME:
            if backend_id is None:
                return (_Stretch(place),)
            return (_Stretch((_C.key,), (_C.backend_id == backend_id,)),)
        case Sort.SIZE:
            return (_Stretch((_C.size, *place), tuple(_size_ranges(filters, _C.size))),)
        case Sort.MODIFIED:
            times = _time_ranges(filters, _C.modified)
            known = _Stretch((_C.modified, *place), (_C.modified.is_not(None), *times))
            return known, _Stretch(place, (_C.modified.is_(None), *times))


def _size_ranges(filters: FileFilters, size: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    ranges: list[ColumnElement[bool]] = []
    if filters.min_size is not None:
        ranges.append(size >= filters.min_size)
    if filters.max_size is not None:
        ranges.append(size <= filters.max_size)
    return ranges


def _time_ranges(filters: FileFilters, modified: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    ranges: list[ColumnElement[bool]] = []
    if filters.modified_after is not None:
        ranges.append(modified >= filters.modified_after)
    if filters.modified_before is not None:
        ranges.append(modified < filters.modified_before)
    if filters.max_age is not None:
        ranges.append(modified >= time.time() - filters.max_age)
    if filters.min_age is not None:
        ranges.append(modified <= time.time() - filters.min_age)
    return ranges


def _conditions(filters: FileFilters, backend_id: int | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if backend_id is not None:
        # The unary plus keeps SQLite from leaving the index of the order for that of the backend.
        wanted.append(_C.backend_id.op("+")(0) == backend_id)
    # Likewise: in the order of names, an index of sizes would have to be sorted for every page.
    wanted += _size_ranges(filters, _C.size.op("+")(0))
    wanted += _time_ranges(filters, _C.modified.op("+")(0))
    if filters.name:
        wanted.append(contains(_C.key, filters.name))
    if filters.folder:
        wanted.append(begins_with(_C.key, filters.folder))
    if filters.kind:
        wanted.append(_C.kind == filters.kind)
    if filters.content_type:
        wanted.append(_C.content_type.startswith(filters.content_type, autoescape=True))
    if filters.checksum:
        column = _C.sha256 if len(filters.checksum) == _SHA256_DIGITS else _C.md5
        # The second condition lets SQLite use the partial index.
        wanted += [column == filters.checksum, column != literal("", literal_execute=True)]
    if filters.owner:
        wanted.append(_C.owner == filters.owner)
    for name, value in filters.metadata.items():
        details = func.json_each(_C.details).table_valued("key", "value")
        same = (details.c.key == name) & (cast(details.c.value, String) == value)
        wanted.append(exists(select(literal(1)).select_from(details).where(same)))
    return wanted


def _labelled(stretch: _Stretch) -> list[ColumnElement[Any]]:
    return [column.label(f"position_{number}") for number, column in enumerate(stretch.order)]


def _values(row: Row[Any], stretch: _Stretch) -> tuple[Any, ...]:
    return tuple(row._mapping[f"position_{number}"] for number in range(len(stretch.order)))


def _boundary(
    connection: Connection, stretch: _Stretch, at: Position, descending: bool, step: int
) -> tuple[Any, ...] | None:
    """Return the values of the last row that a step of ``step`` rows examines; None: it examines the rest."""
    query = _between(stretch, select(*_labelled(stretch)), at, descending)
    row = connection.execute(query.limit(1).offset(step - 1)).one_or_none()
    return None if row is None else _values(row, stretch)


def _between(stretch: _Stretch, query: Select[Any], at: Position, descending: bool) -> Select[Any]:
    query = query.where(*stretch.where)
    if at.values:
        query = query.where(_compare(stretch, at.values, descending, at_most=False))
    return query.order_by(*(each.desc() if descending else each.asc() for each in stretch.order))


def _compare(
    stretch: _Stretch, values: tuple[Any, ...], descending: bool, *, at_most: bool
) -> ColumnElement[bool]:
    """Whether a row is at most at these values in the order, or else after them."""
    row = tuple_(*stretch.order)
    other = tuple_(
        *(literal(value, column.type) for value, column in zip(values, stretch.order, strict=True)),
    )
    if at_most:
        return row >= other if descending else row <= other
    return row < other if descending else row > other


def _decode(cursor: str, stretches: tuple[_Stretch, ...]) -> Position:
    """Return the position of a cursor. Raises ``InvalidInput``: it comes from outside."""
    try:
        number, *values = json.loads(base64.urlsafe_b64decode(cursor[:MAX_CURSOR].encode("ascii")))
        stretch = stretches[number]
        fits = not values or all(
            _fits(value, column) for value, column in zip(values, stretch.order, strict=True)
        )
    except (ValueError, TypeError, IndexError, RecursionError):
        fits = False
    if not fits or number < 0:
        raise InvalidInput("cursor", "This place in the list does not exist.", remedy="Start from the top.")
    return Position(number, tuple(values))


def _fits(value: object, column: ColumnElement[Any]) -> bool:
    if column is _C.key:
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
