"""The ledger: the durable row-per-object record of a migration, as the engine sees it.

An implementation belongs to one migration and one run. Every method that changes something is one
transaction, which first checks the fence and raises ``FencedOut`` if another run has taken over;
states and counters change atomically. Thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dashboard.errors import Kind, StowageError
from dashboard.migration.pairing import ListingIndex
from dashboard.migration.types import Action, CarrierProgress, Counters, InFlight, ObjectState
from dashboard.storage.driver import SMALL
from dashboard.storage.types import Entry

STREAM_BYTES = 32 * 1024 * 1024
"""Estimated memory of one large object while it is copied."""
MULTIPART_BYTES = SMALL // 2
"""Objects of at least this size may have been uploaded in parts. Less than a part, because some wrappers
store more bytes than the object has."""

_COUNTED_AS = {
    ObjectState.COPIED: ("copied",),
    ObjectState.VERIFIED: ("copied", "verified"),
    ObjectState.SKIPPED: ("skipped",),
    ObjectState.FAILED: ("failed",),
}
_PLANNED = {
    Action.COPY: "to_copy",
    Action.REPLACE: "to_replace",
    Action.COMPARE: "to_compare",
    Action.KEEP_BOTH: "to_keep_both",
}


ANYTHING = "*"
"""``Planned.found`` of a row that may act on any object at the destination: it is older than that column, or
a person who knows the present state has retried it."""


class FencedOut(StowageError):
    """Another run has taken this migration over; this one must stop and touch nothing more."""

    def __init__(self) -> None:
        super().__init__(
            Kind.CONFLICT, "Another runner has taken this migration over.", operation="write the ledger"
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an object failed, was skipped or was kept. ``sentence`` names no key, so that equal ones group."""

    kind: str
    sentence: str
    remedy: str = ""


