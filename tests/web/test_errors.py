"""Failures: one table, three shapes, and nothing of an unknown exception but its id."""

from __future__ import annotations

import logging
import re

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.web.errors import STATUS, STATUS_PAGES
from tests.web.conftest import Browser, WebConsole

CONFIDENTIAL = "hunter2-in-an-exception"


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind)


def test_every_status_has_a_page(console: WebConsole) -> None:
    for status in STATUS_PAGES:
        assert console.app.jinja_env.get_template(f"errors/{status}.html")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_failure_has_the_shape_that_was_asked_for(
    admin: Browser, console: WebConsole, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StowageError(kind, "Something “odd” happened.", remedy="Do this <next>.")

    for call in ("progress", "command"):
        monkeypatch.setattr(type(console.services.migrations), call, fail)
    page = admin.get("/migrations/1")
    assert page.status_code == STATUS[kind]
    assert "Something “odd” happened." in page.text or kind is Kind.INTERNAL
    assert "<next>" not in page.text
    fragment = admin.htmx("/migrations/1/live")
    assert fragment.status_code == STATUS[kind]
    assert fragment.headers["HX-Retarget"] == "#failures"
    assert 'role="alert"' in fragment.text
    error_response = admin.get("/api/v1/migrations/1")
    assert error_response.status_code == STATUS[kind]
    assert error_response.json["error"]["kind"] == kind.value


def test_an_unknown_exception_shows_an_id_and_nothing_else(
    admin: Browser, console: WebConsole, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(CONFIDENTIAL)

    for call in ("progress", "command"):
        monkeypatch.setattr(type(console.services.migrations), call, fail)
    with caplog.at_level(logging.ERROR, logger="dashboard.web.errors"):
        page = admin.get("/migrations/1")
        error_response = admin.get("/api/v1/migrations/1")
    assert page.status_code == error_response.status_code == 500
    found = re.search(r"Incident <code>([0-9a-f]{8})</code>", page.text)
    assert found
    assert found[1] in caplog.text
    assert error_response.json["error"]["id"] in caplog.text
    for text in (page.text, error_response.text):
        assert CONFIDENTIAL not in text
        assert "ZeroDivisionError" not in text
        assert "Traceback" not in text


def test_a_wrong_method_names_the_right_one(admin: Browser) -> None:
    response = admin.client.open("/backends/refresh", method="GET")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert "Method not allowed" in response.text


def test_an_unknown_page_leads_back(admin: Browser, console: WebConsole) -> None:
    for browser in (admin, console.browser()):
        page = browser.get("/no/such/page")
        assert page.status_code == 404
        assert "Go to the overview" in page.text
