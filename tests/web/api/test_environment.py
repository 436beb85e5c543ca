"""The settings file over the API."""

from __future__ import annotations

from tests.web.api.conftest import NewProgram
from tests.web.conftest import ADMIN, PASSWORD, SECRET, Browser, WebConsole

PATH = "/api/v1/environment"


def test_it_is_read_and_changed_and_masked(console: WebConsole, new_program: NewProgram) -> None:
    program = new_program("environment")
    before = program.get(PATH).json
    assert before["exists"] is False
    change = {
        "set": {"STOWAGE_UPLOAD_QUOTA": "5", "AWS_SECRET_ACCESS_KEY": SECRET},
        "version": before["version"],
    }
    planned = program.send("PATCH", PATH, {**change, "dry_run": True})
    assert (planned.status_code, planned.json["saved"]) == (200, False)
    assert console.services.settings.upload_quota == 0
    saved = program.send("PATCH", PATH, change)
    assert [each["name"] for each in saved.json["changes"]] == [
        "STOWAGE_UPLOAD_QUOTA",
        "AWS_SECRET_ACCESS_KEY",
    ]
    assert console.services.settings.upload_quota == 5
    assert program.send("PATCH", PATH, change).status_code == 409
    after = program.post(f"{PATH}/reload")
    named = {each["name"]: each for each in after.json["variables"]}
    assert named["AWS_SECRET_ACCESS_KEY"]["value"] == "set, ends in 6789"
    assert named["STOWAGE_LOCAL_ROOTS"]["locked"]
    assert all(SECRET not in each.text for each in (planned, saved, after))
    assert (
        program.send("PATCH", PATH, {"unset": ["AWS_SECRET_ACCESS_KEY", "STOWAGE_UPLOAD_QUOTA"]}).status_code
        == 200
    )


def test_what_cannot_be_changed_says_why(console: WebConsole, new_program: NewProgram) -> None:
    program = new_program("environment")
    for name, value in (
        ("STOWAGE_PORT", "x"),
        ("STOWAGE_LOCAL_ROOTS", "/"),
        ("LD_PRELOAD", "/x"),
        ("STOWAGE_HOSTS", "elsewhere.example.com"),
        ("STOWAGE_SECURE_COOKIES", "true"),
    ):
        for dry_run in (True, False):
            refused = program.send("PATCH", PATH, {"set": {name: value}, "dry_run": dry_run})
            # The console of the tests is reached as localhost, which every list allows.
            if name == "STOWAGE_HOSTS" and refused.status_code == 200:
                program.send("PATCH", PATH, {"unset": [name]})
                continue
            assert refused.status_code == 400, name
            assert refused.json["error"]["subject"] == name
    both = program.send("PATCH", PATH, {"set": {"STOWAGE_PORT": "1"}, "unset": ["STOWAGE_PORT"]})
    assert both.status_code == 400
    other = console.browser()
    locked = other.client.patch(
        PATH,
        json={"set": {"STOWAGE_HOSTS": "elsewhere.example.com"}},
        headers={"Authorization": f"Bearer {program.token}", "Host": "stowage.example.com"},
    )
    assert locked.status_code == 400
    assert "lock you out" in locked.json["error"]["reason"]


def test_only_its_own_scope_opens_it(new_program: NewProgram) -> None:
    program = new_program("configure", "users", "audit", "view")
    for method, path in (("GET", PATH), ("PATCH", PATH), ("POST", f"{PATH}/reload")):
        assert program.send(method, path, {} if method == "PATCH" else None).status_code == 403
    assert program.post("/environment-variables/reload").status_code == 403


def test_a_browser_needs_the_password_for_a_secret(admin: Browser, console: WebConsole) -> None:
    body = {"set": {"AWS_SECRET_ACCESS_KEY": SECRET}}
    headers = {"X-CSRFToken": admin.token}
    refused = admin.client.patch(PATH, json=body, headers=headers)
    assert (refused.status_code, refused.json["error"]["subject"]) == (400, "confirm")
    done = admin.client.patch(PATH, json={**body, "password": PASSWORD}, headers=headers)
    assert done.status_code == 200
    assert console.services.audit.rows(action="environment.change")[0].actor == ADMIN
    undone = admin.client.patch(
        PATH, json={"unset": ["AWS_SECRET_ACCESS_KEY"], "password": PASSWORD}, headers=headers
    )
    assert undone.status_code == 200
