"""The ledger as a carrier uses it: its rows are those of chunks that it has claimed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, select, update

from dashboard.migration.carrying.carriers import CarrierReport, Orders
from dashboard.migration.ledger import Claimed, FencedOut, Settled
from dashboard.migration.types import ObjectState
from dashboard.models.work import carriers, counters
from dashboard.services.migrations.carrying.chunks import (
    READY,
    Held,
    claim_chunk,
    close,
    has_chunk,
    has_rows,
    is_open,
    renew,
)
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.ledger_rows import claim_rows
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.storage.copying import MEMORY_BYTES
from dashboard.storage.net.rate_limits import Rates

LEASE_SECONDS = 15.0
"""For how long a carrier holds its chunks without a sign of life."""
_COPIED = frozenset({ObjectState.COPIED, ObjectState.VERIFIED})


class CarrierLedger(SqlLedger):
    """``carrier``: its number, given once in a run; ``fence``: that of the run. Rows are claimed and settled
    by one thread."""

    def __init__(
        self,
        engine: Engine,
        migration_id: int,
        *,
        carrier: int,
        fence: int | None,
        files: LedgerFiles | None = None,
        lease: float = LEASE_SECONDS,
    ) -> None:
        super().__init__(engine, migration_id, fence=fence, files=files)
        self._carrier = carrier
        self._lease = lease
        self._held: dict[int, Held] = {}
        self._weights: dict[int, int] = {}
        self._copied = self._copied_bytes = 0
        self.memory = MEMORY_BYTES
        """No chunk is claimed while this much is in flight: its rows could not be copied yet."""

    @property
    def copied(self) -> int:
        """How many objects this carrier has copied."""
        return self._copied

    @property
    def copied_bytes(self) -> int:
        """And how many bytes."""
        return self._copied_bytes

    @property
    def holds_chunks(self) -> bool:
        """Whether it has claimed rows that are not settled yet."""
        return bool(self._held)

    def join(self, fence: int) -> None:
        """Work for the run with this fence, without taking the migration over as ``begin`` does."""
        self._fence = fence

    def enter(self) -> bool:
        """Take the number that the run has registered; return whether it was free. It is given only once: a
        message may arrive twice."""
        mine = (carriers.c.migration_id == self._id) & (carriers.c.number == self._carrier)
        try:
            with self._write() as connection:
                entering = json.dumps(asdict(CarrierReport()))
                changed = connection.execute(
                    update(carriers).where(mine, carriers.c.status == "").values(status=entering)
                )
        except FencedOut:
            return False
        return changed.rowcount == 1

    # ---- rows

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """See ``Ledger.claim``. Claims further chunks when those it holds have no pending rows."""
        if not self._may_claim():
            return []
        queue = [each for each in self._held.values() if not each.taken]
        new: list[Held] = []
        taken: list[Held] = []
        rows: list[tuple[Held, Claimed]] = []
        weight = sum(self._weights.values())
        with self._write() as connection:
            self._check_lease(connection)
            while len(rows) < limit:
                if not queue:
                    chunk = self._next_chunk(connection) if weight < self.memory else None
                    if chunk is None:
                        break
                    queue.append(chunk)
                    new.append(chunk)
                found = self._claim_from(connection, queue[0], limit - len(rows), now)
                rows += [(queue[0], row) for row in found]
                weight += sum(row.weight for row in found)
                if len(rows) < limit:
                    taken.append(queue.pop(0))
        self._held |= {chunk.number: chunk for chunk in new}
        for chunk, row in rows:
            chunk.open.add(row.id)
            self._weights[row.id] = row.weight
        for chunk in taken:
            chunk.taken = True
        if any(not chunk.open for chunk in taken):
            with self._write() as connection:
                self._check_lease(connection)
                closed = self._close_finished(connection, frozenset())
            self._forget(closed)
        return sorted((row for _, row in rows), key=lambda row: row.id)

    def _may_claim(self) -> bool:
        """Whether there may be rows to claim, without taking the lock."""
        if any(not each.taken for each in self._held.values()):
            return True
        with self._reader.connect() as connection:
            return has_chunk(connection, self._id, READY)

    def _next_chunk(self, connection: Connection) -> Held | None:
        return claim_chunk(connection, self._id, self._carrier, time.time() + self._lease)

    def _claim_from(self, connection: Connection, chunk: Held, limit: int, now: float) -> list[Claimed]:
        within = {"first_id": chunk.first_id, "last_id": chunk.last_id}
        return claim_rows(connection, self._id, limit, now, **within)

    def settle(self, results: Sequence[Settled]) -> None:
        """See ``Ledger.settle``. Raises ``FencedOut`` if a chunk was taken away."""
        if not results:
            return
        ids = frozenset(result.row.id for result in results)
        closed: list[int] = []

        def in_the_same_transaction(connection: Connection) -> None:
            self._check_lease(connection)
            closed.extend(self._close_finished(connection, ids))

        self._settle(results, in_the_same_transaction)
        for result in results:
            self._weights.pop(result.row.id, None)
            if result.done.state in _COPIED:
                self._copied += 1
                self._copied_bytes += result.done.size
        for chunk in self._held.values():
            chunk.open -= ids
        self._forget(closed)

    def is_settled(self) -> bool:
        """See ``Ledger.is_settled``."""
        with self._reader.connect() as connection:
            return not is_open(connection, self._id)

    def _close_finished(self, connection: Connection, settled: frozenset[int]) -> list[int]:
        finished = [each for each in self._held.values() if each.taken and each.open <= settled]
        for chunk in finished:
            close(connection, self._id, chunk)
        return [chunk.number for chunk in finished]

    def _forget(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            del self._held[number]

    def _check_lease(self, connection: Connection) -> None:
        """Renew it; raise ``FencedOut`` if a chunk was taken away."""
        until = time.time() + self._lease
        if self._held and renew(connection, self._id, self._carrier, until) != len(self._held):
            raise FencedOut

    # ---- reports

    def report(self, found: CarrierReport) -> Orders:
        """Give a sign of life and say what this carrier does; return what it may do. Raises ``FencedOut``."""
        mine = (carriers.c.migration_id == self._id) & (carriers.c.number == self._carrier)
        changes = {"at": time.time(), "status": json.dumps(asdict(found))}
        with self._write() as connection:
            self._check_lease(connection)
            c = carriers.c
            given = (c.workers, c.bytes_per_second, c.objects_per_second)
            row = connection.execute(update(carriers).where(mine).values(**changes).returning(*given)).first()
            if row is None:
                raise FencedOut
            query = select(counters.c.copied, counters.c.listing_final)
            copied, listed = connection.execute(query.where(counters.c.migration_id == self._id)).one()
            waits = has_rows(connection, self._id, ObjectState.PENDING)
        return Orders(row[0], copied - self._copied, bool(listed) and not waits, Rates(row[1], row[2]))
