"""Searching the ledger of a migration: pages of its objects that match a filter, however many it has.

Every page reads rows along one index and looks at no more than ``MAX_SCANNED`` that do not match. Where that
is not enough to fill the page, the page says so and the next one continues there; so no filter takes longer
with a larger ledger.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from dashboard.errors import InvalidInput
from dashboard.migration.types import Action, LedgerRow, ObjectState
from dashboard.models.work import KeyBytes, objects
from dashboard.services.database import Database, clamp_integer

MAX_SCANNED = 5_000
"""Rows that a page looks at, apart from those that match."""
FIRST_SCANNED = 1_000
"""Rows that it looks at first; the page ends there if all of them would take longer than ``PAGE_SECONDS``,
because they have to be read from the disk."""
PAGE_SECONDS = 0.1

_C = objects.c
_ROW_COLUMNS = tuple(objects.c[name] for name in LedgerRow.__dataclass_fields__)
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """Which objects of a ledger: all that match everything given. Sizes in bytes, both ends included."""

    state: ObjectState | None = None
    kind: str = ""
    reason: str = ""
    prefix: str = ""
    min_size: int | None = None
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A page of objects. ``next_after``: where the next page begins, empty after the last one.
    ``is_partial``: whether the page is not full although there may be more, because enough was searched."""

    rows: tuple[LedgerRow, ...]
    next_after: str
    is_partial: bool


@dataclass(frozen=True, slots=True)
class _Order:
    """An order of rows that an index has. ``letter``: how a cursor names it."""

    letter: str
    columns: tuple[ColumnElement[Any], ...]
    descending: bool = False

    def beyond(self, values: Sequence[Any]) -> ColumnElement[bool]:
        """The rows after these values."""
        mine, given = self._sides(values)
        found: ColumnElement[bool] = mine < given if self.descending else mine > given
        return found

    def up_to(self, values: Sequence[Any]) -> ColumnElement[bool]:
        """The rows before these values, and the row that has them."""
        mine, given = self._sides(values)
        found: ColumnElement[bool] = mine >= given if self.descending else mine <= given
        return found

    def _sides(self, values: Sequence[Any]) -> tuple[Any, Any]:
        if len(self.columns) == 1:
            return self.columns[0], values[0]
        return tuple_(*self.columns), tuple_(*values)

    @property
    def clauses(self) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        return [column.desc() if self.descending else column for column in self.columns]


_BY_ID, _BY_KEY = _Order("i", (_C.id,)), _Order("k", (_C.key,))
_BY_SIZE = _Order("s", (_C.size, _C.id), descending=True)
_ORDERS = {order.letter: order for order in (_BY_ID, _BY_KEY, _BY_SIZE)}


