"""Health checks and counts: what a runner does for a backend in the background, never while a page loads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.probe_objects import ProbeObjects
from dashboard.services.backends.status import READ_ONLY_REMEDY, Badge, StatusBoard
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.catalogue.counting import MAX_FOLDERS, CatalogueCount, CountStopped
from dashboard.services.keys import Keys
from dashboard.storage.driver import Driver, RefusesWrites
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import list_readable, without_markers
from dashboard.storage.net.timeouts import Cancelled, iterate_until
from dashboard.storage.probe import check_writing
from dashboard.storage.types import Entry

log = logging.getLogger(__name__)

SLOW_SECONDS = 2.0
"""Seconds for one response above which a backend is degraded."""
PROGRESS_SECONDS = 1.0
ENDED_SECONDS = 0.5
"""Seconds between two looks whether a person has stopped a count."""


class Checks:
    """Thread-safe and idempotent. A backend that was removed meanwhile is left alone."""

    def __init__(self, backends: Backends, status: StatusBoard, keys: Keys, catalogue: Catalogue) -> None:
        self._backends = backends
        self._status = status
        self._keys = keys
        self._catalogue = catalogue
        self.test_objects = ProbeObjects(status.database)

    def check_backend(self, backend_id: int) -> bool:
        """Check cheaply whether a backend exists, lists and how fast; return whether it did. Records the
        result and raises no error of the backend. A sealed console makes no network call and records
        nothing."""
        name = self._backends.name_of(backend_id)
        if name is None or self._keys.state().sealed:
            return False
        try:
            driver = self._backends.driver(name, label="check")
        except StowageError as error:
            if error.kind is not Kind.NOT_FOUND:
                self._status.record_check(backend_id, Badge.DOWN, None, error.reason, error.remedy)
            return False
        started = time.monotonic()
        try:
            _list_first(driver)
        except StowageError as error:
            badge = Badge.DEGRADED if error.kind in (Kind.DENIED, Kind.THROTTLED) else Badge.DOWN
            latency = None if badge is Badge.DOWN else _milliseconds(started)
            self._status.record_check(backend_id, badge, latency, error.reason, error.remedy)
            return False
        latency = _milliseconds(started)
        if not self._check_writing(backend_id, driver, latency):
            return False
        if latency > SLOW_SECONDS * 1000:
            self._status.record_check(
                backend_id,
                Badge.DEGRADED,
                latency,
                f"It answers, but slowly: {latency / 1000:.1f} seconds.",
                "Check the network between this machine and the backend.",
            )
        else:
            self._status.record_check(backend_id, Badge.HEALTHY, latency)
        return True

    def remove_test_objects(self, stop: Callable[[], bool]) -> None:
        """Remove test objects that killed tests left behind. A sealed console does nothing."""
        if not self._keys.state().sealed and (removed := self.test_objects.clean(self._backends, stop)):
            log.info("%d test objects of tests that were killed were removed", removed)

    def _check_writing(self, backend_id: int, driver: Driver, latency: float) -> bool:
        """Whether it can be written to, or is not meant to be; if not, that is recorded as its state. Tried
        now and then only, and at once after a change."""
        known = self._status.writing(backend_id)
        if not isinstance(driver, RefusesWrites) and known.is_due(time.time()):
            result = check_writing(driver, on_test_object=self.test_objects.of(backend_id))
            if not result.passed and not result.denied:
                reason = f"Writing fails: {result.reason}"
                self._status.record_check(backend_id, Badge.DEGRADED, latency, reason, result.remedy)
                return False
            self._status.record_writing(backend_id, result.reason)
            known = self._status.writing(backend_id)
        if known.denied and not isinstance(driver, RefusesWrites):
            self._status.record_check(backend_id, Badge.READ_ONLY, latency, known.denied, READ_ONLY_REMEDY)
            return False
        return True

    def count_backend(self, backend_id: int, stop: Callable[[], bool]) -> bool:
        """Count objects and bytes by listing everything once, in bounded memory, and record every object in
        the catalogue of files.

        Records progress every second. Returns whether it finished, or was ended by a person. If ``stop``
        ended it or the listing failed, the last finished count stays, and no file leaves the catalogue.
        Either takes effect within a second, however slow the listing is. Raises what the listing raised.
        """
        name = self._backends.name_of(backend_id)
        if name is None or self._keys.state().sealed:
            return True
        self._status.record_count(backend_id, 0, 0, final=False)
        recording = self._catalogue.count(backend_id)
        counted = _Counted()
        finished = False
        try:
            recording.begin()
            driver = self._backends.driver_with_waiting(name, label="check")
            finished = self._list(backend_id, driver, counted, recording, stop)
        except CountStopped:
            # The backend is elsewhere now, another runner counts it, or a person stopped it: what this one
            # has seen says nothing.
            return True
        except StowageError as error:
            if error.kind is Kind.NOT_FOUND and self._backends.name_of(backend_id) is None:
                return True
            raise
        finally:
            if finished:
                self._status.record_count(
                    backend_id,
                    counted.objects,
                    counted.size,
                    final=True,
                    unreadable_folders=counted.unreadable_folders,
                )
            else:
                self._status.discard_count(backend_id)
                recording.abandon()
        return finished

    def _list(
        self,
        backend_id: int,
        driver: Driver,
        counted: _Counted,
        recording: CatalogueCount,
        stop: Callable[[], bool],
    ) -> bool:
        """List everything; return whether that was not stopped."""
        checked = due = time.monotonic()

        def ended() -> bool:
            nonlocal checked, due
            now = time.monotonic()
            if stop():
                return True
            if now >= checked + ENDED_SECONDS:
                checked = now
                if not recording.is_current():
                    raise CountStopped
            if now >= due + PROGRESS_SECONDS:
                self._status.record_count(backend_id, counted.objects, counted.size, final=False)
                due = now
            return False

        def entries() -> Iterator[Entry]:
            listed = without_markers(list_readable(driver, unreadable=counted.note))
            return (entry for entry in listed if not self.test_objects.is_own(backend_id, driver, entry.key))

        try:
            for entry in iterate_until(entries, ended):
                counted.objects += 1
                counted.size += entry.size
                recording.add(entry)
        except Cancelled:
            return False
        recording.complete(counted.unreadable)
        return True


@dataclass(slots=True)
class _Counted:
    """What a count has seen so far."""

    objects: int = 0
    size: int = 0
    unreadable_folders: int = 0
    unreadable: list[str] = field(default_factory=list)
    """The first of these folders."""

    def note(self, folder: str, error: StorageError) -> None:
        """Note a folder that could not be read."""
        self.unreadable_folders += 1
        if len(self.unreadable) <= MAX_FOLDERS:
            self.unreadable.append(folder)


def _list_first(driver: Driver) -> None:
    """Send one request, the start of a listing. Raises ``StorageError``."""
    try:
        for _ in islice(list_readable(driver, unreadable=lambda folder, error: None), 1):
            return
    except StowageError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        raise StowageError(
            Kind.NOT_FOUND,
            "The bucket or folder does not exist.",
            operation="check",
            remedy="Test the connection; from there it can be created.",
        ) from error


def _milliseconds(started: float) -> float:
    return (time.monotonic() - started) * 1000
