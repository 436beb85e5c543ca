"""Listings of places: what can be read of them, without the markers that Stowage writes for a moment.

Markers are small objects that show which places are one and which names are kept. Their names begin with no
dot, which some servers hide, and hold only characters that no server turns into others. Nothing takes one for
an object: listings of migrations, comparisons and counts leave them out.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator

from dashboard.storage.driver import Driver, ListsReadable
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry

MARKER_PREFIX = "00-stowage-marker-"
"""How the names begin: before nearly everything else in a folder."""
MARKER_CONTENT = b"Written by Stowage for a moment, to see what becomes of it. It may be deleted.\n"

_NAME = re.compile(rf"{MARKER_PREFIX}(\d{{1,15}})-(\d{{1,15}})-[0-9a-f]{{16}}(?:/.*)?\Z", re.DOTALL)


def new_marker_name(migration_id: int, now: float) -> str:
    """A name nobody can guess, which says whose it is and when it was made (``now`` in epoch seconds)."""
    return f"{MARKER_PREFIX}{max(0, migration_id)}-{int(now)}-{secrets.token_hex(8)}"


def parse_marker(key: str) -> tuple[int, int] | None:
    """The migration and the epoch seconds in the key of a marker, or of what lies in a folder that is one;
    None for every other key."""
    if MARKER_PREFIX not in key:
        return None
    found = _NAME.search(key)
    return (int(found[1]), int(found[2])) if found else None


def without_markers(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same entries but for markers."""
    return (entry for entry in entries if MARKER_PREFIX not in entry.key or parse_marker(entry.key) is None)


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
