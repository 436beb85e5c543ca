"""A destination that keeps what is replaced: each object is copied into a folder before another one takes its
place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar

from dashboard.errors import lower_first
from dashboard.storage.copying import Interrupted, same_content
from dashboard.storage.driver import (
    CopiesWithin,
    Driver,
    KeepsFolders,
    Links,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
    stat_or_none,
)
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.inspection.listing import parse_marker
from dashboard.storage.object_powers import (
    CopiesListed,
    HasTiers,
    HoldsTags,
    ResumesWrites,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.proving import copies_on_server
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges, ObservesCopies
from dashboard.storage.wrapping import CONTAINER_POWERS, unwrap_transparent

MAX_STATES = 100
"""Different contents of one key that one run keeps."""
PARALLEL = 4
"""Objects that are kept at a time: each takes the memory of a copy."""


class _CopiesListed(ObservesCopies):
    """``CopiesListed``: what is only created replaces nothing."""

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """See ``CopiesListed``."""
        if not create_only:
            return super().copy_listed(source, entry, to)
        assert isinstance(self.inner, CopiesListed)
        return self.inner.copy_listed(unwrap_transparent(source), entry, to, create_only=True)


_OTHERWISE = frozenset({ResumesWrites, WritesInGroups})


class KeepsReplaced(ObservesChanges):
    """See above. ``raw``: the same backend, with its reserved folders. ``folder``: where replaced objects go,
    under their own keys; it ends in a slash and belongs to one run. ``stop`` is called between chunks.

    A change is refused, with why, if the object that it would replace or delete could not be kept. Keeping is
    proven like every copy and idempotent. Nothing is kept of markers.
    """

    transparent = True
    forwards = CONTAINER_POWERS | {
        HasTiers,
        HoldsTags,
        KeepsFolders,
        Links,
        ReadsInParallel,
        ReadsRanges,
        SetsVisibility,
        # What is only created replaces nothing.
        WritesInGroups,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {power: mixin for power, mixin in CHANGE_POWERS.items() if power not in _OTHERWISE}
        | {CopiesListed: _CopiesListed}
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ResumesWrites: "What it replaces may not be kept yet.",
            SignsParts: "What others send there replaces without asking.",
            SignsUploads: "What others send there replaces without asking.",
        }
    )

    def __init__(
        self, inner: Driver, raw: Driver, folder: str, stop: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__(inner)
        self._raw = raw
        self._folder = folder
        self._stop = stop
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(PARALLEL)
        self._kept: set[tuple[str, str]] = set()

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        if create_only:
            return self.inner.write(key, size=size, attributes=attributes, create_only=True)
        return super().write(key, size=size, attributes=attributes)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        if create_only:
            return self.inner.put(key, data, attributes=attributes, create_only=True)
        return super().put(key, data, attributes=attributes)

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """Keep what is there."""
        if parse_marker(key) is None:
            found = stat_or_none(self.inner, key)
            if found is not None:
                self._keep(found)
        yield

    def _keep(self, found: ObjectInfo) -> None:
        state = (found.key, found.version or "")
        with self._lock:
            if found.version and state in self._kept:
                return
        try:
            self._copy(found)
        except StorageError as error:
            raise StorageError(
                error.kind,
                f"What is there could not be kept, so it was not replaced: {lower_first(error.reason)}",
                operation="keep",
                subject=found.key,
                remedy=error.remedy,
                retryable=error.retryable,
            ) from error
        with self._lock:
            self._kept.add(state)

    def _copy(self, found: ObjectInfo) -> None:
        """Copy under the first name that is free, unless one of them has this content already."""
        entry = found.entry
        for number in range(1, MAX_STATES + 1):
            name = kept_name(self._folder, found.key, number)
            self._raw.check_key(name)
            there = stat_or_none(self._raw, name)
            if there is None:
                self._copy_as(name, entry, found)
                return
            if same_content(self._raw, self._raw, entry, there, stop=self._stop):
                return
        raise Damaged(found.key, f"“{found.key}” was replaced {MAX_STATES} times in one run.")

    def _copy_as(self, name: str, entry: Entry, found: ObjectInfo) -> None:
        # Only this run writes to its folder, so a name that is free stays free. Not with copy_object: the
        # caller may hold the memory that it would wait for.
        with self._turns:
            if copies_on_server(self._raw, self._raw, entry, marked=True):
                assert isinstance(self._raw, CopiesWithin)
                self._raw.copy_from(self._raw, entry.key, name, if_version=found.version)
            else:
                self._copy_through(name, found)
        if not same_content(self._raw, self._raw, entry, self._raw.stat(name), stop=self._stop):
            raise Damaged(name, f"The kept copy of “{entry.key}” is not what was written.")

    def _copy_through(self, name: str, found: ObjectInfo) -> None:
        with (
            self._raw.read(found.key, if_version=found.version) as reading,
            self._raw.write(name, size=found.size, attributes=found.attributes) as writing,
        ):
            for chunk in reading.chunks():
                if self._stop():
                    raise Interrupted
                writing.write(chunk)
            writing.commit()


def kept_name(folder: str, key: str, number: int = 1) -> str:
    """The name under which the first or a later state of a key is kept."""
    return f"{folder}{key}" if number == 1 else f"{folder.removesuffix('/')}~{number}/{key}"


def list_kept(raw: Driver, folder: str) -> Iterator[Entry]:
    """What is kept in the folder of a run: the first state of each key, under its own key."""
    for entry in raw.list(folder):
        yield entry._replace(key=entry.key.removeprefix(folder))
