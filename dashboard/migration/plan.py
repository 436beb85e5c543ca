"""Planning: both listings side by side, one decision per source object, recorded in batches.

If a listing turns out to be unordered, the second pass corrects the decisions of the first. When copying may
begin is decided in ``carrying.gate``: rows that are claimed meanwhile, or were tried, keep their decision.

Planning can stop at any moment and then starts again from the beginning: recording is idempotent. It never
resumes at a position, because ``start_after`` would silently skip objects of an unordered listing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from dashboard.migration.decide import decide
from dashboard.migration.destination_names import CollisionCheck
from dashboard.migration.globs import compile_filter
from dashboard.migration.ledger import Ledger, Planned
from dashboard.migration.overlap import OverlapSearch
from dashboard.migration.pairing import BATCH, PAUSE_SECONDS, Pair, with_pairs
from dashboard.migration.reasons import NAME_COLLISION, unreadable_folder_reason
from dashboard.migration.types import Action, Spec
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import list_readable, without_markers
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.types import Entry

EXACT = NameRules()
"""The rules of a destination that keeps every name."""
FLUSH_SECONDS = 0.5
"""A batch is recorded after this time even if it is not full, so that people see progress."""


class _Stopped(Exception):
    """Planning was asked to stop."""


def is_ordered(source: Driver, destination: Driver, rules: NameRules) -> bool:
    """Whether both listings claim an order in which they can be merged. A place that takes several names for
    one has none."""
    return source.ordered and destination.ordered and not rules.folds


def plan(
    source: Driver,
    destination: Driver,
    spec: Spec,
    ledger: Ledger,
    stop: Callable[[], bool],
    *,
    search: OverlapSearch | None = None,
    rules: NameRules = EXACT,
    on_disorder: Callable[[], None] = lambda: None,
    pause: float = PAUSE_SECONDS,
    recheck: bool = False,
) -> bool:
    """Record every source object of the migration; return False if ``stop`` ended it early.

    ``search`` has begun and watches both listings. ``rules`` are the destination's name rules: names that it
    would not keep, or would treat as the same, are planned to fail. ``on_disorder`` is called before rows are
    corrected because a listing is not in order. With ``recheck``, only replaces decisions to skip or refuse
    objects that have changed since on either side. Raises ``Overlap``, and ``StorageError`` from either
    listing. Idempotent.
    """
    if not recheck:
        ledger.forget_folders()
    planner = _Planner(
        source,
        destination,
        spec,
        ledger=ledger,
        stop=stop,
        search=search,
        rules=rules,
        pause=pause,
        recheck=recheck,
    )
    if rules.folds:
        ledger.clear_names()
    try:
        with_pairs(
            planner.record,
            planner.source_entries,
            planner.destination_entries,
            ledger,
            ordered=is_ordered(source, destination, rules),
            on_batch=planner.reserve_names,
            on_disorder=on_disorder,
            pause=pause,
        )
    except _Stopped:
        return False
    if search is not None:
        search.end()
    ledger.clear_listing()
    ledger.clear_names()
    ledger.listing_done()
    return True


class _Planner:
    """The working parts of one ``plan`` call."""

    def __init__(
        self,
        source: Driver,
        destination: Driver,
        spec: Spec,
        *,
        ledger: Ledger,
        stop: Callable[[], bool],
        search: OverlapSearch | None,
        rules: NameRules,
        pause: float,
        recheck: bool,
    ) -> None:
        self._source = source
        self._destination = destination
        self._spec = spec
        self._ledger = ledger
        self._stop = stop
        self._in_source = search.watch_source if search else without_markers
        self._in_destination = search.watch_destination if search else without_markers
        self._rules = rules
        self._collisions = CollisionCheck(rules, ledger) if rules.folds else None
        self._pause = pause
        self._recheck = recheck
        self._filter = compile_filter(spec.include, spec.exclude)
        self._folders: list[Planned] = []

    def source_entries(self) -> Iterator[Entry]:
        """Yield the source's listing without excluded keys, in the order in which it was listed."""
        listing = list_readable(
            self._source, self._spec.prefix, unreadable=self._note_folder, enters=self._filter.enters
        )
        for entry in self._stoppable(self._in_source(listing)):
            if self._filter.wants(entry.key):
                yield entry

    def destination_entries(self) -> Iterator[Entry]:
        """Yield the destination's listing. Objects in an unreadable folder count as missing, so they are only
        created there, never replaced."""
        listing = list_readable(self._destination, self._spec.prefix, unreadable=_ignore_unreadable)
        return self._stoppable(self._in_destination(listing))

    def reserve_names(self, batch: Sequence[Entry]) -> None:
        """Reserve the names of existing objects first."""
        if self._collisions:
            self._collisions.reserve([entry.key for entry in batch])

    def record(self, pairs: Iterable[Pair]) -> None:
        """Decide and record, in batches."""
        batch: list[Planned] = []
        due = time.monotonic() + FLUSH_SECONDS
        for entry, found in pairs:
            batch.append(self._decide(entry, found))
            if len(batch) >= BATCH or time.monotonic() >= due:
                self._ledger.record([*self._refuse_collisions(batch), *self._folders], recheck=self._recheck)
                batch.clear()
                self._folders.clear()
                time.sleep(self._pause)
                due = time.monotonic() + FLUSH_SECONDS
        if batch or self._folders:
            self._ledger.record([*self._refuse_collisions(batch), *self._folders], recheck=self._recheck)
            self._folders.clear()

    def _note_folder(self, folder: str, error: StorageError) -> None:
        """Record a folder that could not be read with the objects, so that it is not taken for empty."""
        self._folders.append(
            Planned(folder, 0, Action.FOLDER, reason=unreadable_folder_reason(error, folder))
        )

    def _check_key(self, key: str) -> None:
        self._destination.check_key(key)
        self._rules.check(key)

    def _refuse_collisions(self, batch: list[Planned]) -> list[Planned]:
        """Return the rows; those whose names collide at the destination have failed."""
        if not self._collisions:
            return batch
        candidates = [row.key for row in batch if row.action is not Action.FAIL]
        met = self._collisions.reserve(candidates)
        return [
            replace(row, action=Action.FAIL, reason=NAME_COLLISION) if row.key in met else row
            for row in batch
        ]

    def _decide(self, entry: Entry, found: Entry | None) -> Planned:
        planned = decide(entry, found, self._spec, self._check_key)
        if self._recheck and planned.action is Action.FAIL and planned.found:
            # It may be the same object, which only comparing again can tell.
            return replace(planned, action=Action.COPY, reason=None)
        return planned

    def _stoppable(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if self._stop():
                raise _Stopped
            yield entry


def _ignore_unreadable(folder: str, error: StorageError) -> None:
    """Do nothing: each object in it is handled when it is copied."""
