"""The page that makes a backend active: tested live, compared first, and the former one kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.storage.types import Secret
from tests.servers.processes import wait_until
from tests.services.composed import fill, running
from tests.web.conftest import Browser, WebConsole, add_bucket

OWNER = Actor("maria", Role.ADMIN, "web")


def add_folder(console: WebConsole, name: str, root: Path) -> Path:
    root.mkdir()
    console.services.backends.add(OWNER, Draft(name, "local", {"root": str(root)}, {}))
    return root


def compared(browser: Browser, console: WebConsole, name: str) -> str:
    """The page once its test and its comparison have finished."""
    address = browser.post(f"/backend/{name}/comparison").location
    with running(console.services):
        wait_until(
            lambda: "hx-get" not in browser.get(address).text.split('id="comparison"')[1].split(">")[0],
            seconds=60,
            what="the test and the comparison",
        )
    return browser.get(address).text


def active(console: WebConsole) -> str:
    return console.services.backends.summary().active


@pytest.fixture
def back(console: WebConsole) -> Callable[[], None]:
    """Makes the first backend active again."""

    def switch() -> None:
        console.services.activation.activate(OWNER, "local-disk")
        console.services.backends.fallback_order(OWNER, [])

    return switch


def test_what_is_missing_is_shown_and_the_former_backend_is_kept(
    admin: Browser, console: WebConsole, tmp_path: Path, back: Callable[[], None]
) -> None:
    disk = Path(console.services.backends.get("local-disk").options["root"])
    fill(disk, {f"photos/{number:03}.jpg": 2 for number in range(30)})
    fill(add_folder(console, "demo", tmp_path / "demo"), {"photos/000.jpg": 2})
    assert "Not compared yet." in admin.get("/backend/demo/activate").text
    page = compared(admin, console, "demo")
    assert "1 of 30 objects are there; 29 are missing." in page
    assert "Stores, reads and removes a test object" in page
    assert "photos/001.jpg" in page
    assert "and 9 more" in page
    assert re.search(r'value="fallback" checked', page)
    assert re.search(r'class="btn primary" id="migrate-first"[^>]*>Copy what is missing<', page)
    assert page.count("btn primary") == 1
    # Files go missing only with their number, and the choice is still there after a wrong one.
    refused = admin.post("/backend/demo/activate", keep="none", seen_active="local-disk", missing="28")
    assert refused.status_code == 400
    assert "Enter 29 to confirm" in refused.text
    assert re.search(r'value="none" checked', refused.text)
    assert active(console) == "local-disk"
    done = admin.post("/backend/demo/activate", keep="fallback", seen_active="local-disk")
    assert done.status_code == 303
    after = admin.get(done.location).text
    assert "New files now go to demo. Reads look in demo, then local-disk." in after
    assert [each.name for each in console.services.backends.summary().fallback] == ["local-disk"]
    # One click undoes it, with the fields of the button on the page.
    form = re.search(r'<form[^>]*action="(/backend/local-disk/activate)">(.*?)</form>', after, re.DOTALL)
    assert form
    fields = dict(re.findall(r'name="(keep|seen_active)" value="([^"]*)"', form[2]))
    assert admin.post(form[1], **fields).status_code == 303
    assert active(console) == "local-disk"
    back()


def test_a_backend_that_is_down_is_not_offered_but_its_name_can_be_typed(
    admin: Browser, console: WebConsole, back: Callable[[], None]
) -> None:
    assert add_bucket(admin, name="legacy").status_code == 303
    page = compared(admin, console, "legacy")
    assert "legacy cannot take files now." in page
    # Its first check found that, or will.
    console.services.checks.check_backend(console.services.backends.get("legacy").id)
    assert "<dt>Down since</dt>" in compared(admin, console, "legacy")
    assert "Test again" in page
    assert 'id="switch"' not in page
    refused = admin.post("/backend/legacy/activate", keep="fallback", seen_active="local-disk")
    assert refused.status_code == 409
    assert "cannot take files now" in refused.text
    assert 'name="override"' in refused.text
    wrong = admin.post("/backend/legacy/activate", override="local-disk")
    assert (wrong.status_code, active(console)) == (400, "local-disk")
    assert "“local-disk” is not the name of the backend." in wrong.text
    assert admin.post("/backend/legacy/activate", override="legacy").status_code == 303
    assert active(console) == "legacy"
    assert [each.name for each in console.services.backends.summary().fallback] == ["local-disk"]
    back()


def test_the_last_check_decides_until_there_is_a_test(
    console: WebConsole, admin: Browser, tmp_path: Path
) -> None:
    draft = Draft("known", "local", {"root": str(tmp_path)}, {})
    console.services.backends.add(OWNER, draft)
    backend = console.services.backends.get("known")
    for badge in (Badge.DOWN, Badge.READ_ONLY):
        console.services.status.record_check(backend.id, badge, None, "The disk is gone.", "Mount it.")
        page = admin.get("/backend/known/activate").text
        assert "known cannot take files now." in page
        assert "The disk is gone. Mount it." in page
        assert 'id="switch"' not in page
    console.services.status.record_check(backend.id, Badge.HEALTHY, 1.0)
    assert 'id="switch"' in admin.get("/backend/known/activate").text


def test_a_backend_that_dies_after_the_test_and_another_switch_are_noticed(
    admin: Browser, console: WebConsole, tmp_path: Path
) -> None:
    root = add_folder(console, "mortal", tmp_path / "mortal")
    assert "Stores, reads and removes a test object" in compared(admin, console, "mortal")
    late = admin.post("/backend/mortal/activate", keep="fallback", seen_active="somebody-elses")
    assert late.status_code == 409
    assert "“local-disk” was made active meanwhile." in late.text
    shutil.rmtree(root)
    dead = admin.post("/backend/mortal/activate", keep="fallback", seen_active="local-disk")
    assert dead.status_code == 409
    assert "cannot take files now" in dead.text
    assert active(console) == "local-disk"


def test_a_stored_password_is_in_the_options_and_in_the_command(admin: Browser, console: WebConsole) -> None:
    secret = Secret("canary-password-0123")
    options = {"host": "127.0.0.1", "port": "9", "user": "maria"}
    console.services.backends.add(OWNER, Draft("old-ftp", "ftp", options, {"password": secret}))
    page = admin.get("/backend/old-ftp?use=Command+line").text
    assert "--secret password=env:PASSWORD" in page
    assert "<dt>Password</dt><dd><bdi>set</bdi></dd>" in page
    assert "canary-password" not in page