_FIRST_STATES = {
    Action.SKIP: ObjectState.SKIPPED,
    Action.FAIL: ObjectState.FAILED,
    Action.FOLDER: ObjectState.FAILED,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plan decided for one source object. ``reason`` is set for skipped and failed ones. ``found``:
    the object at the destination, see ``decide.fingerprint``; empty if there was none."""

    key: str
    size: int
    action: Action
    modified: float | None = None
    etag: str | None = None
    reason: Reason | None = None
    found: str = ""

    @property
    def state(self) -> ObjectState:
        """The first state of its row."""
        return _FIRST_STATES.get(self.action, ObjectState.PENDING)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row in flight. ``interrupted``: an earlier run may have written it already.

    ``written``: an earlier copy of it failed verification. ``started_at``: when the run that may have written
    it claimed it, in seconds since the epoch.
    """

    id: int
    key: str
    size: int
    action: Action
    modified: float | None = None
    etag: str | None = None
    attempts: int = 0
    interrupted: bool = False
    written: bool = False
    destination_key: str = ""
    started_at: float | None = None
    found: str = ANYTHING

    @property
    def weight(self) -> int:
        """An estimate of the bytes of memory that copying it takes."""
        return STREAM_BYTES if self.size > SMALL else 3 * self.size

    @property
    def maybe_written(self) -> bool:
        """Whether an earlier run wrote it or may have written it."""
        return self.interrupted or self.written

    @property
    def target(self) -> str:
        """The key it has, or last had, at the destination."""
        return self.destination_key or self.key


@dataclass(frozen=True, slots=True)
class Done:
    """The result for an object. ``size`` is the number of bytes copied; ``reason`` is set for skipped and
    failed ones. ``PENDING`` returns it to the queue and records nothing else. ``source_modified`` and
    ``source_etag``: of the object that was read."""

    state: ObjectState
    size: int
    reason: Reason | None = None
    destination_key: str = ""
    source_checksum: str = ""
    destination_checksum: str = ""
    source_version: str = ""
    destination_etag: str = ""
    source_modified: float | None = None
    source_etag: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of one claimed row. ``at``: when, in seconds since the epoch. ``interrupted``: an attempt
    that did not complete may have written bytes."""

    row: Claimed
    done: Done
    attempts: int
    at: float
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A copied, verified or skipped row, with what the final phase needs."""

    id: int
    key: str
    size: int
    state: ObjectState
    modified: float | None
    etag: str | None
    destination_key: str
    destination_etag: str
    source_version: str
    listed: bool = True
    """Whether the final listing has its key, with any size and etag."""

    @property
    def target(self) -> str:
        """The key at the destination."""
        return self.destination_key or self.key


@dataclass(frozen=True, slots=True)
class FinalCheck:
    """A result of the final phase: the new state, or with ``reason`` alone a note on a kept source object."""

    row: Finished
    state: ObjectState
    reason: Reason | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Unswept:
    """A row whose leftovers at the destination were not removed yet."""

    id: int
    key: str
    action: Action
    destination_key: str
    started_at: float
    pending: bool
    """Whether it will be copied again."""


@dataclass(frozen=True, slots=True)
class Live:
    """Live progress. Rates per second; ``eta`` (low, high) in seconds. ``done_bytes`` and ``done_objects``:
    copied so far. ``spent``: seconds of all workers together by phase of their work, in this run.
    ``at_once``: how many objects may be copied at once; ``limited_by``: why no more, see ``LimitedBy``.
    ``carriers``: the processes that copy."""

    phase: str = ""
    in_flight: tuple[InFlight, ...] = ()
    rate_bytes: float = 0.0
    rate_objects: float = 0.0
    eta: tuple[float, float] | None = None
    stopping: bool = False
    at: float = 0.0
    done_bytes: int = 0
    done_objects: int = 0
    spent: Mapping[str, float] = field(default_factory=dict)
    at_once: int = 0
    limited_by: str = ""
    carriers: tuple[CarrierProgress, ...] = ()


class Ledger(ListingIndex, Protocol):
    """Where a run records what it does. As a ``ListingIndex`` it keeps the listing of the destination."""

    def begin(self) -> Counters:
        """Take the migration over: raise the fence, return rows in flight to pending and mark them
        interrupted. Raises ``FencedOut`` if a later run has taken over. Idempotent."""
        ...

    def token(self) -> str:
        """Return a random text that only this migration knows, the same in all of its runs. Call ``begin``
        before."""
        ...

    def unswept(self, limit: int) -> Sequence[Unswept]:
        """Return interrupted rows, not in flight again, whose leftovers still have to be removed."""
        ...

    def swept(self, ids: Sequence[int]) -> None:
        """Record that the leftovers of these rows were removed."""
        ...

    def record(self, rows: Sequence[Planned], *, recheck: bool = False) -> int:
        """Add planned objects; return how many rows were new. A key recorded before keeps its row; if that
        row was never tried, its decision is updated.

        ``recheck``, while nothing is in flight: adds nothing. If either side of a row that was skipped, or
        refused by the plan, has changed, its decision is replaced; its ``found`` stays."""
        ...

    def forget_folders(self) -> None:
        """Delete the rows of folders that could not be read, before the source is listed again."""
        ...

    def markers(self) -> Sequence[str]:
        """Return the keys of markers that may still exist, see ``OverlapSearch``."""
        ...

    def save_markers(self, keys: Sequence[str]) -> None:
        """Save these keys in their place; before they are written, so that a killed run's are removed."""
        ...

    def listing_done(self) -> None:
        """Record that every source object has its row: the totals are final."""
        ...

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """Claim the oldest pending rows: their state is in flight when this returns."""
        ...

    def settle(self, results: Sequence[Settled]) -> None:
        """Record results of claimed rows."""
        ...

    def in_parts(self, keys: Sequence[str]) -> frozenset[str]:
        """Return those of the keys that this migration writes, or wrote, by an upload in parts."""
        ...

    def counters(self) -> Counters:
        """Return the exact totals."""
        ...

    def is_settled(self) -> bool:
        """Whether no row is pending or in flight, by the rows themselves."""
        ...

    def publish(self, live: Live) -> None:
        """Replace the live progress that people see."""
        ...

    def clear_names(self) -> None:
        """Delete the names that ``reserve_names`` stored."""
        ...

    def reserve_names(self, names: Sequence[tuple[str, str]]) -> Mapping[str, str]:
        """Store each (folded form, name) unless a name is stored under that form already; return the name
        stored under each of the forms. Of equal forms the first wins."""
        ...

    def mark_listed(self, entries: Sequence[Entry]) -> None:
        """Mark the rows with exactly these keys at the destination as listed, and as seen if the size agrees
        and, where both are known, the etag. A listed row that was skipped is always seen, because that object
        is not its copy."""
        ...

    def finished(
        self, state: ObjectState, after: int, limit: int, *, unseen: bool = False
    ) -> Sequence[Finished]:
        """Return rows in this state (copied, verified or skipped) whose source was not deleted, by id, from
        ``after`` exclusive; with ``unseen`` only those that this run has not marked as seen."""
        ...

    def announce_deletions(self, rows: Sequence[Finished]) -> None:
        """Record that the sources of these verified rows are about to be deleted. Idempotent."""
        ...

    def record_final_checks(self, checks: Sequence[FinalCheck]) -> None:
        """Record results of the final phase. Each row must still be in the state it was read in."""
        ...


def planned_delta(planned: Planned) -> dict[str, int]:
    """Return how one recorded row changes the counters."""
    names = ["found", *_COUNTED_AS.get(planned.state, ())]
    if planned.action in _PLANNED:
        names.append(_PLANNED[planned.action])
    return _delta(names, 1, planned.size)


def state_delta(before: ObjectState, after: ObjectState, old_size: int, new_size: int) -> dict[str, int]:
    """Return how a change of a row's state, and perhaps its size, changes the counters."""
    delta = _delta(_COUNTED_AS.get(before, ()), -1, -old_size)
    add_up(delta, _delta(_COUNTED_AS.get(after, ()), 1, new_size))
    if new_size != old_size:
        add_up(delta, {"found_bytes": new_size - old_size})
    return delta


def replanned_delta(before: Action, state: ObjectState, size: int, planned: Planned) -> dict[str, int]:
    """Return how a new decision for a row changes the counters."""
    old = _delta(["found", *_COUNTED_AS.get(state, ())], -1, -size)
    if before in _PLANNED:
        add_up(old, _delta([_PLANNED[before]], -1, -size))
    add_up(old, planned_delta(planned))
    return old


def deleted_delta(size: int) -> dict[str, int]:
    """Return how one deleted source object changes the counters."""
    return {"deleted": 1, "deleted_bytes": size}


def add_up(total: dict[str, int], delta: Mapping[str, int]) -> None:
    """Add one change of the counters to another, in place."""
    for name, value in delta.items():
        total[name] = total.get(name, 0) + value


def _delta(names: Sequence[str], count: int, size: int) -> dict[str, int]:
    delta: dict[str, int] = {}
    for name in names:
        delta[name] = count
        delta[name + "_bytes"] = size
    return delta