class LedgerSearch:
    """The ledgers of ``work.db``. Thread-safe; every page is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, migration_id: int, wanted: ObjectFilter, *, after: str = "", limit: int) -> ObjectPage:
        """Return the objects that match, from the beginning or from ``next_after`` of the page before.

        In key order if a prefix is given, the largest first if a size is, else in the order of the plan; a
        filter by reason or by a rare state keeps that of the plan. Raises ``InvalidInput`` for an ``after``
        that is none, or whose row was removed since.
        """
        with self._database.work_read() as connection:
            return _Search(connection, migration_id, wanted).page(after, limit)


class _Search:
    def __init__(self, connection: Connection, migration_id: int, wanted: ObjectFilter) -> None:
        self._connection = connection
        self._mine = _C.migration_id == migration_id
        self._wanted = wanted

    def page(self, after: str, limit: int) -> ObjectPage:
        order, start = self._start(after) if after else (self._best_order(), None)
        ids, bound = self._looked_up(order, start, limit + 1)
        shown = self._rows(ids[:limit])
        if len(ids) > limit:
            return ObjectPage(shown, f"{order.letter}{shown[-1].id}", False)
        if bound is None:
            return ObjectPage(shown, "", False)
        return ObjectPage(shown, f"{order.letter}{bound[-1]}", len(shown) < limit)

    def _looked_up(
        self, order: _Order, start: Sequence[Any] | None, limit: int
    ) -> tuple[Sequence[int], Row[Any] | None]:
        """The ids of what matches, and the last row that was looked at for them; None: all of them were."""
        ranges, matches = self._ranges(order, start), self._matches(order)
        if not matches:
            return self._ids(ranges, matches, order, limit), None
        began = time.monotonic()
        for most in sorted({min(FIRST_SCANNED, MAX_SCANNED), MAX_SCANNED}):
            bound = self._bound(ranges, order, most)
            part = ranges if bound is None else self._ranges(order, start, bound[:-1])
            ids = self._ids(part, matches, order, limit)
            expected = (time.monotonic() - began) * MAX_SCANNED / most
            if bound is None or len(ids) >= limit or expected > PAGE_SECONDS:
                break
        return ids, bound

    def _ids(
        self,
        ranges: Sequence[ColumnElement[bool]],
        matches: Sequence[ColumnElement[bool]],
        order: _Order,
        limit: int,
    ) -> Sequence[int]:
        found: list[int] = []
        for condition in ranges:
            query = select(_C.id).where(condition, *matches).order_by(*order.clauses).limit(limit)
            found += self._connection.scalars(query)
        # Ranges by key follow each other.
        return sorted(found)[:limit] if order is _BY_ID else found[:limit]

    def _rows(self, ids: Sequence[int]) -> tuple[LedgerRow, ...]:
        rows = self._connection.execute(select(*_ROW_COLUMNS).where(_C.id.in_(ids)))
        found = {row.id: _ledger_row(row) for row in rows}
        return tuple(found[each] for each in ids)

    def _start(self, after: str) -> tuple[_Order, Sequence[Any]]:
        order, number = _ORDERS.get(after[:1]), after[1:]
        if order is None or not (number.isascii() and number.isdigit() and len(number) < 20):
            raise InvalidInput("after", "The link to this page is incomplete.")
        row_id = clamp_integer(int(number))
        if order is _BY_ID:
            return order, (row_id,)
        query = select(*order.columns).where(self._mine, _C.id == row_id)
        row = self._connection.execute(query).first()
        if row is None:
            raise InvalidInput("after", "The list has changed meanwhile. Start again from its first page.")
        return order, tuple(row)

    def _best_order(self) -> _Order:
        w = self._wanted
        narrow = w.prefix or w.min_size is not None or w.max_size is not None
        if w.reason or not narrow or (w.state is not None and self._is_rare(w.state)):
            return _BY_ID
        return _BY_KEY if w.prefix else _BY_SIZE

    def _is_rare(self, state: ObjectState) -> bool:
        some = select(_C.id).where(self._mine, _C.state == state.value).limit(MAX_SCANNED + 1).subquery()
        return (self._connection.scalar(select(func.count()).select_from(some)) or 0) <= MAX_SCANNED

    def _ranges(
        self, order: _Order, start: Sequence[Any] | None, last: Sequence[Any] | None = None
    ) -> list[ColumnElement[bool]]:
        """The parts of an index that hold every object that is wanted, in this order each; only those
        beyond ``start``, and up to ``last``."""
        ends = [order.beyond(start)] if start is not None else []
        if last is not None:
            ends.append(order.up_to(last))
        if order is _BY_KEY:
            return [and_(self._mine, each, *ends) for each in self._by_key(start, last)]
        if order is _BY_SIZE:
            # SQLite reads an index from one bound to one other: the narrower ones.
            sizes = self._sizes(_column(_C.size, last is None), _column(_C.size, start is None))
            return [and_(self._mine, *sizes, *ends)]
        return [and_(self._mine, each, *ends) for each in self._in_planned_order()]

    def _by_key(self, start: Sequence[Any] | None, last: Sequence[Any] | None) -> list[ColumnElement[bool]]:
        """Like ``key_ranges``, without those before ``start`` or after ``last``; SQLite reads the others from
        or up to these, if they are of the same kind."""
        if not self._wanted.prefix:
            return [true()]
        found = []
        starts, ends = (None if each is None else _is_bytes(each[0]) for each in (start, last))
        for as_bytes in (False, True):
            if (starts and not as_bytes) or (ends is False and as_bytes):
                continue
            above, below = _column(_C.key, starts is not as_bytes), _column(_C.key, ends is not as_bytes)
            found.append(_key_range(above, below, self._wanted.prefix, as_bytes=as_bytes))
        return [each for each in found if each is not None]

    def _in_planned_order(self) -> list[ColumnElement[bool]]:
        w = self._wanted
        if w.reason:
            # The literal lets SQLite use the partial index.
            return [(_C.reason == w.reason) & (_C.reason != literal_column("''"))]
        states = [w.state] if w.state is not None else list(ObjectState)
        return [_C.state == state.value for state in states]

    def _matches(self, order: _Order) -> list[ColumnElement[bool]]:
        """What the ranges do not ensure."""
        w, found = self._wanted, list[ColumnElement[bool]]()
        if w.state is not None and (order is not _BY_ID or w.reason):
            found.append(_unindexed(_C.state) == w.state.value)
        if w.kind:
            found.append(_C.kind == w.kind)
        if w.reason and order is not _BY_ID:
            found.append(_unindexed(_C.reason) == w.reason)
        if w.prefix and order is not _BY_KEY:
            found.append(or_(*key_ranges(_unindexed(_C.key), w.prefix)))
        if order is not _BY_SIZE:
            found += self._sizes(_unindexed(_C.size), _unindexed(_C.size))
        return found

    def _sizes(self, above: ColumnElement[int], below: ColumnElement[int]) -> list[ColumnElement[bool]]:
        w, found = self._wanted, list[ColumnElement[bool]]()
        if w.min_size is not None:
            found.append(above >= clamp_integer(w.min_size))
        if w.max_size is not None:
            found.append(below <= clamp_integer(w.max_size))
        return found

    def _bound(self, ranges: Sequence[ColumnElement[bool]], order: _Order, most: int) -> Row[Any] | None:
        """The place of the last of ``most`` rows, and its id; None if there are fewer."""
        bounds: list[Row[Any]] = []
        for condition in ranges:
            query = select(*order.columns, _C.id).where(condition).order_by(*order.clauses)
            bounds.extend(self._connection.execute(query.offset(most - 1).limit(1)))
        if order is _BY_ID:
            bounds.sort(key=lambda row: int(row[0]))
        return bounds[0] if bounds else None


def failed_that_match(wanted: ObjectFilter) -> ColumnElement[bool]:
    """The failed objects of any ledger that match everything given but the state."""
    found = [_C.state == ObjectState.FAILED.value, or_(*key_ranges(_C.key, wanted.prefix))]
    for column, value in ((_C.kind, wanted.kind), (_C.reason, wanted.reason)):
        if value:
            found.append(column == value)
    if wanted.min_size is not None:
        found.append(_C.size >= clamp_integer(wanted.min_size))
    if wanted.max_size is not None:
        found.append(_C.size <= clamp_integer(wanted.max_size))
    return and_(*found)


def _ledger_row(row: Row[Any]) -> LedgerRow:
    """Return a row of the database as a value."""
    values = dict(row._mapping)
    values["state"] = ObjectState(values["state"])
    values["action"] = Action(values["action"])
    return LedgerRow(**values)


def _column(column: Column[Any], indexed: bool) -> ColumnElement[Any]:
    return column if indexed else _unindexed(column)


def _unindexed(column: Column[Any]) -> ColumnElement[Any]:
    """The column for conditions for which SQLite shall not choose another index."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def key_ranges(key: ColumnElement[str], prefix: str) -> list[ColumnElement[bool]]:
    """The keys that begin with a prefix, as ranges of an index in their order: those that are text, then
    those that are stored as bytes because they are not valid Unicode. All text comes before all bytes."""
    if not prefix:
        return [true()]
    ranges = (_key_range(key, key, prefix, as_bytes=as_bytes) for as_bytes in (False, True))
    return [each for each in ranges if each is not None]


