"""The values of a migration. All are immutable, so threads and processes can share them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class OnConflict(StrEnum):
    """What to do with an object that already exists at the destination. Decided for the plan, and again right
    before the write, because the object may have changed."""

    SKIP_SAME = "skip-same"
    """Skip it if it is the same, replace it if it differs (the review page counts both). An object that was
    created or changed after the plan was made fails unless it is the same."""
    OVERWRITE = "overwrite"
    """Replace any object, also one created or changed after the plan was made. Contents are not compared."""
    NEWER = "newer"
    """Replace it only if the source was modified later; compared again right before the write."""
    KEEP_BOTH = "keep-both"
    """Write the source's object next to it under a free name; the ledger records which."""
    FAIL = "fail"


class Verify(StrEnum):
    """How a copy is proven."""

    SIZE = "size"
    CHECKSUM = "checksum"
    READBACK = "readback"


class State(StrEnum):
    """The state of a migration."""

    PLANNING = "planning"
    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    VERIFYING = "verifying"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self in (State.FINISHED, State.CANCELLED, State.FAILED)

    @property
    def active(self) -> bool:
        """Whether a runner has work to do for it."""
        return self in (State.PLANNING, State.RUNNING, State.VERIFYING)


class Control(StrEnum):
    """What people have requested."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """What a finished migration did."""

    CLEAN = "clean"
    """Every object was copied and proven."""
    WITH_SKIPS = "with_skips"
    """Nothing failed, but at least one object was skipped, for any reason, or kept at the source."""
    WITH_ERRORS = "with_errors"
    """At least one object failed."""


class ObjectState(StrEnum):
    """The state of one object in the ledger."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    COPIED = "copied"
    VERIFIED = "verified"
    SKIPPED = "skipped"
    FAILED = "failed"


class Action(StrEnum):
    """What the plan decided for one object."""

    COPY = "copy"
    """Not at the destination."""
    REPLACE = "replace"
    """At the destination and to be overwritten."""
    COMPARE = "compare"
    """At the destination with the same size; the content decides between skip and replace."""
    KEEP_BOTH = "keep_both"
    SKIP = "skip"
    FAIL = "fail"
    FOLDER = "folder"
    """Not an object but a folder of the source that could not be read: its contents are unknown."""


AUTOMATIC = 0
MAX_WORKERS = 256
"""Objects that one migration copies at once, at most."""
MAX_CARRIERS = 64
"""Processes that copy one migration, at most."""
MAX_OBJECT_BYTES = 2**60
"""A server that lists a larger object, or a negative size, is wrong."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to migrate, and how.

    ``prefix`` is a plain string prefix of keys. ``include`` and ``exclude`` are globs on the whole key
    (``*`` stays within one path segment, ``**`` crosses them); an empty ``include`` means everything.
    ``workers``: objects copied at once, 1 to ``MAX_WORKERS``, or ``AUTOMATIC``: the run finds out how many.
    ``bandwidth_limit`` and ``objects_per_second``: texts, ``off``, or empty for the console's.
    ``carriers``: processes that copy together, 1 to 64, or 0 for what the settings say.
    """

    prefix: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_conflict: OnConflict = OnConflict.SKIP_SAME
    verify: Verify = Verify.CHECKSUM
    dry_run: bool = False
    delete_source: bool = False
    workers: int = AUTOMATIC
    carriers: int = 0
    bandwidth_limit: str = ""
    objects_per_second: str = ""


