"""Listings of what can be read in a container, without the markers that Stowage writes for a moment.

Markers are small objects that show which containers are the same and which names are kept. Their names do not
begin with a dot, because some servers hide those, and contain only characters that no server changes. They
never count as objects: listings of migrations, comparisons and counts skip them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator

from dashboard.storage.driver import Driver, ListsReadable
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry

MARKER_PREFIX = "00-stowage-marker-"
"""The beginning of their names: before nearly everything else in a folder."""
MARKER_CONTENT = b"Written by Stowage for a moment, to see what becomes of it. It may be deleted.\n"

_NAME = re.compile(rf"{MARKER_PREFIX}(\d{{1,15}})-(\d{{1,15}})-[0-9a-f]{{16}}(?:/.*)?\Z", re.DOTALL)


def new_marker_name(migration_id: int, now: float) -> str:
    """Return a name that nobody can guess, with its migration and creation time (``now`` in epoch
    seconds)."""
    return f"{MARKER_PREFIX}{max(0, migration_id)}-{int(now)}-{secrets.token_hex(8)}"


def parse_marker(key: str) -> tuple[int, int] | None:
    """Return the migration and the epoch seconds in the key of a marker, or of an object in a folder that is
    one; None for every other key."""
    if MARKER_PREFIX not in key:
        return None
    found = _NAME.search(key)
    return (int(found[1]), int(found[2])) if found else None


def without_markers(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries that are not markers."""
    return (entry for entry in entries if MARKER_PREFIX not in entry.key or parse_marker(entry.key) is None)


def list_readable(
    driver: Driver,
    prefix: str = "",
    *,
    unreadable: Callable[[str, StorageError], None],
    enters: Callable[[str], bool] = lambda folder: True,
) -> Iterator[Entry]:
    """See ``ListsReadable``; for a driver without folders, the same as ``list``.

    Not for conclusions from what is *not* listed, such as that an object may be deleted or that nothing is
    missing: those need ``list``, which is complete or raises.
    """
    if isinstance(driver, ListsReadable):
        return driver.list_readable(prefix, unreadable=unreadable, enters=enters)
    return driver.list(prefix)
