"""One's own account through the API: in a session with its token against forgery, and with no API token."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from dashboard.vault import one_time_codes
from dashboard.web.context import API_DOCUMENT
from tests.web.api.checked import DocumentCheck
from tests.web.api.conftest import NewProgram
from tests.web.conftest import ADMIN, PASSWORD, Browser, WebConsole

API = "/api/v1"


@dataclass
class SignedInProgram:
    """A page's script: a session, and the token of its page with every change."""

    browser: Browser
    document: DocumentCheck

    def send(self, method: str, path: str, json: Any = None, *, forged: bool = False) -> TestResponse:
        headers = {} if forged else {"X-CSRFToken": self.browser.token}
        response = self.browser.client.open(f"{API}{path}", method=method, json=json, headers=headers)
        self.document.check(method, f"{API}{path}", response)
        return response


NewSession = Callable[[str], SignedInProgram]


@pytest.fixture
def session(console: WebConsole) -> NewSession:
    def make(username: str) -> SignedInProgram:
        browser = console.browser()
        assert browser.sign_in(username).status_code == 303
        return SignedInProgram(browser, DocumentCheck(console.app.extensions[API_DOCUMENT]()))

    return make


OWN = [
    ("PUT", "/account/password", {"current": PASSWORD, "new": "x" * 20}),
    ("GET", "/sessions", None),
    ("DELETE", "/sessions/1", None),
    ("POST", "/sessions/end-others", {}),
    ("GET", "/account/two-factor", None),
    ("POST", "/account/two-factor", {"password": PASSWORD}),
    ("POST", "/account/two-factor/confirm", {"code": "000000"}),
    ("POST", "/account/two-factor/codes", {"password": PASSWORD}),
    ("POST", "/account/two-factor/off", {"password": PASSWORD}),
    ("GET", "/tokens", None),
    ("POST", "/tokens", {"name": "x", "scopes": ["view"]}),
    ("DELETE", "/tokens/1", None),
    ("GET", "/backups", None),
    ("POST", "/backups", {}),
    ("PUT", "/backups/schedule", {"enabled": False}),
    ("GET", "/key", None),
    ("POST", "/key/rotate", {"password": PASSWORD}),
    ("POST", "/key/restore", {"recovery_key": "x"}),
]


@pytest.mark.parametrize(("method", "path", "body"), OWN)
def test_an_api_token_reaches_none_of_it(new_program: NewProgram, method: str, path: str, body: Any) -> None:
    every = ("users", "audit", "configure", "environment", "view")
    assert new_program(*every).send(method, f"{API}{path}", body).status_code == 403


def test_sessions_are_seen_and_ended(console: WebConsole, session: NewSession) -> None:
    vera, other = session("vera"), session("vera")
    listed = vera.send("GET", "/sessions").json["sessions"]
    assert {each["username"] for each in listed} == {"vera"}
    (current,) = [each for each in listed if each["current"]]
    (first, *_) = [each for each in listed if not each["current"]]
    assert vera.send("DELETE", f"/sessions/{first['id']}", forged=True).status_code == 400
    assert vera.send("DELETE", f"/sessions/{first['id']}").status_code == 204
    assert vera.send("DELETE", f"/sessions/{first['id']}").status_code == 404
    again = session("vera")
    assert vera.send("POST", "/sessions/end-others", {}).json["ended"] >= 1
    assert again.browser.get("/").status_code == 303
    assert [each["id"] for each in vera.send("GET", "/sessions").json["sessions"]] == [current["id"]]
    assert other.browser.get("/").status_code == 303
    # Those who manage users see everybody's.
    names = {each["username"] for each in session(ADMIN).send("GET", "/sessions").json["sessions"]}
    assert names >= {ADMIN, "vera"}


