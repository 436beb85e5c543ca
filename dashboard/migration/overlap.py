"""Whether what a migration writes would show up in what it reads, found out by looking.

Two addresses say nothing: a folder on this disk may be what an SFTP server shows, and one bucket has many
endpoints. So a marker, a small object with a random name, is written to the destination, and for as long as
both places are listed it is looked for in the source: under its own key the two are one place, under a longer
one the destination lies inside the source. Nothing else is written until the whole source was listed.

The other way round nothing has to be written to the source. Where it lies inside the destination, its
objects stand in the destination's listing under longer keys. A folder in which several do may also be an
earlier copy, so a marker is written *there* and looked for in the source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.migration.reasons import explain
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound, PlaceMissing, StorageError
from dashboard.storage.markers import CONTENT, STEM, made_by, new_name, without_markers
from dashboard.storage.readable import list_readable
from dashboard.storage.types import Entry

STALE = 3600.0
"""Seconds after which a marker that another migration left behind is removed."""
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
        self._name = new_name(migration_id, clock())
        self._written: list[str] = []
        self._samples: list[Entry] = []
        self._looks = 0

    def begin(self) -> None:
        """Write the marker, and look where it would most likely be seen. Raises ``Overlap``."""
        readable = list_readable(
            self._source, self._prefix, unreadable=lambda folder, error: None, enters=self._enters
        )
        self._samples = list(islice(without_markers(readable), SAMPLES))
        self._write(self._prefix + self._name)
        if _has(self._source, self._prefix + self._name):
            raise _one_place()
        for folder in self._likely(self._paths[1]):
            if _has(self._source, folder + self._prefix + self._name):
                raise _inside_source(folder)
        for folder in self._likely(self._paths[0]):
            self._look_into(folder)

    def in_source(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The source's listing without markers. Raises ``Overlap`` where it holds ours."""
        for entry in entries:
            if STEM in entry.key and made_by(entry.key):
                if entry.key.endswith(self._name):
                    above = entry.key.removesuffix(self._prefix + self._name)
                    raise _inside_source(above) if above else _one_place()
                continue
            yield entry

    def in_destination(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The destination's listing without markers. Raises ``Overlap`` where the source lies in it."""
        sample = max(self._samples, key=lambda entry: len(entry.key), default=Entry("", -1))
        for entry in entries:
            if STEM in entry.key and made_by(entry.key):
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
                self._keep([])
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
        if self._looks >= MOST_LOOKS or not self._samples:
            return
        if not all(_has(self._destination, folder + entry.key, entry.size) for entry in self._samples):
            return
        self._looks += 1
        key = self._prefix + self._name
        self._write(folder + key)
        if _has(self._source, key):
            raise _inside_destination(folder)

    def _write(self, key: str) -> None:
        if key not in self._written:
            self._written.append(key)
            self._keep(self._written)
        try:
            self._destination.put(key, CONTENT)
        except PlaceMissing:
            raise
        except StorageError as error:
            if error.retryable:
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
            made = made_by(entry.key)
            if made is None or entry.key in self._written:
                continue
            if made[0] == self._id or made[1] < self._clock() - STALE:
                with suppress(StorageError):
                    self._destination.delete(entry.key)


def remove_markers(destination: Driver, keys: Sequence[str]) -> None:
    """Remove what a search that was killed left behind."""
    for key in keys:
        made = made_by(key)
        if made is not None:
            destination.sweep([key], since=made[1] - SKEW)
            destination.delete(key)


def _has(driver: Driver, key: str, size: int | None = None) -> bool:
    """Whether there is an object under this key, of this size where one is given."""
    try:
        found = driver.stat(key).size
    except PlaceMissing:
        raise
    except StorageError as error:
        if isinstance(error, NotFound) or error.kind is Kind.INVALID_KEY:
            return False
        if error.kind is not Kind.DENIED:
            raise
        # Who may not list everything is not told of a single object either whether it is there.
        return any(entry.key == key for entry in driver.list(key))
    return size is None or size == found


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
