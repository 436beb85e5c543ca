"""Two consoles behind a load balancer: what one of them knows counts on the other, at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dashboard.services.consoles import console_processes as processes
from dashboard.services.files.receiving import receiver
from dashboard.services.people.throttle import LIMITS
from dashboard.services.permissions import Actor, Permission, Role
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until
from tests.web.conftest import ADMIN, PASSWORD, Browser, WebConsole, open_console, set_up

MARIA = Actor(ADMIN, Role.ADMIN, "web")
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True)
class Pair:
    """Two consoles on one database and one instance folder."""

    first: WebConsole
    second: WebConsole
    folder: Path

    def moved(self, browser: Browser) -> Browser:
        """The same browser, whose next requests reach the second console."""
        name = self.first.app.config["SESSION_COOKIE_NAME"]
        cookie = browser.client.get_cookie(name)
        assert cookie
        client = self.second.app.test_client()
        client.set_cookie(name, cookie.value)
        return Browser(client, browser.token)

    def program(self, console: WebConsole, token: str) -> FlaskClient:
        client = console.app.test_client(use_cookies=False)
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client


@pytest.fixture(scope="module")
def pair(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, name = tmp_path_factory.mktemp("consoles"), postgresql.create()
    options = {"database_url": postgresql.url(name), "api_requests_per_minute": 60}
    first, second = open_console(folder, **options), open_console(folder, **options)
    set_up(first)
    yield Pair(first, second, folder)
    first.services.close()
    second.services.close()
    postgresql.drop(name)


@pytest.fixture(scope="module")
def maria(pair: Pair) -> Browser:
    browser = pair.first.browser()
    assert browser.sign_in(ADMIN).status_code == 303
    return browser


def token(pair: Pair, name: str, *scopes: Permission) -> tuple[int, str]:
    made = pair.first.services.tokens.create(MARIA, name, [scope.value for scope in scopes])
    return made.info.id, made.secret.reveal()


def test_a_sign_in_and_its_forms_count_on_both(pair: Pair, maria: Browser) -> None:
    other = pair.moved(maria)
    # Without looking at a page first: the token of the form is the first console's.
    assert other.post("/settings/tokens", name="CI", scope=["view"], expires="30").status_code == 200
    assert "CI" in maria.get("/settings/tokens").text


def test_ending_a_session_on_one_ends_it_on_the_other_at_once(pair: Pair) -> None:
    otto = pair.first.browser()
    assert otto.sign_in("otto").status_code == 303
    other = pair.moved(otto)
    assert other.get("/backends").status_code == 200
    sessions = pair.first.services.accounts.sessions
    [own] = [each.id for each in sessions.list(MARIA) if each.username == "otto"]
    sessions.end(MARIA, own)
    assert other.get("/backends").status_code == 303


def test_guesses_at_a_password_are_counted_together(pair: Pair) -> None:
    browsers = [pair.first.browser(), pair.second.browser()]
    for number in range(LIMITS["pair"].free_attempts):
        response = browsers[number % 2].sign_in("vera", "a wrong password")
        assert response.status_code == 401, number
    for browser in browsers:
        assert browser.sign_in("vera").status_code == 429


def test_the_requests_of_a_token_are_counted_together(pair: Pair) -> None:
    _, text = token(pair, "busy", Permission.VIEW)
    programs = [pair.program(pair.first, text), pair.program(pair.second, text)]
    seen = [programs[number % 2].get("/api/v1/backends").status_code for number in range(14)]
    # Ten at once, and one a second: how long fourteen take is this machine's business.
    allowed = seen.index(429) if 429 in seen else 14
    assert allowed >= 10
    assert set(seen[:10]) == {200}
    bucket = pair.second.services.tokens._requests
    wait_until(lambda: bool(bucket.take(text)), seconds=60, what="an empty bucket")
    assert bucket.wait(text) > 0
    assert pair.first.services.tokens._requests.wait(text) > 0


def test_a_token_that_is_revoked_on_one_is_refused_by_the_other(pair: Pair) -> None:
    number, text = token(pair, "gone", Permission.VIEW)
    program = pair.program(pair.second, text)
    assert program.get("/api/v1/backends").status_code == 200
    pair.first.services.tokens.revoke(MARIA, number)
    assert program.get("/api/v1/backends").status_code == 401


def test_a_connection_test_is_followed_on_the_other(pair: Pair, maria: Browser) -> None:
    probes = pair.first.services.probes
    run = probes.start(MARIA, "local-disk")
    wait_until(lambda: probes.get(MARIA, run).finished, seconds=60, what="the test")
    wait_until(
        lambda: pair.second.services.probes.get(MARIA, run).finished, seconds=30, what="the test over there"
    )
    assert pair.second.services.probes.get(MARIA, run) == probes.get(MARIA, run)
    otto = Actor("otto", Role.OPERATOR, "web")
    with pytest.raises(Exception, match="expired"):
        pair.second.services.probes.get(otto, run)


def test_an_upload_goes_on_at_the_other_console(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "STALE_SECONDS", -1.0)
    content = os.urandom(300_000)
    _, text = token(pair, "uploads", Permission.VIEW, Permission.WRITE_FILES)
    here, there = pair.program(pair.first, text), pair.program(pair.second, text)
    begun = here.post(
        "/api/v1/uploads",
        headers={**TUS, "Upload-Length": str(len(content)), "Upload-Metadata": "filename Zi50eHQ="},
    )
    assert begun.status_code == 201, begun.text
    path = re.sub(r"^https?://[^/]+", "", begun.headers["Location"])
    id = path.rpartition("/")[2]
    # A connection that stays open, and over which nothing comes any more.
    stalled = pair.first.services.uploads.append(MARIA, id, offset=0)
    stalled.write(content[:100_000])
    assert there.head(path, headers=TUS).status_code == 423
    assert pair.second.services.uploads.connections.give_way() == 0
    assert pair.first.services.uploads.connections.give_way() == 1
    found = there.head(path, headers=TUS)
    assert (found.status_code, found.headers["Upload-Offset"]) == (200, "100000")
    rest = {**TUS, "Upload-Offset": "100000", "Content-Type": "application/offset+octet-stream"}
    assert there.patch(path, headers=rest, data=content[100_000:]).status_code == 204
    with pytest.raises(Exception, match="another connection"):
        stalled.write(b"too late")
    received = pair.folder / "instance" / "uploads" / id
    assert received.read_bytes() == content
    assert not received.with_suffix(".asked").exists()


def test_settings_that_another_console_has_not_taken_up_are_shown(
    pair: Pair, maria: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair.folder / "instance" / ".env").write_text("STOWAGE_LANGUAGE=de\n")
    for console in (pair.first, pair.second):
        console.services.live.reload()
        assert console.services.settings.language == "de"
    version = pair.first.services.live.environment.version
    (pair.folder / "instance" / ".env").unlink()
    pair.first.services.live.reload()
    reports = {
        "web-1": {"version": version, "pending": [], "error": ""},
        "web-2": {"version": version, "pending": ["STOWAGE_PORT"], "error": ""},
    }
    for name, report in reports.items():
        monkeypatch.setattr(processes, "this_process", lambda name=name: f"elsewhere/{name}/1@1")
        monkeypatch.setattr(processes.socket, "gethostname", lambda name=name: name)
        processes.Processes(pair.first.services.database).beat(
            "web", address="0.0.0.0:8080", marker="0", settings=lambda report=report: report
        )
    page = maria.get("/settings/environment").text
    assert "The console web-1:8080 has not read these settings yet." in page
    assert "The console web-2:8080 has to be restarted, too" in page
    assert "STOWAGE_PORT" in page
    assert PASSWORD not in page
