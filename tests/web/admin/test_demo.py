"""Demo users: signed in with one click while the setting is on, gone without it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.services.people.demo_users import MAX_SESSIONS
from dashboard.services.permissions import Actor, Role
from dashboard.settings import Settings
from tests.web.conftest import ADMIN, PASSWORD, Browser, WebConsole, open_console, set_up

NAMES = ["demo-admin", "demo-operator", "demo-viewer"]
WHO = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture
def demo(tmp_path: Path) -> WebConsole:
    return open_console(tmp_path, demo=True)


def offered(browser: Browser) -> list[str]:
    page = browser.get("/sign-in").text
    return re.findall(r'name="username" value="([^"]+)"><button', page)


def one_click(browser: Browser, name: str) -> int:
    browser.get("/sign-in")
    return browser.post("/sign-in/demo", username=name).status_code


def test_a_new_instance_needs_no_setup_and_says_that_it_is_a_demo(demo: WebConsole) -> None:
    browser = demo.browser()
    assert offered(browser) == NAMES
    assert "This is a demo." in browser.pages[-1]
    assert one_click(browser, "demo-admin") == 303
    page = browser.get("/settings/users")
    assert page.status_code == 200
    assert "This is a demo." in page.text
    viewer = demo.browser()
    assert one_click(viewer, "demo-viewer") == 303
    assert viewer.get("/settings/users").status_code == 403


def test_one_click_needs_a_token_and_a_demo_user(demo: WebConsole) -> None:
    demo.services.accounts.add(WHO, "ann.smith", PASSWORD, Role.ADMIN)
    browser = demo.browser()
    browser.get("/sign-in")
    assert browser.post("/sign-in/demo", with_token=False, username="demo-admin").status_code == 400
    for name in ("ann.smith", "nobody", "", "demo-admin,demo-viewer"):
        assert one_click(browser, name) == 403, name
    assert browser.get("/settings").status_code == 303


def test_nobody_signs_in_as_a_demo_user_with_a_password(demo: WebConsole) -> None:
    browser = demo.browser()
    browser.get("/sign-in")
    for password in ("", "no password signs this user in", "demo-admin"):
        assert browser.post("/sign-in", username="demo-admin", password=password).status_code in (401, 429)


def test_a_start_without_the_setting_disables_them_and_ends_their_sessions(tmp_path: Path) -> None:
    with_demo = open_console(tmp_path, demo=True)
    browser = with_demo.browser()
    assert one_click(browser, "demo-admin") == 303
    with_demo.services.accounts.add(WHO, "ann.smith", PASSWORD, Role.ADMIN)
    with_demo.services.close()

    without = open_console(tmp_path)
    later = Browser(without.app.test_client())
    cookie = browser.client.get_cookie("stowage")
    assert cookie
    later.client.set_cookie("stowage", cookie.value)
    assert later.get("/settings").status_code == 303
    assert offered(later) == []
    assert "This is a demo." not in later.pages[-1]
    assert later.post("/sign-in/demo", username="demo-admin").status_code == 403
    users = {user.username: user.disabled for user in without.services.accounts.list()}
    assert users == {**dict.fromkeys(NAMES, True), "ann.smith": False}
    without.services.close()

    again = open_console(tmp_path, demo=True)
    assert offered(again.browser()) == NAMES
    again.services.close()


def test_without_the_setting_there_are_none_and_a_user_of_that_name_is_left_alone(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    set_up(console)
    console.services.accounts.add(WHO, "demo-admin", PASSWORD, Role.VIEWER)
    assert offered(console.browser()) == []
    console.services.close()
    with_demo = open_console(tmp_path, demo=True)
    assert offered(with_demo.browser()) == ["demo-operator", "demo-viewer"]
    assert one_click(with_demo.browser(), "demo-admin") == 403
    with_demo.services.close()
    after = open_console(tmp_path)
    users = {user.username: user for user in after.services.accounts.list()}
    assert (users["demo-admin"].disabled, users["demo-admin"].role) == (False, Role.VIEWER)
    after.services.close()


def test_sessions_of_a_demo_user_do_not_pile_up(demo: WebConsole) -> None:
    service = demo.services.setup.demo
    tokens = [service.sign_in("demo-viewer", "127.0.0.1") for _ in range(MAX_SESSIONS + 5)]
    alive = [demo.services.accounts.is_signed_in(token) for token in tokens]
    assert alive == [False] * 5 + [True] * MAX_SESSIONS


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({"DEMO": "1"}, True),
        ({"STOWAGE_DEMO": "true"}, True),
        ({"DEMO": "1", "STOWAGE_DEMO": "0"}, False),
        ({}, False),
    ],
)
def test_the_setting_has_two_names(tmp_path: Path, environ: dict[str, str], on: bool) -> None:
    assert Settings.from_env(environ, instance=tmp_path).demo is on
