"""The ledger: the durable row-per-object record of a migration, as the engine sees it.

An implementation belongs to one migration and one run. Every method that changes something is one
transaction which first checks the fence and raises ``FencedOut`` when another run has taken over;
states and counters change together or not at all. Safe to use from several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dashboard.errors import Kind, StowageError
from dashboard.migration.pairing import ListingIndex
from dashboard.migration.types import Action, Counters, InFlight, ObjectState
from dashboard.storage.driver import SMALL
from dashboard.storage.types import Entry

MULTIPART_BYTES = SMALL // 2
"""Bytes from which an object may have been uploaded in parts. Less than a part, because wrappers store some
objects larger than they are."""

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
"""``Planned.found`` of a row that acts on whatever is at the destination: of a plan from before that was
noted, or tried again by somebody who has seen how it stands."""


class FencedOut(StowageError):
    """Another run has taken this migration over; this one must stop and touch nothing more."""

    def __init__(self) -> None:
        super().__init__(
            Kind.CONFLICT, "Another runner has taken this migration over.", operation="write the ledger"
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an object failed, was skipped or was kept. ``sentence`` names no key, so that equals group."""

    kind: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the plan decided for one source object. ``reason`` is set for skipped and failed ones. ``found``:
    what it met at the destination, see ``decide.fingerprint``; empty where there was nothing."""

    key: str
    size: int
    action: Action
    modified: float | None = None
    etag: str | None = None
    reason: Reason | None = None
    found: str = ""

    @property
    def state(self) -> ObjectState:
        """The state its row begins in."""
        if self.action is Action.SKIP:
            return ObjectState.SKIPPED
        return ObjectState.FAILED if self.action in (Action.FAIL, Action.FOLDER) else ObjectState.PENDING


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row taken into work. ``interrupted``: an earlier run may have written it already.

    ``written``: it was copied once and found wanting. ``started_at``: when the run that may have written it
    took it, in seconds since the epoch.
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
    def maybe_written(self) -> bool:
        """Whether an earlier run wrote it, or may have."""
        return self.interrupted or self.written

    @property
    def target(self) -> str:
        """The key it has, or last had, at the destination."""
        return self.destination_key or self.key


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an object. ``size`` is what was really moved, in bytes; ``reason`` is set for skipped and
    failed ones. ``PENDING`` hands it back, and nothing else of it is recorded."""

    state: ObjectState
    size: int
    reason: Reason | None = None
    destination_key: str = ""
    source_checksum: str = ""
    destination_checksum: str = ""
    source_version: str = ""
    destination_etag: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of one claimed row. ``at``: when, in seconds since the epoch. ``interrupted``: an attempt
    that did not come to its end may have written bytes."""

    row: Claimed
    done: Done
    attempts: int
    at: float
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A copied, verified or skipped row as the closing phases need it."""

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
    """Whether the final listing has its key, whatever it says of size and etag."""

    @property
    def target(self) -> str:
        """The key at the destination."""
        return self.destination_key or self.key


@dataclass(frozen=True, slots=True)
class FinalCheck:
    """What a closing phase found: the new state, or with ``reason`` alone a note on a kept source object."""

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


@dataclass(frozen=True, slots=True)
class Live:
    """What is happening this moment. Rates per second; ``eta`` (low, high) in seconds."""

    phase: str = ""
    in_flight: tuple[InFlight, ...] = ()
    rate_bytes: float = 0.0
    rate_objects: float = 0.0
    eta: tuple[float, float] | None = None
    stopping: bool = False
    at: float = 0.0


