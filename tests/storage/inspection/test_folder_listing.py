"""One folder of any container, page by page: nothing is missing, nothing twice, nothing fused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.inspection.folder_listing import list_folder
from dashboard.storage.inspection.powers import FolderListing, ListsFolders
from dashboard.storage.types import Entry
from dashboard.storage.wrappers.fallback.hiding_waiting import HidingWaiting
from dashboard.storage.wrapping import Wrapper
from tests.servers.drivers import azure_on, ftp_on, gcs_on, new_folder, s3_on, sftp_on, vercel_at, webdav_at

PLAIN = ("a-b", "a/x", "a/y/z", "a0", "b/1", "c", "d.txt", "d/e/f/g", "e-/1", "e/1", "e0", "ü/é")
ODD = ("a", "a/", "a//y", "//x", "/lead", "b/", "d/e/")
"""What only object stores hold: a file and a folder of one name, folders without a name, objects that end in
a slash."""


def walked(driver: Driver, prefix: str, limit: int) -> tuple[list[str], list[str]]:
    """The objects and the folders of all pages."""
    entries: list[str] = []
    folders: list[str] = []
    cursor = ""
    for _ in range(100):
        page = list_folder(driver, prefix, cursor=cursor, limit=limit, seconds=60)
        entries += [entry.key for entry in page.entries]
        folders += page.folders
        cursor = page.cursor
        if not cursor:
            return entries, folders
    raise AssertionError("pages without end")


def expected(keys: Iterable[str], prefix: str) -> tuple[list[str], list[str]]:
    under = {key for key in keys if key.startswith(prefix)}
    inside = {key for key in under if "/" in key[len(prefix) :]}
    folders = {key[: key.index("/", len(prefix)) + 1] for key in inside}
    return sorted(under - inside), sorted(folders)


def check(driver: Driver, keys: Iterable[str], *, limits: tuple[int, ...] = (1, 2, 100)) -> None:
    with closing(driver):
        check_pages(driver, keys, limits)


def check_pages(driver: Driver, keys: Iterable[str], limits: tuple[int, ...]) -> None:
    for key in keys:
        driver.put(key, b"x")
    prefixes = {""} | {key[: at + 1] for key in keys for at, letter in enumerate(key) if letter == "/"}
    for prefix in sorted(prefixes):
        for limit in limits:
            entries, folders = walked(driver, prefix, limit)
            assert (sorted(entries), sorted(folders)) == expected(keys, prefix), (prefix, limit)


def test_by_skipping_in_key_order() -> None:
    check(MemoryDriver(), PLAIN + ODD)


def test_large_subfolders_are_skipped_not_read() -> None:
    class Counting(MemoryDriver):
        listed = 0

        def list(self, prefix: str = "", *, start_after: str = "") -> Iterable[Entry]:  # type: ignore[override]
            for entry in super().list(prefix, start_after=start_after):
                self.listed += 1
                yield entry

    driver = Counting()
    check(driver, [f"{name}/{number:04}" for name in "abc" for number in range(1000)] + ["z"], limits=(100,))
    driver.listed = 0
    assert walked(driver, "", 100) == (["z"], ["a/", "b/", "c/"])
    assert driver.listed < 700


def test_without_order(vercel: object) -> None:
    token = vercel.new_store()  # type: ignore[attr-defined]
    driver = vercel_at(vercel.endpoint, token)  # type: ignore[attr-defined]
    check(driver, PLAIN, limits=(2, 100))


def test_on_a_disk(tmp_path: Path) -> None:
    driver = LocalDriver(str(tmp_path))
    check(driver, (*PLAIN, "not-utf-8-\udcff/x", "\udcfe"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("c")
    assert "empty/" in walked(driver, "", 3)[1]
    assert "link" not in walked(driver, "", 3)[0]
    assert walked(driver, "nowhere/", 3) == ([], [])
    assert walked(driver, "../", 3) == ([], [])


def test_on_file_servers(sftp_server, ftp_server, webdav_server) -> None:  # type: ignore[no-untyped-def]
    for driver in (
        sftp_on(sftp_server, new_folder(sftp_server.root)),
        ftp_on(ftp_server, new_folder(ftp_server.root)),
        webdav_at(webdav_server.endpoint, webdav_server.new_folder()),
    ):
        assert isinstance(driver, ListsFolders)
        check(driver, PLAIN, limits=(1, 100))


def test_in_buckets(seaweedfs, moto_s3, azurite, google) -> None:  # type: ignore[no-untyped-def]
    check(s3_on(moto_s3, moto_s3.new_bucket("folders"), "below/"), PLAIN + ODD)
    check(s3_on(moto_s3, moto_s3.new_bucket("folders"), ""), PLAIN + ODD, limits=(2,))
    check(s3_on(seaweedfs, seaweedfs.new_bucket("folders"), ""), PLAIN)
    check(gcs_on(google, google.new_bucket(), google.writer, "below/"), PLAIN + ODD, limits=(2, 100))
    check(azure_on(azurite, azurite.new_container(), azurite.key), PLAIN + ODD, limits=(2, 100))


def test_through_wrappers_nothing_hidden_appears(tmp_path: Path) -> None:
    driver = HidingWaiting(LocalDriver(str(tmp_path)))
    assert isinstance(driver, ListsFolders)
    check(driver, PLAIN, limits=(1, 100))


def test_writes_that_wait_elsewhere_are_on_the_first_page_once() -> None:
    class Adding(Wrapper):
        """Adds objects to what is listed, and replaces what is there, as waiting writes do."""

        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
            added = {key: Entry(key, 9) for key in ("a", "e", "new/x", "old/y") if key.startswith(prefix)}
            yield from (entry for entry in self.inner.list(prefix) if entry.key not in added)
            yield from added.values()

    class MemoryView(Wrapper):
        """The same objects, listed by skipping."""

        def __new__(cls, inner: Driver) -> Self:
            return object.__new__(cls)

    class FolderMemory(MemoryDriver):
        def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
            return list_folder(MemoryView(self), prefix, cursor=cursor, limit=limit, seconds=60)

    inner = FolderMemory()
    for key in ("a", "b", "c", "d", "e", "old/z"):
        inner.put(key, b"x")
    driver = Adding(inner)
    assert isinstance(driver, ListsFolders)
    entries, folders = walked(driver, "", 2)
    assert (sorted(entries), sorted(folders)) == (["a", "b", "c", "d", "e"], ["new/", "old/"])
    first = driver.list_folder("", limit=2)
    assert {entry.key: entry.size for entry in first.entries}["e"] == 9
