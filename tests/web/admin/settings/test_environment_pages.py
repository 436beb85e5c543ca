"""The environment editor's page: nothing is saved that was not shown, and no secret is sent to the
browser."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.services.environment import sealed_drafts as drafts
from dashboard.services.environment.sealed_drafts import Draft
from tests.services.console import ADMIN as OTHER
from tests.web.conftest import PASSWORD, SECRET, Browser, WebConsole

PATH = "/settings/environment"


@pytest.fixture
def file(console: WebConsole) -> Iterator[Path]:
    path = console.services.settings.instance / ".env"
    yield path
    path.unlink(missing_ok=True)
    console.services.live.reload()


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    return html.unescape(found[1]) if found else ""


def review(admin: Browser, **values: str) -> str:
    return admin.post(PATH, **{f"v.{name}": value for name, value in values.items()}, action="review").text


def test_only_admins_have_the_page(admin: Browser, viewer: Browser) -> None:
    assert admin.get(PATH).status_code == 200
    for path in (PATH, f"{PATH}/backups/x"):
        assert viewer.get(path).status_code == 403
    assert viewer.post(PATH).status_code == 403
    assert viewer.post(f"{PATH}/backup").status_code == 403


def test_a_change_is_shown_and_then_saved(admin: Browser, console: WebConsole, file: Path) -> None:
    shown = review(admin, STOWAGE_UPLOAD_QUOTA="700", STOWAGE_PORT="9000")
    assert "2 changes, not saved yet" in shown
    assert "STOWAGE_UPLOAD_QUOTA=700" in shown
    assert "counts after a restart" in shown
    assert not file.exists()
    fields = {"v.STOWAGE_UPLOAD_QUOTA": "700", "v.STOWAGE_PORT": "9000", "draft": hidden(shown, "draft")}
    saved = admin.post(PATH, action="save", **fields)
    assert saved.status_code == 303
    assert file.read_text() == "STOWAGE_PORT=9000\nSTOWAGE_UPLOAD_QUOTA=700\n"
    assert console.services.settings.upload_quota == 700
    page = admin.get(PATH).text
    assert "2 changes are saved. After a restart of Stowage: STOWAGE_PORT." in page
    assert "waits for a restart" in page
    assert "Restart Stowage" in page


def test_nothing_is_saved_that_was_not_shown(admin: Browser, file: Path) -> None:
    draft = hidden(review(admin, STOWAGE_UPLOAD_QUOTA="700"), "draft")
    for fields in (
        {"v.STOWAGE_UPLOAD_QUOTA": "701", "draft": draft},
        {"v.STOWAGE_UPLOAD_QUOTA": "700", "v.STOWAGE_PORT": "1", "draft": draft},
        {"v.STOWAGE_UPLOAD_QUOTA": "700"},
        {"v.STOWAGE_UPLOAD_QUOTA": "700", "draft": "forged"},
    ):
        again = admin.post(PATH, action="save", **fields)
        assert again.status_code == 200
        assert "not saved yet" in again.text
        assert not file.exists()


def test_a_file_that_changed_meanwhile_is_not_overwritten(admin: Browser, file: Path) -> None:
    draft = hidden(review(admin, STOWAGE_UPLOAD_QUOTA="700"), "draft")
    file.write_text("# by hand\n")
    file.chmod(0o600)
    late = admin.post(PATH, action="save", draft=draft, **{"v.STOWAGE_UPLOAD_QUOTA": "700"})
    assert late.status_code == 409
    assert "changed meanwhile" in late.text
    assert file.read_text() == "# by hand\n"


def test_a_secret_never_goes_back_to_the_browser(admin: Browser, file: Path) -> None:
    shown = review(admin, AWS_SECRET_ACCESS_KEY=SECRET)
    assert SECRET not in shown
    assert "AWS_SECRET_ACCESS_KEY=set, ends in 6789" in shown
    draft = hidden(shown, "draft")
    wrong = admin.post(PATH, action="save", draft=draft, confirm="wrong")
    assert wrong.status_code == 400
    assert "Your password is wrong" in wrong.text
    assert not file.exists()
    draft = hidden(wrong.text, "draft")
    assert admin.post(PATH, action="save", draft=draft, confirm=PASSWORD).status_code == 303
    assert file.read_text() == f"AWS_SECRET_ACCESS_KEY={SECRET}\n"
    page = admin.get(f"{PATH}?category=set").text
    assert "set, ends in 6789" in page
    assert SECRET not in page
    # An empty field keeps it, and the box removes it.
    assert "Nothing changes." in review(admin, AWS_SECRET_ACCESS_KEY="")
    removal = admin.post(PATH, action="review", remove="AWS_SECRET_ACCESS_KEY").text
    fields = {"remove": "AWS_SECRET_ACCESS_KEY", "draft": hidden(removal, "draft"), "confirm": PASSWORD}
    assert admin.post(PATH, action="save", **fields).status_code == 303
    assert file.read_text() == ""
    # The backup from before holds it, and its page does not show it.
    newest = re.findall(rf'href="({PATH}/backups/[^"]+)"', admin.get(PATH).text)[0]
    compared = admin.get(newest)
    assert "set, ends in 6789" in compared.text
    assert SECRET not in compared.text
    fields = {"version": hidden(compared.text, "version")}
    assert admin.post(newest, **fields, confirm="wrong").status_code == 400
    assert admin.post(newest, **fields, confirm=PASSWORD).status_code == 303
    assert SECRET in file.read_text()


def test_a_wrong_value_is_said_at_its_field(admin: Browser, file: Path) -> None:
    page = admin.post(PATH, action="save", **{"v.STOWAGE_CLAMAV": "clamav:331O", "v.STOWAGE_PORT": "1"})
    assert page.status_code == 400
    assert 'id="STOWAGE_CLAMAV-error"' in page.text
    assert 'To correct first: <a href="#STOWAGE_CLAMAV">' in page.text
    assert 'value="clamav:331O"' in page.text
    assert not file.exists()


def test_what_is_changed_on_the_machine_is_shown_and_not_changed_by_a_forged_form(
    admin: Browser, file: Path
) -> None:
    assert "stowage env set STOWAGE_LOCAL_ROOTS" in admin.get(PATH).text
    assert "Nothing changes." in review(admin, STOWAGE_LOCAL_ROOTS="/", STOWAGE_INSTANCE="/", LD_PRELOAD="/x")
    assert not file.exists()


def test_a_search_and_a_category_leave_the_rest_alone(admin: Browser, file: Path) -> None:
    file.write_text("STOWAGE_UPLOAD_QUOTA=5\nSTOWAGE_PORT=9000\n")
    file.chmod(0o600)
    page = admin.get(f"{PATH}?q=quota").text
    assert "STOWAGE_UPLOAD_QUOTA" in page
    assert "STOWAGE_LOG_LEVEL" not in page
    assert "No variable matches" in admin.get(f"{PATH}?q=zzz").text
    assert "STOWAGE_LOG_LEVEL" not in admin.get(f"{PATH}?category=Uploads").text
    shown = admin.post(PATH, q="quota", action="review", **{"v.STOWAGE_UPLOAD_QUOTA": ""}).text
    assert "1 change, not saved yet" in shown
    admin.post(PATH, action="save", draft=hidden(shown, "draft"), **{"v.STOWAGE_UPLOAD_QUOTA": ""})
    assert file.read_text() == "STOWAGE_PORT=9000\n"


def test_a_file_that_cannot_be_read_or_edited_is_a_sentence(
    admin: Browser, console: WebConsole, file: Path
) -> None:
    file.write_text("broken\n")
    file.chmod(0o600)
    page = admin.post(f"{PATH}/backup")
    assert page.status_code == 303
    assert "cannot be edited here" in admin.get(PATH).text
    refused = admin.post(PATH, action="save", **{"v.STOWAGE_PORT": "1"})
    assert refused.status_code == 409
    assert "Line 1 of the settings file" in refused.text
    file.unlink()
    file.symlink_to(console.services.settings.key_file)
    assert "symbolic link" in admin.get(PATH).text


def test_a_draft_is_one_persons_and_ends(console: WebConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = console.services.environment
    sealed = editor.drafts.to_text(OTHER, Draft({"AWS_SECRET_ACCESS_KEY": SECRET}, "1"))
    assert SECRET not in sealed
    found = editor.drafts.from_text(OTHER, sealed)
    assert found is not None
    assert found.changes == {"AWS_SECRET_ACCESS_KEY": SECRET}
    assert SECRET not in repr(found)
    from dataclasses import replace

    assert editor.drafts.from_text(replace(OTHER, name="eve"), sealed) is None
    for text in ("", "x", "é", sealed[:-4], sealed[:40]):
        assert editor.drafts.from_text(OTHER, text) is None
    monkeypatch.setattr(drafts, "LIFETIME_SECONDS", -1.0)
    assert editor.drafts.from_text(OTHER, sealed) is None


def test_a_rotation_says_what_it_ends_and_takes_the_password(admin: Browser, console: WebConsole) -> None:
    before = console.services.keys.state().key_id
    page = admin.get("/settings/keys").text
    assert 'action="/settings/keys/rotate"' not in page
    question = admin.get("/settings/keys/rotate").text
    assert "The present recovery key stops working." in question
    for wrong in ({}, {"confirm": "wrong"}):
        refused = admin.post("/settings/keys/rotate", **wrong)
        assert refused.status_code == 400
    assert console.services.keys.state().key_id == before
    done = admin.post("/settings/keys/rotate", confirm=PASSWORD)
    assert "It is shown only now" in done.text
    assert console.services.keys.state().key_id != before
