"""Whether the destination and the source of a migration overlap, found out by trying.

Addresses do not tell: a folder on this disk may be what an SFTP server serves, and one bucket has many
endpoints. So a marker, a small object with a random name, is written to the destination, and the source's
listing is searched for it: under its own key the two are the same place, under a longer one the destination
lies inside the source. Until the source is completely listed nothing is written but objects with such names.

If one lies inside the other, the outer listing has the inner objects under longer keys. A folder that has
several of them may also be an earlier copy, so a marker is written *there* and searched for in the inner one.

Some servers show the writes of others only after minutes (``rclone serve``, network shares), but store their
own at once. So if the source can be written to, a marker is also stored there for a moment and searched for
in the destination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice

from dashboard.errors import Kind
from dashboard.migration.reasons import reason_for
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
from dashboard.storage.net.at_once import call_at_once, calls_at_once
from dashboard.storage.types import Entry

STALE_SECONDS = 3600.0
"""The age at which a marker of another migration is removed."""
AT_SOURCE = "source:"
"""The prefix with which the keys of markers at the source are saved."""
CLOCK_SKEW_SECONDS = 60.0
"""How far a server's clock may be behind ours when its leftovers are swept."""
SAMPLES = 8
"""Objects of the source that are searched for inside the destination."""
MAX_FOLDERS_CHECKED = 50
"""Folders that are checked with a marker. With several samples hardly any folder qualifies; with only one,
a folder that has it could lose nothing."""
MAX_PATH_PARTS = 20
"""Parts of a path that are tried as the way from the other side to it."""


