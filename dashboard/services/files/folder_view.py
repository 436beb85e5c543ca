"""The entries of one folder in the order that a person chose, as far as that is possible in bounded time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from dashboard.services.catalogue.file_kinds import kind_of
from dashboard.services.files.page_cursors import Position
from dashboard.storage.driver import Driver
from dashboard.storage.inspection.folder_listing import list_folder
from dashboard.storage.inspection.listing import MARKER_PREFIX, parse_marker
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER as WAITING_FOLDER

MAX_PAGE = 1000
MAX_SORTED = 5000
"""Entries of a folder that can be sorted by something else than their name."""
MAX_SECONDS = 5.0
"""For which a page is gathered before it is shown as far as it goes."""
_MIN_SECONDS = 0.5

_STOPPED = (
    "This backend lists everything it has, in no order, and that is too much for one page: what is shown is "
    "not all. Look into a folder below, or use the search."
)
_UNSORTED = (
    f"This folder has more than {MAX_SORTED:,} entries, so it is sorted by name. The search sorts any number "
    "of files by date and size."
)


class Sort(StrEnum):
    """The order of a folder's files. Folders come first and are sorted by name."""

    NAME = "name"
    SIZE = "size"
    MODIFIED = "modified"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file or a folder in a folder.

    ``key``: of a file its exact key, of a folder its prefix, which ends in a slash. ``name``: the last part
    of it; empty for the object that stands for the folder shown, and for a folder between two slashes.
    ``size`` in bytes and ``modified`` in epoch seconds are None for folders.
    ``kind``: ``folder``, ``image``, ``video``, ``audio``, ``document``, ``text``, ``archive`` or ``other``,
    by the name alone. ``file_id``: its row in the catalogue, if it has one.
    """

    key: str
    name: str
    kind: str
    size: int | None = None
    modified: float | None = None
    etag: str | None = None
    file_id: int | None = None

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.kind == "folder"

    @property
    def thumbnail(self) -> bool:
        """Whether there may be a thumbnail: only of catalogued images."""
        return self.file_id is not None and self.kind == "image"


@dataclass(frozen=True, slots=True)
class FoundEntries:
    """A page of entries; ``next`` is where the next one begins, None after the last."""

    entries: tuple[FileEntry, ...]
    next: Position | None
    message: str = ""


class FolderView:
    """One folder of one driver. ``containing``: a casefolded text that names have."""

    def __init__(self, driver: Driver, prefix: str, limit: int, containing: str) -> None:
        self._driver = driver
        self._prefix = prefix
        self._limit = limit
        self._containing = containing
        self._deadline = time.monotonic() + MAX_SECONDS
        self._listing = ""
        self._stopped = False

    def in_order_of_names(self, listing: str) -> FoundEntries:
        """Return the page at a position of the backend's own listing. It may be short, or empty, if nothing
        matches for a while."""
        self._listing = listing
        entries = _folders_first(self._gather(self._limit))
        return FoundEntries(entries, Position(listing=self._listing) if self._listing else None, self._note())

    def sorted_by(
        self, sort: Sort, after: tuple[int, float, str] | None, *, descending: bool
    ) -> FoundEntries:
        """Return the page behind ``after`` of the complete folder, sorted; a page in the order of names if it
        is too large."""
        found = list(self._gather(MAX_SORTED))
        if self._listing and not (self._containing and sort is Sort.NAME):
            self._deadline = time.monotonic() + MAX_SECONDS
            page = self.in_order_of_names("")
            return FoundEntries(page.entries, page.next, _UNSORTED)
        if self._listing:
            return FoundEntries(_folders_first(found), Position(listing=self._listing), self._note())
        order = _Order(sort, descending)
        ranked = sorted(found, key=lambda entry: order.rank(*order.place(entry)))
        if after is not None:
            ranked = [entry for entry in ranked if order.rank(*order.place(entry)) > order.rank(*after)]
        page_entries = tuple(ranked[: self._limit])
        more = len(ranked) > self._limit
        return FoundEntries(
            page_entries, Position(after=order.place(page_entries[-1])) if more else None, self._note()
        )

    def _note(self) -> str:
        return _STOPPED if self._stopped else ""

    def _gather(self, most: int) -> Iterator[FileEntry]:
        """Yield the visible entries of whole pages of the listing, until there are ``most`` or time is up."""
        count = 0
        while True:
            page = list_folder(
                self._driver,
                self._prefix,
                cursor=self._listing,
                limit=min(MAX_PAGE, most - count),
                seconds=max(_MIN_SECONDS, self._deadline - time.monotonic()),
            )
            self._listing = page.cursor
            self._stopped = self._stopped or page.stopped
            for item in chain[Entry | str](page.folders, page.entries):
                entry = _entry(self._prefix, item)
                if entry is not None and self._containing in entry.name.casefold():
                    count += 1
                    yield entry
            if not page.cursor or count >= most or time.monotonic() > self._deadline:
                return


@dataclass(frozen=True, slots=True)
class _Order:
    sort: Sort
    descending: bool

    def place(self, entry: FileEntry) -> tuple[int, float, str]:
        """Return where an entry is: 0 for folders, the value it is sorted by, its key."""
        if entry.folder or self.sort is Sort.NAME:
            return int(not entry.folder), 0.0, entry.key
        return 1, float((entry.size if self.sort is Sort.SIZE else entry.modified) or 0), entry.key

    def rank(self, group: int, value: float, key: str) -> tuple[int, float, tuple[int, ...]]:
        """Return what places are compared by."""
        letters = tuple(key_bytes(key))
        if not group or not self.descending:
            return group, value, letters
        if self.sort is Sort.NAME:
            # A name comes after those that it begins.
            return group, 0.0, (*(255 - letter for letter in letters), 256)
        return group, -value, letters


def _entry(prefix: str, item: Entry | str) -> FileEntry | None:
    """Return the entry of an object or a subfolder; None for what Stowage itself keeps there."""
    key = item if isinstance(item, str) else item.key
    if key == WAITING_FOLDER or (MARKER_PREFIX in key and parse_marker(key.removesuffix("/"))):
        return None
    if isinstance(item, str):
        return FileEntry(key, key[len(prefix) : -1], "folder")
    name = key[len(prefix) :]
    return FileEntry(key, name, kind_of(name).value, item.size, item.modified, item.etag)


def _folders_first(entries: Iterator[FileEntry] | list[FileEntry]) -> tuple[FileEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: (not entry.folder, key_bytes(entry.key))))
