"""Backends through the API: everything that the pages do, with the same refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.services.permissions import Actor, Role
from tests.servers.processes import wait_until
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import ADMIN, WebConsole

SECRET = "canary/SECRET+value=0123456789"
S3 = {
    "preset": "s3",
    "options": {
        "endpoint": "http://127.0.0.1:9",
        "region": "us-east-1",
        "bucket": "some-bucket",
        "access_key_id": "AKIDEXAMPLE",
    },
    "secrets": {"secret_access_key": SECRET},
}
WHO = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    return new_program("view", "configure", "test", "audit")


def add_folder(program: ApiProgram, name: str, root: Path) -> None:
    root.mkdir(exist_ok=True)
    added = program.post(
        "/api/v1/backends", {"name": name, "preset": "local", "options": {"root": str(root)}}
    )
    assert added.status_code == 201, added.text


def test_a_backend_is_added_shown_and_its_secret_never(program: ApiProgram, console: WebConsole) -> None:
    added = program.post("/api/v1/backends", {"name": "cloud", **S3})
    assert added.status_code == 201
    assert added.headers["Location"] == "/api/v1/backends/cloud"
    assert added.headers["ETag"] == '"1"'
    shown = program.get("/api/v1/backends/cloud")
    assert shown.json["secrets_set"] == ["secret_access_key"]
    assert shown.json["options"]["path_style"] in ("true", "false"), "the provider's defaults"
    assert all(SECRET not in text for text in (added.text, shown.text))
    row = program.get("/api/v1/audit?action=backend&limit=1").json["audit"][0]
    assert (row["action"], row["via"], row["actor"]) == ("backend.add", "api", ADMIN)
    assert row["detail"]["token"].startswith("token ")
    assert SECRET not in str(row)


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"name": "Bad Name"}, "name"),
        ({"name": "local-disk"}, "name"),
        ({"preset": "none"}, "preset"),
        ({"options": {"nonsense": "x"}}, "nonsense"),
        ({"options": {**S3["options"], "secret_access_key": SECRET}}, "secret_access_key"),
        ({"secrets": {}}, "secret_access_key"),
        ({"secrets": {"secret_access_key": ""}}, "secret_access_key"),
        ({"secrets": {"secret_access_key": 5}}, "secrets.secret_access_key"),
        ({"options": {**S3["options"], "tls_verify": True}}, "options.tls_verify"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_saved_names_its_field(
    program: ApiProgram, change: dict[str, object], subject: str
) -> None:
    refused = program.post("/api/v1/backends", {"name": "fresh", **S3, **change})
    assert refused.status_code == 400
    assert refused.json["error"]["subject"] == subject
    assert SECRET not in refused.text


def test_an_edit_says_what_it_is_based_on(program: ApiProgram, tmp_path: Path) -> None:
    add_folder(program, "nas", tmp_path / "nas")
    path = "/api/v1/backends/nas"
    change = {"options": {"read_only": "true"}}
    assert program.send("PATCH", path, change).status_code == 428
    assert program.send("PATCH", path, change, headers={"If-Match": '"7"'}).status_code == 412
    assert program.send("PATCH", path, change, headers={"If-Match": 'W/"1"'}).status_code == 412
    edited = program.send("PATCH", path, change, headers={"If-Match": '"1"'})
    assert edited.status_code == 200
    assert edited.headers["ETag"] == '"2"'
    assert edited.json["options"]["read_only"] == "true"
    assert edited.json["options"]["root"] == str(tmp_path / "nas"), "what is left out stays"
    renamed = program.send("PATCH", path, {"name": "attic"}, headers={"If-Match": "*"})
    assert renamed.json["name"] == "attic"
    assert program.get(path).status_code == 404


def test_a_secret_is_not_sent_elsewhere_by_an_edit(program: ApiProgram) -> None:
    program.post("/api/v1/backends", {"name": "moved", **S3})
    change = {"options": {"endpoint": "http://127.0.0.1:10"}}
    refused = program.send("PATCH", "/api/v1/backends/moved", change, headers={"If-Match": "*"})
    assert refused.status_code == 400
    assert refused.json["error"]["subject"] == "secret_access_key"
    again = {**change, "secrets": S3["secrets"]}
    assert (
        program.send("PATCH", "/api/v1/backends/moved", again, headers={"If-Match": "*"}).status_code == 200
    )


def test_backends_are_made_active_ordered_and_removed(program: ApiProgram, tmp_path: Path) -> None:
    for name in ("one", "two"):
        add_folder(program, name, tmp_path / name)
    assert program.get("/api/v1/backends/one/comparison").status_code == 404
    started = program.post("/api/v1/backends/one/comparison")
    assert started.status_code == 202
    assert started.json["running"] is True
    assert program.get("/api/v1/backends/one/comparison").json["active"] == "local-disk"
    assert program.post("/api/v1/backends/one/activate").json["active"] is True
    assert program.send("DELETE", "/api/v1/backends/one").status_code == 409
    assert program.get("/api/v1/backends/one/comparison").status_code == 400
    order = {"names": ["two", "local-disk"]}
    assert program.send("PUT", "/api/v1/fallback-order", order).json == order
    assert program.get("/api/v1/fallback-order").json == order
    assert program.send("PUT", "/api/v1/fallback-order", {"names": ["two", "two"]}).status_code == 400
    assert program.send("PUT", "/api/v1/fallback-order", {"names": ["none"]}).status_code == 404
    assert program.get("/api/v1/status").json["active"] == "one"
    assert program.post("/api/v1/backends/local-disk/activate").status_code == 200
    assert program.send("DELETE", "/api/v1/backends/one").status_code == 204
    assert program.get("/api/v1/backends/one").status_code == 404
    assert program.send("DELETE", "/api/v1/backends/one").status_code == 404


def test_a_program_switches_as_safely_as_a_person(program: ApiProgram, tmp_path: Path) -> None:
    add_folder(program, "safe", tmp_path / "safe")
    address = "/api/v1/backends/safe/activate"
    for body, status, subject in (
        ({"keep_former": False}, 409, "safe"),
        ({"override": "unsafe"}, 400, "override"),
        ({"seen_active": "another"}, 409, "safe"),
        ({"missing": -1}, 400, "missing"),
    ):
        refused = program.send("POST", address, body)
        assert (refused.status_code, refused.json["error"]["subject"]) == (status, subject), body
    (tmp_path / "safe").rename(tmp_path / "away")
    assert program.send("POST", address, {}).status_code == 409
    assert program.send("POST", address, {"override": "safe"}).status_code == 200
    assert program.get("/api/v1/fallback-order").json["names"][0] == "local-disk"
    assert program.post("/api/v1/backends/local-disk/activate").status_code == 200
    assert program.send("PUT", "/api/v1/fallback-order", {"names": []}).status_code == 200
    assert program.send("DELETE", "/api/v1/backends/safe").status_code == 204


def finished(program: ApiProgram, location: str) -> dict[str, object]:
    wait_until(lambda: program.get(location).json["finished"], seconds=60, what="the test")
    return dict(program.get(location).json)


def test_a_connection_is_tested_saved_or_not(program: ApiProgram, tmp_path: Path) -> None:
    started = program.post("/api/v1/backends/local-disk/test")
    assert started.status_code == 202
    assert finished(program, started.headers["Location"])["passed"] is True
    draft = {"name": "draft", "preset": "local", "options": {"root": str(tmp_path / "none")}}
    tried = finished(program, program.post("/api/v1/tests", draft).headers["Location"])
    assert tried["passed"] is False
    assert any(step["remedy"] for step in tried["steps"])  # type: ignore[attr-defined]
    assert program.get("/api/v1/tests/none").status_code == 404
    assert program.get("/api/v1/backends/draft").status_code == 404, "nothing was saved"


def test_counts_and_settings(program: ApiProgram) -> None:
    assert program.post("/api/v1/backends/local-disk/refresh").status_code == 202
    assert program.post("/api/v1/refresh").status_code == 202
    assert program.post("/api/v1/backends/none/refresh").status_code == 404
    assert {job["kind"] for job in program.get("/api/v1/jobs").json["jobs"]} >= {"check", "count"}
    site = {"origin": "https://www.example.com"}
    assert program.post("/api/v1/backends/local-disk/findings", site).status_code == 422
    assert program.post("/api/v1/backends/cloud/findings", {"origin": "nonsense"}).status_code == 400
    assert program.post("/api/v1/backends/cloud/findings", site).status_code == 502
    assert program.post("/api/v1/backends/cloud/findings/cors/fix", site).status_code == 502
    assert program.post("/api/v1/backends/cloud/container").status_code == 502


def test_providers_and_their_options(program: ApiProgram) -> None:
    names = [each["name"] for each in program.get("/api/v1/providers").json["providers"]]
    assert names[:1]
    for name in names:
        provider = program.get(f"/api/v1/providers/{name}").json
        assert provider["name"] == name
    options = {each["name"]: each for each in program.get("/api/v1/providers/s3").json["options"]}
    assert options["secret_access_key"]["secret"] is True
    assert options["bucket"]["required"] is True
    assert program.get("/api/v1/providers/none").status_code == 404


def test_a_session_changes_nothing_without_the_csrf_token(console: WebConsole, tmp_path: Path) -> None:
    browser = console.browser()
    browser.sign_in(ADMIN)
    body = {"name": "from-a-page", "preset": "local", "options": {"root": str(tmp_path)}}
    for headers in ({}, {"X-CSRFToken": "forged"}):
        refused = browser.client.post("/api/v1/backends", json=body, headers=headers)
        assert refused.status_code == 400
        assert refused.json["error"]["operation"] == "csrf"
    form = browser.client.post("/api/v1/backends", data={"csrf_token": browser.token, **body})
    assert form.status_code == 400, "only the header counts"
    made = browser.client.post("/api/v1/backends", json=body, headers={"X-CSRFToken": browser.token})
    assert made.status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/backends"),
        ("DELETE", "/api/v1/backends/local-disk"),
        ("PATCH", "/api/v1/backends/local-disk"),
        ("POST", "/api/v1/backends/local-disk/activate"),
        ("PUT", "/api/v1/fallback-order"),
        ("POST", "/api/v1/tests"),
        ("POST", "/api/v1/backends/local-disk/test"),
        ("POST", "/api/v1/refresh"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/users"),
    ],
)
def test_a_token_that_only_looks_changes_nothing(new_program: NewProgram, method: str, path: str) -> None:
    refused = new_program("view").send(method, path, {})
    assert refused.status_code == 403
    assert refused.json["error"]["kind"] == "forbidden"
