"""Setting up, signing in and out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.services.people.passwords import check_username, suggested_username
from tests.web.conftest import ADMIN, PASSWORD, WebConsole, open_console


def test_everything_leads_to_the_setup_until_it_is_done(fresh: WebConsole) -> None:
    browser = fresh.browser()
    for path in ("/", "/backends", "/sign-in", "/nowhere"):
        response = browser.get(path)
        assert (response.status_code, response.headers["Location"]) == (303, "/setup"), path
    assert browser.get("/api/v1/backends").status_code == 409
    assert browser.get("/healthz").text == "ok\n"
    assert browser.get("/static/stowage.css").status_code == 200


def test_setup_makes_an_admin_shows_the_recovery_key_once_and_is_gone(fresh: WebConsole) -> None:
    browser = fresh.browser()
    code = fresh.services.setup.issue_code()
    assert f'value="{code}"' in browser.get(f"/setup?code={code}").text
    page = browser.post("/setup", code=code, username=ADMIN, password=PASSWORD, password_again=PASSWORD)
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    found = re.search(r'id="recovery-key">([A-Z0-9-]+)<', page.text)
    assert found
    saved = browser.post("/recovery-key.txt", recovery_key=found[1])
    assert saved.headers["Content-Disposition"] == 'attachment; filename="stowage-recovery-key.txt"'
    assert saved.headers["Cache-Control"] == "no-store"
    assert found[1] in saved.text
    overview = browser.get("/")
    assert overview.status_code == 200
    assert "local-disk" in overview.text
    assert 'class="badge ok">Healthy' in overview.text
    assert browser.get("/setup").status_code == 404
    assert browser.post("/setup", code=code, username="eve", password=PASSWORD).status_code == 404


def test_setup_says_what_is_wrong_next_to_the_field_and_keeps_what_was_typed(fresh: WebConsole) -> None:
    browser = fresh.browser()
    browser.get("/setup")
    code = fresh.services.setup.issue_code()
    wrong = browser.post("/setup", code="AAAA", username="maria", password=PASSWORD, password_again=PASSWORD)
    assert wrong.status_code == 400
    assert 'id="code-error"' in wrong.text
    assert 'value="maria"' in wrong.text
    weak = browser.post("/setup", code=code, username="maria", password="short", password_again="short")
    assert 'id="password-error"' in weak.text
    differ = browser.post("/setup", code=code, username="maria", password=PASSWORD, password_again="other")
    assert 'id="password_again-error"' in differ.text
    for page in browser.pages:
        assert PASSWORD not in page
    assert fresh.services.setup.needed()


def test_a_recovery_key_download_gives_back_only_something_like_a_key(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in("vera")
    assert browser.post("/recovery-key.txt", recovery_key="<script>").status_code == 400
    assert browser.post("/recovery-key.txt").status_code == 400


def test_a_wrong_password_says_no_more_than_an_unknown_name(console: WebConsole) -> None:
    wrong = console.browser().sign_in("vera", "not this one at all")
    unknown = console.browser().sign_in("nobody", "not this one at all")
    assert wrong.status_code == unknown.status_code == 401
    for page in (wrong, unknown):
        assert "The username or the password is wrong." in page.text
        assert "not this one" not in page.text


def test_guessing_is_slowed_down_with_a_page_that_says_so(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    console.services.setup.complete(console.services.setup.issue_code(), ADMIN, PASSWORD)
    answers = [console.browser().sign_in(ADMIN, "wrong wrong wrong").status_code for _ in range(5)]
    assert answers == [401] * 5
    last = console.browser().sign_in(ADMIN)
    assert last.status_code == 429
    assert "Too many sign-ins failed" in last.text
    assert 0 < int(last.headers["Retry-After"]) <= 30
    console.services.close()


def test_the_cookie_holds_a_token_and_its_flags(console: WebConsole) -> None:
    browser = console.browser()
    before = browser.get("/sign-in").headers["Set-Cookie"]
    cookie = browser.post("/sign-in", username="vera", password=PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert cookie.split(";")[0] != before.split(";")[0], "a session from before the sign-in must not survive"


def test_secure_cookies_are_bound_to_the_host_and_https(tmp_path: Path) -> None:
    console = open_console(tmp_path, secure_cookies=True)
    response = console.browser().get("/setup", base_url="https://localhost")
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-stowage=")
    assert "Secure" in cookie
    assert response.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    console.services.close()


def test_signing_out_ends_every_session_even_a_stolen_one(console: WebConsole) -> None:
    here, elsewhere = console.browser(), console.browser()
    here.sign_in("otto")
    elsewhere.sign_in("otto")
    stolen = console.app.test_client()
    cookie = here.client.get_cookie("stowage")
    assert cookie
    stolen.set_cookie("stowage", cookie.value)
    assert stolen.get("/backends").status_code == 200
    here.get("/")
    assert here.post("/sign-out").status_code == 303
    assert here.client.get("/backends").status_code == 303
    assert elsewhere.client.get("/backends").status_code == 303
    assert stolen.get("/backends").status_code == 303


def test_a_new_password_signs_out_everywhere_but_here(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    console.services.setup.complete(console.services.setup.issue_code(), ADMIN, PASSWORD)
    here, elsewhere = console.browser(), console.browser()
    here.sign_in(ADMIN)
    elsewhere.sign_in(ADMIN)
    here.get("/settings")
    new = "other quite unrelated words"
    wrong = here.post("/settings/password", current="no", password=new, password_again=new)
    assert wrong.status_code == 400
    assert 'id="current-error"' in wrong.text
    done = here.post("/settings/password", current=PASSWORD, password=new, password_again=new)
    assert done.status_code == 303
    assert "signed out everywhere else" in here.get("/settings").text
    assert elsewhere.get("/settings").status_code == 303
    console.services.close()


def test_setup_says_what_a_user_name_may_hold_before_and_proposes_one(fresh: WebConsole) -> None:
    browser = fresh.browser()
    code = fresh.services.setup.issue_code()
    page = browser.get("/setup").text
    assert "Letters, digits, dots, hyphens and underscores, no spaces" in page
    # The browser itself refuses “Ann Smith” before anything is sent, so both passwords stay.
    assert re.search(r'name="username"[^>]* pattern="\[A-Za-z0-9\._\\-\]\+"', page)
    sent = browser.post("/setup", code=code, username="Ann Smith", password=PASSWORD, password_again=PASSWORD)
    assert sent.status_code == 400
    assert 'value="ann.smith"' in sent.text
    assert "“ann.smith” is filled in instead of “Ann Smith”." in sent.text
    assert f'value="{code}"' in sent.text
    assert "Type both passwords again." in sent.text
    assert PASSWORD not in sent.text
    wrong = browser.post("/setup", code=code, username="ann.smith", password=PASSWORD, password_again="x")
    assert "Type both passwords again." not in wrong.text
    done = browser.post("/setup", code=code, username="Ann.Smith", password=PASSWORD, password_again=PASSWORD)
    assert done.status_code == 200


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("Ann Smith", "ann.smith"),
        ("Zoë  Ågren-Núñez", "zoe.agren-nunez"),
        ("<b>x</b>", "bxb"),
        ("日本", ""),
        ("a" * 300, "a" * 64),
        ("..", ""),
    ],
)
def test_a_user_name_is_proposed_that_is_accepted(typed: str, proposed: str) -> None:
    assert suggested_username(typed) == proposed
    if proposed:
        assert check_username(proposed) == proposed
