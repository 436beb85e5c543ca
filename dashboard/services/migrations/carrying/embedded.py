"""The carriers of the embedded runner: processes that it starts when a migration is worth it.

The run is a carrier itself and copies from the first moment. A process that ends, or gives no sign of life
until its lease has expired, is certainly dead before its rows are given to others: it is killed, and waited
for."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Protocol

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dashboard.migration.carrying.carriers import Carried, CarrierReport, memory_share
from dashboard.migration.execute import Execution
from dashboard.migration.live import MAX_SHOWN
from dashboard.migration.pool import PhaseThread
from dashboard.migration.retry_policy import RunAborted
from dashboard.services.database import translate_error
from dashboard.services.migrations.carrying.carrier_ledger import LEASE_SECONDS
from dashboard.services.migrations.carrying.machine import Headroom
from dashboard.services.migrations.carrying.observed import ObservedCarriers
from dashboard.services.migrations.carrying.run_ledger import Overview, RunLedger
from dashboard.storage.net.rate_limits import Rates

log = logging.getLogger(__name__)

TEND_SECONDS = 0.25
"""Between two looks at the carriers."""
ALONE_SECONDS = 1.0
"""The same where there is only the run itself, which sees what it does."""
WORTHWHILE_SECONDS = 3.0
"""A process is started if copying will take at least that much longer."""
MEASURE_SECONDS = 0.6
"""For how long the speed is measured before that."""
WATCH_SECONDS = 1.0
"""Between two looks whether one gives no sign of life."""
STARTUP_SECONDS = 60.0
"""How long a process may take to begin."""
GRACE_SECONDS = 3.0
"""For how long an expired lease is watched: the run itself may have been held up, and the carrier with it."""
MAX_FAILURES = 3
"""Processes that fail before no more are started in this run."""


class Process(Protocol):
    """A carrier's process."""

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        ...

    def terminate(self) -> None:
        """Ask it to stop."""
        ...

    def kill(self) -> bool:
        """End it by force; return whether it is certainly dead."""
        ...


@dataclass(slots=True)
class _Child:
    process: Process
    expired_since: float | None = None


