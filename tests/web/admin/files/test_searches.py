"""Filters of the Files page that only the catalogue knows, and searches saved under a name."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.services.catalogue.file_values import FileFacts
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.permissions import Actor, Role
from tests.web.admin.files.test_browser import rows
from tests.web.admin.files.test_changes import sentences
from tests.web.conftest import ADMIN, Browser, WebConsole

SHA256 = "ab" * 32
PAGE = "/browse/local-disk"


@pytest.fixture(scope="module", autouse=True)
def _catalogued(console: WebConsole) -> None:
    number = console.services.backends.get("local-disk").id
    console.services.catalogue.record(
        [
            FileFacts(number, "photos/x.jpg", 10, sha256=SHA256, owner="vera", details={"model": "X100 <b>"}),
            FileFacts(number, "photos/y.jpg", 20, owner="otto", details={"model": "X100 <b>", "iso": 200}),
            FileFacts(number, "z.jpg", 30, owner="vera"),
        ]
    )


def links(page: str) -> dict[str, str]:
    """The saved searches on a page, with their addresses."""
    menu = page.partition('<div class="popover saved">')[2].partition("</div>")[0]
    found = re.findall(r'<li><a href="([^"]+)".*?<bdi>(.*?)</bdi>', menu, re.DOTALL)
    return {html.unescape(name): html.unescape(url) for url, name in found}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"checksum": f" {SHA256.upper()} "}, ["photos/x.jpg"]),
        ({"owner": "vera"}, ["photos/x.jpg", "z.jpg"]),
        ({"owner": "vera", "in": "photos/"}, ["photos/x.jpg"]),
        ({"detail": "model", "detail_value": "X100 <b>"}, ["photos/x.jpg", "photos/y.jpg"]),
        ({"metadata": "model=X100+%3Cb%3E&iso=200"}, ["photos/y.jpg"]),
        ({"owner": "nobody"}, []),
    ],
)
def test_what_only_the_catalogue_knows_is_searched_for(
    admin: Browser, query: dict[str, str], expected: list[str]
) -> None:
    response = admin.get(PAGE, query_string=query)
    assert response.status_code == 200
    assert rows(response.text) == expected
    assert "have not been counted yet" in response.text
    assert "X100 <b>" not in response.text


def test_a_checksum_that_is_none_is_said_and_nothing_is_listed(admin: Browser) -> None:
    response = admin.get(PAGE, query_string={"checksum": "abc", "owner": "vera"})
    assert response.status_code == 400
    assert "This is no checksum." in response.text
    assert rows(response.text) == []
    assert "owner=vera" in response.text


def test_a_search_is_saved_opened_replaced_deleted_and_back(
    admin: Browser, signed_in: Callable[[str], Browser]
) -> None:
    fields = {"in": "photos/", "kind": "image", "max_age": "604800", "owner": "vera", "sort": "-size"}
    answer = admin.post(f"{PAGE}/searches", **fields, title=' New & "odd" ')
    page = admin.get(answer.headers["Location"]).text
    assert 'The search “New & "odd"” is saved.' in sentences(page)
    url = links(page)['New & "odd"']
    assert {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()} == fields
    opened = admin.get(url).text
    assert "Changed: <bdi>last 7 days</bdi>" in opened
    assert re.search(r'aria-current="true"[^>]*><span class="grow"><bdi>New', opened)
    assert links(signed_in("vera").get(PAGE).text) == {}, "everybody has their own"
    answer = admin.post(f"{PAGE}/searches", owner="otto", title='New & "odd"')
    page = admin.get(answer.headers["Location"]).text
    assert "in place of the one that had this name" in sentences(page)
    number = re.search(r"/searches/(\d+)/delete", page)
    assert number
    assert signed_in("vera").post(f"{PAGE}/searches/{number[1]}/delete").status_code == 303
    assert links(admin.get(PAGE).text), "nobody deletes another's"
    page = admin.get(admin.post(f"{PAGE}/searches/{number[1]}/delete").headers["Location"]).text
    assert links(page) == {}
    form = re.search(r'<form class="inline act" method="post" action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    assert form
    undo = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2]))
    undo = {name: html.unescape(value) for name, value in undo.items() if name != "csrf_token"}
    assert admin.post(form[1], **undo).status_code == 303
    assert "owner=otto" in links(admin.get(PAGE).text)['New & "odd"']


@pytest.mark.parametrize(
    "fields",
    [{"title": ""}, {"title": "x" * 64}, {"title": "a\nb"}, {"owner": ""}, {"checksum": "nonsense"}],
)
def test_what_cannot_be_saved_says_why(admin: Browser, fields: dict[str, str]) -> None:
    response = admin.post(f"{PAGE}/searches", **{"owner": "vera", "title": "a", **fields})
    assert response.status_code == 400


def test_searches_saved_by_a_program_open_on_the_page(admin: Browser, console: WebConsole) -> None:
    everything = FileFilters(
        name="x",
        content_type="image/",
        min_size=5,
        max_size=1500,
        modified_after=1e9,
        modified_before=2e9,
        min_age=90.0,
        max_age=7200.0,
        checksum="ab" * 16,
        metadata={"a&b": "c=d", "e": "f"},
    )
    console.services.saved_searches.save(Actor(ADMIN, Role.ADMIN, "web"), "all of it", everything)
    page = admin.get(links(admin.get(PAGE).text)["all of it"]).text
    shown = re.findall(r'class="chip on"[^>]*>(.*?)<svg', page, re.DOTALL)
    assert [html.unescape(re.sub(r"<[^>]+>", "", each)) for each in shown] == [
        "Size: 5 B to 1.5 kB",
        "Changed: 1 min 30 s to 2 h ago",
        "Changed: since 9 Sep 2001 and before 18 May 2033",
        "Content type: image/",
        "Checksum: abababab…",
        "a&b: c=d",
        "e: f",
    ]