class Overlap(StorageError):
    """Source and destination are the same, or one lies inside the other."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(Kind.CONFLICT, reason, operation="migration", remedy=remedy)


class OverlapSearch:
    """The search, from ``begin`` until ``end`` confirms that there is no overlap. Always call ``close``,
    which removes the markers.

    ``save`` stores the keys of markers before they are written, for ``remove_markers`` of a later run.
    ``paths``: the known paths of source and destination on their servers, such as ``srv/files``; a hint to
    find an overlap before anything is listed. ``enters`` decides which folders of the source are read.
    """

    def __init__(
        self,
        source: Driver,
        destination: Driver,
        prefix: str,
        *,
        migration_id: int,
        save: Callable[[Sequence[str]], None],
        paths: tuple[str, str] = ("", ""),
        enters: Callable[[str], bool] = lambda folder: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._destination = destination
        self._prefix = prefix
        self._id = migration_id
        self._save = save
        self._paths = paths
        self._enters = enters
        self._clock = clock
        self._marker_name = new_marker_name(migration_id, clock())
        self._source_marker_name = new_marker_name(migration_id, clock())
        self._markers: list[str] = []
        self._source_markers: list[str] = []
        self._source_samples: list[Entry] = []
        self._destination_samples: list[Entry] = []
        self._folders_checked = 0

    def begin(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Write the markers and check the most likely places for them. Raises ``Overlap``.

        ``meanwhile`` is called in another thread once the destination has taken a marker, while markers are
        looked for by name; nothing is listed before it has returned. Raises what it raises.
        """
        self._write_marker(self._prefix + self._marker_name)
        # Before anything is listed, because servers may cache listings.
        call_at_once([self._look_at_source, self._look_at_destination, meanwhile])
        call_at_once([self._sample_source, self._sample_destination])
        self._look_at_folders()

    def _look_at_source(self) -> None:
        """Raise ``Overlap`` if the marker is in the source, where the paths say that it may be."""
        folders = ["", *self._candidate_folders(self._paths[1])]
        looks = [partial(self._look_at_source_folder, folder) for folder in folders]
        call_at_once(looks, calls_at_once(self._source))

    def _look_at_source_folder(self, folder: str) -> None:
        if _has(self._source, folder + self._prefix + self._marker_name):
            raise _inside_source_error(folder) if folder else _same_place_error()

    def _look_at_destination(self) -> None:
        if self._is_visible(self._prefix, [self._prefix]):
            raise _same_place_error()

    def _sample_source(self) -> None:
        self._source_samples = self._first(self._source, self._enters)

    def _sample_destination(self) -> None:
        self._destination_samples = self._first(self._destination)

    def _look_at_folders(self) -> None:
        """Look into the folders in which one place would see the other, as the paths say."""
        seen_from_destination, seen_from_source = map(self._candidate_folders, self._paths)
        inner: list[str] = []
        outer: list[str] = []
        call_at_once(
            [
                lambda: inner.extend(_where(self._destination, seen_from_destination, self._source_samples)),
                lambda: outer.extend(_where(self._source, seen_from_source, self._destination_samples)),
            ]
        )
        for folder in inner:
            self._try_folder(folder)
        for folder in outer:
            self._try_source_folder(folder)

    def _first(self, driver: Driver, enters: Callable[[str], bool] = lambda folder: True) -> list[Entry]:
        readable = list_readable(driver, self._prefix, unreadable=lambda folder, error: None, enters=enters)
        return list(islice(without_markers(readable), SAMPLES))

    def watch_source(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the source's listing without markers. Raises ``Overlap`` if the destination lies in it."""
        sample = _longest_key(self._destination_samples)
        for entry in entries:
            if MARKER_PREFIX in entry.key and parse_marker(entry.key):
                if entry.key.endswith(self._marker_name):
                    above = entry.key.removesuffix(self._prefix + self._marker_name)
                    raise _inside_source_error(above) if above else _same_place_error()
                continue
            if entry.size == sample.size and entry.key != sample.key and entry.key.endswith(sample.key):
                self._check_source_folder(entry.key.removesuffix(sample.key))
            yield entry

    def watch_destination(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the destination's listing without markers. Raises ``Overlap`` if the source lies in it."""
        sample = _longest_key(self._source_samples)
        for entry in entries:
            if MARKER_PREFIX in entry.key and parse_marker(entry.key):
                self._remove_if_stale(entry.key)
                continue
            if entry.size == sample.size and entry.key != sample.key and entry.key.endswith(sample.key):
                self._check_folder(entry.key.removesuffix(sample.key))
            yield entry

    def end(self) -> None:
        """Call when both are completely listed. Raises a retryable error if the marker was removed."""
        if not _has(self._destination, self._prefix + self._marker_name):
            raise StorageError(
                Kind.CHANGED,
                "The object that shows whether source and destination overlap was deleted by others.",
                operation="migration",
                remedy="Resume when no other program deletes objects there.",
            )

    def close(self) -> None:
        """Remove the markers. The next run removes those that cannot be removed now. Idempotent."""
        if self._markers:
            with suppress(StorageError):
                for key in self._markers:
                    self._destination.delete(key)
                self._markers.clear()
                self._save_markers()
            self._markers.clear()

    def _candidate_folders(self, path: str) -> Iterator[str]:
        """Yield the folders, seen from above, in which this path would appear in a listing."""
        parts = [part for part in path.split("/") if part][-MAX_PATH_PARTS:]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[-depth:]) + "/"
            if (folder + self._prefix).startswith(self._prefix):
                yield folder

    def _check_folder(self, folder: str) -> None:
        """Raise ``Overlap`` if this folder of the destination is the source."""
        if self._may_try() and _has_all(self._destination, folder, self._source_samples):
            self._try_folder(folder)

    def _check_source_folder(self, folder: str) -> None:
        """Raise ``Overlap`` if this folder of the source is the destination."""
        if self._may_try() and _has_all(self._source, folder, self._destination_samples):
            self._try_source_folder(folder)

    def _may_try(self) -> bool:
        return self._folders_checked < MAX_FOLDERS_CHECKED

    def _try_folder(self, folder: str) -> None:
        self._folders_checked += 1
        key = self._prefix + self._marker_name
        self._write_marker(folder + key)
        if _has(self._source, key) or self._is_visible(self._prefix, [folder + self._prefix]):
            raise _inside_destination_error(folder)

    def _try_source_folder(self, folder: str) -> None:
        self._folders_checked += 1
        if self._is_visible(folder + self._prefix, [self._prefix]):
            raise _inside_source_error(folder)

    def _is_visible(self, here: str, there: Sequence[str]) -> bool:
        """Whether a marker that is stored in the source for a moment appears in the destination."""
        if isinstance(self._source, RefusesWrites):
            return False
        key = here + self._source_marker_name
        self._source_markers.append(key)
        self._save_markers()
        try:
            self._source.put(key, MARKER_CONTENT)
        except ContainerMissing:
            raise
        except StorageError as error:
            # A migration does not require write access to its source.
            self._remove_from_source(key, written=error.retryable)
            return False
        try:
            return any(_has(self._destination, each + self._source_marker_name) for each in there)
        finally:
            self._remove_from_source(key)

    def _remove_from_source(self, key: str, *, written: bool = True) -> None:
        with suppress(StorageError):
            if written:
                self._source.delete(key)
            self._source_markers.remove(key)
        self._save_markers()

    def _save_markers(self) -> None:
        self._save([*self._markers, *(AT_SOURCE + key for key in self._source_markers)])

    def _write_marker(self, key: str) -> None:
        if key not in self._markers:
            self._markers.append(key)
            self._save_markers()
        try:
            self._destination.put(key, MARKER_CONTENT)
        except StorageError as error:
            if error.retryable or isinstance(error, ContainerMissing):
                raise
            reason = reason_for(error, key)
            raise StorageError(
                error.kind,
                f"Nothing can be written to the destination: {reason.sentence}",
                operation="migration",
                remedy=reason.remedy,
            ) from error

    def _remove_if_stale(self, key: str) -> None:
        """Remove a marker of an earlier run of this migration, or an old one of another."""
        parsed = parse_marker(key)
        if parsed is None or key in self._markers:
            return
        if parsed[0] == self._id or parsed[1] < self._clock() - STALE_SECONDS:
            with suppress(StorageError):
                self._destination.delete(key)


def remove_markers(source: Driver | None, destination: Driver, keys: Sequence[str]) -> None:
    """Remove the markers of a killed search; errors at the source are ignored."""
    for key in keys:
        if not key.startswith(AT_SOURCE):
            _remove(destination, key)
        elif source is not None:
            with suppress(StorageError):
                _remove(source, key.removeprefix(AT_SOURCE))


def _remove(driver: Driver, key: str) -> None:
    parsed = parse_marker(key)
    if parsed is not None:
        driver.sweep([key], since=parsed[1] - CLOCK_SKEW_SECONDS)
        driver.delete(key)


def _longest_key(entries: Sequence[Entry]) -> Entry:
    return max(entries, key=lambda entry: len(entry.key), default=Entry("", -1))


def _has(driver: Driver, key: str, size: int | None = None) -> bool:
    """Whether an object exists under this key, with this size if one is given."""
    try:
        found = stat_or_none(driver, key)
    except StorageError as error:
        if error.kind is Kind.INVALID_KEY:
            return False
        if error.kind is not Kind.DENIED:
            raise
        # S3 denies a stat of a missing object to clients that may not list.
        return any(entry.key == key for entry in driver.list(key))
    return found is not None and size in (None, found.size)


def _has_all(outer: Driver, folder: str, inner: Sequence[Entry]) -> bool:
    """Whether a folder has these objects, at least one."""
    return bool(inner) and all(_has(outer, folder + entry.key, entry.size) for entry in inner)


def _where(outer: Driver, folders: Iterable[str], inner: Sequence[Entry]) -> list[str]:
    """Return the folders that have these objects; looks into several at once."""
    folders, found = list(folders), set[str]()

    def look(folder: str) -> None:
        if _has_all(outer, folder, inner):
            found.add(folder)

    call_at_once([partial(look, folder) for folder in folders], calls_at_once(outer))
    return [folder for folder in folders if folder in found]


def _same_place_error() -> Overlap:
    return Overlap(
        "Source and destination are the same place under two names.",
        "Choose a backend that points somewhere else.",
    )


def _inside_source_error(folder: str) -> Overlap:
    return Overlap(
        f"The destination lies inside the source, in “{folder}”: the copy would contain itself.", _APART
    )


def _inside_destination_error(folder: str) -> Overlap:
    return Overlap(
        f"The source lies inside the destination, in “{folder}”: the copy could replace its own source.",
        _APART,
    )


_APART = "Choose places of which neither contains the other, or give a prefix that keeps them apart."
