"""No form does anything without its token, and an old one loses nothing that was typed."""

from __future__ import annotations

import re

import pytest

from dashboard.web.context import API_PATHS
from tests.web.conftest import PASSWORD, Browser, WebConsole
from tests.web.test_guards import routes


def test_every_post_demands_the_token(console: WebConsole, admin: Browser) -> None:
    for endpoint, path, method in routes(console.app):
        if method != "POST" or endpoint == "setup.complete":
            continue
        for response in (
            admin.post(path, with_token=False),
            admin.post(path, with_token=False, csrf_token="forged"),
            admin.post(path, with_token=False, headers={"X-CSRFToken": "forged"}),
        ):
            assert response.status_code == 400, endpoint
            shown = response.json["error"]["reason"] if path.startswith("/api/") else response.text
            assert "open for too long" in shown, endpoint


def test_every_change_through_the_api_demands_the_token_in_the_header(
    console: WebConsole, admin: Browser
) -> None:
    admin.get("/settings")
    changes = [
        (endpoint, path, method)
        for endpoint, path, method in routes(console.app)
        if path.startswith(API_PATHS) and method not in ("GET", "HEAD", "OPTIONS")
    ]
    assert {method for _, _, method in changes} == {"POST", "PUT", "PATCH", "DELETE"}
    for endpoint, path, method in changes:
        for sent in ({}, {"headers": {"X-CSRFToken": "forged"}}, {"data": {"csrf_token": admin.token}}):
            response = admin.client.open(path, method=method, **sent)
            assert (response.status_code, response.json["error"]["operation"]) == (400, "csrf"), endpoint


def test_htmx_sends_the_token_in_a_header(admin: Browser) -> None:
    admin.get("/backends")
    headers = {"HX-Request": "true", "X-CSRFToken": admin.token}
    response = admin.post("/backends/refresh", with_token=False, headers=headers)
    assert response.status_code == 303
    assert response.headers["Location"] == "/backends/live"


def test_a_fragment_without_a_token_shows_a_notice_and_replaces_nothing(admin: Browser) -> None:
    response = admin.post("/backends/refresh", with_token=False, headers={"HX-Request": "true"})
    assert response.status_code == 400
    assert response.headers["HX-Retarget"] == "#failures"
    assert "open for too long" in response.text


def test_an_old_form_is_offered_again_without_its_secrets(
    console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = console.browser()
    browser.sign_in("maria")
    browser.get("/settings")
    monkeypatch.setitem(console.app.config, "WTF_CSRF_TIME_LIMIT", -1)
    fields = {"name": "kept-name", "preset": "s3", "secret.secret_access_key": "never-shown-again"}
    page = browser.post("/backends/new", **fields, password=PASSWORD)
    assert page.status_code == 400
    assert 'action="/backends/new"' in page.text
    assert 'name="name" value="kept-name"' in page.text
    assert "never-shown-again" not in page.text
    assert PASSWORD not in page.text
    assert "except passwords and keys" in page.text


def test_a_form_of_another_session_is_never_offered_again(
    console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, browser = console.browser(), console.browser()
    other.sign_in("vera")
    other.get("/settings")
    browser.sign_in("maria")
    page = browser.post("/backends/fallback", with_token=False, csrf_token=other.token, order="local-disk")
    assert page.status_code == 400
    assert not re.search(r"Send it again", page.text)


def test_a_form_larger_than_any_form_is_refused(admin: Browser) -> None:
    response = admin.post("/backends/new", name="x" * 600_000)
    assert response.status_code == 413
    assert "Too large" in response.text
