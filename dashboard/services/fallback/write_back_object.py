"""Writing one waiting object back to its backend: whether it may go there, and that it arrived.

It goes where home has nothing under its key, something that is older beyond doubt, or something that this
program put there before. Anything else at home is left alone.
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
"""Seconds within which two times are never told apart: many backends tell them in whole seconds."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """A backend's clock beside ours. ``ahead`` and ``doubt`` in seconds."""

    offset: float
    uncertainty: float

    def is_older(self, there: ObjectInfo, since: float) -> bool:
        """Whether what is there is from before that moment of ours, beyond doubt."""
        return there.modified is not None and there.modified - self.offset + self.uncertainty < since

    def may_be_from(self, there: ObjectInfo, at: float) -> bool:
        """Whether what is there may have been written by that moment of ours."""
        return there.modified is None or there.modified - self.offset - self.uncertainty <= at


def measure_clock(home: Driver) -> ClockOffset:
    """A backend's clock, from an object that is written and removed again. Raises as its calls do."""
    key = f"{FOLDER}clock-{secrets.token_hex(8)}"
    before = time.time()
    try:
        home.put(key, b"Stowage compares clocks. It may be deleted.\n")
        after = time.time()
        told = home.stat(key).modified
    finally:
        with suppress(StorageError):
            home.delete(key)
    if told is None:
        return ClockOffset(0.0, float("inf"))
    # Some servers tell whole minutes only, in lists if not here.
    grain = 60.0 if told % 60 == 0 else MIN_UNCERTAINTY_SECONDS
    return ClockOffset(told - (before + after) / 2, (after - before) / 2 + grain)


@dataclass(frozen=True, slots=True)
class WriteBackResult:
    """The state a row is left in. ``trouble``: why it waits on, and whether that came from ``home``."""

    state: str
    message: str = ""
    trouble: StowageError | None = None
    home: bool = True

    @property
    def away(self) -> bool:
        """Whether trying others at that backend would end alike."""
        return self.trouble is not None and is_unavailable(self.trouble)


_WRONG = WriteBackResult("lost", "It is not what was written there.")


@dataclass(frozen=True, slots=True)
class ObjectWriteBack:
    """Thread-safe. ``stand_in`` gives the driver of the backend an object waits in."""

    home: Driver
    stand_in: Callable[[WaitingWrite], Driver]
    clock: ClockOffset
    stop: Callable[[], bool] = field(default=lambda: False)

    def write_back(self, waiting: WaitingWrite) -> WriteBackResult:
        """Write it back if it may go there. Raises nothing a backend caused."""
        try:
            driver = self.stand_in(waiting)
            reading = driver.read(waiting.stored_key)
            with resumable(driver, reading) as opened:
                data = opened.read_all() if 0 <= opened.info.size <= SMALL else None
                return self._from(waiting, opened, data)
        except NotFound:
            return WriteBackResult("lost", "It is not there any more.")
        except StowageError as error:
            return WriteBackResult("waiting", trouble=error, home=False)

    def _from(self, waiting: WaitingWrite, reading: Reading, data: bytes | None) -> WriteBackResult:
        """Write back what is open where it waits; ``data`` is all of it where that is little."""
        if reading.info.size != waiting.size or (data is not None and _md5(data) != waiting.md5):
            return _WRONG
        try:
            there = stat_or_none(self.home, waiting.key)
            if self._may_overwrite(waiting, there):
                return self._write(waiting, reading, data, create_only=there is None)
            if there is not None and self._md5_of(there, {waiting.size}) == waiting.md5:
                return _written_result(waiting)
        except Interrupted:
            return WriteBackResult("waiting")
        except StowageError as error:
            return WriteBackResult("waiting", trouble=error)
        return WriteBackResult("overtaken", "Home has something that may be newer.")

    def confirm(self, waiting: WaitingWrite) -> WriteBackResult:
        """See whether an earlier write has arrived over it meanwhile; it is sent again then. Raises nothing
        a backend caused."""
        try:
            there = stat_or_none(self.home, waiting.key)
            if there is None or self._md5_of(there, {waiting.size}) == waiting.md5:
                return WriteBackResult("sent")
            return self.write_back(waiting) if self._is_ours(waiting, there) else WriteBackResult("sent")
        except Interrupted:
            return WriteBackResult("settling")
        except StowageError as error:
            return WriteBackResult("settling", trouble=error)

    def _may_overwrite(self, waiting: WaitingWrite, there: ObjectInfo | None) -> bool:
        if there is None:
            return True
        if waiting.create_only:
            return False
        return self.clock.is_older(there, waiting.since) or self._is_ours(waiting, there)

    def _is_ours(self, waiting: WaitingWrite, there: ObjectInfo) -> bool:
        """Whether home has what this program put there before: earlier than it is sent, or not later than
        it was put there. By content alone only where a server may have carried it out at any time."""
        known = [
            each
            for each in waiting.attempts
            if each.size == there.size and (each.late or self.clock.may_be_from(there, each.at))
        ]
        if not known:
            return False
        found = self._md5_of(there, {each.size for each in known})
        return found in {each.md5 for each in known}

    def _md5_of(self, there: ObjectInfo, sizes: set[int]) -> str:
        if there.size not in sizes:
            return ""
        return there.md5 or read_back(self.home, there.key, stop=self.stop, if_version=there.version)

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
                        return _WRONG
                    written = writing.commit()
        except Exists as error:
            raise StorageError(
                error.kind, "Home got an object under its key at this moment.", operation="write back"
            ) from error
        if not written.proven and read_back(self.home, waiting.key, stop=self.stop) != waiting.md5:
            raise StorageError(
                Kind.DAMAGED, "It did not arrive as it was sent; it is sent again.", operation="write back"
            )
        return _written_result(waiting)


def _written_result(waiting: WaitingWrite) -> WriteBackResult:
    return WriteBackResult("settling" if any(each.late for each in waiting.attempts) else "sent")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