class EmbeddedCarriers:
    """``most``: how many carriers there may be, the run included.
    ``start(number)`` starts a process; ``sweep(stop)`` removes what interrupted writes left. With
    ``headroom`` a process is started only where it would help, else wherever there is enough to do. See
    ``Carriers``."""

    def __init__(
        self,
        ledger: RunLedger,
        *,
        most: int,
        start: Callable[[int], Process],
        sweep: Callable[[threading.Event], None],
        max_failures: int = MAX_FAILURES,
        headroom: Headroom | None = None,
    ) -> None:
        self._ledger = ledger
        self._headroom = headroom
        self._most = most
        self._start = start
        self._sweep = sweep
        self._children: dict[int, _Child] = {}
        self._last_number = 0
        self._failures = 0
        self._max_failures = max_failures
        self._due = 0.0
        self._seen = Overview()
        self._all_own = False
        self._assigned: dict[int, int] = {}
        self._assigned_rates = Rates()
        self._watching: PhaseThread | None = None
        self._sweeping: tuple[PhaseThread, tuple[int, ...]] | None = None
        self._began: tuple[float, int, int] | None = None
        # Unknown before the first look: earlier runs copied too.
        self._others_copied: int | None = None
        self._progress = (0, 0.0)
        self._spent: Counter[str] = Counter()
        self._failed_keys: set[str] = set()
        self._observed = ObservedCarriers()

    def tend(self, own: Execution, workers: int, *, listing_final: bool) -> bool:
        """See ``Carriers.tend``."""
        now = time.monotonic()
        if now < self._due and not (listing_final and not own.busy):
            return listing_final and self._all_own
        alone = not self._children and (self._most == 1 or self._headroom is not None)
        self._due = now + (ALONE_SECONDS if alone else TEND_SECONDS)
        self._reap()
        seen = self._seen = self._ledger.overview()
        self._abort_with_them(seen)
        self._sweep_and_release(seen)
        self._share(own, workers, seen, now)
        if self._children and seen.uncut and seen.ready < self._most:
            self._ledger.cut_ahead()
        more_would_wait = own.limits.holds or len(self._children) + 1 >= self._most
        if not more_would_wait and self._would_help(now) and self._is_worth_another(seen, now):
            self._add()
        # Rows planned after this look are not in it.
        self._all_own = listing_final and not seen.is_left_to_others
        return self._all_own

    # ---- those that end

    def _reap(self) -> None:
        for number, child in list(self._children.items()):
            code = child.process.poll()
            if code is None:
                continue
            del self._children[number]
            self._assigned.pop(number, None)
            chunks, last = self._ledger.take_back(number)
            self._note(last)
            if last.abort:
                raise RunAborted(last.abort)
            if code or chunks:
                self._failures += 1
                log.warning("Carrier %d ended (exit code %d); %d chunks go to others", number, code, chunks)

    def _note(self, last: CarrierReport) -> None:
        self._spent.update(last.spent)
        self._failed_keys.update(last.failed_keys)

    def _abort_with_them(self, seen: Overview) -> None:
        for _, report in seen.reports.values():
            if report.abort:
                raise RunAborted(report.abort)

    def _watch(self, stop: threading.Event) -> None:
        # Not where rows are settled: a carrier that is suspended in a transaction has the database locked.
        while not stop.wait(WATCH_SECONDS):
            try:
                self._end_silent(self._ledger.overview(), time.monotonic())
            except (DBAPIError, PoolTimeout) as error:
                log.warning("Carriers cannot be watched just now: %s", translate_error(error).reason)

    def _end_silent(self, seen: Overview, now: float) -> None:
        """Kill carriers that gave no sign of life for too long; their rows are taken at the next look."""
        for number, child in list(self._children.items()):
            at, report = seen.reports.get(number, (0.0, CarrierReport()))
            patience = LEASE_SECONDS if report.pid else STARTUP_SECONDS
            until = seen.leases.get(number, at + patience) if report.pid else at + patience
            if until > time.time():
                child.expired_since = None
            elif child.expired_since is None:
                child.expired_since = now
            elif now - child.expired_since > GRACE_SECONDS:
                log.warning("Carrier %d gives no sign of life and is killed", number)
                child.process.kill()

    def _sweep_and_release(self, seen: Overview) -> None:
        """Remove what carriers left that are gone, in a thread; then their chunks may be claimed."""
        if self._sweeping is None:
            if seen.unswept:
                self._sweeping = PhaseThread(self._sweep, "sweep"), seen.unswept
        elif self._sweeping[0].has_ended():
            self._ledger.release(self._sweeping[1])
            self._sweeping = None

    # ---- sharing

    def _share(self, own: Execution, workers: int, seen: Overview, now: float) -> None:
        others = seen.copied - self._ledger.copied
        if self._others_copied is not None and others > self._others_copied:
            own.others_copied()
        self._others_copied = others
        if seen.copied > self._progress[0]:
            self._progress = (seen.copied, now)
        # Those that are still loading get nothing. The others' part is always the same: making it smaller
        # would take until their next report, and somebody else would have the rest already.
        working = [n for n in sorted(self._children) if n in seen.reports and seen.reports[n][1].pid]
        each = workers // self._most
        rest = workers - each * len(working)
        in_outage = [number for number in working if seen.reports[number][1].outage]
        allowed = set(working)
        if working and (in_outage or own.outage) and self._progress[1] < now - TEND_SECONDS:
            # One looks whether it is over; more would only add to the requests that fail.
            allowed = set() if own.outage else {min(in_outage)}
            rest = rest if own.outage else 0
        own.limit_to(rest, memory_share(len(working) + 1))
        self._ledger.memory = memory_share(len(working) + 1)
        # What this carrier began before goes on: the newest of the others wait until there is room.
        places = (workers - max(own.busy, rest)) // each
        wanted = {n: each if n in allowed and place < places else 0 for place, n in enumerate(working)}
        rates = _share_limits(own, working, seen)
        if wanted != self._assigned or rates != self._assigned_rates:
            self._ledger.assign(wanted, rates)
            self._assigned, self._assigned_rates = wanted, rates

    def _would_help(self, now: float) -> bool:
        return self._headroom is None or self._headroom.is_there(now)

    def _is_worth_another(self, seen: Overview, now: float) -> bool:
        if self._failures >= self._max_failures or not (seen.ready or seen.uncut):
            return False
        found = self._ledger.counters()
        if self._began is None:
            self._began = now, found.copied, found.copied_bytes
        began, objects, size = self._began
        passed = now - began
        if passed < MEASURE_SECONDS:
            return False
        # Nothing copied yet counts as one: large objects take their time.
        seconds = passed * (found.found - found.done) / max(1, found.copied - objects)
        by_bytes = passed * (found.found_bytes - found.done_bytes) / max(1, found.copied_bytes - size)
        return max(seconds, by_bytes) >= WORTHWHILE_SECONDS

    def _add(self) -> None:
        if self._headroom:
            self._headroom.restart()
        self._last_number += 1
        number = self._last_number
        self._ledger.add_carrier(number, time.time())
        try:
            self._children[number] = _Child(self._start(number))
            self._watching = self._watching or PhaseThread(self._watch, "carrier-watch")
        except OSError as error:
            log.warning("No further carrier can be started: %s", error)
            self._failures = self._max_failures
            self._ledger.take_back(number)

    def carried(self, own: Carried) -> Carried:
        """See ``Carriers.carried``."""
        spent = Counter(self._spent)
        spent.update(own.spent)
        moving, at_once = list(own.in_flight), own.at_once
        others = {n: seen for n, seen in self._seen.reports.items() if n in self._children}
        for _, report in others.values():
            spent.update(report.spent)
            moving += report.in_flight
            at_once += report.at_once
        shown = tuple(nlargest(MAX_SHOWN, moving, key=lambda one: one.size))
        mine = self._observed.own(self._ledger.copied, self._ledger.copied_bytes, own.at_once)
        processes = self._observed.progress(mine, others, self._seen.claimed)
        return Carried(shown, dict(spent), at_once, own.limited_by, processes)

    # ---- ends

    def request_stop(self) -> None:
        """See ``Carriers.request_stop``."""
        for child in self._children.values():
            child.process.terminate()

    def stop(self, deadline: float) -> Iterable[str]:
        """See ``Carriers.stop``."""
        for thread in (self._watching, self._sweeping and self._sweeping[0]):
            if thread:
                thread.stop(deadline)
        self._watching = self._sweeping = None
        children = dict(self._children)
        while (
            any(child.process.poll() is None for child in children.values()) and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        alive = [number for number, child in children.items() if not child.process.kill()]
        if alive:
            log.error("Carriers %s cannot be killed; the next run fences them out", alive)
        for last in self._ledger.end_carriers().values():
            self._note(last)
        self._children.clear()
        self._assigned.clear()
        self._seen, self._began, self._all_own = Overview(), None, False
        return self._failed_keys

    def kill(self) -> None:
        """See ``Carriers.kill``."""
        if self._watching:
            self._watching.request_stop()
        for child in self._children.values():
            child.process.kill()


def _share_limits(own: Execution, working: Sequence[int], seen: Overview) -> Rates:
    """Take one part of the limits of bytes and objects per second; return that of each other carrier. All
    that have something to copy get the same. A smaller part reaches another carrier with its next report: for
    half a second they may together be faster."""
    more = bool(seen.ready or seen.uncut)
    others = sum(1 for number in working if more or number in seen.leases)
    parts = max(1, others + (more or own.busy > 0))
    own.limits.share(parts)
    return own.limits.whole.part(parts)
