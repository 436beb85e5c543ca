"""Whether what a migration writes would show up in what it reads, found out by looking.

Two addresses say nothing: a folder on this disk may be what an SFTP server shows, and one bucket has many
endpoints. So a marker, a small object with a random name, is written to the destination, and for as long as
both places are listed it is looked for in the source: under its own key the two are one place, under a longer
one the destination lies inside the source. Nothing else is written until the whole source was listed.

Where one place lies inside the other, objects of the inner one stand in the outer's listing under longer
keys. A folder in which several do may also be an earlier copy, so a marker is written *there* and looked for
in the inner place.

Some servers show others' writes only after minutes (``rclone serve``, network shares), but their own writes
are on the disk at once. So a marker is also written to the source for a moment, where that can be written to,
and looked for in the destination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.migration.reasons import explain
from dashboard.storage.driver import Driver, RefusesWrites, stat_or_none
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.inspection.listing import (
    MARKER_CONTENT,
    MARKER_PREFIX,
    list_readable,
    new_marker_name,
    parse_marker,
    without_markers,
)
from dashboard.storage.types import Entry

STALE = 3600.0
"""Seconds after which a marker that another migration left behind is removed."""
AT_SOURCE = "source:"
"""How the keys of markers at the source begin where they are remembered."""
SKEW = 60.0
"""Seconds by which a server's clock may run behind ours when its leftovers are swept."""
SAMPLES = 8
"""Objects of the source that are looked for inside the destination."""
MOST_LOOKS = 50
"""Folders of the destination that are looked at more closely. With several samples hardly any comes so far;
with one, a folder that holds it could lose nothing."""
MOST_PARTS = 20
"""Parts of a place's path that are tried as the way from the other place to it."""


class Overlap(StorageError):
    """The two places are one, or one lies inside the other."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(Kind.CONFLICT, reason, operation="migration", remedy=remedy)


class OverlapSearch:
    """Looks from the moment of ``begin`` until ``end`` says that there is no overlap. ``close`` removes what
    was written, whatever happened.

    ``keep`` remembers the keys of markers before they are written, for ``remove_markers`` of a later run.
    ``paths``: what is known of where source and destination lie, such as ``srv/files``; a hint that finds an
    overlap before anything is listed. ``enters`` says which folders of the source are read at all.
    """

    def __init__(
        self,
        source: Driver,
        destination: Driver,
        prefix: str,
        *,
        migration_id: int,
        keep: Callable[[Sequence[str]], None],
        paths: tuple[str, str] = ("", ""),
        enters: Callable[[str], bool] = lambda folder: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._destination = destination
        self._prefix = prefix
        self._id = migration_id
        self._keep = keep
        self._paths = paths
        self._enters = enters
        self._clock = clock
        self._name = new_marker_name(migration_id, clock())
        self._own_name = new_marker_name(migration_id, clock())
        self._written: list[str] = []
        self._left: list[str] = []
        self._samples: list[Entry] = []
        self._theirs: list[Entry] = []
        self._looks = 0

    def begin(self) -> None:
        """Write the markers, and look where they would most likely be seen. Raises ``Overlap``."""
        key = self._prefix + self._name
        self._write(key)
        # Before anything is listed, which servers might remember.
        if _has(self._source, key):
            raise _one_place()
        for folder in self._likely(self._paths[1]):
            if _has(self._source, folder + key):
                raise _inside_source(folder)
        if self._is_seen(self._prefix, [self._prefix]):
            raise _one_place()
        self._samples = self._first(self._source, self._enters)
        self._theirs = self._first(self._destination)
        for folder in self._likely(self._paths[0]):
            self._look_into(folder)
        for folder in self._likely(self._paths[1]):
            self._look_into_source(folder)

    def _first(self, driver: Driver, enters: Callable[[str], bool] = lambda folder: True) -> list[Entry]:
        readable = list_readable(driver, self._prefix, unreadable=lambda folder, error: None, enters=enters)
        return list(islice(without_markers(readable), SAMPLES))

    def in_source(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The source's listing without markers. Raises ``Overlap`` where the destination lies in it."""
        sample = _longest(self._theirs)
        for entry in entries:
            if MARKER_PREFIX in entry.key and parse_marker(entry.key):
                if entry.key.endswith(self._name):
                    above = entry.key.removesuffix(self._prefix + self._name)
                    raise _inside_source(above) if above else _one_place()
                continue
            if entry.size == sample.size and entry.key != sample.key and entry.key.endswith(sample.key):
                self._look_into_source(entry.key.removesuffix(sample.key))
            yield entry

    def in_destination(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The destination's listing without markers. Raises ``Overlap`` where the source lies in it."""
        sample = _longest(self._samples)
        for entry in entries:
            if MARKER_PREFIX in entry.key and parse_marker(entry.key):
                self._sweep([entry])
                continue
            if entry.size == sample.size and entry.key != sample.key and entry.key.endswith(sample.key):
                self._look_into(entry.key.removesuffix(sample.key))
            yield entry

    def end(self) -> None:
        """Both were listed whole. Raises a retryable error where the marker did not last."""
        if not _has(self._destination, self._prefix + self._name):
            raise StorageError(
                Kind.CHANGED,
                "The object that shows whether source and destination overlap was removed meanwhile.",
                operation="migration",
                remedy="Resume when nothing else tidies the destination.",
            )

    def close(self) -> None:
        """Remove the markers. Idempotent. One that cannot be removed now goes with the next run."""
        if self._written:
            with suppress(StorageError):
                for key in self._written:
                    self._destination.delete(key)
                self._written.clear()
                self._remember()
            self._written.clear()

    def _likely(self, path: str) -> Iterator[str]:
        """The ways to a place from places above it that would bring its objects into the listings."""
        parts = [part for part in path.split("/") if part][-MOST_PARTS:]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[-depth:]) + "/"
            if (folder + self._prefix).startswith(self._prefix):
                yield folder

    def _look_into(self, folder: str) -> None:
        """Whether this folder of the destination is the source. Raises ``Overlap``."""
        if not self._may_be(self._destination, folder, self._samples):
            return
        key = self._prefix + self._name
        self._write(folder + key)
        if _has(self._source, key) or self._is_seen(self._prefix, [folder + self._prefix]):
            raise _inside_destination(folder)

    def _look_into_source(self, folder: str) -> None:
        """Whether this folder of the source is the destination. Raises ``Overlap``."""
        if self._may_be(self._source, folder, self._theirs) and self._is_seen(
            folder + self._prefix, [self._prefix]
        ):
            raise _inside_source(folder)

    def _may_be(self, outer: Driver, folder: str, inner: Sequence[Entry]) -> bool:
        if self._looks >= MOST_LOOKS or not inner:
            return False
        if not all(_has(outer, folder + entry.key, entry.size) for entry in inner):
            return False
        self._looks += 1
        return True

    def _is_seen(self, here: str, there: Sequence[str]) -> bool:
        """Whether what is written to the source for a moment shows up in the destination."""
        if isinstance(self._source, RefusesWrites):
            return False
        key = here + self._own_name
        self._left.append(key)
        self._remember()
        try:
            self._source.put(key, MARKER_CONTENT)
        except ContainerMissing:
            raise
        except StorageError as error:
            # Nobody needs to be allowed to write to a source.
            self._take_back(key, written=error.retryable)
            return False
        try:
            return any(_has(self._destination, each + self._own_name) for each in there)
        finally:
            self._take_back(key)

    def _take_back(self, key: str, *, written: bool = True) -> None:
        with suppress(StorageError):
            if written:
                self._source.delete(key)
            self._left.remove(key)
        self._remember()

    def _remember(self) -> None:
        self._keep([*self._written, *(AT_SOURCE + key for key in self._left)])

    def _write(self, key: str) -> None:
        if key not in self._written:
            self._written.append(key)
            self._remember()
        try:
            self._destination.put(key, MARKER_CONTENT)
        except StorageError as error:
            if error.retryable or isinstance(error, ContainerMissing):
                raise
            why = explain(error, key)
            raise StorageError(
                error.kind,
                f"Nothing can be written to the destination: {why.reason}",
                operation="migration",
                remedy=why.remedy,
            ) from error

    def _sweep(self, entries: Iterable[Entry]) -> None:
        """Remove markers of an earlier run, or so old that nobody needs them."""
        for entry in entries:
            made = parse_marker(entry.key)
            if made is None or entry.key in self._written:
                continue
            if made[0] == self._id or made[1] < self._clock() - STALE:
                with suppress(StorageError):
                    self._destination.delete(entry.key)


