"""Where the rows of the Files page come from: a folder as the backend lists it, or the catalogue when
something is searched.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.catalogue.file_kinds import kind_of
from dashboard.services.catalogue.file_values import File
from dashboard.services.catalogue.filters import Sort as SearchSort
from dashboard.services.files.folder_view import FileEntry, Sort
from dashboard.web.admin.files.browser_view import FilesView
from dashboard.web.context import actor, services

PAGE_SIZE = 200
LIVE_PAGE = 1000
_SEARCH_SECONDS = 0.5
_NOT_COUNTED = (
    "Only what was uploaded or copied through Stowage is found this way, because the files of {} have not "
    "been counted yet."
)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows. ``complete``: whether this is everything there is. ``counted_at``: when the catalogue
    last saw all of the backend, for a search; ``message`` is a sentence about what may be missing."""

    entries: tuple[FileEntry, ...] = ()
    known: Mapping[str, File] | None = None
    cursor: str = ""
    complete: bool = True
    message: str = ""
    counted_at: float | None = None


def find(view: FilesView, backend_id: int) -> Found:
    """Return the rows that a view asks for. Raises what the backend raises."""
    if view.wrong:
        return Found()
    if not view.filtered:
        return _folder(view, PAGE_SIZE)
    counted_at = services().catalogue.completed_at(backend_id)
    if counted_at is None and not view.filters.needs_catalogue:
        return _search_folder(view)
    return _search(view, counted_at)


def _folder(view: FilesView, limit: int, *, containing: str = "") -> Found:
    page = services().browse.folder(
        actor(),
        view.backend,
        view.folder,
        cursor=view.after,
        limit=limit,
        sort=Sort(view.sort.removeprefix("-")),
        descending=view.sort.startswith("-"),
        containing=containing,
    )
    keys = [entry.key for entry in page.entries if entry.file_id is not None]
    known = services().catalogue.find_many(view.backend, keys) if keys else {}
    return Found(page.entries, known, page.cursor, page.complete, page.message)


def _search_folder(view: FilesView) -> Found:
    """What the backend itself lists in this one folder, because the catalogue has not seen all of it yet."""
    found = _folder(view, LIVE_PAGE, containing=view.query)
    entries = tuple(entry for entry in found.entries if _fits(view, entry))
    message = f"Only this folder was searched, because the files of {view.backend} have not been counted yet."
    return Found(entries, found.known, found.cursor, found.complete, message)


def _fits(view: FilesView, entry: FileEntry) -> bool:
    wanted = view.filters
    if entry.folder:
        return not wanted.as_dict()
    modified, size, now = entry.modified or 0, entry.size or 0, time.time()
    return (
        (not wanted.kind or kind_of(entry.key) == wanted.kind)
        and (wanted.min_size is None or size >= wanted.min_size)
        and (wanted.max_size is None or size <= wanted.max_size)
        and (wanted.modified_after is None or modified >= wanted.modified_after)
        and (wanted.modified_before is None or modified < wanted.modified_before)
        and (wanted.max_age is None or now - modified <= wanted.max_age)
        and (wanted.min_age is None or now - modified >= wanted.min_age)
    )


def _search(view: FilesView, counted_at: float | None) -> Found:
    """Search the catalogue, a page at a time; a page may be short while there is more to examine."""
    filters, cursor, deadline = view.search, view.after, time.monotonic() + _SEARCH_SECONDS
    found: list[File] = []
    while True:
        page = services().catalogue.search(
            filters,
            sort=SearchSort(view.sort.removeprefix("-")),
            descending=view.sort.startswith("-"),
            cursor=cursor,
            limit=PAGE_SIZE - len(found),
        )
        found += page.files
        cursor = page.cursor
        if not cursor or len(found) >= PAGE_SIZE or time.monotonic() > deadline:
            break
    entries = tuple(_entry(file) for file in found)
    known = {file.key: file for file in found}
    message = "" if counted_at is not None else _NOT_COUNTED.format(view.backend)
    return Found(entries, known, cursor, not cursor and not view.after, message, counted_at)


def _entry(file: File) -> FileEntry:
    return FileEntry(file.key, file.name, file.kind.value, file.size, file.modified, file.etag, file.id)
