"""A folder as a person sees it: pages, orders, odd names, dead backends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files import folder_view
from dashboard.services.files.browse import Browse, FolderPage
from dashboard.services.files.folder_view import Sort
from tests.services.console import ADMIN, VIEWER, ServiceConsole
from tests.services.files.places import add_local

NAMES = ("b.jpg", "A.txt", "c/x", "a/y", "ü.bin", "z-\udcff")


@pytest.fixture
def disk(console: ServiceConsole, tmp_path: Path) -> Iterator[Path]:
    root = add_local(console, tmp_path, "disk")
    for number, name in enumerate(NAMES):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * number)
    return root


@pytest.fixture
def browse(console: ServiceConsole, disk: Path) -> Browse:
    return console.services.browse


def all_pages(browse: Browse, limit: int, **more: object) -> Iterator[FolderPage]:
    cursor = ""
    while True:
        page = browse.folder(VIEWER, "disk", cursor=cursor, limit=limit, **more)  # type: ignore[arg-type]
        yield page
        cursor = page.cursor
        if not cursor:
            return


def names(page: FolderPage) -> list[str]:
    return [entry.name for entry in page.entries]


def test_folders_come_first_then_files_by_name(browse: Browse) -> None:
    page = browse.folder(VIEWER, "disk")
    assert names(page) == ["a", "c", "A.txt", "b.jpg", "z-\udcff", "ü.bin"]
    assert page.complete
    assert not page.cursor
    image = page.entries[3]
    assert (image.kind, image.size, image.thumbnail) == ("image", 0, False)
    assert [(crumb.name, crumb.prefix) for crumb in browse.folder(VIEWER, "disk", "c/d/").crumbs] == [
        ("disk", ""),
        ("c", "c/"),
        ("d", "c/d/"),
    ]


def test_pages_in_any_order_hold_each_entry_once(browse: Browse) -> None:
    for sort, descending in product(Sort, (False, True)):
        pages = list(all_pages(browse, 2, sort=sort, descending=descending))
        seen = [name for page in pages for name in names(page)]
        whole = names(browse.folder(VIEWER, "disk", sort=sort, descending=descending))
        assert sorted(seen) == sorted(whole)
        if sort is not Sort.NAME or descending:
            assert seen == whole
        assert not any(page.complete for page in pages)


def test_by_size_the_largest_first(browse: Browse) -> None:
    page = browse.folder(VIEWER, "disk", sort=Sort.SIZE, descending=True)
    assert names(page) == ["a", "c", "z-\udcff", "ü.bin", "A.txt", "b.jpg"]


def test_a_filter_finds_names_in_any_case(browse: Browse) -> None:
    assert names(browse.folder(VIEWER, "disk", containing="a")) == ["a", "A.txt"]
    found = [name for page in all_pages(browse, 1, containing="a") for name in names(page)]
    assert found == ["a", "A.txt"]


def test_a_large_folder_is_shown_by_name_and_says_so(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_view, "MAX_SORTED", 3)
    pages = list(all_pages(browse, 2, sort=Sort.SIZE))
    assert "sorted by name" in pages[0].message
    assert sorted(name for page in pages for name in names(page)) == sorted(
        names(browse.folder(VIEWER, "disk"))
    )
    filtered = [name for page in all_pages(browse, 1, containing="a") for name in names(page)]
    assert sorted(filtered) == ["A.txt", "a"]


def test_a_cursor_that_is_none_is_refused(browse: Browse) -> None:
    for cursor in ("x", "!", "eyJhIjpbMiwwLCIiXX0", "bnVsbA", "W10", "9" * 20_000):
        for sort in (Sort.NAME, Sort.SIZE):
            with pytest.raises(InvalidInput):
                browse.folder(VIEWER, "disk", cursor=cursor, sort=sort)


def test_a_folder_needs_its_slash_and_a_backend_its_name(browse: Browse) -> None:
    with pytest.raises(InvalidInput):
        browse.folder(VIEWER, "disk", "c")
    with pytest.raises(StowageError) as caught:
        browse.folder(VIEWER, "nowhere")
    assert caught.value.kind is Kind.NOT_FOUND
    assert browse.folder(VIEWER, "disk", "missing/").entries == ()
    assert browse.folder(VIEWER, "disk", "../").entries == ()


def test_a_dead_backend_answers_with_its_sentence(
    console: ServiceConsole, browse: Browse, disk: Path
) -> None:
    disk.rename(disk.with_name("gone"))
    with pytest.raises(StowageError) as caught:
        browse.folder(ADMIN, "disk")
    assert "is not there" in caught.value.reason
    assert caught.value.remedy
