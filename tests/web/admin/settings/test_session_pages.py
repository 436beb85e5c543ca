"""Sessions and two-factor sign-in in the browser."""

from __future__ import annotations

import re
import time
from pathlib import Path

from dashboard.services.people.sign_in_sessions import describe_device
from dashboard.vault.one_time_codes import STEP_SECONDS, code_at
from tests.web.conftest import ADMIN, PASSWORD, WebConsole, open_console, set_up


def secret_of(page: str) -> str:
    found = re.search(r'id="totp-secret"[^>]*>([A-Z2-7]+)<', page)
    assert found
    return found[1]


def current_code(secret: str, ahead: int = 0) -> str:
    return code_at(secret, int(time.time() // STEP_SECONDS) + ahead)


def test_the_whole_way_from_setting_it_up_to_signing_in_and_resetting(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    set_up(console)
    vera = console.browser()
    assert vera.sign_in("vera").status_code == 303
    assert "Set it up" in vera.get("/settings/sessions").text
    assert vera.post("/settings/sessions/two-factor", confirm="wrong").status_code == 400
    shown = vera.post("/settings/sessions/two-factor", confirm=PASSWORD).text
    secret = secret_of(shown)
    assert "<svg" in shown
    assert "style=" not in shown
    wrong = vera.post("/settings/sessions/two-factor/confirm", code="000000")
    assert wrong.status_code == 400
    assert secret_of(wrong.text) == secret
    done = vera.post("/settings/sessions/two-factor/confirm", code=current_code(secret))
    codes = re.findall(r"[a-z2-7]{4}(?:-[a-z2-7]{4}){3}", done.text)
    assert len(codes) == 10
    page = vera.get("/settings/sessions").text
    assert secret not in page
    assert codes[0] not in page

    again = console.browser()
    asked = again.sign_in("vera")
    assert asked.status_code == 303
    assert asked.location.endswith("/sign-in/code")
    assert again.get("/settings").status_code == 303, "a password alone opens nothing"
    assert "six digits" in again.get("/sign-in/code").text
    assert again.post("/sign-in/code", code="000000").status_code == 401
    assert again.post("/sign-in/code", code=current_code(secret, 1)).status_code == 303
    assert again.get("/settings").status_code == 200
    third = console.browser()
    third.sign_in("vera")
    third.get("/sign-in/code")
    assert third.post("/sign-in/code", code=codes[0]).status_code == 303
    assert console.browser().get("/sign-in/code").status_code == 303

    admin = console.browser()
    admin.sign_in(ADMIN)
    assert "two-factor" in admin.get("/settings/users").text
    assert vera.post("/settings/users/otto/two-factor").status_code == 403
    assert admin.post("/settings/users/vera/two-factor").status_code == 303
    assert vera.get("/settings").status_code == 303
    assert console.browser().sign_in("vera").location.endswith("/")
    console.services.close()


def test_sessions_are_listed_and_ended(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    set_up(console)
    here, there = console.browser(), console.browser()
    there.client.environ_base["HTTP_USER_AGENT"] = "Mozilla/5.0 (X11; Linux) Firefox/128.0"
    for browser in (here, there):
        browser.sign_in("vera")
    page = here.get("/settings/sessions").text
    assert "Firefox on Linux" in page
    assert "this one" in page
    assert ADMIN not in page
    ends = re.findall(r'action="(/settings/sessions/\d+/end)"', page)
    assert len(ends) == 1
    assert here.post(ends[0]).status_code == 303
    assert there.get("/settings").status_code == 303
    assert here.post(ends[0]).status_code == 404
    assert here.post("/settings/sessions/end-others").status_code == 303
    assert here.get("/settings").status_code == 200
    console.services.close()


def test_an_expired_sign_in_begins_again(console: WebConsole) -> None:
    browser = console.browser()
    browser.get("/sign-in")
    late = browser.post("/sign-in/code", code="000000")
    assert late.status_code == 303
    assert "has expired" in browser.get(late.location).text
    assert describe_device("") == "Unknown browser"
