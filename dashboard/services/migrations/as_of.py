"""A backend as it was after an earlier run of a scheduled copy: what later runs replaced takes the place of
what is there now. Read only.

Files that came later are there too: nothing says that they did not exist, only that no copy of them did.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, NoReturn

from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.models.schedules import CopyRun
from dashboard.services.database import Database
from dashboard.services.migrations.keeping_replaced import list_kept
from dashboard.storage.driver import (
    CopiesWithin,
    CreatesBuckets,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    KeepsMetadata,
    Links,
    LooksBeforeCreating,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    RefusesWrites,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.powers import ChecksSettings, KeepsUnfinished
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    ResumesWrites,
    SetsAttributes,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers.common.streams import WrappedReading
from dashboard.storage.wrapping import CONNECTION_POWERS, Wrapper

_WRITES = "What was is not changed."
_NOW = "It would be about the object that is there now."


class _Earlier(WrappedReading):
    """An open read under the key that the object had."""

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        return self._inner.chunks()


class _Ranges(Wrapper):
    """``ReadsRanges`` of what was."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self, AsOf)
        driver, name = self.where(key)
        assert isinstance(driver, ReadsRanges)
        return driver.read_range(name, start, length, if_version=if_version)


class AsOf(Wrapper):
    """See above. ``raw``: the same backend, with its reserved folders. ``folders``: those of the runs after
    that time, the earliest first. They are listed once, when something is first asked; a row for each file in
    them is held in memory."""

    forwards = CONNECTION_POWERS | {KeepsMetadata, ReadsInParallel, RefusesWrites}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({ReadsRanges: _Ranges})
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            **dict.fromkeys((ChecksSettings, HasTiers, HoldsTags, KeepsFolders, KeepsVersions, Links), _NOW),
            **dict.fromkeys(
                (CopiesListed, CopiesWithin, CreatesBuckets, DeletesMany, DeletesUnchanged, HasTrash), _WRITES
            ),
            **dict.fromkeys((KeepsUnfinished, LooksBeforeCreating, MovesWithin, SetsAttributes), _WRITES),
            **dict.fromkeys(
                (ResumesWrites, SetsVisibility, SignsParts, SignsUploads, WritesInGroups), _WRITES
            ),
        }
    )

    def __init__(self, inner: Driver, raw: Driver, folders: Sequence[str]) -> None:
        super().__init__(inner)
        self._raw = raw
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._replaced: dict[str, tuple[str, Entry]] | None = None

    def where(self, key: str) -> tuple[Driver, str]:
        """The driver and the key under which the earlier content is."""
        found = self._load().get(key)
        return (self._raw, found[0]) if found else (self.inner, key)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. What was replaced and is not there any more is listed in its place, or after all
        others if the listing is not ordered."""
        replaced = self._load()
        wanted = [
            entry
            for key, (_, entry) in replaced.items()
            if key.startswith(prefix) and (not start_after or key > start_after)
        ]
        now = (e for e in self.inner.list(prefix, start_after=start_after) if e.key not in replaced)
        if self.ordered:
            return heapq.merge(now, sorted(wanted, key=_in_order), key=_in_order)
        return (entry for entries in (now, wanted) for entry in entries)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        driver, name = self.where(key)
        return replace(driver.stat(name), key=key)

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        driver, name = self.where(key)
        reading = driver.read(name, if_version=if_version)
        return reading if name == key else _Earlier(reading, replace(reading.info, key=key))

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """Refused."""
        _refuse("write", key)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Refused."""
        _refuse("write", key)

    def delete(self, key: str) -> None:
        """Refused."""
        _refuse("delete", key)

    def _load(self) -> dict[str, tuple[str, Entry]]:
        with self._lock:
            if self._replaced is None:
                found: dict[str, tuple[str, Entry]] = {}
                for folder in self._folders:
                    for entry in list_kept(self._raw, folder):
                        # The first run after that time replaced what was there at that time.
                        found.setdefault(entry.key, (f"{folder}{entry.key}", entry))
                self._replaced = found
            return self._replaced


def folders_since(database: Database, run_id: int) -> tuple[str, ...]:
    """The folders with what was replaced after a run, the earliest first. Raises ``NOT_FOUND`` if some of
    that is not kept any more."""
    with database.read() as session:
        run = session.get(CopyRun, run_id)
        later = CopyRun.schedule_id == (run.schedule_id if run is not None else 0)
        query = select(CopyRun).where(later, CopyRun.id > run_id, CopyRun.kind == "copy")
        rows = [row for row in session.scalars(query.order_by(CopyRun.id)) if row.kept_in]
    if run is None or any(row.swept_at is not None for row in rows):
        raise StowageError(
            Kind.NOT_FOUND,
            "What was replaced since that run is not kept any more.",
            operation="restore",
            remedy="Choose a later run, or restore what is there now.",
        )
    return tuple(row.kept_in for row in rows)


def _in_order(entry: Entry) -> bytes:
    return key_bytes(entry.key)


def _refuse(operation: str, key: str) -> NoReturn:
    raise StorageError(Kind.DENIED, _WRITES, operation=operation, subject=key)
