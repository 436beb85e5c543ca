"""Searching the whole console: what is found, by whom, and how much is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from dashboard.migration.types import Spec
from dashboard.services.permissions import Actor, Role
from dashboard.web.admin.palette import finder
from tests.web.conftest import ADMIN, Browser, WebConsole, add_bucket

WHO = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture(scope="module", autouse=True)
def things(console: WebConsole, admin: Browser) -> None:
    assert add_bucket(admin, name="media-archive").status_code == 303
    console.services.migrations.create(WHO, "local-disk", "media-archive", Spec())
    local = console.services.backends.driver("local-disk")
    for key in ("photos/harbour 1.jpg", "100%/a&b.txt", *(f"many/file-{n}.txt" for n in range(20))):
        local.put(key, b"x")
    console.services.checks.count_backend(console.services.backends.get("local-disk").id, lambda: False)


def hits(browser: Browser, query: str) -> dict[str, str]:
    """Labels and addresses of what was found."""
    page = browser.get("/search", query_string={"q": query}).text
    found = re.findall(r'class="hit" href="([^"]+)">.*?<bdi>(.*?)</bdi>', page)
    return {label: address.replace("&amp;", "&") for address, label in found}


@pytest.mark.parametrize(
    ("query", "label", "address"),
    [
        ("archive", "media-archive", "/backend/media-archive"),
        ("1", "local-disk → media-archive", "/migrations/1"),
        ("media-arch", "local-disk → media-archive", "/migrations/1"),
        ("HARBOUR", "harbour 1.jpg", "/browse/local-disk?file=photos/harbour+1.jpg&in=photos/"),
        ("settings rotate", "Keys", "/settings/keys"),
        ("new provider", "Add a backend", "/backends/new"),
        ("log_level", "STOWAGE_LOG_LEVEL", "/settings/environment#STOWAGE_LOG_LEVEL"),
        ("a&b", "a&amp;b.txt", "/browse/local-disk?file=100%2525/a%26b.txt&in=100%2525/"),
    ],
)
def test_what_it_finds_can_be_opened(admin: Browser, query: str, label: str, address: str) -> None:
    found = hits(admin, query)
    assert found.get(label) == address, found
    assert admin.get(address.partition("#")[0]).status_code == 200


def test_nobody_finds_what_they_may_not_open(signed_in: Callable[[str], Browser], viewer: Browser) -> None:
    for query in ("users", "keys", "add a backend", "new migration", "log_level", "audit"):
        assert hits(viewer, query) == {}, query
    for browser in (signed_in("otto"), viewer):
        for query in ("", "a", "e", "s"):
            for address in hits(browser, query).values():
                assert browser.get(address).status_code in (200, 303), address


def test_the_search_is_bounded(admin: Browser) -> None:
    found = hits(admin, "file-")
    assert len(found) == finder.MAX_HITS
    assert len(hits(admin, "e")) <= 5 * finder.MAX_HITS
    for odd in ("x" * 5000, "%", "_", "\\", "\0", "'\"<script>", "9" * 400, "日本", " "):
        page = admin.get("/search", query_string={"q": odd})
        assert page.status_code == 200, odd
        assert "<script>" not in page.text.replace("<script src=", "")


def test_the_fragment_is_a_list_box(admin: Browser) -> None:
    fragment = admin.htmx("/search?q=file-").text
    assert "<html" not in fragment
    assert fragment.count('role="option"') == finder.MAX_HITS
    assert fragment.count('aria-selected="true"') == 1
    assert 'id="hit-1"' in fragment
    assert "Nothing is called" in admin.htmx("/search?q=nowhere-to-be-found").text


def test_every_page_links_to_it_without_javascript(admin: Browser) -> None:
    page = admin.get("/backends").text
    assert re.search(r'<a class="find" href="/search" data-palette', page)
    search = admin.get("/search").text
    assert "Migrations" in search
    assert 'name="q"' in search
