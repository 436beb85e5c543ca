"""Paging through a folder reads it once and shows it as it was, with every change of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.common import folder_pages
from dashboard.storage.drivers.common.folder_pages import FolderPagesMixin
from dashboard.storage.drivers.common.kept_listings import KeptListings
from dashboard.storage.errors import StorageError
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Entry
from tests.servers.drivers import ftp_on, new_folder, sftp_on, webdav_at


class CountedFolders(FolderPagesMixin):
    """Keys, listed as file servers are; counts how often."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.reads = 0
        self.refuses = False

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        self.reads += 1
        if self.refuses:
            unreadable(prefix, StorageError(Kind.DENIED, "Not for you.", operation="list"))
        passed = set[str]()
        for key in sorted(self.keys, key=key_bytes):
            if not key.startswith(prefix) or key_bytes(key) <= key_bytes(start_after):
                continue
            name, slash, _ = key[len(prefix) :].partition("/")
            folder = f"{prefix}{name}/"
            if not slash:
                yield Entry(key, 1)
            elif folder not in passed:
                passed.add(folder)
                assert not enters(folder)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptListings:
    fresh = KeptListings()
    monkeypatch.setattr(folder_pages, "KEPT", fresh)
    return fresh


def pages(driver: FolderPagesMixin, prefix: str = "", limit: int = 7) -> Iterator[list[str]]:
    cursor = ""
    while True:
        page = driver.list_folder(prefix, cursor=cursor, limit=limit)
        yield sorted([entry.key for entry in page.entries] + list(page.folders), key=key_bytes)
        cursor = page.cursor
        if not cursor:
            return


def numbered(count: int) -> list[str]:
    return [f"in/{number:05}{'/x' if number % 3 == 0 else ''}" for number in range(count)]


def shown(count: int) -> list[str]:
    return [f"in/{number:05}{'/' if number % 3 == 0 else ''}" for number in range(count)]


@pytest.mark.parametrize("kept_at_once", [1, 10, 20, 100_000])
def test_every_page_together_is_the_folder_however_much_is_kept(
    kept_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_pages, "MAX_KEPT", kept_at_once)
    driver = CountedFolders(*numbered(100), "in/zz/\udcff", "other/1")
    found = [key for page in pages(driver, "in/") for key in page]
    assert found == [*shown(100), "in/zz/"]
    assert driver.reads == {1: 15, 10: 7, 20: 5, 100_000: 1}[kept_at_once]


def test_a_change_by_others_shows_when_the_folder_is_opened_again() -> None:
    driver = CountedFolders(*numbered(40))
    seen = pages(driver, "in/")
    first = next(seen)
    driver.keys -= {"in/00010", "in/00011"}
    driver.keys.add("in/00012-new")
    assert first + [key for page in seen for key in page] == shown(40)
    assert [key for page in pages(driver, "in/") for key in page] == sorted(
        {*shown(40), "in/00012-new"} - {"in/00010", "in/00011"}, key=key_bytes
    )
    assert driver.reads == 2


def test_a_change_by_the_driver_itself_shows_at_once() -> None:
    driver, other = CountedFolders(*numbered(40)), CountedFolders(*numbered(40))
    for each in (driver, other):
        seen = pages(each, "in/")
        next(seen)
        each.keys.remove("in/00010")
        driver.forget_listings()
        assert ("in/00010" in next(seen)) == (each is other)


def test_what_is_kept_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    driver = CountedFolders(*numbered(100))
    seen = pages(driver, "in/")
    for seconds, reads in (
        (0, 1),
        (59, 1),
        (59, 1),
        (61, 2),
        (59, 2),
        (59, 2),
        (59, 2),
        (59, 2),
        (59, 2),
        (59, 3),
    ):
        now[0] += seconds
        next(seen)
        assert driver.reads == reads


def test_all_listings_together_are_bounded(kept: KeptListings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_max_items", 50)
    drivers = [CountedFolders(*numbered(40)) for _ in range(3)]
    seen = [pages(each, "in/") for each in drivers]
    for each in seen:
        next(each)
    # Only one of them fits.
    assert [next(each) for each in seen[::-1]] == [shown(40)[7:14]] * 3
    assert sorted(each.reads for each in drivers) == [1, 2, 2]
    assert sum(len(each.items) for each in kept._kept.values()) <= 50


def test_a_listing_ends_with_its_driver(kept: KeptListings) -> None:
    next(pages(CountedFolders(*numbered(40)), "in/"))
    driver = CountedFolders(*numbered(20))
    next(pages(driver, "in/"))
    assert len(kept._kept) == 1


def test_a_folder_that_may_not_be_read_is_an_error_on_each_page() -> None:
    driver = CountedFolders(*numbered(40))
    driver.refuses = True
    for cursor in ("", "in/00006/"):
        with pytest.raises(StorageError, match="Not for you"):
            driver.list_folder("in/", cursor=cursor, limit=7)


def test_a_cursor_that_nobody_was_given_is_only_a_place() -> None:
    driver = CountedFolders(*numbered(40))
    next(pages(driver, "in/"))
    for cursor in ("in/00020", "in/00020x", "in/\udcff", "zz", "a", "in/00039"):
        page = driver.list_folder("in/", cursor=cursor, limit=100)
        found = [*page.folders, *(entry.key for entry in page.entries)]
        assert sorted(found) == [key for key in shown(40) if key_bytes(key) > key_bytes(cursor)], cursor


@pytest.mark.parametrize("server", ["sftp", "ftp", "webdav"])
def test_on_servers_what_this_process_changes_is_on_the_next_page(
    server: str, request: pytest.FixtureRequest
) -> None:
    running = request.getfixturevalue(f"{server}_server")
    if server == "webdav":
        driver = webdav_at(running.endpoint, running.new_folder())
    else:
        driver = {"sftp": sftp_on, "ftp": ftp_on}[server](running, new_folder(running.root))
    try:
        for name in "abcdefgh":
            driver.put(f"in/{name}", b"x")
        seen = pages(driver, "in/", 2)
        assert next(seen) == ["in/a", "in/b"]
        driver.delete("in/c")
        assert next(seen) == ["in/d", "in/e"]
        driver.put("in/f0", b"x")
        with driver.write("in/f1", size=1) as writing:
            writing.write(b"x")
            writing.commit()
        driver.make_folder("in/f2")
        assert [key for page in seen for key in page] == ["in/f", "in/f0", "in/f1", "in/f2/", "in/g", "in/h"]
    finally:
        driver.close()
