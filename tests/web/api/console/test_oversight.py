"""Health, history, audit, usage, policies and what the page of a migration shows, through the API."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dashboard.media.policy import UploadPolicy
from dashboard.migration.types import Spec
from dashboard.services.backends.values import Draft
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.permissions import Actor, Role
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import ADMIN, WebConsole

API = "/api/v1"
MARIA = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    scopes = ("view", "audit", "configure", "read_files", "write_files", "migrate", "environment", "test")
    return new_program(*scopes)


@pytest.fixture(scope="module")
def viewer(new_program: NewProgram) -> ApiProgram:
    return new_program("view", "read_files", username="vera")


@pytest.fixture(scope="module")
def media(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("media")
    console.services.backends.add(MARIA, Draft("media", "local", {"root": str(root)}, {}))
    return root


def test_health_and_the_past_of_a_backend(program: ApiProgram, media: Path) -> None:
    health = program.get(f"{API}/health").json
    assert {each["name"] for each in health["parts"]} >= {"database", "key"}
    answered = program.get(f"{API}/backends/media/history?window=30d")
    assert answered.status_code == 200, answered.text
    past = answered.json
    assert len(past["uptime"]["cells"]) == 90
    assert program.get(f"{API}/backends/media/history?window=1h").status_code == 400
    assert program.get(f"{API}/backends/nowhere/history").status_code == 404


def test_the_chain_is_verified_and_the_log_exported(program: ApiProgram, viewer: ApiProgram) -> None:
    verified = program.post(f"{API}/audit/verify").json["verification"]
    assert (verified["whole"], verified["problem_count"]) == (True, 0)
    assert program.get(f"{API}/audit/chain").json["verification"]["entries"] == verified["entries"]
    assert program.send("PUT", f"{API}/audit/retention", {"days": 400}).json == {"days": 400}
    assert program.send("PUT", f"{API}/audit/retention", {"days": 1}).status_code == 400
    assert program.send("PUT", f"{API}/audit/retention", {"days": 0}).json == {"days": 0}
    lines = program.get(f"{API}/audit.jsonl?action=audit.retention").text.splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["audit.retention"] * 2
    assert program.get(f"{API}/audit.csv").text.startswith('"entry",')
    for path in ("/audit.csv", "/audit.jsonl", "/audit/chain", "/audit/retention"):
        assert viewer.get(f"{API}{path}").status_code == 403


def test_prices_are_changed_and_restored(program: ApiProgram, viewer: ApiProgram) -> None:
    estimates = program.get(f"{API}/usage/prices").json
    assert estimates["estimated"]
    price = {"storage": 0.01, "download": 0.0, "writes": 0.005, "lists": 0.004, "reads": 0.0004}
    changed = program.send("PATCH", f"{API}/usage/prices", {"currency": "EUR", "prices": {"b2": price}})
    assert (changed.json["currency"], changed.json["prices"]["b2"]) == ("EUR", price)
    assert changed.json["prices"]["aws"] == estimates["prices"]["aws"]
    assert changed.json["estimated"] is None
    for body in ({"prices": {"nobody": price}}, {"downloads": -1}, {"prices": {"b2": {"storage": 1e9}}}):
        assert program.send("PATCH", f"{API}/usage/prices", body).status_code == 400, body
    assert viewer.send("PATCH", f"{API}/usage/prices", {}).status_code == 403
    assert program.send("DELETE", f"{API}/usage/prices").json == estimates


def test_requests_by_day(console: WebConsole, program: ApiProgram, media: Path) -> None:
    console.services.backends.driver("media").put("counted", b"1")
    console.services.backends.requests.store()
    found = program.get(f"{API}/usage/requests?days=7").json
    assert len(found["days"]) == 7
    (row,) = [each for each in found["backends"] if each["backend"] == "media"]
    assert row["requests"][-1] >= 1
    (usage,) = [
        each for each in program.get(f"{API}/usage").json["usage"]["backends"] if each["name"] == "media"
    ]
    assert usage["traffic"]["writes"] >= 1


def test_duplicates_are_listed_and_deleted_but_one(
    console: WebConsole, program: ApiProgram, viewer: ApiProgram, media: Path
) -> None:
    backend = console.services.backends.get("media")
    for name in ("one", "two", "three"):
        (media / name).write_text("same")
        info = console.services.backends.driver("media").stat(name)
        facts = FileFacts(backend.id, name, info.size, info.modified, info.etag or "", sha256="a" * 64)
        console.services.catalogue.record([facts])
    console.services.usage.summing_up.run()
    (group,) = program.get(f"{API}/usage/duplicates?backend=media").json["groups"]
    path = f"{API}/usage/duplicates/{group['id']}"
    shown = viewer.get(path).json
    assert {each["key"] for each in shown["files"]} == {"one", "two", "three"}
    assert viewer.post(f"{path}/delete", {"keep": "shortest"}).status_code == 403
    assert program.post(f"{path}/delete", {}).status_code == 400
    done = program.post(f"{path}/delete", {"keep": "shortest", "confirmed": 2})
    assert done.status_code == 200, done.text
    assert done.json["kept"]["key"] == "one"
    assert sorted(os.listdir(media))[-1] == "one"
    assert program.get(path).status_code == 404


def test_upload_policies(program: ApiProgram) -> None:
    saved = program.post(f"{API}/upload-policies", {"toml": '[photos]\nkinds = ["image"]\n'})
    assert saved.json == {"names": ["photos"]}
    policies = program.get(f"{API}/upload-policies").json["policies"]
    assert policies["photos"]["kinds"] == ["image"]
    assert set(policies["photos"]) == set(UploadPolicy().as_dict())
    assert "[photos]" in program.get(f"{API}/upload-policies.toml").text
    assert program.post(f"{API}/upload-policies", {"toml": "[photos]\nkinds = 3\n"}).status_code == 400
    assert program.send("DELETE", f"{API}/upload-policies/photos").status_code == 204
    assert program.send("DELETE", f"{API}/upload-policies/photos").status_code == 404


def test_old_files(console: WebConsole, program: ApiProgram, media: Path) -> None:
    backend, long_ago = console.services.backends.get("media"), time.time() - 90 * 86_400
    console.services.catalogue.record([FileFacts(backend.id, "ancient", 3, long_ago, "1")])
    plan = program.get(f"{API}/old-files?days=60&backend=media").json
    assert [each["key"] for each in plan["oldest"]] == ["ancient"]
    body = {name: plan[name] for name in ("backend", "before", "planned_at", "last_id", "files")}
    assert program.post(f"{API}/old-files/deletions", {**body, "files": 7}).status_code in (400, 409)
    begun = program.post(f"{API}/old-files/deletions", body)
    assert (begun.status_code, begun.json["state"]) == (202, "queued")
    assert program.get(f"{API}/old-files/deletions").json["deletions"][0]["id"] == begun.json["id"]


def test_backups_of_the_settings_file(program: ApiProgram) -> None:
    program.send("PATCH", f"{API}/environment", {"set": {"STOWAGE_LOG_LEVEL": "warning"}})
    made = program.post(f"{API}/environment/backups")
    assert made.status_code == 201
    program.send("PATCH", f"{API}/environment", {"set": {"STOWAGE_LOG_LEVEL": "error"}})
    path = f"{API}/environment/backups/{made.json['id']}/restore"
    shown = program.post(path, {"dry_run": True}).json
    assert (shown["saved"], [each["name"] for each in shown["changes"]]) == (False, ["STOWAGE_LOG_LEVEL"])
    assert program.post(path).json["saved"] is True
    assert program.get(f"{API}/environment/backups").json["backups"]
    assert program.post(f"{API}/environment/backups/none/restore").status_code == 404


def test_what_the_page_of_a_migration_shows(
    console: WebConsole, program: ApiProgram, media: Path, tmp_path: Path
) -> None:
    console.services.backends.add(MARIA, Draft("copy", "local", {"root": str(_made(tmp_path / "copy"))}, {}))
    number = console.services.migrations.create(MARIA, "media", "copy", Spec())
    path = f"{API}/migrations/{number}"
    waiting = program.get(f"{path}/review")
    assert (waiting.status_code, waiting.json["error"]["kind"]) == (404, "not_found")
    console.services.runner.run_job_until_final(number, lambda _: None)
    review = program.get(f"{path}/review").json
    assert (review["review"]["write_tested"], review["lacking"]) == (True, 0)
    assert program.post(f"{path}/check").status_code == 204
    speed = program.get(f"{path}/throughput").json
    assert speed["points"] == []
    assert program.post(f"{path}/objects/retry", {"prefix": "none/"}).status_code == 409
    for rest in ("review", "throughput"):
        assert program.get(f"{API}/migrations/999/{rest}").status_code == 404


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
