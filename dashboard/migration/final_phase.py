"""The final phase: check every copy once more, and only then delete sources.

It can stop at any moment and be repeated.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from random import Random

from dashboard.errors import Kind
from dashboard.migration.ledger import Done, FinalCheck, Finished, Ledger, Reason
from dashboard.migration.pool import Failed, Stopped, WorkerPool
from dashboard.migration.reasons import (
    DIFFERS,
    DISAPPEARED,
    KEPT_CHANGED,
    KEPT_DIFFERS,
    MISSING,
    UNLISTED,
    kept_reason,
    reason_for,
)
from dashboard.migration.retry_policy import (
    ABORT_AFTER_FIRST_FAILURES,
    ATTEMPTS,
    FATAL,
    REQUEST_ATTEMPTS,
    RunAborted,
    delay,
)
from dashboard.migration.types import ObjectState, Spec
from dashboard.storage.copying import Interrupted, read_back
from dashboard.storage.driver import DeletesUnchanged, Driver, stat_or_none
from dashboard.storage.errors import Changed, ContainerMissing, StorageError
from dashboard.storage.inspection.listing import list_readable
from dashboard.storage.net.at_once import call_at_once, calls_at_once
from dashboard.storage.net.rate_limits import RateLimits
from dashboard.storage.net.retries import limit_attempts
from dashboard.storage.types import ObjectInfo

PAGE = 500
MAX_CHECKED = 32
"""Copies that are checked at once."""
WAKE_AFTER = 64
"""Results that are taken at once."""
PAUSE_SECONDS = 0.002
"""Between two ledger transactions."""
LISTING_WAITS = (0.0, 2.0, 8.0)
"""Seconds before each further listing, because some servers list new objects only after a while."""
_LISTED = (ObjectState.COPIED, ObjectState.VERIFIED, ObjectState.SKIPPED)
"""States of rows that have an object at the destination."""

Work = Callable[[Finished], FinalCheck | None]


UNSETTLED_MARK = "~"
"""Prefix of a recorded version if the source may have been written to while it was read."""


def version_of(info: ObjectInfo) -> str:
    """Return a text that changes when the object does; never empty."""
    return info.version or info.etag or f"{info.size}@{info.modified}"


def recorded_version(info: ObjectInfo) -> str:
    """Return the version of the source that was read, for a later deletion."""
    return version_of(info) if info.settled else UNSETTLED_MARK + version_of(info)


def copied_result(
    info: ObjectInfo, size: int, checksums: tuple[str, str], *, to: str, etag: str | None, proven: bool
) -> Done:
    """Return the result for a copy. ``info``: of the source that was read; ``checksums``: of both."""
    return Done(
        ObjectState.VERIFIED if proven else ObjectState.COPIED,
        size,
        destination_key=to,
        source_checksum=checksums[0],
        destination_checksum=checksums[1],
        source_version=recorded_version(info),
        destination_etag=etag or "",
        source_modified=info.modified,
        source_etag=info.etag,
    )


def retry(call: Callable[[], None], stop: threading.Event, random: Random) -> None:
    """Make an idempotent call, again after each retryable error; raise the last of them."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            call()
            return
        except StorageError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            if stop.wait(delay(attempt, random)):
                return


