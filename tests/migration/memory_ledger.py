"""A ledger in memory: what a run records, without a file. Thread-safe; gone with the process."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dashboard.migration.ledger import (
    MULTIPART_BYTES,
    Claimed,
    FencedOut,
    FinalCheck,
    Finished,
    Live,
    Planned,
    Reason,
    Settled,
    Unswept,
    add_up,
    deleted_delta,
    planned_delta,
    replanned_delta,
    state_delta,
)
from dashboard.migration.types import Action, Counters, FailureGroup, LedgerRow, ObjectState
from dashboard.storage.types import Entry

_DONE = (ObjectState.COPIED, ObjectState.VERIFIED, ObjectState.SKIPPED)


@dataclass(slots=True)
class _Row:
    """A ledger row and what only the engine needs of it."""

    shown: LedgerRow
    modified: float | None
    etag: str | None
    found: str
    interrupted: int = 0
    source_version: str = ""
    destination_etag: str = ""
    # As the column ``seen`` of ``work.db``.
    seen: int = 0


class MemoryStore:
    """What several runs of one migration share, as ``work.db`` is shared by several processes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.fence = 0
        self.token = secrets.token_hex(16)
        self.counts: dict[str, int] = {}
        self.listing_final = False
        self.rows: dict[int, _Row] = {}
        self.ids: dict[str, int] = {}
        self.own_keys: dict[str, int] = {}
        self.markers: tuple[str, ...] = ()
        self.names: dict[str, str] = {}
        self.listing: dict[str, Entry] = {}
        self.live = Live()


