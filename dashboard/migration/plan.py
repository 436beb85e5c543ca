"""Planning: both listings side by side, one decision per source object, recorded in batches.

Decisions made on pairs of a listing that proves to be unordered are brought up to date by the second pass.
Nothing is copied before all of it is done: only then is it certain that the two places do not overlap.

Planning can stop at any moment and is then simply done again from the start: recording is idempotent. A
remembered position is not used on purpose. On a listing that turns out to be unordered further on,
``start_after`` would step over objects without anyone noticing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from dashboard.migration.decide import decide
from dashboard.migration.destination_names import SameNames
from dashboard.migration.globs import compile_filter
from dashboard.migration.ledger import Ledger, Planned
from dashboard.migration.overlap import OverlapSearch
from dashboard.migration.pairing import BATCH, GAP, Pair, with_pairs
from dashboard.migration.reasons import ONE_NAME, unreadable_folder
from dashboard.migration.types import Action, Spec
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import list_readable, without_markers
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.types import Entry

EXACT = NameRules()
"""Those of a place that keeps every name."""
FLUSH = 0.5
"""Seconds after which a batch is recorded although it is not full, so that it is seen what was found."""


class _Stopped(Exception):
    """Planning was asked to stop."""


def plan(
    source: Driver,
    destination: Driver,
    spec: Spec,
    ledger: Ledger,
    stop: Callable[[], bool],
    *,
    search: OverlapSearch | None = None,
    rules: NameRules = EXACT,
    gap: float = GAP,
    again: bool = False,
) -> bool:
    """Record every source object of the migration; False when ``stop`` asked to end before that.

    ``search`` has begun and sees both listings pass. ``rules`` are the destination's: what it would not keep,
    or not keep apart, is planned to fail. Raises ``Overlap``, and ``StorageError`` from either listing.
    Calling it again completes or repeats the work. With ``again`` it only decides anew what was skipped and
    has changed on either side since.
    """
    if not again:
        ledger.forget_folders()
    planner = _Planner(
        source,
        destination,
        spec,
        ledger=ledger,
        stop=stop,
        search=search,
        rules=rules,
        gap=gap,
        again=again,
    )
    if rules.folds:
        ledger.clear_names()
    try:
        with_pairs(
            planner.record,
            planner.wanted,
            planner.present,
            ledger,
            ordered=source.ordered and destination.ordered and not rules.folds,
            kept=planner.hold_names,
            gap=gap,
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
        gap: float,
        again: bool,
    ) -> None:
        self._source = source
        self._destination = destination
        self._spec = spec
        self._ledger = ledger
        self._stop = stop
        self._in_source = search.in_source if search else without_markers
        self._in_destination = search.in_destination if search else without_markers
        self._rules = rules
        self._same_names = SameNames(rules, ledger) if rules.folds else None
        self._gap = gap
        self._again = again
        self._filter = compile_filter(spec.include, spec.exclude)
        self._folders: list[Planned] = []

    def wanted(self) -> Iterator[Entry]:
        """The source's listing without what the globs leave out. Order violations stay visible in it."""
        listing = list_readable(
            self._source, self._spec.prefix, unreadable=self._note_folder, enters=self._filter.enters
        )
        for entry in self._heeding(self._in_source(listing)):
            if self._filter.wants(entry.key):
                yield entry

    def present(self) -> Iterator[Entry]:
        """The destination's listing. What is in a folder that may not be read is taken for missing: it is
        then written only where nothing is."""
        listing = list_readable(self._destination, self._spec.prefix, unreadable=_leave_out)
        return self._heeding(self._in_destination(listing))

    def hold_names(self, batch: Sequence[Entry]) -> None:
        """What the destination holds has the first right to its names."""
        if self._same_names:
            self._same_names.add([entry.key for entry in batch])

    def record(self, pairs: Iterable[Pair]) -> None:
        """Decide and record, in batches."""
        batch: list[Planned] = []
        due = time.monotonic() + FLUSH
        for entry, found in pairs:
            batch.append(self._decided(entry, found))
            if len(batch) >= BATCH or time.monotonic() >= due:
                self._ledger.record([*self._told_apart(batch), *self._folders], again=self._again)
                batch.clear()
                self._folders.clear()
                time.sleep(self._gap)
                due = time.monotonic() + FLUSH
        if batch or self._folders:
            self._ledger.record([*self._told_apart(batch), *self._folders], again=self._again)
            self._folders.clear()

    def _note_folder(self, folder: str, error: StorageError) -> None:
        """One that could not be read is recorded with the objects, so that nobody takes it for empty."""
        self._folders.append(Planned(folder, 0, Action.FOLDER, why=unreadable_folder(error, folder)))

    def _check_key(self, key: str) -> None:
        self._destination.check_key(key)
        self._rules.check(key)

    def _told_apart(self, batch: list[Planned]) -> list[Planned]:
        """The same rows, failed where the destination would take their names for others'."""
        if not self._same_names:
            return batch
        kept = [row.key for row in batch if row.action is not Action.FAIL]
        met = self._same_names.add(kept)
        return [replace(row, action=Action.FAIL, why=ONE_NAME) if row.key in met else row for row in batch]

    def _decided(self, entry: Entry, found: Entry | None) -> Planned:
        planned = decide(entry, found, self._spec, self._check_key)
        if self._again and planned.action is Action.FAIL and planned.found:
            # It may be the same, which was found out once already and only a look can tell.
            return replace(planned, action=Action.COPY, why=None)
        return planned

    def _heeding(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if self._stop():
                raise _Stopped
            yield entry


def _leave_out(folder: str, error: StorageError) -> None:
    """Nothing: each object in it is met by itself."""
