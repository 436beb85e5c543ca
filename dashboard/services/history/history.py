"""The past of backends: every check, every test, every count, thinned out and bounded.

A check is added to the minute, the quarter of an hour, the hour and the day that it belongs to, in one
transaction. So the figures of a day are right however many minutes are kept, and thinning out only deletes.
"""

from __future__ import annotations

import logging
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.errors import StowageError
from dashboard.models.history import checks, states, tests, totals
from dashboard.models.usage import request_counts
from dashboard.services.database import Database, clamp_integer
from dashboard.services.history.history_values import (
    DAY,
    HOUR,
    KEPT_SECONDS,
    MAX_STATES,
    MAX_TESTS,
    MINUTE,
    WINDOWS,
    AnswerTimes,
    KeptTest,
    StateChange,
    Totals,
    Uptime,
    Window,
)
from dashboard.storage.probe import ProbeRun, Step

log = logging.getLogger(__name__)

MAX_TEXT = 1_000
"""Characters of a message or remedy that are kept: servers word some of them."""
MAX_DAYS = 730

_CELLS = {"healthy": "up", "read_only": "up", "degraded": "slow", "down": "down"}
_STEP_FIELDS = {field.name for field in fields(Step)}
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


class History:
    """Thread-safe; every call is one short transaction on ``work.db``.

    Recording never raises: a check or a read of a file does not fail because its history could not be kept.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # ------------------------------------------------------------------------------------ recording

    def record_check(
        self, backend_id: int, badge: str, latency_ms: float | None, message: str = "", remedy: str = ""
    ) -> None:
        """Keep what a check found. ``badge`` is a value of ``Badge``; “unknown” is no finding."""
        cell = _CELLS.get(badge)
        if cell is None:
            return
        change = StateChange(self._clock(), badge, message[:MAX_TEXT], remedy[:MAX_TEXT])

        def write(connection: Connection) -> None:
            for period in KEPT_SECONDS:
                key = {"backend_id": backend_id, "seconds": period, "at": _start(change.at, period)}
                _add_check(connection, key, cell, latency_ms)
            _thin_out(connection, checks, backend_id, change.at)
            _note_state(connection, backend_id, change)

        self._write("check", write)

    def record_totals(self, backend_id: int, objects: int, size: int) -> None:
        """Keep a finished count; ``size`` in bytes."""
        now = self._clock()
        values = {"counted_at": now, "objects": clamp_integer(objects), "bytes": clamp_integer(size)}

        def write(connection: Connection) -> None:
            for period in (HOUR, DAY):
                key = {"backend_id": backend_id, "seconds": period, "at": _start(now, period)}
                statement = upsert(totals).values(**key, **values)
                connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
            _thin_out(connection, totals, backend_id, now)

        self._write("count", write)

    def record_test(self, backend_id: int, tested_by: str, run: ProbeRun) -> None:
        """Keep a finished connection test with its steps."""
        values = {
            "backend_id": backend_id,
            "at": self._clock(),
            "tested_by": tested_by[:64],
            "passed": run.passed,
            "milliseconds": sum(step.milliseconds or 0.0 for step in run.steps),
            "steps": [_bounded(asdict(step)) for step in run.steps],
        }

        def write(connection: Connection) -> None:
            connection.execute(insert(tests).values(values))
            _keep_newest(connection, tests, backend_id, MAX_TESTS)

        self._write("test", write)

    # -------------------------------------------------------------------------------------- reading

    def uptime(self, backend_ids: Sequence[int], window: str = "24h") -> Mapping[int, Uptime]:
        """How reachable each of these backends was in a window of ``WINDOWS``; all have an entry."""
        shape = WINDOWS[window]
        begin, ids = shape.begin(self._clock()), tuple(backend_ids)
        key = ("uptime", ids, window, begin)
        return self._database.kept(key, lambda: self._read_uptime(ids, shape, begin), of="work")

    def _read_uptime(self, backend_ids: Sequence[int], shape: Window, begin: int) -> Mapping[int, Uptime]:
        values = {"ids": list(backend_ids), "begin": begin, "cell_seconds": shape.cell}
        values |= {"period": shape.period, "end": begin + shape.cell * shape.cells}
        found: dict[int, dict[int, Any]] = {}
        with self._database.work_read() as connection:
            for row in connection.execute(_checks_by_cell(), values):
                found.setdefault(row.backend_id, {})[int(row.cell)] = row
        return {each: _uptime(found.get(each, {}), shape, begin) for each in backend_ids}

    def answer_times(self, backend_id: int, window: str = "24h") -> AnswerTimes:
        """How long a backend took to answer over a window, and the median and 95th percentile of its
        figures."""
        shape = WINDOWS[window]
        begin = shape.begin(self._clock())
        columns = (checks.c.at, checks.c.answers, checks.c.answer_sum)
        query = select(*columns).where(checks.c.backend_id == backend_id, checks.c.at >= begin)
        with self._database.work_read() as connection:
            rows = connection.execute(query.where(checks.c.seconds == shape.period)).all()
            fine = MINUTE if window == "24h" else shape.period
            exact = connection.execute(query.where(checks.c.seconds == fine, checks.c.answers > 0)).all()
        sums: dict[int, tuple[int, float]] = {}
        for row in rows:
            count, total = sums.get((row.at - begin) // shape.cell, (0, 0.0))
            sums[(row.at - begin) // shape.cell] = count + row.answers, total + row.answer_sum
        means = sorted(row.answer_sum / row.answers for row in exact)
        times = tuple(float(begin + i * shape.cell) for i in range(shape.cells))
        values = tuple(
            total / count if count else None
            for count, total in (sums.get(i, (0, 0.0)) for i in range(shape.cells))
        )
        return AnswerTimes(times, values, _percentile(means, 0.5), _percentile(means, 0.95))

    def totals(self, days: int, backend_ids: Sequence[int] | None = None) -> Totals:
        """What backends held over the last ``days`` (1 to 730), a figure for every six hours of up to a
        month and for every day of more; the last one is now, its time that of the minute.
        ``backend_ids``: only these."""
        days = max(1, min(days, MAX_DAYS))
        now, ids = self._clock(), None if backend_ids is None else tuple(backend_ids)
        # What is drawn of these is the same for a minute, unless a count changes it.
        key = ("totals", days, ids, now // MINUTE)
        return self._database.kept(key, lambda: self._read_totals(days, now, ids), of="work")

    def _read_totals(self, days: int, now: float, backend_ids: Sequence[int] | None) -> Totals:
        step, period = (6 * HOUR, HOUR) if days <= 31 else (DAY, DAY)
        count = days * DAY // step
        times = (*(float((int(now) // step - i) * step) for i in range(count - 1, -1, -1)), now)
        values: dict[str, Any] = {"begin": times[0]}
        if backend_ids is not None:
            values["ids"] = list(backend_ids)
        rows: dict[int, list[tuple[float, int, int]]] = {}
        with self._database.work_read() as connection:
            for query in _counts_since(period, some=backend_ids is not None):
                for row in connection.execute(query, values):
                    rows.setdefault(row.backend_id, []).append((row.counted_at, row.objects, row.bytes))
        for each in rows.values():
            each.sort()
        return Totals(
            (*times[:-1], now // MINUTE * MINUTE),
            {each: _carried(row, times, 1) for each, row in rows.items()},
            {each: _carried(row, times, 2) for each, row in rows.items()},
        )

    def tests(self, backend_id: int, limit: int = MAX_TESTS) -> tuple[KeptTest, ...]:
        """The last tests of a backend, newest first."""
        query = select(tests).where(tests.c.backend_id == backend_id).order_by(tests.c.id.desc())
        with self._database.work_read() as connection:
            return tuple(_test(row) for row in connection.execute(query.limit(limit)))

    def states(self, backend_id: int, limit: int = 10) -> tuple[StateChange, ...]:
        """The last changes of a backend's state, newest first."""
        query = select(states).where(states.c.backend_id == backend_id).order_by(states.c.id.desc())
        with self._database.work_read() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return tuple(StateChange(row.at, row.badge, row.message, row.remedy) for row in rows)

    def since(self, backend_ids: Iterable[int]) -> Mapping[int, float]:
        """Since when each of these backends has had its present badge."""
        ids = tuple(backend_ids)
        return self._database.kept(("since", ids), lambda: self._read_since(ids), of="work") if ids else {}

    def _read_since(self, backend_ids: Sequence[int]) -> Mapping[int, float]:
        with self._database.work_read() as connection:
            found = connection.execute(_present_badges(), {"ids": list(backend_ids)})
            return {row.backend_id: row.at for row in found}

    def _write(self, what: str, write: Callable[[Connection], None]) -> None:
        try:
            with self._database.work_write() as connection:
                write(connection)
        except StowageError as error:
            log.warning("A %s was not added to the history: %s", what, error)


