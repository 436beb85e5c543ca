"""Listing one folder of any container, a page at a time.

Containers that know folders, or a delimiter, do it themselves (``ListsFolders``). Of the others everything is
listed: in key order with a new start behind each subfolder, or completely if there is no order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dashboard.storage.driver import Driver
from dashboard.storage.inspection.powers import FolderListing, ListsFolders
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry

MAX_SCANNED = 50_000
"""Keys of a container without order that are listed for a page."""
_LAST = "\U0010ffff"
_READ_THROUGH = 200
"""Keys of a subfolder that are read before the listing is started again behind it."""


def list_folder(
    driver: Driver, prefix: str, *, cursor: str = "", limit: int, seconds: float
) -> FolderListing:
    """Return a page of a folder; see ``ListsFolders``.

    If the driver has no such power, a page ends after ``seconds``, or is marked as stopped if there is no
    order in which it could go on.
    """
    if isinstance(driver, ListsFolders):
        return driver.list_folder(prefix, cursor=cursor, limit=limit)
    deadline = time.monotonic() + seconds
    if driver.ordered:
        return _skip_through(driver, prefix, cursor, limit, deadline)
    return _scan_completely(driver, prefix, cursor, limit, deadline)


def subfolder_of(prefix: str, key: str) -> str:
    """Return the path of the subfolder of ``prefix`` that contains the key, empty for an object directly in
    it."""
    name, slash, _ = key[len(prefix) :].partition("/")
    return f"{prefix}{name}/" if slash else ""


def after_folder(prefix: str, start_after: str) -> str:
    """Return a key to start a listing after: ``start_after``, or what is behind everything below it if it is
    a subfolder of ``prefix``."""
    return start_after + _LAST if subfolder_of(prefix, start_after) else start_after


def bucket_page(base: str, entries: Iterable[Entry], folders: Iterable[str], cursor: str) -> FolderListing:
    """Return the page of a bucket from full keys, of which ``base`` is not shown."""
    return FolderListing(
        tuple(Entry(entry.key[len(base) :], *entry[1:]) for entry in entries if entry.key != base),
        tuple(folder[len(base) :] for folder in folders),
        cursor,
    )


def _never() -> bool:
    return False


def cut_page(
    items: Iterator[Entry | str],
    start_after: str,
    limit: int,
    *,
    full: Callable[[], bool] = _never,
) -> FolderListing:
    """Return the page of these objects and subfolders, which are in order. ``full`` is asked before each, and
    may end the page early."""
    entries: list[Entry] = []
    folders: dict[str, None] = {}
    last = ""
    for item in items:
        name = item if isinstance(item, str) else item.key
        if name == start_after or name in folders:
            continue
        if len(entries) + len(folders) >= limit or (last and full()):
            return FolderListing(tuple(entries), tuple(folders), last)
        last = name
        if isinstance(item, str):
            folders[item] = None
        else:
            entries.append(item)
    return FolderListing(tuple(entries), tuple(folders))


def _skip_through(
    driver: Driver, prefix: str, start_after: str, limit: int, deadline: float
) -> FolderListing:
    """List in key order, and start again behind each large subfolder."""

    def items() -> Iterator[Entry | str]:
        after, skipped = after_folder(prefix, start_after), ""
        while True:
            inside, passed = "", 0
            for entry in driver.list(prefix, start_after=after):
                folder = subfolder_of(prefix, entry.key)
                if not folder or folder != inside:
                    inside, passed = folder, 0
                    yield folder or entry
                    continue
                passed += 1
                # A server that does not skip is read to the end rather than asked for ever.
                if passed >= _READ_THROUGH and inside != skipped:
                    break
            else:
                return
            after, skipped = inside + _LAST, inside

    return cut_page(items(), start_after, limit, full=lambda: time.monotonic() > deadline)


def _scan_completely(
    driver: Driver, prefix: str, start_after: str, limit: int, deadline: float
) -> FolderListing:
    """List everything, as far as it goes, and sort it here."""
    found: dict[str, Entry | str] = {}
    stopped = False
    for number, entry in enumerate(driver.list(prefix)):
        if number >= MAX_SCANNED or time.monotonic() > deadline:
            stopped = True
            break
        folder = subfolder_of(prefix, entry.key)
        found[folder or entry.key] = folder or entry
    after = key_bytes(start_after)
    names = sorted((name for name in found if key_bytes(name) > after), key=key_bytes)
    page = cut_page((found[name] for name in names), start_after, limit)
    return replace(page, stopped=stopped)
