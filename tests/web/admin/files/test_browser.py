"""The Files page: folders, odd names, order, filters, pages of a large folder, and what cannot be listed."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from dashboard.errors import StowageError
from dashboard.services.backends.values import Draft
from dashboard.web.admin.files.browser_view import from_token, to_token
from tests.services.console import ADMIN
from tests.web.conftest import Browser, WebConsole

ODD = (
    '100% "odd" <b>&.txt',
    " begins with a space",
    "line\nbreak\r\n.txt",
    "right-to-left-\u202egpj.exe",
    "percent%0a.txt",
    "ünïcødé 🎈.png",
    "a" * 200 + ".jpg",
)


@pytest.fixture(scope="module", autouse=True)
def _files(console: WebConsole) -> None:
    folder = console.services.settings.instance / "files"
    for name in ODD:
        (folder / "odd" / name).parent.mkdir(exist_ok=True)
        (folder / "odd" / name).write_text(name)
    many = folder / "many"
    many.mkdir()
    for number in range(450):
        (many / f"{number:03}.txt").write_bytes(b"x" * number)
    (many / "deeper").mkdir()
    (many / "deeper" / "photo.jpg").write_bytes(b"x")
    (folder / "script.html").write_text("<script>alert('here')</script>")
    locked = console.services.settings.instance / "locked"
    locked.mkdir()
    (locked / "a.txt").write_text("a")
    draft = Draft("locked", "local", {"root": str(locked), "read_only": "true"}, {})
    console.services.backends.add(ADMIN, draft)
    missing = Draft("missing", "local", {"root": str(locked / "gone")}, {})
    console.services.backends.add(ADMIN, missing)


def rows(page: str) -> list[str]:
    """The keys on a page, in their order."""
    found = re.findall(r'class="choice" name="key" value="([^"]*)"', page)
    return [from_token(html.unescape(each)) for each in found]


def follow(page: str, pattern: str) -> str:
    """The address of the first link that matches."""
    found = re.search(pattern, page, re.DOTALL)
    assert found, pattern
    return html.unescape(found[1])


def test_keys_survive_addresses_and_forms() -> None:
    for key in (*ODD, "%", "%25", "\0", "a/%0d", "\r", "caf\udce9"):
        token = to_token(key)
        assert from_token(token) == key
        assert not re.search(r"[\r\n\0]", token)
        token.encode()
    for damaged in ("%", "%2", "%41", "%zz", "%0A", "a" * 5000):
        with pytest.raises(StowageError):
            from_token(damaged)


def test_files_opens_the_active_backend(admin: Browser) -> None:
    assert admin.get("/files").headers["Location"] == "/browse"
    assert admin.get("/browse").headers["Location"] == "/browse/local-disk"
    page = admin.get("/browse/local-disk").text
    assert {"many/", "odd/", "script.html"} <= set(rows(page))
    assert 'aria-current="page"' in page


def test_odd_names_are_shown_and_open(admin: Browser) -> None:
    page = admin.get("/browse/local-disk", query_string={"in": "odd/"}).text
    assert sorted(rows(page)) == sorted(f"odd/{name}" for name in ODD)
    assert "\u202e" not in re.sub(r'value="[^"]*"', "", page)
    assert "<b>&.txt" not in page
    addresses = re.findall(r'data-pane="([^"]+)"', page)
    assert len(addresses) == len(ODD)
    for address in addresses:
        assert admin.get(html.unescape(address)).status_code == 200


def test_a_large_folder_is_shown_page_by_page(admin: Browser) -> None:
    address, seen = "/browse/local-disk?in=many/", []
    for _ in range(3):
        page = admin.get(address).text
        seen += rows(page)
        address = follow(page, r'href="([^"]+)" data-more') if "data-more" in page else ""
    assert address == ""
    assert "many/deeper/" in seen
    assert [key for key in seen if key != "many/deeper/"] == [
        f"many/{number:03}.txt" for number in range(450)
    ]


def test_the_order_can_be_chosen(admin: Browser) -> None:
    page = admin.get("/browse/local-disk?in=many/&sort=-size").text
    assert rows(page)[:3] == ["many/deeper/", "many/449.txt", "many/448.txt"]
    assert re.search(r'aria-sort="descending"><a[^>]+>Size', page)
    page = admin.get(follow(page, r'aria-sort="descending"><a href="([^"]+)"')).text
    assert rows(page)[1:3] == ["many/000.txt", "many/001.txt"]


def test_a_backend_that_was_not_counted_is_searched_in_one_folder(admin: Browser) -> None:
    page = admin.get("/browse/local-disk?in=many/&q=44").text
    assert rows(page) == ["many/044.txt", "many/144.txt", "many/244.txt", "many/344.txt", *(
        f"many/44{number}.txt" for number in range(10)
    )]  # fmt: skip
    assert "Only this folder was searched" in page
    page = admin.get("/browse/local-disk?in=many/&kind=image").text
    assert rows(page) == []
    assert "fits these filters" in page


def test_the_grid_is_remembered(signed_in: Callable[[str], Browser]) -> None:
    person = signed_in("vera")
    assert 'id="folder-rows"' not in person.get("/browse/local-disk").text
    assert 'id="folder-rows"' in person.get("/browse/local-disk?view=grid").text
    assert 'id="folder-rows"' in person.get("/browse/local-disk?in=many/").text
    assert 'id="folder-rows"' not in person.get("/browse/local-disk?view=list").text


def test_text_is_shown_as_text_and_never_as_a_page(admin: Browser) -> None:
    page = admin.get("/browse/local-disk?file=script.html").text
    assert "&lt;script&gt;alert(&#39;here&#39;)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert 'id="pane"' in page
    assert "Answered by local-disk" in page


def test_a_file_that_is_gone_says_so(admin: Browser) -> None:
    response = admin.get("/browse/local-disk/file?key=not%20there.txt")
    assert response.status_code == 404
    assert "There is no object “not there.txt”." in response.text
    assert 'id="pane"' in response.text


def test_a_backend_that_cannot_be_listed_says_why_and_offers_a_test(admin: Browser) -> None:
    response = admin.get("/browse/missing")
    assert response.status_code == 404
    assert "Test again" in response.text
    assert 'id="files"' in response.text
    assert admin.get("/browse/nowhere").status_code == 404


def test_a_read_only_backend_says_so(admin: Browser) -> None:
    page = admin.get("/browse/locked").text
    assert rows(page) == ["a.txt"]
    assert "read-only" in page
    assert "New folder" not in page


@pytest.mark.parametrize(
    "query",
    [
        "in=%2541",
        "file=%2541",
        "after=nonsense",
        "sort=nonsense&view=nonsense&kind=x&size=y&age=z",
        "in=../",
        "q=%00",
    ],
)
def test_a_damaged_address_is_no_accident(admin: Browser, query: str) -> None:
    response = admin.get(f"/browse/local-disk?{query}")
    assert response.status_code in (200, 400, 404), response.status_code
    assert urlsplit(response.request.path).path == "/browse/local-disk"
