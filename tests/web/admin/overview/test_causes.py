"""What needs attention: one cause is told once, the worst first, and gone when nothing is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.migration.types import Spec, State
from dashboard.models.migrations import Migration
from dashboard.services.attention.causes import Cause, Facts, causes
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import BackendInfo, Draft, Summary
from dashboard.services.fallback.write_back import Backlog
from dashboard.services.files.fallback_reads import FallbackReadCount
from dashboard.services.permissions import Actor, Role
from dashboard.services.upkeep.upkeep import DiskSpace
from tests.web.conftest import ADMIN, Browser, WebConsole

ACTOR = Actor(ADMIN, Role.ADMIN, "web")
QUIET = Summary(1, "local-disk", "", (), False, 0, ())


@pytest.fixture
def backend(console: WebConsole) -> Iterator[BackendInfo]:
    with console.app.test_request_context("/"):
        yield console.services.backends.get("local-disk")


def down(backend: BackendInfo, name: str, badge: Badge = Badge.DOWN) -> BackendInfo:
    status = replace(backend.status, badge=badge, message="Connection refused.", remedy="Start the server.")
    return replace(backend, name=name, status=status, active=False)


def facts(*worst: BackendInfo, **others: object) -> Facts:
    return Facts(replace(QUIET, failing=len(worst), worst=worst), **others)  # type: ignore[arg-type]


def titles(found: tuple[Cause, ...]) -> list[str]:
    return [cause.title for cause in found]


def test_nothing_wrong_is_no_row(backend: BackendInfo) -> None:
    assert causes(facts()) == ()


def test_what_follows_from_a_cause_is_beneath_it_and_nowhere_else(backend: BackendInfo) -> None:
    found = causes(
        facts(
            down(backend, "archive"),
            backlogs=[Backlog("archive", "media", 3, 0, 1)],
            fallback_reads=[
                FallbackReadCount("archive", "media", 12, 0.0),
                FallbackReadCount("x", "y", 1, 0.0),
            ],
            since={backend.id: 5.0},
        )
    )
    assert titles(found) == [
        "archive is down",
        "Objects waiting for archive were lost: 1",
        "y answered 1 read of x since yesterday",
    ]
    assert found[0].follows == (
        "3 objects wait in media to be written back to archive",
        "media answered 12 reads of archive since yesterday",
    )
    assert found[0].since == 5.0
    assert "Start the server." in found[0].text


def test_a_key_that_cannot_write_is_worse_where_new_files_go(backend: BackendInfo) -> None:
    reader = down(backend, "media", Badge.READ_ONLY)
    for active, tone in ((False, "warn"), (True, "bad")):
        [cause] = causes(facts(replace(reader, active=active)))
        assert (cause.title, cause.tone) == ("media cannot be written to", tone)


def test_disks_key_backup_and_runner_are_told_with_what_to_do(backend: BackendInfo) -> None:
    disk = DiskSpace("media", "/srv/media", 1000 * 10**9, 40 * 10**9, ("media",))
    long_ago = time.time() - 100 * 86_400
    found = causes(
        facts(
            disks=[disk, replace(disk, path="/srv/other", free=500 * 10**9)],
            per_day={"media": 2e9},
            key_since=long_ago,
            backup_at=long_ago,
            backup_due_since=long_ago,
            runner_alive=False,
        )
    )
    assert titles(found) == [
        "The disk of media is 96 % full",
        "No runner is running",
        "The key should be rotated",
        "The last backup of the configuration is 100 days old",
    ]
    assert "enough for about 20 days at the present growth" in found[0].text
    assert all(cause.action and cause.page for cause in found)


def test_a_dismissed_row_returns_when_it_says_something_else(backend: BackendInfo) -> None:
    def mark(**changes: object) -> str:
        return causes(facts(replace(down(backend, "archive"), **changes)))[0].mark  # type: ignore[arg-type]

    assert mark() == mark()
    assert mark() != mark(name="other")
    status = down(backend, "archive").status
    assert mark() != mark(status=replace(status, message="No route."))
    assert mark() != mark(status=replace(status, badge=Badge.DEGRADED))
    slow = [replace(status, badge=Badge.DEGRADED, message=f"It answers slowly: {s} s.") for s in (2.1, 3.4)]
    assert mark(status=slow[0]) == mark(status=slow[1])


def test_rows_are_dismissed_in_the_browser_and_shown_again(console: WebConsole, admin: Browser) -> None:
    services = console.services
    backend = services.backends.get("local-disk")
    services.status.record_check(backend.id, Badge.DOWN, None, "<i>Gone</i>.")
    page = admin.get("/").get_data(as_text=True)
    assert "local-disk is down" in page
    assert "&lt;i&gt;Gone&lt;/i&gt;" in page
    mark = page.partition('name="mark" value="')[2].partition('"')[0]
    admin.post("/overview/dismiss", mark=mark)
    page = admin.get("/").get_data(as_text=True)
    assert "local-disk is down" not in page
    assert "dismissed" in page
    assert admin.htmx("/overview/show-dismissed", all="yes").location == "/overview/live"
    page = admin.get("/").get_data(as_text=True)
    assert "local-disk is down" in page
    services.status.record_check(backend.id, Badge.HEALTHY, 1.0)
    assert "local-disk is down" not in admin.get("/").get_data(as_text=True)


def test_a_plan_that_nobody_started_is_no_trouble_and_not_at_work(
    console: WebConsole, admin: Browser, tmp_path: Path
) -> None:
    services = console.services
    services.backends.add(ACTOR, Draft("target", "local", {"root": str(tmp_path)}, {}))
    number = services.migrations.create(ACTOR, "local-disk", "target", Spec())
    with services.database.write() as session:
        session.get_one(Migration, number).state = State.READY.value
    page = admin.get("/").get_data(as_text=True)
    assert "It waits until somebody starts it." in page
    assert "waiting for your approval" not in page
    assert f'id="running-{number}"' not in page


@pytest.mark.parametrize("days", ["30", "90", "365", "nonsense"])
def test_growth_over_every_period(console: WebConsole, admin: Browser, days: str) -> None:
    backend = console.services.backends.get("local-disk")
    console.services.status.record_count(backend.id, 3, 4_000_000, final=True)
    page = admin.get(f"/?days={days}").get_data(as_text=True)
    assert "Stored in total" in page
    assert "4.0 MB" in page
