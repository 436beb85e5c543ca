"""What is left of a folder's listing after a page of it, kept for a short time, so that paging through a
folder of 100,000 entries does not read it 500 times.

The first page always reads the folder. Later pages show it as it was then, for ``MAX_AGE_SECONDS`` at most
and until this process changes anything in that container: nothing is listed twice and nothing left out while
others write, but what they add or remove shows only when the folder is opened again.
"""

from __future__ import annotations

import threading
import time
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry

MAX_KEPT = 100_000
"""Entries of all folders together, about 30 MB. Of a larger folder the next ones are kept."""
MAX_AGE_SECONDS = 300.0
IDLE_SECONDS = 60.0
"""After which a listing that nobody pages through is freed."""

Item = Entry | str
"""An object, or the path of a subfolder."""


def place_of(item: Item) -> bytes:
    """What a folder is sorted by."""
    return key_bytes(item if isinstance(item, str) else item.key)


@dataclass(slots=True)
class _Kept:
    owner: weakref.ref[object]
    after: bytes
    items: Sequence[Item]
    complete: bool
    read_at: float
    used_at: float


class KeptListings:
    """Thread-safe. ``owner``: the driver."""

    def __init__(self, max_items: int = MAX_KEPT) -> None:
        self._max_items = max_items
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()

    def keep(
        self, owner: object, prefix: str, after: str, items: Sequence[Item], *, complete: bool, read_at: float
    ) -> None:
        """Keep what follows ``after`` in a folder, in order. ``complete``: whether it is all of it.
        ``read_at``: when reading it began, by ``time.monotonic``."""
        now = time.monotonic()
        with self._lock:
            self._remove_old(now)
            key = id(owner), prefix
            self._kept.pop(key, None)
            if items and len(items) <= self._max_items:
                self._kept[key] = _Kept(weakref.ref(owner), key_bytes(after), items, complete, read_at, now)
            while sum(len(each.items) for each in self._kept.values()) > self._max_items:
                self._kept.popitem(last=False)

    def find(self, owner: object, prefix: str, after: str, limit: int) -> tuple[Sequence[Item], bool] | None:
        """Return up to ``limit`` items after ``after``, and whether they are the last of the folder; None if
        they are not kept."""
        now, place = time.monotonic(), key_bytes(after)
        with self._lock:
            self._remove_old(now)
            kept = self._kept.get((id(owner), prefix))
            if kept is None or kept.owner() is not owner or place < kept.after:
                return None
            start = bisect_right(kept.items, place, key=place_of)
            found = kept.items[start : start + limit]
            last = start + limit >= len(kept.items)
            if last and not kept.complete:
                return None
            kept.used_at = now
            self._kept.move_to_end((id(owner), prefix))
            return found, last

    def forget(self, owner: object) -> None:
        """Keep nothing of this driver: something was changed."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == id(owner)]:
                del self._kept[key]

    def _remove_old(self, now: float) -> None:
        for key, each in list(self._kept.items()):
            old = now - each.read_at > MAX_AGE_SECONDS or now - each.used_at > IDLE_SECONDS
            if old or each.owner() is None:
                del self._kept[key]
