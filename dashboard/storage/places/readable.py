"""Listing what can be read of a place, and saying of which folders that is not so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dashboard.storage.driver import Driver, ListsReadable
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry


def list_readable(
    driver: Driver,
    prefix: str = "",
    *,
    unreadable: Callable[[str, StorageError], None],
    enters: Callable[[str], bool] = lambda folder: True,
) -> Iterator[Entry]:
    """See ``ListsReadable``; of a driver without folders everything, as ``list``.

    Not for whoever concludes something from what is *not* listed, such as that an object may be deleted or
    that nothing is missing: those need ``list``, which is complete or raises.
    """
    if isinstance(driver, ListsReadable):
        return driver.list_readable(prefix, unreadable=unreadable, enters=enters)
    return driver.list(prefix)
