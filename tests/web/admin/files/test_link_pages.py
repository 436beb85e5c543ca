"""The pages about links: the URL is shown once, mistakes are explained, and revoking asks first."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest

from dashboard.services.files.sharing.link_uses import Recipient
from dashboard.web.admin.files.browser_view import to_token
from tests.web.conftest import Browser, WebConsole


@pytest.fixture(scope="module", autouse=True)
def with_a_file(console: WebConsole) -> None:
    console.services.backends.driver("local-disk").put("reports/june & july.pdf", b"%PDF-")


def create(browser: Browser, **changed: str) -> str:
    fields = {"backend": "local-disk", "key": "reports/june & july.pdf", "time": "2", "unit": "hours"}
    response = browser.post("/links", **{**fields, **changed})
    assert response.status_code == 200, response.text
    return response.text


def url_in(page: str) -> str:
    found = re.search(r'<code id="url"[^>]*>([^<]+)</code>', page)
    assert found, page
    return html.unescape(found[1])


def test_a_new_link_shows_its_url_once(viewer: Browser, console: WebConsole) -> None:
    page = create(viewer, uses="3")
    url = url_in(page)
    assert re.fullmatch(r"http://localhost/d/[A-Za-z0-9_-]{22}", url)
    assert "3 downloads" in page
    file = console.services.links.open(url.rpartition("/")[2], Recipient())
    assert (file.backend, file.key) == ("local-disk", "reports/june & july.pdf")
    listed = viewer.get("/links").text
    assert "june &amp; july.pdf" in listed
    assert "0 of 3" in listed
    assert url.rpartition("/")[2] not in listed


def test_a_file_with_an_odd_name_is_shared_from_the_files_page(viewer: Browser, console: WebConsole) -> None:
    key = "100 %/caf\udce9\n.txt"
    console.services.backends.driver("local-disk").put(key, b"odd")
    form = viewer.get("/links/new", query_string={"backend": "local-disk", "file": to_token(key)})
    assert form.status_code == 200
    fields = dict(re.findall(r'type="hidden" name="(backend|file)" value="([^"]+)"', form.text))
    page = viewer.post(
        "/links", **{name: html.unescape(text) for name, text in fields.items()}, time="1", unit="days"
    )
    token = url_in(page.text).rpartition("/")[2]
    assert console.services.links.open(token, Recipient()).key == key
    damaged = viewer.post("/links", backend="local-disk", file="%zz", time="1", unit="days")
    assert damaged.status_code == 400


@pytest.mark.parametrize(
    ("changed", "field", "status"),
    [
        ({"key": "nothing here"}, "key", 404),
        ({"key": "../etc"}, "key", 400),
        ({"time": "soon"}, "time", 400),
        ({"time": "9999"}, "time", 400),
        ({"unit": "years"}, "time", 400),
        ({"uses": "-1"}, "uses", 400),
        ({"uses": "0"}, "uses", 400),
        ({"user": "no such name!"}, "user", 400),
        ({"network": "1.2.3"}, "network", 400),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_nothing_typed_is_lost(
    viewer: Browser, changed: dict[str, str], field: str, status: int
) -> None:
    fields = {"backend": "local-disk", "key": "reports/june & july.pdf", "time": "2", "unit": "days"}
    response = viewer.post("/links", **{**fields, "uses": "7", **changed})
    assert response.status_code == status
    assert f'id="{field}-error"' in response.text
    if "uses" not in changed:
        assert 'value="7"' in response.text


def test_a_backend_that_does_not_exist_is_explained(viewer: Browser) -> None:
    response = viewer.post("/links", backend="nowhere", key="a", time="1", unit="days")
    assert response.status_code == 404
    assert "nowhere" in response.text


def test_revoking_asks_first_and_says_what_it_did(viewer: Browser, console: WebConsole) -> None:
    token = url_in(create(viewer)).rpartition("/")[2]
    number = console.services.links.open(token, Recipient()).link_id
    assert "Revoke it" in viewer.get(f"/links/{number}/revoke").text
    assert console.services.links.open(token, Recipient())
    response = viewer.post(f"/links/{number}/revoke")
    assert response.headers["Location"] == "/links"
    assert f"Link {number} is revoked" in viewer.get("/links").text
    assert "It was revoked already" in viewer.get(f"/links/{number}/revoke").text


def test_links_of_others_are_for_administrators_only(
    viewer: Browser, admin: Browser, console: WebConsole, signed_in: Callable[[str], Browser]
) -> None:
    token = url_in(create(viewer, key="reports/june & july.pdf")).rpartition("/")[2]
    number = console.services.links.open(token, Recipient()).link_id
    otto = signed_in("otto")
    assert otto.get(f"/links/{number}/revoke").status_code == 404
    assert otto.post(f"/links/{number}/revoke").status_code == 404
    assert f"/links/{number}/revoke" not in otto.get("/links").text
    assert f"/links/{number}/revoke" in admin.get("/links").text
    assert admin.post(f"/links/{number}/revoke").status_code == 303
