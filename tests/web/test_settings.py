"""Users, keys and the audit log."""

from __future__ import annotations

import re
from pathlib import Path

from tests.web.conftest import ADMIN, PASSWORD, SECRET, Browser, WebConsole, add_bucket, open_console


def test_people_are_added_promoted_and_shut_out(admin: Browser, console: WebConsole) -> None:
    bad = admin.post("/settings/users", username="Bad Name!", password=PASSWORD, role="viewer")
    assert bad.status_code == 400
    assert 'id="username-error"' in bad.text
    assert PASSWORD not in bad.text
    assert admin.post("/settings/users", username="nils", password=PASSWORD, role="viewer").status_code == 303
    assert admin.post("/settings/users/nils/role", role="operator").status_code == 303
    assert admin.post("/settings/users/nils/role", role="emperor").status_code == 400
    nils = console.browser()
    assert nils.sign_in("nils").status_code == 303
    assert admin.post("/settings/users/nils/disabled", disabled="true").status_code == 303
    assert nils.get("/").status_code == 303
    assert "Disabled" in admin.get("/settings/users").text
    assert admin.post("/settings/users/nils/disabled", disabled="false").status_code == 303
    new = "other quite unrelated words"
    assert admin.post("/settings/users/nils/password", password=new).status_code == 303
    assert console.browser().sign_in("nils", new).status_code == 303


def test_the_last_admin_stays_one(admin: Browser) -> None:
    assert admin.post(f"/settings/users/{ADMIN}/role", role="viewer").status_code == 409
    assert admin.post(f"/settings/users/{ADMIN}/disabled", disabled="true").status_code == 409


def test_rotating_shows_the_new_recovery_key_once_and_it_restores_a_lost_file(tmp_path: Path) -> None:
    console = open_console(tmp_path)
    console.services.setup.complete(console.services.setup.issue_code(), ADMIN, PASSWORD)
    admin = console.browser()
    admin.sign_in(ADMIN)
    assert add_bucket(admin).status_code == 303
    page = admin.post("/settings/keys/rotate", confirm=PASSWORD)
    found = re.search(r'id="recovery-key">([A-Z0-9-]+)<', page.text)
    assert found
    assert found[1] not in admin.get("/settings/keys").text

    key_file = console.services.settings.key_file
    key_file.chmod(0o600)
    key_file.unlink()
    sealed = admin.get("/")
    assert "This console is sealed." in sealed.text
    assert "Unseal it" in sealed.text
    assert add_bucket(admin, name="while-sealed").status_code == 503
    wrong = admin.post("/settings/keys/restore", recovery_key="AAAA-BBBB")
    assert wrong.status_code == 400
    assert 'id="recovery_key-error"' in wrong.text
    assert admin.post("/settings/keys/restore", recovery_key=found[1]).status_code == 303
    assert "This console is sealed." not in admin.get("/").text
    console.services.close()


def test_the_audit_log_names_who_did_what_and_no_secret(admin: Browser) -> None:
    assert add_bucket(admin, name="audited").status_code == 303
    page = admin.get("/audit").text
    assert "audited" in page
    assert "added the backend" in page
    assert SECRET not in page
    only = admin.get("/audit?action=setup").text
    assert "added the backend" not in only
    assert "Nothing matches" in admin.get("/audit?actor=nobody").text


def test_settings_say_what_this_instance_is(admin: Browser, console: WebConsole) -> None:
    page = admin.get("/settings").text
    assert str(console.services.settings.instance) in page
    assert "flask-admin" in page
