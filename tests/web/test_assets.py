"""What a browser loads: how much it is, where it comes from, how long it is kept."""

from __future__ import annotations

import gzip
import re

import pytest
from werkzeug.test import TestResponse

from tests.web.conftest import Browser, WebConsole

MAX_FIRST_LOAD = 150_000
"""Bytes of a page and everything that it loads, compressed: for somebody who has never been here."""
COMPRESSED = {"Accept-Encoding": "gzip, deflate, br"}
LOADED = re.compile(r'<(?:script|link|img|use|source|iframe)\b[^>]*?\s(?:src|href)="([^"]+)"')


@pytest.fixture(scope="module")
def every_page(console: WebConsole) -> tuple[str, ...]:
    """Every page that has an address of its own."""
    rules = sorted(str(rule) for rule in console.app.url_map.iter_rules() if "GET" in (rule.methods or ()))
    own = (rule for rule in rules if "<" not in rule and not rule.startswith(("/api/", "/admin/")))
    files = ("/backend/local-disk", "/backend/local-disk/edit", "/browse/local-disk", "/nowhere")
    return (*own, *files, "/backends/new?preset=b2", "/backends/new?preset=sftp")


def test_no_page_is_over_150_kb_on_first_load_and_nothing_comes_from_elsewhere(
    admin: Browser, console: WebConsole, every_page: tuple[str, ...]
) -> None:
    sizes: dict[str, int] = {}
    weights: dict[str, int] = {}
    pages = [(path, admin.client.get(path, headers=COMPRESSED)) for path in every_page]
    pages.append(("/sign-in", console.browser().client.get("/sign-in", headers=COMPRESSED)))
    for path, response in pages:
        if response.mimetype != "text/html":
            continue
        page = _text(response)
        weights[path] = len(response.data)
        for name in {address.split("#")[0] for address in LOADED.findall(page)}:
            assert name.startswith("/"), f"{path} loads {name}"
            assert not name.startswith("//"), f"{path} loads {name}"
            if name not in sizes:
                sizes[name] = len(admin.client.get(name, headers=COMPRESSED).data)
            weights[path] += sizes[name]
    assert len(weights) > 25
    assert {path: weight for path, weight in weights.items() if weight > MAX_FIRST_LOAD} == {}


def test_style_sheets_name_nothing_from_elsewhere(console: WebConsole, admin: Browser) -> None:
    for name in ("stowage.css", "components.css", "files.css", "icons.svg"):
        text = admin.get(f"/static/{name}").get_data(as_text=True).replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"url\(|@import|https?:|xlink:href", text), name


def test_static_files_have_names_that_change_with_their_content_and_are_kept_a_year(admin: Browser) -> None:
    page = admin.get("/")
    assert page.headers["Cache-Control"] == "private, no-cache"
    sheet = re.search(r'href="(/static/stowage\.[0-9a-f]{12}\.css)"', page.text)
    assert sheet
    kept = admin.get(sheet[1])
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert kept.headers["Content-Type"] == "text/css; charset=utf-8"
    plain = admin.get("/static/stowage.css")
    assert plain.headers["Cache-Control"] == "no-cache"
    assert plain.data == kept.data
    again = admin.client.get("/static/stowage.css", headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    for wrong in ("/static/stowage.000000000000.css", "/static/nothing.css", "/static/../pyproject.toml"):
        missing = admin.get(wrong)
        assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")


def test_files_and_pages_are_compressed_for_those_who_ask_for_it(admin: Browser) -> None:
    for path in ("/static/stowage.css", "/static/icons.svg", "/backends"):
        plain = admin.client.get(path)
        packed = admin.client.get(path, headers=COMPRESSED)
        refused = admin.client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
        assert packed.headers["Content-Encoding"] == "gzip"
        for each in (plain, refused):
            assert "Content-Encoding" not in each.headers
        for each in (plain, packed, refused):
            assert "Accept-Encoding" in each.headers["Vary"]
        assert len(packed.data) < len(plain.data) / 2
        if path.startswith("/static/"):
            assert _text(packed) == plain.text
            assert packed.headers["ETag"] != plain.headers["ETag"]


def test_the_size_of_a_compressed_page_says_nothing(admin: Browser) -> None:
    sizes = {len(admin.client.get("/settings", headers=COMPRESSED).data) for _ in range(12)}
    assert len(sizes) > 3


def test_what_is_not_a_page_is_never_kept(admin: Browser) -> None:
    for response in (
        admin.get("/nowhere"),
        admin.get("/healthz"),
        admin.htmx("/backends/live"),
        admin.post("/backends/new", preset="local", name="Not A Name"),
    ):
        assert response.headers["Cache-Control"] == "no-store"


def _text(response: TestResponse) -> str:
    packed = response.headers.get("Content-Encoding") == "gzip"
    return (gzip.decompress(response.data) if packed else response.data).decode()