class Ledger(ListingIndex, Protocol):
    """Where a run records what it does. As a ``ListingIndex`` it keeps the listing of the destination."""

    def begin(self) -> Counters:
        """Take the migration over: raise the fence, return rows in flight to pending and mark them
        interrupted. Idempotent. Raises ``FencedOut`` if a later run has begun."""
        ...

    def token(self) -> str:
        """A random text that only this migration knows, the same in all of its runs. After ``begin``."""
        ...

    def unswept(self, limit: int) -> Sequence[Unswept]:
        """Interrupted rows whose leftovers still have to be removed."""
        ...

    def swept(self, ids: Sequence[int]) -> None:
        """Their leftovers are gone."""
        ...

    def record(self, rows: Sequence[Planned], *, recheck: bool = False) -> int:
        """Add planned objects; returns how many rows were new. A key recorded before keeps its row; if that
        row was never tried its decision is brought up to date.

        ``recheck``, while nothing is in flight: rows that were skipped, or refused by the plan, are decided
        anew where either side is no longer as it was recorded, nothing is added, and ``found`` stays."""
        ...

    def forget_folders(self) -> None:
        """The source is about to be listed anew: drop the rows of folders that could not be read."""
        ...

    def markers(self) -> Sequence[str]:
        """The keys of markers that may lie at the destination, see ``OverlapSearch``."""
        ...

    def save_markers(self, keys: Sequence[str]) -> None:
        """Remember these keys instead; before they are written, so that a killed run's are removed."""
        ...

    def listing_done(self) -> None:
        """Every source object is recorded: the totals are final."""
        ...

    def claim(self, limit: int, now: float) -> Sequence[Claimed]:
        """Take the oldest pending rows into work: their state is in flight when this returns."""
        ...

    def settle(self, results: Sequence[Settled]) -> None:
        """Record results of claimed rows."""
        ...

    def in_parts(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of the keys that this migration writes, or wrote, by an upload in parts."""
        ...

    def counters(self) -> Counters:
        """The exact totals now."""
        ...

    def publish(self, live: Live) -> None:
        """Show what is happening; replaces what was shown before."""
        ...

    def clear_names(self) -> None:
        """Forget the names that ``reserve_names`` keeps."""
        ...

    def reserve_names(self, names: Sequence[tuple[str, str]]) -> Mapping[str, str]:
        """Keep each name, given after its folded form, unless one is kept under that form already; returns
        what is kept under each of the forms. Of equal forms the first counts."""
        ...

    def mark_listed(self, entries: Sequence[Entry]) -> None:
        """The final listing shows these at the destination: mark the rows with exactly these keys there as
        listed, and as seen where the size, and the etag where both are known, agree. A skipped row is seen
        when it is listed: what lies there is not its own."""
        ...

    def finished(
        self, state: ObjectState, after: int, limit: int, *, unseen: bool = False
    ) -> Sequence[Finished]:
        """Rows in this state (copied, verified or skipped) by id, from ``after`` exclusive, whose source was
        not deleted; with ``unseen`` only those that ``mark_listed`` of this run did not mark as seen."""
        ...

    def record_final_checks(self, checks: Sequence[FinalCheck]) -> None:
        """Record what a closing phase found. Each row must still be in the state it was read in."""
        ...


def planned_delta(planned: Planned) -> dict[str, int]:
    """How one recorded row changes the counters."""
    names = ["found", *_COUNTED_AS.get(planned.state, ())]
    if planned.action in _PLANNED:
        names.append(_PLANNED[planned.action])
    return _delta(names, 1, planned.size)


def state_delta(before: ObjectState, after: ObjectState, old_size: int, new_size: int) -> dict[str, int]:
    """How a row that goes from one state to another changes the counters, its size perhaps with it."""
    delta = _delta(_COUNTED_AS.get(before, ()), -1, -old_size)
    add_up(delta, _delta(_COUNTED_AS.get(after, ()), 1, new_size))
    if new_size != old_size:
        add_up(delta, {"found_bytes": new_size - old_size})
    return delta


def replanned_delta(before: Action, state: ObjectState, size: int, planned: Planned) -> dict[str, int]:
    """How a row whose decision is made anew changes the counters."""
    old = _delta(["found", *_COUNTED_AS.get(state, ())], -1, -size)
    if before in _PLANNED:
        add_up(old, _delta([_PLANNED[before]], -1, -size))
    add_up(old, planned_delta(planned))
    return old


def deleted_delta(size: int) -> dict[str, int]:
    """How one deleted source object changes the counters."""
    return {"deleted": 1, "deleted_bytes": size}


def add_up(total: dict[str, int], delta: Mapping[str, int]) -> None:
    """Add one change of counters to another, in place."""
    for name, value in delta.items():
        total[name] = total.get(name, 0) + value


def _delta(names: Sequence[str], count: int, size: int) -> dict[str, int]:
    delta: dict[str, int] = {}
    for name in names:
        delta[name] = count
        delta[name + "_bytes"] = size
    return delta
