"""Settings, API tokens: made, shown once, revoked."""

from __future__ import annotations

import re
from collections.abc import Callable

from dashboard.services.permissions import Actor, Role
from tests.web.conftest import Browser, WebConsole


def made(page: str) -> str:
    found = re.search(r'id="new-token">(stw_[\w-]{43})<', page)
    assert found, page
    return found[1]


def test_a_token_is_made_shown_once_and_revoked(
    console: WebConsole, signed_in: Callable[[str], Browser]
) -> None:
    otto = signed_in("otto")
    empty = otto.get("/settings/tokens").text
    assert "No tokens yet" in empty
    assert 'value="migrate"' in empty
    assert 'value="configure"' not in empty, "an operator may not"
    page = otto.post("/settings/tokens", name="CI", scope=["view", "migrate"], expires="30")
    text = made(page.text)
    assert page.headers["Cache-Control"] == "no-store"
    again = otto.get("/settings/tokens").text
    assert text not in again
    assert f">{text[-4:]}</span>" in again
    client = console.app.test_client(use_cookies=False)
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/api/v1/backends", headers=headers).status_code == 200
    number = console.services.tokens.list(Actor("otto", Role.OPERATOR, "web"))[0].id
    assert f"/settings/tokens/{number}/revoke" in again
    assert otto.post(f"/settings/tokens/{number}/revoke").status_code == 303
    assert "CI” is revoked" in otto.get("/settings/tokens").text
    assert client.get("/api/v1/backends", headers=headers).status_code == 401


def test_what_was_typed_stays_when_something_is_wrong(admin: Browser) -> None:
    page = admin.post("/settings/tokens", name="two things", scope=["audit"], expires="soon")
    assert page.status_code == 400
    assert 'id="expires-error"' in page.text
    assert 'value="two things"' in page.text
    assert re.search(r'value="audit" checked', page.text)
    nothing = admin.post("/settings/tokens", name="nothing", expires="never")
    assert (nothing.status_code, 'id="scopes-error"' in nothing.text) == (400, True)
    for scope in ("own_account", "keys"):
        assert admin.post("/settings/tokens", name="x", scope=[scope], expires="7").status_code == 400


def test_an_administrator_sees_and_revokes_everybodys(
    admin: Browser, viewer: Browser, console: WebConsole
) -> None:
    text = made(viewer.post("/settings/tokens", name="reader", scope=["view"], expires="never").text)
    page = admin.get("/settings/tokens").text
    assert "reader" in page
    assert "vera" in page
    number = re.findall(r"/settings/tokens/(\d+)/revoke", page)[0]
    assert "reader" not in console.browser().get("/settings/tokens").text
    assert admin.post(f"/settings/tokens/{number}/revoke").status_code == 303
    assert viewer.post("/settings/tokens/999/revoke").status_code == 404
    headers = {"Authorization": f"Bearer {text}"}
    assert console.app.test_client().get("/api/v1/account", headers=headers).status_code == 401


def test_the_page_of_the_api_names_every_route_and_object(viewer: Browser, console: WebConsole) -> None:
    page = viewer.get("/settings/api").text
    document = viewer.get("/api/v1/openapi.json").json
    for path in document["paths"]:
        assert f">{path}</code>" in page
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    for link in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{link}"' in page, link
    assert not re.search(r'(src|href)="https?:', page)
    assert viewer.get("/api/v1").json["page"] == "/settings/api"