@dataclass(frozen=True, slots=True)
class Counters:
    """Exact totals of a ledger, changed in the same transaction as the rows they count.

    Every found object is in exactly one of pending or in flight (the remainder), copied, skipped, failed.
    ``verified`` counts a subset of ``copied``. ``to_copy``/``to_replace``/``to_compare``/``to_keep_both``
    are what the plan decided and do not change afterwards. All ``*_bytes`` in bytes.
    """

    found: int = 0
    found_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    verified: int = 0
    verified_bytes: int = 0
    skipped: int = 0
    skipped_bytes: int = 0
    failed: int = 0
    failed_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    to_copy: int = 0
    to_copy_bytes: int = 0
    to_replace: int = 0
    to_replace_bytes: int = 0
    to_compare: int = 0
    to_compare_bytes: int = 0
    to_keep_both: int = 0
    to_keep_both_bytes: int = 0
    listing_final: bool = False

    @property
    def done(self) -> int:
        """Objects that need no more work."""
        return self.copied + self.skipped + self.failed

    @property
    def done_bytes(self) -> int:
        """Bytes that need no more work."""
        return self.copied_bytes + self.skipped_bytes + self.failed_bytes

    def outcome(self, *, deletes: bool) -> Outcome:
        """What a finished migration with these totals did. ``deletes``: whether it deletes sources."""
        kept = deletes and self.deleted < self.verified
        if self.failed:
            return Outcome.WITH_ERRORS
        return Outcome.WITH_SKIPS if self.skipped or kept else Outcome.CLEAN


@dataclass(frozen=True, slots=True)
class InFlight:
    """One object that is being copied: ``done`` bytes so far, of ``size``."""

    key: str
    size: int
    done: int


@dataclass(frozen=True, slots=True)
class CarrierProgress:
    """One process that copies a running migration. ``number``: 0 for the one that runs it. ``machine`` and
    ``pid``: where. ``since``: when it began, in seconds since the epoch. ``chunks``: the parts of the ledger
    that it has claimed. ``copied``: objects, and ``rate_objects``/``rate_bytes`` per second over the last
    seconds. ``at_once``: how many objects it may copy at once now."""

    number: int
    machine: str
    pid: int
    since: float
    chunks: tuple[int, ...]
    at_once: int
    copied: int
    copied_bytes: int
    rate_objects: float
    rate_bytes: float


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed objects that share a reason."""

    kind: str
    reason: str
    remedy: str
    example: str
    objects: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One object as recorded: a line of the report. Times in seconds since the epoch."""

    id: int
    key: str
    size: int
    state: ObjectState
    action: Action
    attempts: int = 0
    kind: str = ""
    reason: str = ""
    remedy: str = ""
    destination_key: str = ""
    source_checksum: str = ""
    destination_checksum: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything that the page, the API and the terminal show of one migration. All times are in seconds.

    ``rate_bytes``/``rate_objects`` per second over the last seconds, 0 if not running. ``eta`` is a
    (low, high) range in seconds, or None if unknown, as it is while ``listing_final`` is false: then this is
    to be labelled "still listing". ``at_once``: how many objects may be copied at
    once now, 0 if not running; ``limited_by``: why no more, a ``LimitedBy`` or empty. ``carriers``: the
    processes that copy, while it runs.
    ``stopping`` is true between a request to pause or cancel and the moment when it takes effect.
    """

    id: int
    source: str
    destination: str
    spec: Spec
    state: State
    outcome: Outcome | None
    counters: Counters
    in_flight: tuple[InFlight, ...]
    at_once: int
    limited_by: str
    carriers: tuple[CarrierProgress, ...]
    rate_bytes: float
    rate_objects: float
    elapsed: float
    eta: tuple[float, float] | None
    stopping: bool
    message: str
    remedy: str
    created_by: str
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def percent(self) -> float:
        """How much of what was found is at the destination: 0 to 100, by bytes if there are any, else by
        objects; 100 only when everything is. Failed objects are not."""
        c = self.counters
        # The counters were read a moment after the objects in flight and may already include some of them.
        moving = min(sum(f.done for f in self.in_flight), max(0, c.found_bytes - c.done_bytes))
        if c.found_bytes:
            value = 100.0 * (c.copied_bytes + c.skipped_bytes + moving) / c.found_bytes
        elif c.found:
            value = 100.0 * (c.copied + c.skipped) / c.found
        else:
            value = 100.0 if self.state.final and c.listing_final else 0.0
        everything = c.copied + c.skipped == c.found and c.listing_final
        return value if everything else min(value, 99.9)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON: what ``--json`` prints and the API returns, described in docs/cli.md."""
        counters = self.counters
        done = {"done": counters.done, "done_bytes": counters.done_bytes}
        return asdict(self) | {
            "percent": round(self.percent, 3),
            "counters": asdict(counters) | done,
        }