# Putting these together takes longer than running them, and pages ask again and again.


@cache
def _checks_by_cell() -> Select[Any]:
    """The checks of backends from ``begin`` to ``end``, added up by cells of ``cell_seconds``."""
    index = (checks.c.at - bindparam("begin", type_=Integer)) / bindparam("cell_seconds", type_=Integer)
    columns = (
        checks.c.backend_id,
        func.floor(index).label("cell"),
        func.sum(checks.c.up).label("up"),
        func.sum(checks.c.slow).label("slow"),
        func.sum(checks.c.down).label("down"),
    )
    wanted = (
        checks.c.backend_id.in_(bindparam("ids", expanding=True)),
        checks.c.seconds == bindparam("period"),
        checks.c.at >= bindparam("begin", type_=Integer),
        checks.c.at < bindparam("end", type_=Integer),
    )
    return select(*columns).where(*wanted).group_by(checks.c.backend_id, "cell")


@cache
def _counts_since(period: int, *, some: bool) -> tuple[Select[Any], Select[Any]]:
    """The newest count of each backend before ``begin``, and all since then. ``some``: of some backends."""
    wanted = [totals.c.backend_id.in_(bindparam("ids", expanding=True))] if some else []
    columns = (totals.c.backend_id, totals.c.counted_at, totals.c.objects, totals.c.bytes)
    begin = bindparam("begin", type_=Float)
    newest = (
        select(totals.c.backend_id, func.max(totals.c.at).label("at"))
        .where(totals.c.seconds == DAY, totals.c.counted_at < begin, *wanted)
        .group_by(totals.c.backend_id)
        .subquery()
    )
    same = and_(totals.c.backend_id == newest.c.backend_id, totals.c.at == newest.c.at)
    earlier = select(*columns).join(newest, same).where(totals.c.seconds == DAY)
    return earlier, select(*columns).where(totals.c.seconds == period, totals.c.counted_at >= begin, *wanted)


