"""Language, time zone and theme of one's own pages: on the page, in the API, and without a choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from dashboard.errors import InvalidInput
from dashboard.services.people.preferences import Preferences, Theme, time_zones
from dashboard.services.permissions import Actor, Permission, Role
from tests.web.conftest import Browser, WebConsole

PAGE = "/settings/preferences"
GERMAN = {"Accept-Language": "de-AT,de;q=0.8,en;q=0.5"}


@pytest.fixture(autouse=True)
def nothing_chosen(console: WebConsole, admin: Browser) -> Iterator[None]:
    yield
    console.services.accounts.preferences.change(
        Actor("maria", Role.ADMIN, "web"), language="", time_zone="", theme=""
    )


def language_of(page: str) -> str:
    found = re.search(r'<html lang="(\w+)"', page)
    assert found
    return found[1]


def test_the_browser_decides_until_somebody_chooses(console: WebConsole, admin: Browser) -> None:
    assert language_of(admin.get(PAGE).text) == "en"
    german = admin.get(PAGE, headers=GERMAN).text
    assert language_of(german) == "de"
    assert "Zeitzone" in german
    assert language_of(admin.get(PAGE, headers={"Accept-Language": "fr, *;q=0.1"}).text) == "en"
    assert admin.post(PAGE, language="en", time_zone="", theme="").status_code == 303
    assert language_of(admin.get(PAGE, headers=GERMAN).text) == "en"
    assert language_of(console.browser().get("/sign-in", headers=GERMAN).text) == "de"


def test_a_choice_is_of_one_person(admin: Browser, signed_in: Callable[[str], Browser]) -> None:
    admin.post(PAGE, language="de", time_zone="Asia/Tokyo", theme="dark")
    page = admin.get(PAGE).text
    assert 'data-theme="dark"' in page
    assert '<option value="Asia/Tokyo" selected>Tokyo</option>' in page
    assert 'value="dark" checked' in page
    other = signed_in("vera").get(PAGE).text
    assert language_of(other) == "en"
    assert 'name="theme" value="" checked' in other
    assert "data-theme" not in other.split(">", 2)[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("language", "xx"), ("language", "de\0"), ("time_zone", "Europe/Atlantis"), ("time_zone", "posixrules/"),
     ("time_zone", "../../etc/passwd"), ("theme", "pink"), ("theme", "<script>")],
)  # fmt: skip
def test_what_there_is_not_is_refused_whole(admin: Browser, field: str, value: str) -> None:
    admin.post(PAGE, language="de", time_zone="UTC", theme="light")
    response = admin.post(PAGE, **{"language": "en", "time_zone": "", "theme": "", field: value})
    assert response.status_code == 400
    assert f'id="{field}-error"' in response.text
    assert "<script>" not in response.text.split("<main")[1]
    kept = admin.client.get("/api/v1/account/preferences").json
    assert kept == {"language": "de", "time_zone": "UTC", "theme": "light"}


def test_times_are_in_the_zone_that_was_chosen(console: WebConsole, admin: Browser) -> None:
    admin.post(PAGE, language="", time_zone="Asia/Tokyo", theme="")
    page = admin.get("/audit").text
    assert "JST" in page
    assert "data-clock" not in page, "a script would show another time"
    assert "your time (Asia/Tokyo)" in page
    admin.post(PAGE, language="", time_zone="", theme="")
    page = admin.get("/audit").text
    assert "JST" not in page
    assert "data-clock" in page


def test_the_button_of_the_theme_stores_it(admin: Browser) -> None:
    page = admin.get(PAGE).text
    assert 'data-saves="/settings/preferences/theme"' in page
    assert admin.post("/settings/preferences/theme", theme="dark").status_code == 204
    assert admin.client.get("/api/v1/account/preferences").json["theme"] == "dark"
    assert admin.post("/settings/preferences/theme", theme="dark", with_token=False).status_code == 400


def test_the_api_changes_what_is_sent_and_nothing_else(console: WebConsole, admin: Browser) -> None:
    admin.post(PAGE, language="de", time_zone="Asia/Tokyo", theme="dark")
    changed = admin.client.patch(
        "/api/v1/account/preferences", json={"time_zone": ""}, headers={"X-CSRFToken": admin.token}
    )
    assert changed.json == {"language": "de", "time_zone": "", "theme": "dark"}
    wrong = admin.client.patch(
        "/api/v1/account/preferences", json={"language": "Deutsch"}, headers={"X-CSRFToken": admin.token}
    )
    assert wrong.status_code == 400
    assert wrong.json is not None
    assert wrong.json["error"]["subject"] == "language"


def test_a_token_sees_preferences_and_changes_none(console: WebConsole) -> None:
    actor = Actor("maria", Role.ADMIN, "web")
    made = console.services.tokens.create(actor, "reader", [Permission.VIEW, Permission.CONFIGURE])
    client = console.app.test_client()
    bearer = {"Authorization": f"Bearer {made.secret.reveal()}"}
    assert client.get("/api/v1/account/preferences", headers=bearer).json == {
        "language": "", "time_zone": "", "theme": None,
    }  # fmt: skip
    refused = client.patch("/api/v1/account/preferences", json={"theme": "dark"}, headers=bearer)
    assert refused.status_code == 403


def test_what_a_later_version_stored_is_left_out(console: WebConsole) -> None:
    own = console.services.accounts.preferences
    with console.services.database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE users SET language = 'eo', time_zone = 'Mars/Base', theme = 'sepia'"
        )
    assert own.of("maria") == Preferences()


def test_an_invalid_choice_changes_nothing(console: WebConsole) -> None:
    own, actor = console.services.accounts.preferences, Actor("maria", Role.ADMIN, "web")
    own.change(actor, language="de", time_zone="UTC", theme=Theme.DARK)
    with pytest.raises(InvalidInput, match="no such time zone"):
        own.change(actor, language="en", time_zone="Nowhere")
    assert own.of("maria") == Preferences("de", "UTC", Theme.DARK)


def test_the_list_of_time_zones_has_the_places_people_look_for() -> None:
    zones = time_zones()
    assert zones[0] == "UTC"
    assert {"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"} <= set(zones)
    assert list(zones[1:]) == sorted(zones[1:])


def test_each_request_is_answered_in_its_own_language(console: WebConsole, admin: Browser) -> None:
    with console.app.app_context():
        # An application's context outlives a request: what was found out about one must not.
        assert language_of(admin.get(PAGE, headers=GERMAN).text) == "de"
        assert language_of(admin.get(PAGE).text) == "en"
    admin.post(PAGE, language="de", time_zone="Asia/Tokyo", theme="")
    assert language_of(admin.get(PAGE).text) == "de"
    assert "JST" in admin.get("/audit").text
    missing = admin.get("/nowhere")
    assert (missing.status_code, language_of(missing.text)) == (404, "de")
    outside = console.browser().get("/nowhere", headers=GERMAN)
    assert language_of(outside.text) == "de"


def test_who_has_just_signed_out_is_asked_what_a_stranger_is(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in("otto")
    person = Actor("otto", Role.OPERATOR, "web")
    console.services.accounts.preferences.change(person, language="de")
    try:
        assert language_of(browser.get(PAGE).text) == "de"
        browser.post("/sign-out")
        assert language_of(browser.get("/sign-in").text) == "en"
    finally:
        console.services.accounts.preferences.change(person, language="")