def test_two_factor_is_turned_on_and_off(console: WebConsole, session: NewSession) -> None:
    otto = session("otto")
    assert otto.send("GET", "/account/two-factor").json == {"enabled": False, "left": 0}
    assert otto.send("POST", "/account/two-factor", {"password": "wrong"}).status_code == 400
    begun = otto.send("POST", "/account/two-factor", {"password": PASSWORD}).json
    assert begun["uri"].startswith("otpauth://")
    assert otto.send("POST", "/account/two-factor/confirm", {"code": "1"}).status_code == 400
    code = one_time_codes.code_at(begun["secret"], int(time.time()) // 30)
    codes = otto.send("POST", "/account/two-factor/confirm", {"code": code}).json["codes"]
    assert otto.send("GET", "/account/two-factor").json == {"enabled": True, "left": len(codes)}
    renewed = otto.send("POST", "/account/two-factor/codes", {"password": PASSWORD}).json["codes"]
    assert not set(renewed) & set(codes)
    off = otto.send("POST", "/account/two-factor/off", {"password": PASSWORD})
    assert off.json == {"enabled": False, "left": 0}
    # Nothing to reset any more.
    reset = session(ADMIN).send("POST", "/users/otto/two-factor/reset", {})
    assert reset.status_code == 409


def test_a_token_is_made_shown_once_and_revoked(console: WebConsole, session: NewSession) -> None:
    otto = session("otto")
    made = otto.send("POST", "/tokens", {"name": "script", "scopes": ["view"], "seconds": 3600})
    assert made.status_code == 201
    secret, number = made.json["secret"], made.json["token"]["id"]
    assert secret not in otto.send("GET", "/tokens").text
    answered = console.app.test_client().get(f"{API}/status", headers={"Authorization": f"Bearer {secret}"})
    assert answered.status_code == 200
    assert session("vera").send("DELETE", f"/tokens/{number}").status_code == 404
    assert session("vera").send("GET", "/tokens?everybody=true").status_code == 403
    assert otto.send("DELETE", f"/tokens/{number}").status_code == 204
    assert otto.send("POST", "/tokens", {"name": "x", "scopes": ["configure"]}).status_code in (400, 403)


def test_a_new_password_ends_every_other_session(console: WebConsole, session: NewSession) -> None:
    vera, other = session("vera"), session("vera")
    new = "some more unrelated words"
    assert vera.send("PUT", "/account/password", {"current": "wrong", "new": new}).status_code == 400
    assert vera.send("PUT", "/account/password", {"current": PASSWORD, "new": new}).status_code == 204
    assert vera.browser.get("/").status_code == 200
    assert other.browser.get("/").status_code == 303
    vera.browser.get("/settings")
    assert vera.send("PUT", "/account/password", {"current": new, "new": PASSWORD}).status_code == 204


def test_backups_and_the_key(console: WebConsole, session: NewSession) -> None:
    maria = session(ADMIN)
    schedule = {"enabled": True, "every_hours": 6, "keep": 3, "backend": ""}
    assert maria.send("PUT", "/backups/schedule", schedule).json == schedule
    assert maria.send("GET", "/backups/schedule").json == schedule
    wrong = maria.send("PUT", "/backups/schedule", {**schedule, "every_hours": 5})
    assert (wrong.status_code, wrong.json["error"]["subject"]) == (400, "every_hours")
    requested = maria.send("POST", "/backups", {})
    assert (requested.status_code, requested.json["state"]) == (202, "queued")
    listed = maria.send("GET", "/backups").json
    assert [each["id"] for each in listed["backups"]] == [requested.json["id"]]
    before = maria.send("GET", "/key").json["key_id"]
    assert maria.send("POST", "/key/rotate", {"password": "wrong"}).status_code == 400
    rotated = maria.send("POST", "/key/rotate", {"password": PASSWORD}).json
    assert rotated["recovery_key"]
    assert rotated["key_id"] != before
    assert maria.send("GET", "/key").json["key_id"] == rotated["key_id"]
    assert maria.send("POST", "/key/restore", {"recovery_key": "no key"}).status_code in (400, 409)
    assert session("otto").send("POST", "/key/rotate", {"password": PASSWORD}).status_code == 403