@cache
def _present_badges() -> Select[Any]:
    """Since when backends have had their badges."""
    latest = (
        select(states.c.backend_id, func.max(states.c.id).label("id"))
        .where(states.c.backend_id.in_(bindparam("ids", expanding=True)))
        .group_by(states.c.backend_id)
        .subquery()
    )
    now = select(states).join(latest, states.c.id == latest.c.id).subquery()
    other = (
        select(func.max(states.c.id))
        .where(states.c.backend_id == now.c.backend_id, states.c.badge != now.c.badge)
        .correlate(now)
        .scalar_subquery()
    )
    return (
        select(states.c.backend_id, func.min(states.c.at).label("at"))
        .join(now, and_(now.c.backend_id == states.c.backend_id, now.c.badge == states.c.badge))
        .where(states.c.id > func.coalesce(other, 0))
        .group_by(states.c.backend_id)
    )


def forget_history(connection: Connection, backend_id: int) -> None:
    """Delete all of it, in the caller's transaction: the backend was removed, or is another place now."""
    for table in (checks, states, tests, totals, request_counts):
        connection.execute(delete(table).where(table.c.backend_id == backend_id))


def _start(now: float, period: int) -> int:
    return int(now) // period * period


def _add_check(connection: Connection, key: Mapping[str, int], cell: str, latency_ms: float | None) -> None:
    added: dict[str, float] = {cell: 1}
    if latency_ms is not None:
        added |= {"answers": 1, "answer_sum": latency_ms}
    longest = latency_ms or 0.0
    more: dict[str, Any] = {name: checks.c[name] + value for name, value in added.items()}
    more["answer_max"] = func.max(checks.c.answer_max, longest)
    statement = upsert(checks).values(**key, **added, answer_max=longest)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=more))


