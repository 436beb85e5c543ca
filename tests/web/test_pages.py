"""What holds for every page: the policy, the outline, no inline script, no secret."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from dashboard.migration.types import Spec
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.storage.registry import PRESETS
from tests.services.console import ADMIN
from tests.services.database_file import version_of
from tests.web.conftest import SECRET, Browser, WebConsole, add_bucket

PAGES = (
    "/",
    "/backends",
    "/backends/new",
    *(f"/backends/new?preset={name}" for name in PRESETS),
    "/backend/local-disk",
    "/backend/local-disk/edit",
    "/backend/local-disk/remove",
    "/backend/local-disk/activate",
    "/backend/bucket-one",
    "/backend/bucket-one/edit",
    "/backend/bucket-one/remove",
    "/backend/bucket-one/activate",
    "/browse/local-disk",
    "/browse/local-disk?view=grid&q=nothing",
    "/browse/bucket-one",
    "/browse/local-disk/file?key=nothing",
    "/usage",
    "/usage?days=365&measure=objects",
    "/usage/duplicates",
    "/usage/shared",
    "/settings/prices",
    "/migrations",
    "/migrations/new",
    "/migrations/1",
    "/migrations/1/objects",
    "/migrations/1/objects?state=failed",
    "/migrations/1/cancel",
    "/health",
    "/health/workers",
    "/links",
    "/links/new?backend=local-disk&key=a.txt",
    "/files/old",
    "/files/old?days=30&backend=local-disk",
    "/links/1/revoke",
    "/audit",
    "/settings",
    "/settings/users",
    "/settings/keys",
    "/nowhere",
)
FRAGMENTS = (
    "/overview/live",
    "/backends/live",
    "/health/workers/live",
    "/backend/bucket-one/live",
    "/backend/bucket-one/comparison",
    "/migrations/live",
    "/migrations/1/live",
)


def test_no_page_writes_anything_by_being_looked_at(admin: Browser, console: WebConsole) -> None:
    admin.get("/")
    with version_of(console.services.database.main) as version:
        for page in (*PAGES, *FRAGMENTS):
            before = version()
            admin.get(page)
            admin.htmx(page)
            assert version() == before, page


@pytest.fixture(scope="module", autouse=True)
def with_a_bucket_and_a_migration(console: WebConsole, admin: Browser) -> None:
    assert add_bucket(admin).status_code == 303
    who = Actor("maria", Role.ADMIN, "web")
    console.services.migrations.create(who, "local-disk", "bucket-one", Spec())
    console.services.backends.driver("local-disk").put("a.txt", b"shared")
    console.services.links.create(who, "local-disk", "a.txt", seconds=3600)


@pytest.fixture(scope="module")
def seen(console: WebConsole, admin: Browser) -> dict[str, str]:
    """Every page once, including those of people who are not signed in."""
    pages = {path: admin.get(path).text for path in PAGES}
    pages |= {path: admin.htmx(path).text for path in FRAGMENTS}
    stranger = console.browser()
    pages["/sign-in"] = stranger.get("/sign-in").text
    return pages


class Outline(HTMLParser):
    """What an assistive program would find."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag = self.found[-1][0] if self.found else ""
        self.text[tag] = self.text.get(tag, "") + data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attrs for name, attrs in self.found if name == tag)


def test_no_page_has_anything_inline(seen: dict[str, str]) -> None:
    for path, page in seen.items():
        outline = Outline(page)
        assert not list(outline.all("style")), path
        for tag, attrs in outline.found:
            handlers = [name for name in attrs if name.startswith(("on", "hx-on"))]
            assert not handlers, (path, tag, handlers)
            assert "style" not in attrs, (path, tag)
            for name in ("href", "src", "action", "formaction"):
                assert not (attrs.get(name) or "").lower().startswith(("javascript:", "data:")), path
            if tag == "script":
                assert (attrs.get("src") or "").startswith("/static/"), path
        assert not outline.text.get("script", "").strip(), path


def test_nothing_comes_from_another_site(seen: dict[str, str]) -> None:
    for path, page in seen.items():
        for tag, attrs in Outline(page).found:
            if tag in ("script", "link", "img", "use"):
                assert (attrs.get("src") or attrs.get("href") or "").startswith("/static/"), (path, tag)


