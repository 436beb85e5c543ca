"""Default-deny: every route declares who may use it, and the declaration is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from dashboard.services.permissions import GRANTS, Permission, Role
from dashboard.web import guards
from dashboard.web.context import API_PATHS
from dashboard.web.guards import Access, UndeclaredRoute, access_of, local_path
from tests.web.conftest import Browser, WebConsole

ANYONE = {
    "static", "health.show", "health.ready", "setup.show", "setup.complete", "sign_in.show", "sign_in.enter",
    "sign_in.enter_demo",
    "shared.open_link", "shared.download", "sign_in.ask_code", "sign_in.enter_code", "language_script",
}  # fmt: skip


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Every (endpoint, path with something filled in, method)."""
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for argument in rule.arguments:
            for typed in (f"<int:{argument}>", f"<path:{argument}>", f"<{argument}>"):
                path = path.replace(typed, "1" if "int:" in typed else "local-disk")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, path, method


def send(browser: Browser, method: str, path: str) -> TestResponse:
    if method in ("GET", "POST"):
        return browser.get(path) if method == "GET" else browser.post(path)
    return browser.client.open(path, method=method)


def test_every_route_declares_who_may_use_it(console: WebConsole) -> None:
    for endpoint, _, _ in routes(console.app):
        rule = access_of(console.app, endpoint)
        is_open = isinstance(rule, Access) and rule is not Access.SIGNED_IN
        assert is_open == (endpoint in ANYONE), endpoint


def test_a_route_without_a_declaration_stops_the_application(console: WebConsole) -> None:
    app = Flask("bare")
    app.add_url_rule("/open", "open", lambda: "everything")
    guards.install(app)
    with pytest.raises(UndeclaredRoute, match="open"):
        guards.verify_routes(app)


def test_changes_of_pages_are_made_by_post_only(console: WebConsole) -> None:
    for endpoint, path, method in routes(console.app):
        if path.startswith(API_PATHS):
            continue
        assert method in ("GET", "POST"), endpoint
        rule = access_of(console.app, endpoint)
        if rule in (Permission.MIGRATE, Permission.TEST) and endpoint.partition(".")[2] not in (
            "index",
            "confirm_cancel",
        ):
            assert method == "POST", endpoint


def test_nobody_gets_anything_without_signing_in(console: WebConsole) -> None:
    browser = console.browser()
    browser.get("/sign-in")
    for endpoint, path, method in routes(console.app):
        if endpoint in ANYONE:
            continue
        response = send(browser, method, path)
        if path.startswith(API_PATHS):
            assert response.status_code == 401, endpoint
            assert response.json["error"]["kind"] == "forbidden"
        else:
            assert response.status_code == 303, endpoint
            assert response.headers["Location"].startswith("/sign-in"), endpoint


def test_a_fragment_sends_the_whole_page_to_the_sign_in(console: WebConsole) -> None:
    response = console.browser().htmx("/backends/live")
    assert response.status_code == 401
    assert response.headers["HX-Redirect"] == "/sign-in?next=/backends"


@pytest.mark.parametrize("username", ["vera", "otto"])
def test_a_role_gets_exactly_what_the_table_grants(
    console: WebConsole, signed_in: Callable[[str], Browser], username: str
) -> None:
    browser = signed_in(username)
    granted = GRANTS[{"vera": Role.VIEWER, "otto": Role.OPERATOR}[username]]
    for endpoint, path, method in routes(console.app):
        rule = access_of(console.app, endpoint)
        if not isinstance(rule, Permission) or endpoint == "sign_in.leave":
            continue
        if rule in granted and method != "GET":
            continue
        response = send(browser, method, path)
        assert (response.status_code == 403) == (rule not in granted), (endpoint, response.status_code)


def test_pages_offer_a_viewer_no_buttons_that_would_be_refused(viewer: Browser) -> None:
    for path in ("/", "/backends", "/backend/local-disk", "/migrations"):
        page = viewer.get(path).text
        posts = set(page.split('method="post" action="')[1:])
        # Everybody may hide a row in their own browser.
        assert {p.partition('"')[0] for p in posts} - {"/overview/dismiss"} == {"/sign-out"}, path
        assert "/backends/new" not in page
        assert "/migrations/new" not in page
    assert 'href="/audit"' not in viewer.get("/").text


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/\tevil",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        "/ok\r\nSet-Cookie: a=b",
        "http:/evil.example",
    ],
)
def test_next_never_leaves_this_site(console: WebConsole, target: str) -> None:
    assert local_path(target) == "/"
    browser = console.browser()
    browser.get("/sign-in")
    response = browser.post("/sign-in", username="vera", password="a few unrelated words", next=target)
    assert response.headers["Location"] == "/"


def test_next_leads_back_to_where_one_wanted_to_go(console: WebConsole) -> None:
    browser = console.browser()
    away = browser.get("/migrations?before=7")
    assert away.headers["Location"] == "/sign-in?next=/migrations?before%3D7"
    page = browser.get(away.headers["Location"])
    assert 'name="next" value="/migrations?before=7"' in page.text
    response = browser.post(
        "/sign-in", username="vera", password="a few unrelated words", next="/migrations?before=7"
    )
    assert response.headers["Location"] == "/migrations?before=7"
