"""``ListsFolders`` for drivers whose container has folders: one is read, none of those in it is entered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dashboard.storage.driver import ListsReadable
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.folder_listing import after_folder, cut_page
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.types import Entry


class _Enough(Exception):
    """There are more subfolders than the page can hold."""


class FolderPagesMixin:
    """``ListsFolders`` by ``list_readable``. Each page reads the names of the whole folder."""

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """See ``ListsFolders``."""
        assert isinstance(self, ListsReadable)
        return read_one_folder(self.list_readable, prefix, cursor, limit)


def read_one_folder(
    list_readable: Callable[..., Iterator[Entry]], prefix: str, start_after: str, limit: int
) -> FolderListing:
    """Return a page of a folder by the ``list_readable`` of its driver. Raises if the folder may not be
    read."""
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

    def items() -> Iterator[Entry | str]:
        after = after_folder(prefix, start_after)
        try:
            for entry in list_readable(prefix, start_after=after, unreadable=unreadable, enters=enters):
                yield from waiting
                waiting.clear()
                yield entry
        except _Enough:
            pass
        yield from waiting

    return cut_page(items(), start_after, limit)
