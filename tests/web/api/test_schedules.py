"""Scheduled jobs through the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.services.backends.values import Draft
from tests.services.composed import fill
from tests.services.console import ADMIN
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import WebConsole

PATH = "/api/v1/schedules"
COPY = {"source": "work", "destination": "vault"}


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    return new_program("view", "configure", "migrate", "test")


@pytest.fixture(scope="module")
def root(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    for name in ("work", "vault"):
        (root / name).mkdir()
        console.services.backends.add(ADMIN, Draft(name, "local", {"root": str(root / name)}, {}))
    fill(root / "work", {"a": 3})
    return root


def test_recurring_jobs_are_listed_changed_and_run(program: ApiProgram) -> None:
    names = [each["name"] for each in program.get(PATH).json["schedules"]]
    assert names == ["tests", "counts", "totals", "clean-up", "audit", "uploads", "backup"]
    changed = program.send("PATCH", f"{PATH}/counts", {"when": "daily 03:30", "enabled": False})
    assert (changed.json["when"], changed.json["enabled"], changed.json["next_at"]) == (
        "daily 03:30",
        False,
        None,
    )
    assert program.post(f"{PATH}/counts/run", None).json == {"migration": None}


def test_a_copy_from_its_schedule_to_its_restore(
    program: ApiProgram, console: WebConsole, root: Path
) -> None:
    made = program.post(PATH, COPY | {"when": "weekly sun 04:00", "keep_days": 7})
    assert (made.status_code, made.headers["Location"]) == (201, f"{PATH}/copy-1")
    changed = program.send("PATCH", f"{PATH}/copy-1", {"keep_days": 14})
    assert (changed.json["when"], changed.json["copy"]["keep_days"]) == ("weekly sun 04:00", 14)
    number = program.post(f"{PATH}/copy-1/run", None).json["migration"]
    assert program.post(f"{PATH}/copy-1/run", None).status_code == 409
    console.services.runner.run_job_until_final(number, lambda progress: None)
    (run,) = program.get(f"{PATH}/copy-1/runs").json["runs"]
    assert (run["state"], run["copied"], run["migration"]) == ("done", 1, number)
    planned = program.post(f"{PATH}/copy-1/restore", {"after_run": run["id"]})
    assert planned.status_code == 201
    assert program.get(f"/api/v1/migrations/{planned.json['migration']}").json["source"] == "vault"
    assert program.send("DELETE", f"{PATH}/copy-1").status_code == 204
    assert program.get(f"{PATH}/copy-1").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PATH, COPY | {"when": "at noon"}, 400),
        ("POST", PATH, COPY | {"destination": "work"}, 400),
        ("POST", PATH, COPY | {"source": "nowhere"}, 400),
        ("POST", PATH, COPY | {"keep_days": -1}, 400),
        ("PATCH", f"{PATH}/tests", {"when": "every 2 d"}, 400),
        ("PATCH", f"{PATH}/audit", {"enabled": False}, 400),
        ("PATCH", f"{PATH}/backup", {"when": "daily 03:00"}, 400),
        ("PATCH", f"{PATH}/dreams", {}, 404),
        ("GET", f"{PATH}/copy-99999999999999999999999", None, 404),
        ("GET", f"{PATH}/copy-99999999999999999999999/runs", None, 200),
        ("GET", f"{PATH}/counts/runs", None, 404),
        ("POST", f"{PATH}/copy-7/restore", {}, 404),
        ("DELETE", f"{PATH}/counts", None, 404),
    ],
)
def test_wrong_requests(
    program: ApiProgram, root: Path, method: str, path: str, body: object, status: int
) -> None:
    assert program.send(method, path, body).status_code == status
