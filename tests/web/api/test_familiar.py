"""The addresses of other consoles, as docs/api.md lists them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from dashboard.web.api.control import familiar_files
from tests.services.composed import running
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import Browser, WebConsole

SECRET = "canary/SECRET+value=0123456789"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "api.md"


@pytest.fixture(scope="module")
def program(new_program: NewProgram, console: WebConsole) -> ApiProgram:
    root = Path(console.services.backends.get("local-disk").options["root"])
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "a ü.txt").write_text("hello")
    return new_program("view", "test", "configure", "read_files", "write_files", "environment")


def test_the_state_of_the_storage(program: ApiProgram) -> None:
    for path in ("/admin/storage/status/", "/admin/storage/health/"):
        found = program.get(path)
        assert found.status_code == 200
        assert found.json["success"] is True
        health = found.json["health"]
        assert health["overall_status"] in ("healthy", "unknown")
        assert health["active_storage"]["type"] == "local"
        assert health["active_storage"]["name"] == "local-disk"
        assert set(health["file_counts"]) == {"local", "cloud", "total_size_mb", "backends"}
        assert "local-disk" in health["file_counts"]["backends"]
    info = program.get("/admin/storage-service/info").json
    assert (info["active"], info["backends"]) == ("local-disk", ["local-disk"])


def test_a_connection_is_tested_and_everything_counted(program: ApiProgram) -> None:
    for path in ("/admin/storage/test-connection/", "/admin/storage-service/test-connection"):
        assert program.post(path).json == {"success": True, "message": "Connected"}
    assert program.post("/admin/storage/update-counts/").json["success"] is True


def test_values_of_the_environment_are_never_shown(
    program: ApiProgram, console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert console.services.settings.environment is not None
    started_with = console.services.settings.environment.process
    monkeypatch.setitem(started_with, "AWS_SECRET_ACCESS_KEY", SECRET)
    found = program.get("/environment-variables")
    named = {each["name"]: each for each in found.json["variables"]}
    assert named["AWS_SECRET_ACCESS_KEY"] == {
        "name": "AWS_SECRET_ACCESS_KEY",
        "is_set": True,
        "sets": "secret_access_key",
    }
    assert named["STORAGE_TYPE"]["sets"] == "preset"
    assert SECRET not in found.text
    reloaded = program.post("/environment-variables/reload").json
    assert reloaded == {"success": True, "message": "The settings file has been read again."}


def send_file(program: ApiProgram, data: bytes, name: str) -> TestResponse:
    path = "/api/files/upload"
    sent = program.client.post(
        f"{path}?disk=local-disk&folder=in",
        data={"file": (io.BytesIO(data), name)},
        headers={"Authorization": f"Bearer {program.token}"},
    )
    program.document.check("POST", path, sent)
    return sent


def test_an_uploaded_file_has_a_path_and_a_url_once_it_is_stored(
    program: ApiProgram, console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(familiar_files, "WAIT_SECONDS", 60.0)
    with running(console.services):
        sent = send_file(program, b"content", "stored.txt")
        assert sent.status_code == 201, sent.text
        assert (sent.json["path"], sent.json["size"]) == ("in/stored.txt", 7)
        wrong = send_file(program, b"no image", "wrong.png")
        assert (wrong.status_code, wrong.json["error"]["kind"]) == (415, "wrong_type")
    shown = program.get(sent.json["url"])
    assert (shown.status_code, shown.data) == (200, b"content")
    shown.close()
    monkeypatch.setattr(familiar_files, "WAIT_SECONDS", 0.0)
    late = send_file(program, b"content", "late.txt")
    assert (late.status_code, late.json["path"], late.json["url"]) == (202, None, None)
    assert program.get(late.json["upload"]).json["state"] == "checking"
    assert late.headers["Location"] == late.json["upload"]


def test_files_are_described_and_downloaded(program: ApiProgram) -> None:
    headers = {"Authorization": f"Bearer {program.token}"}
    info = program.get("/api/files/info/docs/a%20%C3%BC.txt?disk=local-disk").json
    assert (info["path"], info["size"]) == ("docs/a ü.txt", 5)
    assert info["modified"] > 0
    for address in (info["url"], "/api/files/download/docs/a%20%C3%BC.txt"):
        response = program.client.get(address, headers=headers)
        assert (response.status_code, response.data) == (200, b"hello")
        response.close()
    missing = program.get("/api/files/info/docs/none.txt")
    assert (missing.status_code, missing.json["error"]["kind"]) == (404, "not_found")
    assert program.get("/api/files/download/docs/none.txt").status_code == 404
    assert program.get("/api/files/info/x?disk=none").status_code == 404
    assert program.get("/api/files/info/x?dsk=none").status_code == 400


def test_they_are_for_programs_and_sessions_alike(
    program: ApiProgram, admin: Browser, console: WebConsole
) -> None:
    for path in ("/admin/storage/health/", "/environment-variables"):
        assert admin.get(path).status_code == 200
        assert console.browser().get(path).status_code == 401
    refused = admin.client.post("/admin/storage/update-counts/")
    assert refused.json["error"]["operation"] == "csrf"
    assert console.browser().get("/admin/storage/nothing").json["error"]["kind"] == "not_found"


def test_each_of_them_is_documented(console: WebConsole) -> None:
    section = DOCS.read_text(encoding="utf-8").partition("## Addresses of other consoles")[2]
    documented = set(re.findall(r"^\| `(?:GET|POST) ([^`]+)`", section.partition("\n## ")[0], re.MULTILINE))
    registered = {
        re.sub(r"<(?:\w+:)?(\w+)>", lambda match: match[1].upper(), rule.rule)
        for rule in console.app.url_map.iter_rules()
        if rule.endpoint.startswith("api_v1.familiar")
    }
    assert documented == registered