def test_every_page_can_be_read_without_eyes(seen: dict[str, str]) -> None:
    for path, page in seen.items():
        if path in FRAGMENTS:
            continue
        outline = Outline(page)
        assert next(outline.all("html"))["lang"] == "en", path
        assert len(list(outline.all("main"))) == 1, path
        assert len(list(outline.all("h1"))) == 1, path
        assert 'href="#main"' in page, path
        labelled = {attrs.get("for") for attrs in outline.all("label")}
        for tag in ("input", "select", "textarea"):
            for attrs in outline.all(tag):
                if attrs.get("type") in ("hidden", "checkbox", "radio"):
                    continue
                assert attrs.get("id") in labelled, (path, attrs)


def test_ids_are_unique_and_what_points_at_them_exists(seen: dict[str, str]) -> None:
    for path, page in seen.items():
        outline = Outline(page)
        ids = [attrs["id"] for _, attrs in outline.found if "id" in attrs]
        assert len(ids) == len(set(ids)), (path, [i for i in ids if ids.count(i) > 1])
        if path in FRAGMENTS:
            continue
        for _, attrs in outline.found:
            for name in ("for", "aria-labelledby", "aria-describedby"):
                for target in (attrs.get(name) or "").split():
                    assert target in ids, (path, name, target)


def test_every_answer_carries_the_security_headers(admin: Browser, console: WebConsole) -> None:
    answers = [
        admin.get(path) for path in ("/", "/nowhere", "/static/stowage.css", "/api/v1/backends", "/healthz")
    ]
    answers.append(admin.post("/backends/new", with_token=False))
    answers.append(admin.client.open("/backends", method="DELETE"))
    answers.append(console.browser().get("/"))
    for response in answers:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in response.headers["Permissions-Policy"]


def test_none_of_flask_admins_own_files_are_served(admin: Browser) -> None:
    for path in (
        "/static/admin/bootstrap/bootstrap4/js/bootstrap.min.js",
        "/admin/static/vendor/jquery.min.js",
    ):
        assert admin.get(path).status_code == 404


def test_a_secret_is_on_no_page_in_no_form(seen: dict[str, str], admin: Browser) -> None:
    pages = [*seen.values(), admin.get("/api/v1/backends").text, add_bucket(admin, name="Not A Name").text]
    encoded = {
        SECRET,
        quote(SECRET, safe=""),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    }
    for page in pages:
        for text in encoded:
            assert text not in page
    assert f"set, ends in …{SECRET[-4:]}; leave empty to keep it" in seen["/backend/bucket-one/edit"]


def test_a_finished_part_asks_no_more(console: WebConsole, admin: Browser) -> None:
    admin.get("/migrations/1")
    assert "hx-trigger" in admin.htmx("/migrations/1/live").text
    admin.post("/migrations/1/cancel")
    fragment = admin.htmx("/migrations/1/live").text
    assert "hx-trigger" not in fragment
    assert "hx-get" not in fragment


def test_the_overview_shows_what_waits_to_be_sent_home(
    admin: Browser, console: WebConsole, tmp_path: Path
) -> None:
    for name in ("home", "spare"):
        (tmp_path / name).mkdir()
        options = {"root": str(tmp_path / name), "fallback": "true"}
        console.services.backends.add(ADMIN, Draft(name, "local", options, {}))
    console.services.backends.fallback_order(ADMIN, ["spare"])
    (tmp_path / "home").rename(tmp_path / "away")
    console.services.backends.driver("home").put("a", b"hello")
    assert "1 object waits in spare to be written back to home" in admin.get("/").text
    (tmp_path / "away").rename(tmp_path / "home")
    (tmp_path / "home" / "a").write_bytes(b"newer")
    console.services.write_back.run(console.services.backends.get("home").id, lambda: False)
    page = admin.get("/").text
    assert "Objects for home were overtaken: 1" in page
    assert ".stowage-waiting/" in page
    console.services.write_back.dismiss(ADMIN, "home")
    assert "overtaken" not in admin.get("/").text
