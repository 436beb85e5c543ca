"""The ledger of one migration in ``work.db``, as the engine uses it.

One transaction per call, which takes the write lock when it begins and compares the fence. Writers of this
process wait for a lock of their own first, because SQLite's busy back-off is unfair and could starve one.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.ledger import (
    Claimed,
    FencedOut,
    FinalCheck,
    Finished,
    Live,
    Planned,
    Settled,
    Unswept,
    add_up,
    deleted_delta,
    planned_delta,
    replanned_delta,
    state_delta,
)
from dashboard.migration.types import Action, Counters, ObjectState
from dashboard.models.work import counters, listing, names, objects
from dashboard.services.engines import reader, transaction_with_retry, writer
from dashboard.services.migrations.ledger_failures import count_failures, forget_folders, subtract_failures
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.ledger_queries import (
    forget_chunks,
    forget_some,
    interrupt,
    keys_in_parts,
    read_counters,
)
from dashboard.services.migrations.ledger_rows import (
    MARK_LISTED,
    MARK_OWN_KEY_LISTED,
    PLAN,
    PUBLISH,
    RECORD_FINAL_CHECK,
    REPLAN,
    RETURN_ROW,
    SAVE_LISTED,
    SETTLE,
    claim_rows,
    count_and_compare,
    entry_values,
    final_check_values,
    finished_rows,
    may_change,
    own_keys_among,
    plan_values,
    reserve_names,
    return_values,
    seen_values,
    settle_values,
)
from dashboard.services.migrations.series import SeriesWriter
from dashboard.storage.types import Entry


class SqlLedger:
    """The ledger over an engine for ``work.db``.

    ``fence``: the run's number from the job runner, which must grow from run to run of one migration. Without
    it, ``begin`` takes the next number. ``files``: what changes in the catalogue with it.
    """

    def __init__(
        self, engine: Engine, migration_id: int, *, fence: int | None = None, files: LedgerFiles | None = None
    ) -> None:
        self._reader = reader(engine)
        self._writer = writer(engine)
        self._id = migration_id
        self._given_fence = fence
        self._files = files
        self._fence = -1
        self._lock = threading.Lock()
        self._series = SeriesWriter(migration_id)

    @contextmanager
    def _write(self, delta: Mapping[str, int] | None = None) -> Iterator[Connection]:
        """A transaction whose first statement checks the fence and applies ``delta``."""
        with self._lock, transaction_with_retry(self._writer) as connection:
            self._count(connection, delta or {})
            yield connection

    def _count(self, connection: Connection, delta: Mapping[str, int]) -> None:
        if not count_and_compare(connection, self._id, self._fence, delta):
            raise FencedOut

    # ---- taking over

    def begin(self) -> Counters:
        """See ``Ledger.begin``."""
        with self._lock, transaction_with_retry(self._writer) as connection:
            connection.execute(upsert(counters).values(migration_id=self._id).on_conflict_do_nothing())
            mine = counters.c.migration_id == self._id
            stored = connection.scalar(select(counters.c.fence).where(mine)) or 0
            if self._fence < 0:
                self._fence = stored + 1 if self._given_fence is None else self._given_fence
            if self._fence < stored:
                raise FencedOut
            connection.execute(update(counters).where(mine).values(fence=self._fence))
            unnamed = mine & (counters.c.token == "")
            connection.execute(update(counters).where(unnamed).values(token=secrets.token_hex(16)))
            interrupt(connection, self._id)
            forget_chunks(connection, self._id)
        return self.counters()

    def token(self) -> str:
        """See ``Ledger.token``."""
        query = select(counters.c.token).where(counters.c.migration_id == self._id)
        with self._reader.connect() as connection:
            return str(connection.scalar(query) or "")

    def unswept(self, limit: int) -> Sequence[Unswept]:
        """See ``Ledger.unswept``."""
        c = objects.c
        query = (
            select(c.id, c.key, c.action, c.destination_key, c.started_at, c.state)
            .where(c.migration_id == self._id, c.interrupted == 1, c.state != ObjectState.IN_FLIGHT.value)
            .order_by(c.id)
            .limit(limit)
        )
        with self._reader.connect() as connection:
            return [
                Unswept(
                    r.id,
                    r.key,
                    Action(r.action),
                    r.destination_key,
                    r.started_at or 0.0,
                    r.state == ObjectState.PENDING.value,
                )
                for r in connection.execute(query)
            ]

    def swept(self, ids: Sequence[int]) -> None:
        """See ``Ledger.swept``."""
        with self._write() as connection:
            connection.execute(update(objects).where(objects.c.id.in_(ids)).values(interrupted=2))

    # ---- planning

    def record(self, rows: Sequence[Planned], *, recheck: bool = False) -> int:
        """See ``Ledger.record``."""
        planned = {row.key: row for row in rows}
        if not planned:
            return 0
        with self._write() as connection:
            known = {row.key: row for row in connection.execute(self._by_key(list(planned)))}
            new = [row for key, row in planned.items() if key not in known and not recheck]
            stale = [(known[key], row) for key, row in planned.items() if key in known]
            stale = [(old, row) for old, row in stale if may_change(old, row, recheck=recheck)]
            if recheck:
                # People did not see objects that were created since the plan, so they must not be replaced.
                stale = [(old, replace(row, found=old.found)) for old, row in stale]
            delta: dict[str, int] = {}
            for old, row in stale:
                add_up(delta, replanned_delta(Action(old.action), ObjectState(old.state), old.size, row))
            for row in new:
                add_up(delta, planned_delta(row))
            if new:
                PLAN.run(connection, [{"migration_id": self._id, **plan_values(row)} for row in new])
            failed_before = [(old.kind, old.reason) for old, _ in stale if old.state == ObjectState.FAILED]
            subtract_failures(connection, self._id, Counter(failed_before))
            if stale:
                connection.execute(REPLAN, [{"b_id": old.id, **plan_values(row)} for old, row in stale])
            if delta:
                self._count(connection, delta)
            failed = [row for row in [*new, *(row for _, row in stale)] if row.state is ObjectState.FAILED]
            count_failures(connection, self._id, [(row.key, row.reason) for row in failed if row.reason])
        return len(new)

    def _by_key(self, keys: Sequence[str]) -> Select[Any]:
        c = objects.c
        plan = (c.id, c.key, c.size, c.modified, c.etag, c.found, c.state, c.action, c.kind, c.reason)
        return select(*plan, c.attempts, c.interrupted).where(c.migration_id == self._id, c.key.in_(keys))

    def forget_folders(self) -> None:
        """See ``Ledger.forget_folders``."""
        with self._write() as connection:
            forget_folders(connection, self._id)

    def markers(self) -> Sequence[str]:
        """See ``Ledger.markers``."""
        query = select(counters.c.markers).where(counters.c.migration_id == self._id)
        with self._reader.connect() as connection:
            return tuple(json.loads(connection.scalar(query) or "[]"))

    def save_markers(self, keys: Sequence[str]) -> None:
        """See ``Ledger.save_markers``."""
        mine = counters.c.migration_id == self._id
        with self._write() as connection:
            connection.execute(update(counters).where(mine).values(markers=json.dumps(list(keys))))

    def listing_done(self) -> None:
        """See ``Ledger.listing_done``."""
        with self._write() as connection:
            connection.execute(
                update(counters).where(counters.c.migration_id == self._id).values(listing_final=True)
            )

    def clear_listing(self) -> None:
        """See ``Ledger.clear_listing``."""
        self._clear(listing, listing.c.key)

    def _clear(self, table: Table, key: ColumnElement[Any]) -> None:
        # In chunks, so that other writers get their turn.
        gone = 1
        while gone:
            with self._write() as connection:
                gone = forget_some(connection, table, key, self._id)

    def save_listing(self, entries: Sequence[Entry]) -> None:
        """See ``Ledger.save_listing``."""
        if not entries:
            return
        with self._write() as connection:
            values = [{"migration_id": self._id, **entry_values(entry)} for entry in entries]
            SAVE_LISTED.run(connection, values)

    def find_in_listing(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """See ``Ledger.find_in_listing``."""
        c = listing.c
        query = select(c.key, c.size, c.modified, c.etag).where(c.migration_id == self._id, c.key.in_(keys))
        with self._reader.connect() as connection:
            return {row.key: Entry(*row) for row in connection.execute(query)}

    def clear_names(self) -> None:
        """See ``Ledger.clear_names``."""
        self._clear(names, names.c.folded)

    def reserve_names(self, pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
        """See ``Ledger.reserve_names``."""
        if not pairs:
            return {}
        with self._write() as connection:
            return reserve_names(connection, self._id, pairs)

    # ---- copying

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """See ``Ledger.claim``."""
        with self._write() as connection:
            rows = claim_rows(connection, self._id, limit, now)
        return sorted(rows, key=lambda row: row.id)

    def settle(self, results: Sequence[Settled]) -> None:
        """See ``Ledger.settle``."""
        self._settle(results)

    def _settle(
        self, results: Sequence[Settled], also: Callable[[Connection], None] = lambda connection: None
    ) -> None:
        if not results:
            return
        delta: dict[str, int] = {}
        for r in results:
            add_up(delta, state_delta(ObjectState.IN_FLIGHT, r.done.state, r.row.size, r.done.size))
        with self._write(delta) as connection:
            back = [return_values(r) for r in results if r.done.state is ObjectState.PENDING]
            done = [settle_values(r) for r in results if r.done.state is not ObjectState.PENDING]
            for statement, parameters in ((RETURN_ROW, back), (SETTLE, done)):
                # An empty list would run the statement once, without parameters.
                if parameters and statement.run(connection, parameters).rowcount != len(parameters):
                    raise FencedOut
            failed = [
                (r.row.key, r.done.reason)
                for r in results
                if r.done.state is ObjectState.FAILED and r.done.reason
            ]
            count_failures(connection, self._id, failed)
            if self._files:
                self._files.settled(connection, results)
            also(connection)

    # ---- closing

    def mark_listed(self, entries: Sequence[Entry]) -> None:
        """See ``Ledger.mark_listed``."""
        if not entries:
            return
        values = [seen_values(entry, self._id, self._fence) for entry in entries]
        with self._write() as connection:
            MARK_LISTED.run(connection, values)
            own = own_keys_among(connection, self._id, [entry.key for entry in entries])
            if own:
                MARK_OWN_KEY_LISTED.run(connection, [each for each in values if each["b_key"] in own])
            if self._files:
                self._files.listed(connection, entries)

    def finished(
        self, state: ObjectState, after: int, limit: int, *, unseen: bool = False
    ) -> Sequence[Finished]:
        """See ``Ledger.finished``."""
        which = {"migration": self._id, "state": state.value, "after": after, "limit": limit}
        with self._reader.connect() as connection:
            rows = connection.execute(finished_rows(unseen=unseen), {**which, "fence": self._fence}).all()
        return [
            Finished(r[0], r[1], r[2], ObjectState(r[3]), r[4], r[5], r[6], r[7], r[8], bool(r[9]))
            for r in rows
        ]

    def announce_deletions(self, rows: Sequence[Finished]) -> None:
        """See ``Ledger.announce_deletions``."""
        with self._write() as connection:
            if self._files:
                self._files.announce_deletions(connection, rows)

    def record_final_checks(self, checks: Sequence[FinalCheck]) -> None:
        """See ``Ledger.record_final_checks``."""
        if not checks:
            return
        delta: dict[str, int] = {}
        for v in checks:
            add_up(delta, state_delta(v.row.state, v.state, v.row.size, v.row.size))
            if v.deleted:
                add_up(delta, deleted_delta(v.row.size))
        with self._write(delta) as connection:
            changed = connection.execute(RECORD_FINAL_CHECK, [final_check_values(v) for v in checks])
            if changed.rowcount != len(checks):
                raise FencedOut
            failed = [(v.row.key, v.reason) for v in checks if v.state is ObjectState.FAILED and v.reason]
            count_failures(connection, self._id, failed)
            if self._files:
                self._files.checked(connection, checks)

    # ---- watching

    def in_parts(self, keys: Sequence[str]) -> frozenset[str]:
        """See ``Ledger.in_parts``."""
        with self._reader.connect() as connection:
            return keys_in_parts(connection, self._id, keys)

    def counters(self) -> Counters:
        """See ``Ledger.counters``."""
        with self._reader.connect() as connection:
            return read_counters(connection, [self._id]).get(self._id, Counters())

    def publish(self, live_now: Live) -> None:
        """See ``Ledger.publish``."""
        status = {"migration_id": self._id, "at": live_now.at, "status": json.dumps(asdict(live_now))}
        with self._write() as connection:
            PUBLISH.run(connection, [status])
            self._series.add(connection, live_now)
