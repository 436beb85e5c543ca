"""The ledger as a run with carriers uses it: it cuts chunks, and takes them from carriers that are gone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, Select, bindparam, insert, select, update

from dashboard.migration.carrying.carriers import CarrierReport
from dashboard.migration.ledger import Claimed, Reason
from dashboard.migration.types import Counters, InFlight, ObjectState
from dashboard.models.work import carriers, chunks, counters
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.chunks import (
    CLAIMED,
    READY,
    UNSWEPT,
    Held,
    cut,
    has_chunk,
    has_rows,
    release,
    revoke,
)
from dashboard.services.migrations.ledger_files import LedgerFiles
from dashboard.services.migrations.ledger_queries import forget_chunks, interrupt
from dashboard.storage.net.rate_limits import UNLIMITED, Rates

OWN = 0
"""The number of the run itself, which is a carrier too."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Who carries what. ``ready``: chunks that may be claimed. ``uncut``: rows that are in no chunk yet.
    ``unswept``: the numbers of chunks with leftovers. ``leases``: until when each of the other carriers has
    its chunks, by its number. ``claimed``: the chunks of each, those of the run included. ``copied``:
    objects of all carriers."""

    ready: int = 0
    uncut: bool = False
    unswept: tuple[int, ...] = ()
    leases: Mapping[int, float] = field(default_factory=dict)
    claimed: Mapping[int, Sequence[int]] = field(default_factory=dict)
    reports: Mapping[int, tuple[float, CarrierReport]] = field(default_factory=dict)
    copied: int = 0

    @property
    def is_left_to_others(self) -> bool:
        """Whether any row is, or may become, another carrier's."""
        return bool(self.ready or self.uncut or self.unswept or self.leases)


class RunLedger(CarrierLedger):
    """Claims, settles and tends for the one thread that schedules; all else is for any thread."""

    def __init__(
        self,
        engine: Engine,
        migration_id: int,
        *,
        fence: int | None = None,
        files: LedgerFiles | None = None,
    ) -> None:
        super().__init__(engine, migration_id, carrier=OWN, fence=fence, files=files)
        self.parts = 1
        """How many carriers there may be."""
        self._cut_to = 0

    @property
    def fence(self) -> int:
        """The run's."""
        return self._fence

    @property
    def given_fence(self) -> int | None:
        """The fence that it was made with, also before it has begun."""
        return self._given_fence

    @property
    def engine(self) -> Engine:
        """Of ``work.db``."""
        return self._reader

    def begin(self) -> Counters:
        """See ``Ledger.begin``."""
        found = super().begin()
        self._forget_chunks()
        return found

    # ---- chunks

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """See ``Ledger.claim``. Cuts chunks if none is ready."""
        before = self._cut_to
        try:
            return super().claim(limit, now)
        except BaseException:
            # What was cut is not in the database.
            self._cut_to = before
            raise

    def _may_claim(self) -> bool:
        if super()._may_claim():
            return True
        with self._reader.connect() as connection:
            if not self._has_uncut(connection):
                if has_chunk(connection, self._id):
                    return False
                # Rows that were settled and are pending again are cut like new ones.
                self._cut_to = 0
            return self._has_uncut(connection)

    def _has_uncut(self, connection: Connection) -> bool:
        return has_rows(connection, self._id, ObjectState.PENDING, first_id=self._cut_to + 1)

    def _next_chunk(self, connection: Connection) -> Held | None:
        found = super()._next_chunk(connection)
        if found is None:
            self._cut_to = cut(connection, self._id, self._cut_to, self.parts)
            found = super()._next_chunk(connection)
        return found

    def cut_ahead(self) -> None:
        """Cut further chunks for the other carriers."""
        with self._write() as connection:
            cut_to = cut(connection, self._id, self._cut_to, self.parts)
        self._cut_to = cut_to

    def overview(self) -> Overview:
        """Look at all carriers."""
        held: dict[int, float] = {}
        claimed: dict[int, list[int]] = {}
        ready, unswept = 0, list[int]()
        with self._reader.connect() as connection:
            for row in connection.execute(_chunks(), {"migration": self._id}):
                ready += row.state == READY
                if row.state == CLAIMED:
                    claimed.setdefault(row.carrier, []).append(row.number)
                if row.state == UNSWEPT:
                    unswept.append(row.number)
                elif row.state == CLAIMED and row.carrier != OWN:
                    held[row.carrier] = min(row.lease_until, held.get(row.carrier, row.lease_until))
            copied = connection.scalar(_copied(), {"migration": self._id}) or 0
            uncut, reports = self._has_uncut(connection), self._reports(connection)
        return Overview(ready, uncut, tuple(unswept), held, claimed, reports, copied)

    def _reports(self, connection: Connection) -> Mapping[int, tuple[float, CarrierReport]]:
        found = connection.execute(_statuses(), {"migration": self._id})
        return {row.number: (row.at, _report(row.status)) for row in found}

    # ---- carriers

    def add_carrier(self, number: int, at: float) -> None:
        """Register a carrier, which may not copy anything yet."""
        row = {"migration_id": self._id, "number": number, "workers": 0, "at": at}
        with self._write() as connection:
            connection.execute(insert(carriers), [row])

    def assign(self, workers: Mapping[int, int], rates: Rates = UNLIMITED) -> None:
        """Set how many objects each carrier may copy at once, and how much each may per second."""
        limits = {"bytes_per_second": rates.bytes, "objects_per_second": rates.objects}
        c = carriers.c
        with self._write() as connection:
            for number, most in workers.items():
                mine = (c.migration_id == self._id) & (c.number == number)
                connection.execute(update(carriers).where(mine).values(workers=most, **limits))

    def take_back(self, number: int) -> tuple[int, CarrierReport]:
        """Take the chunks of a carrier that is certainly gone; return how many, and its last report."""
        c = carriers.c
        with self._write() as connection:
            mine = (c.migration_id == self._id) & (c.number == number)
            last = connection.scalar(select(c.status).where(mine))
            return revoke(connection, self._id, number), _report(last or "")

    def release(self, numbers: Sequence[int]) -> None:
        """What was left of these chunks' writes is removed: they may be claimed."""
        with self._write() as connection:
            release(connection, self._id, numbers)

    def end_carriers(self) -> Mapping[int, CarrierReport]:
        """Return what is in flight to pending and remove all chunks and carriers: none works any more. Return
        their last reports."""
        with self._write() as connection:
            last = self._reports(connection)
            interrupt(connection, self._id)
            forget_chunks(connection, self._id)
        self._forget_chunks()
        return {number: report for number, (_, report) in last.items()}

    def _forget_chunks(self) -> None:
        self._held.clear()
        self._weights.clear()
        self._cut_to = 0


# Asked several times a second; putting them together takes longer than running them.


@cache
def _chunks() -> Select[Any]:
    c = chunks.c
    return select(c.number, c.state, c.carrier, c.lease_until).where(c.migration_id == bindparam("migration"))


@cache
def _copied() -> Select[Any]:
    return select(counters.c.copied).where(counters.c.migration_id == bindparam("migration"))


@cache
def _statuses() -> Select[Any]:
    c = carriers.c
    return select(c.number, c.at, c.status).where(c.migration_id == bindparam("migration"))


def _report(text: str) -> CarrierReport:
    if not text:
        return CarrierReport()
    found = json.loads(text)
    reason = found.pop("abort")
    return CarrierReport(
        in_flight=tuple(InFlight(**one) for one in found.pop("in_flight")),
        failed_keys=tuple(found.pop("failed_keys")),
        abort=Reason(**reason) if reason else None,
        **found,
    )