def remove_markers(source: Driver | None, destination: Driver, keys: Sequence[str]) -> None:
    """Remove what a search that was killed left behind, at the source as far as that can be done."""
    for key in keys:
        if not key.startswith(AT_SOURCE):
            _remove(destination, key)
        elif source is not None:
            with suppress(StorageError):
                _remove(source, key.removeprefix(AT_SOURCE))


def _remove(driver: Driver, key: str) -> None:
    made = parse_marker(key)
    if made is not None:
        driver.sweep([key], since=made[1] - SKEW)
        driver.delete(key)


def _longest(entries: Sequence[Entry]) -> Entry:
    return max(entries, key=lambda entry: len(entry.key), default=Entry("", -1))


def _has(driver: Driver, key: str, size: int | None = None) -> bool:
    """Whether there is an object under this key, of this size where one is given."""
    try:
        found = stat_or_none(driver, key)
    except StorageError as error:
        if error.kind is Kind.INVALID_KEY:
            return False
        if error.kind is not Kind.DENIED:
            raise
        # Who may not list everything is not told of a single object either whether it is there.
        return any(entry.key == key for entry in driver.list(key))
    return found is not None and size in (None, found.size)


def _one_place() -> Overlap:
    return Overlap(
        "Source and destination are the same place under two names.",
        "Choose a backend that points somewhere else.",
    )


def _inside_source(folder: str) -> Overlap:
    return Overlap(
        f"The destination lies inside the source, in “{folder}”: the copy would contain itself.", _APART
    )


def _inside_destination(folder: str) -> Overlap:
    return Overlap(
        f"The source lies inside the destination, in “{folder}”: the copy could replace its own source.",
        _APART,
    )


_APART = "Choose places that lie beside each other, or give a prefix that keeps them apart."
