"""Migrations through the API, from the plan to the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.services.permissions import Actor, Role
from tests.servers.processes import wait_until
from tests.services.composed import fill, running
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import ADMIN, WebConsole

PATH = "/api/v1/migrations"


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    return new_program("view", "migrate")


@pytest.fixture(scope="module")
def pair(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two folders as backends, ``here`` with five files and ``there``, and a runner."""
    folder = tmp_path_factory.mktemp("pair")
    console.services.accounts.list()
    actor = Actor(ADMIN, Role.ADMIN, "web")
    from dashboard.services.backends.values import Draft

    for name in ("here", "there"):
        (folder / name).mkdir()
        console.services.backends.add(actor, Draft(name, "local", {"root": str(folder / name)}, {}))
    fill(folder / "here", {f"file {n}.txt": n * 10 for n in range(5)})
    with running(console.services):
        yield folder


def awaited(program: ApiProgram, location: str, *states: str) -> dict[str, Any]:
    wait_until(lambda: program.get(location).json["state"] in states, seconds=60, what=f"{states}")
    return dict(program.get(location).json)


def test_from_the_plan_to_the_report(program: ApiProgram, pair: Path) -> None:
    planned = program.post(PATH, {"source": "here", "destination": "there"})
    assert planned.status_code == 201
    location = planned.headers["Location"]
    ready = awaited(program, location, "ready")
    assert ready["counters"]["to_copy"] == 5
    assert not list((pair / "there").iterdir()), "nothing is copied before it is approved"
    assert program.post(f"{location}/approve").status_code == 200
    done = awaited(program, location, "finished")
    assert (done["outcome"], done["percent"]) == ("clean", 100)
    assert len(list((pair / "there").glob("file*"))) == 5
    first = program.get(f"{location}/objects?limit=2&state=verified").json
    assert len(first["objects"]) == 2
    rest = program.get(f"{location}/objects?cursor={first['next_cursor']}").json
    assert (len(rest["objects"]), rest["next_cursor"]) == (3, None)
    assert program.get(f"{location}/failures").json == {"failures": []}
    report = program.get(f"{location}/report.csv")
    assert report.mimetype == "text/csv"
    assert "attachment" in report.headers["Content-Disposition"]
    assert len(list(csv.reader(io.StringIO(report.text)))) == 6
    for action in ("approve", "pause", "resume", "cancel", "retry"):
        refused = program.post(f"{location}/{action}")
        assert refused.status_code == 409, action
        assert refused.json["error"]["reason"].startswith("Migration ")


def test_a_dry_run_copies_nothing(program: ApiProgram, pair: Path) -> None:
    spec = {
        "prefix": "file 4",
        "dry_run": True,
        "approve": True,
        "workers": 1,
        "carriers": 2,
        "verify": "readback",
    }
    created = program.post(PATH, {"source": "there", "destination": "here", **spec})
    done = awaited(program, created.headers["Location"], "finished")
    assert (done["spec"]["dry_run"], done["spec"]["carriers"], done["carriers"]) == (True, 2, [])
    assert done["counters"]["found"] == 1


def test_it_is_paused_resumed_and_cancelled(program: ApiProgram, pair: Path) -> None:
    created = program.post(PATH, {"source": "here", "destination": "there", "on_conflict": "overwrite"})
    location = created.headers["Location"]
    awaited(program, location, "ready")
    assert program.post(f"{location}/cancel").json["state"] == "cancelled"
    assert program.post(f"{location}/cancel").status_code == 200, "repeating it is no error"
    assert program.post(f"{location}/resume").status_code == 409


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({}, "source"),
        ({"source": "here", "destination": "none"}, "destination"),
        ({"source": "here", "destination": "here"}, "destination"),
        ({"source": "here", "destination": "there", "workers": 0}, "workers"),
        ({"source": "here", "destination": "there", "workers": 257}, "workers"),
        ({"source": "here", "destination": "there", "carriers": 65}, "carriers"),
        ({"source": "here", "destination": "there", "verify": "maybe"}, "verify"),
        ({"source": "here", "destination": "there", "include": "*"}, "include"),
        ({"source": "here", "destination": "there", "prefix": "ü" * 1000}, "prefix"),
        ({"source": "here", "destination": "there", "prefix": "a\u0000"}, "prefix"),
        ({"source": "here", "destination": "there", "dry_run": True, "delete_source": True}, "delete_source"),
        ({"source": "here\u0000", "destination": "there"}, "source"),
    ],
)
def test_what_cannot_be_carried_out_names_its_field(
    program: ApiProgram, pair: Path, body: dict[str, object], subject: str
) -> None:
    refused = program.post(PATH, body)
    assert refused.status_code == 400, refused.text
    assert refused.json["error"]["subject"] == subject


@pytest.mark.parametrize("action", ["approve", "pause", "resume", "cancel", "retry"])
def test_there_is_no_such_migration(program: ApiProgram, action: str) -> None:
    assert program.post(f"{PATH}/999999/{action}").status_code == 404
    for part in ("objects", "failures", "report.csv"):
        assert program.get(f"{PATH}/999999/{part}").status_code == 404


def test_lists_go_on_where_they_stopped(program: ApiProgram, pair: Path) -> None:
    seen: list[int] = []
    cursor = ""
    while True:
        page = program.get(f"{PATH}?limit=1&cursor={cursor}").json
        seen += [each["id"] for each in page["migrations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) >= 3
    assert seen == sorted(set(seen), reverse=True)