class MemoryLedger:
    """The ``Ledger`` over a ``MemoryStore``; one per run."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()
        self._fence = -1

    def _check(self) -> MemoryStore:
        if self._store.fence != self._fence:
            raise FencedOut
        return self._store

    def begin(self) -> Counters:
        """See ``Ledger.begin``."""
        with self._store.lock:
            if self._fence < 0:
                self._store.fence += 1
                self._fence = self._store.fence
            store = self._check()
            for row in store.rows.values():
                if row.shown.state is ObjectState.IN_FLIGHT:
                    row.shown = replace(row.shown, state=ObjectState.PENDING)
                    row.interrupted = 1
            return self.counters()

    def token(self) -> str:
        """See ``Ledger.token``."""
        return self._store.token

    def unswept(self, limit: int) -> Sequence[Unswept]:
        """See ``Ledger.unswept``."""
        with self._store.lock:
            left = [
                r.shown
                for r in self._store.rows.values()
                if r.interrupted == 1 and r.shown.state is not ObjectState.IN_FLIGHT
            ][:limit]
        return [
            Unswept(
                r.id, r.key, r.action, r.destination_key, r.started_at or 0.0, r.state is ObjectState.PENDING
            )
            for r in left
        ]

    def swept(self, ids: Sequence[int]) -> None:
        """See ``Ledger.swept``."""
        with self._store.lock:
            for one in ids:
                self._check().rows[one].interrupted = 2

    def record(self, rows: Sequence[Planned], *, recheck: bool = False) -> int:
        """See ``Ledger.record``."""
        new = 0
        with self._store.lock:
            store = self._check()
            for planned in {row.key: row for row in rows}.values():
                known = store.rows.get(store.ids.get(planned.key, 0))
                if known is None and not recheck:
                    new += 1
                    number = store.ids[planned.key] = next(reversed(store.rows), 0) + 1
                    add_up(store.counts, planned_delta(planned))
                elif known is not None and _may_change(known, planned, recheck=recheck):
                    row, number = known.shown, known.shown.id
                    add_up(store.counts, replanned_delta(row.action, row.state, row.size, planned))
                else:
                    continue
                shown = _planned_row(number, planned)
                # What came there since the plan that people saw is not theirs to replace.
                found = known.found if known is not None and recheck else planned.found
                store.rows[number] = _Row(shown, planned.modified, planned.etag, found)
        return new

    def forget_folders(self) -> None:
        """See ``Ledger.forget_folders``."""
        with self._store.lock:
            store = self._check()
            for number, row in list(store.rows.items()):
                if row.shown.action is Action.FOLDER:
                    add_up(store.counts, {"found": -1, "failed": -1})
                    del store.rows[number], store.ids[row.shown.key]

    def markers(self) -> Sequence[str]:
        """See ``Ledger.markers``."""
        with self._store.lock:
            return self._store.markers

    def save_markers(self, keys: Sequence[str]) -> None:
        """See ``Ledger.save_markers``."""
        with self._store.lock:
            self._check().markers = tuple(keys)

    def listing_done(self) -> None:
        """See ``Ledger.listing_done``."""
        with self._store.lock:
            self._check().listing_final = True

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """See ``Ledger.claim``."""
        with self._store.lock:
            store = self._check()
            waiting = [r for r in store.rows.values() if r.shown.state is ObjectState.PENDING][:limit]
            for row in waiting:
                retried = row.interrupted or row.source_version
                started = (row.shown.started_at if retried else None) or now
                row.shown = replace(row.shown, state=ObjectState.IN_FLIGHT, started_at=started)
        return [
            Claimed(
                row.shown.id,
                row.shown.key,
                row.shown.size,
                row.shown.action,
                row.modified,
                row.etag,
                row.shown.attempts,
                row.interrupted > 0,
                bool(row.source_version),
                row.shown.destination_key,
                row.shown.started_at,
                row.found,
            )
            for row in waiting
        ]

    def settle(self, results: Sequence[Settled]) -> None:
        """See ``Ledger.settle``."""
        with self._store.lock:
            store = self._check()
            if any(store.rows[r.row.id].shown.state is not ObjectState.IN_FLIGHT for r in results):
                raise FencedOut
            for r in results:
                done, key = r.done, r.row.key
                add_up(store.counts, state_delta(ObjectState.IN_FLIGHT, done.state, r.row.size, done.size))
                row = store.rows[r.row.id]
                row.interrupted = int(r.interrupted)
                if done.state is ObjectState.PENDING:
                    row.shown = replace(row.shown, state=done.state)
                    continue
                reason = done.reason or Reason("", "")
                if done.destination_key not in ("", key):
                    store.own_keys[done.destination_key] = r.row.id
                row.source_version, row.destination_etag = done.source_version, done.destination_etag
                row.shown = replace(
                    row.shown,
                    size=done.size,
                    state=done.state,
                    attempts=r.attempts,
                    kind=reason.kind,
                    reason=reason.sentence,
                    remedy=reason.remedy,
                    destination_key="" if done.destination_key == key else done.destination_key,
                    source_checksum=done.source_checksum,
                    destination_checksum=done.destination_checksum,
                    finished_at=r.at,
                )

    def mark_listed(self, entries: Sequence[Entry]) -> None:
        """See ``Ledger.mark_listed``."""
        with self._store.lock:
            store = self._check()
            for entry in entries:
                for number in (store.ids.get(entry.key, 0), store.own_keys.get(entry.key, 0)):
                    row = store.rows.get(number)
                    if row is not None and row.shown.state in _DONE and _target(row) == entry.key:
                        row.seen = self._fence if _agrees(row, entry) else -self._fence

    def finished(
        self, state: ObjectState, after: int, limit: int, *, unseen: bool = False
    ) -> Sequence[Finished]:
        """See ``Ledger.finished``."""
        with self._store.lock:
            rows = [
                row
                for number, row in self._store.rows.items()
                if number > after
                and row.shown.state is state
                and not row.shown.deleted
                and not (unseen and row.seen == self._fence)
            ][:limit]
            return [
                Finished(
                    row.shown.id,
                    row.shown.key,
                    row.shown.size,
                    row.shown.state,
                    row.modified,
                    row.etag,
                    row.shown.destination_key,
                    row.destination_etag,
                    row.source_version,
                    abs(row.seen) == self._fence,
                )
                for row in rows
            ]

    def announce_deletions(self, rows: Sequence[Finished]) -> None:
        """See ``Ledger.announce_deletions``."""
        with self._store.lock:
            self._check()

    def record_final_checks(self, checks: Sequence[FinalCheck]) -> None:
        """See ``Ledger.record_final_checks``."""
        with self._store.lock:
            store = self._check()
            if any(store.rows[v.row.id].shown.state is not v.row.state for v in checks):
                raise FencedOut
            for v in checks:
                add_up(store.counts, state_delta(v.row.state, v.state, v.row.size, v.row.size))
                if v.deleted:
                    add_up(store.counts, deleted_delta(v.row.size))
                row = store.rows[v.row.id]
                reason = v.reason or Reason("", "")
                row.shown = replace(
                    row.shown,
                    state=v.state,
                    deleted=v.deleted,
                    kind=reason.kind,
                    reason=reason.sentence,
                    remedy=reason.remedy,
                )

    def in_parts(self, keys: Sequence[str]) -> frozenset[str]:
        """See ``Ledger.in_parts``."""
        with self._store.lock:
            store = self._store
            rows = {key: store.rows[store.ids[key]].shown for key in keys if key in store.ids}
        wrote = (row for row in rows.values() if row.state is not ObjectState.SKIPPED)
        return frozenset(row.key for row in wrote if row.size >= MULTIPART_BYTES)

    def counters(self) -> Counters:
        """See ``Ledger.counters``."""
        with self._store.lock:
            counts = {name: n for name, n in self._store.counts.items() if name != "listing_final"}
            return Counters(**counts, listing_final=self._store.listing_final)

    def is_settled(self) -> bool:
        """See ``Ledger.is_settled``."""
        with self._store.lock:
            open_states = (ObjectState.PENDING, ObjectState.IN_FLIGHT)
            return not any(row.shown.state in open_states for row in self._store.rows.values())

    def publish(self, live: Live) -> None:
        """See ``Ledger.publish``."""
        with self._store.lock:
            self._check().live = live

    def clear_listing(self) -> None:
        """See ``Ledger.clear_listing``."""
        with self._store.lock:
            self._check().listing.clear()

    def save_listing(self, entries: Sequence[Entry]) -> None:
        """See ``Ledger.save_listing``."""
        with self._store.lock:
            self._check().listing.update({entry.key: entry for entry in entries})

    def find_in_listing(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """See ``Ledger.find_in_listing``."""
        with self._store.lock:
            return {key: self._store.listing[key] for key in keys if key in self._store.listing}

    def clear_names(self) -> None:
        """See ``Ledger.clear_names``."""
        with self._store.lock:
            self._check().names.clear()

    def reserve_names(self, names: Sequence[tuple[str, str]]) -> Mapping[str, str]:
        """See ``Ledger.reserve_names``."""
        with self._store.lock:
            store = self._check()
            return {folded: store.names.setdefault(folded, name) for folded, name in names}

    def rows(self) -> tuple[LedgerRow, ...]:
        """Every row by id."""
        with self._store.lock:
            return tuple(row.shown for row in self._store.rows.values())

    def failures(self) -> tuple[FailureGroup, ...]:
        """Failed objects grouped by reason, the largest group first."""
        groups: dict[tuple[str, str], FailureGroup] = {}
        for row in self.rows():
            if row.state is ObjectState.FAILED:
                first = groups.get(
                    (row.kind, row.reason), FailureGroup(row.kind, row.reason, row.remedy, row.key, 0)
                )
                groups[row.kind, row.reason] = replace(first, objects=first.objects + 1)
        return tuple(sorted(groups.values(), key=lambda g: (-g.objects, g.kind, g.reason)))


def _planned_row(number: int, planned: Planned) -> LedgerRow:
    reason = planned.reason or Reason("", "")
    return LedgerRow(
        number,
        planned.key,
        planned.size,
        planned.state,
        planned.action,
        kind=reason.kind,
        reason=reason.sentence,
        remedy=reason.remedy,
    )


def _target(row: _Row) -> str:
    return row.shown.destination_key or row.shown.key


def _agrees(row: _Row, entry: Entry) -> bool:
    if row.shown.state is ObjectState.SKIPPED:
        return True
    same_tag = not (row.destination_etag and entry.etag) or row.destination_etag == entry.etag
    return same_tag and row.shown.size == entry.size


def _may_change(known: _Row, planned: Planned, *, recheck: bool) -> bool:
    row = known.shown
    untouched = row.state is ObjectState.PENDING and not row.attempts and not known.interrupted
    refused = row.state is ObjectState.FAILED and not row.attempts
    recheckable = recheck and (refused or row.state in (ObjectState.SKIPPED, ObjectState.PENDING))
    seen = (row.size, known.modified, known.etag, known.found)
    now = (planned.size, planned.modified, planned.etag, planned.found)
    return (untouched or recheckable) and (seen != now or (untouched and row.action is not planned.action))
