"""Pairing two listings: each object of a source with the destination's of the same key.

Two sorted listings are merged in memory that does not grow. Both are watched: a backend that claims order and
does not keep it (SeaweedFS sorts by folder) is caught at the first step backwards, and everything is paired
anew through an index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from dashboard.storage.types import Entry

BATCH = 1000
GAP = 0.002
"""Seconds between two transactions that fill the index: others want to write too."""

T = TypeVar("T")
Pair = tuple[Entry, Entry | None]
Listing = Callable[[], Iterable[Entry]]
"""Begins a listing anew each time it is called."""


class Unordered(Exception):
    """A listing went backwards."""


class ListingIndex(Protocol):
    """Where a listing rests while its keys are looked up. A ``Ledger`` is one."""

    def clear_listing(self) -> None:
        """Forget the kept listing."""
        ...

    def keep_listing(self, entries: Sequence[Entry]) -> None:
        """Keep entries for lookups. A repeated key replaces the earlier one."""
        ...

    def look_up(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Those of the kept entries that have one of these keys."""
        ...


def with_pairs(
    use: Callable[[Iterable[Pair]], T],
    source: Listing,
    destination: Listing,
    index: ListingIndex,
    *,
    ordered: bool,
    kept: Callable[[Sequence[Entry]], None] = lambda batch: None,
    gap: float = GAP,
) -> T:
    """What ``use`` makes of the pairs. ``ordered``: both listings claim to be sorted by key.

    ``use`` is called a second time, with all pairs from the start, where that claim proves wrong. ``kept`` is
    told of each batch of the destination's entries that came into the index, before any pair is made.
    """
    if ordered:
        try:
            return use(merge(source(), destination()))
        except Unordered:
            pass
    return use(_joined(source, destination, index, kept, gap))


def merge(source: Iterable[Entry], destination: Iterable[Entry]) -> Iterator[Pair]:
    """Pair each source entry with the destination's of the same key. Raises ``Unordered``.

    Keys are compared as text, which is the order of their UTF-8 bytes. A key listed twice in a row is
    taken once.
    """
    others = _ascending(destination)
    other = next(others, None)
    for entry in _ascending(source):
        while other is not None and other.key < entry.key:
            other = next(others, None)
        yield entry, other if other is not None and other.key == entry.key else None
    # A destination that steps back further on may hold, there, what was just called missing.
    for _ in others:
        pass


def _ascending(entries: Iterable[Entry]) -> Iterator[Entry]:
    last: str | None = None
    for entry in entries:
        if last is not None:
            if entry.key < last:
                raise Unordered
            if entry.key == last:
                continue
        last = entry.key
        yield entry


def _joined(
    source: Listing,
    destination: Listing,
    index: ListingIndex,
    kept: Callable[[Sequence[Entry]], None],
    gap: float,
) -> Iterator[Pair]:
    """The same pairs as ``merge``, whatever the order."""
    index.clear_listing()
    listing = iter(destination())
    while batch := list(islice(listing, BATCH)):
        index.keep_listing(batch)
        kept(batch)
        time.sleep(gap)
    wanted = iter(source())
    while batch := list(islice(wanted, BATCH)):
        found = index.look_up([entry.key for entry in batch])
        for entry in batch:
            yield entry, found.get(entry.key)
