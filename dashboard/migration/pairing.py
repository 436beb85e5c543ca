"""Pairing two listings: each object of a source with the destination's of the same key.

Two sorted listings are merged in constant memory. If a backend claims order and does not keep it (SeaweedFS
sorts by folder), the first key out of order is noticed, and everything is paired again through an index.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from dashboard.storage.types import Entry

BATCH = 1000
PAUSE_SECONDS = 0.002
"""Between two transactions that fill the index, so that other writers get their turn."""

T = TypeVar("T")
Pair = tuple[Entry, Entry | None]
Listing = Callable[[], Iterable[Entry]]
"""Starts a new listing with each call."""


class OutOfOrder(Exception):
    """A listing is not in order."""


class ListingIndex(Protocol):
    """Stores a listing to find entries by key. A ``Ledger`` is one."""

    def clear_listing(self) -> None:
        """Delete the stored listing."""
        ...

    def save_listing(self, entries: Sequence[Entry]) -> None:
        """Store entries. A repeated key replaces the earlier one."""
        ...

    def find_in_listing(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Return the stored entries that have one of these keys."""
        ...


def with_pairs(
    use: Callable[[Iterable[Pair]], T],
    source: Listing,
    destination: Listing,
    index: ListingIndex,
    *,
    ordered: bool,
    on_batch: Callable[[Sequence[Entry]], None] = lambda batch: None,
    on_disorder: Callable[[], None] = lambda: None,
    pause: float = PAUSE_SECONDS,
) -> T:
    """Return what ``use`` returns for the pairs. ``ordered``: both listings claim to be sorted by key.

    If that claim proves wrong, ``use`` is called a second time, with all pairs from the start, after
    ``on_disorder``. ``on_batch`` is called with each batch of the destination's entries that the index has
    saved, before the first pair.
    """
    if ordered:
        try:
            return use(pair_sorted(source(), destination()))
        except OutOfOrder:
            on_disorder()
    return use(_pair_by_index(source, destination, index, on_batch, pause))


def pair_sorted(source: Iterable[Entry], destination: Iterable[Entry]) -> Iterator[Pair]:
    """Pair each source entry with the destination's of the same key. Raises ``OutOfOrder``.

    Keys are compared as text, which is the order of their UTF-8 bytes. A key listed twice in a row counts
    once.
    """
    others = _ascending(destination)
    other = next(others, None)
    for entry in _ascending(source):
        while other is not None and other.key < entry.key:
            other = next(others, None)
        yield entry, other if other is not None and other.key == entry.key else None
    # If the rest of the destination is out of order, it may have keys that were just taken as missing.
    for _ in others:
        pass


def _ascending(entries: Iterable[Entry]) -> Iterator[Entry]:
    last: str | None = None
    for entry in entries:
        if last is not None:
            if entry.key < last:
                raise OutOfOrder
            if entry.key == last:
                continue
        last = entry.key
        yield entry


def _pair_by_index(
    source: Listing,
    destination: Listing,
    index: ListingIndex,
    on_batch: Callable[[Sequence[Entry]], None],
    pause: float,
) -> Iterator[Pair]:
    """Yield the same pairs as ``pair_sorted``, for listings in any order."""
    index.clear_listing()
    listing = iter(destination())
    while batch := list(islice(listing, BATCH)):
        index.save_listing(batch)
        on_batch(batch)
        time.sleep(pause)
    remaining = iter(source())
    while batch := list(islice(remaining, BATCH)):
        found = index.find_in_listing([entry.key for entry in batch])
        for entry in batch:
            yield entry, found.get(entry.key)
