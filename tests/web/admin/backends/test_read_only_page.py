"""The danger zone makes a backend read-only after one question, and says what stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.migration.types import Spec
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from tests.web.api.conftest import program
from tests.web.conftest import ADMIN, Browser, WebConsole

MARIA = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture(scope="module")
def console(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> WebConsole:
    for name in ("archive", "copy"):
        root: Path = tmp_path_factory.mktemp(name)
        console.services.backends.add(MARIA, Draft(name, "local", {"root": str(root)}, {}))
    return console


def test_one_question_and_back(console: WebConsole, admin: Browser) -> None:
    assert "Make read-only" in admin.get("/backend/archive").text
    assert "Make archive read-only?" in admin.get("/backend/archive/read-only").text
    assert admin.post("/backend/archive/read-only", on="true").status_code == 303
    assert "Allow writes" in admin.get("/backend/archive").text
    assert "Allow writes to archive?" in admin.get("/backend/archive/read-only").text
    assert admin.post("/backend/archive/read-only", on="false").status_code == 303
    assert console.services.backends.get("archive").options["read_only"] == "false"


def test_what_stands_in_the_way_is_said(console: WebConsole, admin: Browser) -> None:
    number = console.services.migrations.create(MARIA, "archive", "copy", Spec())
    refused = admin.post("/backend/copy/read-only", on="true")
    assert refused.status_code == 409
    assert f"migration {number} writes to it" in refused.text
    assert "cannot be read-only" in admin.get("/backend/local-disk/read-only").text
    assert admin.post("/backend/local-disk/read-only", on="true").status_code == 400
    api = program(console, ["configure"])
    path = "/api/v1/backends/copy/read-only"
    assert api.send("PUT", path, {"read_only": True}).status_code == 409
    console.services.migrations.cancel(MARIA, number)
    changed = api.send("PUT", path, {"read_only": True})
    assert (changed.status_code, changed.json["options"]["read_only"]) == (200, "true")
