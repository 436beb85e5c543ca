"""The Workers page, its part that refreshes itself, the same in the API, and as a command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dashboard.jobs.types import JobKind
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.services.workers.worker_values import Queue
from dashboard.services.workers.workers import CARRIER
from tests.cli.conftest import command_line
from tests.web.conftest import ADMIN, Browser, WebConsole


@pytest.fixture(scope="module")
def busy(console: WebConsole) -> WebConsole:
    workers = console.services.workers
    worker = workers.register([Queue.MIGRATIONS], 4, has_files=True)
    task = workers.begin_task(worker, CARRIER, 7, fence=1, number=2)
    assert task is not None
    workers.renew_task(task, objects=20, rate=41.25)
    local = console.services.backends.get("local-disk").id
    workers.begin_task(worker, JobKind.COUNT.value, local, fence=1)
    workers.register([], 1, has_files=False, message="<b>No key.</b>", remedy="Copy it.")
    return console


def test_a_viewer_sees_who_works_on_what(busy: WebConsole, signed_in: Callable[[str], Browser]) -> None:
    vera = signed_in("vera")
    page = vera.get("/health/workers").text
    for text in (
        "migrations",
        "migration 7",
        "/migrations/7",
        "Count",
        "local-disk",
        ">41<",
        "Takes no work",
    ):
        assert text in page, text
    assert "&lt;b&gt;No key." in page
    assert "/health/workers/live" in page
    fragment = vera.htmx("/health/workers/live")
    assert fragment.text.strip().startswith("<div")
    assert "migration 7" in fragment.text
    assert 'href="/health/workers"' in vera.get("/health").text


def test_nobody_else_sees_it(busy: WebConsole) -> None:
    assert busy.browser().get("/health/workers").status_code == 303
    assert busy.app.test_client().get("/api/v1/workers").status_code == 401


def test_in_german(busy: WebConsole, signed_in: Callable[[str], Browser]) -> None:
    page = signed_in("vera").get("/health/workers", headers={"Accept-Language": "de"}).text
    assert "Nimmt keine Arbeit an" in page


def test_programs_and_the_shell_are_told_the_same(busy: WebConsole) -> None:
    made = busy.services.tokens.create(
        Actor(ADMIN, Role.ADMIN, "web"), "workers", [Permission.VIEW.value]
    ).secret.reveal()
    client = busy.app.test_client(use_cookies=False)
    response = client.get("/api/v1/workers", headers={"Authorization": f"Bearer {made}"})
    assert response.status_code == 200
    assert response.json
    [worker, refused] = [each for each in response.json["processes"] if each["kind"] == "worker"]
    assert worker["queues"] == ["migrations"]
    assert [(each["kind"], each["subject_id"]) for each in worker["tasks"]] == [
        ("carrier", 7),
        ("count", worker["tasks"][1]["subject_id"]),
    ]
    assert refused["state"] == "refused"
    printed = command_line(busy.services.settings.instance)("workers", "--json")
    assert printed.code == 0, printed.err
    shown = [each for each in printed.document["processes"] if each["kind"] == "worker"]
    assert [each["state"] for each in shown] == ["working", "refused"]
    table = command_line(busy.services.settings.instance)("workers")
    assert "carrier 7" in table.out
    assert "takes no work: <b>No key.</b> Copy it." in table.err
