"""``ListsFolders`` for drivers whose container has folders: one is read, none of those in it is entered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dashboard.storage.driver import ListsReadable
from dashboard.storage.drivers.common.kept_listings import MAX_KEPT, Item, KeptListings
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.folder_listing import after_folder
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.types import Entry

_T = TypeVar("_T")
KEPT = KeptListings()
"""Of all drivers of this process, so that they share its limit."""


class _Enough(Exception):
    """There are more subfolders than the page can hold."""


class FolderPagesMixin:
    """``ListsFolders`` by ``list_readable``, which reads the names of a whole folder: what follows a page is
    kept for the next ones, see :mod:`~dashboard.storage.drivers.common.kept_listings`."""

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """See ``ListsFolders``."""
        assert isinstance(self, ListsReadable)
        if cursor and (kept := KEPT.find(self, prefix, cursor, limit)) is not None:
            items, last = kept
            return _page(items, "" if last else _name(items[-1]))
        began = time.monotonic()
        items = []
        complete = True
        for item in read_folder(self.list_readable, prefix, cursor, limit + MAX_KEPT):
            if len(items) == limit + MAX_KEPT:
                complete = False
                break
            items.append(item)
        shown = items[:limit]
        if len(items) <= limit:
            return _page(shown, "")
        last_name = _name(shown[-1])
        KEPT.keep(self, prefix, last_name, items[limit:], complete=complete, read_at=began)
        return _page(shown, last_name)

    def forget_listings(self) -> None:
        """To be called by everything that changes the container."""
        KEPT.forget(self)

    def changed(self, result: _T) -> _T:
        """Return the result of a change, and forget the listings."""
        self.forget_listings()
        return result


def _name(item: Item) -> str:
    return item if isinstance(item, str) else item.key


def _page(items: Sequence[Item], cursor: str) -> FolderListing:
    return FolderListing(
        tuple(item for item in items if isinstance(item, Entry)),
        tuple(item for item in items if isinstance(item, str)),
        cursor,
    )


def read_folder(
    list_readable: Callable[..., Iterator[Entry]], prefix: str, start_after: str, limit: int
) -> Iterator[Item]:
    """Yield the objects and subfolders of a folder in order, each once, by the ``list_readable`` of its
    driver: at least ``limit`` of them if there are. Raises if the folder may not be read."""
    waiting: list[str] = []

    def enters(folder: str) -> bool:
        if prefix.startswith(folder):
            return True
        waiting.append(folder)
        if len(waiting) > limit + 1:
            raise _Enough
        return False

    def unreadable(folder: str, error: StorageError) -> None:
        raise error

    def found() -> Iterator[Item]:
        after = after_folder(prefix, start_after)
        try:
            for entry in list_readable(prefix, start_after=after, unreadable=unreadable, enters=enters):
                yield from waiting
                waiting.clear()
                yield entry
        except _Enough:
            pass
        yield from waiting

    before = start_after
    for item in found():
        # A folder that the listing was started behind comes again.
        if (name := _name(item)) != before:
            before = name
            yield item