def _key_range(
    above: ColumnElement[str], below: ColumnElement[str], prefix: str, *, as_bytes: bool
) -> ColumnElement[bool] | None:
    """One of the ranges; None if it is empty. ``above``, ``below``: the column for its two bounds."""
    raw = prefix.encode("utf-8", "surrogatepass")
    if as_bytes:
        return and_(type_coerce(above, KeyBytes) >= raw, type_coerce(below, KeyBytes) < _end_of_bytes(raw))
    if _is_bytes(prefix):
        return None
    end = _end_of(prefix)
    return and_(above >= prefix, type_coerce(below, KeyBytes) < b"" if end is None else below < end)


def _is_bytes(key: str) -> bool:
    """Whether the database stores a key as bytes."""
    return any(ord(character) in _SURROGATES for character in key)


def _end_of(prefix: str) -> str | None:
    """The first text after all that begins with a prefix, or None if there is none."""
    for length in range(len(prefix), 0, -1):
        following = ord(prefix[length - 1]) + 1
        if following <= _LAST_CHARACTER:
            return prefix[: length - 1] + chr(following if following not in _SURROGATES else _SURROGATES.stop)
    return None


def _end_of_bytes(prefix: bytes) -> bytes:
    # UTF-8 has no byte 0xff.
    return prefix[:-1] + bytes([prefix[-1] + 1])