def _thin_out(connection: Connection, table: Table, backend_id: int, now: float) -> None:
    for period, kept in KEPT_SECONDS.items():
        old = table.c.at < int(now) - kept
        connection.execute(
            delete(table).where(table.c.backend_id == backend_id, table.c.seconds == period, old)
        )


def _note_state(connection: Connection, backend_id: int, change: StateChange) -> None:
    query = select(states.c.badge, states.c.message).where(states.c.backend_id == backend_id)
    last = connection.execute(query.order_by(states.c.id.desc()).limit(1)).one_or_none()
    # A figure in the sentence, such as the seconds of an answer, is no change.
    same = last is not None and _DIGITS.sub("", last.message) == _DIGITS.sub("", change.message)
    if last is not None and last.badge == change.badge and same:
        return
    connection.execute(insert(states).values(backend_id=backend_id, **asdict(change)))
    _keep_newest(connection, states, backend_id, MAX_STATES)


def _keep_newest(connection: Connection, table: Table, backend_id: int, most: int) -> None:
    newest = select(table.c.id).where(table.c.backend_id == backend_id).order_by(table.c.id.desc())
    old = newest.offset(most).limit(1).scalar_subquery()
    connection.execute(delete(table).where(table.c.backend_id == backend_id, table.c.id <= old))


def _uptime(rows: Mapping[int, Any], shape: Window, begin: int) -> Uptime:
    cells = []
    for i in range(shape.cells):
        row = rows.get(i)
        if row is None:
            cells.append("none")
        elif row.down * 2 >= row.up + row.slow + row.down:
            cells.append("down")
        else:
            cells.append("slow" if row.down or row.slow * 10 >= row.up + row.slow else "up")
    return Uptime(
        tuple(cells),
        begin,
        shape.cell,
        checks=sum(row.up + row.slow + row.down for row in rows.values()),
        failed=sum(row.down for row in rows.values()),
        slow=sum(row.slow for row in rows.values()),
    )


def _percentile(values: Sequence[float], part: float) -> float | None:
    return values[min(int(len(values) * part), len(values) - 1)] if values else None


def _carried(
    rows: Sequence[tuple[float, int, int]], times: Sequence[float], column: int
) -> tuple[int | None, ...]:
    """At each time a column of the last count before it. A period's figure is from the count at its end, so
    one within it belongs to the next time."""
    begins = [*(bisect_left(times, row[0]) for row in rows), len(times)]
    carried: list[int | None] = [None] * begins[0]
    for row, begin, end in zip(rows, begins, begins[1:], strict=False):
        carried += [int(row[column])] * (end - begin)
    return tuple(carried)


def _bounded(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in step.items()}


def _test(row: Row[Any]) -> KeptTest:
    known = [{name: value for name, value in step.items() if name in _STEP_FIELDS} for step in row.steps]
    return KeptTest(
        row.at, row.tested_by, row.passed, row.milliseconds, tuple(Step(**step) for step in known)
    )
