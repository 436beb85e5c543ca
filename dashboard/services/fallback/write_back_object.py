"""Writing one waiting write back: decides whether it may replace what home has, and verifies the result.

It is written if home has no object with its key, one that is certainly older, or one that this program stored
before. Any other object at home is left alone.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from dashboard.errors import Kind, StowageError
from dashboard.storage.copying import Interrupted, read_back
from dashboard.storage.driver import SMALL, Driver, LooksBeforeCreating, Reading, stat_or_none
from dashboard.storage.errors import Exists, NotFound, StorageError
from dashboard.storage.net.resuming import resumable
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER, WaitingWrite, is_unavailable

MIN_UNCERTAINTY_SECONDS = 2.0
"""Times closer than this cannot be compared, because many backends report whole seconds."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far a backend's clock is ahead of ours, and the uncertainty of that, in seconds."""

    offset: float
    uncertainty: float

    def is_older(self, current: ObjectInfo, since: float) -> bool:
        """Whether an object was certainly written before a time of our clock."""
        return current.modified is not None and current.modified - self.offset + self.uncertainty < since

    def may_be_from(self, current: ObjectInfo, at: float) -> bool:
        """Whether an object may have been written at or before a time of our clock."""
        return current.modified is None or current.modified - self.offset - self.uncertainty <= at


def measure_clock(home: Driver) -> ClockOffset:
    """Measure a backend's clock by writing an object and deleting it again. Raises ``StorageError``."""
    key = f"{FOLDER}clock-{secrets.token_hex(8)}"
    before = time.time()
    try:
        home.put(key, b"Stowage compares clocks. It may be deleted.\n")
        after = time.time()
        modified = home.stat(key).modified
    finally:
        with suppress(StorageError):
            home.delete(key)
    if modified is None:
        return ClockOffset(0.0, float("inf"))
    # Some servers report whole minutes, if not here then in listings.
    resolution = 60.0 if modified % 60 == 0 else MIN_UNCERTAINTY_SECONDS
    return ClockOffset(modified - (before + after) / 2, (after - before) / 2 + resolution)


@dataclass(frozen=True, slots=True)
class WriteBackResult:
    """The next state of a row. ``error``: why it remains; ``at_home``: whether home raised it."""

    state: str
    message: str = ""
    error: StowageError | None = None
    at_home: bool = True

    @property
    def is_unavailable(self) -> bool:
        """Whether the backend that raised the error cannot be used now."""
        return self.error is not None and is_unavailable(self.error)


_DIFFERENT_CONTENT = WriteBackResult("lost", "Its content is not what was written.")


@dataclass(frozen=True, slots=True)
class ObjectWriteBack:
    """Writes objects back to one home. Thread-safe. ``stand_in`` returns the driver that stores an object."""

    home: Driver
    stand_in: Callable[[WaitingWrite], Driver]
    clock: ClockOffset
    stop: Callable[[], bool] = field(default=lambda: False)

    def write_back(self, waiting: WaitingWrite) -> WriteBackResult:
        """Write it back if it may replace what home has. Raises no errors of backends."""
        try:
            driver = self.stand_in(waiting)
            reading = driver.read(waiting.stored_key)
            with resumable(driver, reading) as opened:
                data = opened.read_all() if 0 <= opened.info.size <= SMALL else None
                return self._write_back_reading(waiting, opened, data)
        except NotFound:
            return WriteBackResult("lost", "It no longer exists.")
        except StowageError as error:
            return WriteBackResult("waiting", error=error, at_home=False)

    def _write_back_reading(
        self, waiting: WaitingWrite, reading: Reading, data: bytes | None
    ) -> WriteBackResult:
        """Write back an open read of the waiting write; ``data`` is its content if that is small."""
        if reading.info.size != waiting.size or (data is not None and _md5(data) != waiting.md5):
            return _DIFFERENT_CONTENT
        try:
            current = stat_or_none(self.home, waiting.key)
            if self._may_overwrite(waiting, current):
                return self._write(waiting, reading, data, create_only=current is None)
            if current is not None and self._md5_of(current, {waiting.size}) == waiting.md5:
                return _written_result(waiting)
        except Interrupted:
            return WriteBackResult("waiting")
        except StowageError as error:
            return WriteBackResult("waiting", error=error)
        return WriteBackResult("overtaken", "Its home backend has an object that may be newer.")

    def confirm(self, waiting: WaitingWrite) -> WriteBackResult:
        """Check whether an earlier write overwrote it meanwhile, and if so write it again. Raises no errors
        of backends."""
        try:
            current = stat_or_none(self.home, waiting.key)
            if current is None or self._md5_of(current, {waiting.size}) == waiting.md5:
                return WriteBackResult("sent")
            return self.write_back(waiting) if self._is_ours(waiting, current) else WriteBackResult("sent")
        except Interrupted:
            return WriteBackResult("settling")
        except StowageError as error:
            return WriteBackResult("settling", error=error)

    def _may_overwrite(self, waiting: WaitingWrite, current: ObjectInfo | None) -> bool:
        if current is None:
            return True
        if waiting.create_only:
            return False
        return self.clock.is_older(current, waiting.since) or self._is_ours(waiting, current)

    def _is_ours(self, waiting: WaitingWrite, current: ObjectInfo) -> bool:
        """Whether home's object is one that this program wrote before. Its time must fit the attempt, unless
        the server may have completed that at any later time."""
        candidates = [
            attempt
            for attempt in waiting.attempts
            if attempt.size == current.size and (attempt.late or self.clock.may_be_from(current, attempt.at))
        ]
        if not candidates:
            return False
        md5 = self._md5_of(current, {attempt.size for attempt in candidates})
        return md5 in {attempt.md5 for attempt in candidates}

    def _md5_of(self, current: ObjectInfo, sizes: set[int]) -> str:
        if current.size not in sizes:
            return ""
        return current.md5 or read_back(self.home, current.key, stop=self.stop, if_version=current.version)

    def _write(
        self, waiting: WaitingWrite, reading: Reading, data: bytes | None, *, create_only: bool
    ) -> WriteBackResult:
        if (
            create_only
            and isinstance(self.home, LooksBeforeCreating)
            and not self.home.supports_create_only()
        ):
            create_only = False
        attributes = waiting.attributes if waiting.attributes is not None else reading.info.attributes
        try:
            if data is not None:
                written = self.home.put(waiting.key, data, attributes=attributes, create_only=create_only)
            else:
                with self.home.write(
                    waiting.key, size=waiting.size, attributes=attributes, create_only=create_only
                ) as writing:
                    md5 = hashlib.md5(usedforsecurity=False)
                    for chunk in reading.chunks():
                        if self.stop():
                            raise Interrupted
                        md5.update(chunk)
                        writing.write(chunk)
                    if md5.hexdigest() != waiting.md5:
                        return _DIFFERENT_CONTENT
                    written = writing.commit()
        except Exists as error:
            raise StorageError(
                error.kind,
                "Another program stored an object with its key at the same time.",
                operation="write back",
            ) from error
        if not written.proven and read_back(self.home, waiting.key, stop=self.stop) != waiting.md5:
            raise StorageError(
                Kind.DAMAGED,
                "Home did not store it as it was sent; it is sent again.",
                operation="write back",
            )
        return _written_result(waiting)


def _written_result(waiting: WaitingWrite) -> WriteBackResult:
    return WriteBackResult("settling" if any(attempt.late for attempt in waiting.attempts) else "sent")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