class FinalPhase:
    """Confirms copies and deletes sources. ``stop`` ends it early without harm."""

    def __init__(
        self,
        source: Driver,
        destination: Driver,
        spec: Spec,
        *,
        ledger: Ledger,
        random: Random,
    ) -> None:
        self.limits = RateLimits()
        """For what is read once more."""
        self.may_write: Callable[[], bool] = lambda: True
        """Asked right before each deletion: where it returns false, others may have the run by now, and
        nothing is deleted."""
        self.meanwhile: Callable[[], object] = lambda: None
        """Called in a thread while the copies are checked, or afterwards where the destination accepts one
        connection."""
        self._source = source
        self._destination = destination
        self._spec = spec
        self._ledger = ledger
        self._random = random
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Run the whole phase. Raises ``StorageError`` or ``RunAborted`` if it cannot be completed."""
        call_at_once([partial(self._check_all, stop), self.meanwhile], calls_at_once(self._destination))

    def _check_all(self, stop: threading.Event) -> None:
        self._stop = stop
        retry(partial(self._mark_listed, stop, self._spec.prefix), stop, self._random)
        self._check_unlisted(stop)
        # Whatever is only copied now was seen in the listing with its size.
        for page in self._pages(ObjectState.COPIED, stop):
            self._ledger.record_final_checks([FinalCheck(row, ObjectState.VERIFIED) for row in page])
            time.sleep(PAUSE_SECONDS)
        if self._spec.delete_source:
            self._check_each(self._announced(self._pages(ObjectState.VERIFIED, stop)), self._delete, stop)

    def _announced(self, pages: Iterable[list[Finished]]) -> Iterator[list[Finished]]:
        for page in pages:
            self._ledger.announce_deletions(page)
            yield page

    def _check_unlisted(self, stop: threading.Event) -> None:
        """Stat the objects that the listing did not show. Those that exist must soon be listed too, under
        exactly their names, because some servers accept a name that they store in another form."""
        for wait in (*LISTING_WAITS, None):
            for state in _LISTED:
                self._check_each(self._pages(state, stop, unseen=True), self._check_object, stop)
            prefix = self._common_prefix_of_unlisted(stop)
            if prefix is None:
                return
            if wait is None:
                break
            if stop.wait(wait):
                return
            retry(partial(self._mark_listed, stop, prefix), stop, self._random)
        for state in _LISTED:
            self._check_each(self._pages(state, stop, unseen=True), _refuse_unlisted, stop)

    def _common_prefix_of_unlisted(self, stop: threading.Event) -> str | None:
        """Return the common prefix of the keys not listed so far; None if all of them were."""
        common: str | None = None
        for state in _LISTED:
            for page in self._pages(state, stop, unseen=True):
                targets = [row.target for row in page if not row.listed]
                if targets:
                    known = [] if common is None else [common]
                    common = os.path.commonprefix([*targets, *known])  # noqa: RUF071  # keys, not paths
        return common

    def _mark_listed(self, stop: threading.Event, prefix: str) -> None:
        # The contents of an unreadable folder count as not listed.
        listing = list_readable(self._destination, prefix, unreadable=lambda folder, error: None)
        while not stop.is_set() and (batch := list(islice(listing, PAGE))):
            self._ledger.mark_listed(batch)
            time.sleep(PAUSE_SECONDS)

    def _pages(
        self, state: ObjectState, stop: threading.Event, *, unseen: bool = False
    ) -> Iterator[list[Finished]]:
        after = 0
        while not stop.is_set():
            page = list(self._ledger.finished(state, after, PAGE, unseen=unseen))
            if not page:
                return
            after = page[-1].id
            yield page

    def _check_each(self, pages: Iterable[list[Finished]], work: Work, stop: threading.Event) -> None:
        """Do the work for every row, several in parallel, and record the results page by page."""
        pool: WorkerPool[Finished, FinalCheck | StorageError | None] | None = None
        try:
            for page in pages:
                if pool is None:
                    attempts = self._attempts(work, stop)
                    pool = WorkerPool(
                        attempts, min(self._spec.workers or MAX_CHECKED, MAX_CHECKED, len(page))
                    )
                self._ledger.record_final_checks(list(self._page(pool, page)))
                time.sleep(PAUSE_SECONDS)
        finally:
            if pool is not None:
                pool.close(time.monotonic() + (0.2 if stop.is_set() else 5.0))

    def _page(
        self, pool: WorkerPool[Finished, FinalCheck | StorageError | None], page: list[Finished]
    ) -> Iterator[FinalCheck]:
        pool.wake_after = WAKE_AFTER
        for row in page:
            pool.put(row)
        left, refused, worst = len(page), 0, None
        while left:
            for _, result in pool.results(0.1):
                left -= 1
                match result:
                    case FinalCheck():
                        refused += result.reason is not None and result.reason.kind == Kind.DENIED
                        yield result
                    case StorageError():
                        worst = worst or reason_for(result)
                    case Failed():
                        worst = worst or result.reason
                    case Stopped() | None:
                        pass
        if worst is not None:
            raise RunAborted(worst)
        if refused == len(page) and refused >= ABORT_AFTER_FIRST_FAILURES:
            raise RunAborted(_DELETION_REFUSED)

    def _attempts(
        self, work: Work, stop: threading.Event
    ) -> Callable[[Finished, Callable[[], bool]], FinalCheck | StorageError | None]:
        def attempt(row: Finished, halted: Callable[[], bool]) -> FinalCheck | StorageError | None:
            found: list[FinalCheck | None] = []
            if stop.is_set():
                return None
            try:
                with limit_attempts(REQUEST_ATTEMPTS):
                    retry(lambda: found.append(work(row)), stop, self._random)
            except Interrupted:
                return None
            except StorageError as error:
                return error
            return found[0] if found else None

        return attempt

    def _check_object(self, row: Finished) -> FinalCheck | None:
        """Check one object that the listing did not show as it should. None: only the listing is wrong."""
        try:
            info = stat_or_none(self._destination, row.target)
        except StorageError as error:
            return _failed_check(row, error)
        if info is None:
            gone = DISAPPEARED if row.state is ObjectState.SKIPPED else MISSING
            return FinalCheck(row, ObjectState.FAILED, gone)
        if row.state is ObjectState.SKIPPED:
            return None
        same_tag = not (row.destination_etag and info.etag) or row.destination_etag == info.etag
        if info.size != row.size or not same_tag:
            return FinalCheck(row, ObjectState.FAILED, DIFFERS)
        if row.listed and row.state is ObjectState.COPIED:
            return FinalCheck(row, ObjectState.VERIFIED)
        return None

    def _delete(self, row: Finished) -> FinalCheck | None:
        """Delete a verified object's source if it is still the object that was copied."""
        try:
            version = row.source_version.removeprefix(UNSETTLED_MARK)
            certain = isinstance(self._source, DeletesUnchanged) and version == row.source_version
            if not certain and (reason := self._reason_to_keep(row)):
                return FinalCheck(row, ObjectState.VERIFIED, reason)
            self._check_stop()
            # A missing source was deleted by another program, or by a run killed before it recorded that.
            if isinstance(self._source, DeletesUnchanged):
                self._source.delete_unchanged(row.key, version)
            else:
                self._source.delete(row.key)
        except Changed:
            return FinalCheck(row, ObjectState.VERIFIED, KEPT_CHANGED)
        except StorageError as error:
            if _concerns_all(error):
                raise
            return FinalCheck(row, ObjectState.VERIFIED, kept_reason(error, row.key))
        return FinalCheck(row, ObjectState.VERIFIED, deleted=True)

    def _reason_to_keep(self, row: Finished) -> Reason | None:
        """Return why the source must stay, or None if it may be deleted. Reads both sides once more, because
        its version is only size and time, or because it was being written to while it was copied."""
        info = stat_or_none(self._source, row.key)
        if info is None:
            return None
        if info.size != row.size:
            return KEPT_CHANGED
        with self.limits.applied(self._check_stop):
            there = read_back(self._destination, row.target, stop=self._should_stop)
            here = read_back(self._source, row.key, stop=self._should_stop, if_version=info.version)
        return None if here == there else KEPT_DIFFERS

    def _should_stop(self) -> bool:
        return self._stop.is_set() or not self.may_write()

    def _check_stop(self) -> None:
        if self._should_stop():
            raise Interrupted


def _failed_check(row: Finished, error: StorageError) -> FinalCheck:
    """Return the failure of one object; raise an error that concerns all of them."""
    if _concerns_all(error):
        raise error
    return FinalCheck(row, ObjectState.FAILED, reason_for(error, row.key, row.target))


def _concerns_all(error: StorageError) -> bool:
    return error.retryable or error.kind in FATAL or isinstance(error, ContainerMissing)


def _refuse_unlisted(row: Finished) -> FinalCheck | None:
    return None if row.listed else FinalCheck(row, ObjectState.FAILED, UNLISTED)


_DELETION_REFUSED = Reason(
    Kind.DENIED.value,
    "Everything is copied and verified, but the source refuses to delete its objects.",
    "Allow this user to delete there and resume, or delete them yourself.",
)
