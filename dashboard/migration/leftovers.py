"""Leftovers at the destination: unfinished writes and markers of killed runs, and unfinished uploads and
temporary files of failed writes.

The ledger does not know all of them: if the response to creating an upload is lost, its id never arrives.
So a run lists the destination's unfinished uploads once, at its end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import islice
from random import Random

from dashboard.errors import Kind
from dashboard.migration.destination_names import alternative_names
from dashboard.migration.final_phase import retry
from dashboard.migration.ledger import Ledger, Unswept
from dashboard.migration.overlap import CLOCK_SKEW_SECONDS, remove_markers
from dashboard.migration.retry_policy import REQUEST_ATTEMPTS
from dashboard.migration.types import Action
from dashboard.storage.driver import Driver
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.inspection.powers import KeepsUnfinished, UnfinishedUpload
from dashboard.storage.net.retries import limit_attempts
from dashboard.storage.object_powers import ResumesWrites

log = logging.getLogger(__name__)

MAX_SWEPT_ROWS = 500
"""Interrupted rows swept at once."""
FIRST_SWEPT_ROWS = 16
"""The same for the first sweep. Each sweep is recorded, so a short run leaves less to the next one."""
SWEEP_SECONDS = 0.5
"""The next sweep is larger if this one took less."""
MAX_UPLOADS = 10_000
"""Unfinished uploads that are examined."""
BATCH = 500

OwnKeys = Callable[[Sequence[str]], Collection[str]]
"""Returns those of the given keys that our migration writes in parts."""


def clean_up(
    destination: Driver,
    ledger: Ledger,
    source_name: str,
    *,
    source: Driver | None = None,
    stop: threading.Event | None = None,
    random: Random | None = None,
    began: float | None = None,
) -> float:
    """Remove what interrupted writes left at the destination, and return since when there may be more (epoch
    seconds). Call ``ledger.begin`` before.

    ``began``: when the run began that will copy what was interrupted. Parts of its objects stay then, where
    the destination has the power to resume a write. For a cancelled migration with stragglers, call it
    without, after their process has ended. Idempotent.
    """
    stopping = stop or threading.Event()
    if markers := ledger.markers():
        retry(partial(_remove_markers, source, destination, markers), stopping, random or Random())  # noqa: S311
        if not stopping.is_set():
            ledger.save_markers([])
    resumes = began is not None and isinstance(destination, ResumesWrites)
    earliest = _sweep_interrupted(
        destination,
        ledger,
        source_name,
        stop=stopping,
        random=random or Random(),  # noqa: S311
        resumes=resumes,
    )
    return min(earliest, began or time.time())


def sweep_interrupted(
    destination: Driver, ledger: Ledger, source_name: str, *, stop: threading.Event
) -> None:
    """Remove what interrupted writes left of rows that nobody copies, while others are being copied. Parts
    stay where the destination has the power to resume a write. Idempotent."""
    resumes = isinstance(destination, ResumesWrites)
    _sweep_interrupted(
        destination,
        ledger,
        source_name,
        stop=stop,
        random=Random(),  # noqa: S311
        resumes=resumes,
    )


def _sweep_interrupted(
    destination: Driver,
    ledger: Ledger,
    source_name: str,
    *,
    stop: threading.Event,
    random: Random,
    resumes: bool,
) -> float:
    """Return when the oldest of these writes began, or the time of now."""
    most, earliest = MAX_SWEPT_ROWS if resumes else FIRST_SWEPT_ROWS, time.time()
    while not stop.is_set() and (rows := ledger.unswept(most)):
        before = time.monotonic()
        earliest = min(earliest, *(row.started_at for row in rows))
        if resumes:
            rows = [row for row in rows if not row.pending or row.action is Action.KEEP_BOTH]
            if not rows:
                break
        retry(partial(_sweep, destination, rows, source_name), stop, random)
        if not stop.is_set():
            ledger.swept([row.id for row in rows])
        if time.monotonic() - before < SWEEP_SECONDS:
            most = min(MAX_SWEPT_ROWS, 4 * most)
    return earliest


def _remove_markers(source: Driver | None, destination: Driver, keys: Sequence[str]) -> None:
    try:
        remove_markers(source, destination, keys)
    except StorageError as error:
        if error.retryable or isinstance(error, ContainerMissing):
            raise


def _sweep(destination: Driver, rows: Sequence[Unswept], source_name: str) -> None:
    keys: list[str] = []
    for row in rows:
        keys.append(row.key)
        if row.action is Action.KEEP_BOTH:
            # The name it was being written under is only recorded once it is written.
            keys += alternative_names(row.key, source_name)
    try:
        destination.sweep(keys, since=min(row.started_at for row in rows) - CLOCK_SKEW_SECONDS)
    except StorageError as error:
        # Some users may write but not list unfinished uploads: the run continues.
        if error.kind not in (Kind.DENIED, Kind.UNSUPPORTED):
            raise


def remove_leftovers(
    destination: Driver, prefix: str, failed_keys: Sequence[str], own_keys: OwnKeys, *, since: float
) -> None:
    """Remove leftovers of our writes since ``since`` (epoch seconds) while none is in progress, as far as the
    destination lets us. ``failed_keys``: keys whose writes failed at least once, for destinations that cannot
    list unfinished uploads."""
    try:
        with limit_attempts(REQUEST_ATTEMPTS):
            _remove_leftovers(destination, prefix, failed_keys, own_keys, since)
    except StorageError as error:
        # They are invisible and harmless, and a later sweep finds them.
        log.warning("Leftovers of a migration could not be removed: %s", error)


def _remove_leftovers(
    destination: Driver, prefix: str, failed_keys: Sequence[str], own_keys: OwnKeys, since: float
) -> None:
    if isinstance(destination, KeepsUnfinished):
        found = islice(destination.unfinished(prefix), MAX_UPLOADS)
        recent = [each for each in found if each.begun >= since - CLOCK_SKEW_SECONDS]
        abort_uploads(destination, recent, own_keys)
    elif failed_keys:
        destination.sweep(failed_keys, since=since - CLOCK_SKEW_SECONDS)


def abort_uploads(
    place: KeepsUnfinished, uploads: Iterable[UnfinishedUpload], own_keys: OwnKeys
) -> frozenset[UnfinishedUpload]:
    """Abort the uploads whose keys are ours; return them."""
    rest, aborted = iter(uploads), set[UnfinishedUpload]()
    while batch := list(islice(rest, BATCH)):
        written = own_keys([each.key for each in batch])
        for upload in batch:
            if upload.key in written:
                place.abort(upload)
                aborted.add(upload)
    return frozenset(aborted)
